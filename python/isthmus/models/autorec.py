"""AutoRec: an autoencoder on rating vectors, trained on observed ratings alone."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import read_only
from isthmus._util.checks import (
    ACTIVATIONS,
    check_choice,
    check_integer,
    check_layers,
    check_real,
    is_auto,
    shown,
)
from isthmus.data._csr import CSR, row_sums
from isthmus.data.ratings import Ratings
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._autorec_learners import LbfgsLearner, Learner
from isthmus.models._column_prior import ColumnPrior
from isthmus.models._pretraining import inner_layers
from isthmus.models._rating_model import HeldOut, RatingModel
from isthmus.models._tensors import Layout, Tensors, network, single
from isthmus.training.weights import load_weights

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AutoRec"]

OPTIMIZERS = ("adam", "adagrad", "lbfgs", "momentum", "rprop", "sgd")
CENTERINGS = ("none", "global", "row")
BOUNDED = ("sigmoid", "tanh")
"""Activations whose range is scaled to that of the ratings."""

OUTER = ("encoder.weights", "encoder.bias", "decoder.weights", "decoder.bias")
"""Weights that a deep model shares with a shallow one."""

MEAN_DAMPING = 10.0
"""A row's mean counts the global mean as this many further ratings."""


class AutoRec(RatingModel):
    r"""AutoRec, shallow or deep, item- or user-based, with or without denoising.

    A row (an item's ratings by all users, or a user's of all items) is encoded, and decoded at its
    observed cells alone:

    .. math::
        h(r) = f(W g(V r + \mu) + b), \qquad
        \min \sum_{rows} \lVert r - h(r) \rVert^2_{observed}
        + \frac{\lambda}{2} (\lVert W \rVert_F^2 + \lVert V \rVert_F^2)

    The defaults are the recipe that did best on validation data of MovieLens 1M: raw ratings in,
    so that the code also sees *who* rated; deviations from the row's mean out; a share of the
    inputs masked; Adam. `AutoRec.paper` is the original's.

    Parameters
    ----------
    orientation : {"item", "user"}, default "item"
        What a row is: I-AutoRec or U-AutoRec.
    hidden_units : tuple of int, default (500,)
        Units of each hidden layer; ``(500, 250, 500)`` is the paper's deep model.
    encoder_activation : str, default "sigmoid"
        g, of every hidden layer: "identity", "sigmoid", "tanh", "relu", "elu", "selu" or "swish".
    decoder_activation : str, default "identity"
        f, of the output. With "sigmoid" or "tanh", ratings are scaled to its range for the loss,
        and back for predictions; that needs ``target_centering="none"``.
    regularization : float, default 300.0
        lambda of the objective, at least 0. All weight matrices are decayed, biases are not.
    hidden_regularization : float, optional
        lambda of the matrices between hidden layers of a deep model, at least 0; by default that
        of the others. Every rating pulls at each of these weights, but only a column's own ones at
        those of a column, which bear the more decay.
    pretraining_epochs : int, default 0
        Of greedy layer-wise pretraining of a deep model, before the epochs of `fit`. The outer
        layers begin as those of the shallow model, trained for so many epochs; the layers between
        as those of an autoencoder of its codes (100 epochs of Adam), and so on inwards. Needs an
        odd number of at least 3 `hidden_units` that read the same in both directions, as
        ``(500, 250, 500)``. It has no part in `history_`, and Ctrl-C during it leaves no model.
    initial_deviation : float, optional
        Standard deviation of the weights before training, above 0. By default each layer's is
        sqrt(2 / (inputs + outputs)) (Glorot, Bengio, AISTATS 2010). Without centring and
        corruption, U-AutoRec overfits the less the smaller it is.
    optimizer : {"adam", "adagrad", "lbfgs", "momentum", "rprop", "sgd"}, default "adam"
        With PyTorch's formulas; momentum is .9. The loss is a sum over a batch's ratings, not a
        mean: SGD needs rates as 1e-5. "rprop", the paper's, is meant for ``batch_size=None``; the
        learning rate is then its first step. "lbfgs", that of the authors' code, is SciPy's
        L-BFGS-B; an epoch is one of its iterations. It has no learning rate, takes all rows at
        once, and needs neither `corruption` nor `dropout`.
    learning_rate : float, default 0.001
    learning_rate_decay : float, default 0.95
        Factor on the rate after each epoch, in (0, 1].
    batch_size : int, "auto" or None, default "auto"
        Rows in a mini-batch; None: all of them. "auto" is 256, or a 32nd of the rows that have
        ratings if that is more: an epoch then costs each column 32 steps at most, however many rows
        there are. With ``optimizer="lbfgs"``, "auto" means all.
    epochs : int, default 40
    corruption : float, default 0.4
        Denoising: the probability that an observed cell is masked in the input (survivors are
        scaled by 1 / (1 - corruption)), in [0, 1), or the standard deviation of the noise added to
        it. Targets stay clean. 0 turns it off.
    corruption_kind : {"mask", "gaussian"}, default "mask"
    dropout : float, default 0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    input_centering : {"none", "global", "row"}, default "none"
        What is subtracted from the ratings that are encoded: nothing, the mean of all ratings, or
        the row's mean (damped towards the global one).
    target_centering : {"row", "global", "none"}, default "row"
        The same for the ratings that are reconstructed, added back in predictions.
    default_rating : float, optional
        What `predict` gives where the user or the item had no rating in training (the paper: 3);
        `recommend` ranks by the model alone. By default,
        what centring leaves of a prediction: the row's mean, or the mean of all ratings.
    clip : bool, default True
        Whether to clip predictions to the lowest and highest rating of training.
    validation_fraction : float, optional
        Share of the ratings that `fit` holds out, at random, as validation data, in (0, 1), where
        it is given none.
    patience : int, optional
        Stop after this many epochs without a better validation RMSE, and go back to the best.
        Needs validation data.
    random_state : int, numpy.random.Generator or None, default None
        Seed of the weights, the order of rows, corruption and dropout. The same int gives the same
        bits at any number of threads.
    num_threads : int, default 0
        0: all that this process may use.
    verbose : bool, default False
        Whether to show a progress bar with loss, validation RMSE and ratings per second.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Loss (mean squared error on corrupted inputs), seconds and validation RMSE of each epoch.
    encoder_weights_ : ndarray of float32, shape (n_columns, hidden_units[0])
        V transposed. Columns are users with ``orientation="item"``, items with "user".
    encoder_bias_ : ndarray of float32, shape (hidden_units[0],)
        mu.
    decoder_weights_ : ndarray of float32, shape (n_columns, hidden_units[-1])
        W.
    decoder_bias_ : ndarray of float32, shape (n_columns,)
        b.
    codes_ : ndarray of float32, shape (n_rows, hidden_units[-1])
        The rows' last hidden layer.

    Notes
    -----
    S. Sedhain, A. K. Menon, S. Sanner, L. Xie: AutoRec: Autoencoders Meet Collaborative Filtering,
    WWW 2015, eq. 1-2. Denoising: P. Vincent et al., ICML 2008. Pretraining: Y. Bengio et al.:
    Greedy Layer-Wise Training of Deep Networks, NIPS 2006.

    A new column, as a user of ``orientation="item"`` (`fold_in`, ``recommend(ratings=...)``), is
    regressed on the codes with the model's own lambda. It is taken for another draw from the
    trained columns (empirical Bayes): its weights are shrunk towards their mean, and its level, the
    output at the mean code, towards their mean level, which counts as (variance of the ratings
    around the levels) / (variance of the levels) ratings. An untrained column is no input.

    Examples
    --------
    >>> from isthmus import AutoRec, train_test_split
    >>> from isthmus.data.synthetic import synthetic_ratings
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> train, test = train_test_split(ratings, test_size=0.1, random_state=0)
    >>> model = AutoRec(hidden_units=(20,), random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['mae', 'rmse']
    >>> items, scores = model.recommend(ratings.user_ids[:2], n=3)
    >>> items.shape
    (2, 3)
    """

    _in_core = ("_network", "_codes")
    _structural = (
        *("orientation", "hidden_units", "encoder_activation", "decoder_activation"),
        *("input_centering", "target_centering"),
    )

    def __init__(
        self,
        *,
        orientation: str = "item",
        hidden_units: tuple[int, ...] = (500,),
        encoder_activation: str = "sigmoid",
        decoder_activation: str = "identity",
        regularization: float = 300.0,
        hidden_regularization: float | None = None,
        pretraining_epochs: int = 0,
        initial_deviation: float | None = None,
        optimizer: str = "adam",
        learning_rate: float = 0.001,
        learning_rate_decay: float = 0.95,
        batch_size: int | Literal["auto"] | None = "auto",
        epochs: int = 40,
        corruption: float = 0.4,
        corruption_kind: str = "mask",
        dropout: float = 0.0,
        input_centering: str = "none",
        target_centering: str = "row",
        default_rating: float | None = None,
        clip: bool = True,
        validation_fraction: float | None = None,
        patience: int | None = None,
        random_state: int | np.random.Generator | None = None,
        num_threads: int = 0,
        verbose: bool = False,
    ) -> None:
        self.orientation = orientation
        self.hidden_units = hidden_units
        self.encoder_activation = encoder_activation
        self.decoder_activation = decoder_activation
        self.regularization = regularization
        self.hidden_regularization = hidden_regularization
        self.pretraining_epochs = pretraining_epochs
        self.initial_deviation = initial_deviation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.corruption = corruption
        self.corruption_kind = corruption_kind
        self.dropout = dropout
        self.input_centering = input_centering
        self.target_centering = target_centering
        self.default_rating = default_rating
        self.clip = clip
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.num_threads = num_threads
        self.verbose = verbose

    @classmethod
    def paper(cls, **parameters: Any) -> Self:
        """Make a model with the original's recipe.

        Raw ratings in and out, no denoising, one hidden layer of 500 sigmoid units, full batches
        with RProp, 3 for users and items without ratings; lambda and the deviation of the first
        weights are those of the authors' code, which trains I-AutoRec with ``optimizer="lbfgs"``.

        Parameters
        ----------
        **parameters
            Constructor arguments that shall differ from the paper's.

        Returns
        -------
        AutoRec
            Not fitted yet.

        Examples
        --------
        >>> AutoRec.paper(orientation="user").optimizer
        'rprop'
        """
        recipe: dict[str, Any] = {
            "regularization": 400.0,
            "optimizer": "rprop",
            "learning_rate": 0.001,
            "learning_rate_decay": 1.0,
            "batch_size": None,
            "epochs": 150,
            "corruption": 0.0,
            "target_centering": "none",
            "default_rating": 3.0,
            "initial_deviation": 0.01,
        }
        return cls(**{**recipe, **parameters})

    # Training

    def _current_structure(self) -> SimpleNamespace:
        structure = super()._current_structure()
        structure.hidden_units = check_layers("hidden_units", structure.hidden_units)
        return structure

    def _initialize(self, ratings: Ratings) -> None:
        columns = ratings.n_users if self.orientation == "item" else ratings.n_items
        self._network = _core.Autoencoder(
            columns,
            self._structure.hidden_units,
            hidden_activation=self.encoder_activation,
            output_activation=self.decoder_activation,
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        weights = self._network.weights()
        if self.initial_deviation is not None:
            for name, array in weights.items():
                if name.endswith("weights"):
                    # the core draws uniformly, with a variance of 2 / (inputs + outputs)
                    array *= np.float32(self.initial_deviation * np.sqrt(sum(array.shape) / 2))
        if self.target_centering == "none":
            weights["decoder.bias"][...] = self._mean_output(ratings)
        if self.pretraining_epochs:
            self._pretrain(ratings)

    def _mean_output(self, ratings: Ratings) -> float:
        """Return the decoder bias that predicts the mean, so that training need not find it."""
        low, high = ratings.min, ratings.max
        if low == high or self.decoder_activation not in BOUNDED:
            return ratings.mean
        share = min(max((ratings.mean - low) / (high - low), 0.01), 0.99)
        logit = float(np.log(share / (1 - share)))
        return logit if self.decoder_activation == "sigmoid" else logit / 2

    def _learner(self, ratings: Ratings) -> Learner:
        matrix = ratings.rows(self._structure.orientation, num_threads=self._num_threads())
        self._row_offset = self._offset(matrix, self._structure.target_centering)
        kind = LbfgsLearner if self._structure.optimizer == "lbfgs" else Learner
        return kind(
            self._network,
            self._structure,
            matrix,
            self._rows(matrix, self._row_offset),
            scale=self._scale(),
            seed=self._seed,
            num_threads=self._num_threads(),
        )

    def _validate(self, learner: Learner, held_out: HeldOut) -> dict[str, float]:
        vectors = self._assemble(learner.encode().array, self._row_offset, learner.decoder())
        place = learner.column_places
        by_item = self._structure.orientation == "item"
        columns = {"users": place[held_out.users]} if by_item else {"items": place[held_out.items]}
        return self._measure(vectors, held_out, **columns)

    def _pretrain(self, ratings: Ratings) -> None:
        """Start from the shallow model, and from autoencoders of its codes."""
        units = self._structure.hidden_units
        changed = {
            "hidden_units": units[:1],
            "epochs": self.pretraining_epochs,
            "pretraining_epochs": 0,
            "validation_fraction": None,
            "patience": None,
            "random_state": self._seed,
            "verbose": False,
        }
        shallow = type(self)(**{**self.get_params(), **changed}).fit(ratings)
        layers = inner_layers(
            shallow.codes_,
            units[1:-1],
            activation=self.encoder_activation,
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        weights = self._network.weights()
        load_weights({name: weights[name] for name in OUTER}, dict(shallow._network.weights()))
        for number, (matrix, bias) in enumerate(layers, 1):
            weights[f"hidden.{number}.weights"][...] = matrix
            weights[f"hidden.{number}.bias"][...] = bias

    def _finish(self, learner: Learner) -> None:
        self._codes = learner.finish()
        weights = self._network.weights()
        self._prior = ColumnPrior.of(
            weights["decoder.weights"][:, np.newaxis],
            weights["decoder.bias"].T,
            self._codes.array,
            learner.matrix,
            row_offset=self._row_offset,
            scale=self._scale(),
        )

    def _offset(self, matrix: CSR, centering: str) -> Floats | None:
        """Subtracted from each row's ratings."""
        n_rows = matrix.shape[0]
        if centering == "none":
            activation = self._structure.decoder_activation
            low = self._range[0] if activation == "sigmoid" else sum(self._range) / 2
            return np.full(n_rows, low, np.float32) if activation in BOUNDED else None
        if centering == "global":
            return np.full(n_rows, self._mean, np.float32)
        counts = np.diff(matrix.indptr)
        means = (row_sums(matrix) + MEAN_DAMPING * self._mean) / (counts + MEAN_DAMPING)
        return means.astype(np.float32)

    def _input_offset(self, matrix: CSR) -> Floats | None:
        centering = self._structure.input_centering
        return None if centering == "none" else self._offset(matrix, centering)

    def _scale(self) -> float:
        """Factor on centred ratings: to (0, 1) or (-1, 1) where the output is bounded."""
        low, high = self._range
        if low == high:
            return 1.0
        width = {"sigmoid": 1.0, "tanh": 2.0}.get(self._structure.decoder_activation)
        return 1.0 if width is None else width / (high - low)

    def _rows(self, matrix: CSR, target_offset: Floats | None) -> _core.Rows:
        return _core.Rows(
            matrix.indptr,
            matrix.indices,
            matrix.values,
            matrix.shape[1],
            input_offset=self._input_offset(matrix),
            target_offset=target_offset,
            target_scale=self._scale(),
        )

    def _check_parameters(self) -> None:
        check_choice("orientation", self.orientation, ("item", "user"))
        check_layers("hidden_units", self.hidden_units)
        check_choice("encoder_activation", self.encoder_activation, ACTIVATIONS)
        check_choice("decoder_activation", self.decoder_activation, ACTIVATIONS)
        check_real("regularization", self.regularization, low=0)
        if self.hidden_regularization is not None:
            check_real("hidden_regularization", self.hidden_regularization, low=0)
        self._check_pretraining()
        if self.initial_deviation is not None:
            check_real("initial_deviation", self.initial_deviation, low=0, open_low=True)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_real("learning_rate", self.learning_rate, low=0, open_low=True)
        check_real("learning_rate_decay", self.learning_rate_decay, low=0, high=1, open_low=True)
        if self.batch_size is not None and not is_auto(self.batch_size):
            check_integer("batch_size", self.batch_size, low=1, besides=', "auto" or None')
        check_choice("corruption_kind", self.corruption_kind, ("mask", "gaussian"))
        if self.corruption_kind == "mask":
            check_real("corruption", self.corruption, low=0, high=1, open_high=True)
        else:
            check_real("corruption", self.corruption, low=0)
        check_real("dropout", self.dropout, low=0, high=1, open_high=True)
        if self.optimizer == "lbfgs":
            self._check_full_batches()
        check_choice("input_centering", self.input_centering, CENTERINGS)
        check_choice("target_centering", self.target_centering, CENTERINGS)
        if self.decoder_activation in BOUNDED and self.target_centering != "none":
            raise ValueError(
                f'target_centering must be "none" with decoder_activation='
                f"{self.decoder_activation!r}, whose range is scaled to that of the ratings, "
                f"but it was {shown(self.target_centering)}."
            )
        self._check_shared_parameters()

    def _check_pretraining(self) -> None:
        check_integer("pretraining_epochs", self.pretraining_epochs, low=0)
        units = check_layers("hidden_units", self.hidden_units)
        if self.pretraining_epochs and (
            len(units) % 2 == 0 or units[::-1] != units or len(units) < 3
        ):
            raise ValueError(
                f"hidden_units must be an odd number of at least 3 that read the same in both "
                f"directions, as (500, 250, 500), with pretraining_epochs="
                f"{self.pretraining_epochs}, but it was {shown(self.hidden_units)}."
            )

    def _check_full_batches(self) -> None:
        batch_size = None if is_auto(self.batch_size) else self.batch_size
        for name, value, needed in (
            ("batch_size", batch_size, None),
            ("corruption", self.corruption, 0),
            ("dropout", self.dropout, 0),
        ):
            if value != needed:
                raise ValueError(
                    f'{name} must be {needed} with optimizer="lbfgs", which needs the same loss at '
                    f"every evaluation, but it was {shown(value)}."
                )

    # Prediction

    def _vectors(self) -> Vectors:
        return self._assemble(self._codes.array, self._row_offset)

    def _assemble(
        self, codes: Floats, row_offset: Floats | None, decoder: tuple[Floats, Floats] | None = None
    ) -> Vectors:
        if decoder is None:
            decoder = (self.decoder_weights_, self.decoder_bias_)
        weights, bias = decoder
        if self._structure.orientation == "item":
            vectors = Vectors(weights, codes, user_bias=bias, item_offset=row_offset)
        else:
            vectors = Vectors(codes, weights, item_bias=bias, user_offset=row_offset)
        return vectors._replace(activation=self._structure.decoder_activation, scale=self._scale())

    def _finish_predictions(
        self, scores: Floats, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> Floats:
        if self.default_rating is None and self._structure.target_centering == "none":
            columns = users if self._structure.orientation == "item" else items
            scores = np.where(self._columns_trained()[columns], scores, np.float32(self._mean))
        return super()._finish_predictions(scores, users, items)

    def _columns_trained(self) -> NDArray[np.bool_]:
        by_item = self._structure.orientation == "item"
        return self._users_trained if by_item else self._items_trained

    # New users and items

    def _fold_users(self, ratings: CSR) -> Vectors:
        if self._structure.orientation == "user":
            codes, offset = self._encode(ratings)
            return self._assemble(codes.array, offset)
        return self._assemble(self._codes.array, self._row_offset, self._regress(ratings))

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        grown = super()._fold_in(ratings, axis)
        if axis == self._structure.orientation:
            codes, offset = self._encode(ratings)
            grown["_codes"] = _core.Matrix(np.vstack([self._codes.array, codes.array]))
            if offset is not None and self._row_offset is not None:
                grown["_row_offset"] = np.concatenate([self._row_offset, offset])
            return grown
        weights, bias = self._regress(ratings)
        old = self._tensors()
        zeros = np.zeros((len(weights), old["encoder.weights"].shape[1]), np.float32)
        # the encoder has no weights for a column it was not trained with: it is not an input
        old["encoder.weights"] = np.vstack([old["encoder.weights"], zeros])
        old["decoder.weights"] = np.vstack([old["decoder.weights"], weights])
        old["decoder.bias"] = np.hstack([old["decoder.bias"], bias[np.newaxis]])
        return {**grown, "_network": self._loaded(old)}

    def _encode(self, rows: CSR) -> tuple[_core.Matrix, Floats | None]:
        """Codes and offsets of new rows."""
        offset = self._offset(rows, self._structure.target_centering)
        codes = self._network.encode(self._rows(rows, offset), num_threads=self._num_threads())
        return codes, offset

    def _regress(self, columns: CSR) -> tuple[Floats, Floats]:
        """Fit decoder weights and biases of new columns, by ridge regression on the codes.

        It is the model's own objective with the codes held fixed (for an identity output), so that
        a column of the training data would get the weights that training sought for it; but around
        the mean column, and with a prior of the level, for which few ratings are not enough.
        """
        orientation, activation = self._structure.orientation, self._structure.decoder_activation
        if activation != "identity":
            raise ValueError(
                f"new {'users' if orientation == 'item' else 'items'} can be folded into an "
                f'AutoRec with orientation="{orientation}" only if its decoder_activation is '
                f'"identity", but it is {activation!r}.'
            )
        offset = self._row_offset
        targets = columns.values if offset is None else columns.values - offset[columns.indices]
        penalty = max(float(self._structure.regularization) / 2, 1e-6)
        weights, bias = _core.fit_ridge(
            self._codes.array,
            columns.indptr,
            columns.indices,
            targets,
            penalty,
            self._prior.in_core(),
            num_threads=self._num_threads(),
        )
        return weights, bias

    # Fitted arrays

    def _weight(self, name: str) -> Floats:
        self._check_fitted()
        return read_only(self._network.weights()[name])

    @property
    def encoder_weights_(self) -> Floats:
        """V transposed: a row per column of the data."""
        return self._weight("encoder.weights")

    @property
    def encoder_bias_(self) -> Floats:
        """The encoder's bias mu."""
        return self._weight("encoder.bias").reshape(-1)

    @property
    def decoder_weights_(self) -> Floats:
        """W: a row per column of the data."""
        return self._weight("decoder.weights")

    @property
    def decoder_bias_(self) -> Floats:
        """The decoder's bias b."""
        return self._weight("decoder.bias").reshape(-1)

    @property
    def codes_(self) -> Floats:
        """Last hidden layer of every row."""
        self._check_fitted()
        return read_only(self._codes.array)

    # Files

    def _tensors(self) -> Tensors:
        tensors: Tensors = dict(self._network.weights())
        tensors["codes"] = self._codes.array
        if self._row_offset is not None:
            tensors["row_offset"] = self._row_offset
        tensors |= self._prior.tensors()
        return {**tensors, **self._training_tensors()}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        structure = self._current_structure()
        n_columns, n_rows = shape if structure.orientation == "item" else shape[::-1]
        units = structure.hidden_units
        offset = {"row_offset": single(n_rows)} if _has_offset(structure) else {}
        return {
            **network(n_columns, units[0], pairwise(units), units[-1]),
            "codes": single(n_rows, units[-1]),
            **offset,
            **ColumnPrior.layout(1, units[-1]),
            **super()._layout(shape, tensors),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        ColumnPrior.check_values(tensors)

    def _restore(self, tensors: Tensors) -> None:
        self._restore_training(tensors)
        self._network = self._loaded(tensors)
        self._codes = _core.Matrix(tensors["codes"])
        self._row_offset = tensors.get("row_offset")
        self._prior = ColumnPrior.from_tensors(tensors)

    def _loaded(self, tensors: Tensors) -> _core.Autoencoder:
        network = _core.Autoencoder(
            len(tensors["decoder.weights"]),
            self._structure.hidden_units,
            hidden_activation=self._structure.encoder_activation,
            output_activation=self._structure.decoder_activation,
            seed=0,
            num_threads=self._num_threads(),
        )
        load_weights(network.weights(), tensors)
        return network


def _has_offset(structure: SimpleNamespace) -> bool:
    """Return whether rows have an offset: see `AutoRec._offset`."""
    return structure.target_centering != "none" or structure.decoder_activation in BOUNDED
