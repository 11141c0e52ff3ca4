"""Metrics by name, and a test's cells in the model's positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import shown
from isthmus.data._alignment import check_apart, check_same_users
from isthmus.data._csr import CSR, as_pattern, as_scipy, select_rows
from isthmus.evaluation.ranking import RankingMetric, parse_metrics
from isthmus.metrics import mae, rmse

__all__ = [
    "ERRORS",
    "Parts",
    "align_known",
    "align_new",
    "error_of",
    "left_out",
    "mean_of_users",
    "parse_wanted",
]

ERRORS = {"rmse": rmse, "mae": mae}
"""Metrics of predicted ratings; all others are of rankings."""


def error_of(label: Any) -> str:
    """Return the name in `ERRORS` that a label stands for, in any case, or an empty string."""
    name = label.strip().lower() if isinstance(label, str) else ""
    return name if name in ERRORS else ""


def parse_wanted(
    metrics: str | Iterable[str], name: str, *, errors: Sequence[str], model: str
) -> list[str | RankingMetric]:
    """Read metrics of both kinds: errors stay as they were written (see `error_of`).

    `errors` are those that the model has, and `name` is what the caller calls the metrics.
    """
    if not isinstance(metrics, Iterable):
        raise TypeError(
            f"{name} must be the name of a metric or a list of names, but it was {shown(metrics)}."
        )
    listed = [metrics] if isinstance(metrics, str) else list(metrics)
    if not listed:
        raise ValueError(f"{name} must name at least one, but it is empty.")
    for label in listed:
        if error_of(label) and error_of(label) not in errors:
            raise ValueError(
                f"{name} must be of rankings for {model}, whose scores are no ratings, "
                f"as 'ndcg@10', but one was {shown(label)}."
            )
    return [
        label if error_of(label) else parse_metrics([label], name, errors=errors)[0]
        for label in listed
    ]


class Parts(NamedTuple):
    """Cells of users x items, by their positions alone, with the same users in all."""

    positives: CSR
    """What should rank high."""
    had: CSR
    """What the users had before."""
    lists: CSR | None
    """What is ranked; None is everything."""
    excluded: CSR | None
    """What else is left out of the ranking."""

    def take(self, users: NDArray[np.int64]) -> Parts:
        """Keep some users, in the order given."""
        return Parts(
            select_rows(self.positives, users),
            select_rows(self.had, users),
            None if self.lists is None else select_rows(self.lists, users),
            None if self.excluded is None else select_rows(self.excluded, users),
        )


def align_known(
    pattern: Callable[[Any, str], CSR], had: CSR, test: Any, candidates: Any, exclude: Any
) -> Parts:
    """Find the cells of users that a model knows; `pattern` turns a matrix into its cells."""
    positives = pattern(test, "test")
    lists, excluded = (
        None if X is None else pattern(X, name)
        for X, name in ((candidates, "candidates"), (exclude, "exclude"))
    )
    return Parts(positives, had, lists, excluded)


def align_new(
    rows: Callable[..., CSR], ratings: Any, test: Any, candidates: Any, exclude: Any
) -> Parts:
    """Find the cells of users who come with ratings; `rows` turns a matrix into their rows."""
    positives = rows(test, "test", axis="user")
    others = {"ratings": ratings, "candidates": candidates, "exclude": exclude}
    found = {name: None if X is None else rows(X, name, axis="user") for name, X in others.items()}
    for name, part in found.items():
        if part is not None:
            check_same_users(test, positives, others[name], part, name)
    had = found["ratings"]
    assert had is not None
    return Parts(positives, had, found["candidates"], found["exclude"])


def left_out(parts: Parts, *, exclude_had: bool, source: str) -> CSR | None:
    """Return the cells that rankings leave out, or None; refuse a test that has one of them.

    `source` is where the users' items come from: "training" or "ratings".
    """
    out = [
        as_scipy(part)
        for part in (parts.had if exclude_had else None, parts.excluded)
        if part is not None
    ]
    if not out:
        return None
    cells = as_pattern(sum(out[1:], out[0]))
    check_apart(
        *(parts.positives, cells, "test"),
        f"left out of the ranking, as what {source} had is unless exclude_seen=False",
    )
    return cells


def mean_of_users(values: NDArray[np.float64]) -> float:
    """Return the mean of the users who have a value, or NaN where nobody has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
