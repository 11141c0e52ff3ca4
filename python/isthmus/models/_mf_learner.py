"""BiasedMF's side of the training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from isthmus import _core
from isthmus._util.arrays import is_finite
from isthmus.data.ratings import Ratings
from isthmus.models._epochs import WeightKeeper
from isthmus.models._rating_model import HeldOut

if TYPE_CHECKING:
    from isthmus.models.biased_mf import BiasedMF

__all__ = ["Learner"]


class Learner(WeightKeeper):
    """BiasedMF's side of the training loop."""

    def __init__(self, model: BiasedMF, ratings: Ratings, held_out: HeldOut | None) -> None:
        super().__init__(model._model.weights())
        self._model = model
        self.ratings = ratings
        self._held_out = held_out
        self._nnz = ratings.nnz
        self._by_user = model._cells(ratings.rows("user"))
        if model.optimizer == "als":
            self._by_item = model._cells(ratings.rows("item", num_threads=model._num_threads()))
        else:
            self._sgd = _core.FactorSgd(
                self._by_user, seed=model._seed, num_threads=model._num_threads()
            )

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        model = self._model
        if model.optimizer == "als":
            report = None
            if progress is not None:

                def report(cells_done: int) -> None:
                    progress(cells_done // 2)  # of those by user and those by item

            squared_error = model._model.als_sweep(
                self._by_user,
                self._by_item,
                **model._penalty(),
                num_threads=model._num_threads(),
                progress=report,
            )
        else:
            squared_error = self._sgd.run_epoch(
                model._model,
                **model._penalty(),
                learning_rate=model.learning_rate * model.learning_rate_decay**index,
                epoch=index,
                num_threads=model._num_threads(),
                progress=progress,
            )
        if not all(map(is_finite, self._weights.values())):
            # the loss was of the weights before their last steps
            raise _core.Diverged(
                f"training diverged in epoch {index + 1}: a weight is no longer finite"
            )
        return squared_error / self._nnz * model._scale**2

    def validate(self) -> dict[str, float]:
        if self._held_out is None:
            return {}
        return self._model._measure(self._model._vectors(), self._held_out)
