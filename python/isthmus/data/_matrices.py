"""SciPy's matrices, checked before its compiled code reads their arrays."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus.data._csr import check_shape, check_structure, row_numbers

__all__ = ["check_named", "checked_matrix"]

_MOST_WITHOUT_CELLS = 10_000_000


def checked_matrix(X: Any, name: str, axes: tuple[str, str] = ("users", "items")) -> Any:
    """Check a SciPy matrix of any format; return CSR as it is, and other formats as cells.

    SciPy's code reads and writes wherever a matrix's arrays point. Call none of its functions with
    a caller's matrix, or with one from a file, before this.

    Parameters
    ----------
    X : scipy.sparse array or matrix
    name : str
        What the caller calls it, for messages.
    axes : (str, str)
        What its rows and its columns are, for messages.

    Returns
    -------
    scipy.sparse.csr_array, coo_array or a matrix of these formats
        Without a copy of the values where `X` has one of these formats.

    Raises
    ------
    TypeError, ValueError
        If its arrays have wrong types or shapes, or point outside the matrix.
    """
    check_shape(X.shape, name, axes)
    if X.format in ("csr", "csc", "bsr"):
        return _from_compressed(X, name)
    if X.format == "dia":
        return _from_diagonals(X, name)
    if X.format == "lil":
        return _from_lists(X, name)
    cells = X.tocoo(copy=False)
    _check_cells(cells, name)
    return cells


def check_named(n: int, cells: int, name: str, kind: str, argument: str) -> None:
    """Refuse far more rows or columns than cells, unless they have names: they cost memory."""
    if n > cells + _MOST_WITHOUT_CELLS:
        raise ValueError(
            f"{name} must come with {argument} to have over {_MOST_WITHOUT_CELLS:,} {kind} more "
            f"than stored cells, but it has {n:,} {kind} and {cells:,} cells."
        )


def _from_compressed(X: Any, name: str) -> Any:
    """Return a matrix in CSR format, or the cells of one in CSC or BSR format."""
    stored = _check_compressed(X, name)
    data, indices = X.data[:stored], X.indices[:stored]
    indptr = X.indptr.astype(np.int64, copy=False)
    if X.format == "csr":
        exact = len(X.indices) == len(X.data) == stored
        signed = X.indices.dtype.kind == X.indptr.dtype.kind == "i"
        return X if exact and signed else sparse.csr_array((data, indices, indptr), shape=X.shape)
    lines = row_numbers(indptr)
    if X.format == "csc":
        return sparse.coo_array((data, (indices, lines)), shape=X.shape)
    _, height, width = data.shape
    row = lines.astype(np.int64)[:, None, None] * height + np.arange(height)[:, None]
    column = indices.astype(np.int64)[:, None, None] * width + np.arange(width)
    places = [np.broadcast_to(numbers, data.shape).ravel() for numbers in (row, column)]
    return sparse.coo_array((data.ravel(), (places[0], places[1])), shape=X.shape)


def _check_compressed(X: Any, name: str) -> int:
    """Check the arrays of a matrix in CSR, CSC or BSR format; return how many entries they hold."""
    _check_array(X.data, name, 3 if X.format == "bsr" else 1, "biuf")
    for part in ("indptr", "indices"):
        _check_array(getattr(X, part), f"{name}.{part}", 1, "iu")
    block = X.data.shape[1:] or (1, 1)
    if 0 in block or X.shape[0] % block[0] or X.shape[1] % block[1]:
        raise ValueError(f"{name} must be made of whole blocks, but they are {block} in {X.shape}.")
    shape = (X.shape[0] // block[0], X.shape[1] // block[1])
    if len(X.indptr) == 0:
        raise ValueError(f"{name}.indptr must have an entry for each row and one more, not none.")
    stored = int(X.indptr[-1])  # the arrays may be longer, for SciPy leaves spare room
    if not 0 <= stored <= min(len(X.indices), len(X.data)):
        raise ValueError(
            f"{name}.indptr must go from 0 to the number of stored cells, "
            f"{min(len(X.indices), len(X.data)):,}, but it goes from {X.indptr[0]:,} to {stored:,}."
        )
    lines = shape if X.format != "csc" else (shape[1], shape[0])
    check_structure(X.indptr, X.indices[:stored], lines, name)
    return stored


def _check_cells(cells: Any, name: str) -> None:
    _check_array(cells.data, name, 1, "biuf")
    numbered = (("row", cells.row, cells.shape[0]), ("column", cells.col, cells.shape[1]))
    for kind, numbers, limit in numbered:
        _check_array(numbers, f"the {kind} numbers of {name}", 1, "iu")
        if len(numbers) != len(cells.data):
            raise ValueError(
                f"{name} must have a {kind} number for each of its {len(cells.data):,} values, "
                f"but it has {len(numbers):,}."
            )
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < limit:
            wrong = numbers.min() if numbers.min() < 0 else numbers.max()
            raise ValueError(
                f"{name} must have {kind} numbers between 0 and {limit - 1}, "
                f"but they include {wrong}."
            )


def _from_lists(X: Any, name: str) -> Any:
    """Return the cells of a matrix in LIL format, whose rows are Python lists."""
    try:
        columns, values = X.rows.tolist(), X.data.tolist()
        lengths = [len(row) for row in columns]
        if lengths != [len(row) for row in values] or len(lengths) != X.shape[0]:
            raise ValueError("some row has other numbers of columns and values")
        rows = np.repeat(np.arange(len(lengths)), lengths)
        places = np.fromiter(chain.from_iterable(columns), np.int64, len(rows))
        data = np.fromiter(chain.from_iterable(values), X.dtype, len(rows))
        cells = sparse.coo_array((data, (rows, places)), shape=X.shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must have lists of numbers as its rows, but {error}.") from None
    _check_cells(cells, name)
    return cells


def _from_diagonals(X: Any, name: str) -> Any:
    """Return the cells of a matrix in DIA format, zeros as well."""
    _check_array(X.data, name, 2, "biuf")
    _check_array(X.offsets, f"{name}.offsets", 1, "iu")
    if len(X.offsets) != len(X.data) or len(np.unique(X.offsets)) != len(X.offsets):
        raise ValueError(f"{name}.offsets must be distinct and one a row of {name}.data.")
    columns = np.arange(min(X.data.shape[1], X.shape[1]))
    rows = columns - X.offsets.astype(np.int64)[:, None]
    inside = (rows >= 0) & (rows < X.shape[0])
    places = rows[inside], np.broadcast_to(columns, rows.shape)[inside]
    return sparse.coo_array((X.data[:, : len(columns)][inside], places), shape=X.shape)


def _check_array(array: NDArray[Any], name: str, dimensions: int, kinds: str) -> None:
    what = "integers" if kinds == "iu" else "real numbers"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array of {what}, but it is {type(array).__name__}.")
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold {what}, but its dtype is {array.dtype}.")
    if array.ndim != dimensions:
        raise ValueError(
            f"{name} must have {dimensions} dimensions, but its shape is {array.shape}."
        )
