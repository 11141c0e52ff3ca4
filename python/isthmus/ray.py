"""Training and lists for all users on many machines, by Ray Train and Ray Data."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from isthmus._util.files import check_writable
from isthmus.data._cells import Duplicates
from isthmus.data.ratings import Ratings
from isthmus.data.shards import Shards
from isthmus.distributed import TorchCommunicator
from isthmus.lists import Lister
from isthmus.models._checkpoints import Checkpoint, check_every
from isthmus.models._over_ranks import OverRanks
from isthmus.models.autorec import AutoRec
from isthmus.models.base import Recommender
from isthmus.models.vae import MultDAE, MultVAE

__all__ = ["Scorer", "fit"]

Model = TypeVar("Model", AutoRec, MultDAE, MultVAE)


class Scorer(Lister):
    """Recommend to batches of users in Ray Data's ``map_batches``.

    Ray makes one of these for each worker. Each opens the model file by memory map, so that the
    workers of a machine share one copy of what `Recommender.load` maps. Scheduling, retries and
    moving data are Ray's. What a call takes and returns is that of `Lister`; the lists are those
    that ``isthmus recommend --histories`` writes.

    Parameters
    ----------
    model_file : str or os.PathLike
        What `Recommender.save` wrote, on a path that every machine has.
    n, exclude_seen, candidates, exclude, order, unknown_items, duplicates
        As for `isthmus.lists.Lister`.
    num_threads : int, default 0
        0: all that the worker may use, which is one unless Ray is told ``num_cpus=``.

    Raises
    ------
    FileNotFoundError
        If there is no model file.
    TypeError, ValueError
        If it cannot be read, or an argument is not as above.

    Notes
    -----
    Needs the extra `ray` (``pip install 'isthmus[ray]'``), and no torch. Batches with a row a
    rating must hold all rows of their users, as ``groupby("user").map_groups`` gives them; a row a
    user, in any batch, is faster.

    Examples
    --------
    On a cluster, with histories of a row a user::

        import ray
        from isthmus.ray import Scorer

        ray.data.read_parquet("s3://bucket/histories/").map_batches(
            Scorer,
            fn_constructor_args=("/models/m.safetensors", 10),
            batch_format="pyarrow",
            batch_size=16_384,
            num_cpus=2,
            concurrency=8,
        ).write_parquet("s3://bucket/lists/")

    The same on a table at hand:

    >>> import pyarrow as pa
    >>> from isthmus import EASE, synthetic_ratings
    >>> EASE().fit(synthetic_ratings(50, 20, 300)).save("m.safetensors")
    >>> histories = pa.table({"user": [7, 1000], "items": [[], [3, 4]]})
    >>> lists = Scorer("m.safetensors", 3)(histories)
    >>> lists.column_names, lists["user"].to_pylist()
    (['user', 'items', 'scores'], [7, 1000])
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str],
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        order: str = "likely",
        unknown_items: str = "error",
        duplicates: Duplicates = "error",
        num_threads: int = 0,
    ) -> None:
        model: Any = Recommender.load(model_file, mmap=True)
        super().__init__(
            model.set_params(num_threads=num_threads),
            n,
            exclude_seen=exclude_seen,
            candidates=candidates,
            exclude=exclude,
            order=order,
            unknown_items=unknown_items,
            duplicates=duplicates,
        )


def fit(
    model: Model,
    shards: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    workers: int | tuple[int, int],
    cpus: int = 1,
    validation: Ratings | None = None,
    slices: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | str = 1,
    resume: bool = False,
    max_failures: int = 0,
    storage: str | os.PathLike[str] | None = None,
) -> Model:
    """Train a model on Ray's workers, with their columns split over them.

    A train function for Ray Train's ``TorchTrainer``, which starts the workers and their
    torch.distributed group, and restarts them if one fails. Each calls
    ``model.fit(Shards(shards), comm=TorchCommunicator())``.

    Parameters
    ----------
    model : AutoRec, MultDAE or MultVAE
        The model whose parameters to use; it stays as it is.
    shards : str or os.PathLike
        What `shard` wrote. Every machine must have this path, and all others. They are of
        users for I-AutoRec, and of items for the others.
    output : str or os.PathLike
        Where rank 0 writes the model.
    workers : int or (int, int)
        How many, or the fewest and the most of an elastic job.
    cpus : int, default 1
        Of each worker, which is its number of threads where ``num_threads`` is 0.
    validation, slices, checkpoint, every, resume
        As for `AutoRec.fit`. With a checkpoint, restarted workers go on from it.
    max_failures : int, default 0
        How often to restart them.
    storage : str or os.PathLike, optional
        Folder for Ray's records of the run; ``~/ray_results`` by default.

    Returns
    -------
    A model of the same class
        What was written to `output`.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If an argument is not as above, before Ray is asked for anything.
    ray.train.TrainingFailedError
        If the workers fail once more than `max_failures`.

    Notes
    -----
    Needs Ray Train and torch (``pip install 'ray[train]' torch``).

    Examples
    --------
    On a cluster::

        from isthmus import AutoRec
        from isthmus.ray import fit

        model = fit(
            AutoRec(random_state=0),
            "/data/shards",
            "/models/m.safetensors",
            workers=8,
            cpus=16,
            checkpoint="/data/checkpoint",
            max_failures=3,
        )
    """
    if not isinstance(model, OverRanks):
        raise TypeError(
            f"model must be an AutoRec, a MultDAE or a MultVAE, but it is a {type(model).__name__}."
        )
    Shards(shards)
    check_writable(output)
    check_every(every)
    if checkpoint is not None and not resume and Checkpoint.newest(checkpoint) is not None:
        raise ValueError(
            f"checkpoint must be a folder without checkpoints unless resume=True, but {checkpoint} "
            f"has one."
        )
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise ImportError("Ray Train needs torch: pip install 'ray[train]' torch") from error
    parameters = model.get_params()
    if not parameters["num_threads"]:
        parameters["num_threads"] = cpus
    scale: Any = {"num_workers": workers, "resources_per_worker": {"CPU": cpus}}
    TorchTrainer(
        _train,
        train_loop_config={
            "model": type(model),
            "parameters": parameters,
            "shards": os.path.abspath(shards),
            "output": os.path.abspath(output),
            "options": {
                "validation": validation,
                "slices": slices,
                "checkpoint": None if checkpoint is None else os.path.abspath(checkpoint),
                "every": every,
                "resume": checkpoint is not None,
            },
        },
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(**scale),
        run_config=RunConfig(
            failure_config=FailureConfig(max_failures=max_failures),
            storage_path=None if storage is None else os.path.abspath(storage),
        ),
    ).fit()
    return type(model).load(output)


def _train(config: dict[str, Any]) -> None:
    """Train as one worker."""
    comm = TorchCommunicator()
    model = config["model"](**config["parameters"])
    model.fit(Shards(config["shards"]), comm=comm, **config["options"])
    whole = model.gather(comm)
    if whole is not None:
        whole.save(config["output"])
    comm.barrier()
