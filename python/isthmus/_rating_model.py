"""What models of ratings share: the course of training, clipping, default ratings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._checks import check_integer, check_real, seed_from
from isthmus._ids import IdIndex
from isthmus.base import Recommender, Scorable, cells_among
from isthmus.exceptions import ConvergenceError
from isthmus.metrics import rmse
from isthmus.ratings import Ratings, as_ratings
from isthmus.splits import train_test_split
from isthmus.training import Callback, Epoch, Learner, train

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HeldOut", "RatingModel"]

Floats = NDArray[np.float32]


class HeldOut(NamedTuple):
    """Validation ratings: positions of users and items, and the values."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: Floats


class RatingModel(Recommender, abstract=True):
    """Base of the models that predict ratings.

    Beside what `Recommender` asks for, a subclass implements `_initialize`, `_learner` and
    `_finish`, and takes the parameters that are annotated here.
    """

    epochs: int
    learning_rate: float
    default_rating: float | None
    clip: bool
    validation_fraction: float | None
    patience: int | None
    random_state: int | np.random.Generator | None
    num_threads: int
    verbose: bool

    history_: list[Epoch]
    _seed: int
    _mean: float
    """Of the ratings."""

    # Training

    def fit(self, X: Any, *, validation: Any = None, callbacks: Iterable[Callback] = ()) -> Self:
        """Train on ratings.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            Users x items, whatever `orientation`. Every stored cell is a rating, also a 0. A
            matrix's positions become the ids.
        validation : Ratings or scipy.sparse array or matrix, optional
            Ratings to measure the RMSE on after each epoch, with users and items of `X`.
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
                ratings, test_size=self.validation_fraction, random_state=seed
            )
        self._forget()
        self._seed = seed
        self.history_ = []
        self._initialize(ratings)
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

        Epochs, and with them the learning rate's decay, are counted on; the optimizer's averages
        start anew.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            All ratings as they are now, old and new: the model is trained on them alone, and they
            become the seen items. Users and items must be known to the model (see `fold_in`), in
            its order.
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
        if not same:
            raise ValueError(
                f"X must have the {known[0]} users and {known[1]} items of the model in its "
                f"order, but it is {ratings!r}; fold_in makes the model know new ones."
            )
        if not isinstance(X, Ratings):
            ratings = Ratings.from_matrix(X, user_ids=self._users.ids, item_ids=self._items.ids)
        self._train(ratings, epochs, validation, callbacks)
        return self

    def _train(
        self, ratings: Ratings, epochs: int, validation: Any, callbacks: Iterable[Callback]
    ) -> None:
        held_out = None
        if validation is not None:
            users, items = IdIndex(ratings.user_ids, "user"), IdIndex(ratings.item_ids, "item")
            held_out = HeldOut(*cells_among(users, items, validation, "validation"))
        elif self.patience is not None:
            raise ValueError(
                "patience needs validation data: pass validation=... to fit, "
                "or set validation_fraction."
            )
        self._mean = ratings.mean
        self._remember(ratings)
        learner = self._learner(ratings, held_out)
        try:
            train(
                learner,
                first=len(self.history_),
                epochs=epochs,
                ratings=ratings.nnz,
                patience=self.patience,
                callbacks=callbacks,
                verbose=self.verbose,
                history=self.history_,
            )
        except _core.Diverged as error:
            self._forget()
            raise ConvergenceError(f"{error}. {self._remedy()}") from None
        except BaseException:
            # Ctrl-C, or a callback's own exception: the model is as after the last whole batch
            self._finish(learner, ratings)
            raise
        self._finish(learner, ratings)

    def _forget(self) -> None:
        for name in ("_seen", *self._in_core):
            self.__dict__.pop(name, None)

    def _measure(
        self,
        vectors: Scorable,
        held_out: HeldOut,
        *,
        users: NDArray[Any] | None = None,
        items: NDArray[Any] | None = None,
    ) -> dict[str, float]:
        """Error of the vectors' scores on held-out ratings.

        `users` and `items` say where the held-out ones are among the vectors, if these are in an
        order of the training's own.
        """
        rows = held_out.users if users is None else users
        columns = held_out.items if items is None else items
        scores = vectors.scorer().score_pairs(
            rows.astype(np.int32), columns.astype(np.int32), num_threads=self._num_threads()
        )
        predicted = self._finish_predictions(scores, held_out.users, held_out.items)
        return {"rmse": rmse(held_out.values, predicted)}

    # To be implemented by a model

    def _initialize(self, ratings: Ratings) -> None:
        """Make an untrained model; the seed is set."""
        raise NotImplementedError

    def _learner(self, ratings: Ratings, held_out: HeldOut | None) -> Learner:
        """Make what trains the model."""
        raise NotImplementedError

    def _finish(self, learner: Any, ratings: Ratings) -> None:
        """Take what prediction needs from the learner, once training is over."""
        raise NotImplementedError

    def _remedy(self) -> str:
        """Say what to change where training diverges."""
        return f"Lower learning_rate (it is {self.learning_rate:g}) or raise regularization."

    # Parameters

    def _check_shared_parameters(self) -> None:
        check_integer("epochs", self.epochs, low=1)
        if self.default_rating is not None:
            check_real("default_rating", self.default_rating)
        if self.validation_fraction is not None:
            check_real(
                "validation_fraction",
                self.validation_fraction,
                low=0,
                high=1,
                open_low=True,
                open_high=True,
            )
        if self.patience is not None:
            check_integer("patience", self.patience, low=1)
        self._num_threads()

    # Prediction

    def _finish_predictions(
        self, scores: Floats, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> Floats:
        if self.default_rating is not None:
            seen = self._users_seen()[users] & self._items_seen()[items]
            scores = np.where(seen, scores, np.float32(self.default_rating))
        return self._finish_scores(scores)

    def _finish_scores(self, scores: Floats) -> Floats:
        low, high = map(np.float32, self._range)
        return np.clip(scores, low, high) if self.clip else scores

    def _users_seen(self) -> NDArray[np.bool_]:
        return np.diff(self._seen.indptr) > 0

    def _items_seen(self) -> NDArray[np.bool_]:
        return np.bincount(self._seen.indices, minlength=self._seen.shape[1]) > 0

    # Files

    def _training_tensors(self) -> dict[str, NDArray[Any]]:
        return {
            "mean": np.array([self._mean]),
            "epochs": np.array([len(self.history_)]),
            "history": np.array([[e.seconds, e.loss] for e in self.history_]),
            "seed": np.array([self._seed], np.uint64),
        }

    def _restore_training(self, tensors: dict[str, NDArray[Any]]) -> None:
        self._mean = float(tensors["mean"][0])
        self._seed = int(tensors["seed"][0])
        epochs = enumerate(tensors["history"].tolist())
        self.history_ = [Epoch(index, seconds, loss) for index, (seconds, loss) in epochs]
