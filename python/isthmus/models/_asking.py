"""What to ask a newcomer: the items whose ratings say most about all others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_integer
from isthmus.data._csr import CSR, column_counts
from isthmus.data._ids import IdArray
from isthmus.evaluation.odds import leading_directions
from isthmus.evaluation.scores import Floats

__all__ = ["informative_items"]

NEWCOMERS = 500
"""Most users of training to try questions on."""

CELLS = 150
"""Most items that each of them knows."""

USERS = 500
"""Most users whose predictions show how tastes differ."""

DIRECTIONS = 16
"""Most dimensions in which tastes differ."""


def informative_items(model: Any, n: int, candidates: Any) -> IdArray:
    """Choose items one by one, by how much an answer should lower the error of all other items.

    `model` is a fitted Recommender; see `Recommender.informative_items`.
    """
    check_integer("n", n, low=1)
    if not model._rates:
        raise ValueError(
            f"informative_items needs a model of ratings, as AutoRec and BiasedMF, but "
            f"{type(model).__name__} predicts none."
        )
    allowed = np.ones(len(model._items), np.bool_)
    if candidates is not None:
        allowed[:] = False
        allowed[model._items.positions(candidates, "candidates").reshape(-1)] = True
    low, high = model._range
    # the error that no answer explains: a quarter of the scale's width
    noise = ((high - low) / 4) ** 2 if high > low else 1.0
    loadings = _tastes(model)
    newcomers = [_newcomer(items, loadings, noise) for items in _known(model._seen)]
    popularity = column_counts(model._seen.indices, len(allowed))
    chosen: IdArray = model.item_ids_[_choose(newcomers, noise, n, allowed, popularity)]
    return chosen


def _known(seen: CSR) -> list[NDArray[np.int32]]:
    """Return what some users have rated, evenly spaced, and of that some items."""
    counts = np.diff(seen.indptr)
    enough = np.flatnonzero(counts >= 2)
    return [
        seen.indices[seen.indptr[row] + _spread(int(counts[row]), CELLS)]
        for row in enough[_spread(len(enough), NEWCOMERS)]
    ]


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """Return at most so many of the first integers, evenly spaced."""
    return np.arange(count) if count <= most else np.arange(most) * count // most


def _tastes(model: Any) -> Floats:
    """Return loadings of items, shape (n_items, k), whose products are covariances.

    Those of the predictions for users of training, between items.
    """
    users = np.flatnonzero(np.diff(model._seen.indptr))
    users = users[_spread(len(users), USERS)]
    n_items = len(model._items)
    scorer = model._vectors().take(users=users).scorer()
    scores = scorer.score_pairs(
        np.repeat(np.arange(len(users), dtype=np.int32), n_items),
        np.tile(np.arange(n_items, dtype=np.int32), len(users)),
        num_threads=model._num_threads(),
    ).reshape(len(users), n_items)
    scores = scores - scores.mean(axis=0, dtype=np.float64).astype(np.float32)
    values, directions = leading_directions(
        lambda basis: np.einsum("ui,ik->uk", scores, basis),
        lambda basis: np.einsum("ui,uk->ik", scores, basis),
        *(n_items, min(DIRECTIONS, *scores.shape)),
    )
    loadings: Floats = (directions * (values / np.sqrt(len(users)))).astype(np.float32)
    return loadings


class _Newcomer(NamedTuple):
    """What is known of a user so far."""

    items: NDArray[np.int32]
    """Items that the user knows and was not asked about."""
    covariance: Floats
    """Of their ratings, given the answers, without noise."""
    gains: Floats
    """How much each, as an answer, should lower the mean squared error of the others."""


def _newcomer(items: NDArray[np.int32], loadings: Floats, noise: float) -> _Newcomer:
    """Return a user who has answered nothing."""
    covariance: Floats = np.einsum("ik,jk->ij", loadings[items], loadings[items])
    return _Newcomer(items, covariance, _gains(covariance, noise))


def _gains(covariance: Floats, noise: float) -> Floats:
    own = np.diagonal(covariance)
    falls = np.einsum("ij,ij->j", covariance, covariance) - np.square(own)
    gains: Floats = falls / ((own + np.float32(noise)) * np.float32(max(1, len(own) - 1)))
    return gains


def _asked(newcomer: _Newcomer, item: int, noise: float) -> _Newcomer:
    """Return a user after a question, which changes nothing if the user does not know the item."""
    kept = newcomer.items != item
    if kept.all():
        return newcomer
    place = int(np.argmin(kept))
    column = newcomer.covariance[:, place]
    step = column / (column[place] + np.float32(noise))
    covariance = (newcomer.covariance - column[:, np.newaxis] * step)[np.ix_(kept, kept)]
    return _Newcomer(newcomer.items[kept], covariance, _gains(covariance, noise))


def _choose(
    newcomers: list[_Newcomer],
    noise: float,
    n: int,
    allowed: NDArray[np.bool_],
    popularity: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return positions of the items that lower the error most, each after those before it.

    Of equal items, such as those that nobody knows, the most popular comes first.
    """
    left = allowed.copy()
    chosen: list[int] = []
    for _ in range(min(n, int(left.sum()))):
        total = np.zeros(len(left))
        for newcomer in newcomers:
            total[newcomer.items] += newcomer.gains
        best = np.flatnonzero(left & (total == total[left].max()))
        item = int(best[np.argmax(popularity[best])])
        chosen.append(item)
        left[item] = False
        newcomers = [_asked(newcomer, item, noise) for newcomer in newcomers]
    return np.array(chosen, np.int64)
