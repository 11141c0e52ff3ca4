"""Autoencoder recommenders that train on CPUs in time proportional to the number of ratings."""

from importlib.metadata import version as _version

from isthmus import _core
from isthmus._util.build import build_info
from isthmus.automatic.fit import AutoFit, auto_fit
from isthmus.data.content import Content
from isthmus.data.io import read_ratings, write_ratings
from isthmus.data.items import read_items
from isthmus.data.lint import Finding, lint
from isthmus.data.ratings import Ratings
from isthmus.data.sharding import shard
from isthmus.data.shards import Bucket, Shards
from isthmus.data.splits import (
    HeldOutUsers,
    RatingKFold,
    UserSplit,
    hold_out_users,
    kfold,
    leave_one_out,
    mask_split,
    train_test_split,
)
from isthmus.data.synthetic import synthetic_ratings
from isthmus.evaluation.explanation import Explanation
from isthmus.exceptions import ConvergenceError, NotFittedError
from isthmus.models._receipts import Receipt
from isthmus.models.autorec import AutoRec
from isthmus.models.base import Recommender
from isthmus.models.biased_mf import BiasedMF
from isthmus.models.blend import Blend
from isthmus.models.cdae import CDAE
from isthmus.models.cvae import CVAE
from isthmus.models.dual_autorec import DualAutoRec
from isthmus.models.ease import EASE
from isthmus.models.rbm import RBM
from isthmus.models.vae import MultDAE, MultVAE
from isthmus.reporting import write_report
from isthmus.training.loop import Epoch
from isthmus.tuning import Tuned, tune
from isthmus.verification import Verification, verify

__all__ = [
    "CDAE",
    "CVAE",
    "EASE",
    "RBM",
    "AutoFit",
    "AutoRec",
    "BiasedMF",
    "Blend",
    "Bucket",
    "Content",
    "ConvergenceError",
    "DualAutoRec",
    "Epoch",
    "Explanation",
    "Finding",
    "HeldOutUsers",
    "MultDAE",
    "MultVAE",
    "NotFittedError",
    "RatingKFold",
    "Ratings",
    "Receipt",
    "Recommender",
    "Shards",
    "Tuned",
    "UserSplit",
    "Verification",
    "__version__",
    "auto_fit",
    "build_info",
    "hold_out_users",
    "kfold",
    "leave_one_out",
    "lint",
    "mask_split",
    "read_items",
    "read_ratings",
    "shard",
    "synthetic_ratings",
    "train_test_split",
    "tune",
    "verify",
    "write_ratings",
    "write_report",
]

__version__ = _version("isthmus")

if _core.__version__ != __version__:
    raise ImportError(
        f"isthmus is version {__version__}, but its compiled core is version "
        f"{_core.__version__}; reinstall isthmus, so that both come from one build."
    )
