"""Lists of the items that score highest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, row_numbers, select_rows, take_columns
from isthmus.data._ids import IdArray
from isthmus.evaluation.choice import Allowed
from isthmus.evaluation.scores import Floats, Scorable

__all__ = ["ids_at", "scores_at", "top_items"]

_PLACES = 1 << 22  # cells of lists that are scored and sorted at once
_LONG = 0.05  # share of all items from which it is faster to score all


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
    """Find the n of each user's own items that score highest.

    Pairs are scored one by one, except for users with many items, for whom all are scored. Which of
    the two depends on the user's list alone, so that nobody's scores depend on who else is asked
    for.
    """
    positions = np.full((lists.shape[0], n), -1, np.int32)
    values = np.full((lists.shape[0], n), np.nan, np.float32)
    lengths = np.diff(lists.indptr)
    long = lengths > _LONG * lists.shape[1]
    most = max(1, _PLACES // lists.shape[1])
    for users in np.array_split(np.flatnonzero(long), -(-np.count_nonzero(long) // most) or 1):
        allowed = Allowed(_all_but(select_rows(lists, users)))
        positions[users], values[users] = top_items(
            scores.take(users=users), n, allowed, num_threads=num_threads
        )
    scorer = scores.scorer()
    longest_first = np.argsort(-lengths, kind="stable")
    longest_first = longest_first[(lengths > 0)[longest_first] & ~long[longest_first]]
    while len(longest_first):
        # users with lists of similar lengths, so that few places are empty
        width = int(lengths[longest_first[0]])
        users, longest_first = np.split(longest_first, [max(1, _PLACES // width)])
        part = select_rows(lists, users)
        rows = row_numbers(part.indptr)
        own = scorer.score_pairs(
            users[rows].astype(np.int32), part.indices, num_threads=num_threads
        )
        where = rows, np.arange(len(rows)) - part.indptr[rows]
        table = np.full((len(users), width), -np.inf, np.float32)
        items = np.full(table.shape, -1, np.int32)
        table[where], items[where] = np.nan_to_num(own, nan=-np.inf), part.indices
        items[np.isneginf(table)] = -1
        table, items = _first(table, items, min(n, width))
        positions[users, : items.shape[1]] = items
        values[users, : items.shape[1]] = np.where(items < 0, np.nan, table)
    return positions, values


def _all_but(lists: CSR) -> CSR:
    """Return the cells that are not in lists."""
    there = np.zeros(lists.shape, np.bool_)
    there[row_numbers(lists.indptr), lists.indices] = True
    indptr = np.concatenate(([0], np.cumsum(lists.shape[1] - np.diff(lists.indptr))))
    return CSR(indptr, np.nonzero(~there)[1].astype(np.int32), lists.values, lists.shape)


def _first(table: Floats, items: NDArray[np.int32], n: int) -> tuple[Floats, NDArray[np.int32]]:
    """Keep the n highest of each row, sorted, with their items; of equal ones, the first."""
    if n < table.shape[1]:
        least = np.partition(table, -n, axis=1)[:, -n, np.newaxis]
        above, equal = table > least, table == least
        room = n - above.sum(axis=1, keepdims=True)
        kept = above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room))
        table, items = table[kept].reshape(-1, n), items[kept].reshape(-1, n)
    order = np.argsort(-table, axis=1, kind="stable")
    return np.take_along_axis(table, order, axis=1), np.take_along_axis(items, order, axis=1)


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
