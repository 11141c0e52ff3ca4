"""What every model shares: prediction, evaluation, recommendation, new users and items, files."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus._util.checks import check_choice, check_integer
from isthmus.data._alignment import cells_among, check_same_users, pattern_among, rows_among
from isthmus.data._csr import CSR, append, as_scipy, select_rows
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data.ratings import Ratings, as_ratings
from isthmus.evaluation.choice import Allowed, allowed_items
from isthmus.evaluation.evaluate import (
    ERRORS,
    align_known,
    align_new,
    error_of,
    left_out,
    mean_of_users,
    parse_wanted,
)
from isthmus.evaluation.explanation import Explanation
from isthmus.evaluation.odds import Odds, rated_odds
from isthmus.evaluation.ranking import RankingMetric, parse_metrics, rank, with_training
from isthmus.evaluation.recommend import ids_at, scores_at, top_items
from isthmus.evaluation.scores import Floats, Scorable, Vectors, Weighted, dot_vectors, unit_rows
from isthmus.exceptions import NotFittedError
from isthmus.models import _asking, _explaining, _files
from isthmus.models._estimator import Estimator
from isthmus.models._receipts import Receipt, went_on
from isthmus.models._tensors import Layout, Tensors, check_layout
from isthmus.models._updating import as_they_are_now, refuse_epochs
from isthmus.training.loop import Callback

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Recommender"]

ORDERS = ("likely", "rating")


class Recommender(Estimator):
    """Base of all models; for examples of the methods see `AutoRec`.

    A subclass stores its keyword-only constructor arguments untouched, checks them in `fit`, and
    implements what is listed at the end of this class.
    """

    _in_core: ClassVar[tuple[str, ...]] = ()
    """Attributes that live in the core; pickles hold what `_tensors` returns instead."""

    _split_by: ClassVar[Literal["rating", "user"]] = "rating"
    """Whether validation data is split off by ratings or by users."""

    _default_metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae")
    """What `evaluate` measures by default. If a model's scores are no ratings, there are no errors
    here, and `evaluate` refuses them."""

    _rates: ClassVar[bool] = False
    """Whether scores are ratings, which do not say how likely a user is to rate an item."""

    _default_ranking: ClassVar[tuple[str, ...]] = ("ndcg@10", "recall@10", "precision@10")

    _models: ClassVar[dict[str, type[Recommender]]] = {}
    """Every model by its name, for files that say which one they hold."""

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            Recommender._models[cls.__name__] = cls

    @property
    def _weighs_values(self) -> bool:
        """Return whether each cell counts by its value, as numbers of plays do."""
        return not self._rates and getattr(self, "weights", None) is not None

    @property
    def _reads_values(self) -> bool:
        """Return whether scores depend on the values of a user's cells, which it does not keep."""
        return self._rates or self._weighs_values

    # What training leaves behind

    _fitted = False
    """Whether the model can predict."""
    _users: IdIndex
    _items: IdIndex
    _seen: CSR
    """Where each user has ratings; its values are empty."""
    _range: tuple[float, float]
    """Lowest and highest rating of training."""
    _known_odds: tuple[CSR, Odds] | None = None
    """The odds of being rated, once computed, and the seen cells that they come from."""

    _receipt: Receipt | None = None
    """How the model was trained; None if `fit` writes no receipt."""

    def _remember(self, ratings: Ratings) -> None:
        """Keep what prediction needs of the training data: ids, seen items, the scale's ends."""
        self._users = IdIndex(ratings.user_ids, "user")
        self._items = IdIndex(ratings.item_ids, "item")
        self._range = (ratings.min, ratings.max)
        self._see(ratings)

    def _see(self, ratings: Ratings) -> None:
        """Keep which items every user has had."""
        self._seen = CSR(ratings.indptr, ratings.indices, np.empty(0, np.float32), ratings.shape)

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet; call fit first.")

    @property
    def receipt_(self) -> Receipt | None:
        """How the model was trained: its data's fingerprint, the seed, the program, the time.

        None if a file of an older format does not have it.
        """
        self._check_fitted()
        return self._receipt

    @property
    def user_ids_(self) -> IdArray:
        """Ids of the users that the model knows, in its own order."""
        self._check_fitted()
        return self._users.ids

    @property
    def item_ids_(self) -> IdArray:
        """Ids of the items that the model knows, in its own order."""
        self._check_fitted()
        return self._items.ids

    # Prediction

    def predict(self, users: ArrayLike, items: ArrayLike) -> Floats:
        """Predict the ratings of user and item pairs.

        Parameters
        ----------
        users, items : int, str or array_like of either
            Ids as in the training data; the two are broadcast against each other.

        Returns
        -------
        ndarray of float32
            In the broadcast shape of `users` and `items`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, or the shapes do not fit each other.
        """
        self._check_fitted()
        rows = self._users.positions(users, "users")
        columns = self._items.positions(items, "items")
        try:
            rows, columns = np.broadcast_arrays(rows, columns)
        except ValueError:
            raise ValueError(
                f"users and items must have shapes that fit each other, "
                f"but they are {rows.shape} and {columns.shape}."
            ) from None
        return self._predict_positions(rows.ravel(), columns.ravel()).reshape(rows.shape)

    def _predict_positions(self, users: NDArray[Any], items: NDArray[Any]) -> Floats:
        pairs = (users.astype(np.int32), items.astype(np.int32))
        scores = self._vectors().scorer().score_pairs(*pairs, num_threads=self._num_threads())
        return self._finish_predictions(scores, users, items)

    # Lists

    def recommend(
        self,
        users: ArrayLike | None = None,
        n: int = 10,
        *,
        ratings: Any = None,
        exclude_seen: bool = True,
        candidates: Any = None,
        exclude: Any = None,
        order: str = "likely",
    ) -> tuple[IdArray, Floats]:
        """Find the items that each user is likeliest to want.

        Parameters
        ----------
        users : int, str or array_like of either, optional
            Ids of users of the training data; all of them, in the model's order, by default.
        n : int, default 10
            Items to recommend to a user.
        ratings : Ratings or scipy.sparse array or matrix, shape (n_new_users, n_items), optional
            Recommend to these users, who need not have been in training, from these ratings; the
            model stays as it is. Not together with `users`.
        exclude_seen : bool, default True
            Whether to leave out what a user has a rating of (in training, or in `ratings`).
        candidates : optional
            What to choose from; all items by default. Ids of items (array_like of int or str) are
            for all users alike. A list of lists of ids has one for each user in the order of the
            result; a two-dimensional array may end its rows in -1 or "", as results do. Ratings and
            SciPy's sparse matrices have a user's items as their stored cells, and the model's users
            and items, or the users of `ratings` in the same order.
        exclude : optional
            What else to leave out, besides what a user has seen; as for `candidates`.
        order : {"likely", "rating"}, default "likely"
            What a model of ratings puts first: what a user is likely to rate, and to rate high; or
            the highest predicted ratings, many of which are of items that hardly anybody knows.
            Other models have one order, by their scores: "likely".

        Returns
        -------
        ids : ndarray, shape (n_users, n)
            Item ids, best first; equals in the model's order of items. Where fewer than n items are
            left, the list ends in -1 (integer ids) or "" (string ids).
        scores : ndarray of float32, shape (n_users, n)
            Their scores, and NaN where the list has ended. Those of a model of ratings are
            predicted ratings in any order, and so may rise along a list. For one id in `users`,
            both are of shape (n,).

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If an id is unknown, `n` is below 1, the model has no such order, or `candidates` or
            `exclude` does not have a list for each user.

        Notes
        -----
        "likely" ranks by the predicted rating plus a quarter of the scale's width times the log
        odds that the user rates the item. The odds are those of the item, by its share of users,
        and of the user, by what else those who rated the same have rated (see "Lists from models of
        ratings" in the documentation). They are computed at the first list, and kept.
        """
        self._check_fitted()
        check_integer("n", n, low=1)
        self._check_order(order)
        if ratings is not None and users is not None:
            raise ValueError("users and ratings must not both be given, but they were.")
        wanted = None if users is None else self._users.positions(users, "users")
        if ratings is not None:
            seen = self._rows_among(ratings, "ratings", axis="user")
            scores = self._fold_users(seen)
        else:
            chosen = None if wanted is None else wanted.reshape(-1)
            scores = self._vectors().take(users=chosen)
            seen = self._seen if chosen is None else select_rows(self._seen, chosen)

        def pattern(X: Any, name: str) -> CSR:
            if ratings is None:
                cells = self._known_pattern(X, name)
                return cells if wanted is None else select_rows(cells, wanted.reshape(-1))
            cells = self._rows_among(X, name, axis="user")
            check_same_users(ratings, seen, X, cells, name, of="ratings")
            return cells

        allowed = allowed_items(
            *(candidates, exclude),
            seen=seen,
            exclude_seen=exclude_seen,
            items=self._items,
            pattern=pattern,
        )
        positions, values = self._lists(scores, n, order, had=seen, allowed=allowed)
        ids = ids_at(self._items.ids, positions)
        return (ids[0], values[0]) if wanted is not None and wanted.ndim == 0 else (ids, values)

    def _lists(
        self, scores: Scorable, n: int, order: str, *, had: CSR, allowed: Allowed
    ) -> tuple[NDArray[np.int32], Floats]:
        """Return positions and scores of users' lists, which end in -1 and NaN.

        `had` is what the users have rated.
        """
        ranked = self._ranked_by(scores, had, order)
        positions, values = top_items(ranked, n, allowed, num_threads=self._num_threads())
        if ranked is not scores:
            values = scores_at(scores, positions, num_threads=self._num_threads())
        return positions, self._finish_scores(values)

    def _check_order(self, order: str) -> None:
        check_choice("order", order, ORDERS)
        if order == "rating" and not self._rates:
            raise ValueError(
                f'order must be "likely" for {type(self).__name__}, whose scores are no ratings, '
                f'but it was "rating".'
            )

    def _ranked_by(self, scores: Scorable, had: CSR, order: str) -> Scorable:
        """Return the scores to order items by, of users who have rated the cells of `had`."""
        if not self._rates or order == "rating":
            return scores
        low, high = self._range
        # in units of the ratings, so that the order does not depend on their scale
        unit = (high - low) / 4 if high > low else 1.0
        return Weighted((scores, self._odds().of(had)), (1.0, unit), 0.0)

    def _odds(self) -> Odds:
        seen = self._seen
        if self._known_odds is None or self._known_odds[0] is not seen:
            self._known_odds = seen, rated_odds(seen)
        return self._known_odds[1]

    def similar_items(self, items: ArrayLike, n: int = 10) -> tuple[IdArray, Floats]:
        """Find the items that are most like some.

        Parameters
        ----------
        items : int, str or array_like of either
            Ids.
        n : int, default 10

        Returns
        -------
        ids : ndarray, shape (n_items, n)
            Most similar first, without the item itself; short lists end as those of `recommend`.
        scores : ndarray of float32, shape (n_items, n)
            Cosines of the items' vectors, unless the model has a similarity of its own. For one id
            in `items`, both are of shape (n,).

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, or `n` is below 1.
        """
        self._check_fitted()
        check_integer("n", n, low=1)
        wanted = self._items.positions(items, "items")
        chosen = wanted.reshape(-1)
        itself = CSR(
            np.arange(len(chosen) + 1, dtype=np.int64),
            chosen.astype(np.int32),
            np.empty(0, np.float32),
            (len(chosen), len(self._items)),
        )
        positions, scores = top_items(
            self._similarity(chosen), n, Allowed(itself), num_threads=self._num_threads()
        )
        ids = ids_at(self._items.ids, positions)
        return (ids[0], scores[0]) if wanted.ndim == 0 else (ids, scores)

    # Explanations

    def explain(
        self,
        user: int | str,
        item: int | str,
        n: int | None = 10,
        *,
        ratings: Any = None,
        axis: str = "user",
    ) -> Explanation:
        """Find the ratings that a score owes most to, by what it would be without each.

        The user's ratings are folded in, all of them and then all but one, and the scores compared.
        This is exact: nothing is fitted to the model's scores. The trained parts of the model stay
        as they are, as in `fold_in`.

        Parameters
        ----------
        user, item : int or str
            Ids. The user need not have been in training, if `ratings` are given.
        n : int or None, default 10
            Effects to list, the greatest in size first; None lists all.
        ratings : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Where to take the user's ratings from. A model of ratings needs them, as it keeps what a
            user has rated, but not how high. Others take by default what they were trained on. Of a
            matrix, `user` is a row.
        axis : {"user", "item"}, default "user"
            Whose ratings are taken away. With "item", they are those that others gave the item,
            which may be new (of a matrix, `item` is a column), and the user is one that the model
            knows.

        Returns
        -------
        Explanation
            With ids, ratings and effects, the score, and the remainder of the sum.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If an id is unknown, there are no ratings, `n` is below 1, or the model cannot fold in
            new users (or items, with ``axis="item"``).

        Notes
        -----
        The score is that of someone new with these ratings, as ``recommend(ratings=...)`` gives it,
        but before clipping. For someone of training it may differ from `predict`, which uses
        what training fitted to this very user: the own node of CDAE, the factors of `BiasedMF`, the
        weights of a column of `AutoRec` and `DualAutoRec`.

        Examples
        --------
        >>> from isthmus import EASE, synthetic_ratings
        >>> model = EASE().fit(synthetic_ratings(200, 100, 5000, random_state=0))
        >>> explanation = model.explain(user=7, item=12, n=3)
        >>> len(explanation.ids)
        3
        """
        self._check_fitted()
        return _explaining.explain(self, user, item, n, ratings=ratings, axis=axis)

    def _scores_without(
        self, row: CSR, which: NDArray[np.int64], other: int, axis: str
    ) -> NDArray[Any]:
        """Return the scores without each of some of a row's cells.

        The row is of a new user, and `other` the position of an item, or the other way round.
        """
        return _explaining.scores_without(self, row, which, other, axis)

    # Questions

    def informative_items(self, n: int = 20, *, candidates: Any = None) -> IdArray:
        """Choose items to ask a newcomer to rate: those whose ratings say most about all others.

        Of models of ratings. The items are chosen one by one, by how much an answer should lower
        the error for a user's other items, given the earlier answers. Somebody who does not know an
        item cannot answer, so that an item must be known to many as well as informative.

        Parameters
        ----------
        n : int, default 20
            Items to choose; fewer, if there are no more candidates.
        candidates : int, str or array_like of either, optional
            Ids of the items to choose from; all by default.

        Returns
        -------
        ndarray, shape (n,)
            Item ids, in the order in which to ask.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the model is not one of ratings, `n` is below 1, or an id is unknown.

        Notes
        -----
        Greedy Bayesian design for the least mean variance (K. Chaloner, I. Verdinelli: Bayesian
        Experimental Design: A Review, Statistical Science 1995). A newcomer's ratings are assumed
        normal, with the covariance of the predictions for 500 users of training, of rank 16, and a
        noise whose deviation is a quarter of the scale's width. The fall of the variance is a mean
        over 500 users, who answer what they have rated. Instead of actual answers, it uses their
        average information: measured on newcomers, that chose better than their own ratings.

        Examples
        --------
        >>> from isthmus import BiasedMF, synthetic_ratings
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> model = BiasedMF(factors=8, random_state=0).fit(ratings)
        >>> len(model.informative_items(5))
        5
        """
        self._check_fitted()
        return _asking.informative_items(self, n, candidates)

    # Vectors, for indexes of nearest neighbours

    def user_vectors(self, *, ratings: Any = None, order: str = "likely") -> Floats:
        """Return a vector of each user; dot products with `item_vectors` rank as `recommend` does.

        Parameters
        ----------
        ratings : Ratings or scipy.sparse array or matrix, shape (n_new_users, n_items), optional
            Of users who need not have been in training, as for `recommend`.
        order : {"likely", "rating"}, default "likely"
            As for `recommend`.

        Returns
        -------
        ndarray of float32, shape (n_users, d)
            In the order of `user_ids_`, or of the users of `ratings`. Dot products are no scores:
            what is the same for all items of a user is left out, and what a user has seen is not.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the model ranks by something else than dot products, as `EASE` and `RBM` do.
        """
        self._check_fitted()
        self._check_order(order)
        if ratings is None:
            return self._dot_vectors(self._vectors(), self._seen, order)[0]
        seen = self._rows_among(ratings, "ratings", axis="user")
        return self._dot_vectors(self._fold_users(seen), seen, order)[0]

    def item_vectors(self, *, order: str = "likely") -> Floats:
        """Return a vector of each item, in the order of `item_ids_`; see `user_vectors`."""
        self._check_fitted()
        self._check_order(order)
        no_user = np.empty(0, np.int64)
        scores, seen = self._vectors().take(users=no_user), select_rows(self._seen, no_user)
        return self._dot_vectors(scores, seen, order)[1]

    def _dot_vectors(self, scores: Scorable, had: CSR, order: str) -> tuple[Floats, Floats]:
        found = dot_vectors(self._ranked_by(scores, had, order))
        if found is None:
            raise ValueError(
                f"{type(self).__name__} must rank by dot products to have vectors, but with these "
                f"parameters it does not; recommend finds its lists."
            )
        return found

    def _similarity(self, items: NDArray[np.int64]) -> Scorable:
        """Return how similar some items are to all items, as scores."""
        unit = unit_rows(self._item_vectors())
        return Vectors(unit[items], unit)

    def _item_vectors(self) -> Floats:
        vectors = self._vectors()
        assert isinstance(vectors, Vectors)
        return vectors.items

    # Evaluation

    def evaluate(
        self,
        test: Any,
        metrics: str | Iterable[str] | None = None,
        *,
        ratings: Any = None,
        exclude_seen: bool = True,
        exclude: Any = None,
        candidates: Any = None,
        order: str = "likely",
    ) -> dict[str, float]:
        """Measure predictions, or rankings, on held-out ratings.

        Parameters
        ----------
        test : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            For errors, every stored cell counts alike: they are global, not means over users. For
            rankings, every stored cell is an item that should rank high, whatever its value;
            `Ratings.binarize` keeps those of a value.
        metrics : str or iterable of str, optional
            "rmse", "mae" (of models that predict ratings), or a metric of rankings at a cut-off, as
            "ndcg@10" or "recall@20", which is a mean over users with a test rating: see
            `isthmus.evaluation.ranking.METRICS`. By default those that fit the model.
        ratings : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Rank for users who need not have been in training, from these ratings; `test` has the
            same users in the same order. Not for rmse and mae.
        exclude_seen : bool, default True
            Whether to leave out of the ranking what a user has in training, or in `ratings`.
        exclude : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Further cells to leave out, as those of the validation part.
        candidates : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Rank only a user's stored cells of this, and the test items; all items by default.
        order : {"likely", "rating"}, default "likely"
            What a model of ratings ranks by, as in `recommend`.

        Returns
        -------
        dict
            Values by metric, in the order of `metrics`; errors in units of the ratings.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If a metric is unknown or not one of the model's, `test` has users or items that the
            model does not know, or what is left out of a ranking is in `test`.
        """
        self._check_fitted()
        self._check_order(order)
        wanted = self._wanted_metrics(metrics)
        ranked = [metric for metric in wanted if isinstance(metric, RankingMetric)]
        values: dict[str, float] = {}
        if len(ranked) < len(wanted):
            if ratings is not None:
                raise ValueError(
                    "ratings must not be given for rmse and mae, which need known users."
                )
            users, items, truth = self._known_cells(test, "test")
            predicted = self._predict_positions(users, items)
            values = {
                label: ERRORS[error_of(label)](truth, predicted)
                for label in wanted
                if isinstance(label, str)
            }
        if ranked:
            options = (ratings, exclude_seen, exclude, candidates, order)
            _, per_user = self._rank(test, ranked, *options)
            values |= {label: mean_of_users(array) for label, array in per_user.items()}
        labels = (metric if isinstance(metric, str) else metric.label for metric in wanted)
        return {label: values[label] for label in labels}

    def score(self, X: Any, y: Any = None) -> float:
        """Return how good the model is on held-out ratings, the higher the better.

        It is what scikit-learn's `cross_val_score` and `GridSearchCV` go by, with `RatingKFold`.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
        y : None
            Not used; here for scikit-learn.

        Returns
        -------
        float
            The first metric that `evaluate` measures by default: RMSE, with its sign turned, or
            NDCG@10.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `evaluate` does.
        """
        name = self._default_metrics[0]
        value = self.evaluate(X, name)[name]
        return -value if error_of(name) else value

    def evaluate_forms(
        self, test: Any, metrics: str | Iterable[str] | None = None
    ) -> dict[str, float]:
        """Measure rankings of the users with a test rating in both published forms.

        *masked* is what `evaluate` gives: what a user has in training is left out, and the test
        items are to be found among all others. In *paper*, as several papers on content have it,
        nothing is left out, and the training items are to be found as well as the test items:
        recall is the share of all of a user's items that is in the list. That rewards remembering
        the training part, the more so the less of a user's items is in testing.

        Parameters
        ----------
        test, metrics
            As for `evaluate`, but metrics are of rankings alone.

        Returns
        -------
        dict
            Values by metric and form, as "recall@50 (paper)" and "recall@50 (masked)".

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `evaluate` does.
        """
        asked = metrics if metrics is not None else self._default_ranking
        chosen = [metric.label for metric in parse_metrics(asked)]
        values = {
            "paper": self.evaluate(self._with_training(test), chosen, exclude_seen=False),
            "masked": self.evaluate(test, chosen),
        }
        return {
            f"{label} ({form})": value
            for form, found in values.items()
            for label, value in found.items()
        }

    def _with_training(self, test: Any) -> Ratings:
        """Return the test cells, and the training cells of the users who have one."""
        cells = with_training(self._known_pattern(test, "test"), self._seen)
        return Ratings.from_matrix(
            as_scipy(cells), user_ids=self._users.ids, item_ids=self._items.ids
        )

    def evaluate_users(
        self,
        test: Any,
        metrics: str | Iterable[str] | None = None,
        *,
        ratings: Any = None,
        exclude_seen: bool = True,
        exclude: Any = None,
        candidates: Any = None,
        order: str = "likely",
    ) -> tuple[IdArray, dict[str, NDArray[np.float64]]]:
        """Measure each user's ranking; `evaluate` gives the means of this.

        Parameters
        ----------
        test, metrics, ratings, exclude_seen, exclude, candidates, order
            As for `evaluate`, but metrics are of rankings alone, and coverage has no users.

        Returns
        -------
        users : ndarray
            Ids of the users with a test rating.
        values : dict of str to ndarray of float64
            By metric, one value each.
        """
        chosen = parse_metrics(metrics if metrics is not None else self._default_ranking)
        if any(metric.name == "coverage" for metric in chosen):
            raise ValueError("metrics must not include coverage, which no single user has.")
        self._check_fitted()
        self._check_order(order)
        return self._rank(test, chosen, ratings, exclude_seen, exclude, candidates, order)

    def _wanted_metrics(
        self, metrics: str | Iterable[str] | None, name: str = "metrics"
    ) -> list[str | RankingMetric]:
        """Read metrics of this model: errors stay as they were written (see `error_of`)."""
        own = [error for error in ERRORS if error in self._default_metrics]
        wanted = self._default_metrics if metrics is None else metrics
        return parse_wanted(wanted, name, errors=own, model=type(self).__name__)

    def _rank(
        self,
        test: Any,
        metrics: list[RankingMetric],
        ratings: Any,
        exclude_seen: bool,
        exclude: Any,
        candidates: Any,
        order: str,
    ) -> tuple[IdArray, dict[str, NDArray[np.float64]]]:
        """Return ids of the users with test ratings, and their metrics."""
        if ratings is None:
            parts = align_known(self._known_pattern, self._seen, test, candidates, exclude)
            ids = self._users.ids
        else:
            parts = align_new(self._rows_among, ratings, test, candidates, exclude)
            ids = as_ratings(test, "test").user_ids
        users = np.flatnonzero(np.diff(parts.positives.indptr))
        if len(users) < parts.positives.shape[0]:
            parts, ids = parts.take(users), ids[users]
        source = "training" if ratings is None else "ratings"
        seen = left_out(parts, exclude_had=exclude_seen, source=source)
        if ratings is not None:
            scores = self._fold_users(parts.had)
        elif len(users) < len(self._users):
            scores = self._vectors().take(users=users)
        else:
            scores = self._vectors()
        return ids, rank(
            self._ranked_by(scores, parts.had, order).scorer(),
            metrics,
            parts.positives,
            seen=seen,
            lists=parts.lists,
            num_threads=self._num_threads(),
        )

    # Users and items that come after training

    def fold_in(self, X: Any, *, axis: str = "user") -> Self:
        """Add users, or items, without training again.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            Ratings of new users for items that the model knows or, with ``axis="item"``, ratings
            of new items by users that it knows. A matrix's new rows or columns get the next
            integers as ids, and its other axis is the model's own.
        axis : {"user", "item"}, default "user"
            What is new.

        Returns
        -------
        self
            Which now knows the new ids.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a new id is already known, or an old one is not.
        """
        self._check_fitted()
        check_choice("axis", axis, ("user", "item"))
        new = self._users if axis == "user" else self._items
        rows = self._rows_among(X, "X", axis=axis)
        if isinstance(X, Ratings):
            ids = X.user_ids if axis == "user" else X.item_ids
            new.check_new(ids, "X")
        else:
            ids = new.next_ids(rows.shape[0], "X")
        # all at once, so that an error leaves the model as it was
        grown = {**self._fold_in(rows, axis), f"_{axis}s": new.extended(ids)}
        self.__dict__.update({**grown, **went_on(self, "fold_in")})
        return self

    def update(
        self,
        X: Any,
        *,
        epochs: int | None = None,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
    ) -> Self:
        """Train on with all ratings as they are now, of known and of new users and items at once.

        A model that is trained in epochs takes new users and items in, and goes through its course
        of learning rates once more, in fewer epochs. Other models are fitted again, and those of a
        `Blend` updated one by one. An error, or Ctrl-C, leaves the model as it was.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            All ratings, old and new, of users and items that the model knows or does not; those
            that it knows keep their place, also without ratings. Of a matrix, positions are ids.
        epochs : int, optional
            Of models that are trained in epochs. By default, two for each five that `fit` had;
            for each ten, two of `BiasedMF` and `CDAE`, and one of other models of implicit
            feedback.
        validation, callbacks
            As for `fit`, of models that are trained in epochs.

        Returns
        -------
        self
            Which now knows the new users and items.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If an argument is invalid, or the model cannot take in such new users or items.
        ConvergenceError
            If training diverges.

        Examples
        --------
        >>> import numpy as np
        >>> from isthmus import AutoRec, synthetic_ratings
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> yesterday = ratings.select(np.arange(5000) < 4000)
        >>> model = AutoRec(hidden_units=(20,), random_state=0).fit(yesterday)
        >>> len(model.update(ratings).history_)
        21
        """
        self._check_fitted()
        new = self._updated(as_they_are_now(self, X), epochs, validation, callbacks)
        self.__dict__ = {**vars(new), **self.get_params(deep=False)}
        return self

    def _updated(
        self, ratings: Ratings, epochs: int | None, validation: Any, callbacks: Iterable[Callback]
    ) -> Self:
        """Return a model of these ratings, whose first users and items are those of this model."""
        refuse_epochs(self, epochs, callbacks)
        return type(self)(**self.get_params()).fit(ratings, validation=validation)

    def forget(self, users: ArrayLike) -> Self:
        """Drop users at once: ids, seen items, and what the model holds for each of them alone.

        What training learnt from all users together still contains their part: the weights that
        users share, means, biases and codes of items, the ends of the scale. It is gone after `fit`
        on the data without them. The exception is `EASE`, whose weights become those of such a fit.

        Parameters
        ----------
        users : int, str or array_like of either
            Ids. Some of them may have been folded in.

        Returns
        -------
        self
            Which no longer knows them. Files that were saved before are not touched.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, or no user would be left.

        Notes
        -----
        What goes: of `AutoRec` and `RBM` a user's code, or the weights and biases of the user's
        column; of `DualAutoRec` both; of `BiasedMF` the factors and the bias; of `MultDAE`,
        `MultVAE` and `CVAE` the code, and of `CDAE` the user's node as well. `receipt_` keeps the
        fingerprint of the data of `fit`, from which no rating can be told.

        Examples
        --------
        >>> from isthmus import EASE, synthetic_ratings
        >>> model = EASE(regularization=100).fit(synthetic_ratings(200, 100, 5000, random_state=0))
        >>> len(model.forget(users=[7, 12]).user_ids_)
        198
        """
        self._check_fitted()
        gone = np.unique(self._users.positions(users, "users"))
        kept = np.delete(np.arange(len(self._users)), gone)
        if len(kept) == 0:
            raise ValueError(
                f"users must leave at least one user, but they are all {len(gone):,} of the model."
            )
        if len(gone):
            self.__dict__.update({**self._without_users(kept), **went_on(self, "forget")})
        return self

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        """Return the attributes that keeping some users changes, and change nothing.

        A subclass adds its own attributes.
        """
        return {
            "_users": IdIndex(self._users.ids[kept], "user"),
            "_seen": select_rows(self._seen, kept),
            "_known_odds": None,
        }

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        """Return the attributes that adding users or items changes, and change nothing.

        Rows are the new users and columns the items, or rows the new items and columns the users.
        A subclass adds its own attributes.
        """
        return {"_seen": append(self._seen, ratings, axis)}

    # Files

    def _saved_parameters(self) -> dict[str, Any]:
        """Return the parameters for a file: those that arrays depend on, as they were in `fit`."""
        return self.get_params()

    @classmethod
    def _from_saved(cls, parameters: dict[str, Any]) -> Self:
        """Make a model, not fitted yet, from what `_saved_parameters` returned."""
        return cls(**parameters)

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_known_odds", "_copy_now", *self._in_core)
        state = {n: value for n, value in self.__dict__.items() if n not in derived}
        if self._fitted:
            state["_tensors"] = self._tensors()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        tensors = state.pop("_tensors", None)
        self.__dict__.update(state)
        if tensors is not None:
            self._restore(tensors)
            self.__dict__.update(state)  # it has more than files hold

    def _check_tensors(self, tensors: Tensors) -> None:
        """Refuse a file's tensors that `_restore` could not take, with these parameters and ids."""
        shape = (len(self._users), len(self._items))
        check_layout(tensors, self._layout(shape, tensors))
        self._check_values(shape, tensors)

    def save(self, path: str | PathLike[str], *, precision: str = "float32") -> None:
        """Write the fitted model to a file: weights, ids, parameters and seen items.

        The file is in safetensors format, holds no code, and appears under its name only when it
        is complete.

        Parameters
        ----------
        path : str or os.PathLike
        precision : {"float32", "bfloat16"}, default "float32"
            Of weights and codes in the file. With "bfloat16" it is half as large, and a loaded
            model's scores differ by up to a few thousandths of their range; in memory they are in
            float32 again. With "float32" scores are the same to the bit.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the model could not be read again, as with a parameter that was set to a bad value.
        OSError
            If the file cannot be written, as on a full disk; what was there stays.
        """
        self._check_fitted()
        check_choice("precision", precision, ("float32", "bfloat16"))
        _files.save_model(self, path, Recommender._models, precision=precision)

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
        mmap : bool, default False
            Whether to map the file into memory instead of copying it, so that all processes which
            do so share one copy. Ids, seen items, and the weights of `BiasedMF` and `EASE` are
            shared; networks copy their weights into the core, which pads them. The file must not
            be written to meanwhile; `save` replaces a file and leaves maps of the old one whole.

        Returns
        -------
        A fitted model of this class (of the class that was saved, for ``Recommender.load``).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no isthmus model, is damaged, has a newer format, or holds another model.
        """
        model = _files.load_model(path, Recommender._models, mmap=mmap)
        if not isinstance(model, cls):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a {cls.__name__}.")
        return model

    # A caller's data, with rows and columns in the model's order

    def _rows_among(self, X: Any, name: str, *, axis: str) -> CSR:
        return rows_among(
            *(self._users, self._items, X, name), axis=axis, num_threads=self._num_threads()
        )

    def _known_pattern(self, X: Any, name: str) -> CSR:
        self._check_fitted()
        return pattern_among(self._users, self._items, X, name)

    def _known_cells(
        self, X: Any, name: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        self._check_fitted()
        return cells_among(self._users, self._items, X, name)

    def _fit_again(
        self, ratings: Ratings, validation: Any, trained: Self, weights: Ratings | None
    ) -> Self:
        """Train, as `trained` was, on the same data; `self` has its parameters and seed.

        `weights` are those of the cells, of a model whose `fit` takes any.
        """
        return self.fit(ratings, validation=validation)

    # To be implemented by a model

    def fit(self, X: Any, y: Any = None, *, validation: Any = None) -> Self:
        """Train on ratings."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError if a parameter is invalid."""
        raise NotImplementedError

    def _vectors(self) -> Scorable:
        """Return vectors of all users and items, or another kind of scores."""
        raise NotImplementedError

    def _fold_users(self, ratings: CSR) -> Scorable:
        """Return vectors of new users (rows: users; columns: all items), and of all items."""
        raise NotImplementedError

    def _fold_items(self, ratings: CSR) -> Scorable:
        """Return vectors of all users, and of new items (rows: items; columns: all users)."""
        raise ValueError(
            f'axis must be "user" for {type(self).__name__}, which cannot take new items, but '
            f'it was "item".'
        )

    def _tensors(self) -> Tensors:
        """Return the fitted arrays, for a file."""
        raise NotImplementedError

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        """Describe a file's tensors: what `_tensors` returns with these parameters.

        `shape` is (users, items); a size that only the file has is taken from its tensors, which
        are not checked yet.
        """
        raise NotImplementedError

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        """Refuse values of a file's tensors that no model has; their layout is right."""

    def _restore(self, tensors: Tensors) -> None:
        """Keep what `_tensors` returned."""
        raise NotImplementedError

    def _finish_predictions(
        self, scores: Floats, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> Floats:
        """Turn scores into ratings; models of ratings clip them and fill in defaults."""
        return scores

    def _finish_scores(self, scores: Floats) -> Floats:
        return scores
