"""Tables from Parquet files."""

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.data import _compute as pc
from isthmus.data._reading import check_unpacked, refuse_damage

__all__ = ["iter_parquet", "names_in_parquet", "parquet_files", "read_parquet"]

_KIND = "a Parquet file"
_BYTES_A_VALUE = 8


def names_in_parquet(path: str | PathLike[str]) -> list[str]:
    """Return the names of the columns of a file."""
    with refuse_damage(path, _KIND):
        names: list[str] = pq.read_schema(path).names
        return names


def read_parquet(path: str | PathLike[str], columns: Sequence[str]) -> Any:
    """Read some columns of a file as a pyarrow.Table, strings as dictionaries."""
    with refuse_damage(path, _KIND):
        metadata = pq.read_metadata(path)
        # row_group(...).column(...) has more to say, but ends the process on a damaged file
        leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
        wanted = [leaf for leaf in leaves if leaf.path.partition(".")[0] in columns]
        # A few bytes can say that a value occurs a billion times, or a long string a million.
        check_unpacked(path, _BYTES_A_VALUE * metadata.num_rows * len(wanted))
        strings = [leaf.path for leaf in wanted if leaf.physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            if any(leaf.max_repetition_level for leaf in wanted):
                batches = file.iter_batches(columns=list(columns))
                table = pa.Table.from_batches(_bounded(path, batches))
            else:
                table = file.read(columns=list(columns))
        table.validate(full=True)  # UTF-8 and the places in dictionaries
        return table


def parquet_files(path: str | PathLike[str]) -> list[Path]:
    """Return a Parquet file, or those of a folder in order of their names."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} must be a Parquet file or a folder, but there is none.")
    if path.is_file():
        return [path]
    # engines mark files that are not data by these first letters
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in (".parquet", ".pq") and not file.name.startswith((".", "_"))
    ]
    if not files:
        raise FileNotFoundError(f"{path} must hold Parquet files (*.parquet), but it has none.")
    return files


def iter_parquet(path: str | PathLike[str], columns: Sequence[str], rows: int) -> Iterator[Any]:
    """Read some columns of a file as tables of at most so many rows, strings as dictionaries."""
    with refuse_damage(path, _KIND):
        metadata = pq.read_metadata(path)
        leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
        strings = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            batches = file.iter_batches(batch_size=rows, columns=list(columns))
            for batch in _bounded(path, batches):
                batch.validate(full=True)
                yield pa.Table.from_batches([batch])


def _bounded(path: str | PathLike[str], batches: Iterable[Any]) -> Iterator[Any]:
    """Pass batches on while their values stay in proportion to the file."""
    size = 0
    for batch in batches:
        size += sum(map(_size, batch.columns))
        check_unpacked(path, size)
        yield batch


def _size(column: Any) -> int:
    """Return the bytes that the values of a column have, with strings written out."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _BYTES_A_VALUE * len(column) + _size(column.flatten())
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        return int(pc.sum(lengths).as_py() or 0)
    return _BYTES_A_VALUE * len(column)
