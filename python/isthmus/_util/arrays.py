"""One-dimensional arrays of ratings and timestamps: their checks and conversions."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "as_contiguous",
    "as_timestamps",
    "as_values",
    "blocks",
    "check_same_length",
    "is_finite",
    "read_only",
]


MAX_RATING = 1e15
"""Of this size, the squares of 100 million ratings still have a sum in float32."""


def as_contiguous(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Turn an array into what the core takes: of this type, contiguous and aligned."""
    return np.require(np.asarray(array), dtype, ["C", "A"])


def as_values(values: Any, name: str) -> NDArray[np.float32]:
    """Turn ratings into contiguous float32, without a copy if they are so already."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, but its dtype is {array.dtype}.")
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, but its shape is {array.shape}.")
    with np.errstate(over="ignore"):
        converted: NDArray[np.float32] = as_contiguous(array, np.float32)
    limit = np.float32(MAX_RATING)
    bad = [
        np.flatnonzero(~(np.abs(converted[b]) <= limit)) + b.start for b in blocks(len(converted))
    ]
    if count := sum(map(len, bad)):
        first = next(int(b[0]) for b in bad if len(b))
        raise ValueError(
            f"{name} must hold finite values from {-MAX_RATING:g} to {MAX_RATING:g}, but "
            f"{count:,} of them "
            f"{'is' if count == 1 else 'are'} not: the first is {array[first]} at position {first}."
        )
    return converted


def as_timestamps(values: Any, name: str = "timestamps") -> NDArray[np.int64]:
    """Turn integers or points in time into int64 seconds."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, but its shape is {array.shape}.")
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            raise ValueError(f"{name} must be points in time, but some are NaT.")
        array = array.astype("datetime64[s]")
    elif array.dtype.kind == "f" and not (np.isfinite(array) & (np.trunc(array) == array)).all():
        raise ValueError(f"{name} must be whole seconds, but some are fractions or not finite.")
    elif array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be integers or points in time, not {array.dtype}.")
    most = np.float64(2**63) if array.dtype.kind == "f" else 2**63
    if array.dtype.kind in "uf" and (wrong := array[abs(array) >= most]).size:
        raise ValueError(f"{name} must fit int64, but one is {wrong[0]}.")
    seconds: NDArray[np.int64] = as_contiguous(array, np.int64)
    return seconds


def check_same_length(name: str, array: NDArray[Any], other: str, model: NDArray[Any]) -> None:
    """Refuse arrays of different lengths."""
    if array.shape != model.shape:
        raise ValueError(
            f"{name} must have one entry for each of {other}, {len(model):,}, "
            f"but it has {len(array):,}."
        )


def is_finite(array: NDArray[Any], *, limit: float = np.inf) -> bool:
    """Return whether all numbers of an array are finite, and none is beyond a limit."""
    rows = max(1, (1 << 17) // max(1, array[:1].size))  # which stay in cache
    parts = (array[block] for block in blocks(len(array), rows) if array[block].size)
    if limit < np.inf:
        return all(bool(-limit <= part.min() and part.max() <= limit) for part in parts)
    return all(bool(np.isfinite(part).all()) for part in parts)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that refuses to be written through."""
    view: NDArray[Any] = array.view()
    view.flags.writeable = False
    return view


def blocks(n: int, size: int = 1 << 22) -> Iterator[slice]:
    """Cut a range into slices."""
    # Temporaries stay small, also when the arrays are memory maps larger than the memory.
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
