"""Tables from Parquet files."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import pyarrow.parquet as pq

from isthmus._reading import check_unpacked, refuse_damage

__all__ = ["names_in_parquet", "read_parquet"]

_KIND = "a Parquet file"


def names_in_parquet(path: str | PathLike[str]) -> list[str]:
    """Return the names of the columns of a file."""
    with refuse_damage(path, _KIND):
        names: list[str] = pq.read_schema(path).names
        return names


def read_parquet(path: str | PathLike[str], columns: Sequence[str]) -> Any:
    """Read some columns of a file as a pyarrow.Table, strings as dictionaries."""
    with refuse_damage(path, _KIND):
        metadata = pq.read_metadata(path)
        leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
        wanted = [i for i, leaf in enumerate(leaves) if leaf.path.partition(".")[0] in columns]
        # A few bytes can say that a value occurs a billion times, or a long string a million.
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        check_unpacked(path, 8 * sum(g.column(i).num_values for g in groups for i in wanted))
        check_unpacked(path, 8 * metadata.num_rows * len(wanted))
        strings = [leaves[i].path for i in wanted if leaves[i].physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            return file.read(columns=list(columns))
