"""A caller's matrices in the positions of the users and items that a model knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus._csr import CSR, row_numbers
from isthmus._ids import IdArray, IdIndex
from isthmus.ratings import Ratings, as_ratings

__all__ = ["cells_among", "check_same_users", "rows_among"]


def cells_among(
    users: IdIndex, items: IdIndex, X: Any, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Positions of a matrix's cells among known users and items, and the cells' values."""
    ratings = as_ratings(X)
    rows = row_numbers(ratings.indptr).astype(np.int64)
    columns = ratings.indices.astype(np.int64)
    if not isinstance(X, Ratings):
        if ratings.shape != (len(users), len(items)):
            raise ValueError(
                f"{name} must be a matrix of {len(users)} users x {len(items)} items, as the model "
                f"was fitted to, but its shape is {ratings.shape}."
            )
        return rows, columns, ratings.values
    row_positions = _rated_positions(users, ratings.user_ids, rows, f"users of {name}")
    column_positions = _rated_positions(items, ratings.item_ids, columns, f"items of {name}")
    return row_positions[rows], column_positions[columns], ratings.values


def _rated_positions(
    known: IdIndex, ids: IdArray, used: NDArray[Any], name: str
) -> NDArray[np.int64]:
    """Positions of those ids that have ratings; others may be unknown and get 0."""
    if known.matches(IdIndex(ids, known.kind)):
        return np.arange(len(ids))
    rated = np.flatnonzero(np.bincount(used, minlength=len(ids)))
    positions = np.zeros(len(ids), np.int64)
    positions[rated] = known.positions(ids[rated], name)
    return positions


def rows_among(users: IdIndex, items: IdIndex, X: Any, name: str, *, axis: str) -> CSR:
    """Rows of new users (or items) whose columns are the known items (or users)."""
    ratings = as_ratings(X)
    known, kind = (items, "item") if axis == "user" else (users, "user")
    rows = ratings.rows("user" if axis == "user" else "item")
    if not isinstance(X, Ratings):
        if rows.shape[1] != len(known):
            raise ValueError(
                f"{name} must have {len(known)} {kind}s, as the model has, but it is a matrix "
                f"of {ratings.shape[0]} users x {ratings.shape[1]} items."
            )
        return rows
    ids = ratings.item_ids if axis == "user" else ratings.user_ids
    positions = _rated_positions(known, ids, rows.indices, f"{kind}s of {name}")
    matrix = sparse.csr_array(
        (rows.values, positions[rows.indices].astype(np.int32), rows.indptr),
        shape=(rows.shape[0], len(known)),
    )
    matrix.sort_indices()
    return CSR(rows.indptr, matrix.indices.astype(np.int32), matrix.data, matrix.shape)


def check_same_users(test: Any, positives: CSR, X: Any, part: CSR, name: str) -> None:
    """Refuse a part whose rows are not those of test."""
    same = part.shape[0] == positives.shape[0]
    if isinstance(test, Ratings) and isinstance(X, Ratings):
        same = test._users.matches(X._users)
    if not same:
        raise ValueError(
            f"{name} must have the users of test in the same order, but it has "
            f"{part.shape[0]:,} users and test has {positives.shape[0]:,}, or other ids."
        )
