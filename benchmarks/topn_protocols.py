"""The published protocols that top-N models are measured by."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from benchmarks.common import data_folder, load, published_split
from isthmus import Ratings

METRICS = {
    "recbole": ("recall@10", "mrr@10", "ndcg@10"),
    "ncf": ("hr@10", "ndcg@10"),
}
NEGATIVES = 99


class Parts(NamedTuple):
    """What a model is trained on, chosen by, and tested on.

    Parameters
    ----------
    train, held_out : Ratings
    candidates : sparse array or None
        Items among which those held out are ranked; None: all.
    """

    train: Ratings
    held_out: Ratings
    candidates: sparse.csr_array | None = None


def recbole_parts(ratings: Ratings, seed: int) -> tuple[Ratings, Ratings, Ratings]:
    """Train, validation and test: a tenth of each user's, rounded down, for the latter two."""
    data = ratings.binarize(3).k_core(10, 10)
    count = np.diff(data.indptr)
    rows = np.repeat(np.arange(data.n_users), count)
    order = np.lexsort((np.random.default_rng(seed).random(data.nnz), rows))
    place = np.arange(data.nnz) - np.repeat(data.indptr[:-1], count)
    tenth = np.repeat(count // 10, count)
    part = np.empty(data.nnz, np.int64)
    part[order] = np.where(place < tenth, 2, np.where(place < 2 * tenth, 1, 0))
    train, validation, test = (data.select(part == number) for number in range(3))
    return train, validation, test


def gowalla_parts() -> tuple[Ratings, Ratings, Ratings]:
    """Train, validation and test of LightGCN's split of gowalla."""
    ratings, arrays = load("gowalla")
    train, validation, test = (
        published_split(ratings, arrays, arrays["fold"] == number)[1] for number in range(3)
    )
    return train, validation, test


def ncf_parts() -> Parts:
    """The published leave-one-out: each user's latest rating among 99 sampled items."""
    ratings, arrays = load("ml-1m")
    train, test = published_split(ratings, arrays, arrays["ncf_loo_test"])
    with np.load(data_folder() / "ml-1m" / "ncf_leave_one_out.npz") as file:
        negatives = file["negatives"]
    return Parts(train, test, _as_candidates(negatives, ratings.shape))


def ncf_validation(train: Ratings, seed: int) -> Parts:
    """The same of the training part alone: the rating of each user's that is now the latest.

    It is known of the 2,999 users who have timestamps here; the others are trained on and not
    measured. The 99 items are drawn from all that the user has not in the training part.
    """
    assert train.timestamps is not None
    rows = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
    latest = np.lexsort((train.timestamps, rows))[train.indptr[1:] - 1]
    held_out = np.zeros(train.nnz, bool)
    held_out[latest[train.timestamps[latest] >= 0]] = True
    random = np.random.default_rng(seed)
    negatives = np.empty((train.n_users, NEGATIVES), np.int64)
    for user in range(train.n_users):
        own = train.indices[train.indptr[user] : train.indptr[user + 1]]
        others = np.setdiff1d(np.arange(train.n_items), own, assume_unique=True)
        negatives[user] = random.choice(others, NEGATIVES, replace=False)
    return Parts(
        train.select(~held_out), train.select(held_out), _as_candidates(negatives, train.shape)
    )


def _as_candidates(items: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    pairs = (np.repeat(np.arange(len(items)), items.shape[1]), items.ravel())
    return sparse.csr_array((np.ones(items.size, np.float32), pairs), shape=shape)
