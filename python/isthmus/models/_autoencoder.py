"""A trained autoencoder of rows of ratings: AutoRec has one, DualAutoRec two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.data._csr import CSR, RowTotals, column_counts, row_numbers, row_sums
from isthmus.data.ratings import Ratings
from isthmus.evaluation.explanation import without_each
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._biases import USUAL, Biases, Dampings, cells_of, fit_biases
from isthmus.models._column_prior import ColumnPrior
from isthmus.models._explaining import ridge_without_each
from isthmus.models._rating_model import LEAST_DEVIATION, deviation_of
from isthmus.models._tensors import Layout, Tensors, double, network, single
from isthmus.training.weights import load_weights

__all__ = [
    "BESIDE_OUTPUTS",
    "Autoencoder",
    "Offsets",
    "PartVectors",
    "Reader",
    "cell_outputs",
    "make_network",
    "network_of",
]

MAX_ROW = 2**31 - 1
"""Ratings of a row."""

WIDTHS = {"sigmoid": 1.0, "tanh": 2.0}
"""Of the range of output activations to which ratings are scaled."""

MEAN_DAMPING = 10.0
"""A row's mean counts the global mean as this many further ratings."""

BESIDE_OUTPUTS = {"item": (1.25, 1.25), "user": (1.0, 1.25)}
"""By orientation: the factors on the dampings of rows and of columns that would do best without a
network, whose outputs have biases of columns too."""

SPREAD, INPUT_MEAN = 1.117, 4.3
"""Of standardised ratings: their standard deviation, which is that of MovieLens 1M, and the input
that a mean rating becomes. It is far from 0, so that a code depends on which cells are rated."""


PartVectors = tuple[Floats, Floats, Floats]
"""Codes of a network's rows, and weights and biases of its columns."""


class Offsets(NamedTuple):
    """What is subtracted from ratings to give targets; None for nothing."""

    row: Floats | None
    column: Floats | None


@dataclass(frozen=True)
class Reader:
    """How ratings become a network's inputs and targets, as measured on its training ratings.

    Parameters
    ----------
    settings : SimpleNamespace
        AutoRec's parameters.
    mean, low, high : float
        Mean, least and greatest rating. With biases, the mean is the one fitted with them.
    zero : float
        The rating that is read as 0.
    factor : float
        On what an input is above that, and a target above its row's offset.
    typical_row : float
        How many ratings the row of a rating has, on average: sum(n^2) / sum(n) over rows of n.
    dampings : Dampings
        Of biases, as they were fitted, if at all.
    """

    settings: SimpleNamespace
    mean: float
    low: float
    high: float
    zero: float
    factor: float
    typical_row: float
    dampings: Dampings = USUAL

    @classmethod
    def of(cls, ratings: Ratings, settings: SimpleNamespace) -> Reader:
        """Measure the ratings that a network is trained on."""
        if settings.orientation == "user":
            counts = np.diff(ratings.indptr)
        else:
            counts = column_counts(ratings.indices, ratings.n_items)
        limits = ratings.min, ratings.max
        return cls.measured(settings, counts, ratings.mean, limits, lambda: deviation_of(ratings))

    @classmethod
    def measured(
        cls,
        settings: SimpleNamespace,
        row_counts: NDArray[np.int64],
        mean: float,
        limits: tuple[float, float],
        deviation: Callable[[], float],
    ) -> Reader:
        """Make it from what was measured of the ratings."""
        squares = np.sum(np.square(row_counts, dtype=np.float64))
        typical_row = float(squares / row_counts.sum())
        zero, factor = 0.0, 1.0
        if settings.rating_scale == "standard":
            factor = SPREAD / deviation()
            zero = mean - INPUT_MEAN / factor
        return cls(settings, mean, *limits, zero, factor, typical_row)

    def renewed(self, ratings: Ratings, settings: SimpleNamespace) -> Reader:
        """Return it for further training, on other ratings, of weights that fit its inputs."""
        return replace(
            self, settings=settings, mean=ratings.mean, low=ratings.min, high=ratings.max
        )

    @property
    def target_factor(self) -> float:
        """Return the factor on targets: to (0, 1) or (-1, 1) where the output is bounded."""
        width = WIDTHS.get(self.settings.decoder_activation)
        if width is None:
            return self.factor
        return 1.0 if self.low == self.high else width / (self.high - self.low)

    def fitted(
        self,
        matrix: CSR,
        *,
        biases: Biases | None = None,
        totals: RowTotals | None = None,
    ) -> tuple[Reader, Offsets]:
        """Return a reader for training, and what is subtracted from ratings to give targets.

        `biases` are fitted unless given, if they are subtracted at all; `totals` are of the
        matrix's own cells unless given.
        """
        if self.settings.target_centering != "biases":
            return self, Offsets(self._row_offset(matrix, totals), None)
        times = BESIDE_OUTPUTS[self.settings.orientation]
        fitted = biases or fit_biases(matrix, self.mean, times=times)
        mean, row, column, dampings = fitted
        reader = replace(self, mean=mean, dampings=dampings)
        return reader, Offsets(_single(mean + row), _single(column))

    def new_row_offset(
        self, rows: CSR, column_offset: Floats | None, *, num_threads: int
    ) -> Floats | None:
        """Return what is subtracted from the ratings of new rows."""
        if column_offset is None:
            return self._row_offset(rows)
        bias = _core.fit_row_biases(
            cells_of(rows),
            self.mean,
            column_offset.astype(np.float64),
            damping=self.dampings.row,
            num_threads=num_threads,
        )
        return _single(self.mean + bias)

    def new_column_offset(
        self, columns: CSR, row_offset: Floats | None, *, num_threads: int
    ) -> Floats | None:
        """Return what is subtracted from the ratings of new columns, which are rows here."""
        if self.settings.target_centering != "biases":
            return None
        assert row_offset is not None
        bias = _core.fit_row_biases(
            cells_of(columns),
            0.0,
            row_offset.astype(np.float64),
            damping=self.dampings.column,
            num_threads=num_threads,
        )
        return _single(bias)

    def mean_target(self) -> float:
        """Return the output before its activation that predicts the mean rating."""
        activation = self.settings.decoder_activation
        if activation not in WIDTHS or self.low == self.high:
            return (self.mean - self._target_zero()) * self.target_factor
        share = min(max((self.mean - self.low) / (self.high - self.low), 0.01), 0.99)
        logit = float(np.log(share / (1 - share)))
        return logit if activation == "sigmoid" else logit / 2

    def rows(
        self,
        matrix: CSR,
        offsets: Offsets,
        cell_offset: Floats | None = None,
        cell_weight: Floats | None = None,
        totals: RowTotals | None = None,
    ) -> _core.Rows:
        """Return rows for the core.

        `cell_offset` is subtracted from each cell's target, and its loss counts `cell_weight`
        times. `totals` are those of the rows' cells on all ranks.
        """
        centering = self.settings.input_centering
        return _core.Rows(
            matrix.indptr,
            matrix.indices,
            matrix.values,
            matrix.shape[1],
            input_offset=self._offset(matrix, centering, self.zero, totals),
            input_scale=self.factor,
            input_factor=self._row_factors(matrix, totals),
            target_offset=offsets.row,
            column_offset=offsets.column,
            target_scale=self.target_factor,
            cell_offset=cell_offset,
            cell_weight=cell_weight,
        )

    def vectors(self, codes: Floats, weights: Floats, bias: Floats, offsets: Offsets) -> Vectors:
        """Return the scores of rows and columns, as vectors."""
        row, column = offsets
        if self.settings.orientation == "item":
            vectors = Vectors(
                *(weights, codes), user_bias=bias, item_offset=row, user_offset=column
            )
        else:
            vectors = Vectors(
                *(codes, weights), item_bias=bias, user_offset=row, item_offset=column
            )
        return vectors._replace(
            activation=self.settings.decoder_activation, scale=self.target_factor
        )

    def scores(
        self,
        outputs: NDArray[np.float64],
        row_offset: Floats | np.float32 | None,
        column_offset: Floats | np.float32 | None,
    ) -> NDArray[np.float64]:
        """Turn outputs of the identity into scores."""
        scores = outputs / self.target_factor
        for offset in (row_offset, column_offset):
            if offset is not None:
                scores += offset
        return scores

    def _target_zero(self) -> float:
        """Return the rating whose target is 0 where targets are not centred."""
        activation = self.settings.decoder_activation
        if activation not in WIDTHS:
            return self.zero
        return self.low if activation == "sigmoid" else (self.low + self.high) / 2

    def _row_offset(self, matrix: CSR, totals: RowTotals | None = None) -> Floats | None:
        if not _has_offset(self.settings):
            return None
        return self._offset(matrix, self.settings.target_centering, self._target_zero(), totals)

    def _offset(self, matrix: CSR, centering: str, zero: float, totals: RowTotals | None) -> Floats:
        if centering == "row":
            counts, sums = totals or RowTotals(np.diff(matrix.indptr), row_sums(matrix))
            means = (sums + MEAN_DAMPING * self.mean) / (counts + MEAN_DAMPING)
        else:
            means = np.full(matrix.shape[0], self.mean if centering == "global" else zero)
        offset: Floats = means.astype(np.float32)
        return offset

    def _row_factors(self, matrix: CSR, totals: RowTotals | None) -> Floats | None:
        power = self.settings.row_scaling
        if power == 0:
            return None
        counts = np.maximum(totals.counts if totals else np.diff(matrix.indptr), 1)
        factors: Floats = ((counts / self.typical_row) ** -power).astype(np.float32)
        return factors


def _has_offset(settings: SimpleNamespace) -> bool:
    return (
        settings.target_centering != "none"
        or settings.decoder_activation in WIDTHS
        or settings.rating_scale == "standard"
    )


def _single(values: NDArray[Any]) -> Floats:
    return values.astype(np.float32)


def cell_outputs(
    arrays: PartVectors, rows: CSR, *, activation: str = "identity", num_threads: int
) -> Floats:
    """Return the output for each stored cell of rows."""
    codes, weights, bias = arrays
    scorer = Vectors(codes, weights, item_bias=bias, activation=activation).scorer()
    return scorer.score_pairs(row_numbers(rows.indptr), rows.indices, num_threads=num_threads)


def make_network(
    columns: int,
    settings: SimpleNamespace,
    *,
    numbers: NDArray[np.int32] | None = None,
    all_columns: int = 0,
    seed: int,
    num_threads: int,
) -> _core.Autoencoder:
    """Make a network that is not trained yet.

    Beside biases of users and items it begins with outputs of 0: a column with few ratings would
    otherwise keep much of the noise that it was initialised with. `numbers` are those of its
    columns among all of several machines'.
    """
    made = _core.Autoencoder(
        columns,
        settings.hidden_units,
        hidden_activation=settings.encoder_activation,
        output_activation=settings.decoder_activation,
        seed=seed,
        num_threads=num_threads,
        columns=numbers,
        all_columns=all_columns,
    )
    if settings.target_centering == "biases" and settings.initial_deviation is None:
        made.weights()["decoder.weights"][...] = 0.0
    return made


@dataclass(frozen=True)
class Autoencoder:
    """A trained network, and the codes of the rows it was trained on.

    Parameters
    ----------
    reader : Reader
    regularization : float
        lambda, whether or not the parameter is "auto".
    network : _core.Autoencoder
    codes : _core.Matrix
        Last hidden layer of every row.
    offsets : Offsets
    prior : ColumnPrior
        What a new column is like before it has ratings.
    """

    reader: Reader
    regularization: float
    network: _core.Autoencoder
    codes: _core.Matrix
    offsets: Offsets
    prior: ColumnPrior

    def vectors(
        self,
        *,
        codes: Floats | None = None,
        row_offset: Floats | None = None,
        weights: Floats | None = None,
        bias: Floats | None = None,
        column_offset: Floats | None = None,
    ) -> Vectors:
        """Return the scores of its own rows and columns, or of new ones that are given."""
        if codes is None:
            codes, row_offset = self.codes.array, self.offsets.row
        if weights is None or bias is None:
            own = self.network.weights()
            weights, bias = own["decoder.weights"], own["decoder.bias"][0]
            column_offset = self.offsets.column
        return self.reader.vectors(codes, weights, bias, Offsets(row_offset, column_offset))

    def arrays(self) -> PartVectors:
        """Return codes of its rows, and weights and biases of its columns."""
        own = self.network.weights()
        return self.codes.array, own["decoder.weights"], own["decoder.bias"][0]

    def outputs(self, codes: Floats, rows: CSR, *, num_threads: int) -> Floats:
        """Return the output for each stored cell of new rows with these codes."""
        _, weights, bias = self.arrays()
        activation = self.reader.settings.decoder_activation
        return cell_outputs(
            (codes, weights, bias), rows, activation=activation, num_threads=num_threads
        )

    def encode(self, rows: CSR, *, num_threads: int) -> tuple[_core.Matrix, Floats | None]:
        """Return codes and offsets of new rows."""
        offset = self.reader.new_row_offset(rows, self.offsets.column, num_threads=num_threads)
        read = self.reader.rows(rows, Offsets(offset, self.offsets.column))
        return self.network.encode(read, num_threads=num_threads), offset

    def regress(
        self, columns: CSR, *, outputs: Floats | None = None, num_threads: int
    ) -> tuple[Floats, Floats, Floats | None]:
        """Fit decoder weights and biases of new columns, by ridge regression on the codes.

        It is the model's own objective with the codes held fixed (for an identity output), so that
        a column of the training data would get the weights that training sought for it. It differs
        in that the weights are around the mean column, and the level has a prior, as few ratings do
        not determine it. `outputs` are subtracted from each cell's target. Also return the columns'
        offsets, if any.
        """
        targets, offset = self._targets(columns, outputs, num_threads=num_threads)
        weights, bias = _core.fit_ridge(
            self.codes.array,
            columns.indptr,
            columns.indices,
            targets,
            self._penalty,
            self.prior.in_core(),
            num_threads=num_threads,
        )
        return weights, bias, offset

    def regress_without(
        self,
        column: CSR,
        which: NDArray[np.int64],
        row: int,
        *,
        outputs: Floats | None = None,
        num_threads: int,
    ) -> tuple[NDArray[np.float64], Floats | None]:
        """Return a row's output for one new column, by `regress` without each of some of its cells.

        `outputs` are those of all the columns that result. Also return their offsets, if any.
        """
        columns = without_each(column, which)
        targets, offset = self._targets(columns, outputs, num_threads=num_threads)
        codes = self.codes.array
        found = ridge_without_each(
            codes[column.indices],
            codes[row],
            targets.reshape(len(which), -1),
            which,
            self._penalty,
            self.prior,
        )
        return found, offset

    @property
    def _penalty(self) -> float:
        """Return the penalty of a regression on the codes."""
        return max(self.regularization / 2, 1e-6)

    def _targets(
        self, columns: CSR, outputs: Floats | None, *, num_threads: int
    ) -> tuple[Floats, Floats | None]:
        """Return the target of each cell of new columns, and the columns' offsets."""
        targets = columns.values
        if self.offsets.row is not None:
            targets = targets - self.offsets.row[columns.indices]
        offset = self.reader.new_column_offset(columns, self.offsets.row, num_threads=num_threads)
        if offset is not None:
            targets = targets - np.repeat(offset, np.diff(columns.indptr))
        targets = targets * np.float32(self.reader.target_factor)
        return targets if outputs is None else targets - outputs, offset

    def with_rows(self, codes: Floats, row_offset: Floats | None) -> Autoencoder:
        """Return it with further rows, as `encode` gives them."""
        both = _core.Matrix(np.vstack([self.codes.array, codes]))
        offsets = self.offsets._replace(row=_joined(self.offsets.row, row_offset))
        return replace(self, codes=both, offsets=offsets)

    def with_columns(
        self, weights: Floats, bias: Floats, column_offset: Floats | None, *, num_threads: int
    ) -> Autoencoder:
        """Return it with further columns, as `regress` gives them."""
        old: Tensors = dict(self.network.weights())
        # the encoder has no weights for a column it was not trained with: it is not an input
        none = np.zeros((len(weights), old["encoder.weights"].shape[1]), np.float32)
        old["encoder.weights"] = np.vstack([old["encoder.weights"], none])
        old["decoder.weights"] = np.vstack([old["decoder.weights"], weights])
        old["decoder.bias"] = np.hstack([old["decoder.bias"], bias[np.newaxis]])
        offsets = self.offsets._replace(column=_joined(self.offsets.column, column_offset))
        network = _loaded(old, self.reader.settings, num_threads=num_threads)
        return replace(self, network=network, offsets=offsets)

    def take_rows(self, kept: NDArray[np.int64]) -> Autoencoder:
        """Return it with some of its rows alone."""
        row = self.offsets.row
        offsets = self.offsets._replace(row=None if row is None else row[kept])
        return replace(self, codes=_core.Matrix(self.codes.array[kept]), offsets=offsets)

    def take_columns(self, kept: NDArray[np.int64], *, num_threads: int) -> Autoencoder:
        """Return it with some of its columns alone."""
        column = self.offsets.column
        offsets = self.offsets._replace(column=None if column is None else column[kept])
        network = network_of(self.network, kept, self.reader.settings, num_threads=num_threads)
        return replace(self, network=network, offsets=offsets)

    # Files

    def tensors(self) -> Tensors:
        """Return its tensors for a file, without the mean and the range of the ratings."""
        reader = self.reader
        own = [reader.zero, reader.factor, reader.typical_row, self.regularization]
        offsets = {"row_offset": self.offsets.row, "column_offset": self.offsets.column}
        return {
            **self.network.weights(),
            "codes": self.codes.array,
            "reading": np.array(own, np.float64),
            **{name: array for name, array in offsets.items() if array is not None},
            **({} if self.offsets.column is None else {"dampings": np.array(reader.dampings)}),
            **self.prior.tensors(),
        }

    @staticmethod
    def layout(settings: SimpleNamespace, n_rows: int, n_columns: int) -> Layout:
        """Describe its tensors in a file."""
        units = settings.hidden_units
        biased = settings.target_centering == "biases"
        return {
            **network(n_columns, units[0], pairwise(units), units[-1]),
            "codes": single(n_rows, units[-1]),
            "reading": double(4),
            **({"row_offset": single(n_rows)} if _has_offset(settings) else {}),
            **({"column_offset": single(n_columns), "dampings": double(2)} if biased else {}),
            **ColumnPrior.layout(1, units[-1]),
        }

    @staticmethod
    def check_values(tensors: Tensors) -> None:
        """Refuse values of a file that no training gives; their layout is right."""
        ColumnPrior.check_values(tensors)
        if "dampings" in tensors and tensors["dampings"].min() <= 0:
            raise ValueError("dampings must be above 0")
        _, factor, typical_row, regularization = tensors["reading"].tolist()
        most = SPREAD / LEAST_DEVIATION
        if not (1 / most <= factor <= most and 1 <= typical_row <= MAX_ROW and regularization >= 0):
            raise ValueError(
                f"reading must hold a factor from {1 / most:.3g} to {most:.3g}, a typical row of 1 "
                f"to {MAX_ROW:,} ratings and a regularization of at least 0"
            )

    @classmethod
    def from_tensors(
        cls,
        tensors: Tensors,
        settings: SimpleNamespace,
        *,
        mean: float,
        limits: tuple[float, float],
        num_threads: int,
    ) -> Autoencoder:
        """Make it from a file's tensors."""
        zero, factor, typical_row, regularization = tensors["reading"].tolist()
        dampings = Dampings(*tensors.get("dampings", np.array(USUAL)).tolist())
        return cls(
            Reader(settings, mean, *limits, zero, factor, typical_row, dampings),
            regularization,
            _loaded(tensors, settings, num_threads=num_threads),
            _core.Matrix(tensors["codes"]),
            Offsets(tensors.get("row_offset"), tensors.get("column_offset")),
            ColumnPrior.from_tensors(tensors),
        )


def network_of(
    network: _core.Autoencoder,
    columns: NDArray[np.integer[Any]],
    settings: SimpleNamespace,
    *,
    num_threads: int,
) -> _core.Autoencoder:
    """Return another network, of some columns in the order given."""
    own: Tensors = dict(network.weights())
    for name in ("encoder.weights", "decoder.weights"):
        own[name] = own[name][columns]
    own["decoder.bias"] = own["decoder.bias"][:, columns]
    return _loaded(own, settings, num_threads=num_threads)


def _loaded(tensors: Tensors, settings: SimpleNamespace, *, num_threads: int) -> _core.Autoencoder:
    columns = len(tensors["decoder.weights"])
    made = make_network(columns, settings, seed=0, num_threads=num_threads)
    load_weights(made.weights(), tensors)
    return made


def _joined(known: Floats | None, new: Floats | None) -> Floats | None:
    return None if known is None or new is None else np.concatenate([known, new])
