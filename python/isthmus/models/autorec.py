"""AutoRec: an autoencoder on rating vectors, trained on observed ratings alone."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

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
from isthmus.data._csr import CSR, as_matrix, transpose
from isthmus.data.ratings import Ratings
from isthmus.distributed import Communicator
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._autoencoder import Autoencoder, Reader, make_network
from isthmus.models._autorec_learners import LbfgsLearner, Learner
from isthmus.models._estimator import with_parameters
from isthmus.models._over_ranks import OverRanks
from isthmus.models._precision import check_precision
from isthmus.models._pretraining import inner_layers
from isthmus.models._rank_fit import AutoRecJob, check_alone, fit_over_ranks
from isthmus.models._rating_model import HeldOut, RatingModel
from isthmus.models._tensors import Layout, Tensors
from isthmus.training.loop import Callback
from isthmus.training.schedule import SCHEDULES
from isthmus.training.weights import load_weights

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AutoRec"]

BOUNDED = ("sigmoid", "tanh")
OPTIMIZERS = ("adam", "adagrad", "lbfgs", "momentum", "rprop", "sgd")
INPUT_CENTERINGS = ("none", "global", "row")
TARGET_CENTERINGS = ("biases", *INPUT_CENTERINGS)
SCALES = ("standard", "raw")
OUTER = ("encoder.weights", "encoder.bias", "decoder.weights", "decoder.bias")
"""Weights that a deep model shares with a shallow one."""


@with_parameters
class AutoRec(OverRanks, RatingModel):
    r"""AutoRec, shallow or deep, item- or user-based, with or without denoising.

    A row (an item's ratings by all users, or a user's of all items) is encoded, and decoded at its
    observed cells alone:

    $$
    h(r) = f(W g(V r + \mu) + b), \qquad
    \min \sum_{rows} \lVert r - h(r) \rVert^2_{observed}
    + \frac{\lambda}{2} (\lVert W \rVert_F^2 + \lVert V \rVert_F^2)
    $$

    The defaults are a recipe that was chosen on validation data of sets of many sizes and scales:
    ratings are standardised, biases of users and items are subtracted, a share of the inputs is
    masked, and lambda depends on the number of ratings. `AutoRec.paper` is the original's.

    Parameters
    ----------
    orientation : {"item", "user"}, default "item"
        What a row is: I-AutoRec or U-AutoRec.
    hidden_units : tuple of int, default (500,)
        Units of each hidden layer; ``(500, 250, 500)`` is the paper's deep model.
    encoder_activation : str, default "centered_sigmoid"
        g, of every hidden layer: "identity", "sigmoid", "centered_sigmoid" (which is 1/2 less),
        "tanh", "relu", "elu", "selu" or "swish".
    decoder_activation : str, default "identity"
        f, of the output. With "sigmoid" or "tanh", ratings are scaled to its range for the loss,
        and back for predictions; that needs ``target_centering="none"``.
    regularization : float or "auto", default "auto"
        lambda of the objective, at least 0, of all weight matrices; "auto" is .45 times the root of
        the number of ratings, and with ``orientation="user"`` 1.4 times that, times the cube root
        of items / users or of users / items, whichever is above 1. Biases have none, but with
        ``target_centering="biases"`` the outputs' have what is said there.
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
        sqrt(2 / (inputs + outputs)) (Glorot, Bengio, AISTATS 2010), but 0 for the decoder's with
        ``target_centering="biases"``.
    optimizer : {"adam", "adagrad", "lbfgs", "momentum", "rprop", "sgd"}, default "adam"
        With PyTorch's formulas; momentum is .9. The loss is a sum over a batch's ratings, not a
        mean: SGD needs rates as 1e-5. "rprop", the paper's, is meant for ``batch_size=None``; the
        learning rate is then its first step. "lbfgs", that of the authors' code, is SciPy's
        L-BFGS-B; an epoch is one of its iterations. It has no learning rate, takes all rows at
        once, and needs neither `corruption` nor `dropout`.
    learning_rate : float, default 0.0015
    learning_rate_schedule : {"linear", "exponential"}, default "linear"
        "linear": the rate rises over the first epoch and falls to 0 at the end of the last; epochs
        of `partial_fit` after that have a tenth of it. "exponential": it is multiplied by
        `learning_rate_decay` after each epoch.
    learning_rate_decay : float, default 0.95
        Factor of "exponential", in (0, 1].
    batch_size : int, "auto" or None, default "auto"
        Rows in a mini-batch; None: all of them. "auto" is a row for each 2,000 ratings of the data,
        from 16 to 128, and more where an epoch would have more than 64 steps, or 8 on sparse data,
        however many rows there are. With ``optimizer="lbfgs"``, "auto" means all.
    epochs : int, default 15
    corruption : float, default 0.4
        Denoising: the probability that an observed cell is masked in the input (survivors are
        scaled by 1 / (1 - corruption)), in [0, 1), or the standard deviation of the noise added to
        it. Targets stay clean. 0 turns it off.
    corruption_kind : {"mask", "gaussian"}, default "mask"
    dropout : float, default 0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    rating_scale : {"standard", "raw"}, default "standard"
        "standard": the network reads ratings of mean 4.3, and reconstructs ones of standard
        deviation 1.117, MovieLens 1M's, so that neither the scale nor the offset of the ratings
        matters. "raw": ratings as they are.
    row_scaling : float, default 0.5
        The inputs of a row of n ratings are multiplied by (n / typical n) ** -row_scaling, in
        [0, 1]; 0, as in the paper, leaves them. New rows have it by their own n.
    input_centering : {"none", "global", "row"}, default "none"
        What is subtracted from the ratings that are encoded: nothing, the mean of all ratings (with
        biases, the mean that is fitted with them), or the row's mean (damped towards it).
    target_centering : {"biases", "row", "global", "none"}, default "biases"
        The same for the ratings that are reconstructed, added back in predictions. "biases": a mean
        and biases of users and items, fitted together, the biases damped (Koren, KDD 2008) about as
        is best for ratings that they are fitted without; the outputs' own biases are then damped as
        well.
    precision : {"auto", "float32", "bfloat16"}, default "auto"
        What training reads and multiplies: weights, codes and errors as they are, or rounded to
        bfloat16. Either way weights are kept, and sums added up, in float32; with "bfloat16" the
        optimizer's state is in 16 bits too, rounded at random. "auto" is "bfloat16" with the
        core for AVX-512 BF16, the default on AMD's processors that have it, but "float32" with
        ``optimizer="lbfgs"`` or "rprop", which need it.
    default_rating : float, optional
        What `predict` gives where the user or the item had no rating in training (the paper: 3);
        `recommend` ranks by the model alone. By default,
        what centring leaves of a prediction: the row's mean, or the mean of all ratings.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Loss (mean squared error on corrupted inputs), seconds and validation RMSE of each epoch.
    regularization_ : float
        lambda of the last training, also where `regularization` is "auto".
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
    regressed on the codes with the model's own lambda. It is treated as another draw from the
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

    orientation: str = "item"
    hidden_units: tuple[int, ...] = (500,)
    encoder_activation: str = "centered_sigmoid"
    decoder_activation: str = "identity"
    regularization: float | Literal["auto"] = "auto"
    hidden_regularization: float | None = None
    pretraining_epochs: int = 0
    initial_deviation: float | None = None
    optimizer: str = "adam"
    learning_rate: float = 0.0015
    learning_rate_schedule: str = "linear"
    learning_rate_decay: float = 0.95
    batch_size: int | Literal["auto"] | None = "auto"
    epochs: int = 15
    corruption: float = 0.4
    corruption_kind: str = "mask"
    dropout: float = 0.0
    rating_scale: str = "standard"
    row_scaling: float = 0.5
    input_centering: str = "none"
    target_centering: str = "biases"
    precision: str = "auto"
    clip: bool = True

    _in_core = ("_network", "_reader", "_trained")
    _of_layers = ("hidden_units",)
    _rank_job = AutoRecJob

    _structural = (
        *("orientation", "hidden_units", "encoder_activation", "decoder_activation"),
        *("rating_scale", "row_scaling", "input_centering", "target_centering"),
    )

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
            "learning_rate_schedule": "exponential",
            "learning_rate_decay": 1.0,
            "batch_size": None,
            "epochs": 150,
            "corruption": 0.0,
            "encoder_activation": "sigmoid",
            "rating_scale": "raw",
            "row_scaling": 0.0,
            "target_centering": "none",
            "default_rating": 3.0,
            "initial_deviation": 0.01,
        }
        return cls(**{**recipe, **parameters})

    # Training

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
        weights: Any = None,
        comm: Communicator | None = None,
        slices: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
        every: int | str = 1,
        resume: bool = False,
    ) -> Self:
        """Train on ratings, on this machine or on the ranks of a job.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            Users x items, whatever `orientation`. Every stored cell is a rating, also a 0. A
            matrix's positions become the ids. Shards are trained on out of core, and need
            `validation` instead of `validation_fraction`. With `comm`, shards whose buckets the
            ranks share (rank r reads every ``size``-th from r on), or the ratings of this rank's
            columns alone (`isthmus.distributed.part_of`), as `Ratings`.
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
        validation : Ratings or scipy.sparse array or matrix, optional
            Ratings to measure the RMSE on after each epoch, with users and items of `X`. With
            `comm`, the same `Ratings` on all ranks.
        callbacks : iterable of callable, optional
            Each is called with an `Epoch` after it; training ends if one returns True. With
            `comm`, each is called on all ranks, with the same loss and metrics, and one that
            returns True on any rank ends training on all.
        weights : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            How often the squared error of each rating counts, as by how recent it is: a value of at
            least 0 for each cell of `X`, and no other cells. They are divided by their mean, so
            that their unit does not matter and `regularization` keeps its meaning; all are 1 by
            default. A rating of weight 0 is an input, and is not reconstructed. Means, biases and
            the scale that ratings are brought to do not depend on weights, nor do the errors of
            `evaluate` and of validation, or what is fitted to new users and items. Not with `comm`.
        comm : Communicator, optional
            Train together with other ranks, which all make this call with the same parameters;
            see `isthmus.distributed`. The columns (users, with ``orientation="item"``) are split,
            and a step is that of one machine. Afterwards this model has this rank's columns;
            `gather` makes a whole one.
        slices : int, optional
            With `comm`: sum over so many fixed slices of the columns, in their order, so that the
            weights are the same to the bit on any number of ranks that divides it. By default
            sums are the engine's, and differ in the last place with the number of ranks.
        checkpoint : str or os.PathLike, optional
            With `comm`: a folder that all ranks see, to save the training in as it goes.
        every : int or str, default 1
            Epochs from one checkpoint to the next, or a time, as "90s", "10min" or "2h", by rank
            0's clock; the training is then saved after the epoch in which it has passed.
        resume : bool, default False
            Whether to go on from the checkpoint in the folder, if there is one: as if training had
            not been broken off, to the bit on the same number of ranks.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data is invalid.
        ConvergenceError
            If the loss is no longer finite; the model is then not fitted.
        RuntimeError
            If another rank failed.
        KeyboardInterrupt
            On Ctrl-C, between batches; the model is fitted, with the weights of the last batch.
            With `comm`, the job ends.

        Examples
        --------
        Ratings that count less the older they are:

        >>> import numpy as np
        >>> from isthmus import AutoRec, Ratings
        >>> users, items, stars = [1, 1, 2, 2], [5, 6, 5, 6], [3, 4, 2, 5]
        >>> age = np.array([10, 400, 30, 90])  # days
        >>> ratings = Ratings.from_arrays(users, items, stars)
        >>> weights = Ratings.from_arrays(users, items, 0.5 ** (age / 180))
        >>> model = AutoRec(hidden_units=(3,), epochs=2, random_state=0)
        >>> model.fit(ratings, weights=weights).predict(1, 5).shape
        ()

        Training over two ranks:

        >>> from isthmus import synthetic_ratings
        >>> from isthmus.distributed import part_of, run_in_threads
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> def train(comm):
        ...     model = AutoRec(hidden_units=(10,), epochs=2, num_threads=1, random_state=0)
        ...     model.fit(part_of(ratings, comm.rank, comm.size), comm=comm)
        ...     return model.gather(comm)
        >>> model, _ = run_in_threads(2, train)
        >>> model.predict([0, 1], [5, 6]).shape
        (2,)
        """
        if comm is not None:
            self._fit_over(
                *(X, comm, validation, callbacks, weights),
                slices=slices,
                checkpoint=checkpoint,
                every=every,
                resume=resume,
            )
            return self
        check_alone(slices, checkpoint, resume)
        return self._start(X, self.epochs, validation, callbacks, weights=weights)

    def partial_fit(
        self,
        X: Any,
        *,
        epochs: int = 1,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
        weights: Any = None,
        comm: Communicator | None = None,
        slices: int | None = None,
    ) -> Self:
        """Train on, from where `fit` or an earlier `partial_fit` stopped.

        Parameters
        ----------
        X, epochs, validation, callbacks
            As for the other models. With `comm`, `X` and `validation` are as for `fit`, and users
            and items are known to the model.
        weights : optional
            As for `fit`; those of an earlier call are not kept.
        comm, slices : optional
            As for `fit`. All ranks have the same whole model, as one that rank 0 has gathered and
            saved and all have loaded; each goes on with its columns, which `gather` brings together
            again. If training fails, the model is not fitted.

        Returns
        -------
        self

        Examples
        --------
        >>> from isthmus import AutoRec, synthetic_ratings
        >>> from isthmus.distributed import part_of, run_in_threads
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> AutoRec(hidden_units=(10,), epochs=2, random_state=0).fit(ratings).save("m.safetensors")
        >>> def train(comm):
        ...     model = AutoRec.load("m.safetensors")
        ...     model.partial_fit(part_of(ratings, comm.rank, comm.size), epochs=3, comm=comm)
        ...     return model.gather(comm)
        >>> model, _ = run_in_threads(2, train)
        >>> len(model.history_)
        5
        """
        if comm is None:
            if slices is not None:
                raise ValueError("slices must come with comm.")
            return self._go_on(X, epochs, validation, callbacks, weights)
        self._check_parameters()
        check_integer("epochs", epochs, low=1)
        self._fit_over(
            *(X, comm, validation, callbacks, weights),
            slices=slices,
            epochs=epochs,
            further=self._fitted,
        )
        return self

    def _fit_over(
        self,
        X: Any,
        comm: Communicator,
        validation: Any,
        callbacks: Iterable[Callback] = (),
        weights: Any = None,
        **options: Any,
    ) -> None:
        if weights is not None:
            raise ValueError("weights must be None with comm: ranks train without any.")
        fit_over_ranks(self, X, comm, validation=validation, callbacks=callbacks, **options)

    @property
    def _course_depends_on_epochs(self) -> bool:  # type: ignore[override]
        return self.learning_rate_schedule == "linear"

    def _initialize(self, ratings: Ratings, cell_weights: CSR | None = None) -> None:
        self._rank_columns = None
        columns = ratings.n_users if self.orientation == "item" else ratings.n_items
        self._set_up(Reader.of(ratings, self._structure), columns)
        if self.pretraining_epochs:
            self._pretrain(ratings, cell_weights)

    def _set_up(
        self, reader: Reader, columns: int, numbers: NDArray[np.int32] | None = None
    ) -> None:
        """Make a network of so many columns, or of the numbered ones that a rank has."""
        self._reader = reader
        self._network = make_network(
            columns if numbers is None else len(numbers),
            self._structure,
            numbers=numbers,
            all_columns=columns,
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        weights = self._network.weights()
        if self.initial_deviation is not None:
            for name, array in weights.items():
                if name.endswith("weights"):
                    # the core draws uniformly, with a variance of 2 / (inputs + outputs)
                    inputs, outputs = array.shape
                    n = outputs + (inputs if name.startswith("hidden") else columns)
                    array *= np.float32(self.initial_deviation * np.sqrt(n / 2))
        if self.target_centering == "none":  # training need not find the mean
            weights["decoder.bias"][...] = reader.mean_target()

    def _learner(self, ratings: Ratings, cell_weights: CSR | None = None) -> Learner:
        self._check_whole()
        kind = LbfgsLearner if self._structure.optimizer == "lbfgs" else Learner
        return kind(
            self._network,
            self._reader.renewed(ratings, self._structure),
            ratings.rows(self._structure.orientation, num_threads=self._num_threads()),
            cell_weight=self._weights_by_row(cell_weights),
            seed=self._seed,
            num_threads=self._num_threads(),
        )

    def _weights_by_row(self, weights: CSR | None) -> Floats | None:
        """Return users' weights in the order of the cells of the network's rows."""
        if weights is None or self._structure.orientation == "user":
            return None if weights is None else weights.values
        return transpose(weights, self._num_threads()).values

    def _validate(self, learner: Learner, held_out: HeldOut) -> dict[str, float]:
        vectors = learner.reader.vectors(*learner.arrays(), learner.offsets)
        return self._measure(vectors, held_out)

    def _pretrain(self, ratings: Ratings, cell_weights: CSR | None) -> None:
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
        shallow = type(self)(**{**self.get_params(), **changed})
        given = None if cell_weights is None else as_matrix(cell_weights)
        shallow.fit(ratings, weights=given)
        layers = inner_layers(
            shallow.codes_,
            units[1:-1],
            activation=self.encoder_activation,
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        weights = self._network.weights()
        load_weights({name: weights[name] for name in OUTER}, shallow._trained.network.weights())
        for number, (matrix, bias) in enumerate(layers, 1):
            weights[f"hidden.{number}.weights"][...] = matrix
            weights[f"hidden.{number}.bias"][...] = bias

    def _show(self, learner: Learner) -> None:
        self._keep(learner.snapshot())

    def _finish(self, learner: Learner) -> None:
        self._keep(learner.finish())

    def _keep(self, trained: Autoencoder) -> None:
        self._trained = trained
        self._mean = trained.reader.mean
        self._network, self._reader = trained.network, trained.reader

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("orientation", self.orientation, ("item", "user"))
        check_layers("hidden_units", self.hidden_units)
        check_choice("encoder_activation", self.encoder_activation, ACTIVATIONS)
        check_choice("decoder_activation", self.decoder_activation, ACTIVATIONS)
        check_real("regularization", self.regularization, low=0, others=("auto",))
        check_real("hidden_regularization", self.hidden_regularization, low=0, others=(None,))
        self._check_pretraining()
        deviation = self.initial_deviation
        check_real("initial_deviation", deviation, low=0, open_low=True, others=(None,))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("learning_rate_schedule", self.learning_rate_schedule, SCHEDULES)
        check_real("learning_rate_decay", self.learning_rate_decay, low=0, high=1, open_low=True)
        check_integer("batch_size", self.batch_size, low=1, others=("auto", None))
        check_choice("corruption_kind", self.corruption_kind, ("mask", "gaussian"))
        if self.corruption_kind == "mask":
            check_real("corruption", self.corruption, low=0, high=1, open_high=True)
        else:
            check_real("corruption", self.corruption, low=0)
        check_real("dropout", self.dropout, low=0, high=1, open_high=True)
        if self.optimizer == "lbfgs":
            self._check_full_batches()
        check_choice("rating_scale", self.rating_scale, SCALES)
        check_real("row_scaling", self.row_scaling, low=0, high=1)
        check_choice("input_centering", self.input_centering, INPUT_CENTERINGS)
        check_choice("target_centering", self.target_centering, TARGET_CENTERINGS)
        if self.decoder_activation in BOUNDED and self.target_centering != "none":
            raise ValueError(
                f'target_centering must be "none" with decoder_activation='
                f"{self.decoder_activation!r}, whose range is scaled to that of the ratings, "
                f"but it was {shown(self.target_centering)}."
            )
        check_precision(self.precision, self.optimizer)

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
        return self._trained.vectors()

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
        return self._trained.vectors(**self._fold(ratings, "user"))

    def _fold_items(self, ratings: CSR) -> Vectors:
        return self._trained.vectors(**self._fold(ratings, "item"))

    def _scores_without(
        self, row: CSR, which: NDArray[np.int64], other: int, axis: str
    ) -> NDArray[Any]:
        if axis == self._structure.orientation or len(row.indices) < 2:
            return super()._scores_without(row, which, other, axis)
        trained, num_threads = self._trained, self._num_threads()
        outputs, offset = trained.regress_without(row, which, other, num_threads=num_threads)
        row_offset = trained.offsets.row
        own = None if row_offset is None else row_offset[other]
        return trained.reader.scores(outputs, own, offset)

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        grown = super()._fold_in(ratings, axis)
        new = self._fold(ratings, axis)
        if axis == self._structure.orientation:
            trained = self._trained.with_rows(**new)
        else:
            trained = self._trained.with_columns(**new, num_threads=self._num_threads())
        return {**grown, "_trained": trained, "_network": trained.network}

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        if self._structure.orientation == "user":
            trained = self._trained.take_rows(kept)
        else:
            trained = self._trained.take_columns(kept, num_threads=self._num_threads())
        own = {"_trained": trained, "_network": trained.network}
        return {**super()._without_users(kept), **own}

    def _fold(self, ratings: CSR, axis: str) -> dict[str, Any]:
        """Return the codes and offsets of new rows, or the weights and biases of new columns."""
        structure, num_threads = self._structure, self._num_threads()
        if axis == structure.orientation:
            self._check_whole()
            codes, offset = self._trained.encode(ratings, num_threads=num_threads)
            return {"codes": codes.array, "row_offset": offset}
        if structure.decoder_activation != "identity":
            raise ValueError(
                f"new {axis}s can be folded into an AutoRec with "
                f'orientation="{structure.orientation}" only if its decoder_activation is '
                f'"identity", but it is {structure.decoder_activation!r}.'
            )
        weights, bias, offset = self._trained.regress(ratings, num_threads=num_threads)
        return {"weights": weights, "bias": bias, "column_offset": offset}

    # Fitted arrays

    def _weight(self, name: str) -> Floats:
        self._check_fitted()
        return read_only(self._trained.network.weights()[name])

    @property
    def regularization_(self) -> float:
        """The lambda that the model was trained with."""
        self._check_fitted()
        return self._trained.regularization

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
        return read_only(self._trained.codes.array)

    # Files

    def _tensors(self) -> Tensors:
        self._check_whole()
        return {**self._trained.tensors(), **self._training_tensors()}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        structure = self._current_structure()
        n_columns, n_rows = shape if structure.orientation == "item" else shape[::-1]
        return {
            **Autoencoder.layout(structure, n_rows, n_columns),
            **super()._layout(shape, tensors),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        Autoencoder.check_values(tensors)

    def _restore(self, tensors: Tensors) -> None:
        self._restore_training(tensors)
        self._keep(
            Autoencoder.from_tensors(
                tensors,
                self._structure,
                mean=self._mean,
                limits=self._range,
                num_threads=self._num_threads(),
            )
        )
