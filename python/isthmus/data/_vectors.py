"""A caller's vectors of items: their ids, and the vectors of some lists at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from isthmus._util.arrays import blocks
from isthmus.data._ids import IdIndex, as_ids
from isthmus.data._matrices import checked_matrix

__all__ = ["item_rows", "unit_blocks"]

_NUMBERS = 1 << 22  # of vectors, at once


def item_rows(vectors: Any, item_ids: ArrayLike | None) -> IdIndex:
    """Return the ids of the rows of a matrix of items, which are their positions by default."""
    shape = np.shape(vectors)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"vectors must be of shape (n_items, d), but their shape is {shape}.")
    ids = np.arange(shape[0]) if item_ids is None else as_ids(item_ids, "item_ids")
    if len(ids) != shape[0]:
        raise ValueError(
            f"item_ids must have one for each of the {shape[0]:,} rows of vectors, but it has "
            f"{len(ids):,}."
        )
    index = IdIndex(ids, "item")
    index.check_unique()
    return index


def unit_blocks(
    vectors: Any, places: NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield some lists at a time, and their items' vectors, of length 1.

    Parameters
    ----------
    vectors : array_like or scipy.sparse array or matrix, shape (n_items, d)
    places : ndarray of int64, shape (lists, n)
        Rows of `vectors`; -1 stands for no item, and gets a vector of zeros.
    """
    dense = not sparse.issparse(vectors)
    axes = ("items", "columns")
    rows: Any = np.asarray(vectors) if dense else checked_matrix(vectors, "vectors", axes).tocsr()
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"vectors must hold real numbers, but their dtype is {rows.dtype}.")
    if not np.isfinite(rows if dense else rows.data).all():
        raise ValueError("vectors must be finite, but some numbers are not.")
    n = places.shape[1]
    for block in blocks(len(places), max(1, _NUMBERS // max(1, n * rows.shape[1]))):
        wanted = np.maximum(places[block].reshape(-1), 0)
        part = (rows[wanted] if dense else rows[wanted].toarray()).astype(np.float32)
        part[places[block].reshape(-1) < 0] = 0
        lengths = np.sqrt(np.einsum("id,id->i", part, part, dtype=np.float64))
        unit = part / np.maximum(lengths, np.finfo(np.float32).tiny)[:, np.newaxis]
        yield block, unit.astype(np.float32).reshape(-1, n, rows.shape[1])
