"""How a model's items are listed, best first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus._checks import check_integer
from isthmus._csr import select_rows, take_columns
from isthmus._ids import IdArray
from isthmus._model import Model
from isthmus._scorable import Floats, Scorable, Vectors, unit_rows

__all__ = ["Recommendation"]


class Recommendation(Model):
    """Models' methods that list items."""

    def recommend(
        self,
        users: ArrayLike | None = None,
        n: int = 10,
        *,
        ratings: Any = None,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
    ) -> tuple[IdArray, Floats]:
        """Find the items with the highest scores for each user.

        Parameters
        ----------
        users : int, str or array_like of either, optional
            Ids of users of the training data; all of them, in the model's order, by default.
        n : int, default 10
            Items to recommend to a user.
        ratings : Ratings or scipy.sparse array or matrix, shape (n_new_users, n_items), optional
            Recommend to these users, who need not have been in training, from these ratings; the
            model stays as it is. Not together with `users`.
        exclude_seen : bool, default True
            Whether to leave out what a user has a rating of (in training, or in `ratings`).
        candidates : array_like of int or str, optional
            Ids of the items to choose from; all by default.

        Returns
        -------
        ids : ndarray, shape (n_users, n)
            Item ids, best first; equal scores in the model's order of items. Where fewer than n
            items are left, the list ends in -1 (integer ids) or "" (string ids).
        scores : ndarray of float32, shape (n_users, n)
            Their scores, and NaN where the list has ended. For one id in `users`, both are of
            shape (n,).

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, or `n` is below 1.
        """
        self._check_fitted()
        check_integer("n", n, low=1)
        if ratings is not None and users is not None:
            raise ValueError("users and ratings must not both be given, but they were.")
        if ratings is not None:
            seen = self._rows_among(ratings, "ratings", axis="user")
            vectors = self._fold_users(seen)
            single = False
        else:
            wanted = None if users is None else self._users.positions(users, "users")
            single = wanted is not None and wanted.ndim == 0
            chosen = None if wanted is None else wanted.reshape(-1)
            vectors = self._vectors().take(users=chosen)
            seen = self._seen if chosen is None else select_rows(self._seen, chosen)
        pool = None
        if candidates is not None:
            # in the model's order, each once: so that ties are broken as they are without
            pool = np.unique(self._candidates(candidates))
            vectors = vectors.take(items=pool)
            seen = take_columns(seen, pool)
        positions, scores = vectors.scorer().top_k(
            n,
            seen_indptr=seen.indptr if exclude_seen else None,
            seen_indices=seen.indices if exclude_seen else None,
            num_threads=self._num_threads(),
        )
        if pool is not None:
            positions = np.append(pool, -1)[positions]  # a list's end, -1, stays one
        ids = self._ids_at(positions)
        scores = self._finish_scores(scores)
        return (ids[0], scores[0]) if single else (ids, scores)

    def _candidates(self, candidates: ArrayLike) -> NDArray[np.int64]:
        try:
            ids = np.atleast_1d(candidates)
        except ValueError:  # lists of different lengths
            ids = np.empty((0, 0))
        if ids.ndim > 1:
            raise ValueError(
                "candidates must be one list of item ids, for all users alike, "
                "but it was a list of lists."
            )
        return self._items.positions(ids, "candidates")

    def similar_items(self, items: ArrayLike, n: int = 10) -> tuple[IdArray, Floats]:
        """Find the items that are most like some.

        Parameters
        ----------
        items : int, str or array_like of either
            Ids.
        n : int, default 10

        Returns
        -------
        ids : ndarray, shape (n_items, n)
            Most similar first, without the item itself; short lists end as those of `recommend`.
        scores : ndarray of float32, shape (n_items, n)
            Cosines of the items' vectors, unless the model has a similarity of its own. For one id
            in `items`, both are of shape (n,).

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, or `n` is below 1.
        """
        self._check_fitted()
        check_integer("n", n, low=1)
        wanted = self._items.positions(items, "items")
        chosen = wanted.reshape(-1)
        positions, scores = (
            self._similarity(chosen)
            .scorer()
            .top_k(
                n,
                seen_indptr=np.arange(len(chosen) + 1, dtype=np.int64),
                seen_indices=chosen.astype(np.int32),
                num_threads=self._num_threads(),
            )
        )
        ids = self._ids_at(positions)
        return (ids[0], scores[0]) if wanted.ndim == 0 else (ids, scores)

    def _similarity(self, items: NDArray[np.int64]) -> Scorable:
        """Score items, in the place of users, for all items."""
        unit = unit_rows(self._item_vectors())
        return Vectors(unit[items], unit)

    def _item_vectors(self) -> Floats:
        vectors = self._vectors()
        assert isinstance(vectors, Vectors)
        return vectors.items

    def _ids_at(self, positions: NDArray[Any]) -> IdArray:
        none: Any = -1 if self.item_ids_.dtype.kind == "i" else ""
        ids: IdArray = np.where(positions < 0, none, self.item_ids_[positions])
        return ids
