"""Which items each user may be recommended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus._util.checks import shown
from isthmus.data._csr import CSR, as_pattern, as_scipy, union, without
from isthmus.data._ids import IdIndex
from isthmus.data.ratings import Ratings

__all__ = ["Allowed", "allow", "allowed_items", "pool_of"]

Positions = NDArray[np.int64]


class Allowed(NamedTuple):
    """What to choose from, and what to leave out, as positions of items.

    At most one of `pool` and `lists` is given; without either, all items are chosen from.
    """

    left_out: CSR | None
    """Cells of users x items."""
    pool: Positions | None = None
    """Items for all users alike, ascending."""
    lists: CSR | None = None
    """Cells of users x items, without those that are left out."""


def allowed_items(
    candidates: Any,
    exclude: Any,
    *,
    seen: CSR,
    exclude_seen: bool,
    items: IdIndex,
    pattern: Callable[[Any, str], CSR],
) -> Allowed:
    """Read what `Recommender.recommend` takes.

    Parameters
    ----------
    candidates, exclude : Any
        One list of item ids, a list for each user, or a matrix; None is all items, or no item.
    seen : CSR
        What the users have had, a row each.
    exclude_seen : bool
        Whether that is left out.
    items : IdIndex
    pattern : callable
        Turns a matrix and its name into cells with the rows of `seen`.
    """
    chosen, out = (
        None if X is None else _choice(X, name, items, seen.shape, pattern)
        for X, name in ((candidates, "candidates"), (exclude, "exclude"))
    )
    left_out = seen if exclude_seen else None
    if isinstance(out, CSR):
        left_out, out = out if left_out is None else union(left_out, out), None
    lists = None
    if isinstance(chosen, CSR):
        lists, chosen = chosen, None
    return allow(left_out, _pool(chosen, out, len(items)), lists)


def allow(left_out: CSR | None, pool: Positions | None, lists: CSR | None) -> Allowed:
    """Return what users choose from: items of the pool and, with lists, of their own list.

    Parameters
    ----------
    left_out, lists : CSR, optional
        Cells of users x items.
    pool : ndarray of int64, optional
        Items for all users alike, ascending; all by default.
    """
    if lists is None:
        return Allowed(left_out, pool)
    if left_out is not None:
        lists = without(lists, left_out)
    if pool is not None:
        in_pool = np.zeros(lists.shape[1], np.int8)
        in_pool[pool] = 1
        cells = as_scipy(lists).multiply(in_pool).tocsr()
        cells.eliminate_zeros()
        lists = as_pattern(cells)
    return Allowed(left_out, lists=lists)


def pool_of(candidates: Any, exclude: Any, items: IdIndex) -> Positions | None:
    """Return the positions of what all users choose from, ascending; None for all items.

    Parameters
    ----------
    candidates, exclude : array_like of int or str, optional
        Ids of items.
    items : IdIndex
    """
    chosen, out = (
        None if X is None else _for_all(X, name, items)
        for X, name in ((candidates, "candidates"), (exclude, "exclude"))
    )
    return _pool(chosen, out, len(items))


def _for_all(X: Any, name: str, items: IdIndex) -> Positions:
    try:
        ids = np.atleast_1d(X)
    except ValueError:  # lists of different lengths
        ids = np.empty((0, 0))
    if ids.ndim > 1:
        raise ValueError(
            f"{name} must be one list of item ids, for all users alike, but it was a list of "
            f"lists; those of each user are a column of histories."
        )
    return np.unique(items.positions(ids, name))


def _pool(chosen: Positions | None, out: Positions | None, n_items: int) -> Positions | None:
    """Return what is chosen, but not what is left out."""
    if out is None:
        return chosen
    return np.setdiff1d(np.arange(n_items) if chosen is None else chosen, out)


def _choice(
    X: Any,
    name: str,
    items: IdIndex,
    shape: tuple[int, int],
    pattern: Callable[[Any, str], CSR],
) -> Positions | CSR:
    """Return the positions of items for all users alike, ascending, or cells of users x items."""
    if isinstance(X, Ratings) or sparse.issparse(X):
        return pattern(X, name)
    if isinstance(X, Mapping):
        raise TypeError(
            f"{name} must be item ids, a list of them for each user, Ratings or a sparse matrix, "
            f"but it is a {type(X).__name__}."
        )
    if hasattr(X, "__array__"):  # such as an Arrow list, whose elements are no ids
        X = np.atleast_1d(np.asarray(X))
    if isinstance(X, np.ndarray) and X.ndim == 2:
        ends = np.char.equal(X, "") if X.dtype.kind == "U" else X == -1  # where short lists end
        return _from_lists(X[~ends], np.sum(~ends, axis=1), name, items, shape)
    given = list(X) if _is_list(X) else [X]
    nested = list(map(_is_list, given))
    if not any(nested):
        return np.unique(items.positions(X if isinstance(X, np.ndarray) else given, name))
    if not all(nested):
        raise ValueError(
            f"{name} must be item ids, or a list of them for each user, but besides lists it has "
            f"{shown(given[nested.index(False)])}."
        )
    lists = [list(one) for one in given]
    flat = list(chain.from_iterable(lists))
    return _from_lists(flat, np.array(list(map(len, lists))), name, items, shape)


def _is_list(X: Any) -> bool:
    if isinstance(X, np.ndarray):
        return X.ndim > 0
    return isinstance(X, Iterable) and not isinstance(X, str | bytes)


def _from_lists(
    flat: Any, lengths: NDArray[np.int64], name: str, items: IdIndex, shape: tuple[int, int]
) -> CSR:
    """Turn a list of ids for each user, one behind the other, into cells."""
    if len(lengths) != shape[0]:
        raise ValueError(
            f"{name} must have a list for each of the {shape[0]:,} users, but it has "
            f"{len(lengths):,} lists."
        )
    columns = items.positions(flat, name)
    if columns.ndim != 1:
        raise ValueError(f"{name} must be lists of item ids, but they are lists of lists of ids.")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return as_pattern(sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape))
