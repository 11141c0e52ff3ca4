"""What the models of implicit feedback that are trained in epochs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._checks import check_integer, check_real, seed_from
from isthmus._csr import CSR
from isthmus.base import Floats, Recommender, Vectors
from isthmus.exceptions import ConvergenceError
from isthmus.ranking import parse_metrics, rank
from isthmus.ratings import Ratings, as_ratings
from isthmus.splits import HeldOutUsers, train_test_split
from isthmus.training import Callback, Epoch, train

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ImplicitRecommender", "Trainer"]


class Trainer(Protocol):
    """A core's trainer, which keeps and restores weights."""

    def keep_best(self) -> None: ...

    def restore_best(self) -> None: ...


class ImplicitRecommender(Recommender, abstract=True):
    """A model of rows of ones that is trained in epochs and scores by users' codes.

    A subclass has the parameters of every such model (`epochs`, `batch_size`, `learning_rate`,
    `validation_fraction`, `validation_metric`, `patience`, `random_state`, `num_threads`,
    `verbose`) and its own, and implements `_make_network`, `_make_trainer`, `_run_epoch`,
    `_encode` and `_decoder`.
    """

    _in_core = ("_network",)
    _default_metrics = Recommender._default_ranking

    _structural: ClassVar[tuple[str, ...]] = ()
    """Parameters that the fitted arrays depend on: `_structure` has them as they were in `fit`."""

    epochs: int
    batch_size: int
    learning_rate: float
    validation_fraction: float | None
    validation_metric: str
    patience: int | None
    random_state: int | np.random.Generator | None
    num_threads: int
    verbose: bool

    _network: Any
    _codes: Floats
    _seed: int
    _structure: dict[str, Any]
    history_: list[Epoch]

    # What a model is

    def _make_network(self, n_users: int, n_items: int, seed: int) -> Any:
        """Make an untrained network of the core."""
        raise NotImplementedError

    def _make_trainer(self, rows: CSR) -> Trainer:
        """Make the core's trainer of `_network`."""
        raise NotImplementedError

    def _run_epoch(
        self, trainer: Any, rows: CSR, index: int, progress: Callable[[int], None] | None
    ) -> float:
        """Train on all rows once and return the mean loss."""
        raise NotImplementedError

    def _encode(self, rows: CSR, *, known: bool) -> Floats:
        """Codes of rows: those of training, in its order, or of users unknown to the network."""
        raise NotImplementedError

    def _decoder(self) -> tuple[Floats, Floats]:
        """Items' vectors and biases."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        check_integer("epochs", self.epochs, low=1)
        check_integer("batch_size", self.batch_size, low=1)
        check_real("learning_rate", self.learning_rate, low=0, open_low=True)
        if self.validation_fraction is not None:
            check_real(
                "validation_fraction",
                self.validation_fraction,
                low=0,
                high=1,
                open_low=True,
                open_high=True,
            )
        if parse_metrics([self.validation_metric])[0].name == "coverage":
            raise ValueError("validation_metric must be a metric of users, not coverage.")
        if self.patience is not None:
            check_integer("patience", self.patience, low=1)
        self._num_threads()

    # Training

    def fit(self, X: Any, *, validation: Any = None, callbacks: Iterable[Callback] = ()) -> Self:
        """Train on implicit feedback.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            Every stored cell counts 1, whatever its value. A matrix's positions become the ids.
        validation : Ratings, scipy.sparse array or matrix, or HeldOutUsers, optional
            What should rank high after each epoch: further cells of the users of `X`, or users who
            are not in it, as `hold_out_users` gives them.
        callbacks : iterable of callable, optional
            Each is called with an `Epoch` after it; training ends if one returns True.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data is not what it may be.
        ConvergenceError
            If the loss is no longer finite; the model is then not fitted.
        KeyboardInterrupt
            On Ctrl-C, between batches; the model is fitted, with the weights of the last batch.
        """
        return self._start(X, self.epochs, validation, callbacks)

    def _start(self, X: Any, epochs: int, validation: Any, callbacks: Iterable[Callback]) -> Self:
        self._check_parameters()
        ratings = as_ratings(X)
        seed = seed_from(self.random_state)
        if validation is None and self.validation_fraction is not None:
            ratings, validation = train_test_split(
                ratings, test_size=self.validation_fraction, random_state=seed, by="user"
            )
        self._forget()
        self._seed = seed
        self._structure = self._current_structure()
        self.history_ = []
        self._network = self._make_network(ratings.n_users, ratings.n_items, seed)
        self._train(ratings, epochs, validation, callbacks)
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

        The optimizer's averages start anew.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            All feedback as it is now, old and new, of the users and items of the model, in its
            order (see `fold_in`).
        epochs : int, default 1
        validation, callbacks
            As for `fit`.

        Returns
        -------
        self
        """
        self._check_parameters()
        check_integer("epochs", epochs, low=1)
        if not self._is_fitted():
            return self._start(X, epochs, validation, callbacks)
        ratings = as_ratings(X)
        known = (len(self._users), len(self._items))
        if isinstance(X, Ratings):
            same = self._users.matches(ratings._users) and self._items.matches(ratings._items)
        else:
            same = ratings.shape == known
            if same:
                ratings = Ratings.from_matrix(X, user_ids=self._users.ids, item_ids=self._items.ids)
        if not same:
            raise ValueError(
                f"X must have the {known[0]} users and {known[1]} items of the model in its "
                f"order, but it is {ratings!r}; fold_in makes the model know new users."
            )
        self._train(ratings, epochs, validation, callbacks)
        return self

    def _train(
        self, ratings: Ratings, epochs: int, validation: Any, callbacks: Iterable[Callback]
    ) -> None:
        if validation is None and self.patience is not None:
            raise ValueError(
                "patience needs validation data: pass validation=... to fit, "
                "or set validation_fraction."
            )
        self._remember(ratings)
        seen = self.__dict__.pop("_seen")  # the model is not fitted before it is trained
        learner = _Learner(self, ratings, seen, validation)
        try:
            train(
                learner,
                first=len(self.history_),
                epochs=epochs,
                ratings=ratings.nnz,
                patience=self.patience,
                higher_is_better=True,
                callbacks=callbacks,
                verbose=self.verbose,
                history=self.history_,
            )
        except _core.Diverged as error:
            self._forget()
            raise ConvergenceError(
                f"{error}. Lower learning_rate (it is {self.learning_rate:g})."
            ) from None
        except BaseException:
            # Ctrl-C, or a callback's own exception: the model is as after the last whole batch
            self._codes = self._encode(learner.rows, known=True)
            self._seen = seen
            raise
        self._codes = self._encode(learner.rows, known=True)
        self._seen = seen

    def _forget(self) -> None:
        for name in ("_seen", "_network", "_codes"):
            self.__dict__.pop(name, None)

    # Prediction, and users who come after training

    def _vectors(self) -> Vectors:
        return self._assemble(self._codes)

    def _assemble(self, codes: Floats) -> Vectors:
        weights, bias = self._decoder()
        return Vectors(codes, weights, item_bias=bias)

    def _fold_users(self, ratings: CSR) -> Vectors:
        return self._assemble(self._encode(ratings, known=False))

    def _fold_in(self, ratings: CSR, axis: str) -> None:
        name = type(self).__name__
        if axis == "item":
            raise ValueError(
                f'axis must be "user" for {name}, whose loss for an item weighs it against all '
                f"others; fit or partial_fit it with the new items."
            )
        self._codes = np.vstack([self._codes, self._encode(ratings, known=False)])

    # Files

    def _current_structure(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._structural}

    def _saved_parameters(self) -> dict[str, Any]:
        return {**self.get_params(), **self._structure}

    def _tensors(self) -> dict[str, NDArray[Any]]:
        return {
            **self._network.weights(),
            "codes": self._codes,
            "history": np.array([[e.seconds, e.loss] for e in self.history_]).reshape(-1, 2),
            "seed": np.array([self._seed], np.uint64),
        }

    def _restore(self, tensors: dict[str, NDArray[Any]]) -> None:
        self._codes = np.ascontiguousarray(tensors["codes"])
        self._seed = int(tensors["seed"][0])
        epochs = enumerate(tensors["history"].tolist())
        self.history_ = [Epoch(index, seconds, loss) for index, (seconds, loss) in epochs]
        if "_structure" not in self.__dict__:  # a pickle has it, a file its parameters
            self._structure = self._current_structure()
        self._network = self._make_network(*self._sizes(tensors), 0)
        for name, array in self._network.weights().items():
            if tensors[name].shape != array.shape:
                raise ValueError(
                    f"{name} has shape {tensors[name].shape}, "
                    f"but the parameters ask for {array.shape}"
                )
            array[...] = tensors[name]

    def _sizes(self, tensors: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Numbers of users and items that a file's network was made for."""
        return len(tensors["codes"]), len(tensors["decoder.weights"])


class _Learner:
    """A model's side of the training loop."""

    def __init__(
        self, model: ImplicitRecommender, ratings: Ratings, seen: CSR, validation: Any
    ) -> None:
        self._model = model
        self._nnz = ratings.nnz
        self.rows = seen
        self._filled = int(np.count_nonzero(np.diff(seen.indptr)))
        self._held_out = self._prepare(ratings, validation)
        self._trainer = model._make_trainer(seen)

    def _prepare(self, ratings: Ratings, validation: Any) -> tuple[CSR, CSR, bool] | None:
        """Give positives, what is encoded for them, and whether these are the users of training."""
        model = self._model
        if validation is None:
            return None
        if isinstance(validation, HeldOutUsers):
            fold, test = (
                model._align(part, f"validation.{name}", axis="user")
                for part, name in zip(validation, HeldOutUsers._fields, strict=True)
            )
            return test, fold, False
        model._seen = self.rows
        try:
            positives = model._known_pattern(validation, "validation")
        finally:
            del model._seen
        return positives, self.rows, True

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        report = None
        if progress is not None:

            def report(rows_done: int) -> None:
                progress(self._nnz * rows_done // self._filled)

        return self._model._run_epoch(self._trainer, self.rows, index, report)

    def validate(self) -> dict[str, float]:
        if self._held_out is None:
            return {}
        positives, rows, known = self._held_out
        model = self._model
        values = rank(
            model._assemble(model._encode(rows, known=known)).scorer(),
            parse_metrics([model.validation_metric]),
            positives,
            seen=rows,
            num_threads=model._num_threads(),
        )
        return {label: float(np.nanmean(value)) for label, value in values.items()}

    def keep_best(self) -> None:
        self._trainer.keep_best()

    def restore_best(self) -> None:
        self._trainer.restore_best()
