"""How good lists are, for which users, and which items are on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, row_numbers, select_rows
from isthmus.evaluation.choice import Allowed
from isthmus.evaluation.ranking import parse_metrics, rank
from isthmus.evaluation.recommend import top_items
from isthmus.evaluation.scores import Scorable, Vectors
from isthmus.reporting._subject import Bins, Row, Subject, bins_of, shown_metric
from isthmus.reporting.bootstrap import Bootstrap, Interval

__all__ = ["USERS", "Concentration", "Rankings", "measure_rankings"]

USERS = 10_000
"""Most users to rank for; of more, so many are drawn."""

POPULARITY = "popularity"


class Concentration(NamedTuple):
    """Which items are on the lists of one model."""

    coverage: float
    """Share of all items that are on a list."""
    gini: float
    """0 where all items are on as many lists, 1 where all lists have the same."""
    deciles: NDArray[np.float64]
    """Each tenth of the items' share of the places on lists, the most popular first."""


class Rankings(NamedTuple):
    """All measures of lists."""

    k: int
    n_users: int
    sampled_from: int
    table: list[Row]
    gain: tuple[str, Interval]
    """Another model, and by how much the first figure is higher than its."""
    by_popularity: Bins
    by_activity: Bins
    concentration: dict[str, Concentration]
    training_deciles: NDArray[np.float64]


class _Ranked(NamedTuple):
    """One model's lists and metrics of the users."""

    values: dict[str, NDArray[np.float64]]
    """Metrics, one a user."""
    lists: NDArray[np.int32]
    """Positions of items, users x k; -1 where a list has ended."""


def measure_rankings(subject: Subject, k: int) -> Rankings:
    """Measure the lists of the test's users, or of so many of them."""
    tested = np.flatnonzero(np.diff(subject.positives.indptr))
    random = np.random.default_rng(subject.random_state)
    users = tested
    if len(tested) > USERS:
        users = np.sort(random.choice(tested, USERS, replace=False))
    positives = select_rows(subject.positives, users)
    ranked = {
        name: _rank(subject, scores, positives, users, k)
        for name, scores in _scores(subject, users).items()
    }
    of_users = Bootstrap(np.arange(len(users)), subject.random_state)
    estimates = {
        name: {label: of_users.means(values) for label, values in one.values.items()}
        for name, one in ranked.items()
    }
    first = f"ndcg@{k}"
    own = next(iter(ranked))
    bins, labels = bins_of(subject.per_user[users])
    return Rankings(
        k=k,
        n_users=len(users),
        sampled_from=len(tested),
        table=[
            Row(name, {shown_metric(label): one.intervals()[0] for label, one in of.items()})
            for name, of in estimates.items()
        ],
        gain=(
            POPULARITY,
            estimates[own][first].less(estimates[POPULARITY][first]).intervals()[0],
        ),
        by_popularity=_recall_by_popularity(subject, ranked, positives),
        by_activity=Bins(
            labels,
            {
                name: of_users.means(one.values[first], bins, len(labels)).intervals()
                for name, one in ranked.items()
            },
        ),
        concentration={
            name: _concentration(one.lists, subject.per_item) for name, one in ranked.items()
        },
        training_deciles=_of_deciles(subject.per_item, subject.per_item),
    )


def _scores(subject: Subject, users: NDArray[np.int64]) -> dict[str, Scorable]:
    """Return the scores of the model and of popularity."""
    model = subject.model
    had = select_rows(model._seen, users)
    scores = model._ranked_by(model._vectors().take(users=users), had, "likely")
    popularity = Vectors(
        np.ones((len(users), 1), np.float32), subject.per_item.astype(np.float32)[:, np.newaxis]
    )
    return {type(model).__name__: scores, POPULARITY: popularity}


def _rank(
    subject: Subject, scores: Scorable, positives: CSR, users: NDArray[np.int64], k: int
) -> _Ranked:
    seen, threads = select_rows(subject.model._seen, users), subject.model._num_threads()
    metrics = parse_metrics([f"ndcg@{k}", f"recall@{k}", f"precision@{k}"])
    values = rank(scores.scorer(), metrics, positives, seen=seen, num_threads=threads)
    return _Ranked(values, top_items(scores, k, Allowed(seen), num_threads=threads)[0])


def _recall_by_popularity(subject: Subject, ranked: dict[str, _Ranked], positives: CSR) -> Bins:
    """Return the share of test items that are on their user's list, by popularity."""
    users, items = row_numbers(positives.indptr), positives.indices
    bins, labels = bins_of(subject.per_item[items])
    bootstrap = Bootstrap(users, subject.random_state)
    series = {}
    for name, one in ranked.items():
        found = (one.lists[users] == items[:, np.newaxis]).any(axis=1).astype(np.float64)
        series[name] = bootstrap.means(found, bins, len(labels)).intervals()
    return Bins(labels, series)


def _concentration(lists: NDArray[np.int32], per_item: NDArray[np.int64]) -> Concentration:
    times = np.bincount(lists[lists >= 0], minlength=len(per_item))
    return Concentration(
        coverage=float(np.count_nonzero(times) / len(times)),
        gini=_gini(times),
        deciles=_of_deciles(times, per_item),
    )


def _gini(counts: NDArray[np.int64]) -> float:
    """Return Gini's coefficient: how unequal some counts are."""
    n, ordered = len(counts), np.sort(counts)
    weighted = 2 * np.arange(1, n + 1) - n - 1
    return float(weighted @ ordered / (n * ordered.sum()))


def _of_deciles(counts: NDArray[np.int64], per_item: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each tenth of the items' share of counts, the tenth with most ratings first."""
    order = np.argsort(-per_item, kind="stable")
    tenth = np.arange(len(order)) * 10 // len(order)
    shares: NDArray[np.float64] = np.bincount(tenth, counts[order], minlength=10) / counts.sum()
    return shares
