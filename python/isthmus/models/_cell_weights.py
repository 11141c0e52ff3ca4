"""Weights of cells: how often each counts in a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus._util.checks import check_choice
from isthmus.data._alignment import ratings_among
from isthmus.data._csr import CSR, row_numbers
from isthmus.data.ratings import Ratings, as_ratings
from isthmus.evaluation.scores import Floats

__all__ = [
    "aligned_weights",
    "check_rule",
    "check_values",
    "divided",
    "mean_of",
    "normalized",
    "weights_among",
    "weights_by_rule",
]

RULES = ("values", "log1p")


def check_rule(rule: Any) -> None:
    """Refuse a parameter `weights` that is not one of the rules."""
    if rule is not None:
        check_choice("weights", rule, RULES)


def weights_by_rule(values: Floats, rule: str, name: str) -> Floats:
    """Return the weights of cells with these values, of what a caller calls `name`."""
    lowest = values.min(initial=np.float32(0))
    if lowest < 0:
        raise ValueError(
            f"{name} must be at least 0 with weights={rule!r}, but the lowest is {lowest:g}."
        )
    return np.log1p(values) if rule == "log1p" else values


def check_values(values: Floats, rule: str | None) -> None:
    """Refuse values of training cells of which a rule makes no valid weights."""
    if rule is not None:
        _check(values, f"X, with weights={rule!r},")


def aligned_weights(weights: Any, ratings: Ratings) -> Ratings:
    """Return the weights of the ratings' cells, in their order."""
    shape = getattr(weights, "shape", ratings.shape)
    if sparse.issparse(weights) and shape != ratings.shape:
        raise ValueError(
            f"weights must be a matrix of {ratings.n_users:,} users x {ratings.n_items:,} items, "
            f"as X is, but its shape is {shape}."
        )
    given = as_ratings(weights, "weights", ratings._users, ratings._items)
    found = ratings_among(ratings._users, ratings._items, given, "weights")
    same = np.array_equal(found.indptr, ratings.indptr)
    if not (same and np.array_equal(found.indices, ratings.indices)):
        raise ValueError(
            f"weights must have a value for each of the {ratings.nnz:,} cells of X and for no "
            f"other, but its {found.nnz:,} cells are not the same."
        )
    _check(found.values, "weights")
    return found


def weights_among(weights: Ratings, kept: Ratings) -> CSR:
    """Return weights of mean 1 of the cells that are kept, which are some of the weights' own."""
    values = weights.values
    if kept.nnz < weights.nnz:

        def places(ratings: Ratings) -> NDArray[np.int64]:
            rows = row_numbers(ratings.indptr).astype(np.int64)
            return rows * ratings.n_items + ratings.indices

        values = values[np.searchsorted(places(weights), places(kept))]
        _check(values, "weights of what is not held out")
    return CSR(kept.indptr, kept.indices, normalized(values), kept.shape)


def normalized(weights: Floats) -> Floats:
    """Return weights of mean 1, so that regularization keeps its share of a loss."""
    return divided(weights, mean_of(weights))


def mean_of(weights: Floats) -> float:
    """Return the mean, in double precision."""
    return float(weights.mean(dtype=np.float64))


def divided(weights: Floats, mean: float) -> Floats:
    """Return weights in units of a mean."""
    return weights if mean == 1 else (weights / mean).astype(np.float32)


def _check(weights: Floats, name: str) -> None:
    """Refuse invalid weights; all are finite, as all ratings are."""
    lowest, highest = weights.min(), weights.max()
    if not (lowest >= 0 and highest > 0):
        wrong = f"the lowest is {lowest:g}" if lowest < 0 else "all are 0"
        raise ValueError(f"{name} must be at least 0 and not all 0, but {wrong}.")
