"""A map of items: those that the model finds similar are close together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from isthmus.evaluation.scores import unit_rows
from isthmus.models.ease import EASE
from isthmus.reporting._subject import Subject

__all__ = ["ItemMap", "map_items"]

ITEMS = 500
"""Most popular items, which are mapped."""

TITLES = 60


class ItemMap(NamedTuple):
    """Where items are."""

    points: NDArray[np.float64]
    """Shape (items, 2), the most popular first."""
    shares: tuple[float, float]
    """Of the variance of the items' vectors, on each axis."""
    titles: list[str]
    """Titles of the first items, for labels."""


def map_items(subject: Subject) -> ItemMap | None:
    """Project the vectors of popular items onto their two principal components.

    Returns
    -------
    ItemMap or None
        None of fewer than three items, or if all vectors are alike.
    """
    popular = np.argsort(-subject.per_item, kind="stable")[:ITEMS]
    popular = popular[subject.per_item[popular] > 0]
    if len(popular) < 3:
        return None
    unit = unit_rows(_vectors(subject, popular)).astype(np.float64)
    unit -= unit.mean(axis=0)
    total = float(np.square(unit).sum())
    if min(unit.shape) < 2 or not total > 1e-12:
        return None
    if unit.shape[0] < unit.shape[1]:
        variance, left = _two_greatest(unit @ unit.T)
        points = left * np.sqrt(variance)
    else:
        variance, right = _two_greatest(unit.T @ unit)
        points = unit @ right
    # the sign of a component is arbitrary: the farthest point is on the positive side
    points *= np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])
    first, second = (variance / total).tolist()
    return ItemMap(points, (first, second), [subject.title(at) for at in popular[:TITLES].tolist()])


def _two_greatest(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two greatest eigenvalues of a Gram matrix, and their vectors."""
    n = len(gram)
    values, vectors = linalg.eigh(gram, subset_by_index=[n - 2, n - 1])
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _vectors(subject: Subject, items: NDArray[np.int64]) -> NDArray[np.float32]:
    model = subject.model
    if isinstance(model, EASE):  # how much each would be recommended to a user who has another
        return model.item_weights_[np.ix_(items, items)]
    return np.asarray(model._item_vectors()[items], np.float32)
