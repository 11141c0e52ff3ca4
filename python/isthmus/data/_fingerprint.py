"""A fingerprint of ratings, by which training data is known again."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import blocks
from isthmus.data._alignment import ratings_among
from isthmus.data._csr import column_counts
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data.ratings import Ratings

__all__ = ["fingerprint"]


def fingerprint(ratings: Ratings) -> str:
    """Return 128 bits, in hexadecimal, of who rated what how high.

    They are the same in whatever order users, items and ratings are, and others as soon as one
    rating is: BLAKE2b of the ratings in the order of sorted ids. Timestamps do not count, and
    neither do users and items without ratings.
    """
    users = _rated(ratings._users, np.diff(ratings.indptr))
    items = _rated(ratings._items, column_counts(ratings.indices, ratings.n_items))
    ratings = ratings_among(users, items, ratings, "ratings")
    digest = hashlib.blake2b(digest_size=16)
    for ids in (users.ids, items.ids):
        _add_ids(digest, ids)
    for array, dtype in (
        (ratings.indptr, "<i8"),
        (ratings.indices, "<i4"),
        (ratings.values, "<f4"),
    ):
        for block in blocks(len(array)):
            part = np.ascontiguousarray(array[block], dtype)
            if dtype == "<f4":
                part = part + np.float32(0)  # -0 becomes 0, which is the same rating
            digest.update(part.data)
    return digest.hexdigest()


def _rated(index: IdIndex, counts: NDArray[np.int64]) -> IdIndex:
    """Return the ids that have ratings, sorted."""
    ids: Any = index.ids
    if counts.all() and (ids[:-1] < ids[1:]).all():
        return index
    return IdIndex(np.sort(ids[counts > 0]), index.kind)


def _add_ids(digest: Any, ids: IdArray) -> None:
    if ids.dtype.kind == "i":
        digest.update(b"integers %d " % len(ids))
        digest.update(ids.astype("<i8", copy=False).data)
        return
    digest.update(b"strings %d " % len(ids))
    digest.update("\0".join(ids.tolist()).encode())  # no id has this character
