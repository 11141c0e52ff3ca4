"""Rows of a matrix that lie in several pieces, as in buckets or on ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, transpose

__all__ = ["Piece", "merged"]


class Piece(NamedTuple):
    """Some cells of some rows: rows, how many cells each has, and the cells' columns and values."""

    rows: NDArray[np.int32]
    lengths: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


def merged(pieces: list[Piece], n_columns: int, n_rows: int) -> CSR:
    """Return the rows whose cells lie in pieces, no two of which have the same cell."""
    lengths = np.concatenate([piece.lengths for piece in pieces])
    stacked = CSR(
        np.concatenate(([0], np.cumsum(lengths))),
        np.concatenate([piece.columns for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        (len(lengths), n_columns),
    )
    by_columns = transpose(stacked, num_threads=1)  # there and back again is a sort
    rows = np.concatenate([piece.rows for piece in pieces])[by_columns.indices]
    return transpose(by_columns._replace(indices=rows, shape=(n_columns, n_rows)), num_threads=1)
