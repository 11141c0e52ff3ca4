"""How a text file of ratings is laid out, and which of its lines cannot be read."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from isthmus._util.checks import shown
from isthmus.data._columns import Columns, knows_names, resolve_columns
from isthmus.data._reading import Unpacked, printable, shortened

__all__ = [
    "TIMESTAMPS",
    "Layout",
    "TextFile",
    "check_encoding",
    "find_layout",
    "find_separator",
    "read_lines",
    "refuse",
    "split_line",
    "timestamp_kind",
]

_FLOAT32_MAX = float(np.finfo(np.float32).max)

Path = str | PathLike[str]
TimestampKind = Literal["number", "local", "zoned"]

TIMESTAMPS: dict[TimestampKind, pa.DataType] = {
    "number": pa.int64(),
    "local": pa.timestamp("ns"),
    "zoned": pa.timestamp("ns", "UTC"),
}
"""What Arrow reads timestamps as: seconds, or times in ISO 8601 without or with an offset."""


class Layout(NamedTuple):
    """Where to find what in a text file."""

    separator: str
    encoding: str
    n_columns: int
    columns: Columns
    timestamp: TimestampKind
    skipped_lines: int  # up to and with the header


_START = 1 << 16
_DENSE = 10  # columns
_ASIN = re.compile("[0-9]{9}[0-9X]|B[0-9A-Z]{9}")
_AMAZON_USER = re.compile("A[0-9A-Z]{9,20}")
_LONGEST_LINE = 1 << 20  # as much as Arrow reads at a time


def check_encoding(encoding: str) -> None:
    """Refuse what is not the name of an encoding of text."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding, errors="surrogateescape").read()
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"encoding must be known to Python, and be one of text, but it was {shown(encoding)}."
        ) from None


def read_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Read a file slowly: number and text of every line that is not empty."""
    for number, line in enumerate(_lines(path, encoding), 1):
        if line.rstrip("\n"):
            yield number, line.rstrip("\n")


def _lines(path: Path, encoding: str) -> Iterator[str]:
    with Unpacked(path) as stream:
        buffered = io.BufferedReader(stream, 1 << 16)
        text = io.TextIOWrapper(buffered, encoding, errors="surrogateescape")
        for number in itertools.count(1):
            try:
                line = text.readline(_LONGEST_LINE + 1)
            except UnicodeError as error:
                raise ValueError(f"{path} must be {encoding} text, but {error}.") from None
            if not line:
                return
            if len(line) > _LONGEST_LINE:
                raise ValueError(
                    f"{path}, line {number}: a line must have at most {_LONGEST_LINE:,} "
                    f"characters, but there are more."
                )
            yield line


def _records(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Read a file slowly: the first line's number, and the fields, of every record.

    A record is a line, or several where a quoted field has newlines.
    """
    if separator == "::":
        for number, line in read_lines(path, encoding):
            yield number, line.split(separator)
        return
    length = 0

    def counted() -> Iterator[str]:
        nonlocal length
        for line in _lines(path, encoding):
            length += len(line)
            if length > _LONGEST_LINE:
                raise ValueError(
                    f"{path}, line {number}: a record must have at most {_LONGEST_LINE:,} "
                    f"characters, but there are more up to where its quotes end."
                )
            yield line

    reader = csv.reader(counted(), delimiter=separator)
    while True:
        length = 0
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # a field longer than the csv module takes
            fields = [str(error)]
        if fields:
            yield number, fields


def split_line(line: str, separator: str) -> list[str]:
    """Cut a line into its fields."""
    if separator == "::":
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator))
    except csv.Error:  # a field longer than the csv module takes
        return [line]


class TextFile(NamedTuple):
    """How a text file is written; None for what its first two lines tell."""

    columns: Sequence[str | int | None] | None
    header: bool | None
    separator: str | None
    encoding: str
    implicit: bool


def find_layout(path: Path, written: TextFile) -> Layout:
    """Find out from a file's first two lines what is not said of how it is written."""
    columns, header, separator, encoding, implicit = written
    check_encoding(encoding)
    _refuse_binary(path, encoding)
    is_one = isinstance(separator, str) and len(separator) == 1 and separator.isascii()
    if separator is not None and separator != "::" and not is_one:
        raise ValueError(
            f'separator must be one ASCII character or "::", but it was {shown(separator)}.'
        )
    first = next(read_lines(path, encoding), None)
    if first is None:
        raise ValueError(f"{path} must hold at least one rating, but it is empty.")
    separator = separator or find_separator(first[1], path)
    records = list(itertools.islice(_records(path, encoding, separator), 2))
    fields = [[field.strip() for field in record] for _, record in records]
    by_name = any(isinstance(column, str) for column in columns or ())
    if header is None:
        header = by_name or _looks_like_header(fields)
    names = fields[0] if header else None
    if names is None and columns is None:
        _refuse_dense(fields, path)
        columns = _shifted(fields, implicit=implicit)
    found = resolve_columns(
        columns,
        *(names, len(fields[0]), str(path)),
        find=columns is None,
        implicit=implicit,
    )
    if len(fields) <= header:
        raise ValueError(f"{path} must hold at least one rating, but it has only a header.")
    kind = None
    if found.timestamp is not None and found.timestamp < len(fields[int(header)]):
        kind = timestamp_kind(fields[int(header)][found.timestamp])
        if kind is None and columns is None and names is None:
            found = found._replace(timestamp=None)  # the fourth column is something else
    skipped = records[1][0] - 1 if header else 0
    return Layout(separator, encoding, len(fields[0]), found, kind or "number", skipped)


def refuse(path: Path, layout: Layout, reason: str, *, integers: str | None = None) -> NoReturn:
    """Raise a ValueError that names the first line that cannot be read, and why.

    Ids in the column `integers`, if any, must not be negative; elsewhere "-1" is a string.
    """
    for number, fields in _records(path, layout.encoding, layout.separator):
        if number > layout.skipped_lines and (fault := _fault(fields, layout, integers)):
            raise ValueError(f"{path}, line {number}: {fault}.")
    raise ValueError(f"{path} cannot be read: {printable(' '.join(reason.split())).rstrip('.')}.")


def _fault(fields: list[str], layout: Layout, integers: str | None) -> str | None:
    line = layout.separator.join(fields)
    shown = shortened(line)
    if len(fields) != layout.n_columns:
        return (
            f"there must be {layout.n_columns} fields separated by {layout.separator!r}, "
            f"but there are {len(fields)}: {shown}"
        )
    if layout.separator == "::" and "\x1f" in line:
        return (
            f"there must be no character U+001F in a file separated by '::', but there is: {shown}"
        )
    for field in ("user", "item"):
        value = fields[getattr(layout.columns, field)]
        if not value.strip():
            return f"the {field} must not be empty, but it is: {shown}"
        if "\0" in value:
            return f"the {field} must not have the character U+0000, but it does: {shown}"
        if field == integers and value.strip().startswith("-"):
            return (
                f"the {field} must be at least 0 where all are integers, "
                f"but it is {shortened(value)}"
            )
        if re.search("[\udc80-\udcff]", value):
            return (
                f"the {field} must be {layout.encoding} text, but it is {shortened(value)}; "
                f"pass another encoding, such as encoding='latin-1'"
            )
    if layout.columns.rating is not None and not _is_rating(fields[layout.columns.rating]):
        value = fields[layout.columns.rating]
        return f"the rating must be a finite number, but it is {shortened(value)}"
    if layout.columns.timestamp is not None:
        value = fields[layout.columns.timestamp]
        if not _is_timestamp(value, layout.timestamp):
            allowed = {
                "number": "a whole number of seconds, or all as 2020-01-31T12:30:00Z",
                "local": "as 2020-01-31 or 2020-01-31T12:30:00, without a zone",
                "zoned": "as 2020-01-31T12:30:00Z, with a zone",
            }
            return (
                f"the timestamp must be {allowed[layout.timestamp]}, but it is {shortened(value)}"
            )
    return None


def _refuse_binary(path: Path, encoding: str) -> None:
    with Unpacked(path) as stream:
        start = stream.read(_START)
    if b"\0" in start and "16" not in encoding and "32" not in encoding:
        raise ValueError(
            f"{path} must be a text, Parquet or npz file, but it is another binary file."
        )
    if len(start) == _START and not start.strip(b"\r\n"):
        raise ValueError(f"{path} must hold at least one rating, but it begins with empty lines.")


def find_separator(line: str, path: Path) -> str:
    """Find out what separates the fields of a line."""
    for separator in ("::", "\t"):
        if separator in line:
            return separator
    best = max(",;|", key=line.count)
    if best in line:
        return best
    if " " in line:
        return " "
    raise ValueError(
        f"{path} must have fields separated by '::', tab, comma, semicolon, bar or space, but its "
        f"first line is {line[:80]!r}; pass separator=."
    )


def _refuse_dense(fields: list[list[str]], path: Path) -> None:
    """Refuse a table of numbers without names that has too many columns for ratings."""
    n = len(fields[0])
    if n >= _DENSE and all(len(row) == n and all(map(_is_number, row)) for row in fields):
        raise ValueError(
            f"{path} must have a line for each rating, but its lines are of {n} numbers, as those "
            f"of a dense matrix of users x items: read it with numpy.loadtxt, and give "
            f"Ratings.from_matrix a scipy.sparse.coo_array of the known ratings; or pass columns= "
            f"if it has a line for each rating."
        )


def _shifted(fields: list[list[str]], *, implicit: bool) -> list[int | None] | None:
    """Find the columns of a file without names whose columns are unusual, or return None.

    Where the third column has no numbers (Last.fm's artist names, Steam's "play"), the rating is
    the first one that has, but for times. In Amazon's files of reviews, the item may come first.
    """

    def all_match(column: int, rule: Callable[[str], Any]) -> bool:
        return all(len(row) > column and rule(row[column]) for row in fields)

    n = len(fields[0])
    time = next((at for at in range(2, n) if all_match(at, _is_time)), None)
    if all_match(0, _ASIN.fullmatch) and all_match(1, _AMAZON_USER.fullmatch):
        rating = None if implicit or n < 3 or time == 2 else 2
        return [1, 0, rating, time] if implicit or rating else None
    if implicit or n < 4 or any(_is_number(row[2]) for row in fields if len(row) > 2):
        return None
    numeric = (at for at in range(3, n) if at != time and all_match(at, _is_number))
    found = next((at for at in numeric if not all_match(at, _is_time)), None)
    return None if found is None else [0, 1, found, time]


def _is_time(text: str) -> bool:
    """Return whether a text is a date, or seconds since 1970 that are of 1973 or later."""
    return float(text) >= 1e8 if _is_number(text) else timestamp_kind(text) is not None


def _looks_like_header(fields: list[list[str]]) -> bool:
    if any(map(_is_number, fields[0])):
        return False
    return knows_names(fields[0]) or (len(fields) > 1 and any(map(_is_number, fields[1])))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python alone allows within numbers


def _is_rating(text: str) -> bool:
    return _is_number(text) and abs(float(text)) <= _FLOAT32_MAX


def timestamp_kind(text: str) -> TimestampKind | None:
    """Return how a timestamp is written, or None if the text is not a timestamp."""
    if _is_number(text):
        return "number"
    times: tuple[TimestampKind, ...] = ("local", "zoned")
    return next((kind for kind in times if _is_timestamp(text, kind)), None)


def _is_timestamp(text: str, kind: TimestampKind) -> bool:
    if kind == "number":
        return _is_number(text) and float(text).is_integer() and abs(float(text)) < 2**63
    try:
        pa.scalar(text).cast(TIMESTAMPS[kind])
    except ValueError:
        return False
    return True
