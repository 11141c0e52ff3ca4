"""What all models that are trained in epochs share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from isthmus import _core
from isthmus._util.arrays import is_finite
from isthmus._util.checks import check_bool, check_integer, check_layers, check_real, check_share
from isthmus._util.interrupts import uninterrupted
from isthmus._util.random import check_seed, seed_from
from isthmus.data._alignment import ratings_among
from isthmus.data.ratings import InFiles, Ratings, as_ratings, mapped
from isthmus.data.splits import split_off
from isthmus.exceptions import ConvergenceError
from isthmus.models._cell_weights import aligned_weights, weights_among
from isthmus.models._estimator import with_parameters
from isthmus.models._receipts import Receipt, recorded, went_on
from isthmus.models._tensors import MAX_WEIGHT, Layout, Tensor, Tensors, double
from isthmus.models._updating import new_items, new_users
from isthmus.models.base import Recommender
from isthmus.training.loop import Callback, Epoch, Learner, as_callbacks, train

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EpochModel", "diverged"]

_AT_ONCE = ("default_rating", "clip", "num_threads", "verbose")
"""Parameters that a fitted model reads at every call."""


@with_parameters
class EpochModel(Recommender, abstract=True):
    """Base of the models that are trained in epochs.

    Besides what `Recommender` asks for, a subclass implements `_prepare`, `_initialize`, `_learner`
    and `_finish`. It gives `epochs` and `learning_rate` defaults, and documents them.

    Parameters
    ----------
    patience : int, optional
        Stop after this many epochs without a better RMSE, or metric, on the validation data, and go
        back to the best of them. Needs validation data.
    random_state : int, numpy.random.Generator or None, default None
        Seed of all that `fit` draws: what is held out, the first weights, the order of rows, noise
        and samples. The same int gives the same bits at any number of threads.
    num_threads : int, default 0
        0: all that this process may use.
    verbose : bool, default False
        Whether to show a progress bar with loss, RMSE or metric on validation data, and speed.
    """

    epochs: int
    learning_rate: float
    validation_fraction: float | None = None
    patience: int | None = None
    random_state: int | np.random.Generator | None = None
    num_threads: int = 0
    verbose: bool = False

    _structural: ClassVar[tuple[str, ...]] = ()
    """Parameters that the fitted arrays depend on, which `partial_fit` leaves as they were."""

    _of_layers: ClassVar[tuple[str, ...]] = ()
    """Parameters that are kept as units of layers, in tuples."""

    _higher_is_better: ClassVar[bool] = False
    """Whether the metric that early stopping watches is better when it is higher."""

    _update_share: ClassVar[float] = 0.4
    """Epochs of an update, as a share of those of training."""

    _course_depends_on_epochs: ClassVar[bool] = False
    """Whether an epoch depends on how many there are to be, as where the learning rate falls to 0
    at the end of the last."""

    _copy_now: Callable[[], Self] | None = field(init=False, default=None)
    """What `snapshot` returns while there is a learner."""

    # Training

    def _start(
        self,
        X: Any,
        epochs: int,
        validation: Any,
        callbacks: Iterable[Callback],
        *,
        weights: Any = None,
        **data: Any,
    ) -> Self:
        """Train from the start; `data` is what `_initialize` takes besides ratings and weights."""
        self._check_parameters()
        callbacks = as_callbacks(callbacks)
        self._check_files(X, validation)
        ratings = as_ratings(mapped(X))
        seed = seed_from(self.random_state)
        part, held_out = self._hold_out(ratings, validation, seed)
        self._check_ratings(part, anew=True)
        given = None if weights is None else aligned_weights(weights, ratings)
        counted = _weights_of(part, given)
        self._forget()
        self._seed = seed
        self._structure = self._current_structure()
        self.history_: list[Epoch] = []
        with recorded(self, ratings, validation, seed, given) as receipt:
            self._initialize(part, **data, **counted)
            course = range(epochs)
            self._train(ratings, part, course, held_out, callbacks, counted, receipt=receipt)
        return self

    def partial_fit(
        self,
        X: Any,
        *,
        epochs: int = 1,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
    ) -> Self:
        """Train on, from where `fit` or an earlier `partial_fit` stopped.

        Epochs, and with them the learning rate's decay, are counted on; the optimizer's averages
        start from 0. `validation_fraction` holds out the same ratings of the same data as `fit`
        did.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            All ratings as they are now, old and new: the model is trained on them alone, and they
            become the seen items. Users and items must be known to the model (see `fold_in`);
            those of a matrix are in the model's order.
        epochs : int, default 1
        validation, callbacks
            As for `fit`.

        Returns
        -------
        self
        """
        return self._go_on(X, epochs, validation, callbacks)

    def _go_on(
        self,
        X: Any,
        epochs: int,
        validation: Any,
        callbacks: Iterable[Callback],
        weights: Any = None,
    ) -> Self:
        self._check_parameters()
        check_integer("epochs", epochs, low=1)
        callbacks = as_callbacks(callbacks)
        if not self._fitted:
            return self._start(X, epochs, validation, callbacks, weights=weights)
        type(self)(**vars(self._next_structure()))._check_parameters()
        self._check_files(X, validation)
        ratings = ratings_among(self._users, self._items, mapped(X), "X")
        part, held_out = self._hold_out(ratings, validation, self._seed)
        self._check_ratings(part, anew=False)
        given = None if weights is None else aligned_weights(weights, ratings)
        counted = _weights_of(part, given)
        first = len(self.history_)
        course = range(first, first + epochs)
        return self._train(ratings, part, course, held_out, callbacks, counted, weights=given)

    def _check_files(self, X: Any, validation: Any) -> None:
        """Refuse to hold out a part of ratings in files: both parts would be copied to memory."""
        if isinstance(X, InFiles) and validation is None and self.validation_fraction is not None:
            raise ValueError(
                "validation_fraction must be None for shards, of which no part is held out without "
                "reading all into memory: pass validation=..., or fit to shards.to_ratings()."
            )

    def _updated(
        self, ratings: Ratings, epochs: int | None, validation: Any, callbacks: Iterable[Callback]
    ) -> Self:
        self._check_parameters()
        check_integer("epochs", epochs, low=1, others=(None,))
        callbacks = as_callbacks(callbacks)
        if self._receipt is not None and self._receipt.weights is not None:
            raise ValueError(
                f"This {type(self).__name__} was trained with weights, which update does not take: "
                f"fold_in what is new, then call partial_fit with weights for all ratings."
            )
        type(self)(**vars(self._next_structure()))._check_parameters()
        part, held_out = self._hold_out(ratings, validation, self._seed)
        self._check_ratings(part, anew=False)
        new = copy.deepcopy(self)
        new._grow(part)
        self._copy_now = new.snapshot
        try:
            return new._train(ratings, part, new._course_of_update(epochs), held_out, callbacks, {})
        finally:
            self.__dict__.pop("_copy_now", None)

    def _course_of_update(self, epochs: int | None) -> Sequence[int]:
        """Return the epochs of its training that a model goes through again."""
        planned = min(int(self._structure.epochs), len(self.history_))
        n = max(1, round(self._update_share * planned)) if epochs is None else epochs
        return [planned * number // n for number in range(n)]

    def _grow(self, ratings: Ratings) -> None:
        """Add the users and items that are behind the known ones."""
        known = len(self._users), len(self._items)
        if ratings.n_users > known[0]:
            rows = new_users(ratings, known)
            self.__dict__.update({**self._fold_in(rows, "user"), "_users": ratings._users})
        if ratings.n_items > known[1]:
            rows = new_items(ratings, known)
            self.__dict__.update({**self._fold_in(rows, "item"), "_items": ratings._items})

    def _hold_out(self, ratings: Ratings, validation: Any, seed: int) -> tuple[Ratings, Any]:
        """Return the ratings to train on, and what `_prepare` makes of those to validate on."""
        if validation is None and self.validation_fraction is not None:
            ratings, validation = split_off(
                ratings,
                self.validation_fraction,
                name="validation_fraction",
                random_state=seed,
                by=self._split_by,
            )
        if validation is not None:
            return ratings, self._prepare(ratings, validation)
        if self.patience is not None:
            raise ValueError(
                "patience needs validation data: pass validation=... to fit, "
                "or set validation_fraction."
            )
        return ratings, None

    def _train(
        self,
        ratings: Ratings,
        part: Ratings,
        course: Sequence[int],
        held_out: Any,
        callbacks: Sequence[Callback],
        counted: dict[str, Any],
        *,
        receipt: Callable[[], Receipt] | None = None,
        weights: Ratings | None = None,
    ) -> Self:
        """Train on a part of the ratings; keep what prediction needs, however training ends.

        `receipt` is that of a snapshot; by default the model's, which names the `weights`.
        """
        before = dict(self.__dict__)
        learner = None
        try:
            with uninterrupted():  # until then, the model is as it was
                self._structure = self._next_structure()
                self._remember(part)
                learner = self._learner(part, **counted)
                self._receipt = went_on(self, "partial_fit", weights)["_receipt"]
                self._fitted = False  # callbacks would see weights and codes that do not match
                self._copy_now = partial(self._as_it_stands, learner, ratings, receipt)
            train(
                learner,
                validate=dict if held_out is None else partial(self._validate, learner, held_out),
                course=course,
                ratings=part.nnz,
                patience=self.patience,
                higher_is_better=self._higher_is_better,
                callbacks=callbacks,
                verbose=self.verbose,
                history=self.history_,
            )
            self._complete(learner, ratings)
            return self
        except _core.Diverged as error:
            self._forget()
            raise ConvergenceError(f"{error}. {self._remedy()}") from None
        except _core.Singular as error:
            self._forget()
            raise ConvergenceError(f"Training stopped: {error}") from None
        except BaseException:
            # Ctrl-C, or a callback's own exception: the model is as after the last whole batch
            if learner is None:
                self.__dict__ = before
            elif not self._fitted:
                self._salvage(learner, ratings)
            raise
        finally:
            self.__dict__.pop("_copy_now", None)

    def snapshot(self) -> Self:
        """Return a fitted copy; in a callback, of the model as it is after the epoch.

        Until `fit` is over, the model itself is not fitted. The copy can be evaluated and saved;
        training is not affected.

        Returns
        -------
        A model of the same class, with the weights of the last epoch.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ConvergenceError
            If a weight is no longer finite.

        Examples
        --------
        >>> from isthmus import BiasedMF, synthetic_ratings
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> model = BiasedMF(factors=8, epochs=3, random_state=0)
        >>> errors = []
        >>> model = model.fit(
        ...     ratings, callbacks=[lambda epoch: errors.append(model.snapshot().evaluate(ratings))]
        ... )
        >>> len(errors)
        3
        """
        if self._copy_now is not None:
            return self._copy_now()
        self._check_fitted()
        return copy.deepcopy(self)

    def _as_it_stands(
        self, learner: Learner, ratings: Ratings, receipt: Callable[[], Receipt] | None
    ) -> Self:
        """Return a fitted copy during training."""
        shown = object.__new__(type(self))
        shown.__dict__.update(self.__dict__, _copy_now=None)
        if receipt is not None:
            shown._receipt = receipt()
        shown._show(learner)
        shown._see(ratings)
        try:
            shown._check_finite()
        except _core.Diverged as error:
            raise ConvergenceError(f"{error}. {self._remedy()}") from None
        shown._fitted = True
        return copy.deepcopy(shown)

    def _show(self, learner: Any) -> None:
        """Keep what prediction needs of the learner, as `_finish` does; training goes on."""
        self._finish(learner)

    def _salvage(self, learner: Learner, ratings: Ratings) -> None:
        """Complete a model whose training was cut short, unless it has diverged."""
        try:
            self._complete(learner, ratings)
        except _core.Diverged:
            self._forget()

    def _complete(self, learner: Learner, ratings: Ratings) -> None:
        with uninterrupted():
            with np.errstate(over="ignore", invalid="ignore"):  # _check_finite refuses them
                self._finish(learner)
            self._check_finite()
            self._see(ratings)  # what was held out has been seen as well
            self._fitted = True

    def _check_finite(self) -> None:
        # A loss is of the weights before their last step; products of greater ones overflow.
        for name, array in self._tensors().items():
            # a loss is in squares of the ratings' unit, and may be of any size
            if name.startswith("history") or array.dtype.kind != "f":
                continue
            if not is_finite(array, limit=MAX_WEIGHT):
                raise diverged(self.history_)

    def _forget(self) -> None:
        self._fitted = False
        for name in ("_seen", *self._in_core):
            self.__dict__.pop(name, None)

    def _fit_again(
        self, ratings: Ratings, validation: Any, trained: Self, weights: Ratings | None
    ) -> Self:
        # a callback, or partial_fit instead of fit, may have changed the number of epochs
        epochs = max(1, len(trained.history_))
        own = trained._own_data()
        return self._start(ratings, epochs, validation, (), weights=weights, **own)

    def _own_data(self) -> dict[str, Any]:
        """Return what `_initialize` takes besides ratings and weights."""
        return {}

    # To be implemented by a model

    def _prepare(self, ratings: Ratings, validation: Any) -> Any:
        """Turn validation data into what `_validate` takes, or refuse it."""
        raise NotImplementedError

    def _check_ratings(self, ratings: Ratings, *, anew: bool) -> None:
        """Refuse ratings that the model cannot be trained on, from the start or further."""

    def _initialize(self, ratings: Ratings) -> None:
        """Make an untrained model; the seed and the structure are set."""
        raise NotImplementedError

    def _learner(self, ratings: Ratings) -> Learner:
        """Make what trains the model; `_remember` has been called."""
        raise NotImplementedError

    def _validate(self, learner: Any, held_out: Any) -> dict[str, float]:
        """Measure the model as the learner has it, on what `_prepare` made."""
        raise NotImplementedError

    def _finish(self, learner: Any) -> None:
        """Keep what prediction needs from the learner, once training is over."""
        raise NotImplementedError

    def _remedy(self) -> str:
        """Return what to change where training diverges, as a sentence."""
        return f"Lower learning_rate (it is {self.learning_rate:g}) or raise regularization."

    # Parameters

    def _check_parameters(self) -> None:
        """Check the parameters that these models share."""
        check_integer("epochs", self.epochs, low=1)
        check_real("learning_rate", self.learning_rate, low=0, open_low=True)
        check_share("validation_fraction", self.validation_fraction, others=(None,))
        check_integer("patience", self.patience, low=1, others=(None,))
        if not isinstance(self.random_state, np.random.Generator | None):
            check_seed(self.random_state)
        check_bool("verbose", self.verbose)
        self._num_threads()

    def _current_structure(self) -> SimpleNamespace:
        """Return the parameters, to keep those that the model is trained with."""
        # a caller may change his list later
        own = {k: tuple(v) if isinstance(v, list) else v for k, v in self.get_params().items()}
        own |= {name: check_layers(name, own[name]) for name in self._of_layers}
        return SimpleNamespace(**own)

    def _next_structure(self) -> SimpleNamespace:
        """Return the parameters to train with: the present ones, but `_structural` ones stay."""
        structure = self._current_structure()
        vars(structure).update({name: getattr(self._structure, name) for name in self._structural})
        return structure

    def _saved_parameters(self) -> dict[str, Any]:
        now = {name: value for name, value in self.get_params().items() if name in _AT_ONCE}
        return {**vars(self._structure), **now}

    # Files

    def _course_tensors(self) -> Tensors:
        measured: dict[str, list[tuple[int, float]]] = {}
        for epoch in self.history_:
            for name, value in epoch.metrics.items():
                measured.setdefault(f"history.{name}", []).append((epoch.index, value))
        return {
            "history": np.array([[e.seconds, e.loss] for e in self.history_]).reshape(-1, 2),
            **{name: np.array(values) for name, values in measured.items()},
            "seed": np.array([self._seed], np.uint64),
        }

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        # a loss may be any number, and a metric be undefined
        measured = {name for name in tensors if name.startswith("history.")}
        return {
            "history": double(None, 2, limit=np.inf),
            **dict.fromkeys(measured, double(None, 2, limit=np.nan)),
            "seed": Tensor(np.uint64, (1,)),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        epochs = len(tensors["history"])
        for name, values in tensors.items():
            if not name.startswith("history."):
                continue
            index = values[:, 0]
            if not (np.isin(index, np.arange(epochs)).all() and (np.diff(index) > 0).all()):
                raise ValueError(f"{name} must be of epochs from 0 to {epochs - 1}, in their order")

    def _restore_course(self, tensors: Tensors) -> None:
        self._seed = int(tensors["seed"][0])
        epochs = enumerate(tensors["history"].tolist())
        self.history_ = [Epoch(index, seconds, loss) for index, (seconds, loss) in epochs]
        for name, values in tensors.items():
            if name.startswith("history."):
                for index, value in values.tolist():
                    self.history_[int(index)].metrics[name.removeprefix("history.")] = value
        if "_structure" not in self.__dict__:  # a pickle has it, a file its parameters
            self._structure = self._current_structure()


def diverged(history: Sequence[Epoch]) -> _core.Diverged:
    """Return the error for weights that cannot be used."""
    return _core.Diverged(
        f"training diverged in epoch {len(history)}: a weight is beyond {MAX_WEIGHT:g}, or not a "
        f"number"
    )


def _weights_of(part: Ratings, weights: Ratings | None) -> dict[str, Any]:
    """Return the weights of the cells to train on as an argument, or no argument."""
    return {} if weights is None else {"cell_weights": weights_among(weights, part)}
