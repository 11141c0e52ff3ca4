"""Files that are either whole or not there."""

import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "TEMPORARY",
    "atomic_folder",
    "atomic_write",
    "check_new_folder",
    "check_writable",
    "flush_folder",
    "flush_to_disk",
]

TEMPORARY = (".isthmus-", ".tmp")
"""How the names of temporary files begin and end; short, since names end at 255 bytes."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that it appears under its name only once it is complete and on disk.

    The body writes to a temporary file in the same folder. When it ends, that file is flushed to
    disk and renamed over `path`; when it raises, or the process gets SIGTERM and has no handler of
    its own, the temporary file is deleted. A process killed at any moment leaves the old file, or
    none, never a part of the new one. It may leave `.isthmus-*.tmp` in the folder, which nothing
    reads and anybody may delete.

    Parameters
    ----------
    path : str or os.PathLike
        Where the file is to be. An existing file is replaced and its permissions are kept; through
        a symbolic link, the file that the link points to is replaced.

    Yields
    ------
    pathlib.Path
        The temporary file, empty, for the body to write.

    Raises
    ------
    OSError
        As `check_writable` does.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "greeting.txt"
    >>> with atomic_write(target) as temporary:
    ...     _ = temporary.write_text("hello")
    >>> target.read_text()
    'hello'
    """
    target = check_writable(path)
    temporary = _temporary_beside(target)
    with _removed_by_sigterm(temporary):
        # Unlike tempfile's, this mode is subject to the umask, as that of any new file is.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o7777)
            flush_to_disk(temporary, os.O_RDWR)
            temporary.replace(target)
        except BaseException as error:
            _remove(temporary)
            if isinstance(error, OSError) and error.filename in (None, str(temporary)):
                error.filename = str(target)  # which is what the caller knows
            raise
    flush_folder(target.parent)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder of files so that it appears under its name only once it is complete.

    As `atomic_write`, for a folder that must not exist yet, or be empty.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    pathlib.Path
        The temporary folder, empty, for the body to fill.

    Raises
    ------
    FileNotFoundError, PermissionError
        If the folder around `path` does not exist, or may not be written.
    FileExistsError
        If there is something at `path`.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "lists"
    >>> with atomic_folder(target) as temporary:
    ...     _ = (temporary / "greeting.txt").write_text("hello")
    >>> [file.name for file in target.iterdir()]
    ['greeting.txt']
    """
    target = check_new_folder(path)
    temporary = _temporary_beside(target)
    with _removed_by_sigterm(temporary):
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    flush_to_disk(file, os.O_RDWR)
            flush_folder(temporary)
            if target.exists():
                target.rmdir()
            temporary.replace(target)
        except BaseException:
            _remove(temporary)
            raise
    flush_folder(target.parent)


def check_new_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder that a path names; refuse one that cannot be made."""
    target = Path(os.path.realpath(path))
    if target.is_dir() and any(target.iterdir()):
        raise FileExistsError(f"{path} cannot be written: it is a folder that is not empty.")
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{path} cannot be written: it is a file, and must be a new folder.")
    _check_parent(target, path)
    return target


def _temporary_beside(target: Path) -> Path:
    return target.with_name(f"{TEMPORARY[0]}{secrets.token_hex(6)}{TEMPORARY[1]}")


def _remove(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


@contextmanager
def _removed_by_sigterm(temporary: Path) -> Iterator[None]:
    """Remove a file before SIGTERM ends the process, unless the program handles that itself."""
    alone = threading.current_thread() is threading.main_thread()  # elsewhere none can be set
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: Any) -> None:
        _remove(temporary)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path names; refuse one that cannot be written.

    Parameters
    ----------
    path : str or os.PathLike
        A file or what is to be one; links are followed.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileNotFoundError, PermissionError
        If the folder of `path` does not exist, or may not be written.
    IsADirectoryError, OSError
        If `path` is a folder, or another thing that is no file, such as a device or a pipe.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder.")
    if target.exists() and not target.is_file():
        raise OSError(f"{path} cannot be written: it is a device, or a pipe, and no file.")
    _check_parent(target, path)
    return target


def _check_parent(target: Path, path: str | os.PathLike[str]) -> None:
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: the folder {target.parent} is missing.")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(
            f"{path} cannot be written: the folder {target.parent} may not be written."
        )


def flush_folder(folder: Path) -> None:
    """Write the list of a folder's files to disk."""
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened, and need not be
        flush_to_disk(folder, os.O_RDONLY | os.O_DIRECTORY)


def flush_to_disk(path: Path, flags: int) -> None:
    """Write to disk what the system has of a file, opened with these flags."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
