"""RecBole's models, data and trainers, driven as its own quick start does."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isthmus import Ratings

# RecBole 1.2.1 asks for names that NumPy 2 no longer has
for dropped, kind in (("float_", "float64"), ("complex_", "complex128"), ("unicode_", "str_")):
    if not hasattr(np, dropped):
        setattr(np, dropped, getattr(np, kind))
# its own checkpoints hold more than weights, which PyTorch 2.6 and later refuse to read unasked
os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


class Prepared(NamedTuple):
    """A trainer with its model, and RecBole's loaders of the three parts."""

    trainer: Any
    train: Any
    validation: Any
    test: Any


def prepare(
    name: str,
    parts: tuple[Ratings, Ratings, Ratings],
    settings: dict[str, Any],
    threads: int,
    seed: int = 0,
) -> Prepared:
    """A model of RecBole's on a training, a validation and a test part.

    Parameters
    ----------
    name : str
        Of the model.
    parts : tuple of Ratings
    settings : dict
        Of the model and of training; RecBole's defaults hold for the rest.
    threads : int
    seed : int, default 0
        Of the weights, the order of users and dropout.
    """
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    torch.set_num_threads(threads)
    # RecBole holds its splits in files; it keeps what it makes of them in memory
    folder = Path(tempfile.mkdtemp())
    for label, part in zip(("train", "valid", "test"), parts, strict=True):
        write_interactions(part, folder / "split" / f"split.{label}.inter")
    own = {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "topk": [10],
        "eval_batch_size": 4096,
        "checkpoint_dir": str(folder),
    }
    # it would take the command line for its own
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        config = Config(model=name, dataset="split", config_dict={**own, **settings})
    finally:
        sys.argv = arguments
    init_seed(seed, True)
    loaders = data_preparation(config, create_dataset(config))
    model = get_model(name)(config, loaders[0].dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    return Prepared(trainer, *loaders)


def write_interactions(ratings: Ratings, path: Path) -> None:
    """A file of users and items with RecBole's header."""
    path.parent.mkdir(exist_ok=True)
    users = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    with path.open("w") as file:
        file.write("user_id:token\titem_id:token\n")
        for user, item in zip(users.tolist(), ratings.indices.tolist(), strict=True):
            file.write(f"{user}\t{item}\n")
