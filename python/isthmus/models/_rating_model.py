"""What models of ratings share: validation by error, clipping, default ratings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import is_finite
from isthmus._util.checks import check_bool, check_real
from isthmus.data._alignment import cells_among
from isthmus.data._csr import CSR, column_counts
from isthmus.data.ratings import Ratings
from isthmus.evaluation.scores import Floats, Scorable
from isthmus.metrics import rmse
from isthmus.models._epochs import EpochModel
from isthmus.models._estimator import with_parameters
from isthmus.models._tensors import Layout, Tensor, Tensors, double
from isthmus.training.loop import Callback

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LEAST_DEVIATION", "HeldOut", "RatingModel", "deviation_of"]

LEAST_DEVIATION = 1e-15
"""Ratings that differ by less count as equal; the greatest ones divided by it are finite."""


def deviation_of(ratings: Ratings) -> float:
    """Return the standard deviation of ratings, or 1 if all are alike."""
    mean = ratings.values.mean(dtype=np.float64)
    deviation = float(np.sqrt(_squares(ratings.values, mean) / ratings.nnz))
    return deviation if deviation > LEAST_DEVIATION else 1.0


def _squares(values: Floats, mean: np.float64) -> float:
    """Sum the squared differences from a mean, to the bit as `numpy.std`, with little memory."""
    if len(values) <= 1 << 20:
        return float(np.square(np.subtract(values, mean, dtype=np.float64)).sum())
    middle = len(values) // 2
    middle -= middle % 8  # where NumPy's sum splits an array
    return _squares(values[:middle], mean) + _squares(values[middle:], mean)


class HeldOut(NamedTuple):
    """Validation ratings: positions of users and items, and the values."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: Floats


@with_parameters
class RatingModel(EpochModel, abstract=True):
    """Base of the models that predict ratings.

    A subclass implements what `EpochModel` asks for but `_prepare`, and may have `clip` for a
    parameter.

    Parameters
    ----------
    default_rating : float, optional
        What `predict` gives where the user or the item had no rating in training.
    clip : bool, default True
        Whether to clip predictions to the lowest and highest rating of training.
    validation_fraction : float, optional
        Share of the ratings, in (0, 1), that `fit` holds out at random as validation data, unless
        it is given some.
    """

    default_rating: float | None = None
    clip: bool = field(init=False, default=True)

    _rates = True

    # Training

    def fit(
        self, X: Any, y: Any = None, *, validation: Any = None, callbacks: Iterable[Callback] = ()
    ) -> Self:
        """Train on ratings.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            Users x items, whatever `orientation`. Every stored cell is a rating, also a 0. A
            matrix's positions become the ids. Shards are trained on out of core, and need
            `validation` instead of `validation_fraction`.
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
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
            If a parameter or the data is invalid.
        ConvergenceError
            If the loss is no longer finite; the model is then not fitted.
        KeyboardInterrupt
            On Ctrl-C, between batches; the model is fitted, with the weights of the last batch.
        """
        return self._start(X, self.epochs, validation, callbacks)

    def _prepare(self, ratings: Ratings, validation: Any) -> HeldOut:
        return HeldOut(*cells_among(ratings._users, ratings._items, validation, "validation"))

    def _remember(self, ratings: Ratings) -> None:
        super()._remember(ratings)
        self._mean = ratings.mean  # or, later, that which biases are relative to
        # which had a rating in training, or when they were folded in
        self._users_trained, self._items_trained = self._with_ratings()

    def _with_ratings(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which users and which items have a seen cell."""
        users = np.diff(self._seen.indptr) > 0
        return users, column_counts(self._seen.indices, self._seen.shape[1]) > 0

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        # new rows do not train the users or items that the model knows already
        name = f"_{axis}s_trained"
        trained = np.append(getattr(self, name), np.diff(ratings.indptr) > 0)
        return {**super()._fold_in(ratings, axis), name: trained}

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        return {**super()._without_users(kept), "_users_trained": self._users_trained[kept]}

    def _measure(self, vectors: Scorable, held_out: HeldOut) -> dict[str, float]:
        """Measure the error of the vectors' scores on held-out ratings."""
        scores = vectors.scorer().score_pairs(
            held_out.users.astype(np.int32),
            held_out.items.astype(np.int32),
            num_threads=self._num_threads(),
        )
        if not is_finite(scores):
            raise _core.Diverged(
                f"training diverged in epoch {len(self.history_) + 1}: a prediction is no longer "
                f"finite"
            )
        predicted = self._finish_predictions(scores, held_out.users, held_out.items)
        return {"rmse": rmse(held_out.values, predicted)}

    # Parameters

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_finishing()

    def _check_finishing(self) -> None:
        check_real("default_rating", self.default_rating, others=(None,))
        check_bool("clip", self.clip)

    # Prediction

    def _finish_predictions(
        self, scores: Floats, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> Floats:
        self._check_finishing()
        if self.default_rating is not None:
            trained = self._users_trained[users] & self._items_trained[items]
            scores = np.where(trained, scores, np.float32(self.default_rating))
        return self._finish_scores(scores)

    def _finish_scores(self, scores: Floats) -> Floats:
        self._check_finishing()
        low, high = map(np.float32, self._range)
        return np.clip(scores, low, high) if self.clip else scores

    # Files

    def _training_tensors(self) -> Tensors:
        return {
            "mean": np.array([self._mean]),
            "users_trained": self._users_trained,
            "items_trained": self._items_trained,
            **self._course_tensors(),
        }

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        users, items = shape
        return {
            "mean": double(1),
            "users_trained": Tensor(np.bool_, (users,)),
            "items_trained": Tensor(np.bool_, (items,)),
            **super()._layout(shape, tensors),
        }

    def _restore_training(self, tensors: Tensors) -> None:
        self._mean = float(tensors["mean"][0])
        self._users_trained = tensors["users_trained"]
        self._items_trained = tensors["items_trained"]
        self._restore_course(tensors)
