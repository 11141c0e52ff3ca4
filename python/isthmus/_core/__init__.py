"""The compiled core, in the best instruction set that this CPU can run.

It is compiled once per instruction set, as the modules ``_core_<isa>``, of which this package loads
one and takes over the names; ``ISTHMUS_ISA`` in the environment forces a certain one. What the core
holds is listed in ``__init__.pyi``.
"""

import importlib
import importlib.util
import os
from types import ModuleType

from isthmus._core import _cpu

_NAMES = ("baseline", "avx2", "avx512", "avx512bf16")


def _built() -> tuple[str, ...]:
    return tuple(isa for isa in _NAMES if importlib.util.find_spec(f"isthmus._core._core_{isa}"))


def available() -> tuple[str, ...]:
    """Return the instruction sets that are built and that this CPU supports, slowest first."""
    built = _built()
    return tuple(isa for isa in _cpu.supported() if isa in built)


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
    return importlib.import_module(f"isthmus._core._core_{isa}")


def choose() -> ModuleType:
    """Load the best core that this CPU can run, or the one that ``ISTHMUS_ISA`` names.

    Raises
    ------
    ImportError
        If that one, or any, is not available.
    """
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


_chosen = choose()
__version__ = _chosen.__version__
globals().update({name: value for name, value in vars(_chosen).items() if name[0] != "_"})
