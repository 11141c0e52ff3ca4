"""Parameters sections of docstrings, by NumPy's conventions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

__all__ = ["add_entries", "parameter_entries"]

_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=\n+\S[^\n]*\n---|\s*\Z)", re.M | re.S)


def parameter_entries(documentation: str) -> dict[str, str]:
    """Return the entries of the Parameters section by the parameters' names."""
    section = _SECTION.search(inspect.cleandoc(documentation))
    entries: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", section[1]) if section else ():
        names = entry.partition("\n")[0].partition(" : ")[0]
        entries |= dict.fromkeys(names.split(", "), entry)
    return entries


def add_entries(documentation: str, entries: Iterable[str]) -> str:
    """Return the docstring with further entries at the end of its Parameters section, if any."""
    text = inspect.cleandoc(documentation)
    section = _SECTION.search(text)
    if section is None:
        return text
    return "\n".join([text[: section.end(1)], *entries]) + text[section.end(1) :]
