"""Matrix factorisation with biases, by alternating least squares or stochastic gradient descent."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import MAX_RATING, read_only
from isthmus._util.checks import check_choice, check_real, check_units
from isthmus.data._csr import CSR, column_counts
from isthmus.data.ratings import Ratings
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._column_prior import residual_variance, strength
from isthmus.models._estimator import with_parameters
from isthmus.models._mf_learner import Learner, scaled_cells
from isthmus.models._rating_model import LEAST_DEVIATION, HeldOut, RatingModel, deviation_of
from isthmus.models._tensors import Layout, Tensors, double, single
from isthmus.training.weights import load_weights

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BiasedMF"]

OPTIMIZERS = ("sgd", "als")
SIDES = ("user", "item")


SHRINKAGE = 0.5
"""What SGD's factors are multiplied by before an update: as trained, they fit what is known so
closely that what is new hardly moves them (J. T. Ash, R. P. Adams, NeurIPS 2020)."""


class _Prior(NamedTuple):
    """What trained users, or items, say about a new one."""

    bias: float
    """Mean of the biases."""
    strength: float
    """How many ratings that mean counts as."""
    scale: float
    """Mean factor n^alpha on a row's penalty."""


@with_parameters
class BiasedMF(RatingModel):
    r"""Matrix factorisation with biases: the baseline that autoencoders are compared with.

    $$
    \hat r_{ui} = \mu + \sigma (b_u + b_i + p_u \cdot q_i), \qquad
    \min \sum_{(u, i)\ observed} (r_{ui} - \hat r_{ui})^2 / \sigma^2
    + \sum_u (\lambda n_u^\alpha \lVert p_u \rVert^2 + \lambda_b b_u^2)
    + \sum_i (\lambda n_i^\alpha \lVert q_i \rVert^2 + \lambda_b b_i^2)
    $$

    where mu is the mean that minimises this together with the biases, all factors being 0, and
    sigma the ratings' standard deviation, so that no parameter depends on their scale; n is the
    number of ratings of a user or an item. Both optimizers minimise the same; what differs is the
    way there, and with it the result, as the problem is not convex. The defaults did best,
    on average, on validation data of eleven sets.

    Parameters
    ----------
    factors : int, default 128
        k, the length of p and q.
    regularization : float, default 0.18
        lambda, at least 0; above 0 for ALS.
    bias_regularization : float or "auto", default "auto"
        lambda_b, at least 0: a bias counts as if there were so many further ratings without one.
        "auto" estimates one for users and one for items: see the notes.
    weighted_regularization : bool or float, default 0.75
        alpha, in [0, 1]: True is 1, and weights the penalty of factors by counts; False is 0, plain
        ridge regression. In between did best wherever it was tried.
    optimizer : {"sgd", "als"}, default "sgd"
        Stochastic gradient descent, or alternating least squares: a sweep solves for every user
        exactly, and then for every item. ALS wants other settings, as those of `BiasedMF.als`.
    learning_rate : float, default 0.03
        Of SGD's steps along half the gradient.
    learning_rate_decay : float, default 0.92
        Factor on the rate after each epoch, in (0, 1].
    epochs : int, default 40
        Passes over the ratings, or sweeps.
    init_scale : float, default 0.1
        Factors start at draws from N(0, init_scale^2 / k).
    default_rating : float, optional
        Predicted where the user or the item had no rating in training. By default, what the
        other's bias makes of the mean.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Loss (mean squared error: SGD's before each step, ALS's after the sweep), seconds and
        validation RMSE of each epoch.
    mean_, scale_ : float
        mu and sigma.
    user_factors_, item_factors_ : ndarray of float32, shape (n_users or n_items, factors)
        p and q; 0 where there was no rating.
    user_bias_, item_bias_ : ndarray of float32, shape (n_users,) and (n_items,)
        b.

    Notes
    -----
    Y. Koren, R. Bell, C. Volinsky: Matrix Factorization Techniques for Recommender Systems, IEEE
    Computer 42 (8), 2009. Weighted regularization: Y. Zhou et al., AAIM 2008; its exponent: S.
    Rendle et al., RecSys 2022. SGD runs on blocks of users x items whose diagonals are taken in
    parallel: R. Gemulla et al., KDD 2011.

    With ``bias_regularization="auto"``, lambda_b of users is the one whose biases, without factors,
    predict each rating best that they are fitted without (leave-one-out), and that of items
    likewise; few ratings hardly move them from 5. Training starts at those biases.

    A new user's bias is drawn as those of trained users are (empirical Bayes): it is regressed
    towards their mean, which counts as (variance of the ratings around the biases) / (variance of
    the users' biases) ratings. The factors bear the penalty of an average user. New items likewise.

    Examples
    --------
    >>> from isthmus import BiasedMF, train_test_split
    >>> from isthmus.data.synthetic import synthetic_ratings
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> train, test = train_test_split(ratings, test_size=0.1, random_state=0)
    >>> model = BiasedMF(factors=8, random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['mae', 'rmse']
    >>> model.predict(ratings.user_ids[:2], ratings.item_ids[:2]).shape
    (2,)
    """

    factors: int = 128
    regularization: float = 0.18
    bias_regularization: float | Literal["auto"] = "auto"
    weighted_regularization: bool | float = 0.75
    optimizer: str = "sgd"
    learning_rate: float = 0.03
    learning_rate_decay: float = 0.92
    epochs: int = 40
    init_scale: float = 0.1
    clip: bool = True

    _in_core = ("_model", "_loaded")
    _structural = ("factors",)
    _update_share = 0.2

    _model: Any = field(init=False, default=None)
    _loaded: dict[str, Floats] | None = field(init=False, default=None)
    """Weights from a file or of a fold-in, until training needs them in the core."""

    @classmethod
    def als(cls, **params: Any) -> Self:
        """Make a model with the settings that do best with alternating least squares.

        Parameters
        ----------
        **params
            Arguments of the constructor that are to differ from them.

        Examples
        --------
        >>> BiasedMF.als(factors=64).optimizer
        'als'
        """
        best: dict[str, Any] = {
            "optimizer": "als",
            "regularization": 0.95,
            "weighted_regularization": 0.5,
            "epochs": 4,
        }
        return cls(**{**best, **params})

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_units("factors", self.factors)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        exact = self.optimizer == "als"
        check_real("regularization", self.regularization, low=0, open_low=exact)
        check_real("bias_regularization", self.bias_regularization, low=0, others=("auto",))
        if not isinstance(self.weighted_regularization, bool | np.bool_):
            check_real("weighted_regularization", self.weighted_regularization, low=0, high=1)
        check_real("learning_rate_decay", self.learning_rate_decay, low=0, high=1, open_low=True)
        check_real("init_scale", self.init_scale, low=0, open_low=True)

    # Training

    def _initialize(self, ratings: Ratings) -> None:
        self._scale = deviation_of(ratings)
        self._loaded = None
        self._model = _core.BiasedMF(
            ratings.n_users,
            ratings.n_items,
            int(self._structure.factors),
            mean=ratings.mean / self._scale,
            scale=float(self.init_scale),
            seed=self._seed,
            num_threads=self._num_threads(),
        )

    def _grow(self, ratings: Ratings) -> None:
        super()._grow(ratings)
        if self._structure.optimizer == "sgd":
            weights = dict(self._weights())
            for side in SIDES:
                weights[f"{side}_factors"] = weights[f"{side}_factors"] * np.float32(SHRINKAGE)
            self._loaded, self._model = weights, None

    def _learner(self, ratings: Ratings) -> Learner:
        model = self._in_training()
        learner = Learner(
            model,
            self._structure,
            ratings,
            scale=self._scale,
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        self._mean = learner.mean
        # rows and columns without ratings would predict their random first weights
        for side, count in _counts(ratings).items():
            model.weights()[f"{side}_factors"][count == 0] = 0.0
            model.weights()[f"{side}_bias"][0, count == 0] = 0.0
        return learner

    def _validate(self, learner: Learner, held_out: HeldOut) -> dict[str, float]:
        return self._measure(self._vectors(), held_out)

    def _finish(self, learner: Learner) -> None:
        """Learn what new users and items are like from the trained ones."""
        ratings = learner.ratings
        weights = self._weights()
        bias = {side: weights[f"{side}_bias"] for side in SIDES}
        noise = residual_variance(
            ratings.rows("user"),
            lambda users, items: (
                self._mean + self._scale * (bias["user"][users] + bias["item"][items])
            ),
        )
        self._priors = {}
        for side, count in _counts(ratings).items():
            trained = bias[side][count > 0].astype(np.float64)
            scales = count[count > 0] ** float(self._structure.weighted_regularization)
            self._priors[side] = _Prior(
                bias=float(trained.mean()),
                strength=strength(noise / self._scale**2, float(trained.var())),
                scale=float(scales.mean()),
            )

    # Prediction

    def _vectors(self) -> Vectors:
        weights = self._weights()
        return Vectors(
            weights["user_factors"],
            weights["item_factors"],
            user_bias=weights["user_bias"],
            item_bias=weights["item_bias"],
            user_offset=np.full(len(weights["user_factors"]), self._mean, np.float32),
            scale=1 / self._scale,
        )

    # New users and items

    def _solve(self, ratings: CSR, columns: str) -> tuple[Floats, Floats]:
        """Return factors and biases of new rows; those of the columns ("user" or "item") are fixed.

        Factors have the mean penalty of trained rows, as the penalty of a row with few ratings is
        made for training. A bias has the trained rows' distribution as its prior.
        """
        weights = self._weights()
        prior = self._priors["user" if columns == "item" else "item"]
        factors, bias = _core.solve_rows(
            scaled_cells(ratings, self._scale),
            weights[f"{columns}_factors"],
            weights[f"{columns}_bias"],
            mean=self._mean / self._scale + prior.bias,
            # SGD may do without a penalty, but a regression on fewer ratings than factors may not
            regularization=max(float(self._structure.regularization), 1e-3) * prior.scale,
            bias_regularization=prior.strength,
            weighting=0.0,
            num_threads=self._num_threads(),
        )
        bias[np.diff(ratings.indptr) > 0] += np.float32(prior.bias)
        return factors, bias

    def _fold_users(self, ratings: CSR) -> Vectors:
        factors, bias = self._solve(ratings, "item")
        means = np.full(len(bias), self._mean, np.float32)
        return self._vectors()._replace(users=factors, user_bias=bias, user_offset=means)

    def _fold_items(self, ratings: CSR) -> Vectors:
        factors, bias = self._solve(ratings, "user")
        return self._vectors()._replace(items=factors, item_bias=bias)

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        factors, bias = self._solve(ratings, "item" if axis == "user" else "user")
        grown = dict(self._weights())
        grown[f"{axis}_factors"] = np.vstack([grown[f"{axis}_factors"], factors])
        grown[f"{axis}_bias"] = np.hstack([grown[f"{axis}_bias"], bias])
        return {**super()._fold_in(ratings, axis), "_loaded": grown, "_model": None}

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        left = dict(self._weights())
        for name in ("user_factors", "user_bias"):
            left[name] = left[name][kept]
        return {**super()._without_users(kept), "_loaded": left, "_model": None}

    # Fitted arrays

    def _weights(self) -> dict[str, Floats]:
        if self._loaded is not None:
            return self._loaded
        return {
            name: array[0] if name.endswith("bias") else array
            for name, array in self._model.weights().items()
        }

    def _weight(self, name: str) -> Floats:
        self._check_fitted()
        return read_only(self._weights()[name])

    @property
    def mean_(self) -> float:
        """What is predicted of a typical user and a typical item, whose biases are 0."""
        self._check_fitted()
        return self._mean

    @property
    def scale_(self) -> float:
        """Standard deviation of the ratings that `fit` was given."""
        self._check_fitted()
        return self._scale

    @property
    def user_factors_(self) -> Floats:
        """A row p per user."""
        return self._weight("user_factors")

    @property
    def item_factors_(self) -> Floats:
        """A row q per item."""
        return self._weight("item_factors")

    @property
    def user_bias_(self) -> Floats:
        """Bias of every user."""
        return self._weight("user_bias")

    @property
    def item_bias_(self) -> Floats:
        """Bias of every item."""
        return self._weight("item_bias")

    # Files

    def _tensors(self) -> Tensors:
        scale = {"scale": np.array([self._scale])}
        priors = {f"{side}_prior": np.array(prior) for side, prior in self._priors.items()}
        return {**self._weights(), **scale, **priors, **self._training_tensors()}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        layout = {"scale": double(1), **super()._layout(shape, tensors)}
        for side, n in zip(SIDES, shape, strict=True):
            layout[f"{side}_factors"] = single(n, int(self.factors))
            layout[f"{side}_bias"] = single(n)
            layout[f"{side}_prior"] = double(len(_Prior._fields))
        return layout

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        scale = tensors["scale"][0]
        if not LEAST_DEVIATION < scale <= MAX_RATING:
            raise ValueError(
                f"scale must be above {LEAST_DEVIATION:g} and at most {MAX_RATING:g}, "
                f"but it is {scale:g}"
            )
        for side in SIDES:
            prior = _Prior(*tensors[f"{side}_prior"].tolist())
            if prior.strength < 0 or prior.scale < 0:
                raise ValueError(f"{side}_prior must not have a strength or a scale below 0")

    def _restore(self, tensors: Tensors) -> None:
        self._restore_training(tensors)
        self._scale = float(tensors["scale"][0])
        self._priors = {side: _Prior(*tensors[f"{side}_prior"].tolist()) for side in SIDES}
        self._model = None
        self._loaded = {
            f"{side}_{what}": tensors[f"{side}_{what}"]
            for side in SIDES
            for what in ("factors", "bias")
        }

    def _in_training(self) -> _core.BiasedMF:
        """Return the core's model, with the current weights."""
        if self._loaded is not None:
            weights = self._loaded
            users, items = weights["user_factors"], weights["item_factors"]
            self._model = _core.BiasedMF(
                *(len(users), len(items), int(self._structure.factors)),
                mean=self._mean / self._scale,
                scale=0.0,
                seed=0,
            )
            self._loaded = None
            load_weights(self._weights(), weights)
        model: _core.BiasedMF = self._model
        return model


def _counts(ratings: Ratings) -> dict[str, NDArray[np.int64]]:
    """Count the ratings of every user and of every item."""
    return {
        "user": np.diff(ratings.indptr),
        "item": column_counts(ratings.indices, ratings.n_items),
    }
