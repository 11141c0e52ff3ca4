"""Metrics of rankings by scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.checks import shown
from isthmus.data._csr import CSR, as_pattern, as_scipy

__all__ = ["METRICS", "RankingMetric", "parse_metrics", "rank", "with_training"]

METRICS = {
    "precision": "positives among the first k, by k",
    "recall": "positives among the first k, by all positives",
    "recall_capped": "positives among the first k, by min(k, all positives) (Liang et al., 2018)",
    "ndcg": "sum over positives among the first k of 1 / log2(1 + rank), by its greatest value",
    "map": "sum over positives among the first k of the precision at them, by min(k, positives)",
    "mrr": "1 / rank of the first positive, 0 beyond k",
    "hit_rate": "1 if any positive is among the first k",
    "auc": "share of pairs of a positive and another item in the right order, ties counting half",
    "coverage": "share of all items that are among the first k of any user",
}
"""Metrics by name: each is a mean over users with a positive, but for coverage."""

_WHOLE = ("mrr", "auc")
_ALIASES = {"hr": "hit_rate"}


class RankingMetric(NamedTuple):
    """A metric with its cut-off, as it was asked for.

    Attributes
    ----------
    label : str
        As ``"ndcg@10"``.
    name : str
        One of `METRICS`.
    k : int
        How many items of a list count; 0 for all.
    """

    label: str
    name: str
    k: int


def parse_metrics(
    metrics: str | Iterable[str], name: str = "metrics", *, errors: Sequence[str] = ()
) -> list[RankingMetric]:
    """Read names of metrics with cut-offs.

    Parameters
    ----------
    metrics : str or iterable of str
        As ``"ndcg@10"``; "hr" is short for "hit_rate". "auc" takes no cut-off, and "mrr" may do
        without.
    name : str, default "metrics"
        What the caller calls them, for messages.
    errors : sequence of str, default ()
        What else the caller takes, for messages.

    Returns
    -------
    list of RankingMetric

    Raises
    ------
    TypeError, ValueError
        If a name is no string, is unknown, lacks its cut-off, or there is none.

    Examples
    --------
    >>> parse_metrics("ndcg@10")
    [RankingMetric(label='ndcg@10', name='ndcg', k=10)]
    """
    listed = [metrics] if isinstance(metrics, str) else list(metrics)
    if not listed:
        raise ValueError(f"{name} must name at least one, but it is empty.")
    return [_parse(label, name, errors) for label in listed]


def _parse(label: Any, argument: str, errors: Sequence[str]) -> RankingMetric:
    if not isinstance(label, str):
        raise TypeError(f"{argument} must be strings, as 'ndcg@10', but one was {shown(label)}.")
    name, at, cut = label.strip().lower().partition("@")
    name = _ALIASES.get(name, name)
    if name not in METRICS:
        raise ValueError(
            f"{argument} must be one of {', '.join([*errors, *METRICS])}, with @k for rankings, "
            f"but one was {shown(label)}."
        )
    if not at and name in _WHOLE:
        return RankingMetric(label, name, 0)
    if not re.fullmatch(r"0*[1-9]\d{0,8}", cut) or name == "auc":
        wanted = "without a cut-off" if name == "auc" else f"with a cut-off, as '{name}@10'"
        raise ValueError(f"the metric {name} must be given {wanted}, but it was {shown(label)}.")
    return RankingMetric(label, name, int(cut))


def rank(
    scores: _core.Scores,
    metrics: Sequence[RankingMetric],
    positives: CSR,
    *,
    seen: CSR | None = None,
    lists: CSR | None = None,
    num_threads: int,
) -> dict[str, NDArray[np.float64]]:
    """Measure rankings in one pass, in blocks of users; equal scores are ranked by item, NaN never.

    Parameters
    ----------
    scores : Scores
        Of users for items.
    metrics : sequence of RankingMetric
    positives, seen, lists : CSR
        Of users x items, by their cells alone: what should be ranked high; what is left out; what
        is ranked, by default all that is left. A positive must not be among the seen, and counts as
        one of its user's list.
    num_threads : int

    Returns
    -------
    dict of str to ndarray
        One value a user, NaN for users without a positive; for coverage a single one.
    """
    if lists is not None:
        lists = _union(lists, positives)
    covered = max((metric.k for metric in metrics if metric.name == "coverage"), default=0)
    per_user = [metric for metric in metrics if metric.name != "coverage"]
    values, places = _core.rank(
        *(scores, [(metric.name, metric.k) for metric in per_user]),
        *(positives.indptr, positives.indices),
        seen_indptr=None if seen is None else seen.indptr,
        seen_indices=None if seen is None else seen.indices,
        lists_indptr=None if lists is None else lists.indptr,
        lists_indices=None if lists is None else lists.indices,
        coverage=covered,
        num_threads=num_threads,
    )
    columns = {metric.label: values[:, i] for i, metric in enumerate(per_user)}
    return {
        metric.label: columns[metric.label]
        if metric.name != "coverage"
        else np.array([np.count_nonzero(places < metric.k) / len(places)])
        for metric in metrics
    }


def with_training(test: CSR, train: CSR) -> CSR:
    """Return the positives of the *paper* form of evaluation: all items of the users tested.

    Parameters
    ----------
    test, train : CSR
        Of users x items, by their cells alone.

    Returns
    -------
    CSR
        Cells of either, of the users who have one in `test`.
    """
    tested, counts = np.diff(test.indptr) > 0, np.diff(train.indptr)
    indptr = np.concatenate(([0], np.cumsum(np.where(tested, counts, 0))))
    indices = train.indices[np.repeat(tested, counts)]
    return _union(test, train._replace(indptr=indptr, indices=indices))


def _union(one: CSR, other: CSR) -> CSR:
    """Return the cells that either has."""
    return as_pattern(as_scipy(one) + as_scipy(other))
