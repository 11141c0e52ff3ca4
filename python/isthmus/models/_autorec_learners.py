"""How AutoRec is trained: in batches by the core's optimizers, or by SciPy's L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.checks import is_auto
from isthmus.data._csr import CSR, RowTotals, column_counts, count_filled
from isthmus.evaluation.scores import Floats
from isthmus.models._autoencoder import Autoencoder, PartVectors, Reader, network_of
from isthmus.models._biases import Biases
from isthmus.models._column_prior import ColumnPrior
from isthmus.models._precision import precision_of
from isthmus.training.lbfgs import minimize
from isthmus.training.loop import by_rows
from isthmus.training.schedule import learning_rates

__all__ = ["Counts", "LbfgsLearner", "Learner", "imbalance", "regularization_of"]

REGULARIZATION = 0.45
"""Factor of automatic regularization: times the root of the number of ratings."""
USERS_TIMES = 1.4
"""Times that for an autoencoder of users, where there are as many users as items."""

RATINGS_PER_ROW, FEWEST_ROWS, MOST_ROWS = 2000, 16, 128
"""Ratings of the data for each row of an automatic batch, within limits."""
STEPS_OF_ALL = 640_000
"""In an epoch of automatic batches, so many, or as many as there are ratings, by the number of
columns. Further ones would pass most columns by: on sparse data they take longer, and gain
nothing."""
FEWEST_STEPS, MOST_STEPS = 8, 64
EVALUATED_ROWS = 512
"""Rows whose gradient L-BFGS takes at once, which bounds its memory besides the weights."""


class Counts(NamedTuple):
    """The size of the training data, on all machines."""

    cells: int
    rows: int
    """With a rating."""
    columns: int
    """With a rating."""


def regularization_of(value: float | str, counts: Counts, orientation: str = "item") -> float:
    """Return lambda, which "auto" chooses by the size of the data."""
    if not is_auto(value):
        return float(value)
    times = USERS_TIMES * imbalance(counts.rows, counts.columns) if orientation == "user" else 1.0
    return REGULARIZATION * times * float(np.sqrt(counts.cells))


def imbalance(rows: int, columns: int) -> float:
    """Return the factor on lambda of an autoencoder of users for unequal numbers of both sides.

    Few users tell it little of many items; and beside many users, few items have so many ratings
    each that they would have nearly no penalty.
    """
    return float(np.cbrt(max(rows / columns, columns / rows)))


class Learner:
    """Train a network on rows.

    Parameters
    ----------
    network : _core.Autoencoder
    reader : Reader
        With AutoRec's parameters as its settings.
    matrix : CSR
        Ratings, rows by orientation.
    cell_offset : ndarray of float32, shape (nnz,), optional
        Subtracted from each cell's target; it may change from epoch to epoch.
    cell_weight : ndarray of float32, shape (nnz,), optional
        How often each cell's loss counts; their mean is 1.
    outputs : ndarray of float32, shape (nnz,), optional
        Filled with each cell's output in the last epoch.
    biases : Biases, optional
        Where they are fitted already.
    transposed : bool, default False
        Whether cells are masked as in the transposed matrix.
    counts : Counts, optional
        Where the matrix has but some of the columns.
    totals : RowTotals, optional
        Likewise.
    split : dict, optional
        What the core's trainer is to know of the columns, likewise.
    seed, num_threads : int
    """

    def __init__(
        self,
        network: _core.Autoencoder,
        reader: Reader,
        matrix: CSR,
        *,
        cell_offset: Floats | None = None,
        cell_weight: Floats | None = None,
        outputs: Floats | None = None,
        biases: Biases | None = None,
        transposed: bool = False,
        counts: Counts | None = None,
        totals: RowTotals | None = None,
        split: dict[str, Any] | None = None,
        seed: int,
        num_threads: int,
    ) -> None:
        reader, self.offsets = reader.fitted(matrix, biases=biases, totals=totals)
        self.reader = reader
        self.matrix = matrix
        self._network = network
        self._settings = settings = reader.settings
        self._num_threads = num_threads
        self._rows = reader.rows(matrix, self.offsets, cell_offset, cell_weight, totals)
        self._cell_offset = cell_offset
        self._outputs = outputs
        self._popularity = popularity = column_counts(matrix.indices, matrix.shape[1])
        if counts is None:
            columns = int(np.count_nonzero(popularity))
            counts = Counts(len(matrix.indices), count_filled(matrix), columns)
        self._counts = counts
        self._n_rows = matrix.shape[0]
        self._batch_size = min(self._batch_rows(), max(counts.rows, 1))
        self.regularization = self._regularization()
        self._trainer = _core.Trainer(
            network,
            popularity,
            counts.rows,
            optimizer=self._core_optimizer(),
            momentum=0.9,
            regularization=self.regularization,
            hidden_regularization=settings.hidden_regularization,
            batch_size=self._batch_size,
            corruption=settings.corruption_kind if settings.corruption > 0 else "none",
            corruption_level=float(settings.corruption),
            dropout=float(settings.dropout),
            seed=seed,
            num_threads=num_threads,
            transposed=transposed,
            bias_regularization=self._bias_regularization(),
            precision=precision_of(settings.precision, settings.optimizer),
            **(split or {}),
        )
        self._codes: _core.Matrix | None = None
        self._encoded = False  # whether codes are those of the weights as they are
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

    def _regularization(self) -> float:
        settings = self._settings
        return regularization_of(settings.regularization, self._counts, settings.orientation)

    def _bias_regularization(self) -> float:
        if self._settings.target_centering != "biases":
            return 0.0
        # an error costs its square, so that the gradient of a further one of the bias is 2 x bias
        return 2 * self.reader.dampings.column

    def _core_optimizer(self) -> str:
        optimizer: str = self._settings.optimizer
        return optimizer

    def _batch_rows(self) -> int:
        batch_size = self._settings.batch_size
        if batch_size is None:
            return self._counts.rows
        if not is_auto(batch_size):
            return int(batch_size)
        steps = max(self._counts.cells, STEPS_OF_ALL) // max(self._counts.columns, 1)
        steps = min(max(steps, FEWEST_STEPS), MOST_STEPS)
        rows = min(max(self._counts.cells // RATINGS_PER_ROW, FEWEST_ROWS), MOST_ROWS)
        return max(rows, -(-self._counts.rows // steps))

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        settings = self._settings
        rates = learning_rates(
            settings.learning_rate_schedule,
            settings.learning_rate,
            decay=settings.learning_rate_decay,
            epochs=settings.epochs,
            epoch=index,
            batches=-(-self._counts.rows // self._batch_size),
        )
        report = by_rows(progress, self._counts.cells, self._counts.rows)
        self._encoded = False
        squared_error, cells = self._pass(index, rates, report)
        return squared_error / cells / self.reader.target_factor**2

    def _pass(
        self, index: int, rates: Floats, report: Callable[[int], None] | None
    ) -> tuple[float, int]:
        """Train on all rows; return the squared error and the number of cells."""
        return self._trainer.run_epoch(
            self._rows, index, rates, progress=report, predictions=self._outputs
        )

    def arrays(self) -> PartVectors:
        """Return codes of the rows, and weights and biases of the columns, as they are now."""
        codes = self._encode()  # which makes weights whole
        weights, places = self._network.weights(), self.column_places
        bias = weights["decoder.bias"][0, places]
        return codes.array, weights["decoder.weights"][places], bias

    def is_zero(self) -> bool:
        """Return whether all outputs are 0, as with biases before training."""
        weights = self._network.weights()
        return not (weights["decoder.weights"].any() or weights["decoder.bias"].any())

    def _encode(self) -> _core.Matrix:
        if self._codes is None:
            units = self._network.weights()["decoder.weights"].shape[1]
            self._codes = _core.Matrix(np.zeros((self._n_rows, units), np.float32))
        if not self._encoded:
            self._encode_rows(self._codes)
            self._encoded = True
        return self._codes

    def _encode_rows(self, codes: _core.Matrix) -> None:
        self._trainer.encode(self._rows, codes)

    def keep_best(self) -> None:
        self._trainer.keep_best()

    def restore_best(self) -> None:
        self._encoded = False
        self._trainer.restore_best()

    def finish(self) -> Autoencoder:
        """Encode every row with the final weights and end training.

        Called again after Ctrl-C or an error, it goes on where it stopped.
        """
        codes = self._encode()  # which the trainer cannot do once it has finished
        self._trainer.finish()
        return self._with(self._network, codes)

    def snapshot(self) -> Autoencoder:
        """Return the model that training would give if it ended now, and go on."""
        codes = _core.Matrix(self._encode().array)  # which makes weights whole
        places, threads = self.column_places, self._num_threads
        network = network_of(self._network, places, self._settings, num_threads=threads)
        return self._with(network, codes)

    def _with(self, network: _core.Autoencoder, codes: _core.Matrix) -> Autoencoder:
        """Return it of weights whose columns are in their own order."""
        prior = self._prior(network.weights(), codes.array)
        return Autoencoder(self.reader, self.regularization, network, codes, self.offsets, prior)

    def _prior(self, weights: dict[str, Floats], codes: Floats) -> ColumnPrior:
        centred = self.offsets.column is not None
        return ColumnPrior.of(
            weights["decoder.weights"][:, np.newaxis],
            weights["decoder.bias"].T,
            codes,
            self.matrix,
            row_offset=None if centred else self.offsets.row,
            scale=1.0 if centred else self.reader.target_factor,
            targets=self._targets if centred else None,
        )

    def _targets(self, cells: slice, rows: NDArray[np.int64]) -> Floats:
        """Return the targets of some cells, given their rows."""
        row, column = self.offsets
        assert row is not None
        assert column is not None
        values = self.matrix.values[cells] - row[rows]
        values -= column[self.matrix.indices[cells]]
        values *= np.float32(self.reader.target_factor)
        return values if self._cell_offset is None else values - self._cell_offset[cells]


class LbfgsLearner(Learner):
    """The same with SciPy's L-BFGS, which moves the weights; the core evaluates them."""

    def _core_optimizer(self) -> str:
        return "momentum"  # whose state is where the core adds up a gradient

    def _batch_rows(self) -> int:
        return EVALUATED_ROWS

    def run_epochs(self, first: int, epochs: int, finish_epoch: Callable[[float], bool]) -> None:
        error = float("nan")
        done = 0

        def evaluate() -> float:
            nonlocal error
            self._encoded = False
            loss, squared_error, cells = self._trainer.evaluate(self._rows, epoch=first + done)
            error = squared_error / cells / self.reader.target_factor**2
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
        """Return 1 / the root of what is known beforehand of each weight's second derivative.

        That is lambda, and twice the number of ratings that the weight has a part in. Without
        them, L-BFGS fits popular columns long before the others.
        """
        ratings = np.empty((len(self._popularity), 1), np.float32)
        ratings[self.column_places, 0] = self._popularity
        outer = self.regularization
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
            own = curvature.get(name, np.array(decay + 2 * self._counts.cells, np.float32))
            scales[name] = np.where(own > 0, own, 1).astype(np.float32) ** np.float32(-0.5)
        return scales
