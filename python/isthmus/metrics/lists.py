"""Metrics of lists of items from any source."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus._util.checks import check_integer, shown
from isthmus.data._csr import row_numbers
from isthmus.data._ids import IdIndex, as_ids
from isthmus.data._vectors import item_rows, unit_blocks
from isthmus.data.ratings import Ratings, as_ratings

__all__ = [
    "coverage",
    "diversity",
    "hit_rate",
    "map",
    "mrr",
    "ndcg",
    "precision",
    "recall",
    "recall_capped",
]

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


def precision(
    lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None
) -> float:
    """Return the share of the first k that are positives.

    Parameters
    ----------
    lists : array_like of item ids, shape (n_users, n), list of lists, or dict of user to list
        Best first and without repeats. Rows may end in -1 or "", as those of
        `Recommender.recommend` do. Items that are not in `test` are no positives.
    test : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
        Every stored cell is a positive.
    k : int, optional
        How many items of a list count; by default as many as the longest list has. Shorter lists
        count as if they ended in items that are no positives.
    users : array_like of user ids, optional
        Whose lists the rows are; by default `test.user_ids`. Every user with a positive must have a
        list, which may be empty; the lists of others do not count.

    Returns
    -------
    float
        The mean over users with a positive; the same as `Recommender.evaluate` gives as
        ``"precision@k"``.

    Raises
    ------
    TypeError, ValueError
        If ids are of another type than those of `test`, a list repeats an item, or a user's list
        is missing.

    Examples
    --------
    >>> test = Ratings.from_arrays([1, 1, 2], [10, 11, 12], [1, 1, 1])
    >>> precision({1: [10, 13, 11, 14], 2: [15, 12]}, test, k=2)
    0.5
    """
    found = _find(lists, test, k, users)
    return _mean(found.hits.sum(axis=1) / found.k)


def recall(lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None) -> float:
    """Return the share of a user's positives that are among the first k; see `precision`.

    Examples
    --------
    >>> test = Ratings.from_arrays([1, 1, 2], [10, 11, 12], [1, 1, 1])
    >>> recall([[10, 13], [15, 12]], test)
    0.75
    """
    found = _find(lists, test, k, users)
    return _mean(found.hits.sum(axis=1) / found.positives)


def recall_capped(
    lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None
) -> float:
    """Return the positives among the first k, divided by the most possible; see `precision`.

    That is min(k, the user's positives): Liang et al., "Variational autoencoders for collaborative
    filtering", WWW 2018.
    """
    found = _find(lists, test, k, users)
    return _mean(found.hits.sum(axis=1) / np.minimum(found.k, found.positives))


def ndcg(lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None) -> float:
    """Return the normalised discounted cumulative gain of the first k; see `precision`.

    The sum over positives of 1 / log2(1 + rank), divided by that of a list that begins with all
    positives (Järvelin & Kekäläinen, TOIS 2002).

    Examples
    --------
    >>> test = Ratings.from_arrays([1, 1, 2], [10, 11, 12], [1, 1, 1])
    >>> round(ndcg([[10, 11], [15, 12]], test), 4)
    0.8155
    """
    found = _find(lists, test, k, users)
    gains = 1 / np.log2(np.arange(found.k) + 2)
    best = np.cumsum(gains)[np.minimum(found.k, found.positives) - 1]
    return _mean(found.hits @ gains[: found.hits.shape[1]] / best)


def map(lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None) -> float:
    """Return the mean average precision of the first k; see `precision`.

    A user's is the sum over positives of the precision up to them, divided by min(k, positives).
    """
    found = _find(lists, test, k, users)
    up_to = np.cumsum(found.hits, axis=1) / (np.arange(found.hits.shape[1]) + 1)
    total = np.sum(up_to * found.hits, axis=1)
    return _mean(total / np.minimum(found.k, found.positives))


def mrr(lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None) -> float:
    """Return the mean of 1 / rank of the first positive, 0 beyond k; see `precision`."""
    found = _find(lists, test, k, users)
    if found.hits.shape[1] == 0:
        return 0.0
    return _mean(found.hits.any(axis=1) / (found.hits.argmax(axis=1) + 1))


def hit_rate(
    lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None
) -> float:
    """Return the share of users with a positive among the first k; see `precision`."""
    return _mean(_find(lists, test, k, users).hits.any(axis=1).astype(np.float64))


def coverage(
    lists: Any, test: Any, k: int | None = None, *, users: ArrayLike | None = None
) -> float:
    """Return the share of the items of `test` that are among the first k of any user.

    As in `Recommender.evaluate`, the lists of users without a positive do not count. See
    `precision`.
    """
    items = _find(lists, test, k, users).items
    return len(np.unique(items[items >= 0])) / as_ratings(test, "test").n_items


def diversity(
    lists: Any, vectors: Any, *, item_ids: ArrayLike | None = None, k: int | None = None
) -> float:
    """Return how far apart the items of a list are: 1 less the cosine, over all pairs.

    Parameters
    ----------
    lists : array_like of item ids, shape (n_users, n), list of lists, or dict of user to list
        Rows may end in -1 or "".
    vectors : array_like or scipy.sparse array or matrix, shape (n_items, d)
        Of items, as genres. Zeros are as far from all others as vectors at a right angle.
    item_ids : array_like, shape (n_items,), optional
        Ids of the rows of `vectors`; by default their positions.
    k : int, optional
        How many items of a list count; all by default.

    Returns
    -------
    float
        The mean over lists of two items and more of the mean over their pairs: from 0, all alike,
        to 2; NaN if there is no such list. (Intra-list similarity, Ziegler et al., WWW 2005, as a
        distance.)

    Examples
    --------
    >>> genres = [[1, 0], [1, 0], [0, 1]]
    >>> diversity([[0, 1], [0, 2]], genres)
    0.5
    """
    ids, lengths = _flat(list(lists.values()) if isinstance(lists, Mapping) else lists)
    places = _rectangle(ids, lengths, item_rows(vectors, item_ids))
    places = places if k is None else places[:, : check_integer("k", k, low=1)]
    values = []
    for rows, unit in unit_blocks(vectors, places):
        n = (places[rows] >= 0).sum(axis=1)
        nonzero = np.einsum("umd,umd->u", unit, unit)
        alike = np.square(unit.sum(axis=1, dtype=np.float64)).sum(axis=1) - nonzero
        pairs = n * (n - 1)
        values.append(1 - alike[pairs > 0] / pairs[pairs > 0])
    distances = np.concatenate([*values, np.empty(0)])
    return float(distances.mean()) if len(distances) else float("nan")


class _Found(NamedTuple):
    """What lists hold of the users who have a positive."""

    items: Counts
    """Positions in test, or -1; shape (users, at most k)."""
    hits: Bools
    """Which of them are positives."""
    positives: Counts
    """How many positives each user has."""
    k: int


def _find(lists: Any, test: Any, k: int | None, users: ArrayLike | None) -> _Found:
    known = as_ratings(test, "test")
    if isinstance(lists, np.ndarray) and lists.ndim != 2:
        raise ValueError(
            f"lists must have two dimensions, users x n, but its shape is {lists.shape}."
        )
    counts = np.diff(known.indptr)
    wanted = np.flatnonzero(counts)
    ids, lengths = _flat(_in_order(lists, known, wanted, users))
    places = _rectangle(ids, lengths, known._items, strict=False)
    k = max(1, places.shape[1]) if k is None else check_integer("k", k, low=1)
    places = places[:, :k]
    ordered = np.sort(places, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("lists must not repeat an item, but one does.")
    cells = row_numbers(known.indptr) * np.int64(known.n_items) + known.indices
    keys = wanted[:, np.newaxis] * known.n_items + places
    at = np.minimum(np.searchsorted(cells, keys), len(cells) - 1)
    return _Found(places, (cells[at] == keys) & (places >= 0), counts[wanted], k)


def _in_order(lists: Any, test: Ratings, wanted: Counts, users: ArrayLike | None) -> Any:
    """Return the lists of the users at some rows of test."""
    if isinstance(lists, Mapping):
        if users is not None:
            raise ValueError("users must not be given where lists is a dict, whose keys they are.")
        users, lists = list(lists), list(lists.values())
    if len(lists) != (n := test.n_users if users is None else len(np.atleast_1d(users))):
        raise ValueError(
            f"lists must have a list for each of the {n:,} users, but it has {len(lists):,}."
        )
    if users is None:
        at = wanted
    else:
        given = IdIndex(as_ids(users, "users"), "user")
        given.check_unique()
        given._check_type(test.user_ids[wanted], "users of test")
        found, at = given._find(test.user_ids[wanted])
        if not found.all():
            missing = test.user_ids[wanted][~found]
            raise ValueError(
                f"lists must have one for every user with a test rating, but {len(missing):,} have "
                f"none, first {missing[0].item()!r}."
            )
    return lists[at] if isinstance(lists, np.ndarray) else [lists[i] for i in at]


def _flat(lists: Any) -> tuple[Any, Counts]:
    """Return the ids of all lists, one behind the other, and how many each list has."""
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        return lists.reshape(-1), np.full(len(lists), lists.shape[1])
    wrong = next(
        (one for one in lists if isinstance(one, str) or not isinstance(one, Iterable)), None
    )
    if wrong is not None:
        raise TypeError(f"lists must be lists of item ids, but one is {shown(wrong)}.")
    lists = [list(one) for one in lists]
    return list(chain.from_iterable(lists)), np.array([len(one) for one in lists], np.int64)


def _rectangle(flat: Any, lengths: Counts, items: IdIndex, *, strict: bool = True) -> Counts:
    """Return lists as rows of positions, -1 where one has ended or, unless strict, is unknown."""
    array = np.asarray(flat, dtype=None if isinstance(flat, np.ndarray) else object)
    none: Any = {"i": -1, "U": ""}.get(array.dtype.kind)
    padding = array == none if none is not None else np.array([x in (-1, "") for x in flat], bool)
    positions = np.full(len(array), -1, np.int64)
    ids = array[~padding]
    if strict:
        positions[~padding] = items.positions(ids, "lists")
    elif len(ids):
        listed = as_ids(ids, "lists")
        items._check_type(listed, "lists")
        found, at = items._find(listed)
        positions[~padding] = np.where(found, at, -1)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = np.arange(len(array)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.full((len(lengths), int(lengths.max(initial=0))), -1, np.int64)
    places[rows, columns] = positions
    return places


def _mean(values: Any) -> float:
    return float(np.mean(values))
