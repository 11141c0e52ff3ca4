"""Files that are read again when they are replaced."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["Reloading"]

Made = TypeVar("Made")

_log = logging.getLogger("isthmus.serving")


class Reloading(Generic[Made]):
    """Something made from files, and made again when one of them is replaced.

    Parameters
    ----------
    make : callable
        Reads the files.
    files : sequence of Path
    seconds : float
        How often to look at the files.

    Attributes
    ----------
    current
        What was made last. Whoever is at work keeps what they took from here.
    """

    current: Made

    def __init__(self, make: Callable[[], Made], files: Sequence[Path], seconds: float) -> None:
        self._make = make
        self._files = files
        self._seconds = seconds
        self._seen = self._stamps()
        self.current = make()

    async def watch(self) -> None:
        """Watch the files for ever; report a file that cannot be read, and keep the earlier one."""
        while True:
            await asyncio.sleep(self._seconds)
            stamps = self._stamps()
            if stamps == self._seen:
                continue
            # before reading, so that a file that changes meanwhile is read again
            self._seen = stamps
            names = " and ".join(map(str, self._files))
            try:
                self.current = await asyncio.to_thread(self._make)
            except Exception as error:
                _log.warning("kept what was read before, as there is an error now: %s", error)
            else:
                _log.info("read %s again", names)

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Return a value that changes when a file is replaced or written to; None without a file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
