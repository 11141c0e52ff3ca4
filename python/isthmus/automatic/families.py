"""Which models a search tries, and which of their parameters it changes, how far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from isthmus.data._csr import column_counts, count_filled
from isthmus.data.ratings import Ratings
from isthmus.models._autorec_learners import Counts, regularization_of
from isthmus.models.autorec import AutoRec
from isthmus.models.base import Recommender
from isthmus.models.biased_mf import BiasedMF
from isthmus.models.cdae import CDAE
from isthmus.models.dual_autorec import DualAutoRec
from isthmus.models.ease import EASE
from isthmus.models.vae import MultDAE, MultVAE

__all__ = ["IMPLICIT", "RATING", "Family", "Range"]

Settings = dict[str, float]
"""Values of the parameters that a search changes; all others have their defaults."""


class Range(NamedTuple):
    """What a number may be; steps are on a log scale."""

    default: float
    low: float
    high: float
    whole: bool = False

    def near(self, centre: float, width: float, random: np.random.Generator) -> float:
        """Draw a number around another, which differs by a factor of about exp(width)."""
        drawn = float(np.clip(centre * np.exp(random.normal(0, width)), self.low, self.high))
        return float(round(drawn)) if self.whole else float(f"{drawn:.3g}")


class Family(NamedTuple):
    """A model and what a search changes of it."""

    name: str
    model: type[Recommender]
    space: dict[str, Range]
    parameters: Callable[[Settings, Ratings], dict[str, Any]]
    """Constructor arguments from settings and the ratings to be trained on."""
    epochs: int | None = None
    """At most; None of a model that has none."""
    patience: int | None = None
    """Of a model whose best epoch counts; None where the last one does, as its rate falls to 0."""

    chosen: tuple[str, ...] = ()
    """Parameters that `fit` chooses itself, and keeps under their name and an underscore."""

    def make(self, settings: Settings, ratings: Ratings, **others: Any) -> Recommender:
        """Make a model, not fitted yet, for some ratings."""
        return self.model(**self.parameters(settings, ratings), **others)

    def draw(self, centre: Settings, width: float, random: np.random.Generator) -> Settings:
        """Draw settings around others."""
        return {
            name: one.near(centre.get(name, one.default), width, random)
            for name, one in self.space.items()
        }


def _autorec(side: str) -> Callable[[Settings, Ratings], dict[str, Any]]:
    def parameters(settings: Settings, ratings: Ratings) -> dict[str, Any]:
        own: dict[str, Any] = dict(settings)
        if side == "user":
            own["orientation"] = side
        if "regularization" in own:
            # times what "auto" is, so that more ratings have more
            users = count_filled(ratings.rows("user"))
            items = int(np.count_nonzero(column_counts(ratings.indices, ratings.n_items)))
            counts = Counts(ratings.nnz, users, items)
            own["regularization"] *= regularization_of("auto", counts, side)
        return own

    return parameters


def _plain(settings: Settings, ratings: Ratings) -> dict[str, Any]:
    return {k: int(v) if k == "factors" else v for k, v in settings.items()}


_DENOISING = {
    "regularization": Range(1.0, 0.2, 5.0),
    "corruption": Range(0.4, 0.1, 0.8),
    "learning_rate": Range(0.0015, 0.0005, 0.005),
}
_SOFTMAX = {"dropout": Range(0.5, 0.2, 0.8), "learning_rate": Range(0.001, 0.0003, 0.004)}

RATING = (
    Family(
        "BiasedMF",
        BiasedMF,
        {
            "regularization": Range(0.18, 0.04, 1.0),
            "factors": Range(128, 16, 128, whole=True),
            "learning_rate": Range(0.03, 0.008, 0.06),
        },
        _plain,
        epochs=40,
        patience=5,
    ),
    Family("AutoRec", AutoRec, _DENOISING, _autorec("item"), epochs=15),
    Family("DualAutoRec", DualAutoRec, _DENOISING, _autorec("dual"), epochs=15),
    Family("U-AutoRec", AutoRec, _DENOISING, _autorec("user"), epochs=15),
)
"""For ratings, in the order in which their defaults are tried: the fastest first."""

IMPLICIT = (
    Family(
        "EASE",
        EASE,
        {"regularization": Range(200.0, 5.0, 5000.0)},
        _plain,
        chosen=("regularization",),
    ),
    Family("MultDAE", MultDAE, _SOFTMAX, _plain, epochs=90, patience=10),
    Family("MultVAE", MultVAE, _SOFTMAX, _plain, epochs=75, patience=10),
    Family(
        "CDAE",
        CDAE,
        {"corruption": Range(0.5, 0.2, 0.8), "learning_rate": Range(0.1, 0.03, 0.3)},
        _plain,
        epochs=75,
        patience=10,
    ),
)
"""For implicit feedback, likewise."""
