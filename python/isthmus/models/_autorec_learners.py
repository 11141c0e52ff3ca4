"""How AutoRec is trained: in batches by the core's optimizers, or by SciPy's L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.checks import is_auto
from isthmus.data._csr import CSR, column_counts, count_filled
from isthmus.evaluation.scores import Floats
from isthmus.training.lbfgs import minimize
from isthmus.training.loop import by_rows

__all__ = ["LbfgsLearner", "Learner"]

LEAST_ROWS = 256
"""Of an automatic batch: what did best on MovieLens 1M."""
STEPS_PER_RATING = 4
"""In an epoch of automatic batches, by the mean ratings of a column: further ones would pass most
columns by. On sparse data they take longer, and gain nothing."""
FEWEST_STEPS, MOST_STEPS = 8, 32
EVALUATED_ROWS = 512
"""Rows whose gradient L-BFGS takes at once: what bounds its memory beside the weights."""


class Learner:
    """Train a network on rows.

    Parameters
    ----------
    network : _core.Autoencoder
    settings : SimpleNamespace
        AutoRec's parameters.
    matrix : CSR
        Ratings, rows by orientation.
    rows : _core.Rows
        The same for the core.
    scale : float
        Factor that is on the targets, for losses in units of the ratings.
    seed, num_threads : int
    """

    def __init__(
        self,
        network: _core.Autoencoder,
        settings: SimpleNamespace,
        matrix: CSR,
        rows: _core.Rows,
        *,
        scale: float,
        seed: int,
        num_threads: int,
    ) -> None:
        self._network = network
        self._settings = settings
        self.matrix = matrix
        self._rows = rows
        self._scale = scale
        self._popularity = popularity = column_counts(matrix.indices, matrix.shape[1])
        self._nnz = len(matrix.indices)
        self._n_rows = matrix.shape[0]
        self._filled = filled = count_filled(matrix)
        self._trainer = _core.Trainer(
            network,
            popularity,
            filled,
            optimizer=self._core_optimizer(),
            momentum=0.9,
            regularization=float(settings.regularization),
            hidden_regularization=settings.hidden_regularization,
            batch_size=self._batch_rows(),
            corruption=settings.corruption_kind if settings.corruption > 0 else "none",
            corruption_level=float(settings.corruption),
            dropout=float(settings.dropout),
            seed=seed,
            num_threads=num_threads,
        )
        self._codes: _core.Matrix | None = None
        self._encoded = False
        # A column without ratings would predict, and add to codes, the noise it was initialised
        # with; weights of 0 stay 0 in training.
        places = self.column_places[popularity == 0]
        weights = network.weights()
        for name in ("encoder.weights", "decoder.weights"):
            weights[name][places] = 0.0
        weights["decoder.bias"][0, places] = 0.0

    @property
    def column_places(self) -> NDArray[np.int32]:
        """Return where each column's weights are while they are trained."""
        return self._trainer.column_rows

    def _core_optimizer(self) -> str:
        optimizer: str = self._settings.optimizer
        return optimizer

    def _batch_rows(self) -> int:
        batch_size = self._settings.batch_size
        if batch_size is None:
            return max(self._filled, 1)
        if is_auto(batch_size):
            per_column = self._nnz / max(int(np.count_nonzero(self._popularity)), 1)
            steps = min(max(int(STEPS_PER_RATING * per_column), FEWEST_STEPS), MOST_STEPS)
            return max(LEAST_ROWS, -(-self._filled // steps))
        return int(batch_size)

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        report = by_rows(progress, self._nnz, self._filled)
        rate = self._settings.learning_rate * self._settings.learning_rate_decay**index
        squared_error, cells = self._trainer.run_epoch(self._rows, index, rate, progress=report)
        return squared_error / cells / self._scale**2

    def decoder(self) -> tuple[Floats, Floats]:
        """Return weights and biases as they are, by `column_places`."""
        weights = self._network.weights()
        return weights["decoder.weights"], weights["decoder.bias"][0]

    def encode(self) -> _core.Matrix:
        """Encode every row with the weights as they are."""
        if self._codes is None:
            units = self.decoder()[0].shape[1]
            self._codes = _core.Matrix(np.zeros((self._n_rows, units), np.float32))
        self._trainer.encode(self._rows, self._codes)
        return self._codes

    def keep_best(self) -> None:
        self._trainer.keep_best()

    def restore_best(self) -> None:
        self._trainer.restore_best()

    def finish(self) -> _core.Matrix:
        """Encode every row with the final weights and end training.

        Called again after Ctrl-C or an error, it goes on where it stopped.
        """
        if not self._encoded:  # which the trainer cannot do once it has finished
            self._codes = self.encode()
            self._encoded = True
        self._trainer.finish()
        assert self._codes is not None
        return self._codes


class LbfgsLearner(Learner):
    """The same where SciPy's L-BFGS moves the weights, and the core evaluates them."""

    def _core_optimizer(self) -> str:
        return "momentum"  # whose state is where the core adds up a gradient

    def _batch_rows(self) -> int:
        return EVALUATED_ROWS

    def run_epochs(self, first: int, epochs: int, finish_epoch: Callable[[float], bool]) -> None:
        error = float("nan")
        done = 0

        def evaluate() -> float:
            nonlocal error
            loss, squared_error, cells = self._trainer.evaluate(self._rows, epoch=first + done)
            error = squared_error / cells / self._scale**2
            return loss

        def finish_iteration() -> bool:
            nonlocal done
            done += 1
            return finish_epoch(error)

        minimize(
            evaluate,
            self._network.weights(),
            self._trainer.gradients(),
            scales=self._scales(),
            iterations=epochs,
            finish_iteration=finish_iteration,
        )

    def _scales(self) -> dict[str, Floats]:
        """One by the root of what can be told beforehand of each weight's second derivative.

        That is lambda, and twice the number of ratings that the weight has a part in. Without
        them, L-BFGS fits popular columns long before the others.
        """
        ratings = np.empty((len(self._popularity), 1), np.float32)
        ratings[self.column_places, 0] = self._popularity
        outer = float(self._settings.regularization)
        hidden = self._settings.hidden_regularization
        inner = outer if hidden is None else float(hidden)
        curvature = {
            "encoder.weights": outer + 2 * ratings,
            "decoder.weights": outer + 2 * ratings,
            "decoder.bias": 2 * ratings.T,
        }
        scales = {}
        for name in self._network.weights():
            decay = inner if name.endswith("weights") else 0.0
            own = curvature.get(name, np.array(decay + 2 * self._nnz, np.float32))
            scales[name] = np.where(own > 0, own, 1).astype(np.float32) ** np.float32(-0.5)
        return scales
