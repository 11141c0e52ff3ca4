"""Fits of a search: each is measured on validation data, and its time is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.automatic.families import Family, Settings
from isthmus.data._csr import row_numbers
from isthmus.data.ratings import Ratings
from isthmus.metrics import rmse
from isthmus.models.base import Recommender

__all__ = ["Fitted", "Task", "Trial"]


@dataclass(frozen=True)
class Trial:
    """The result of one setting of one model.

    Attributes
    ----------
    model : str
        As "AutoRec"; "U-AutoRec" is AutoRec with ``orientation="user"``.
    parameters : dict
        Arguments of the constructor, where they are not the defaults.
    epochs : int or None
        Trained; of a model whose best epoch counts, that one. None of a model without epochs.
    value : float
        Of the metric on validation data; NaN without one.
    seconds : float
        On the clock, with the measuring.
    note : str
        Why there is no value, or why training ended early; empty otherwise.
    """

    model: str
    parameters: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    value: float = float("nan")
    seconds: float = 0.0
    note: str = ""


class Fitted(NamedTuple):
    """A fitted model of a search, and what it takes to fit it again."""

    family: Family
    settings: Settings
    epochs: int | None
    model: Recommender
    value: float
    loss: float
    """The value, turned so that less is better."""
    predicted: NDArray[np.float32]
    """Of the validation ratings; of a model of implicit feedback, none."""
    seconds: float

    def again(self, ratings: Ratings, *, seed: int, num_threads: int) -> Recommender:
        """Make the model again, not fitted yet, for more ratings."""
        epochs = {} if self.epochs is None else {"epochs": self.epochs}
        seeds = {} if self.family.epochs is None else {"random_state": seed}
        return self.family.make(self.settings, ratings, **epochs, **seeds, num_threads=num_threads)


class Task(NamedTuple):
    """What to train on, and what to measure on."""

    train: Ratings
    validation: Ratings
    implicit: bool

    @property
    def metric(self) -> str:
        """Return what models are compared by."""
        return "ndcg@10" if self.implicit else "rmse"

    def measure(self, model: Recommender) -> tuple[float, NDArray[np.float32]]:
        """Return a model's metric and, of ratings, what it predicts."""
        if self.implicit:
            value = model.evaluate(self.validation, self.metric)[self.metric]
            return value, np.empty(0, np.float32)
        rows = row_numbers(self.validation.indptr)
        predicted = model._predict_positions(rows, self.validation.indices.astype(np.int64))
        return rmse(self.validation.values, predicted), predicted

    def loss(self, value: float) -> float:
        """Turn a value of the metric so that less is better."""
        return -value if self.implicit else value
