"""Which items each user may be recommended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus._util.checks import shown
from isthmus.data._csr import CSR, as_pattern, as_scipy
from isthmus.data._ids import IdIndex
from isthmus.data.ratings import Ratings

__all__ = ["Allowed", "allowed_items"]

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
    """Cells of users x items; nothing that is left out is among them."""


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
    left_out, kept = seen if exclude_seen else None, None
    if isinstance(out, CSR):
        left_out = out if left_out is None else as_pattern(as_scipy(left_out) + as_scipy(out))
    elif out is not None:
        kept = np.setdiff1d(np.arange(len(items)), out)
    if isinstance(chosen, CSR):
        return Allowed(left_out, lists=_less(chosen, left_out, kept))
    if chosen is not None and kept is not None:
        kept = np.intersect1d(chosen, kept)
    return Allowed(left_out, pool=chosen if kept is None else kept)


def _less(lists: CSR, left_out: CSR | None, kept: Positions | None) -> CSR:
    """Return the cells of lists that are not left out, and of items that are kept."""
    cells = as_scipy(lists)
    if left_out is not None:
        cells = cells - cells.multiply(as_scipy(left_out))
    if kept is not None:
        cells = cells.multiply(np.isin(np.arange(lists.shape[1]), kept)).tocsr()
    cells.eliminate_zeros()
    return as_pattern(cells)


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
    if hasattr(X, "__array__"):  # as that of Arrow, whose elements are no ids
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
            f"{name} must be item ids, or a list of them for each user, but beside lists it has "
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
