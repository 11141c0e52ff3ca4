"""From cells in any order to a matrix by rows."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus._arrays import as_values
from isthmus._checks import check_choice
from isthmus._csr import CSR, check_structure, sorting_order
from isthmus._ids import IdArray

__all__ = ["Duplicates", "csr_from_cells", "matrix_cells", "matrix_rows"]

Duplicates = Literal["error", "mean", "last"]


def csr_from_cells(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    timestamps: NDArray[np.int64] | None,
    *,
    duplicates: Duplicates,
    user_ids: IdArray,
    item_ids: IdArray,
) -> tuple[CSR, NDArray[np.int64] | None]:
    """Sort cells by row and column, and refuse or merge those that occur more than once."""
    check_choice("duplicates", duplicates, ("error", "mean", "last"))
    shape = (len(user_ids), len(item_ids))
    cell = rows.astype(np.int64) * shape[1] + columns
    if not (cell[1:] > cell[:-1]).all():
        order = sorting_order(rows, columns, shape)
        cell, values = cell[order], values[order]
        timestamps = None if timestamps is None else timestamps[order]
    repeats = np.flatnonzero(cell[1:] == cell[:-1])
    if len(repeats):
        if duplicates == "error":
            row, column = divmod(int(cell[repeats[0]]), shape[1])
            raise ValueError(
                f"a user may rate an item once, but {len(repeats):,} "
                f"{'rating repeats' if len(repeats) == 1 else 'ratings repeat'} an earlier pair, "
                f"first that of user {user_ids[row].item()!r} and item "
                f"{item_ids[column].item()!r}; "
                'pass duplicates="mean" or "last" to Ratings.from_matrix, or to what else makes '
                "ratings, to merge them."
            )
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        count = np.diff(first, append=len(cell))
        if duplicates == "last":
            last = first + count - 1
            values = values[last]
            timestamps = None if timestamps is None else timestamps[last]
        else:
            values = (np.add.reduceat(values, first, dtype=np.float64) / count).astype(np.float32)
            if timestamps is not None:
                timestamps = np.maximum.reduceat(timestamps, first)
        cell = cell[first]
    indptr = np.searchsorted(cell, np.arange(shape[0] + 1) * shape[1]).astype(np.int64, copy=False)
    return CSR(indptr, (cell % shape[1]).astype(np.int32), values, shape), timestamps


def matrix_rows(X: Any, shape: tuple[int, int]) -> CSR:
    """Take a SciPy matrix in CSR format as it is, its rows sorted or not."""
    stored = int(X.indptr[-1])  # the arrays may be longer, for SciPy leaves spare room
    indices, values = X.indices[:stored], as_values(X.data[:stored], "X")
    check_structure(X.indptr, indices, shape, "X")
    indptr = X.indptr.astype(np.int64, copy=False)
    return CSR(indptr, indices.astype(np.int32, copy=False), values, shape)


def matrix_cells(
    X: Any, shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Rows, columns and values of the stored cells of a SciPy matrix."""
    cells = X.tocoo(copy=False)
    values = as_values(cells.data, "X")
    if X.format in ("bsr", "dia") and (len(values) != X.nnz or not values.all()):
        raise ValueError(
            f"X must store exactly its ratings, but its format is {X.format}, which fills up with "
            f"zeros that cannot be told from ratings of 0: convert it to csr, csc or coo."
        )
    for name, numbers, limit in (("row", cells.row, shape[0]), ("column", cells.col, shape[1])):
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < limit:
            wrong = numbers.min() if numbers.min() < 0 else numbers.max()
            raise ValueError(
                f"X must have {name} numbers between 0 and {limit - 1}, but they include {wrong}."
            )
    rows, columns = (n.astype(np.int32, copy=False) for n in (cells.row, cells.col))
    return rows, columns, values
