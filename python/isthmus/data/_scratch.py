"""Arrays in temporary files, mapped into memory, so that the system can drop and read them again.

The files have no names, so that none is left behind, however the process ends.

"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isthmus._util.memory import format_bytes

__all__ = ["scratch_array"]


def scratch_array(folder: Path, n: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros in a file of its own, which is deleted with it.

    Raises
    ------
    OSError
        If the folder is missing, may not be written, or its disk is full.
    """
    size = n * np.dtype(dtype).itemsize
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            view = mmap.mmap(file.fileno(), size)
    except OSError as error:
        reason = f"{error.strerror}, but {format_bytes(size)} must be written to a temporary file"
        raise OSError(error.errno, reason, str(folder)) from None
    return np.frombuffer(view, dtype)


def _reserve(file: Any, size: int) -> None:
    """Reserve space on the disk: writing to a map of a full disk would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(1 << 20)
    for begin in range(0, size, len(zeros)):
        file.write(zeros[: size - begin])
    file.flush()
