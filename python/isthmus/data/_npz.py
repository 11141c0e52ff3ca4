"""Arrays and SciPy's matrices from npz files, whose headers are checked before they are used."""

import math
import zipfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from scipy import sparse

from isthmus._util.checks import shown
from isthmus.data._reading import check_unpacked, refuse_damage

__all__ = ["as_shape", "names_in_npz", "read_arrays", "read_matrix"]

_KIND = "an npz file"
_MATRIX_PARTS = {
    **dict.fromkeys(("csr", "csc", "bsr"), ("data", "indices", "indptr")),
    "dia": ("data", "offsets"),
    "coo": ("data", "row", "col"),
}
_READ_HEADER: dict[tuple[int, int], Any] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}


def names_in_npz(path: Path) -> set[str]:
    """Return the names of the arrays in a file."""
    with refuse_damage(path, _KIND), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read those of the named arrays that the file has."""
    with refuse_damage(path, _KIND), zipfile.ZipFile(path) as archive:
        there = set(archive.namelist())
        members = {n: archive.getinfo(f"{n}.npy") for n in names if f"{n}.npy" in there}
        check_unpacked(path, sum(member.file_size for member in members.values()))
        return {name: _read_array(archive, member) for name, member in members.items()}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    name = member.filename.removesuffix(".npy")
    if member.flag_bits & 1:
        raise ValueError(f"its array {name} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its array {name} is compressed by another method than NumPy's")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in _READ_HEADER:
            raise ValueError(f"its array {name} has the version {version}")
        shape, _, dtype = _READ_HEADER[version](file)
        size, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
    # Objects would be unpickled, and elements without bytes can be as many as a header says.
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"its array {name} holds neither numbers nor strings")
    if size != there:
        raise ValueError(f"its array {name} should take {size:,} bytes, but takes {there:,}")
    with archive.open(member) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array


def read_matrix(path: Path) -> Any:
    """Read what ``scipy.sparse.save_npz`` wrote, for `checked_matrix` to check."""
    array = read_arrays(
        path, ("format", "shape", "coords", *chain.from_iterable(_MATRIX_PARTS.values()))
    )
    found = array.get("format", np.array("")).tolist()
    kind = found.decode("latin-1") if isinstance(found, bytes) else found
    if not isinstance(kind, str) or kind not in _MATRIX_PARTS:
        raise ValueError(
            f"{path} must hold a matrix whose format is one of {', '.join(_MATRIX_PARTS)}, "
            f"as scipy.sparse.save_npz writes it, but its format is {shown(kind)}."
        )
    if kind == "coo" and len(array.get("coords", ())) == 2:
        array["row"], array["col"] = array["coords"]
    missing = [part for part in ("shape", *_MATRIX_PARTS[kind]) if part not in array]
    if missing:
        raise ValueError(f"{path} must hold the array {missing[0]} of a matrix, but it has none.")
    shape = as_shape(array["shape"], path)
    data, *places = (array[part] for part in _MATRIX_PARTS[kind])
    parts = (data, tuple(places)) if kind == "coo" else (data, *places)
    with refuse_damage(path, "a sparse matrix"):
        return getattr(sparse, f"{kind}_array")(parts, shape=shape)


def as_shape(array: NDArray[Any], path: Path) -> tuple[int, int]:
    """Return the two numbers of a file's array named shape."""
    if array.shape != (2,) or array.dtype.kind not in "iu" or array.min() < 0:
        raise ValueError(
            f"{path} must have two whole numbers of at least 0 as its shape, "
            f"but it has {shown(array.ravel()[:3].tolist())}."
        )
    return int(array[0]), int(array[1])
