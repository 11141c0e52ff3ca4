"""Ratings in files with a JSON object in each line."""

import json
from collections.abc import Sequence
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.json

from isthmus.data._columns import named_columns
from isthmus.data._layout import TIMESTAMPS, read_lines, timestamp_kind
from isthmus.data._reading import Unpacked, refuse_damage, shortened

__all__ = ["read_json_lines"]

_BLOCK = 1 << 24  # in which a line must fit


def read_json_lines(
    path: str | PathLike[str], columns: Sequence[str | int | None] | None, *, implicit: bool
) -> tuple[Any, dict[str, str]]:
    """Read some of the fields of each object; the first object names all fields.

    Returns
    -------
    table : pyarrow.Table
    names : dict of str to str
        The table's columns by what they are: user, item, rating, timestamp.
    """
    first = _first_object(path)
    names = named_columns(columns, list(first), str(path), implicit=implicit)
    schema = pa.schema([(name, _type_of(field, first[name])) for field, name in names.items()])
    with refuse_damage(path, "a file with a JSON object in each line"), Unpacked(path) as stream:
        table = pyarrow.json.read_json(
            pa.PythonFile(stream, "r"),
            pyarrow.json.ReadOptions(block_size=_BLOCK),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            pa.system_memory_pool(),
        )
    return table, names


def _first_object(path: str | PathLike[str]) -> dict[str, Any]:
    line = next((line for _, line in read_lines(path, "utf-8")), "")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        first = None
    if not isinstance(first, dict):
        raise ValueError(
            f"{path} must have a JSON object in each line, as "
            f'{{"user": 1, "item": 2, "rating": 3.5}}, but the first line is {shortened(line)}.'
        )
    return first


def _type_of(field: str, value: Any) -> Any:
    """Return what Arrow is to read a field as, by its first value."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if field == "rating":
        return pa.float64()
    if field == "timestamp":
        kind = timestamp_kind(value) if isinstance(value, str) else None
        return TIMESTAMPS[kind] if kind in ("local", "zoned") else pa.int64()
    return pa.int64() if is_integer else pa.string()
