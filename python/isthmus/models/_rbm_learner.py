"""RBM's side of the training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from isthmus import _core
from isthmus.data._csr import CSR
from isthmus.models._epochs import WeightKeeper
from isthmus.models._rating_model import HeldOut
from isthmus.training.loop import by_rows

if TYPE_CHECKING:
    from isthmus.models.rbm import RBM

__all__ = ["Learner"]


class Learner(WeightKeeper):
    """RBM's side of the training loop."""

    def __init__(
        self, model: RBM, matrix: CSR, cells: _core.LevelCells, held_out: HeldOut | None
    ) -> None:
        super().__init__(model._model.weights())
        self._model = model
        self.matrix = matrix
        self._cells = cells
        self._held_out = held_out
        self._nnz = len(matrix.indices)
        self._filled = int(np.count_nonzero(np.diff(matrix.indptr)))
        self._trainer = _core.RbmTrainer(
            model._model,
            values=model._levels.tolist(),
            momentum=float(model.momentum),
            decay=float(model.regularization),
            batch_size=int(model.batch_size),
            seed=model._seed,
            num_threads=model._num_threads(),
        )

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        report = by_rows(progress, self._nnz, self._filled)
        model = self._model
        squared_error = self._trainer.run_epoch(
            self._cells,
            index,
            steps=model._steps(index),
            learning_rate=model.learning_rate * model.learning_rate_decay**index,
            progress=report,
        )
        return squared_error / self._nnz

    def encode(self) -> _core.Matrix:
        """Encode every row with the weights as they are."""
        model = self._model
        return model._model.encode(self._cells, num_threads=model._num_threads())

    def validate(self) -> dict[str, float]:
        if self._held_out is None:
            return {}
        model = self._model
        scores = model._assemble(self.encode().array, model._shaped_weights(), model._bias())
        return model._measure(scores, self._held_out)
