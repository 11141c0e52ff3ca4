"""What is installed and in use."""

from typing import Any

from isthmus import _core
from isthmus._util.threads import resolve_num_threads

__all__ = ["build_info"]


def build_info() -> dict[str, Any]:
    """Return what is installed and in use, for bug reports and benchmarks.

    Returns
    -------
    dict
        ``version``, ``isa`` (the instruction set in use), ``available_isas`` (those that
        ``ISTHMUS_ISA`` may name on this machine), ``compiler``, ``compiler_flags``,
        ``threads_backend`` (``"openmp"``, ``"std"`` or ``"serial"``), ``max_threads`` (what that
        backend would use by itself), ``num_threads`` (what ``num_threads=0`` means in this
        process), ``eigen`` and ``pybind11`` (versions).

    Examples
    --------
    >>> import isthmus
    >>> isthmus.build_info()["isa"] in isthmus.build_info()["available_isas"]
    True
    """
    return {
        **_core.build_info(),
        "available_isas": _core.available(),
        "num_threads": resolve_num_threads(0),
    }
