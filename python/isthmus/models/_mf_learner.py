"""How BiasedMF is trained: by alternating least squares, or by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from isthmus import _core
from isthmus._util.arrays import is_finite
from isthmus._util.checks import is_auto
from isthmus.data._csr import CSR
from isthmus.data.ratings import Ratings
from isthmus.models._biases import Biases, fit_biases
from isthmus.training.weights import WeightKeeper

__all__ = ["Learner", "scaled_cells"]


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
        start = self._start()
        self._penalty: dict[str, Any] = {
            "regularization": float(settings.regularization),
            "bias_regularization": start.dampings,
            "weighting": float(settings.weighted_regularization),
        }
        self.mean = start.mean
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

    def _start(self) -> Biases:
        """Fit a mean and biases without factors, where new weights start."""
        matrix, mean = self.ratings.rows("user"), self.ratings.mean
        given = self._settings.bias_regularization
        fitted = fit_biases(matrix, mean, damping=None if is_auto(given) else float(given))
        weights = self._core.weights()
        if not any(weights[f"{side}_bias"].any() for side in ("user", "item")):
            weights["user_bias"][0] = fitted.row / self._scale
            weights["item_bias"][0] = fitted.column / self._scale
        return fitted


def scaled_cells(matrix: CSR, scale: float) -> _core.Cells:
    """Return ratings for the core, divided by a scale."""
    values = matrix.values / np.float32(scale)
    return _core.Cells(matrix.indptr, matrix.indices, values, matrix.shape[1])
