"""How Mult-DAE and Mult-VAE are trained."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from isthmus import _core
from isthmus._util.checks import is_auto
from isthmus.data._csr import CSR, count_filled
from isthmus.models._implicit import RowLearner
from isthmus.models._precision import precision_of

__all__ = ["Learner"]


class Learner(RowLearner):
    """Train an autoencoder with a likelihood over all items.

    Parameters
    ----------
    network : _core.MultinomialAutoencoder
    rows : CSR
    settings : SimpleNamespace
    divergence : (float, float)
        Greatest weight of the KL divergence, and the steps that would take it to 1.
    first_step : int
        Batches that the network was trained on before.
    filled : int, optional
        How many rows have a cell, where the others have theirs on other ranks.
    split : dict, optional
        What the core's trainer is to know of the items, likewise.
    seed, num_threads : int
    """

    def __init__(
        self,
        network: _core.MultinomialAutoencoder,
        rows: CSR,
        settings: SimpleNamespace,
        *,
        divergence: tuple[float, float],
        first_step: int,
        filled: int | None = None,
        split: dict[str, Any] | None = None,
        seed: int,
        num_threads: int,
    ) -> None:
        filled = count_filled(rows) if filled is None else filled
        trainer = _core.MultinomialTrainer(
            network,
            filled,
            optimizer=settings.optimizer,
            regularization=float(settings.regularization),
            batch_size=_batch_size(settings, filled),
            dropout=float(settings.dropout),
            likelihood=settings.likelihood,
            sampled_items=int(settings.sampled_items or 0),
            noise=1.0,
            seed=seed,
            num_threads=num_threads,
            precision=precision_of(settings.precision),
            **(split or {}),
        )
        super().__init__(rows, settings, trainer)
        self._filled = filled
        self._beta, self._annealing = divergence
        self._first_step = first_step
        self._of_all_ranks: dict[str, Any] = {}

    @property
    def steps(self) -> int:
        """Batches that the network was trained on, by this learner and those before."""
        steps: int = self._first_step + self._trainer.step
        return steps

    def run_rows(self, index: int, progress: Callable[[int], None] | None) -> float:
        likelihood, divergence, n_rows = self._trainer.run_epoch(
            *(self.rows.indptr, self.rows.indices, self.rows.shape[1], index),
            float(self._settings.learning_rate),
            beta=self._beta,
            annealing=self._annealing,
            first_step=self._first_step,
            weights=self.weights,
            progress=progress,
            **self._of_all_ranks,
        )
        return float((likelihood + self._beta * divergence) / n_rows)


def _batch_size(settings: SimpleNamespace, rows: int) -> int:
    """Return the users in a batch: a tenth of those who have cells, from 50 to 500, for "auto"."""
    if is_auto(settings.batch_size):
        return min(max(50, rows // 10), 500)
    return int(settings.batch_size)
