"""What the commands write, with text that may come from other people's files."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from isthmus.data._reading import STEERS_A_TERMINAL, printable

__all__ = ["escape_json", "write_csv"]


def escape_json(text: str) -> str:
    """Write out the same characters as JSON escapes, which readers turn back."""
    return STEERS_A_TERMINAL.sub(lambda c: f"\\u{ord(c[0]):04x}", text)


def write_csv(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as they are to files and pipes, and as text that is safe to show to a terminal."""
    if file.isatty():
        rows = ([printable(value) for value in row] for row in rows)
    csv.writer(file, lineterminator="\n").writerows(rows)
