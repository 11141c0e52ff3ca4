"""Lists of the items that score highest."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import blocks
from isthmus.data._csr import CSR, row_numbers, take_columns
from isthmus.data._ids import IdArray
from isthmus.evaluation.choice import Allowed
from isthmus.evaluation.scores import Floats, Scorable

__all__ = ["ids_at", "scores_at", "top_items"]


def top_items(
    scores: Scorable, n: int, allowed: Allowed, *, num_threads: int
) -> tuple[NDArray[np.int32], Floats]:
    """Find the n items that score highest for each user; of equal ones, the first in order.

    Parameters
    ----------
    scores : Scorable
        Of users for all items.
    n : int
    allowed : Allowed
        Which items may be listed.

    Returns
    -------
    positions : ndarray of int32, shape (users, n)
        Best first, and -1 where a list has ended.
    scores : ndarray of float32, shape (users, n)
        NaN where a list has ended.
    """
    if allowed.lists is not None:
        return _top_of_lists(scores, n, allowed.lists, num_threads)
    seen, pool = allowed.left_out, allowed.pool
    if pool is not None:
        scores = scores.take(items=pool)
        seen = None if seen is None else take_columns(seen, pool)
    positions, values = scores.scorer().top_k(
        n,
        seen_indptr=None if seen is None else seen.indptr,
        seen_indices=None if seen is None else seen.indices,
        num_threads=num_threads,
    )
    if pool is not None:
        positions = np.append(pool, -1)[positions]  # a list's end, -1, stays one
    return positions, values


def _top_of_lists(
    scores: Scorable, n: int, lists: CSR, num_threads: int
) -> tuple[NDArray[np.int32], Floats]:
    """Find the n of each user's own items that score highest."""
    positions = np.full((lists.shape[0], n), -1, np.int32)
    values = np.full((lists.shape[0], n), np.nan, np.float32)
    scorer = scores.scorer()
    # whole users, about as many pairs at a time as a block has
    edges = np.searchsorted(lists.indptr, [block.start for block in blocks(len(lists.indices))])
    for first, last in pairwise(np.unique([*edges, lists.shape[0]])):
        cells = slice(lists.indptr[first], lists.indptr[last])
        items = lists.indices[cells]
        users = first + row_numbers(lists.indptr[first : last + 1])
        own = scorer.score_pairs(users.astype(np.int32), items, num_threads=num_threads)
        order = np.lexsort((-own, users))  # NaN comes last, and equals stay in order
        place = np.arange(len(order)) - (lists.indptr[users] - cells.start)
        best = (place < n) & ~np.isnan(own[order])
        where = users[best], place[best]
        positions[where], values[where] = items[order][best], own[order][best]
    return positions, values


def scores_at(scores: Scorable, positions: NDArray[np.int32], *, num_threads: int) -> Floats:
    """Return each user's scores of the items at positions, and NaN where a position is -1."""
    users, places = np.nonzero(positions >= 0)
    values = np.full(positions.shape, np.nan, np.float32)
    values[users, places] = scores.scorer().score_pairs(
        users.astype(np.int32), positions[users, places].astype(np.int32), num_threads=num_threads
    )
    return values


def ids_at(ids: IdArray, positions: NDArray[Any]) -> IdArray:
    """Return the ids at positions; -1 or "" where a position is -1."""
    none: Any = -1 if ids.dtype.kind == "i" else ""
    found: IdArray = np.where(positions < 0, none, ids[positions])
    return found
