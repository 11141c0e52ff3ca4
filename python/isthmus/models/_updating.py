"""Ratings of all known and new users and items, with the known ones first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.data._alignment import ratings_among
from isthmus.data._csr import CSR
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data.content import as_rows
from isthmus.data.ratings import Ratings, as_ratings, in_memory

__all__ = ["as_they_are_now", "new_items", "new_users", "refuse_epochs"]


def as_they_are_now(model: Any, X: Any) -> Ratings:
    """Return ratings of a model's users and items, in its order, and of new ones behind these."""
    data = in_memory(X)
    ratings = as_ratings(data)
    if not isinstance(data, Ratings):
        _check_positions(model)
    users = _extended(model._users, ratings.user_ids)
    items = _extended(model._items, ratings.item_ids)
    return ratings_among(users, items, ratings, "X")


def new_users(ratings: Ratings, known: tuple[int, int]) -> CSR:
    """Return what users behind the known ones have rated of the known items."""
    users, items = known
    return as_rows(ratings.to_matrix()[users:, :items])


def new_items(ratings: Ratings, known: tuple[int, int]) -> CSR:
    """Return a row for each item behind the known ones, of all users' ratings."""
    return as_rows(ratings.to_matrix()[:, known[1] :].T.tocsr())


def refuse_epochs(model: Any, epochs: int | None, callbacks: Iterable[Any]) -> None:
    """Refuse arguments that only a model that is trained in epochs takes."""
    if epochs is not None or list(callbacks):
        raise ValueError(
            f"epochs and callbacks must not be given for {type(model).__name__}, "
            f"which is not trained in epochs itself."
        )


def _extended(known: IdIndex, ids: IdArray) -> IdIndex:
    """Return an index with those ids behind its own that it does not have."""
    new = ids[known.find(ids, f"the {known.kind} ids of X") < 0]
    return known.extended(new) if len(new) else known


def _check_positions(model: Any) -> None:
    """Refuse a matrix, whose positions are its ids, where the model's ids are others."""
    for index in (model._users, model._items):
        ids = index.ids
        if ids.dtype.kind != "i" or not np.array_equal(ids, np.arange(len(ids))):
            raise TypeError(
                f"X must be Ratings, which have ids, since the model's {index.kind} ids are not "
                f"0, 1, 2, ... as a matrix's are."
            )
