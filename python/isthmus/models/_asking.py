"""What to ask a newcomer: the items whose ratings tell most of all others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_integer
from isthmus.data._csr import CSR
from isthmus.data._ids import IdArray
from isthmus.evaluation.odds import leading_directions
from isthmus.evaluation.scores import Floats

__all__ = ["informative_items"]

NEWCOMERS = 500
"""Users who are asked at most, in trying."""

CELLS = 150
"""Ratings of each of them, at most."""

USERS = 500
"""Of the model, at most, whose predictions say how tastes differ."""

DIRECTIONS = 16
"""In which tastes differ, at most."""

LEAST_NOISE = 0.3
"""Least share of the squared errors that no answers explain."""


def informative_items(model: Any, n: int, ratings: Any, candidates: Any) -> IdArray:
    """Choose items one by one, by how much an answer lowers the error of all else.

    `model` is a fitted Recommender; see `Recommender.informative_items`.
    """
    check_integer("n", n, low=1)
    if not model._rates:
        raise ValueError(
            f"informative_items needs a model of ratings, as AutoRec and BiasedMF, but "
            f"{type(model).__name__} has none to ask for."
        )
    rows = _newcomers(model._rows_among(ratings, "ratings", axis="user"))
    allowed = np.ones(len(model._items), np.bool_)
    if candidates is not None:
        allowed[:] = False
        allowed[model._items.positions(candidates, "candidates").reshape(-1)] = True
    chosen: IdArray = model.item_ids_[_choose(_start(rows, *_tastes(model)), n, allowed)]
    return chosen


def _newcomers(rows: CSR) -> list[tuple[NDArray[np.int32], Floats]]:
    """Return items and ratings of some users, evenly spaced, and of these some ratings."""
    enough = np.flatnonzero(np.diff(rows.indptr) >= 2)
    if len(enough) == 0:
        raise ValueError("ratings must have users with two ratings or more, but they have none.")
    taken = []
    for row in enough[_spread(len(enough), NEWCOMERS)]:
        cells = rows.indptr[row] + _spread(int(rows.indptr[row + 1] - rows.indptr[row]), CELLS)
        taken.append((rows.indices[cells], rows.values[cells]))
    return taken


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """Return at most so many of the first integers, evenly spaced."""
    return np.arange(count) if count <= most else np.arange(most) * count // most


def _tastes(model: Any) -> tuple[Floats, Floats]:
    """Return the mean predicted rating of each item, and how users' predictions differ from it.

    The latter are loadings, shape (n_items, k): their products are the covariance, between items,
    of the predictions for users of training.
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
    means = scores.mean(axis=0, dtype=np.float64).astype(np.float32)
    scores -= means
    values, directions = leading_directions(
        lambda basis: np.einsum("ui,ik->uk", scores, basis),
        lambda basis: np.einsum("ui,uk->ik", scores, basis),
        *(n_items, min(DIRECTIONS, *scores.shape)),
    )
    return means, (directions * (values / np.sqrt(len(users)))).astype(np.float32)


class _Newcomer(NamedTuple):
    """What is known of a user so far."""

    items: NDArray[np.int32]
    errors: Floats
    """Ratings less what is expected by the answers so far."""
    covariance: Floats
    """Of the ratings that are yet to be answered, as far as tastes explain it."""
    gains: Floats
    """How much each rating, as an answer, takes off the mean squared error of the others."""


class _State(NamedTuple):
    """Everybody, and the variance of ratings that no answer explains."""

    newcomers: list[_Newcomer]
    noise: float


def _start(rows: list[tuple[NDArray[np.int32], Floats]], means: Floats, loadings: Floats) -> _State:
    """Nobody has answered anything."""
    made, squares, explained, cells = [], 0.0, 0.0, 0
    for items, values in rows:
        errors = values - means[items]
        covariance = np.einsum("ik,jk->ij", loadings[items], loadings[items])
        squares += float(np.sum(np.square(errors, dtype=np.float64)))
        explained += float(np.trace(covariance))
        cells += len(items)
        made.append((items, errors, covariance))
    noise = max(squares - explained, LEAST_NOISE * squares, 1e-9) / cells
    return _State(
        [_Newcomer(*one, _gains(one[1], one[2], noise)) for one in made],
        noise,
    )


def _gains(errors: Floats, covariance: Floats, noise: float) -> Floats:
    """Return the fall of the mean squared error of the others by each answer."""
    own = np.diagonal(covariance)
    # the error of i falls by step_j covariance_ij, if j is answered
    step = errors / (own + np.float32(noise))
    falls = 2 * step * (np.einsum("ij,i->j", covariance, errors) - own * errors)
    falls -= np.square(step) * (np.einsum("ij,ij->j", covariance, covariance) - np.square(own))
    gains: Floats = falls / np.float32(max(1, len(errors) - 1))
    return gains


def _answered(newcomer: _Newcomer, item: int, noise: float) -> _Newcomer:
    """Return what is known of a user after an answer, or the same if she does not know the item."""
    (place,) = np.nonzero(newcomer.items == item)
    if len(place) == 0:
        return newcomer
    column = newcomer.covariance[:, place[0]]
    variance = column[place[0]] + np.float32(noise)
    kept = newcomer.items != item
    errors = (newcomer.errors - column * (newcomer.errors[place[0]] / variance))[kept]
    covariance = newcomer.covariance - column[:, np.newaxis] * (column / variance)
    covariance = covariance[np.ix_(kept, kept)]
    return _Newcomer(newcomer.items[kept], errors, covariance, _gains(errors, covariance, noise))


def _choose(state: _State, n: int, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return positions of the items that lower the error most, each after those before it."""
    newcomers, noise = state
    left = allowed.copy()
    chosen: list[int] = []
    for _ in range(min(n, int(left.sum()))):
        items = np.concatenate([one.items for one in newcomers])
        gains = np.concatenate([one.gains for one in newcomers]).astype(np.float64)
        total = np.bincount(items, gains, len(left))
        item = int(np.argmax(np.where(left, total, -np.inf)))
        chosen.append(item)
        left[item] = False
        newcomers = [_answered(one, item, noise) for one in newcomers]
    return np.array(chosen, np.int64)
