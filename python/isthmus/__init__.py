"""Autoencoder recommenders that train on CPUs in time proportional to the number of ratings."""

from importlib.metadata import version as _version
from typing import Any

from isthmus import _dispatch
from isthmus._threads import resolve_num_threads

# Loaded by _dispatch, not found by the import system: this makes it an attribute as well.
from isthmus import _core  # isort: skip

from isthmus.autorec import AutoRec
from isthmus.base import Recommender
from isthmus.biased_mf import BiasedMF
from isthmus.blend import Blend
from isthmus.cdae import CDAE
from isthmus.content import Content
from isthmus.cvae import CVAE
from isthmus.ease import EASE
from isthmus.exceptions import ConvergenceError, NotFittedError
from isthmus.io import read_items, read_ratings, write_ratings
from isthmus.ratings import Ratings
from isthmus.rbm import RBM
from isthmus.splits import hold_out_users, kfold, leave_one_out, mask_split, train_test_split
from isthmus.synthetic import synthetic_ratings
from isthmus.training import Epoch
from isthmus.tuning import Tuned, tune
from isthmus.vae import MultDAE, MultVAE

__all__ = [
    "CDAE",
    "CVAE",
    "EASE",
    "RBM",
    "AutoRec",
    "BiasedMF",
    "Blend",
    "Content",
    "ConvergenceError",
    "Epoch",
    "MultDAE",
    "MultVAE",
    "NotFittedError",
    "Ratings",
    "Recommender",
    "Tuned",
    "__version__",
    "build_info",
    "hold_out_users",
    "kfold",
    "leave_one_out",
    "mask_split",
    "read_items",
    "read_ratings",
    "synthetic_ratings",
    "train_test_split",
    "tune",
    "write_ratings",
]

__version__ = _version("isthmus")

if _core.__version__ != __version__:
    raise ImportError(
        f"isthmus is version {__version__}, but its compiled core is version "
        f"{_core.__version__}; reinstall isthmus, so that both come from one build."
    )


def build_info() -> dict[str, Any]:
    """Say what is installed and what of it is in use, for bug reports and benchmarks.

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
        "available_isas": _dispatch.available(),
        "num_threads": resolve_num_threads(0),
    }
