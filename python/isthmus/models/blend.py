"""Several models' predictions as one, weighted by what validation data says."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_real, check_share, shown
from isthmus._util.interrupts import uninterrupted
from isthmus._util.random import seed_from
from isthmus.data._csr import CSR
from isthmus.data.ratings import Ratings, as_ratings, in_memory
from isthmus.data.splits import train_test_split
from isthmus.evaluation.scores import Floats, Scorable, Weighted, unit_rows
from isthmus.models import _files
from isthmus.models._estimator import with_parameters
from isthmus.models._rating_model import RatingModel
from isthmus.models._receipts import recorded, went_on
from isthmus.models._tensors import Layout, Tensors, check_range, double, part_of
from isthmus.models.base import Recommender
from isthmus.training.loop import Callback

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Blend", "fit_weights"]

PENALTY = 10.0
"""Ridge on the weights' distance from equal ones: it weighs as much as so many ratings."""


@with_parameters
class Blend(Recommender):
    r"""A weighted sum of several models' predicted ratings.

    Models that err in different ways, such as an item- and a user-based AutoRec, err less
    together. The weights and a constant minimise the squared error on validation ratings, which
    the models have not seen:

    $$
    \min_{w, c} \sum (r - c - \sum_m w_m \hat r_m)^2 + 10 v \sum_m (w_m - 1/M)^2,
    $$

    v being the mean variance of a model's predictions: of few ratings, weights are near equal.

    Parameters
    ----------
    models : sequence of AutoRec, BiasedMF or RBM
        At least one, not fitted. They are copied, and stay as they are.
    validation_fraction : float, default 0.1
        Share of the ratings, in (0, 1), that `fit` holds out at random to fit the weights, unless
        it is given validation data.
    weights : sequence of float, optional
        Of the models, one each, where they are known: nothing is held out then, and the constant is
        (1 - sum of weights) times the mean rating. By default `fit` finds them.
    random_state : int, numpy.random.Generator or None, default None
        Seed of what is held out; the models have seeds of their own.
    num_threads : int, default 0
        For `recommend` and `evaluate`; the models train with their own. 0: all that this process
        may use.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that all of the models know.
    models_ : list
        The fitted copies.
    weights_ : ndarray of float64, shape (n_models,)
    constant_ : float

    Notes
    -----
    `predict` adds up what the models predict, each clipped if it has `clip`. Lists, and the scores
    that `recommend` returns, go by the weighted sum before that, which is clipped once.

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

    _rates = True

    models: Sequence[RatingModel] = field(kw_only=False)
    validation_fraction: float = 0.1
    weights: Sequence[float] | None = None
    random_state: int | np.random.Generator | None = None
    num_threads: int = 0

    # Training

    def fit(self, X: Any, y: Any = None, *, validation: Any = None) -> Self:
        """Fit the models and their weights.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
        validation : Ratings or scipy.sparse array or matrix, optional
            Ratings of users and items of `X` to fit the weights on; the models are then fitted to
            `X` once. Without it, a part of `X` is held out for the weights, and the models are
            fitted twice: to the rest, and, once the weights are known, to all of `X`. Of so few
            ratings that the part has none, weights are equal.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If there is no model, one is no model of ratings, or an argument of it is bad.
        """
        self._check_parameters()
        ratings = as_ratings(in_memory(X))
        seed = seed_from(self.random_state)
        with recorded(self, ratings, validation, seed):
            models, weights = self._fit_members(ratings, validation, seed)
            with uninterrupted():
                self.models_, (self.weights_, self.constant_) = models, weights
                self._remember(ratings)
                self._fitted = True
        return self

    def _fit_members(
        self, ratings: Ratings, validation: Any, seed: int
    ) -> tuple[list[RatingModel], tuple[NDArray[np.float64], float]]:
        """Return the fitted models, and their weights and constant."""
        if self.weights is not None:
            given = np.array(self.weights, np.float64)
            return self._fit_copies(ratings), (given, (1 - float(given.sum())) * ratings.mean)
        if validation is not None:
            models = self._fit_copies(ratings)
            return models, self._fit_weights(models, as_ratings(validation))
        if ratings.nnz * self.validation_fraction < 1:  # nothing to choose weights by
            models = self._fit_copies(ratings)
            return models, (np.full(len(models), 1 / len(models)), 0.0)
        part, held_out = train_test_split(
            ratings, test_size=self.validation_fraction, random_state=seed
        )
        weights = self._fit_weights(self._fit_copies(part), held_out)
        return self._fit_copies(ratings), weights

    def _check_parameters(self) -> None:
        if isinstance(self.models, RatingModel) or len(self.models) == 0:
            raise ValueError(
                f"models must be a list of at least one, but it was {shown(self.models)}."
            )
        for model in self.models:
            if not isinstance(model, RatingModel):
                raise TypeError(
                    f"models must be models of ratings, as AutoRec and BiasedMF, "
                    f"but one is a {type(model).__name__}."
                )
            model._check_parameters()
        check_share("validation_fraction", self.validation_fraction)
        if self.weights is not None:
            self._check_weights(self.weights)
        self._num_threads()

    def _check_weights(self, weights: Sequence[float]) -> None:
        if np.ndim(weights) != 1 or len(weights) != len(self.models):
            raise ValueError(
                f"weights must be a list of one number for each of {len(self.models)} models, but "
                f"it was {shown(weights)}."
            )
        for weight in weights:
            check_real("every entry of weights", weight)

    def _copies(self) -> list[RatingModel]:
        return [type(model)(**model.get_params()) for model in self.models]

    def _fit_copies(self, ratings: Ratings) -> list[RatingModel]:
        return [model.fit(ratings) for model in self._copies()]

    def _fit_weights(
        self, models: list[RatingModel], held_out: Ratings
    ) -> tuple[NDArray[np.float64], float]:
        """Return the weights and the constant that do best on held-out ratings."""
        users, items, values, _ = held_out.to_arrays()
        return fit_weights(np.column_stack([m.predict(users, items) for m in models]), values)

    # Prediction

    def _vectors(self) -> Weighted:
        return self._weigh([model._vectors() for model in self.models_])

    def _weigh(self, members: list[Scorable]) -> Weighted:
        return Weighted(tuple(members), tuple(self.weights_.tolist()), self.constant_)

    def _predict_positions(self, users: NDArray[Any], items: NDArray[Any]) -> Floats:
        # of what the models predict, each with its own clipping and default rating
        total = np.full(len(users), self.constant_)
        for weight, model in zip(self.weights_, self.models_, strict=True):
            total += weight * model._predict_positions(users, items)
        return self._finish_scores(total.astype(np.float32))

    def _finish_scores(self, scores: Floats) -> Floats:
        low, high = map(np.float32, self._range)
        return np.clip(scores, low, high)

    def _item_vectors(self) -> Floats:
        # their cosine is the mean of the models' own
        return np.hstack([unit_rows(model._item_vectors()) for model in self.models_])

    # New users and items

    def _fold_users(self, ratings: CSR) -> Weighted:
        return self._weigh([model._fold_users(ratings) for model in self.models_])

    def _fold_items(self, ratings: CSR) -> Weighted:
        return self._weigh([model._fold_items(ratings) for model in self.models_])

    def _scores_without(
        self, row: CSR, which: NDArray[np.int64], other: int, axis: str
    ) -> NDArray[Any]:
        total = np.full(len(which), self.constant_)
        for weight, model in zip(self.weights_, self.models_, strict=True):
            total += weight * model._scores_without(row, which, other, axis)
        return total

    def fold_in(self, X: Any, *, axis: str = "user") -> Self:
        """Add users, or items, to each of the models without training again.

        The weights stay. Where one of the models cannot take them, none does.

        Parameters
        ----------
        X, axis
            As for `AutoRec.fold_in`.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            As for `AutoRec.fold_in`.
        """
        self._check_fitted()
        models = [copy.copy(model).fold_in(X, axis=axis) for model in self.models_]
        shared = {name: getattr(models[0], name) for name in ("_users", "_items", "_seen")}
        self.__dict__.update(models_=models, **shared, **went_on(self, "fold_in"))
        return self

    def _updated(
        self, ratings: Ratings, epochs: int | None, validation: Any, callbacks: Iterable[Callback]
    ) -> Self:
        if validation is not None or list(callbacks):
            raise ValueError(
                "validation and callbacks must not be given to update a Blend, whose weights stay."
            )
        new = copy.copy(self)
        new.models_ = [model._updated(ratings, epochs, None, ()) for model in self.models_]
        new._remember(ratings)
        for model in new.models_:
            model._users, model._items, model._seen = new._users, new._items, new._seen
        new.__dict__.update(went_on(self, "partial_fit"))
        return new

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        shared = super()._without_users(kept)
        gone = np.delete(self._users.ids, kept)
        models = [copy.copy(model).forget(gone) for model in self.models_]
        for model in models:
            model._users, model._seen = shared["_users"], shared["_seen"]
        return {**shared, "models_": models}

    # Files

    def __getstate__(self) -> dict[str, Any]:
        # the models know how they are pickled
        return {n: value for n, value in self.__dict__.items() if n != "_known_odds"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _saved_parameters(self) -> dict[str, Any]:
        models = [_files.description(model) for model in self.models_]
        weights = None if self.weights is None else [float(weight) for weight in self.weights]
        return {**self.get_params(), "models": models, "weights": weights}

    @classmethod
    def _from_saved(cls, parameters: dict[str, Any]) -> Self:
        if not isinstance(parameters.get("models"), list | tuple):
            raise ValueError("a Blend has no list of models")
        return cls(**{**parameters, "models": [_member(one) for one in parameters["models"]]})

    def _tensors(self) -> Tensors:
        tensors = {"weights": self.weights_, "constant": np.array([self.constant_])}
        for number, model in enumerate(self.models_):
            # it may have held out other ratings than this
            own = {"range": np.array(model._range, np.float64), **model._tensors()}
            tensors |= {f"{number}.{name}": array for name, array in own.items()}
        return tensors

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        layout = {"weights": double(len(self.models)), "constant": double(1)}
        for number, model in enumerate(self.models):
            own = model._layout(shape, _part(tensors, number))
            layout |= {f"{number}.{name}": tensor for name, tensor in own.items()}
            layout[f"{number}.range"] = double(2)
        return layout

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        for number, model in enumerate(self.models):
            check_range(tensors[f"{number}.range"])
            model._check_values(shape, _part(tensors, number))

    def _restore(self, tensors: Tensors) -> None:
        self.weights_ = tensors["weights"]
        self.constant_ = float(tensors["constant"][0])
        self.models_ = self._copies()
        for number, model in enumerate(self.models_):
            model._users, model._items, model._seen = self._users, self._items, self._seen
            model._range = check_range(tensors[f"{number}.range"])
            model._restore(_part(tensors, number))
            model._fitted = True


def fit_weights(predicted: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return the weights and the constant that do best on ratings that no model has seen.

    `predicted` has a row for each of them and a column for each model.
    """
    predicted, truth = predicted.astype(np.float64), truth.astype(np.float64)
    models = predicted.shape[1]
    centred = predicted - predicted.mean(axis=0)
    equal = np.full(models, 1 / models)
    ridge = np.sqrt(PENALTY * centred.var(axis=0).mean())
    design = np.vstack([centred, ridge * np.eye(models)])
    # of the weights' distance from equal ones, so that the penalty pulls towards these
    rest = np.concatenate([truth - truth.mean() - centred @ equal, np.zeros(models)])
    weights = equal + np.linalg.lstsq(design, rest, rcond=None)[0]
    return weights, float(truth.mean() - predicted.mean(axis=0) @ weights)


def _part(tensors: Tensors, number: int) -> Tensors:
    """Return the tensors of one model."""
    return part_of(tensors, f"{number}.")


def _member(about: Any) -> Recommender:
    """Make one of the models, not fitted yet, from what a file says of it."""
    if not isinstance(about, dict) or about.keys() != {"model", "parameters"}:
        raise ValueError("one of its models is not described by a model and parameters")
    if about["model"] == Blend.__name__:
        raise ValueError("one of its models is a Blend itself")
    member: Recommender = _files.unfitted(**about, kinds=Recommender._models)
    return member
