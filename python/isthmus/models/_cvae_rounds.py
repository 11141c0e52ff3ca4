"""How CVAE is trained: rounds of content and factors in turn."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.data._csr import CSR, count_filled, select_rows, transpose, with_ones
from isthmus.evaluation.scores import Floats

__all__ = ["LOSSES", "Rounds", "as_cells", "content_trainer", "encode_content", "solve"]

LOSSES = ("reconstruction", "divergence", "distance", "ratings", "penalty")


class Rounds:
    """Train a content network, and the factors of users and items, in turn.

    Parameters
    ----------
    rows : CSR
        What each user had.
    network : _core.ContentNetwork or None
        None without content.
    content : CSR
        Features of each item.
    settings : SimpleNamespace
        CVAE's parameters.
    users, items : ndarray of float32, shape (n_users or n_items, k)
        Factors to start from.
    gram : ndarray of float32, shape (k, k)
        Of the items that had a cell in the last training.
    losses : list of list of float
        Parts of the loss of earlier rounds, in the order of `LOSSES`.
    seed, num_threads : int
    """

    def __init__(
        self,
        rows: CSR,
        network: _core.ContentNetwork | None,
        content: CSR,
        settings: SimpleNamespace,
        *,
        users: Floats,
        items: Floats,
        gram: Floats,
        losses: list[list[float]],
        seed: int,
        num_threads: int,
    ) -> None:
        self.rows = rows
        self.users, self.items, self.gram = users, items, gram
        self.losses = losses
        self._network = network
        self._content = content
        self._settings = settings
        self._num_threads = num_threads
        columns = transpose(with_ones(rows), num_threads)
        self._by_user, self._by_item = as_cells(rows), as_cells(columns)
        self._active = np.diff(rows.indptr) > 0
        self._had = np.diff(columns.indptr) > 0
        self._n_content = count_filled(content)
        self._pull = float(settings.item_regularization / settings.content_weight)
        self._trainer: _core.ContentTrainer | None = None
        if network is not None and self._n_content:
            self._trainer = content_trainer(
                *(network, content, settings),
                regularization=float(settings.regularization),
                seed=seed,
                num_threads=num_threads,
            )
        self._best: tuple[Floats, ...] | None = None

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        losses = [*self._train_content(index, progress), *self._sweep()]
        self.losses.append(losses)
        parts = dict(zip(LOSSES, losses, strict=True))
        parts["distance"] *= self._pull
        return sum(parts.values())

    def _train_content(
        self, index: int, progress: Callable[[int], None] | None
    ) -> tuple[float, float, float]:
        if self._trainer is None:
            return 0.0, 0.0, 0.0
        report = None
        if progress is not None:
            cells, items = len(self.rows.indices), self._n_content
            report = lambda done: progress(cells * done // items)  # noqa: E731
        *sums, n = self._trainer.run_epoch(
            *(index, float(self._settings.learning_rate)),
            target=self.items,
            target_weight=self._pull,
            progress=report,
        )
        reconstruction, divergence, distance = (total / n for total in sums)
        return reconstruction, divergence, distance

    def _sweep(self) -> tuple[float, float]:
        """Solve for all users, and then for all items; return both parts of the loss."""
        settings, threads = self._settings, self._num_threads
        prior = encode_content(self._network, self._content, settings, threads)
        gram = self._gram(self.items, self._had)
        users, _ = solve(
            *(self._by_user, self.items, gram, settings),
            regularization=settings.user_regularization,
            num_threads=threads,
        )
        items, error = solve(
            *(self._by_item, users, self._gram(users, self._active), settings),
            regularization=settings.item_regularization,
            prior=prior,
            num_threads=threads,
        )
        gram = self._gram(items, self._had)
        penalty = settings.user_regularization * _square(users)
        penalty += settings.item_regularization * _square(items - prior)
        # all at once, so that Ctrl-C leaves factors of one sweep
        self.__dict__.update(users=users, items=items, gram=gram)
        return error / len(items), penalty / len(items)

    def _gram(self, factors: Floats, counted: NDArray[np.bool_]) -> Floats:
        return _core.factor_gram(factors[counted], num_threads=self._num_threads)

    def keep_best(self) -> None:
        self._best = self.users, self.items, self.gram
        if self._trainer is not None:
            self._trainer.keep_best()

    def restore_best(self) -> None:
        if self._best is None:
            return
        self.users, self.items, self.gram = self._best
        if self._trainer is not None:
            self._trainer.restore_best()


def content_trainer(
    network: _core.ContentNetwork,
    rows: CSR,
    settings: SimpleNamespace,
    *,
    regularization: float = 0.0,
    corruption: float = 0.0,
    seed: int,
    num_threads: int,
) -> _core.ContentTrainer:
    """Make a trainer of a content network."""
    return _core.ContentTrainer(
        *(network, as_cells(rows)),
        optimizer="adam",
        regularization=regularization,
        corruption=corruption,
        batch_size=int(settings.batch_size),
        seed=seed,
        num_threads=num_threads,
    )


def encode_content(
    network: _core.ContentNetwork | None, rows: CSR, settings: SimpleNamespace, num_threads: int
) -> Floats:
    """Return the means of the codes, and 0 where there is no content."""
    means = np.zeros((rows.shape[0], settings.latent_units), np.float32)
    known = np.diff(rows.indptr) > 0
    if network is not None and known.any():
        cells = as_cells(select_rows(rows, np.flatnonzero(known)))
        means[known] = network.encode(cells, num_threads=num_threads)
    return means


def solve(
    cells: _core.Cells,
    factors: Floats,
    gram: Floats,
    settings: SimpleNamespace,
    *,
    regularization: float,
    prior: Floats | None = None,
    num_threads: int,
) -> tuple[Floats, float]:
    """Solve for the factors of all rows, and return them and the squared error, weighted."""
    return _core.solve_implicit_rows(
        *(cells, factors, gram),
        positive=float(settings.positive_weight),
        other=float(settings.other_weight),
        regularization=float(regularization),
        prior=prior,
        num_threads=num_threads,
    )


def as_cells(rows: CSR) -> _core.Cells:
    """Return a matrix for the core; one without values is of ones."""
    cells = rows if len(rows.values) else with_ones(rows)
    return _core.Cells(cells.indptr, cells.indices, cells.values, cells.shape[1])


def _square(array: Floats) -> float:
    return float(np.einsum("ij,ij->", array, array, dtype=np.float64))
