"""A model and its items' titles: answers to requests, as dictionaries for JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus._util.checks import shown
from isthmus.data._csr import column_counts
from isthmus.data._ids import IdArray, IdIndex, as_ids
from isthmus.data.items import is_integer, read_item_texts, with_keys_like
from isthmus.evaluation.explanation import Explanation
from isthmus.models.base import Recommender
from isthmus.models.blend import Blend
from isthmus.serving._catalogue import Catalogue
from isthmus.serving._map import plane_of
from isthmus.serving._requests import Asked, History

__all__ = ["Explorer", "UnknownId"]

ON_THE_MAP = 5_000
"""Items on the map: those that most users have had."""

MOST_STARS = 10
NEWCOMER = 0
"""The id of someone with a history, where a model needs one."""


class UnknownId(ValueError):
    """An id that the model does not know."""


class Explorer:
    """Answer requests from one model file.

    Every answer is computed by one thread, so that as many are computed at once as there are
    threads that ask.

    Parameters
    ----------
    model_file : str or os.PathLike
    items_file : str or os.PathLike, optional
        As for `isthmus.read_items`.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file cannot be read, or has titles of none of the model's items.
    """

    def __init__(
        self, model_file: str | PathLike[str], items_file: str | PathLike[str] | None = None
    ) -> None:
        self._model: Any = _with_one_thread(Recommender.load(model_file))
        ids = self._model.item_ids_
        texts = {} if items_file is None else with_keys_like(read_item_texts(items_file), ids)
        if items_file is not None and not any(one in texts for one in ids.tolist()):
            raise ValueError(
                f"{items_file} must have titles of the model's items, as {ids[0].item()!r}, but "
                f"has none of them."
            )
        counts = column_counts(self._model._seen.indices, len(ids))
        self._catalogue = Catalogue(ids, texts, counts)
        self._about = self._described(titled=items_file is not None)
        self.item_map = json.dumps(self._mapped(), ensure_ascii=False).encode()
        """Places of items in a plane, as JSON."""
        self.recommend(Asked(history=History([], None)))  # whose first call is the longest

    def about(self) -> dict[str, Any]:
        """Return what the model is."""
        return self._about

    def recommend(self, asked: Asked) -> dict[str, Any]:
        """Recommend to a user of the model, or to someone with a history."""
        options = {
            name: self._ids_of(wanted, name)
            for name, wanted in (("candidates", asked.candidates), ("exclude", asked.exclude))
            if wanted is not None
        }
        whose: dict[str, Any]
        if asked.history is None:
            whose = {"users": np.array([self._known(asked.user, self._model._users, "user")])}
        else:
            whose = {"ratings": self._row(asked.history)}
        items, scores = self._model.recommend(
            **whose,
            n=min(asked.n, len(self._model._items)),
            exclude_seen=asked.exclude_seen,
            order=asked.order,
            **options,
        )
        return self._listed(items[0], scores[0])

    def similar(self, item: int | str, n: int) -> dict[str, Any]:
        """Find the items most like one."""
        known = self._known(item, self._model._items, "item")
        items, scores = self._model.similar_items(known, min(n, len(self._model._items)))
        return self._listed(items, scores)

    def explain(self, asked: Asked) -> dict[str, Any]:
        """Return which ratings a score owes most to."""
        item = self._known(asked.item, self._model._items, "item")
        if asked.history is None:
            user = self._known(asked.user, self._model._users, "user")
            if self._model._reads_values:
                kept = "rated, but not how high" if self._model._rates else "had, but not how often"
                raise ValueError(
                    f"{type(self._model).__name__} keeps what a user has {kept}: POST the ratings "
                    f"as a history."
                )
            explanation = self._model.explain(user, item, asked.n)
        else:
            if not asked.history.items:
                raise ValueError("history must have an item for a score to be explained by.")
            row = self._row(asked.history)
            explanation = self._model.explain(NEWCOMER, item, asked.n, ratings=row)
        return self._explained(explanation)

    def search(self, query: str, n: int) -> dict[str, Any]:
        """Find items by words of their titles; without words, those that most users have had."""
        found = self._catalogue.search(query, n).tolist()
        return {"items": [self._catalogue.describe(position) for position in found]}

    # How answers are written

    def _described(self, *, titled: bool) -> dict[str, Any]:
        low, high = self._model._range
        rates = bool(self._model._rates) and high > low
        return {
            "model": type(self._model).__name__,
            "users": len(self._model._users),
            "items": len(self._model._items),
            "titled": titled,
            "rates": bool(self._model._rates),
            "explains_users": not self._model._reads_values,
            "scale": [low, high],
            "levels": _levels(low, high) if rates else [1.0],
        }

    def _mapped(self) -> dict[str, Any]:
        shown_items = self._catalogue.by_count[:ON_THE_MAP]
        vectors = self._model._item_vectors()
        # of EASE's vectors, which are as long as there are items, the part of the items that are
        # shown
        is_square = vectors.shape[0] == vectors.shape[1]
        vectors = vectors[np.ix_(shown_items, shown_items)] if is_square else vectors[shown_items]
        plane = plane_of(vectors).round(4).tolist()
        return {
            "items": [
                {**self._catalogue.describe(at), "x": x, "y": y, "users": users}
                for at, (x, y), users in zip(
                    shown_items.tolist(),
                    plane,
                    self._catalogue.counts[shown_items].tolist(),
                    strict=True,
                )
            ]
        }

    def _listed(self, items: IdArray, scores: NDArray[np.float32]) -> dict[str, Any]:
        there = ~np.isnan(scores)  # NaN where the list has ended
        return {
            "items": [
                {**described, "score": score}
                for described, score in zip(
                    self._describe(items[there]), scores[there].tolist(), strict=True
                )
            ]
        }

    def _explained(self, explanation: Explanation) -> dict[str, Any]:
        [item] = self._describe(np.array([explanation.item]))
        return {
            **item,
            "score": explanation.score,
            "effects": [
                {**described, "rating": rating, "effect": effect}
                for described, rating, effect in zip(
                    self._describe(explanation.ids),
                    explanation.ratings.tolist(),
                    explanation.effects.tolist(),
                    strict=True,
                )
            ],
            "remainder": explanation.remainder,
        }

    def _describe(self, items: IdArray) -> list[dict[str, Any]]:
        positions = self._model._items.find(items, "items").tolist()
        return [self._catalogue.describe(position) for position in positions]

    # What requests name

    def _known(self, wanted: Any, index: IdIndex, name: str) -> Any:
        return self._lookup([wanted], index, name)[0]

    def _ids_of(self, wanted: Sequence[Any], name: str) -> IdArray:
        return self._lookup(wanted, self._model._items, name)

    def _lookup(self, wanted: Sequence[Any], index: IdIndex, name: str) -> IdArray:
        """Return ids of the model's own type, all of which it knows."""
        if index.ids.dtype.kind == "i":
            wanted = [int(one) if _is_number(one) else one for one in wanted]
        ids = as_ids(wanted, name)
        found = index.find(ids, name)
        if (found < 0).any():
            unknown = ids[int(np.argmax(found < 0))].item()
            raise UnknownId(f"{name} must be known to the model, but {shown(unknown)} is not.")
        known: IdArray = index.ids[found]
        return known

    def _row(self, history: History) -> sparse.csr_array:
        """Return a history as a matrix with a row."""
        name = "every item of history"
        columns = self._model._items.find(self._ids_of(history.items, name), name)
        if len(np.unique(columns)) < len(columns):
            raise ValueError("history must have every item once, but one is there twice.")
        order = np.argsort(columns)
        values = self._ratings(history)[order]
        shape = (1, len(self._model._items))
        return sparse.csr_array((values, columns[order], np.array([0, len(columns)])), shape=shape)

    def _ratings(self, history: History) -> NDArray[np.float32]:
        if history.ratings is None:
            if self._model._rates and history.items:
                raise ValueError(
                    f"history must have ratings for {type(self._model).__name__}, which predicts "
                    f"ratings."
                )
            return np.ones(len(history.items), np.float32)
        low, high = self._model._range
        values = np.array(history.ratings)
        wrong = values[(values < low) | (values > high)]
        if self._model._rates and len(wrong):
            raise ValueError(
                f"every rating of history must be from {low:g} to {high:g}, but one is "
                f"{wrong[0]:g}."
            )
        return values.astype(np.float32)


def _with_one_thread(model: Any) -> Any:
    for one in (model, *(model.models_ if isinstance(model, Blend) else ())):
        one.set_params(num_threads=1)
    return model


def _is_number(value: Any) -> bool:
    """Return whether a value is an integer in digits that int64 may have."""
    return isinstance(value, str) and is_integer(value) and int(value) < 2**63


def _levels(low: float, high: float) -> list[float]:
    """Return the ratings to choose from: the integers of a short scale, or five steps."""
    integers = np.arange(np.ceil(low), np.floor(high) + 1)
    if 2 <= len(integers) <= MOST_STARS:
        return [float(one) for one in integers]
    return [float(one) for one in np.clip(np.linspace(low, high, 5).round(2), low, high)]
