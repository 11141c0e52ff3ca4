"""Lists of the items that score highest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.data._csr import CSR, row_numbers, take_columns
from isthmus.data._ids import IdArray, IdIndex
from isthmus.evaluation.scores import Floats, Scorable

__all__ = ["candidate_positions", "ids_at", "scores_at", "top_among", "top_items"]


def top_items(
    scores: Scorable,
    n: int,
    *,
    left_out: CSR | None,
    pool: NDArray[np.int64] | None = None,
    num_threads: int,
) -> tuple[NDArray[np.int32], Floats]:
    """Find the n items that score highest for each user.

    Parameters
    ----------
    scores : Scorable
        Of users for all items.
    n : int
    left_out : CSR or None
        Items that each user is not to get.
    pool : ndarray, optional
        Positions of the items to choose from, ascending; all by default.

    Returns
    -------
    positions : ndarray of int32, shape (users, n)
        Best first, and -1 where a list has ended.
    scores : ndarray of float32, shape (users, n)
        NaN where a list has ended.
    """
    if pool is not None:
        scores = scores.take(items=pool)
        left_out = None if left_out is None else take_columns(left_out, pool)
    positions, values = scores.scorer().top_k(
        n,
        seen_indptr=None if left_out is None else left_out.indptr,
        seen_indices=None if left_out is None else left_out.indices,
        num_threads=num_threads,
    )
    if pool is not None:
        positions = np.append(pool, -1)[positions]  # a list's end, -1, stays one
    return positions, values


def top_among(
    scores: Scorable, n: int, lists: CSR, *, num_threads: int
) -> tuple[NDArray[np.int32], Floats]:
    """Find the n items that score highest for each user among those of the user's own.

    Parameters
    ----------
    scores : Scorable
        Of users for all items.
    n : int
    lists : CSR
        The items to choose from, of users x items.

    Returns
    -------
    positions, scores : ndarray, shape (users, n)
        As those of `top_items`.
    """
    users, items = row_numbers(lists.indptr), lists.indices
    values = scores.scorer().score_pairs(users, items, num_threads=num_threads)
    kept = np.flatnonzero(values > -np.inf)  # NaN is no score either
    order = kept[np.lexsort((items[kept], -values[kept], users[kept]))]
    users, items, values = users[order], items[order], values[order]
    ranks = np.arange(len(users)) - np.searchsorted(users, users)
    best = ranks < n
    positions = np.full((lists.shape[0], n), -1, np.int32)
    listed = np.full(positions.shape, np.nan, np.float32)
    positions[users[best], ranks[best]] = items[best]
    listed[users[best], ranks[best]] = values[best]
    return positions, listed


def scores_at(scores: Scorable, positions: NDArray[np.int32], *, num_threads: int) -> Floats:
    """Return each user's scores of the items at positions, and NaN where a position is -1."""
    users, places = np.nonzero(positions >= 0)
    values = np.full(positions.shape, np.nan, np.float32)
    values[users, places] = scores.scorer().score_pairs(
        users.astype(np.int32), positions[users, places].astype(np.int32), num_threads=num_threads
    )
    return values


def candidate_positions(items: IdIndex, candidates: ArrayLike) -> NDArray[np.int64]:
    """Look up the items to choose from: in the model's order, each once, so that ties are too."""
    try:
        ids = np.atleast_1d(candidates)
    except ValueError:  # lists of different lengths
        ids = np.empty((0, 0))
    if ids.ndim > 1:
        raise ValueError(
            "candidates must be one list of item ids, for all users alike, "
            "but it was a list of lists."
        )
    return np.unique(items.positions(ids, "candidates"))


def ids_at(ids: IdArray, positions: NDArray[Any]) -> IdArray:
    """Return the ids at positions; -1 or "" where a position is -1."""
    none: Any = -1 if ids.dtype.kind == "i" else ""
    found: IdArray = np.where(positions < 0, none, ids[positions])
    return found
