"""Ratings in a folder of shards: memory-mapped buckets of columns, dealt by popularity."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import safe_open

from isthmus._util.checks import check_integer, shown
from isthmus.data._csr import CSR, check_structure, has_increasing_rows, transpose
from isthmus.data._id_tensors import id_layout, ids_from
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data._pieces import Piece, merged
from isthmus.data._reading import name_file, refuse_damage
from isthmus.data._scratch import scratch_array
from isthmus.data._tensor_files import Layout, Tensor, Tensors, check_layout, map_tensors
from isthmus.data.ratings import Ratings

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "Bucket",
    "Shards",
    "bucket_name",
    "checksum_of",
    "digest",
    "is_shards",
]

FORMAT_VERSION = 1

MANIFEST = "manifest.json"

_KIND = "shards of ratings"

_STATISTICS = ("mean", "deviation", "min", "max")

_FIELDS = ("axis", "n_ratings", *_STATISTICS, "users", "items", "buckets")

_CELLS_AT_ONCE = 1 << 21

Allocate = Callable[[int, DTypeLike], NDArray[Any]]
"""Make an array of a length and a type."""


class Bucket(NamedTuple):
    """Some columns of the ratings, and the rows that have cells in them.

    Parameters
    ----------
    columns : ndarray of int32
        Positions of the columns among the ids of their axis, increasing.
    rows : ndarray of int32
        Positions of the rows among the ids of theirs, increasing; each has a cell.
    cells : CSR
        Of ``len(rows)`` x ``len(columns)``: int64 ``indptr``, int32 ``indices`` and float32
        ``values``, views of a memory map. Cell (r, c) is the rating of row ``rows[r]`` and column
        ``columns[c]``.
    """

    columns: NDArray[np.int32]
    rows: NDArray[np.int32]
    cells: CSR


class Shards:
    """Ratings that `shard` wrote to a folder.

    Parameters
    ----------
    path : str or os.PathLike
        The folder. Its manifest and ids are checked now, a bucket when it is read.
    scratch : str or os.PathLike, optional
        A folder for the temporary files of training, up to 16 bytes a rating; by default the same.
        Do not choose one in memory, as ``/tmp`` often is.

    Attributes
    ----------
    path, scratch : pathlib.Path
    axis : {"user", "item"}
        Whose ids are the columns; rows are the other.
    shape : (int, int)
        Numbers of users and items.
    nnz, n_buckets : int
    mean, deviation, min, max : float
        Of all ratings.
    user_ids, item_ids : ndarray of int64 or str
        Sorted.
    counts : dict of str to ndarray of int64
        Ratings of every ``"user"`` and of every ``"item"``.
    sums : dict of str to ndarray of float64
        Their sums: ``sums["item"] / counts["item"]`` are the items' means.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a file of it is missing.
    ValueError
        If it holds no shards, is damaged, or is of another format version; in one sentence.

    Examples
    --------
    >>> from isthmus import shard, synthetic_ratings, write_ratings
    >>> write_ratings(synthetic_ratings(100, 50, 2000), "ratings.parquet")
    >>> shards = shard("ratings.parquet", "shards", buckets=4)
    >>> shards
    Shards(100 users x 50 items, 2,000 ratings in [1, 5], 4 buckets of users)
    >>> bucket = shards.bucket(0)
    >>> len(bucket.columns), bucket.cells.shape[1]
    (25, 25)
    >>> shards.to_ratings()
    Ratings(100 users x 50 items, 2,000 ratings in [1, 5])
    """

    def __init__(
        self, path: str | PathLike[str], *, scratch: str | PathLike[str] | None = None
    ) -> None:
        self.path = Path(path)
        self.scratch = self.path if scratch is None else Path(scratch)
        if not is_shards(path):
            raise FileNotFoundError(
                f"{path} must be a folder that isthmus shard wrote, but it has no {MANIFEST}."
            )
        with refuse_damage(self.path, _KIND):
            self._manifest = manifest = _read_manifest(self.path / MANIFEST)
            self.axis: str = manifest["axis"]
            self.nnz: int = manifest["n_ratings"]
            self.n_buckets: int = len(manifest["buckets"])
            self.mean, self.deviation, self.min, self.max = (manifest[name] for name in _STATISTICS)
            self._check_sizes()
            sides = {name: self._read_side(name) for name in ("user", "item")}
        self._users, self._items = sides["user"][0], sides["item"][0]
        self.counts = {name: side[1] for name, side in sides.items()}
        self.sums = {name: side[2] for name, side in sides.items()}
        self.shape = (len(self._users), len(self._items))

    @property
    def user_ids(self) -> IdArray:
        """Ids of the users, sorted."""
        return self._users.ids

    @property
    def item_ids(self) -> IdArray:
        """Ids of the items, sorted."""
        return self._items.ids

    def __repr__(self) -> str:
        return (
            f"Shards({self.shape[0]:,} users x {self.shape[1]:,} items, {self.nnz:,} ratings in "
            f"[{self.min:g}, {self.max:g}], {self.n_buckets:,} buckets of {self.axis}s)"
        )

    def bucket(self, number: int) -> Bucket:
        """Read a bucket, and check that it is as it was written.

        Parameters
        ----------
        number : int
            From 0 to ``n_buckets - 1``. Of R workers, worker r takes those with
            ``number % R == r``.

        Returns
        -------
        Bucket

        Raises
        ------
        FileNotFoundError, ValueError
            If its file is missing or damaged.
        """
        check_integer("number", number, low=0, high=self.n_buckets - 1)
        path = self.path / bucket_name(number)
        entry = self._manifest["buckets"][number]
        with refuse_damage(path, _KIND):
            tensors = self._read(bucket_name(number), entry, _BUCKET)
            n_columns, n_rows = len(tensors["columns"]), len(tensors["rows"])
            shape = (n_rows, n_columns)
            cells = CSR(tensors["indptr"], tensors["indices"], tensors["values"], shape)
            check_structure(cells.indptr, cells.indices, shape, "its cells")
            if not has_increasing_rows(cells.indptr, cells.indices):
                raise ValueError("its cells must increase in every row, but they do not")
            if len(cells.values) != len(cells.indices):
                raise ValueError("it must have as many values as cells")
            by_item = self.axis == "item"
            for name, n in (("columns", self.shape[by_item]), ("rows", self.shape[not by_item])):
                _check_positions(tensors[name], n, name)
        return Bucket(tensors["columns"], tensors["rows"], cells)

    def buckets(self) -> Iterator[Bucket]:
        """Read one bucket after the other."""
        return map(self.bucket, range(self.n_buckets))

    def to_ratings(self, *, mmap: bool = False) -> Ratings:
        """Read all buckets into one matrix.

        Parameters
        ----------
        mmap : bool, default False
            Whether to put it into temporary files, 8 bytes a rating and as many more once a model
            asks for rows of items, and map them, so that the ratings may be larger than memory. The
            files have no names, and are deleted with the last array in them.

        Returns
        -------
        Ratings
            Those that were sharded, without timestamps.

        Raises
        ------
        FileNotFoundError, ValueError
            If a bucket is missing or damaged.
        OSError
            If there is no room for the files.
        """
        if mmap:
            return _MappedRatings(self)
        with name_file(self.path):
            return Ratings(
                self._matrix("user", np.empty), user_ids=self._users, item_ids=self._items
            )

    def _matrix(self, rows: str, empty: Allocate) -> CSR:
        """Assemble the ratings by users or by items, with little more memory than `empty` takes."""
        indptr = np.concatenate(([0], np.cumsum(self.counts[rows], dtype=np.int64)))
        shape = self.shape if rows == "user" else self.shape[::-1]
        matrix = CSR(indptr, empty(self.nnz, np.int32), empty(self.nnz, np.float32), shape)
        if rows == self.axis:
            self._fill_from_columns(matrix)
        else:
            self._fill_from_rows(matrix)
        return matrix

    def _fill_from_columns(self, matrix: CSR) -> None:
        """Fill in a matrix whose rows are the buckets' columns: each has its whole row."""
        for bucket in self._all_buckets():
            lines = transpose(bucket.cells, num_threads=1)
            begins = matrix.indptr[bucket.columns]
            lengths = np.diff(lines.indptr)
            self._check_counts(lengths, matrix.indptr[bucket.columns + 1] - begins)
            places = np.repeat(begins - lines.indptr[:-1], lengths)
            places += np.arange(len(places))
            matrix.indices[places] = bucket.rows[lines.indices]
            matrix.values[places] = lines.values

    def _fill_from_rows(self, matrix: CSR) -> None:
        """Fill in a matrix whose rows are the buckets' rows, of which each has a part."""
        for _ in self._all_buckets():  # which checks them
            pass
        for begin, end in _runs(matrix.indptr, _CELLS_AT_ONCE):
            parts = [self._part(number, begin, end) for number in range(self.n_buckets)]
            lines = merged(parts, matrix.shape[1], end - begin)
            del parts
            self._check_counts(np.diff(lines.indptr), np.diff(matrix.indptr[begin : end + 1]))
            cells = slice(matrix.indptr[begin], matrix.indptr[end])
            matrix.indices[cells], matrix.values[cells] = lines.indices, lines.values

    def _part(self, number: int, begin: int, end: int) -> Piece:
        """Read the cells of some rows from a bucket that has been checked."""
        tensors = map_tensors(self.path / bucket_name(number))
        first, last = np.searchsorted(tensors["rows"], [begin, end])
        ends = tensors["indptr"][first : last + 1]
        cells = slice(ends[0], ends[-1])
        return Piece(
            tensors["rows"][first:last] - np.int32(begin),
            np.diff(ends),
            tensors["columns"][tensors["indices"][cells]],
            tensors["values"][cells].copy(),
        )

    def _all_buckets(self) -> Iterator[Bucket]:
        """Read one bucket after the other, and check that each column is in exactly one."""
        missing = np.ones(len(self.counts[self.axis]), np.bool_)
        for bucket in self.buckets():
            if not missing[bucket.columns].all():
                raise ValueError(f"{self.path} is damaged: two buckets have the same {self.axis}.")
            missing[bucket.columns] = False
            yield bucket
        if missing.any():
            raise ValueError(f"{self.path} is damaged: there is a {self.axis} in no bucket.")

    def _check_counts(self, found: NDArray[np.int64], counted: NDArray[np.int64]) -> None:
        if (found != counted).any():
            which = "more" if (found > counted).any() else "fewer"
            raise ValueError(
                f"{self.path} is damaged: it has {which} ratings of an id than counted."
            )

    def _check_sizes(self) -> None:
        """Refuse a folder that lacks a bucket, or is too small for its number of ratings."""
        sizes = 0
        for number, entry in enumerate(self._manifest["buckets"]):
            sizes += self._file(bucket_name(number), entry).stat().st_size
        if not 1 <= self.nnz <= sizes // 8:
            raise ValueError(f"{self.nnz:,} ratings are not in its {sizes:,} bytes")

    def _file(self, name: str, entry: Any) -> Path:
        """Return the path of a file, if it is there and of its size."""
        path = self.path / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} must be a file of shards, but there is none.")
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(
                f"{name} must be of {entry['bytes']:,} bytes, but it is of {path.stat().st_size:,}"
            )
        return path

    def _read_side(self, name: str) -> tuple[IdIndex, NDArray[np.int64], NDArray[np.float64]]:
        """Read the ids, counts and sums of users or items."""
        file = f"{name}s.safetensors"
        tensors = self._read(file, self._manifest[f"{name}s"], {})
        layout = {
            **id_layout(tensors, name),
            "counts": Tensor(np.int64, (None,)),
            "sums": Tensor(np.float64, (None,)),
        }
        check_layout(tensors, layout)
        ids = IdIndex(ids_from(tensors, name), name)
        counts = tensors["counts"]
        if not len(ids) == len(counts) == len(tensors["sums"]):
            raise ValueError(f"{file} must have a count and a sum of every id")
        sorted_ids: Any = ids.ids
        if not (sorted_ids[1:] > sorted_ids[:-1]).all():
            raise ValueError(f"{file} must have increasing ids")
        if counts.min() < 1 or counts.sum() != self.nnz:
            raise ValueError(f"{file} must have counts above 0 with the sum {self.nnz:,}")
        return ids, counts, tensors["sums"]

    def _read(self, name: str, entry: Any, layout: Layout) -> Tensors:
        """Map a file, and check it against the manifest."""
        path = self._file(name, entry)
        if digest(path) != entry["blake2b"]:
            raise ValueError(f"the checksum of {name} is not that of the manifest")
        with safe_open(os.fspath(path), framework="numpy"):
            tensors = map_tensors(path)
        if layout:
            check_layout(tensors, layout)
        return tensors


_BUCKET: Layout = {
    "columns": Tensor(np.int32, (None,)),
    "rows": Tensor(np.int32, (None,)),
    "indptr": Tensor(np.int64, (None,)),
    "indices": Tensor(np.int32, (None,)),
    "values": Tensor(np.float32, (None,)),
}


def is_shards(path: str | PathLike[str]) -> bool:
    """Return whether a path is that of a folder that `shard` wrote."""
    return (Path(path) / MANIFEST).is_file()


def bucket_name(number: int) -> str:
    """Return the name of a bucket's file."""
    return f"bucket-{number:05}.safetensors"


def digest(path: str | PathLike[str]) -> str:
    """Return the checksum of a file."""
    sums = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            sums.update(block)
    return sums.hexdigest()


def checksum_of(manifest: dict[str, Any]) -> str:
    """Return the checksum of a manifest, which is stored in it as well."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = json.loads(path.read_text("utf-8"))
    if not isinstance(manifest, dict) or manifest.get("format") != "isthmus shards":
        raise ValueError(f"{MANIFEST} is not that of shards")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {shown(version)}, and this isthmus reads version "
            f"{FORMAT_VERSION}."
        )
    if manifest.get("checksum") != checksum_of(manifest):
        raise ValueError(f"the checksum of {MANIFEST} is not that of what it holds")
    _check_fields(manifest)
    return manifest


def _check_fields(manifest: dict[str, Any]) -> None:
    for name in _FIELDS:
        if name not in manifest:
            raise ValueError(f"{MANIFEST} must have the field {name}, but it has not")
    buckets = manifest["buckets"]
    if manifest["axis"] not in ("user", "item") or not isinstance(buckets, list) or not buckets:
        raise ValueError(f"{MANIFEST} must have buckets of users or items")
    for entry in (manifest["users"], manifest["items"], *buckets):
        there = isinstance(entry, dict) and {"bytes", "blake2b"} <= entry.keys()
        if not there or type(entry["bytes"]) is not int:
            raise ValueError(f"{MANIFEST} must have the size and the checksum of every file")
    if type(manifest["n_ratings"]) is not int:
        raise ValueError(f"{MANIFEST} must have the number of ratings")
    for name in _STATISTICS:
        if type(manifest[name]) is not float or not math.isfinite(manifest[name]):
            raise ValueError(f"{name} in {MANIFEST} must be a finite number")


def _check_positions(positions: NDArray[np.int32], n: int, name: str) -> None:
    if not (positions[1:] > positions[:-1]).all():
        raise ValueError(f"its {name} must increase, but they do not")
    if len(positions) and (positions[0] < 0 or positions[-1] >= n):
        raise ValueError(f"its {name} must lie between 0 and {n - 1:,}, but they do not")


def _runs(indptr: NDArray[np.int64], cells: int) -> Iterator[tuple[int, int]]:
    """Cut rows into runs of at most so many cells, or of one row."""
    begin, n_rows = 0, len(indptr) - 1
    while begin < n_rows:
        end = int(np.searchsorted(indptr, indptr[begin] + cells, side="right")) - 1
        end = min(max(end, begin + 1), n_rows)
        yield begin, end
        begin = end


class _MappedRatings(Ratings):
    """The ratings of shards in temporary files, by users and, once that is asked for, by items."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        with name_file(shards.path):
            super().__init__(self._matrix("user"), user_ids=shards._users, item_ids=shards._items)

    def rows(self, orientation: Literal["user", "item"], *, num_threads: int = 0) -> CSR:
        """Return the ratings by users or by items, as `Ratings.rows` does."""
        if orientation == "item":
            return self._matrix("item")
        return super().rows(orientation, num_threads=num_threads)

    def _matrix(self, rows: str) -> CSR:
        return self._shards._matrix(rows, partial(scratch_array, self._shards.scratch))
