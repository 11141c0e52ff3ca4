"""Files of tensors in safetensors format: written without a copy, and mapped into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import is_finite

__all__ = [
    "TYPES",
    "Layout",
    "Tensor",
    "Tensors",
    "check_layout",
    "from_halves",
    "in_order",
    "map_tensors",
    "to_halves",
    "write_tensors",
]

Tensors = dict[str, NDArray[Any]]


class Tensor(NamedTuple):
    """A tensor as a file must hold it."""

    dtype: type[np.generic]
    shape: tuple[int | None, ...]
    """None allows any length."""
    limit: float = np.inf
    """The greatest magnitude of floats; NaN allows infinite ones and NaN."""


Layout = Mapping[str, Tensor]
"""The tensors that a file must hold, and no others."""


TYPES = {
    np.dtype(dtype): name
    for dtype, name in {
        "<f4": "F32",
        "<f8": "F64",
        "<i4": "I32",
        "<i8": "I64",
        "<u8": "U64",
        "|u1": "U8",
        "|b1": "BOOL",
        "<u2": "BF16",
    }.items()
}
"""The names that safetensors has for types. NumPy has no bfloat16: its bits are kept."""


def to_halves(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the bits of finite floats, rounded to the nearest bfloat16, ties to even."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_halves(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the floats of bfloat16's bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_tensors(path: str | PathLike[str], tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write a file. safetensors' own writer copies every tensor, and hides the system's errors."""
    with open(path, "wb") as file:
        file.write(_header(metadata, tensors))
        for _, array in in_order(tensors):
            file.write(array.data)


def _header(metadata: dict[str, str], tensors: Tensors) -> bytes:
    """Return what a safetensors file begins with."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in in_order(tensors):
        begin, end = end, end + array.nbytes
        dtype = TYPES[array.dtype]
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # for what follows to be aligned
    return len(text).to_bytes(8, "little") + text


def in_order(tensors: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
    """Return the tensors as a file holds them, in an order that keeps each aligned."""
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        array = np.ascontiguousarray(tensors[name])
        yield name, array.astype(array.dtype.newbyteorder("<"), copy=False)


def map_tensors(path: str | PathLike[str]) -> Tensors:
    """Return the tensors of a file, which safetensors has checked, as views of its memory map.

    What is written to them stays in this process.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
    entries.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "c", offset=8 + size).view(np.ndarray)
    types = {name: dtype for dtype, name in TYPES.items()}
    tensors: Tensors = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        array = data[begin:end].view(types[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = np.require(array, requirements="A")  # other writers may not align them
    return tensors


def check_layout(tensors: Tensors, layout: Layout) -> None:
    """Refuse tensors of other names, types, shapes or magnitudes."""
    for name in sorted(layout.keys() - tensors.keys()):
        raise ValueError(f"it has no tensor {name}")
    for name in sorted(tensors.keys() - layout.keys()):
        raise ValueError(f"it has a tensor {name!r}, which the model does not have")
    for name, wanted in layout.items():
        _check_tensor(name, tensors[name], wanted)


def _check_tensor(name: str, array: NDArray[Any], wanted: Tensor) -> None:
    if array.dtype != wanted.dtype:
        dtype = np.dtype(wanted.dtype)
        raise ValueError(f"{name} is of type {array.dtype}, but it must be {dtype}")
    fits = array.ndim == len(wanted.shape) and all(
        want is None or want == have for want, have in zip(wanted.shape, array.shape, strict=True)
    )
    if not fits:
        shape = ", ".join("any" if size is None else str(size) for size in wanted.shape)
        comma = "," if len(wanted.shape) == 1 else ""
        raise ValueError(f"{name} has shape {array.shape}, but it must be ({shape}{comma})")
    if array.dtype.kind != "f" or np.isnan(wanted.limit):
        return
    if not is_finite(array):
        raise ValueError(f"{name} must be finite")
    if np.isfinite(wanted.limit) and not is_finite(array, limit=wanted.limit):
        raise ValueError(f"{name} must be finite in float32")
