"""CVAE's side of the training loop: rounds of content and factors in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from isthmus import _core
from isthmus.data._csr import CSR, transpose, with_ones
from isthmus.evaluation.scores import Floats

if TYPE_CHECKING:
    from isthmus.models.cvae import CVAE

__all__ = ["LOSSES", "Rounds", "as_cells"]

LOSSES = ("reconstruction", "divergence", "distance", "ratings", "penalty")


class Rounds:
    """Training on the rows of a matrix: content and factors in turn."""

    def __init__(self, model: CVAE, rows: CSR) -> None:
        self._model = model
        columns = transpose(with_ones(rows), model._num_threads())
        self._by_user, self._by_item = as_cells(rows), as_cells(columns)
        self._active = np.diff(rows.indptr) > 0
        self._had = np.diff(columns.indptr) > 0
        self._n_content = int(model._has_content().sum())
        self._content: _core.ContentTrainer | None = None
        if model._network is not None and self._n_content:
            self._content = model._content_trainer(
                *(model._network, model._content, model._seed),
                regularization=float(model.regularization),
            )
        self._best: tuple[Floats, ...] | None = None

    def run_round(self, index: int, progress: Callable[[int], None] | None) -> list[float]:
        """Train once and return the parts of the loss, in the order of LOSSES."""
        model = self._model
        content = self._train_content(index, progress)
        prior, items = model._priors(), model._item_factors
        gram = model._gram(items, self._had)
        users, _ = model._solve(self._by_user, items, gram, model.user_regularization)
        items, error = model._solve(
            *(self._by_item, users, model._gram(users, self._active)),
            *(model.item_regularization, prior),
        )
        gram = model._gram(items, self._had)
        penalty = model.user_regularization * _square(users)
        penalty += model.item_regularization * _square(items - prior)
        n_items = len(items)
        # all at once, so that Ctrl-C leaves factors of one sweep
        model.__dict__.update(_codes=users, _item_factors=items, _item_gram=gram)
        return [*content, error / n_items, penalty / n_items]

    def _train_content(
        self, index: int, progress: Callable[[int], None] | None
    ) -> tuple[float, float, float]:
        if self._content is None:
            return 0.0, 0.0, 0.0
        model = self._model
        report = None
        if progress is not None:
            users, items = int(self._active.sum()), self._n_content
            report = lambda done: progress(users * done // items)  # noqa: E731
        *sums, n = self._content.run_epoch(
            *(index, float(model.learning_rate)),
            target=model._item_factors,
            target_weight=model._pull(),
            progress=report,
        )
        reconstruction, divergence, distance = (total / n for total in sums)
        return reconstruction, divergence, distance

    def keep_best(self) -> None:
        model = self._model
        self._best = model._codes, model._item_factors, model._item_gram
        if self._content is not None:
            self._content.keep_best()

    def restore_best(self) -> None:
        model = self._model
        if self._best is None:
            return
        model._codes, model._item_factors, model._item_gram = self._best
        if self._content is not None:
            self._content.restore_best()


def as_cells(rows: CSR) -> _core.Cells:
    """Hand a matrix to the core; one without values is of ones."""
    cells = rows if len(rows.values) else with_ones(rows)
    return _core.Cells(cells.indptr, cells.indices, cells.values, cells.shape[1])


def _square(array: Floats) -> float:
    return float(np.einsum("ij,ij->", array, array, dtype=np.float64))
