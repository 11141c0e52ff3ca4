"""Lists for all users on many machines, by Ray Data."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import ArrayLike

from isthmus.data._cells import Duplicates
from isthmus.lists import Lister
from isthmus.models.base import Recommender

__all__ = ["Scorer"]


class Scorer(Lister):
    """Recommend to batches of users in Ray Data's ``map_batches``.

    Ray makes one of these a worker. Each opens the model file by memory map, so that the workers of
    a machine share one copy of what `Recommender.load` maps. Scheduling, retries and moving data
    are Ray's. What a call takes and returns is that of `Lister`; the lists are those that
    ``isthmus recommend --histories`` writes.

    Parameters
    ----------
    model_file : str or os.PathLike
        What `Recommender.save` wrote, on a path that every machine has.
    n : int, default 10
        Items to recommend to a user.
    exclude_seen : bool, default True
        Whether to leave out what a user has a rating of, in training or in the history.
    candidates : array_like of int or str, optional
        Ids of the items that all users choose from; all by default.
    exclude : array_like of int or str, optional
        Ids of items that nobody is to get.
    order : {"likely", "rating"}, default "likely"
        As for `Recommender.recommend`.
    unknown_items : {"error", "skip"}, default "error"
        What to do about items that the model does not know.
    duplicates : {"error", "mean", "sum", "last"}, default "error"
        What to do where an unknown user's history has an item more than once.
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
