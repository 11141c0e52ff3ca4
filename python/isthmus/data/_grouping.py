"""Histories from files larger than memory: all rows of a user together, many users at a time."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from isthmus.data._histories import by_user, is_by_user, rating_columns
from isthmus.data._parquet import iter_parquet, names_in_parquet
from isthmus.data._reading import name_file

__all__ = ["grouped", "part_of_ids"]

RATINGS_AT_ONCE = 1 << 22
"""Ratings of whole users that are brought together in memory."""

ROWS_AT_ONCE = 1 << 18
MOST_PARTS = 256


@contextmanager
def grouped(files: Sequence[Path], folder: Path, rows: int) -> Iterator[Iterator[tuple[Path, Any]]]:
    """Read tables of histories in either form as tables with a row a user, of so many rows.

    Parameters
    ----------
    files : sequence of Path
        Parquet files, whose columns must be those of the first.
    folder : Path
        Where a folder of temporary files may be, until this ends.
    rows : int

    Yields
    ------
    iterator of (Path, pyarrow.Table)
        Where the rows are from, for messages; rows as they come, or users in an order that depends
        on the rows alone.
    """
    names = _common_names(files)
    spill = folder / "spill"
    try:
        if is_by_user(names):
            yield ((path, table) for path in files for table in iter_parquet(path, names, rows))
        else:
            with name_file(files[0]):
                found = [names[at] for at in rating_columns(names)[:3] if at is not None]
            source = files[0] if len(files) == 1 else files[0].parent
            yield ((source, table) for table in _from_ratings(files, found, spill, rows))
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _common_names(files: Sequence[Path]) -> list[str]:
    first = names_in_parquet(files[0])
    for path in files[1:]:
        names = names_in_parquet(path)
        if set(names) != set(first):
            raise ValueError(
                f"{path} must have the columns of {files[0]}, {', '.join(first)}, "
                f"but it has {', '.join(names)}."
            )
    return first


def _from_ratings(
    files: Sequence[Path], names: Sequence[str], spill: Path, rows: int
) -> Iterator[Any]:
    n_ratings = sum(pq.read_metadata(path).num_rows for path in files)
    n_parts = min(-(-n_ratings // RATINGS_AT_ONCE), MOST_PARTS)
    tables = (table for path in files for table in iter_parquet(path, names, ROWS_AT_ONCE))
    if n_parts <= 1:
        whole = list(tables)
        parts: Iterable[Any] = [pa.concat_tables(whole).unify_dictionaries()] if whole else []
    else:
        parts = _spilled(tables, names[0], spill, n_parts)
    for part in parts:
        users = by_user(part)
        for begin in range(0, len(users), rows):
            yield users.slice(begin, rows)


def _spilled(tables: Iterator[Any], user: str, spill: Path, n_parts: int) -> Iterator[Any]:
    """Distribute ratings by their users to files, and read these one by one."""
    spill.mkdir()
    paths = [spill / f"{number}.arrow" for number in range(n_parts)]
    with ExitStack() as stack:
        writers: list[Any] = []
        for table in tables:
            plain = pa.table({name: _decoded(table[name]) for name in table.column_names})
            if not writers:
                writers = [stack.enter_context(pa.ipc.new_file(p, plain.schema)) for p in paths]
            parts = part_of_ids(plain[user], n_parts)
            order = np.argsort(parts, kind="stable")
            ends = np.cumsum(np.bincount(parts, minlength=n_parts))
            dealt = plain.take(pa.array(order))
            for number, writer in enumerate(writers):
                begin = ends[number - 1] if number else 0
                writer.write_table(dealt.slice(begin, ends[number] - begin))
    for path in paths:
        with pa.OSFile(str(path)) as file:
            yield pa.ipc.open_file(file).read_all()
        path.unlink()


def _decoded(column: Any) -> Any:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def part_of_ids(column: Any, n_parts: int) -> NDArray[np.int64]:
    """Return which of n parts each id of a column goes to: the same for all equal ids."""
    if column.null_count:
        raise ValueError(f"user must have no missing ids, but {column.null_count:,} are.")
    parts: NDArray[np.int64]
    if pa.types.is_integer(column.type):
        keys = column.to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        parts = ((keys >> np.uint64(32)) % np.uint64(n_parts)).astype(np.int64)
        return parts
    coded = column.combine_chunks().dictionary_encode()
    sums = np.array([zlib.crc32(str(one).encode()) for one in coded.dictionary.to_pylist()])
    parts = (sums % n_parts)[coded.indices.to_numpy()]
    return parts
