"""Files that are either whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write", "check_writable"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that it appears under its name only once it is complete and on disk.

    The body writes to a temporary file in the same folder. When it ends, that file is flushed to
    disk and renamed over `path`; when it raises, the temporary file is deleted. A process killed
    at any moment leaves the old file, or none, never a part of the new one.

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
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    # Unlike tempfile's, this mode is subject to the umask, as that of any new file is.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        _flush_to_disk(temporary, os.O_RDWR)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened, nor need it be
        _flush_to_disk(target.parent, os.O_RDONLY | os.O_DIRECTORY)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Say which file a path stands for, unless none can be put there.

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
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: the folder {target.parent} is missing.")
    if target.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder.")
    if target.exists() and not target.is_file():
        raise OSError(f"{path} cannot be written: it is a device, or a pipe, and no file.")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(
            f"{path} cannot be written: the folder {target.parent} may not be written."
        )
    return target


def _flush_to_disk(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
