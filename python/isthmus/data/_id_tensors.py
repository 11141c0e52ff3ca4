"""Ids, and other names, as the tensors of a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus.data._ids import IdArray
from isthmus.data._tensor_files import Layout, Tensor, Tensors

__all__ = ["id_layout", "id_tensors", "ids_from"]


def id_tensors(name: str, ids: IdArray) -> Tensors:
    """Return ids, or other names, as tensors."""
    if ids.dtype.kind == "i":
        return {f"{name}.ids": ids}
    # safetensors holds numbers only: strings become their UTF-8 bytes and where each one ends
    encoded = [text.encode() for text in ids.tolist()]
    return {
        f"{name}.ids.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.ids.ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def id_layout(tensors: Tensors, name: str) -> Layout:
    """Describe what `id_tensors` gave."""
    if f"{name}.ids" in tensors:
        return {f"{name}.ids": Tensor(np.int64, (None,))}
    return {
        f"{name}.ids.bytes": Tensor(np.uint8, (None,)),
        f"{name}.ids.ends": Tensor(np.int64, (None,)),
    }


def ids_from(tensors: Tensors, name: str) -> IdArray:
    """Return what `id_tensors` gave; the layout has been checked."""
    if f"{name}.ids" not in tensors:
        return _strings(tensors[f"{name}.ids.bytes"], tensors[f"{name}.ids.ends"], f"{name}.ids")
    integers: IdArray = tensors[f"{name}.ids"]
    if len(integers) == 0 or integers.min() < 0:
        raise ValueError(f"{name}.ids must be at least one integer, and none below 0")
    return integers


def _strings(text: NDArray[np.uint8], ends: NDArray[np.int64], name: str) -> NDArray[np.str_]:
    lengths = np.diff(ends, prepend=0)
    if len(ends) == 0 or ends[-1] != len(text) or lengths.min() < 1 or ends.min() < 1:
        raise ValueError(
            f"{name}.ends must rise from above 0 to the number of bytes, {len(text):,}"
        )
    # NumPy's strings are all padded to the longest
    size = 4 * int(lengths.max()) * len(ends)
    if size > max(1 << 30, 256 * (text.nbytes + ends.nbytes)):
        raise ValueError(
            f"{name} has one of {lengths.max():,} bytes, too long compared with the others"
        )
    whole, starts = text.tobytes(), (ends - lengths).tolist()
    try:
        parts = [whole[a:b].decode() for a, b in zip(starts, ends.tolist(), strict=True)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}.bytes is no UTF-8: {error.reason}") from None
    if any("\0" in part for part in parts):
        raise ValueError(f"{name} must not have the character U+0000")
    strings = np.array(parts, np.str_)
    if (strings == "").any():
        raise ValueError(f"{name} must not be empty strings")
    return strings
