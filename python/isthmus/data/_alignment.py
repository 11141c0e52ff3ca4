"""A caller's matrices in the positions of the users and items that a model knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus.data._csr import (
    CSR,
    as_pattern,
    as_scipy,
    empty,
    has_increasing_rows,
    row_numbers,
    sorting_order,
)
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data._matrices import check_named, checked_matrix
from isthmus.data.ratings import Ratings, as_ratings

__all__ = [
    "cells_among",
    "check_apart",
    "check_same_users",
    "pattern_among",
    "ratings_among",
    "rows_among",
]


def cells_among(
    users: IdIndex, items: IdIndex, X: Any, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the positions of a matrix's cells among known users and items, and their values."""
    ratings = X if isinstance(X, Ratings) else ratings_among(users, items, X, name)
    rows = row_numbers(ratings.indptr).astype(np.int64)
    columns = ratings.indices.astype(np.int64)
    if ratings is not X:
        return rows, columns, ratings.values
    row_positions = _rated_positions(users, ratings.user_ids, rows, f"users of {name}")
    column_positions = _rated_positions(items, ratings.item_ids, columns, f"items of {name}")
    return row_positions[rows], column_positions[columns], ratings.values


def pattern_among(users: IdIndex, items: IdIndex, X: Any, name: str) -> CSR:
    """Return which of the known users' and items' cells a matrix has; without values."""
    rows, columns, _ = cells_among(users, items, X, name)
    ones = np.ones(len(rows), np.int8)
    return as_pattern(sparse.csr_array((ones, (rows, columns)), shape=(len(users), len(items))))


def ratings_among(users: IdIndex, items: IdIndex, X: Any, name: str) -> Ratings:
    """Return the ratings of the known users and items, in their order."""
    if not isinstance(X, Ratings):
        if sparse.issparse(X):
            _check_shape(users, items, X, name)
        return as_ratings(X, name, users, items)
    if users.matches(X._users) and items.matches(X._items):
        return X
    rows, columns, values = cells_among(users, items, X, name)
    matrix = sparse.coo_array((values, (rows, columns)), shape=(len(users), len(items)))
    return Ratings.from_matrix(matrix, user_ids=users.ids, item_ids=items.ids)


def _check_shape(users: IdIndex, items: IdIndex, X: Any, name: str) -> None:
    if X.shape != (len(users), len(items)):
        raise ValueError(
            f"{name} must be a matrix of {len(users)} users x {len(items)} items, as the model "
            f"was fitted to, but its shape is {X.shape}."
        )


def _rated_positions(
    known: IdIndex, ids: IdArray, used: NDArray[Any], name: str
) -> NDArray[np.int64]:
    """Return the positions of ids that have ratings; others may be unknown and get 0."""
    if known.matches(IdIndex(ids, known.kind)):
        return np.arange(len(ids))
    rated = np.flatnonzero(np.bincount(used, minlength=len(ids)))
    positions = np.zeros(len(ids), np.int64)
    positions[rated] = known.positions(ids[rated], name)
    return positions


def rows_among(
    users: IdIndex, items: IdIndex, X: Any, name: str, *, axis: str, num_threads: int
) -> CSR:
    """Return rows of new users (or items) whose columns are the known items (or users)."""
    known, kind = (items, "item") if axis == "user" else (users, "user")
    if not isinstance(X, Ratings):
        no_cells = _without_cells(X, name)  # which ratings to train on must not be
        matrix = X if no_cells else as_ratings(X, name)
        n_users, n_items = matrix.shape
        if (n_items if axis == "user" else n_users) != len(known):
            raise ValueError(
                f"{name} must have {len(known)} {kind}s, as the model has, but it is a matrix "
                f"of {n_users} users x {n_items} items."
            )
        if no_cells:
            n_rows = n_users if axis == "user" else n_items
            check_named(n_rows, 0, name, f"new {axis}s", f"{axis}_ids, as Ratings do,")
            return empty((n_rows, len(known)))
        rows: CSR = matrix.rows("user" if axis == "user" else "item", num_threads=num_threads)
        return rows
    ratings = X
    rows = ratings.rows("user" if axis == "user" else "item", num_threads=num_threads)
    ids = ratings.item_ids if axis == "user" else ratings.user_ids
    positions = _rated_positions(known, ids, rows.indices, f"{kind}s of {name}")
    indices, values = positions[rows.indices].astype(np.int32), rows.values
    shape = (rows.shape[0], len(known))
    if not has_increasing_rows(rows.indptr, indices):
        order = sorting_order(row_numbers(rows.indptr), indices, shape)
        indices, values = indices[order], values[order]
    return CSR(rows.indptr, indices, values, shape)


def _without_cells(X: Any, name: str) -> bool:
    return sparse.issparse(X) and checked_matrix(X, name).nnz == 0


def check_apart(positives: CSR, seen: CSR, name: str, what: str) -> None:
    """Refuse positives that no ranking could hold, as their cells are among the seen.

    `name` is what the caller calls the positives, and `what` says what the seen are: "in training".
    """
    overlap = as_scipy(positives).multiply(as_scipy(seen)).nnz
    if overlap:
        raise ValueError(
            f"{name} must hold nothing that is {what}, but {overlap:,} of its "
            f"{len(positives.indices):,} cells are."
        )


def check_same_users(
    test: Any, positives: CSR, X: Any, part: CSR, name: str, *, of: str = "test"
) -> None:
    """Refuse a part whose rows are not those of test, or what the caller calls `of`."""
    same = part.shape[0] == positives.shape[0]
    if isinstance(test, Ratings) and isinstance(X, Ratings):
        same = test._users.matches(X._users)
    if not same:
        raise ValueError(
            f"{name} must have the users of {of} in the same order, but it has "
            f"{part.shape[0]:,} users and {of} has {positives.shape[0]:,}, or other ids."
        )
