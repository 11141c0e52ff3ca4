"""A fingerprint of ratings, to recognise training data by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import blocks
from isthmus.data._alignment import ratings_among
from isthmus.data._csr import column_counts
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data.ratings import Ratings

__all__ = ["fingerprint", "fingerprint_of_cells"]


def fingerprint(ratings: Ratings) -> str:
    """Return 128 bits, in hexadecimal, of who rated what, and how high.

    They do not depend on the order of users, items and ratings, and change with every rating:
     BLAKE2b of the ratings in the order of sorted ids. Timestamps do not count, and
    neither do users and items without ratings.
    """
    users, items = _sorted(ratings._users), _sorted(ratings._items)
    ratings = ratings_among(users, items, ratings, "ratings")
    counts = column_counts(ratings.indices, ratings.n_items)
    cells = ((ratings.indices[block], ratings.values[block]) for block in blocks(ratings.nnz))
    return fingerprint_of_cells(users.ids, items.ids, ratings.indptr, counts, cells)


def fingerprint_of_cells(
    user_ids: IdArray,
    item_ids: IdArray,
    indptr: NDArray[np.int64],
    item_counts: NDArray[np.int64],
    cells: Iterable[tuple[NDArray[np.int32], NDArray[np.float32]]],
) -> str:
    """Return the fingerprint of ratings by users, both of whose ids are sorted.

    `cells` are items and values, as many at a time as `blocks` cuts off.
    """
    filled, rated = np.diff(indptr) > 0, item_counts > 0
    places = np.cumsum(rated, dtype=np.int32) - np.int32(1)  # among the items with ratings
    digest = hashlib.blake2b(digest_size=16)
    _add_ids(digest, user_ids[filled])
    _add_ids(digest, item_ids[rated])
    digest.update(indptr[np.append(True, filled)].astype("<i8", copy=False).data)
    for items, values in cells:
        digest.update(places[items].astype("<i4", copy=False).data)
        # -0 becomes 0, which is the same rating
        digest.update((values + np.float32(0)).astype("<f4", copy=False).data)
    return digest.hexdigest()


def _sorted(index: IdIndex) -> IdIndex:
    ids: Any = index.ids
    return index if (ids[:-1] < ids[1:]).all() else IdIndex(np.sort(ids), index.kind)


def _add_ids(digest: Any, ids: IdArray) -> None:
    if ids.dtype.kind == "i":
        digest.update(b"integers %d " % len(ids))
        digest.update(ids.astype("<i8", copy=False).data)
        return
    digest.update(b"strings %d " % len(ids))
    digest.update("\0".join(ids.tolist()).encode())  # no id has this character
