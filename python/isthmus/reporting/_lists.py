"""Some users' lists, with the ratings that they owe most to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, select_rows
from isthmus.data._reading import printable
from isthmus.data.ratings import Ratings
from isthmus.evaluation.choice import Allowed
from isthmus.models.dual_autorec import DualAutoRec
from isthmus.models.rbm import RBM
from isthmus.reporting._subject import Subject

__all__ = ["Effort", "Entry", "Lists", "UserList", "example_lists"]

USERS, ITEMS, REASONS, LIKED = 10, 5, 2, 3

_SLOW = (DualAutoRec, RBM)
"""Models that fit new regressions to explain one number."""


class Effort(NamedTuple):
    """How much is explained, so that it takes seconds."""

    items: int
    """The first items of each list."""
    ratings: int
    """Most ratings of a user whose lists are explained."""


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
    """What the user has rated highest in training, with the ratings if they are known."""
    entries: list[Entry]


class Lists(NamedTuple):
    """Lists of some users."""

    users: list[UserList]
    effort: Effort
    why_not: str
    """Why there are no reasons, or nothing."""


def example_lists(subject: Subject) -> Lists:
    """Make lists of ten users of the test, from the least to the most active."""
    users = _chosen(subject)
    model = subject.model
    seen = select_rows(model._seen, users)
    positions, scores = model._lists(
        model._vectors().take(users=users), ITEMS, "likely", had=seen, allowed=Allowed(seen)
    )
    explainer = _Explainer(subject, users)
    lists = [
        UserList(
            user=printable(model.user_ids_[user]),
            n_ratings=int(subject.per_user[user]),
            liked=_liked(subject, user),
            entries=[
                Entry(
                    title=subject.title(item),
                    score=score,
                    hit=item in _items_of(subject.positives, user),
                    reasons=explainer.reasons(user, item, place),
                )
                for place, (item, score) in enumerate(zip(row, values, strict=True))
                if item >= 0
            ],
        )
        for user, row, values in zip(
            users.tolist(), positions.tolist(), scores.tolist(), strict=True
        )
    ]
    return Lists(lists, explainer.effort, explainer.why_not)


def _chosen(subject: Subject) -> NDArray[np.int64]:
    """Return users of the test at even distances in the order of their activity."""
    tested = np.flatnonzero(np.diff(subject.positives.indptr))
    ordered = tested[np.argsort(subject.per_user[tested], kind="stable")]
    places = np.linspace(0, len(ordered) - 1, min(USERS, len(ordered)))
    return ordered[np.round(places).astype(np.int64)]


def _items_of(rows: CSR, user: int) -> NDArray[np.int32]:
    return rows.indices[rows.indptr[user] : rows.indptr[user + 1]]


def _liked(subject: Subject, user: int) -> list[tuple[str, float]]:
    train = subject.train
    if train is None or not subject.rates:
        return []
    own = slice(train.indptr[user], train.indptr[user + 1])
    items, values = train.indices[own], train.values[own]
    best = np.lexsort((-subject.per_item[items], -values))[:LIKED]
    return [(subject.title(items[at]), float(values[at])) for at in best.tolist()]


class _Explainer:
    """Find the ratings that scores owe most to, if the model can explain them."""

    def __init__(self, subject: Subject, users: NDArray[np.int64]) -> None:
        self._subject = subject
        needed = subject.model._reads_values
        self._ratings = self._ratings_of(users) if needed else None
        parts = getattr(subject.model, "models_", [subject.model])
        slow = any(isinstance(part, _SLOW) for part in parts)
        self.effort = Effort(1, 100) if slow else Effort(ITEMS, 500)
        self.why_not = ""
        if needed and self._ratings is None:
            self.why_not = "Reasons need the training ratings, which were not given."

    def _ratings_of(self, users: NDArray[np.int64]) -> Ratings | None:
        """Return the training ratings of some users alone."""
        train = self._subject.train
        if train is None:
            return None
        mask = np.zeros(train.nnz, np.bool_)
        for user in users.tolist():
            mask[train.indptr[user] : train.indptr[user + 1]] = True
        return train.select(mask) if mask.any() else None

    def reasons(self, user: int, item: int, place: int) -> list[tuple[str, float]]:
        """Return titles of what an item's score owes most to, and how much."""
        model, count = self._subject.model, self._subject.per_user[user]
        if self.why_not or place >= self.effort.items or not 0 < count <= self.effort.ratings:
            return []
        pair = (model.user_ids_[user].item(), model.item_ids_[item].item())
        try:
            explanation = model.explain(*pair, REASONS, ratings=self._ratings)
        except ValueError as error:  # models that take no new users cannot explain
            self.why_not = f"There are no reasons: {error}"
            return []
        positions = model._items.positions(explanation.ids, "items").tolist()
        effects = explanation.effects.tolist()
        return [(self._subject.title(at), one) for at, one in zip(positions, effects, strict=True)]
