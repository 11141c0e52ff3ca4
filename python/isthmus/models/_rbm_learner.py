"""How an RBM is trained: by contrastive divergence."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.checks import check_layers
from isthmus.data._csr import CSR, count_filled
from isthmus.training.loop import by_rows
from isthmus.training.weights import WeightKeeper

__all__ = ["Learner", "cd_steps_in"]


class Learner(WeightKeeper):
    """Train an RBM on rows.

    Parameters
    ----------
    model : _core.Rbm
    settings : SimpleNamespace
        RBM's parameters.
    matrix : CSR
        Ratings, rows by orientation.
    cells : _core.LevelCells
        The same for the core, as levels.
    levels : ndarray
        Distinct ratings.
    seed, num_threads : int
    """

    def __init__(
        self,
        model: _core.Rbm,
        settings: SimpleNamespace,
        matrix: CSR,
        cells: _core.LevelCells,
        *,
        levels: NDArray[np.float64],
        seed: int,
        num_threads: int,
    ) -> None:
        super().__init__(model.weights())
        self._core = model
        self._settings = settings
        self.matrix = matrix
        self._cells = cells
        self._nnz = len(matrix.indices)
        self._filled = count_filled(matrix)
        self._num_threads = num_threads
        self._trainer = _core.RbmTrainer(
            model,
            values=levels.tolist(),
            momentum=float(settings.momentum),
            decay=float(settings.regularization),
            batch_size=int(settings.batch_size),
            seed=seed,
            num_threads=num_threads,
        )

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        settings = self._settings
        squared_error = self._trainer.run_epoch(
            self._cells,
            index,
            steps=cd_steps_in(index, settings),
            learning_rate=settings.learning_rate * settings.learning_rate_decay**index,
            progress=by_rows(progress, self._nnz, self._filled),
        )
        return squared_error / self._nnz

    def encode(self) -> _core.Matrix:
        """Encode every row with the weights as they are."""
        return self._core.encode(self._cells, num_threads=self._num_threads)


def cd_steps_in(epoch: int, settings: SimpleNamespace) -> int:
    """Return the steps of contrastive divergence in an epoch, of which `cd_steps` share equally."""
    steps = check_layers("cd_steps", settings.cd_steps)
    at = min(epoch * len(steps) // int(settings.epochs), len(steps) - 1)
    return steps[at]
