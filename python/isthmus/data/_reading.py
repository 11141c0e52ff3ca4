"""Limits on what reading a file may cost, and errors for damaged files."""

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus._util.memory import format_bytes

__all__ = [
    "STEERS_A_TERMINAL",
    "Unpacked",
    "check_unpacked",
    "name_file",
    "printable",
    "refuse_damage",
    "shortened",
]

_FREE_BYTES = 1 << 28
_RATIO = 100

# Controls (escape sequences begin with one), line separators, and marks that change the direction
# of text; and what is invisible or no character, except for joiners, which scripts need.
STEERS_A_TERMINAL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\uffff]"
)


@contextmanager
def refuse_damage(path: str | PathLike[str], kind: str) -> Iterator[None]:
    """Turn what a library raises over a damaged file into one ValueError that names the file.

    Parameters
    ----------
    path : str or os.PathLike
    kind : str
        What the file should be, with its article.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    # Readers of damaged files raise nearly any error: KeyError, struct.error, RecursionError...
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        if isinstance(error, UnicodeError):
            raise ValueError(f"{path} cannot be read as {kind}: its text is not UTF-8.") from None
        # without objects that a library's message shows by their addresses
        reason = re.sub(r":? *<[^<>]* at 0x\w+>", "", " ".join(str(error).split()))
        reason = printable(reason).rstrip(".") or type(error).__name__
        raise ValueError(f"{path} cannot be read as {kind}: {reason[:200]}.") from None


@contextmanager
def name_file(path: str | PathLike[str]) -> Iterator[None]:
    """Put a file's name before errors that do not say which file they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if str(path) in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        reason = " ".join(str(error).split()).rstrip(".")
        raise kind(f"{path}: {printable(reason)}.") from None


def printable(value: Any) -> str:
    r"""Write out characters that would steer a terminal, as \\x1b for an escape."""
    return STEERS_A_TERMINAL.sub(lambda c: c[0].encode("unicode_escape").decode(), str(value))


def shortened(text: str) -> str:
    """Write what was in a file, cut where it is long."""
    return repr(text if len(text) <= 60 else text[:60] + "...")


def check_unpacked(path: str | PathLike[str], size: int) -> None:
    """Refuse a file that unpacks to more than 256 MiB and more than 100 times its own size."""
    most = max(_FREE_BYTES, _RATIO * Path(path).stat().st_size)
    if size > most:
        raise ValueError(
            f"{path} must unpack to at most {format_bytes(most)}, "
            f"the greater of {format_bytes(_FREE_BYTES)} and {_RATIO} times its size, "
            f"but it holds more."
        )


class Unpacked(io.RawIOBase):
    """The bytes of a file, decompressed if its name ends as that of a compressed file does."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = path
        self._size = 0
        # Arrow's streams leak 64 KiB each where what they decompress is damaged
        openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
        opened = openers.get(Path(path).suffix.lower())
        self._stream = opened(path) if opened else pa.input_stream(path, compression="detect")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            reason = printable(error).rstrip(".")
            raise ValueError(f"{self._path} cannot be decompressed: {reason}.") from None
        self._size += len(data)
        check_unpacked(self._path, self._size)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
