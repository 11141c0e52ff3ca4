"""How a model's predictions and rankings are measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus._alignment import check_apart, check_same_users
from isthmus._checks import shown
from isthmus._csr import as_pattern, as_scipy, select_rows
from isthmus._ids import IdArray
from isthmus._model import Model
from isthmus.metrics import mae, rmse
from isthmus.ranking import RankingMetric, parse_metrics, rank, with_training
from isthmus.ratings import Ratings, as_ratings

__all__ = ["ERRORS", "Evaluation", "error_of"]

ERRORS = {"rmse": rmse, "mae": mae}
"""Metrics of predicted ratings; all others are of rankings."""


class Evaluation(Model):
    """Models' methods that measure them."""

    def evaluate(
        self,
        test: Any,
        metrics: str | Iterable[str] | None = None,
        *,
        ratings: Any = None,
        exclude_seen: bool = True,
        exclude: Any = None,
        candidates: Any = None,
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
            "ndcg@10" or "recall@20" (see `isthmus.ranking.METRICS`), which is a mean over users
            with a test rating. By default those that fit the model.
        ratings : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Rank for users who need not have been in training, from these ratings; `test` has the
            same users in the same order. Not for rmse and mae.
        exclude_seen : bool, default True
            Whether to leave out of the ranking what a user has in training, or in `ratings`.
        exclude : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Further cells to leave out, as those of the validation part.
        candidates : Ratings or scipy.sparse array or matrix, shape (n_users, n_items), optional
            Rank only a user's stored cells of this, and the test items; all items by default.

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
            _, per_user = self._rank(test, ranked, ratings, exclude_seen, exclude, candidates)
            values |= {label: _mean(array) for label, array in per_user.items()}
        labels = (metric if isinstance(metric, str) else metric.label for metric in wanted)
        return {label: values[label] for label in labels}

    def evaluate_forms(
        self, test: Any, metrics: str | Iterable[str] | None = None
    ) -> dict[str, float]:
        """Measure rankings of the users with a test rating in both published forms, each named.

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
        """Give the test cells, and the training cells of the users who have one."""
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
    ) -> tuple[IdArray, dict[str, NDArray[np.float64]]]:
        """Measure each user's ranking; `evaluate` gives the means of this.

        Parameters
        ----------
        test, metrics, ratings, exclude_seen, exclude, candidates
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
        return self._rank(test, chosen, ratings, exclude_seen, exclude, candidates)

    _default_metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae")
    """What `evaluate` measures by default. A model whose scores are no ratings has no errors here,
    and is refused them."""

    _default_ranking: ClassVar[tuple[str, ...]] = ("ndcg@10", "recall@10", "precision@10")

    def _wanted_metrics(
        self, metrics: str | Iterable[str] | None, name: str = "metrics"
    ) -> list[str | RankingMetric]:
        """Read metrics of this model: errors stay as they were written (see `error_of`)."""
        if metrics is None:
            metrics = self._default_metrics
        if not isinstance(metrics, Iterable):
            raise TypeError(
                f"{name} must be the name of a metric or a list of names, "
                f"but it was {shown(metrics)}."
            )
        listed = [metrics] if isinstance(metrics, str) else list(metrics)
        if not listed:
            raise ValueError(f"{name} must name at least one, but it is empty.")
        own = [error for error in ERRORS if error in self._default_metrics]
        for label in listed:
            if error_of(label) and error_of(label) not in own:
                raise ValueError(
                    f"{name} must be of rankings for {type(self).__name__}, whose scores are no "
                    f"ratings, as {self._default_ranking[0]!r}, but one was {shown(label)}."
                )
        return [
            label if error_of(label) else parse_metrics([label], name, errors=own)[0]
            for label in listed
        ]

    def _rank(
        self,
        test: Any,
        metrics: list[RankingMetric],
        ratings: Any,
        exclude_seen: bool,
        exclude: Any,
        candidates: Any,
    ) -> tuple[IdArray, dict[str, NDArray[np.float64]]]:
        """Give ids of the users with test ratings, and their metrics."""
        others = {"candidates": candidates, "exclude": exclude}
        if ratings is None:
            positives, rows, ids = self._known_pattern(test, "test"), self._seen, self._users.ids
            lists, out = (
                None if X is None else self._known_pattern(X, name) for name, X in others.items()
            )
        else:
            positives, rows = (
                self._rows_among(X, name, axis="user")
                for X, name in ((test, "test"), (ratings, "ratings"))
            )
            lists, out = (
                None if X is None else self._rows_among(X, name, axis="user")
                for name, X in others.items()
            )
            for part, X, name in zip(
                (rows, lists, out),
                (ratings, candidates, exclude),
                ("ratings", *others),
                strict=True,
            ):
                if part is not None:
                    check_same_users(test, positives, X, part, name)
            ids = as_ratings(test, "test").user_ids
        users = np.flatnonzero(np.diff(positives.indptr))
        everyone = len(users) == positives.shape[0]
        if not everyone:
            positives, rows = select_rows(positives, users), select_rows(rows, users)
            lists, out = (
                None if part is None else select_rows(part, users) for part in (lists, out)
            )
            ids = ids[users]
        parts = [as_scipy(part) for part in (rows if exclude_seen else None, out) if part]
        seen = as_pattern(sum(parts[1:], parts[0])) if parts else None
        if seen is not None:
            source = "training" if ratings is None else "ratings"
            check_apart(
                *(positives, seen, "test"),
                f"left out of the ranking, as what {source} had is unless exclude_seen=False",
            )
        if ratings is None:
            scores = self._vectors() if everyone else self._vectors().take(users=users)
        else:
            scores = self._fold_users(rows)
        return ids, rank(
            scores.scorer(),
            metrics,
            positives,
            seen=seen,
            lists=lists,
            num_threads=self._num_threads(),
        )


def error_of(label: Any) -> str:
    """Give the name in `ERRORS` that a label stands for, in any case, or an empty string."""
    name = label.strip().lower() if isinstance(label, str) else ""
    return name if name in ERRORS else ""


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
