"""What the commands write, of which much was read from files by other people."""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

__all__ = ["escape_json", "printable", "write_csv"]

# Controls (escape sequences begin with one), line separators, and marks that change the direction
# of text.
_STEERS_A_TERMINAL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(value: Any) -> str:
    r"""Write out characters that would steer a terminal, as \\x1b for an escape."""
    return _STEERS_A_TERMINAL.sub(lambda c: c[0].encode("unicode_escape").decode(), str(value))


def escape_json(text: str) -> str:
    """Write out the same characters in JSON, whose readers take them for what they were."""
    return _STEERS_A_TERMINAL.sub(lambda c: f"\\u{ord(c[0]):04x}", text)


def write_csv(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as they are for programs, and as text that is safe to see on a terminal."""
    if file.isatty():
        rows = ([printable(value) for value in row] for row in rows)
    csv.writer(file, lineterminator="\n").writerows(rows)
