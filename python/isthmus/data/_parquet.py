"""Tables from Parquet files."""

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.data._reading import check_unpacked, refuse_damage

__all__ = ["names_in_parquet", "read_parquet"]

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
        # row_group(...).column(...) would say more, but of a damaged file it ends the process
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


def _bounded(path: str | PathLike[str], batches: Iterable[Any]) -> Iterator[Any]:
    """Pass batches on while the values in their lists stay in proportion to the file."""
    size = 0
    for batch in batches:
        lists = [
            c for c in batch.columns if pa.types.is_list(c.type) or pa.types.is_large_list(c.type)
        ]
        size += _BYTES_A_VALUE * sum(len(column.flatten()) for column in lists)
        check_unpacked(path, size)
        yield batch
