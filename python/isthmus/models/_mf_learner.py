"""How BiasedMF is trained: by alternating least squares, or by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import is_finite
from isthmus._util.checks import is_auto
from isthmus.data._csr import CSR, column_counts
from isthmus.data.ratings import Ratings
from isthmus.models._biases import cells_of, fit_biases
from isthmus.models._column_prior import strength
from isthmus.training.weights import WeightKeeper

__all__ = ["Learner", "bias_dampings", "scaled_cells"]

MOST_DAMPING = 10.0
"""The greatest automatic penalty of biases, in ratings: that of biases that are not seen."""


class Learner(WeightKeeper):
    """Train factors and biases on ratings.

    Parameters
    ----------
    model : _core.BiasedMF
    settings : SimpleNamespace
        BiasedMF's parameters.
    ratings : Ratings
    scale : float
        What the ratings are divided by.
    seed, num_threads : int
    """

    def __init__(
        self,
        model: _core.BiasedMF,
        settings: SimpleNamespace,
        ratings: Ratings,
        *,
        scale: float,
        seed: int,
        num_threads: int,
    ) -> None:
        super().__init__(model.weights())
        self._core = model
        self._settings = settings
        self.ratings = ratings
        self._scale = scale
        self._num_threads = num_threads
        self._by_user = scaled_cells(ratings.rows("user"), scale)
        self._penalty = self._core_penalty()
        self.mean = self._fitted_mean()
        model.mean = self.mean / scale
        if settings.optimizer == "als":
            self._by_item = scaled_cells(ratings.rows("item", num_threads=num_threads), scale)
        else:
            self._sgd = _core.FactorSgd(self._by_user, seed=seed, num_threads=num_threads)

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        settings = self._settings
        if settings.optimizer == "als":
            report = None
            if progress is not None:

                def report(cells_done: int) -> None:
                    progress(cells_done // 2)  # of those by user and those by item

            squared_error = self._core.als_sweep(
                self._by_user,
                self._by_item,
                **self._penalty,
                num_threads=self._num_threads,
                progress=report,
            )
        else:
            squared_error = self._sgd.run_epoch(
                self._core,
                **self._penalty,
                learning_rate=settings.learning_rate * settings.learning_rate_decay**index,
                epoch=index,
                num_threads=self._num_threads,
                progress=progress,
            )
        if not all(map(is_finite, self._weights.values())):
            # the loss was of the weights before their last steps
            raise _core.Diverged(
                f"training diverged in epoch {index + 1}: a weight is no longer finite"
            )
        return squared_error / self.ratings.nnz * self._scale**2

    def _core_penalty(self) -> dict[str, Any]:
        """Return the penalty as the core takes it."""
        settings = self._settings
        bias = settings.bias_regularization
        if is_auto(bias):
            pair = bias_dampings(self.ratings, num_threads=self._num_threads)
        else:
            pair = (float(bias), float(bias))
        return {
            "regularization": float(settings.regularization),
            "bias_regularization": pair,
            "weighting": float(settings.weighted_regularization),
        }

    def _fitted_mean(self) -> float:
        """Return the mean that is best together with biases, without factors."""
        user, item = self._penalty["bias_regularization"]
        return fit_biases(
            self.ratings.rows("user"),
            self.ratings.mean,
            row_damping=user,
            column_damping=item,
            num_threads=self._num_threads,
        ).mean


def bias_dampings(ratings: Ratings, *, num_threads: int) -> tuple[float, float]:
    """Estimate the best penalties of users' and of items' biases, ratios of variances."""
    cells, mean = cells_of(ratings.rows("user")), ratings.mean
    user_means = _core.fit_row_biases(
        cells, mean, np.zeros(ratings.n_items), damping=0.0, num_threads=num_threads
    )
    _, _, item_means = _core.fit_biases(
        cells, mean, row_damping=0.0, column_damping=0.0, sweeps=1, num_threads=num_threads
    )
    total = float(np.var(ratings.values, dtype=np.float64))
    user = _spread(np.diff(ratings.indptr), user_means, total)
    item = _spread(column_counts(ratings.indices, ratings.n_items), item_means, total)
    noise = max(total - user - item, 0.0)
    return min(strength(noise, user), MOST_DAMPING), min(strength(noise, item), MOST_DAMPING)


def _spread(counts: NDArray[np.int64], means: NDArray[np.float64], total: float) -> float:
    """Return the variance of biases, by the mean product of two ratings that share one.

    Ratings are less their mean, `total` is their variance.
    """
    ratings = float(counts.sum())
    pairs = float(np.sum(np.square(counts, dtype=np.float64))) - ratings
    products = float(np.sum(np.square(counts * means))) - ratings * total
    return max(products / pairs, 0.0) if pairs > 0 else 0.0


def scaled_cells(matrix: CSR, scale: float) -> _core.Cells:
    """Return ratings for the core, divided by a scale."""
    values = matrix.values / np.float32(scale)
    return _core.Cells(matrix.indptr, matrix.indices, values, matrix.shape[1])
