"""Some users' lists, with what they owe most to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, select_rows
from isthmus.data._reading import printable
from isthmus.data.ratings import Ratings
from isthmus.evaluation.choice import Allowed
from isthmus.reporting._subject import Subject

__all__ = ["MOST", "Entry", "UserList", "example_lists"]

USERS, ITEMS, REASONS, LIKED = 10, 5, 2, 3

MOST = 500
"""Ratings of a user, of more than which nothing is explained: each is taken away in turn."""


class Entry(NamedTuple):
    """An item on a list."""

    title: str
    score: float
    hit: bool
    """Whether the test has it."""
    reasons: list[tuple[str, float]]
    """Titles of what the user has rated, and their effects on the score."""


class UserList(NamedTuple):
    """A user's list."""

    user: str
    n_ratings: int
    liked: list[tuple[str, float]]
    """What the user has rated highest in training, and how high, if that is known."""
    entries: list[Entry]


def example_lists(subject: Subject) -> list[UserList]:
    """Make lists of ten users of the test, from the least to the most active."""
    users = _chosen(subject)
    model = subject.model
    seen = select_rows(model._seen, users)
    positions, scores = model._lists(
        model._vectors().take(users=users), ITEMS, "likely", had=seen, allowed=Allowed(seen)
    )
    known = _ratings_of(subject, users)
    return [
        UserList(
            user=printable(model.user_ids_[user]),
            n_ratings=int(subject.per_user[user]),
            liked=_liked(subject, int(user)),
            entries=[
                Entry(
                    title=subject.title(item),
                    score=score,
                    hit=item in _items_of(subject.positives, int(user)),
                    reasons=_reasons(subject, known, int(user), item),
                )
                for item, score in zip(row.tolist(), values.tolist(), strict=True)
                if item >= 0
            ],
        )
        for user, row, values in zip(users, positions, scores, strict=True)
    ]


def _chosen(subject: Subject) -> NDArray[np.int64]:
    """Return users of the test at even distances in the order of their activity."""
    tested = np.flatnonzero(np.diff(subject.positives.indptr))
    there = tested[(subject.per_user[tested] > 0) & (subject.per_user[tested] <= MOST)]
    if len(there) == 0:
        there = tested
    ordered = there[np.argsort(subject.per_user[there], kind="stable")]
    places = np.linspace(0, len(ordered) - 1, min(USERS, len(ordered)))
    return ordered[np.round(places).astype(np.int64)]


def _items_of(rows: CSR, user: int) -> NDArray[np.int32]:
    return rows.indices[rows.indptr[user] : rows.indptr[user + 1]]


def _ratings_of(subject: Subject, users: NDArray[np.int64]) -> Ratings | None:
    """Return the training ratings of some users alone."""
    train = subject.train
    if train is None:
        return None
    mask = np.zeros(train.nnz, np.bool_)
    for user in users.tolist():
        mask[train.indptr[user] : train.indptr[user + 1]] = True
    return train.select(mask) if mask.any() else None


def _liked(subject: Subject, user: int) -> list[tuple[str, float]]:
    train = subject.train
    if train is None or not subject.rates:
        return []
    own = slice(train.indptr[user], train.indptr[user + 1])
    items, values = train.indices[own], train.values[own]
    best = np.lexsort((-subject.per_item[items], -values))[:LIKED]
    return [(subject.title(items[at]), float(values[at])) for at in best.tolist()]


def _reasons(
    subject: Subject, known: Ratings | None, user: int, item: int
) -> list[tuple[str, float]]:
    model = subject.model
    if (subject.rates and known is None) or not 0 < subject.per_user[user] <= MOST:
        return []
    explanation = model.explain(
        model.user_ids_[user].item(),
        model.item_ids_[item].item(),
        REASONS,
        ratings=known if subject.rates else None,
    )
    positions = model._items.positions(explanation.ids, "items").tolist()
    return [
        (subject.title(at), effect)
        for at, effect in zip(positions, explanation.effects.tolist(), strict=True)
    ]
