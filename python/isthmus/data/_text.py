"""Ratings in text files with one line a rating."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.csv

from isthmus.data import _compute as pc
from isthmus.data._columns import FIELDS
from isthmus.data._layout import TIMESTAMPS, Layout, TextFile, find_layout, refuse
from isthmus.data._reading import Unpacked

__all__ = ["iter_text", "read_text"]

# It replaces "::" while Arrow, whose separators have one byte, reads the file.
_UNIT_SEPARATOR = "\x1f"


class _DoubleColons:
    """A binary stream in which every "::" has become a single byte."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._held = b""
        self.closed = False

    def readable(self) -> bool:
        return True

    def read(self, size: int) -> bytes:
        while True:
            block: bytes = self._stream.read(size - len(self._held))
            data = self._held + block
            # Colons at the end wait for the next block, which may begin with another.
            kept = data.rstrip(b":") if block else data
            self._held = data[len(kept) :]
            if kept or not block:
                return kept.replace(b"::", _UNIT_SEPARATOR.encode())

    def close(self) -> None:
        self._stream.close()
        self.closed = True


def read_text(path: str | PathLike[str], written: TextFile) -> Any:
    """Read a text file.

    Returns
    -------
    pyarrow.Table
        Columns user and item (dictionaries of int64 or string) and, where there are any, rating
        (float32) and timestamp (int64 or timestamp), without nulls.
    """
    layout = find_layout(path, written)
    try:
        table = _read_arrow(path, layout)
    except (pa.ArrowException, UnicodeError) as error:
        refuse(path, layout, str(error))
    names = table.column_names
    missing = [name for name in names if table[name].null_count]
    if missing:
        refuse(path, layout, f"a {missing[0]} is missing")
    if "rating" in names and not pc.all(pc.is_finite(table["rating"])).as_py():
        refuse(path, layout, "a rating is not finite")
    for position, field in enumerate(("user", "item")):
        column = _integers_or_strings(table[field])
        if column is None:
            reason = f"an id of the {field}s is empty, negative or has U+0000"
            refuse(path, layout, reason, integers=field)
        table = table.set_column(position, field, column)
    return table


def _read_arrow(path: str | PathLike[str], layout: Layout) -> Any:
    try:
        return _read_as(path, layout, TIMESTAMPS[layout.timestamp])
    except pa.ArrowInvalid:
        if layout.timestamp != "number" or layout.columns.timestamp is None:
            raise
    # some files have both 978300760 and 978300760.0
    table = _read_as(path, layout, pa.float64())
    seconds = table["timestamp"].cast(pa.int64())
    return table.set_column(table.column_names.index("timestamp"), "timestamp", seconds)


def _read_as(path: str | PathLike[str], layout: Layout, timestamp_type: Any) -> Any:
    id_type = pa.dictionary(pa.int32(), pa.string())
    with Unpacked(path) as stream:
        return pyarrow.csv.read_csv(
            *_arguments(stream, layout, (id_type, id_type, pa.float32(), timestamp_type)),
            # Arrow's own pool keeps what the blocks needed, several times the table's size.
            pa.system_memory_pool(),
        )


def iter_text(path: str | PathLike[str], written: TextFile) -> Iterator[Any]:
    """Read a text file of any size as tables of about a mebibyte of text, without timestamps.

    Yields
    ------
    pyarrow.Table
        Columns user and item (strings as written, but for spaces around them) and, where there are
        ratings, rating (float32), without nulls.
    """
    layout = find_layout(path, written)
    layout = layout._replace(columns=layout.columns._replace(timestamp=None))
    try:
        with Unpacked(path) as stream:
            types = (pa.string(), pa.string(), pa.float32(), None)
            for batch in pyarrow.csv.open_csv(*_arguments(stream, layout, types)):
                yield _checked(path, layout, pa.Table.from_batches([batch]))
    except (pa.ArrowException, UnicodeError) as error:
        refuse(path, layout, str(error))


def _checked(path: str | PathLike[str], layout: Layout, table: Any) -> Any:
    for position, field in enumerate(("user", "item")):
        ids = pc.utf8_trim_whitespace(table[field])
        if ids.null_count or pc.any(pc.match_substring_regex(ids, r"^$|\x00")).as_py():
            refuse(path, layout, f"an id of the {field}s is empty or has U+0000")
        table = table.set_column(position, field, ids)
    if "rating" in table.column_names:
        rating = table["rating"]
        if rating.null_count or not pc.all(pc.is_finite(rating)).as_py():
            refuse(path, layout, "a rating is missing or not finite")
    return table


def _arguments(stream: Any, layout: Layout, types: Sequence[Any]) -> tuple[Any, ...]:
    """Return what Arrow's readers take: the input, and how to read, to parse and to convert."""
    names = [f"unused {position}" for position in range(layout.n_columns)]
    wanted = {f: at for f, at in layout.columns._asdict().items() if at is not None}
    for field, position in wanted.items():
        names[position] = field
    type_of = dict(zip(FIELDS, types, strict=True))
    double = layout.separator == "::"
    return (
        pa.PythonFile(_DoubleColons(stream) if double else stream, "r"),
        pyarrow.csv.ReadOptions(
            column_names=names,
            skip_rows=layout.skipped_lines,
            encoding=layout.encoding,
        ),
        pyarrow.csv.ParseOptions(
            delimiter=_UNIT_SEPARATOR if double else layout.separator,
            quote_char=False if double else '"',
            newlines_in_values=not double,
        ),
        pyarrow.csv.ConvertOptions(
            column_types={field: type_of[field] for field in wanted},
            include_columns=list(wanted),
            strings_can_be_null=False,
        ),
    )


def _integers_or_strings(column: Any) -> Any:
    """Turn ids into integers if all are written so; return None if one is invalid.

    Empty and negative ids are not, nor those with U+0000, which many programs take for the end of a
    text.
    """
    column = column.unify_dictionaries()
    written = column.chunk(0).dictionary
    codes = pa.concat_arrays([chunk.indices for chunk in column.chunks])
    ids = pc.utf8_trim_whitespace(written)
    if pc.any(pc.match_substring_regex(ids, r"^$|\x00")).as_py():
        return None
    # "007" must stay a string, and so must all other ids of the column.
    if pc.all(pc.match_substring_regex(ids, "^(0|-?[1-9][0-9]{0,18})$")).as_py():
        if pc.any(pc.starts_with(ids, "-")).as_py():
            return None
        with suppress(pa.ArrowInvalid):  # 19 digits may be too many
            ids = ids.cast(pa.int64())
    if len(pc.unique(ids)) == len(ids):
        return pa.DictionaryArray.from_arrays(codes, ids)
    return ids.take(codes).dictionary_encode()
