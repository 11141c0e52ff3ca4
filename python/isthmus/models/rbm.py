"""RBM-CF: a restricted Boltzmann machine on observed ratings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import read_only
from isthmus._util.checks import (
    check_choice,
    check_integer,
    check_layers,
    check_real,
    check_units,
)
from isthmus.data._csr import CSR, column_counts
from isthmus.data.ratings import Ratings
from isthmus.evaluation.scores import Expected, Floats
from isthmus.models._column_prior import ColumnPrior
from isthmus.models._estimator import with_parameters
from isthmus.models._rating_model import HeldOut, RatingModel
from isthmus.models._rbm_learner import Learner
from isthmus.models._tensors import Layout, Tensors, double, length_of, single
from isthmus.training.weights import load_weights

__all__ = ["RBM"]

MAX_LEVELS = 100
"""Ratings with more distinct values than this are refused."""

ROUNDING = 5e-7
"""Ratings that differ by less than this share of themselves are of one level."""

PENALTY = 10.0
"""On how a new column's weights differ from the mean column's: best for few and many ratings."""


@with_parameters
class RBM(RatingModel):
    r"""RBM-CF, user- or item-based: a softmax unit for each rating of a row, binary hidden units.

    $$
    p(v_i = k \mid h) \propto \exp(b_i^k + \sum_j h_j W_{ij}^k), \qquad
    p(h_j = 1 \mid v) = \sigma(c_j + \sum_{i\ rated} W_{ij}^{v_i})
    $$

    The levels k are the distinct ratings of the training data. A row has no units for columns that
    it has no rating of. Training is by contrastive divergence; a prediction is the expected rating
    under one mean-field pass through the hidden units. The defaults did best on validation data of
    MovieLens 1M.

    Parameters
    ----------
    orientation : {"user", "item"}, default "item"
        What a row is: U-RBM or I-RBM.
    hidden_units : int, default 500
    regularization : float, default 0.003
        Decay of the weights W, at least 0, relative to the mean log-likelihood of a batch's rows.
    learning_rate : float, default 0.03
    learning_rate_decay : float, default 0.97
        Factor on the rate after each epoch, in (0, 1].
    momentum : float, default 0.9
        In [0, 1). A column that has no rating in a batch is left alone, its momentum included.
    cd_steps : tuple of int, default (1,)
        Steps of Gibbs sampling, in equal shares of the epochs; the paper's grow, (1, 3, 5, 9).
    batch_size : int, default 100
        Rows in a mini-batch.
    epochs : int, default 60
    init_scale : float, default 0.01
        Standard deviation of the first weights; visible biases start at the log frequencies of a
        column's levels.
    default_rating : float, optional
        Predicted where the user or the item had no rating in training. By default, the expected
        rating by what is known: the column's own frequencies, or those of all ratings.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Loss (mean squared error of the expected ratings after one step of sampling), seconds and
        validation RMSE of each epoch.
    levels_ : ndarray of float64, shape (n_levels,)
        The distinct ratings, in increasing order.
    weights_ : ndarray of float32, shape (n_columns, n_levels, hidden_units)
        W. Columns are items with ``orientation="user"``, users with "item".
    visible_bias_ : ndarray of float32, shape (n_columns, n_levels)
        b.
    hidden_bias_ : ndarray of float32, shape (hidden_units,)
        c.
    codes_ : ndarray of float32, shape (n_rows, hidden_units)
        p(h = 1) of every row.

    Notes
    -----
    R. Salakhutdinov, A. Mnih, G. Hinton: Restricted Boltzmann Machines for Collaborative
    Filtering, ICML 2007.

    A new column's weights and biases (`fold_in`, ``recommend(ratings=...)``) are a softmax
    regression on the codes, shrunk towards the trained columns' mean; its logits at the mean code
    are drawn as those of the trained columns are (empirical Bayes).

    Examples
    --------
    >>> from isthmus import RBM, train_test_split
    >>> from isthmus.data.synthetic import synthetic_ratings
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> train, test = train_test_split(ratings, test_size=0.1, random_state=0)
    >>> model = RBM(hidden_units=20, epochs=4, random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['mae', 'rmse']
    >>> model.levels_.tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]
    """

    orientation: str = "item"
    hidden_units: int = 500
    regularization: float = 0.003
    learning_rate: float = 0.03
    learning_rate_decay: float = 0.97
    momentum: float = 0.9
    cd_steps: tuple[int, ...] = (1,)
    batch_size: int = 100
    epochs: int = 60
    init_scale: float = 0.01

    _in_core = ("_model", "_codes")
    _structural = ("orientation", "hidden_units")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("orientation", self.orientation, ("item", "user"))
        check_units("hidden_units", self.hidden_units)
        check_real("regularization", self.regularization, low=0)
        check_real("learning_rate_decay", self.learning_rate_decay, low=0, high=1, open_low=True)
        check_real("momentum", self.momentum, low=0, high=1, open_high=True)
        check_layers("cd_steps", self.cd_steps)
        check_integer("batch_size", self.batch_size, low=1)
        check_real("init_scale", self.init_scale, low=0)

    # Training

    def _initialize(self, ratings: Ratings) -> None:
        self._levels = _distinct(ratings)
        matrix = ratings.rows(self._structure.orientation, num_threads=self._num_threads())
        self._model = _core.Rbm(
            matrix.shape[1],
            len(self._levels),
            int(self._structure.hidden_units),
            deviation=float(self.init_scale),
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        counts = np.zeros((matrix.shape[1], len(self._levels)))
        np.add.at(counts, (matrix.indices, self._level_of(matrix, "X")), 1)
        # one more rating, at the frequencies of all, so that no level of a column has probability 0
        shares = counts.sum(0) / counts.sum()
        frequencies = (counts + shares) / (counts.sum(1, keepdims=True) + 1)
        self._model.weights()["visible_bias"][...] = np.log(frequencies)

    def _check_ratings(self, ratings: Ratings, *, anew: bool) -> None:
        if anew:
            _distinct(ratings)
        else:
            self._level_of(ratings.rows("user"), "X")

    def _learner(self, ratings: Ratings) -> Learner:
        matrix = ratings.rows(self._structure.orientation, num_threads=self._num_threads())
        learner = Learner(
            self._model,
            self._structure,
            matrix,
            self._cells(matrix, "X"),
            levels=self._levels,
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        # rows and columns without ratings would predict their random first weights
        unseen = column_counts(matrix.indices, matrix.shape[1]) == 0
        self._model.weights()["weights"][np.repeat(unseen, len(self._levels))] = 0.0
        return learner

    def _validate(self, learner: Learner, held_out: HeldOut) -> dict[str, float]:
        scores = self._assemble(learner.encode().array, self._shaped_weights(), self._bias())
        return self._measure(scores, held_out)

    def _finish(self, learner: Learner) -> None:
        self._codes = learner.encode()
        weights, bias = self._shaped_weights(), self._bias()
        self._prior = ColumnPrior.of(weights, bias, self._codes.array, learner.matrix)

    def _level_of(self, matrix: CSR, name: str) -> NDArray[np.uint8]:
        levels = self._levels
        # the nearest: between two levels it changes half way
        found = np.searchsorted((levels[1:] + levels[:-1]) / 2, matrix.values)
        # .1 x 3 and .3 are one rating, though not to the bit
        apart = np.abs(matrix.values - levels[found])
        strange = apart > np.minimum(ROUNDING * np.abs(levels).max(), _gaps(levels) / 4)[found]
        if strange.any():
            raise ValueError(
                f"{name} must have ratings of the levels that the model was fitted to "
                f"({', '.join(f'{level:g}' for level in self._levels[:10])}"
                f"{', ...' if len(self._levels) > 10 else ''}), "
                f"but one is {matrix.values[strange][0]:g}."
            )
        return found.astype(np.uint8)

    def _cells(self, matrix: CSR, name: str) -> _core.LevelCells:
        return _core.LevelCells(
            matrix.indptr,
            matrix.indices,
            self._level_of(matrix, name),
            matrix.shape[1],
            len(self._levels),
        )

    # Prediction

    def _vectors(self) -> Expected:
        return self._assemble(self._codes.array, self._shaped_weights(), self._bias())

    def _assemble(self, codes: Floats, weights: Floats, bias: Floats) -> Expected:
        return Expected(codes, weights, bias, self._levels, self._structure.orientation == "user")

    def _item_vectors(self) -> Floats:
        if self._structure.orientation == "item":
            return self._codes.array
        weights = self._shaped_weights()
        # the softmax depends only on differences between a column's levels
        centred: Floats = weights - weights.mean(axis=1, keepdims=True)
        return centred.reshape(len(centred), -1)

    def _shaped_weights(self) -> Floats:
        flat = np.ascontiguousarray(self._model.weights()["weights"])
        return flat.reshape(-1, len(self._levels), flat.shape[1])

    def _bias(self) -> Floats:
        return self._model.weights()["visible_bias"]

    # New users and items

    def _fold_users(self, ratings: CSR) -> Expected:
        return self._fold(ratings, "user")

    def _fold_items(self, ratings: CSR) -> Expected:
        return self._fold(ratings, "item")

    def _fold(self, ratings: CSR, axis: str) -> Expected:
        if axis == self._structure.orientation:
            codes = self._encode(ratings).array
            return self._assemble(codes, self._shaped_weights(), self._bias())
        return self._assemble(self._codes.array, *self._regress(ratings))

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        grown = super()._fold_in(ratings, axis)
        if axis == self._structure.orientation:
            codes = self._encode(ratings).array
            return {**grown, "_codes": _core.Matrix(np.vstack([self._codes.array, codes]))}
        weights, bias = self._regress(ratings)
        old = self._tensors()
        flat = weights.reshape(-1, weights.shape[2])
        # a new column is no input of the codes, which were trained without it; but rows that are
        # folded in later may have ratings of it
        old["weights"] = np.vstack([old["weights"], flat])
        old["visible_bias"] = np.vstack([old["visible_bias"], bias])
        return {**grown, "_model": self._loaded(old)}

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        left = super()._without_users(kept)
        if self._structure.orientation == "user":
            return {**left, "_codes": _core.Matrix(self._codes.array[kept])}
        own = self._tensors()
        own["weights"] = self._shaped_weights()[kept].reshape(-1, own["weights"].shape[1])
        own["visible_bias"] = own["visible_bias"][kept]
        return {**left, "_model": self._loaded(own)}

    def _encode(self, rows: CSR) -> _core.Matrix:
        return self._model.encode(self._cells(rows, "X"), num_threads=self._num_threads())

    def _regress(self, columns: CSR) -> tuple[Floats, Floats]:
        """Fit weights and biases of new columns, by softmax regression around the mean column."""
        weights, bias = _core.fit_softmax(
            self._codes.array,
            self._cells(columns, "X"),
            PENALTY,
            self._prior.in_core(),
            num_threads=self._num_threads(),
        )
        return weights.reshape(len(bias), len(self._levels), -1), bias

    # Fitted arrays

    @property
    def levels_(self) -> NDArray[np.float64]:
        """Distinct ratings, in increasing order."""
        self._check_fitted()
        return read_only(self._levels)

    @property
    def weights_(self) -> Floats:
        """W: a row per column of the data, level and hidden unit."""
        self._check_fitted()
        return read_only(self._shaped_weights())

    @property
    def visible_bias_(self) -> Floats:
        """Bias of every column's levels."""
        self._check_fitted()
        return read_only(self._bias())

    @property
    def hidden_bias_(self) -> Floats:
        """Bias of every hidden unit."""
        self._check_fitted()
        return read_only(self._model.weights()["hidden_bias"][0])

    @property
    def codes_(self) -> Floats:
        """Probabilities of every row's hidden units."""
        self._check_fitted()
        return read_only(self._codes.array)

    # Files

    def _tensors(self) -> Tensors:
        tensors: Tensors = dict(self._model.weights())
        tensors["codes"] = self._codes.array
        tensors["levels"] = self._levels
        tensors |= self._prior.tensors()
        return {**tensors, **self._training_tensors()}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        n_columns, n_rows = shape if self.orientation == "item" else shape[::-1]
        n_levels, units = length_of(tensors, "levels"), int(self.hidden_units)
        return {
            "weights": single(n_columns * n_levels, units),
            "visible_bias": single(n_columns, n_levels),
            "hidden_bias": single(1, units),
            "codes": single(n_rows, units),
            "levels": double(n_levels),
            **ColumnPrior.layout(n_levels, units),
            **super()._layout(shape, tensors),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        ColumnPrior.check_values(tensors)
        levels = tensors["levels"]
        if not (1 <= len(levels) <= MAX_LEVELS and (np.diff(levels) > 0).all()):
            raise ValueError(f"levels must be from 1 to {MAX_LEVELS} ratings that increase")

    def _restore(self, tensors: Tensors) -> None:
        self._restore_training(tensors)
        self._levels = tensors["levels"]
        self._codes = _core.Matrix(tensors["codes"])
        self._prior = ColumnPrior.from_tensors(tensors)
        self._model = self._loaded(tensors)

    def _loaded(self, tensors: dict[str, NDArray[Any]]) -> _core.Rbm:
        model = _core.Rbm(
            len(tensors["visible_bias"]),
            len(self._levels),
            int(self._structure.hidden_units),
            deviation=0.0,
            seed=0,
        )
        load_weights(model.weights(), tensors)
        return model


def _gaps(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each level is from the nearest other."""
    gaps = np.diff(levels, prepend=-np.inf, append=np.inf)
    return np.minimum(gaps[:-1], gaps[1:])


def _distinct(ratings: Ratings) -> NDArray[np.float64]:
    levels = np.unique(ratings.values)
    # of those that differ by rounding, the lowest
    apart = np.diff(levels) > ROUNDING * np.abs(levels[1:])
    levels = levels[np.concatenate(([True], apart))]
    if len(levels) > MAX_LEVELS:
        raise ValueError(
            f"X must have at most {MAX_LEVELS} distinct ratings, each of which becomes a level of "
            f"the RBM's units, but it has {len(levels):,}; round them first."
        )
    return levels.astype(np.float64)
