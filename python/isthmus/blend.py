"""Several models' predictions as one, weighted by what validation data says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus._checks import check_share, seed_from
from isthmus._rating_model import RatingModel
from isthmus.base import ERRORS
from isthmus.exceptions import NotFittedError
from isthmus.ratings import Ratings, as_ratings
from isthmus.splits import train_test_split

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Blend"]

Floats = NDArray[np.float32]

PENALTY = 10.0
"""Ridge on the weights' distance from equal ones: it weighs as much as so many ratings."""


class Blend:
    r"""A weighted sum of several models' predicted ratings.

    Models that err in different ways, such as an item- and a user-based AutoRec, err less
    together. The weights and a constant minimise the squared error on validation ratings, which
    the models have not seen:

    .. math::
        \min_{w, c} \sum (r - c - \sum_m w_m \hat r_m)^2 + 10 v \sum_m (w_m - 1/M)^2,

    v being the mean variance of a model's predictions: of few ratings, weights are near equal.

    Parameters
    ----------
    models : sequence of AutoRec, BiasedMF or RBM
        At least one, not fitted. They are copied, and stay as they are.
    validation_fraction : float, default 0.1
        Share of the ratings that `fit` holds out, at random, to fit the weights, in (0, 1), where
        it is given no validation data.
    random_state : int, numpy.random.Generator or None, default None
        Seed of what is held out; the models have seeds of their own.

    Attributes
    ----------
    models_ : list
        The fitted copies.
    weights_ : ndarray of float64, shape (n_models,)
    constant_ : float

    Notes
    -----
    L. Breiman: Stacked Regressions, Machine Learning 1996.

    Examples
    --------
    >>> from isthmus import AutoRec, Blend, synthetic_ratings, train_test_split
    >>> train, test = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> small = {"hidden_units": (20,), "epochs": 5, "random_state": 0}
    >>> models = [AutoRec(**small), AutoRec(orientation="user", **small)]
    >>> blend = Blend(models, random_state=0).fit(train)
    >>> sorted(blend.evaluate(test))
    ['mae', 'rmse']
    """

    models_: list[RatingModel]
    weights_: NDArray[np.float64]
    constant_: float

    def __init__(
        self,
        models: Sequence[RatingModel],
        *,
        validation_fraction: float = 0.1,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.models = models
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def __repr__(self) -> str:
        return f"Blend({list(self.models)!r}, validation_fraction={self.validation_fraction!r})"

    def fit(self, X: Any, *, validation: Any = None) -> Self:
        """Fit the models and their weights.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
        validation : Ratings or scipy.sparse array or matrix, optional
            Ratings of users and items of `X` to fit the weights on; the models are then fitted to
            `X` once. Without it, a part of `X` is held out for the weights, and the models are
            fitted twice: to the rest, and, once the weights are known, to all of `X`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If there is no model, one is no model of ratings, or an argument of it is bad.
        """
        self._check_models()
        ratings = as_ratings(X)
        if validation is not None:
            models = [copy.fit(ratings) for copy in self._copies()]
            self._fit_weights(models, as_ratings(validation))
        else:
            check_share("validation_fraction", self.validation_fraction)
            part, held_out = train_test_split(
                ratings,
                test_size=self.validation_fraction,
                random_state=seed_from(self.random_state),
            )
            self._fit_weights([copy.fit(part) for copy in self._copies()], held_out)
            models = [copy.fit(ratings) for copy in self._copies()]
        self.models_ = models
        return self

    def _check_models(self) -> None:
        if isinstance(self.models, RatingModel) or len(self.models) == 0:
            raise ValueError(f"models must be a list of at least one, but it was {self.models!r}.")
        for model in self.models:
            if not isinstance(model, RatingModel):
                raise TypeError(
                    f"models must be models of ratings, as AutoRec and BiasedMF, "
                    f"but one is a {type(model).__name__}."
                )

    def _copies(self) -> list[RatingModel]:
        return [type(model)(**model.get_params()) for model in self.models]

    def _fit_weights(self, models: list[RatingModel], held_out: Ratings) -> None:
        users, items, values, _ = held_out.to_arrays()
        predicted = np.column_stack([m.predict(users, items) for m in models]).astype(np.float64)
        truth = values.astype(np.float64)
        centred = predicted - predicted.mean(axis=0)
        equal = np.full(len(models), 1 / len(models))
        ridge = np.sqrt(PENALTY * centred.var(axis=0).mean())
        design = np.vstack([centred, ridge * np.eye(len(models))])
        # of the weights' distance from equal ones, so that the penalty pulls towards these
        rest = np.concatenate([truth - truth.mean() - centred @ equal, np.zeros(len(models))])
        self.weights_ = equal + np.linalg.lstsq(design, rest, rcond=None)[0]
        self.constant_ = float(truth.mean() - predicted.mean(axis=0) @ self.weights_)

    def predict(self, users: ArrayLike, items: ArrayLike) -> Floats:
        """Predict the ratings of user and item pairs, as the models do.

        Parameters
        ----------
        users, items : int, str or array_like of either
            Ids as in the training data; the two are broadcast against each other.

        Returns
        -------
        ndarray of float32
            Between the lowest and the highest rating of training.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        if not hasattr(self, "models_"):
            raise NotFittedError("This Blend is not fitted yet; call fit first.")
        total: Any = self.constant_
        for weight, model in zip(self.weights_, self.models_, strict=True):
            total = total + weight * model.predict(users, items)
        predicted: Floats = np.clip(total, *self.models_[0]._range).astype(np.float32)
        return predicted

    def evaluate(self, test: Any) -> dict[str, float]:
        """Measure the error on held-out ratings.

        Parameters
        ----------
        test : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            A matrix has the users and items of training; Ratings have ids.

        Returns
        -------
        dict
            "rmse" and "mae", over all ratings alike.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        users, items, truth, _ = as_ratings(test).to_arrays()
        predicted = self.predict(users, items)
        return {name: error(truth, predicted) for name, error in ERRORS.items()}
