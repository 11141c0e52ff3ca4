"""Choice of the compiled core: the best instruction set that this CPU can run.

The core is compiled once per instruction set, as the modules ``_core_<isa>``. This module loads
one of them and makes it known as ``isthmus._core``; the environment variable ``ISTHMUS_ISA``
forces a certain one.
"""

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from isthmus import _cpu

__all__ = ["available", "core", "load_core"]

_NAMES = ("baseline", "avx2", "avx512")  # slowest first


def _built() -> tuple[str, ...]:
    return tuple(isa for isa in _NAMES if importlib.util.find_spec(f"isthmus._core_{isa}"))


def available() -> tuple[str, ...]:
    """Return the instruction sets that are built and that this CPU supports, slowest first."""
    supported = _cpu.supported()
    return tuple(isa for isa in _built() if isa in supported)


def load_core(isa: str) -> ModuleType:
    """Load the core of one instruction set; several may be loaded in one process.

    Raises
    ------
    ImportError
        If there is no such instruction set, it is not built, or this CPU does not support it.
    """
    possible = available()
    if isa not in possible:
        if isa not in _NAMES:
            reason = "is no instruction set that isthmus knows"
        elif isa not in _built():
            reason = "is not built into this installation of isthmus"
        else:
            reason = "is not supported by this CPU"
        raise ImportError(f"{isa!r} {reason}; it may be one of: {', '.join(possible) or 'none'}.")
    return importlib.import_module(f"isthmus._core_{isa}")


def _choose() -> ModuleType:
    forced = os.environ.get("ISTHMUS_ISA")
    if forced:
        try:
            return load_core(forced)
        except ImportError as error:
            raise ImportError(
                f"The environment variable ISTHMUS_ISA is set, but {error}"
            ) from error
    possible = available()
    if not possible:
        raise ImportError(
            f"This CPU supports {', '.join(_cpu.supported())}, but isthmus was built for "
            f"{', '.join(_built()) or 'nothing'}; reinstall it with ISTHMUS_ISA listing baseline."
        )
    return load_core(possible[-1])


core = sys.modules["isthmus._core"] = _choose()
