"""Errors of predicted ratings: overall, by users and items, and by prediction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import row_numbers
from isthmus.metrics import bias_baseline, mean_baseline
from isthmus.reporting._subject import Bins, Row, Subject, bins_of
from isthmus.reporting.bootstrap import Bootstrap, Estimate, Interval

__all__ = ["Calibration", "Errors", "Spread", "measure_errors"]

Floats = NDArray[np.float64]

LEVELS = 12
"""Values of ratings that are shown one by one; of more, tenths of the ratings are."""


class Spread(NamedTuple):
    """The predictions for each true rating."""

    true: Floats
    """Mean of the true ratings, of each level."""
    quantiles: Floats
    """5, 25, 50, 75 and 95 % of the predictions, levels x 5."""
    n: NDArray[np.int64]


class Calibration(NamedTuple):
    """The mean true rating for each tenth of the predictions."""

    predicted: Floats
    true: list[Interval]


class Errors(NamedTuple):
    """All measures of predicted ratings."""

    table: list[Row]
    gain: tuple[str, Interval] | None
    """What the model is compared with, and its RMSE less the model's."""
    by_popularity: Bins
    by_activity: Bins
    spread: Spread
    calibration: Calibration


def measure_errors(subject: Subject) -> Errors:
    """Measure predictions of all test ratings."""
    test = subject.test
    users, items = row_numbers(test.indptr), test.indices
    truth = test.values.astype(np.float64)
    predictions = _predictions(subject)
    bootstrap = Bootstrap(users, subject.random_state)
    squared = {name: np.square(truth - one) for name, one in predictions.items()}
    rmse = {name: bootstrap.means(values).root() for name, values in squared.items()}
    mae = {name: bootstrap.means(np.abs(truth - one)) for name, one in predictions.items()}
    own, *others = predictions
    compared = dict(list(squared.items())[:2])

    def by(counts: NDArray[np.int64]) -> Bins:
        bins, labels = bins_of(counts)
        estimates = {n: bootstrap.means(v, bins, len(labels)).root() for n, v in compared.items()}
        return Bins(labels, {name: one.intervals() for name, one in estimates.items()})

    return Errors(
        table=[
            Row(name, {"RMSE": _only(rmse[name]), "MAE": _only(mae[name])}) for name in predictions
        ],
        gain=(others[0], _only(rmse[others[0]].less(rmse[own]))) if others else None,
        by_popularity=by(subject.per_item[items]),
        by_activity=by(subject.per_user[users]),
        spread=_spread(truth, predictions[own]),
        calibration=_calibration(bootstrap, truth, predictions[own]),
    )


def _only(estimate: Estimate) -> Interval:
    return estimate.intervals()[0]


def _predictions(subject: Subject) -> dict[str, Floats]:
    """Return the predictions of the model and, if training ratings are given, of the baselines."""
    model, test, train = subject.model, subject.test, subject.train
    users = row_numbers(test.indptr)
    predicted = model._predict_positions(users, test.indices).astype(np.float64)
    predictions = {type(model).__name__: predicted}
    if train is not None:
        predictions["user and item biases"] = bias_baseline(train, test)
        predictions["mean of all ratings"] = mean_baseline(train, test)
    return predictions


def _tenths(values: Floats) -> NDArray[np.int64]:
    """Return the tenth that each value is in; equal values are in the same."""
    edges = np.unique(np.quantile(values, np.arange(1, 10) / 10))
    _, numbers = np.unique(np.searchsorted(edges, values), return_inverse=True)
    return numbers.reshape(-1)


def _spread(truth: Floats, predicted: Floats) -> Spread:
    values, levels = np.unique(truth, return_inverse=True)
    levels = levels.reshape(-1) if len(values) <= LEVELS else _tenths(truth)
    n = np.bincount(levels)
    order = np.argsort(levels, kind="stable")
    parts = np.split(predicted[order], np.cumsum(n)[:-1])
    quantiles = np.array([np.quantile(part, [0.05, 0.25, 0.5, 0.75, 0.95]) for part in parts])
    return Spread(np.bincount(levels, truth) / n, quantiles, n)


def _calibration(bootstrap: Bootstrap, truth: Floats, predicted: Floats) -> Calibration:
    bins = _tenths(predicted)
    n = np.bincount(bins)
    true = bootstrap.means(truth, bins, len(n)).intervals()
    return Calibration(np.bincount(bins, predicted) / n, true)
