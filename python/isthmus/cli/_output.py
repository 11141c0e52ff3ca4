"""What the commands write, of which much was read from files by other people."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from isthmus.data._reading import STEERS_A_TERMINAL, printable

__all__ = ["escape_json", "write_csv"]


def escape_json(text: str) -> str:
    """Write out the same characters in JSON, whose readers take them for what they were."""
    return STEERS_A_TERMINAL.sub(lambda c: f"\\u{ord(c[0]):04x}", text)


def write_csv(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as they are for programs, and as text that is safe to see on a terminal."""
    if file.isatty():
        rows = ([printable(value) for value in row] for row in rows)
    csv.writer(file, lineterminator="\n").writerows(rows)
