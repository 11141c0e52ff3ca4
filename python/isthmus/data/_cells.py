"""From cells in any order to a matrix by rows."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import as_contiguous, as_values
from isthmus._util.checks import check_choice, shown
from isthmus.data._csr import CSR, sorting_order
from isthmus.data._ids import IdArray

__all__ = ["DUPLICATES", "Duplicates", "csr_from_cells", "matrix_cells", "matrix_rows"]

Duplicates = Literal["error", "mean", "sum", "last"]

DUPLICATES = ("error", "mean", "sum", "last")


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
    check_choice("duplicates", duplicates, DUPLICATES)
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
                f"first that of user {shown(user_ids[row].item())} and item "
                f"{shown(item_ids[column].item())}; "
                'pass duplicates="mean", "sum" or "last" to Ratings.from_matrix, or to what else '
                "makes ratings, to merge them."
            )
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        count = np.diff(first, append=len(cell))
        if duplicates == "last":
            last = first + count - 1
            values = values[last]
            timestamps = None if timestamps is None else timestamps[last]
        else:
            total = np.add.reduceat(values, first, dtype=np.float64)
            values = as_values(total if duplicates == "sum" else total / count, "ratings")
            if timestamps is not None:
                timestamps = np.maximum.reduceat(timestamps, first)
        cell = cell[first]
    indptr = np.searchsorted(cell, np.arange(shape[0] + 1) * shape[1]).astype(np.int64, copy=False)
    return CSR(indptr, (cell % shape[1]).astype(np.int32), values, shape), timestamps


def matrix_rows(X: Any, shape: tuple[int, int], name: str) -> CSR:
    """Return a checked SciPy matrix in CSR format as it is, its rows sorted or not."""
    indptr, indices = as_contiguous(X.indptr, np.int64), as_contiguous(X.indices, np.int32)
    return CSR(indptr, indices, as_values(X.data, name), shape)


def matrix_cells(
    X: Any, cells: Any, name: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return rows, columns and values of a checked SciPy matrix in COO format."""
    values = as_values(cells.data, name)
    if X.format in ("bsr", "dia") and (len(values) != X.nnz or not values.all()):
        raise ValueError(
            f"{name} must store exactly its ratings, but its format is {X.format}, which fills up "
            f"with zeros that cannot be told from ratings of 0: convert it to csr, csc or coo."
        )
    rows, columns = (as_contiguous(numbers, np.int32) for numbers in (cells.row, cells.col))
    return rows, columns, values
