"""Lists in another order, or with fewer items: at most so many of a group, and diversity."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus._util.checks import check_integer, check_real
from isthmus.data._vectors import item_rows, unit_blocks

__all__ = ["cap_groups", "diversify"]


def cap_groups(
    ids: Any, scores: Any, groups: Mapping[Any, Any], *, most: int, n: int | None = None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Keep at most so many items of a group in a list, the first ones.

    Parameters
    ----------
    ids, scores : array_like, shape (n_users, m) or (m,)
        Lists as `Recommender.recommend` returns them. Ask it for more items than you need, as no
        others are added.
    groups : mapping of item id to str, int or an iterable of them
        An item's genre or artist, or several; each must have room for the item. Items without an
        entry have no group.
    most : int
        Items of a group in a list, at least 1.
    n : int, optional
        Items of a list to keep; by default the length of the lists.

    Returns
    -------
    ids, scores : ndarray, shape (n_users, n) or (n,)
        In the given order; lists end in -1 or "" and NaN.

    Raises
    ------
    TypeError, ValueError
        If the shapes differ, or `most` or `n` is below 1.

    Examples
    --------
    >>> genres = {1: "drama", 2: "drama", 3: ["drama", "crime"], 4: "comedy"}
    >>> cap_groups([1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6], genres, most=2, n=3)[0]
    array([1, 2, 4])
    """
    lists, values = _as_lists(ids, scores)
    check_integer("most", most, low=1)
    n = lists.shape[1] if n is None else check_integer("n", n, low=1)
    chosen = np.full((len(lists), n), -1, np.int64)
    for row, items in enumerate(lists.tolist()):
        taken: Counter[Any] = Counter()
        kept: list[int] = []
        for place, item in enumerate(items):
            if len(kept) == n or item in (-1, ""):
                break
            own = _groups_of(groups.get(item))
            if all(taken[group] < most for group in own):
                taken.update(own)
                kept.append(place)
        chosen[row, : len(kept)] = kept
    return _chosen(lists, values, chosen, np.ndim(ids))


def diversify(
    ids: Any,
    scores: Any,
    vectors: Any,
    *,
    item_ids: ArrayLike | None = None,
    trade_off: float = 0.7,
    n: int = 10,
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    r"""Choose items of a list that are relevant and unlike each other.

    Parameters
    ----------
    ids, scores : array_like, shape (n_users, m) or (m,)
        Lists as `Recommender.recommend` returns them, of several times `n` items.
    vectors : array_like or scipy.sparse array or matrix, shape (n_items, d)
        They define how alike items are, as genres or a `Content`'s matrix do.
    item_ids : array_like, shape (n_items,), optional
        Ids of the rows of `vectors`; by default their positions.
    trade_off : float, default 0.7
        1 keeps the order, 0 looks at likeness alone.
    n : int, default 10
        Items of a list to choose.

    Returns
    -------
    ids, scores : ndarray, shape (n_users, n) or (n,)
        In the order of choice, with their given scores.

    Raises
    ------
    TypeError, ValueError
        If the shapes differ, an item has no vector, or a parameter is out of its range.

    Notes
    -----
    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): the next item has the greatest
    :math:`\lambda \, r_i - (1 - \lambda) \max_{j} \cos(v_i, v_j)`, over the j chosen before. The
    relevance is the place in the list, :math:`r_i = 1 - \mathrm{place} / m`, from 0: scores of
    models differ in scale, and those of models of ratings need not fall along a list.

    Examples
    --------
    >>> genres = [[1, 0], [1, 0], [0, 1]]
    >>> diversify([0, 1, 2], [0.9, 0.8, 0.7], genres, trade_off=0.5, n=2)[0]
    array([0, 2])
    """
    lists, values = _as_lists(ids, scores)
    check_real("trade_off", trade_off, low=0, high=1)
    check_integer("n", n, low=1)
    index = item_rows(vectors, item_ids)
    there = ~np.isin(lists, [""] if lists.dtype.kind == "U" else [-1])
    places = np.full(lists.shape, -1, np.int64)
    places[there] = index.positions(lists[there], "ids")
    chosen = np.full((len(lists), n), -1, np.int64)
    relevance = trade_off * (1 - np.arange(lists.shape[1]) / max(1, lists.shape[1]))
    for block, unit in unit_blocks(vectors, places):
        chosen[block] = _choose(unit, relevance, there[block], 1 - trade_off, n)
    return _chosen(lists, values, chosen, np.ndim(ids))


def _choose(
    unit: NDArray[np.float32],
    relevance: NDArray[np.float64],
    left: NDArray[np.bool_],
    weight: float,
    n: int,
) -> NDArray[np.int64]:
    """Choose n of each list, one after the other; -1 where nothing is left."""
    chosen = np.full((len(unit), n), -1, np.int64)
    nearest = np.full(left.shape, -np.inf)
    left = left.copy()
    rows = np.arange(len(unit))
    for step in range(min(n, left.shape[1])):
        value = relevance - (weight * nearest if step else 0.0)
        best = np.argmax(np.where(left, value, -np.inf), axis=1)
        chosen[:, step] = np.where(left[rows, best], best, -1)
        left[rows, best] = False
        cosines = np.einsum("umd,ud->um", unit, unit[rows, best])
        nearest = np.maximum(nearest, cosines)
    return chosen


def _as_lists(ids: Any, scores: Any) -> tuple[NDArray[Any], NDArray[np.float32]]:
    lists, values = np.asarray(ids), np.asarray(scores, np.float32)
    if lists.ndim not in (1, 2) or lists.shape != values.shape:
        raise ValueError(
            f"ids and scores must be of one shape, (n_users, m) or (m,), but they are "
            f"{lists.shape} and {values.shape}."
        )
    if lists.dtype.kind not in "iuU":
        raise TypeError(f"ids must be integers or strings, but their dtype is {lists.dtype}.")
    return np.atleast_2d(lists), np.atleast_2d(values)


def _groups_of(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        return (given,)
    return tuple(dict.fromkeys(given))


def _chosen(
    lists: NDArray[Any], values: NDArray[np.float32], chosen: NDArray[np.int64], dimensions: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the ids at the chosen places, and -1 or "" where the place is -1."""
    none: Any = "" if lists.dtype.kind == "U" else -1
    ids = np.where(chosen < 0, none, np.take_along_axis(lists, np.maximum(chosen, 0), axis=1))
    scores = np.where(chosen < 0, np.nan, np.take_along_axis(values, np.maximum(chosen, 0), axis=1))
    ids, scores = ids.astype(lists.dtype), scores.astype(np.float32)
    return (ids[0], scores[0]) if dimensions == 1 else (ids, scores)
