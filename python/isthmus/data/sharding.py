"""Ratings larger than memory from files to shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isthmus._util.arrays import as_values
from isthmus._util.checks import check_choice, check_integer
from isthmus._util.files import atomic_folder, check_new_folder
from isthmus.data._cells import DUPLICATES, Duplicates, csr_from_cells
from isthmus.data._columns import named_columns
from isthmus.data._counted_ids import CountedIds
from isthmus.data._csr import row_sums, transpose
from isthmus.data._frames import numbers
from isthmus.data._id_tensors import id_tensors
from isthmus.data._layout import TextFile
from isthmus.data._parquet import iter_parquet, names_in_parquet
from isthmus.data._reading import name_file
from isthmus.data._tensor_files import Tensors, write_tensors
from isthmus.data._text import iter_text
from isthmus.data._values import as_missing
from isthmus.data.io import SEPARATORS, existing_file, format_of
from isthmus.data.shards import (
    FORMAT_VERSION,
    MANIFEST,
    Shards,
    bucket_name,
    checksum_of,
    digest,
)

__all__ = ["shard"]

_ROWS_AT_ONCE = 1 << 20
_MOST_BUCKETS = 65_536

Tables = Callable[[], Iterator[tuple[Path, Any]]]
"""Yields the rows of all files, and which file they are of, each time it is called."""


def shard(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    buckets: int = 64,
    axis: Literal["user", "item"] = "user",
    duplicates: Duplicates = "error",
    columns: Sequence[str | int | None] | None = None,
    header: bool | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    implicit: bool = False,
    missing_values: float | Sequence[float] | None = None,
) -> Shards:
    """Turn files of ratings, larger than memory, into a folder of buckets of columns.

    The folder appears under its name once it is complete. The files are read twice. Besides the
    folder itself, 12 bytes a rating are needed on its disk meanwhile. Memory holds the ids, several
    copies of the ratings of one bucket, and a million others.

    Parameters
    ----------
    paths : str, os.PathLike or sequence of either
        Parquet files, or text files as `read_ratings` reads, with one rating in a row or a line.
    output : str or os.PathLike
        A folder, which must not exist yet or be empty.
    buckets : int, default 64
        How many to make, with about equal numbers of ratings: columns are dealt to them in order of
        their numbers of ratings. There are at most as many as columns.
    axis : {"user", "item"}, default "user"
        Whose ids are the columns, and are split: users for models with a row an item, as
        `AutoRec` is by default, and items for those with a row a user.
    duplicates : {"error", "mean", "sum", "last"}, default "error"
        What to do if a user rated an item more than once: refuse, keep the mean or the sum, or keep
        what comes last.
    columns : sequence of 2 to 3 str, int or None, optional
        As for `read_ratings`; timestamps are not kept.
    header : bool, optional
        Whether the first line of a text file names the columns. Found by default.
    separator : str, optional
        One character, or ``"::"``. Found by default.
    encoding : str, optional
        Of text files; "utf-8" by default.
    implicit : bool, default False
        Whether every line is a rating of 1, so that no rating column is needed. Lines that repeat
        are one, unless `duplicates` is "sum", which counts them.
    missing_values : float or sequence of float, optional
        Values that mean "no rating", as for `read_ratings`.

    Returns
    -------
    Shards

    Raises
    ------
    FileNotFoundError, FileExistsError
        If a file is missing, or the output exists.
    TypeError, ValueError
        If an argument or a file is not as above; files are named.

    Examples
    --------
    >>> from isthmus import synthetic_ratings, write_ratings
    >>> for part in range(2):
    ...     ratings = synthetic_ratings(60, 50, 500, random_state=part)
    ...     write_ratings(ratings, f"{part}.parquet")
    >>> shards = shard(["0.parquet", "1.parquet"], "shards", axis="item", duplicates="last")
    >>> shards.shape, shards.n_buckets
    ((60, 50), 50)
    """
    check_integer("buckets", buckets, low=1, high=_MOST_BUCKETS)
    check_choice("axis", axis, ("user", "item"))
    check_choice("duplicates", duplicates, DUPLICATES)
    check_new_folder(output)
    files = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    if not files:
        raise ValueError("paths must name at least one file, but there is none.")
    kinds = {path: format_of(existing_file(path)) for path in map(Path, files)}
    implicit = implicit or (columns is not None and (len(columns) == 2 or columns[2] is None))
    if implicit and duplicates == "error":
        duplicates = "mean"  # which is 1
    missing = as_missing(missing_values, implicit=implicit)

    def tables() -> Iterator[tuple[Path, Any]]:
        for path, kind in kinds.items():
            if kind in ("npz", "jsonl", "netflix"):
                raise ValueError(
                    f"{path} must be a Parquet or text file, but its format is {kind}."
                )
            written = TextFile(
                columns, header, separator or SEPARATORS.get(kind), encoding or "utf-8", implicit
            )
            read = _from_parquet if kind == "parquet" else iter_text
            for table in _of_some_rows(read(path, written)):
                if len(missing) and "rating" in table.column_names:
                    with name_file(path):
                        table = table.filter(pa.array(~np.isin(_values(table), missing)))
                if len(table):
                    yield path, table

    with atomic_folder(output) as folder:
        _Writer(tables, folder, int(buckets), axis, duplicates).write()
    return Shards(output)


def _from_parquet(path: Path, written: TextFile) -> Iterator[Any]:
    there = names_in_parquet(path)
    names = named_columns(written.columns, there, str(path), implicit=written.implicit)
    names.pop("timestamp", None)
    for table in iter_parquet(path, list(names.values()), _ROWS_AT_ONCE):
        yield pa.table({field: table[name] for field, name in names.items()})


def _values(table: Any) -> NDArray[np.float32]:
    if "rating" not in table.column_names:
        return np.ones(len(table), np.float32)
    return as_values(numbers(table["rating"], "rating"), "rating")


def _of_some_rows(tables: Iterator[Any]) -> Iterator[Any]:
    """Join tables until there are many rows, which are dealt with faster."""
    waiting: list[Any] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


class _Writer:
    """Write shards into a folder: count the ids, deal the ratings to files, and sort each."""

    def __init__(
        self, tables: Tables, folder: Path, buckets: int, axis: str, duplicates: Duplicates
    ) -> None:
        self._tables = tables
        self._folder = folder
        self._spill = folder / "spill"
        self._axis = axis
        self._duplicates: Duplicates = duplicates
        self._n_buckets = buckets

    def write(self) -> None:
        """Write the shards."""
        index = {name: CountedIds(name) for name in ("user", "item")}
        for path, table in self._tables():
            with name_file(path):
                for name, ids in index.items():
                    ids.add(table[name])
        counted = {name: ids.finish() for name, ids in index.items()}
        self._ids = {name: ids for name, (ids, _) in counted.items()}
        self._counts = {name: np.zeros(len(ids), np.int64) for name, ids in self._ids.items()}
        self._sums = {name: np.zeros(len(ids)) for name, ids in self._ids.items()}
        counts = counted[self._axis][1]
        self._n_buckets = min(self._n_buckets, len(counts))
        self._bucket_of = _deal(counts, self._n_buckets)
        ends = np.cumsum(np.bincount(self._bucket_of, minlength=self._n_buckets))
        by_bucket = np.argsort(self._bucket_of, kind="stable").astype(np.int32)
        self._columns = np.split(by_bucket, ends[:-1])
        self._place_of = np.empty(len(counts), np.int32)  # of a column in its bucket
        for columns in self._columns:
            self._place_of[columns] = np.arange(len(columns))
        self._squares, self._low, self._high = 0.0, np.inf, -np.inf
        self._spill.mkdir()
        self._deal_ratings(index)
        entries = [self._write_bucket(number) for number in range(self._n_buckets)]
        shutil.rmtree(self._spill)
        self._write_manifest(entries)

    def _deal_ratings(self, index: dict[str, CountedIds]) -> None:
        """Append every rating to the file of its bucket, in the order of the input."""
        rows = "item" if self._axis == "user" else "user"
        for path, table in self._tables():
            with name_file(path):
                column = index[self._axis].positions(table[self._axis])
                row = index[rows].positions(table[rows])
                values = _values(table)
            bucket = self._bucket_of[column]
            order = np.argsort(bucket, kind="stable")
            ends = np.cumsum(np.bincount(bucket, minlength=self._n_buckets))
            cells = np.empty(len(order), _CELL)
            cells["row"], cells["value"] = row[order], values[order]
            cells["column"] = self._place_of[column[order]]
            for number, some in enumerate(np.split(cells, ends[:-1])):
                if len(some):
                    with open(self._spill / str(number), "ab") as file:
                        file.write(some.data)

    def _write_bucket(self, number: int) -> dict[str, Any]:
        """Sort the ratings of a bucket into its file, and return its entry of the manifest."""
        cells = np.fromfile(self._spill / str(number), _CELL)
        (self._spill / str(number)).unlink()
        columns = self._columns[number]
        n_rows = len(self._ids["item" if self._axis == "user" else "user"])
        rows, row = _renumbered(cells["row"], n_rows)
        column = np.ascontiguousarray(cells["column"])
        sides = {"user": (column, columns), "item": (row, rows)}
        if self._axis == "item":
            sides = {"user": (row, rows), "item": (column, columns)}
        (user, users), (item, items) = sides["user"], sides["item"]
        by_user, _ = csr_from_cells(
            *(user, item, np.ascontiguousarray(cells["value"]), None),
            duplicates=self._duplicates,
            user_ids=self._ids["user"][users],
            item_ids=self._ids["item"][items],
        )
        del cells
        by_item = transpose(by_user, num_threads=1)
        for name, those, matrix in (("user", users, by_user), ("item", items, by_item)):
            self._counts[name][those] += np.diff(matrix.indptr)
            self._sums[name][those] += row_sums(matrix)
        self._measure(by_user.values)
        matrix = by_item if self._axis == "user" else by_user
        tensors: Tensors = {
            "columns": columns,
            "rows": rows,
            "indptr": matrix.indptr,
            "indices": matrix.indices,
            "values": matrix.values,
        }
        sizes = {"columns": len(columns), "rows": len(rows), "ratings": len(matrix.values)}
        return {**sizes, **self._write_file(bucket_name(number), tensors)}

    def _measure(self, values: NDArray[np.float32]) -> None:
        self._squares += float(np.einsum("i,i->", values, values, dtype=np.float64))
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def _write_manifest(self, entries: list[dict[str, Any]]) -> None:
        n_ratings = int(self._counts["user"].sum())
        mean = float(self._sums["user"].sum()) / n_ratings
        sides = {f"{name}s": self._write_side(name) for name in ("user", "item")}
        manifest: dict[str, Any] = {
            "format": "isthmus shards",
            "format_version": FORMAT_VERSION,
            "axis": self._axis,
            "n_users": len(self._ids["user"]),
            "n_items": len(self._ids["item"]),
            "n_ratings": n_ratings,
            "mean": mean,
            "deviation": max(self._squares / n_ratings - mean**2, 0.0) ** 0.5,
            "min": self._low,
            "max": self._high,
            **sides,
            "buckets": entries,
        }
        manifest["checksum"] = checksum_of(manifest)
        (self._folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")

    def _write_side(self, name: str) -> dict[str, Any]:
        tensors = id_tensors(name, self._ids[name])
        tensors |= {"counts": self._counts[name], "sums": self._sums[name]}
        return self._write_file(f"{name}s.safetensors", tensors)

    def _write_file(self, name: str, tensors: Tensors) -> dict[str, Any]:
        path = self._folder / name
        write_tensors(path, tensors, {"isthmus": "shards"})
        return {"bytes": path.stat().st_size, "blake2b": digest(path)}


_CELL = np.dtype([("row", np.int32), ("column", np.int32), ("value", np.float32)])


def _deal(counts: NDArray[np.int64], buckets: int) -> NDArray[np.uint16]:
    """Return each column's bucket: in order of counts, back and forth over the buckets."""
    dealt = np.arange(len(counts))
    turn, place = np.divmod(dealt, buckets)
    bucket = np.empty(len(counts), np.uint16)
    bucket[np.argsort(-counts, kind="stable")] = np.where(turn % 2, buckets - 1 - place, place)
    return bucket


def _renumbered(
    positions: NDArray[np.int32], n: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the positions below n that occur, sorted, and the number of each among them."""
    numbers = np.zeros(n, np.int32)
    numbers[positions] = 1
    there = np.flatnonzero(numbers).astype(np.int32)
    numbers[there] = np.arange(len(there))
    return there, numbers[positions]
