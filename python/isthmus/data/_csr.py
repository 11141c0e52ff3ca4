"""Sparse matrices by rows: their type, their checks, their order, their parts."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus import _core
from isthmus._util.arrays import blocks

__all__ = [
    "CSR",
    "append",
    "as_matrix",
    "as_pattern",
    "as_scipy",
    "check_shape",
    "check_structure",
    "column_counts",
    "count_filled",
    "empty",
    "from_dense",
    "has_increasing_rows",
    "row_numbers",
    "row_numbers_of",
    "row_sums",
    "select_rows",
    "sorting_order",
    "take_columns",
    "transpose",
    "union",
    "with_ones",
    "without",
]

_INT32_MAX = np.iinfo(np.int32).max


class CSR(NamedTuple):
    """The stored cells of a sparse matrix, row by row.

    Row ``r`` has the columns ``indices[indptr[r]:indptr[r + 1]]``, in increasing order.

    Parameters
    ----------
    indptr : ndarray of int64, shape (rows + 1,)
    indices : ndarray of int32, shape (nnz,)
    values : ndarray of float32, shape (nnz,)
    shape : (int, int)
        Numbers of rows and columns.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    shape: tuple[int, int]


def check_shape(
    shape: tuple[int, ...], name: str, axes: tuple[str, str] = ("users", "items")
) -> None:
    """Refuse what is no matrix or cannot be numbered by int32."""
    rows, columns = axes
    if len(shape) != 2:
        raise ValueError(
            f"{name} must have two dimensions, {rows} x {columns}, but its shape is {shape}."
        )
    if max(shape) > _INT32_MAX:
        raise ValueError(
            f"{name} must have at most {_INT32_MAX:,} {rows} and as many {columns}, "
            f"but it is {shape[0]:,} x {shape[1]:,}."
        )


def check_structure(
    indptr: NDArray[np.integer[Any]],
    indices: NDArray[np.integer[Any]],
    shape: tuple[int, int],
    name: str,
) -> None:
    """Refuse row pointers and column numbers that point outside the matrix."""
    rows, columns = shape
    for part, array in (("indptr", indptr), ("indices", indices)):
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name}.{part} must hold integers, but its dtype is {array.dtype}.")
    if indptr.shape != (rows + 1,):
        raise ValueError(
            f"{name}.indptr must have shape ({rows + 1},), one entry more than the rows, "
            f"but its shape is {indptr.shape}."
        )
    if indptr[0] != 0 or indptr[-1] != len(indices):
        raise ValueError(
            f"{name}.indptr must go from 0 to the number of stored cells, {len(indices):,}, "
            f"but it goes from {indptr[0]:,} to {indptr[-1]:,}."
        )
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if len(falls):
        raise ValueError(f"{name}.indptr must not decrease, but it does after row {falls[0]}.")
    if len(indices) and (indices.min() < 0 or indices.max() >= columns):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(
            f"{name}.indices must lie between 0 and {columns - 1}, but they include {wrong}."
        )


def count_filled(rows: CSR) -> int:
    """Return how many rows have a cell."""
    return int(np.count_nonzero(np.diff(rows.indptr)))


def has_increasing_rows(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> bool:
    """Return whether the columns of every row are sorted and none occurs twice."""
    starts = indptr[1:-1]
    for block in blocks(len(indices) - 1):
        rises = indices[block.start + 1 : block.stop + 1] > indices[block]
        first, last = np.searchsorted(starts, [block.start + 1, block.stop + 1])
        rises[starts[first:last] - 1 - block.start] = True  # where a new row begins
        if not rises.all():
            return False
    return True


def column_counts(indices: NDArray[np.int32], columns: int) -> NDArray[np.int64]:
    """Count each column's stored cells."""
    counts = np.zeros(columns, np.int64)
    for block in blocks(len(indices)):  # bincount makes an int64 copy of what it is given
        counts += np.bincount(indices[block], minlength=columns)
    return counts


def row_sums(
    matrix: CSR, made: Callable[[slice, NDArray[np.int64]], NDArray[Any]] | None = None
) -> NDArray[np.float64]:
    """Sum each row's values, in double precision.

    ``made(cells, rows)`` gives others for the cells of some rows, all that have any from the first
    to the last.
    """
    indptr = matrix.indptr
    sums = np.zeros(len(indptr) - 1)
    filled = np.flatnonzero(np.diff(indptr))
    starts = indptr[filled]
    # the cells are cast to double: some rows at a time, about as many cells as a block has
    edges = np.searchsorted(starts, [block.start for block in blocks(int(indptr[-1]))])
    for begin, end in pairwise(np.unique([*edges, len(filled)])):
        cells, rows = slice(starts[begin], indptr[filled[end - 1] + 1]), filled[begin:end]
        values = matrix.values[cells] if made is None else made(cells, rows)
        sums[rows] = np.add.reduceat(values, starts[begin:end] - starts[begin], dtype=np.float64)
    return sums


class RowTotals(NamedTuple):
    """How many cells the rows have, and what their values add up to.

    They are those of rows whose cells are on several machines, over all of them.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]


def row_numbers(indptr: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the row number of every stored cell."""
    return np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))


def row_numbers_of(indptr: NDArray[np.int64], cells: slice) -> NDArray[np.int64]:
    """Return the row of each of some stored cells, of which there is at least one."""
    first, last = np.searchsorted(indptr, [cells.start, cells.stop - 1], "right") - 1
    ends = np.clip(indptr[first : last + 2], cells.start, cells.stop)
    return np.repeat(np.arange(first, last + 1), np.diff(ends))


def sorting_order(
    rows: NDArray[np.int32], columns: NDArray[np.int32], shape: tuple[int, int]
) -> NDArray[np.integer[Any]]:
    """Return the stable order that sorts cells by row, then column."""
    by_column = _grouping_order(columns, shape[1])
    order: NDArray[np.integer[Any]] = by_column[_grouping_order(rows[by_column], shape[0])]
    return order


def transpose(matrix: CSR, num_threads: int) -> CSR:
    """Turn rows x columns into columns x rows, cells in order."""
    indptr, indices, values, shape = matrix
    by_columns = _core.transpose(indptr, indices, values, shape[1], num_threads=num_threads)
    return CSR(*by_columns, (shape[1], shape[0]))


def empty(shape: tuple[int, int]) -> CSR:
    """Return a matrix without cells."""
    return CSR(
        np.zeros(shape[0] + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), shape
    )


def from_dense(array: NDArray[np.float32]) -> CSR:
    """Store every entry of an array, zeros as well."""
    n_rows, n_columns = array.shape
    return CSR(
        np.arange(n_rows + 1, dtype=np.int64) * n_columns,
        np.tile(np.arange(n_columns, dtype=np.int32), n_rows),
        np.ascontiguousarray(array).reshape(-1),
        (n_rows, n_columns),
    )


def with_ones(pattern: CSR) -> CSR:
    """Return a pattern the value 1 in every cell."""
    return pattern._replace(values=np.ones(len(pattern.indices), np.float32))


def as_scipy(pattern: CSR) -> Any:
    """Return a pattern's cells, each as 1."""
    ones = np.ones(len(pattern.indices), np.int8)
    return sparse.csr_array((ones, pattern.indices, pattern.indptr), shape=pattern.shape)


def as_matrix(matrix: CSR) -> Any:
    """Return it as SciPy's, which shares the arrays."""
    return sparse.csr_array((matrix.values, matrix.indices, matrix.indptr), shape=matrix.shape)


def as_pattern(matrix: Any) -> CSR:
    """Return the cells of a SciPy matrix, whatever their values."""
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()  # a copy: the matrix is the caller's
    return CSR(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        np.empty(0, np.float32),
        matrix.shape,
    )


def select_rows(matrix: CSR, rows: NDArray[np.int64]) -> CSR:
    """Keep some rows, in the order given, with their values if there are any."""
    counts = np.diff(matrix.indptr)[rows]
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    cells = np.repeat(matrix.indptr[rows] - indptr[:-1], counts) + np.arange(indptr[-1])
    values = matrix.values[cells] if len(matrix.values) else matrix.values
    return CSR(indptr, matrix.indices[cells], values, (len(rows), matrix.shape[1]))


def take_columns(pattern: CSR, columns: NDArray[np.int64]) -> CSR:
    """Keep some columns, in the order given, of a pattern."""
    return as_pattern(as_scipy(pattern)[:, columns])


def union(*patterns: CSR) -> CSR:
    """Return the cells that any of some patterns has, all of one shape."""
    filled = [pattern for pattern in patterns if len(pattern.indices)]
    if len(filled) < 2:
        return (*filled, patterns[0])[0]
    return as_pattern(sum(map(as_scipy, filled[1:]), as_scipy(filled[0])))


def without(pattern: CSR, other: CSR) -> CSR:
    """Return the cells of one pattern that another of the same shape has not."""
    cells = as_scipy(pattern)
    return as_pattern(cells - cells.multiply(as_scipy(other)))


def append(seen: CSR, rows: CSR, axis: str) -> CSR:
    """Add new users (rows), or new items (rows whose columns are users), to a users x items one."""
    new = as_scipy(rows)
    if axis == "user":
        return as_pattern(sparse.vstack([as_scipy(seen), new], format="csr"))
    return as_pattern(sparse.hstack([as_scipy(seen), new.T.tocsr()], format="csr"))


def _grouping_order(keys: NDArray[np.int32], n_keys: int) -> NDArray[np.integer[Any]]:
    # SciPy's change from rows to columns is a counting sort, stable and linear in the number of
    # cells: the rows of a matrix with one cell a row come out grouped by column.
    n = len(keys)
    pointers = np.arange(n + 1, dtype=np.int32 if n < _INT32_MAX else np.int64)
    one_a_row = sparse.csr_array((np.zeros(n, np.int8), keys, pointers), shape=(n, n_keys))
    order: NDArray[np.integer[Any]] = one_a_row.tocsc().indices
    return order
