"""The matrix of ratings that every model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from isthmus._util.arrays import (
    as_contiguous,
    as_timestamps,
    as_values,
    check_same_length,
    read_only,
)
from isthmus._util.cached_property import cached_property
from isthmus._util.checks import check_choice, check_integer
from isthmus._util.threads import resolve_num_threads
from isthmus.data import _csr
from isthmus.data._cells import Duplicates, csr_from_cells, matrix_cells, matrix_rows
from isthmus.data._columns import FIELDS
from isthmus.data._csr import CSR
from isthmus.data._frames import frame_cells, to_backend
from isthmus.data._ids import IdArray, IdIndex, as_ids, encode
from isthmus.data._matrices import check_named, checked_matrix
from isthmus.data._values import as_missing

__all__ = ["CSR", "Duplicates", "InFiles", "Ratings", "as_ratings", "in_memory", "mapped"]


class Ratings:
    """Ratings of users for items: a sparse matrix that knows the ids of its rows and columns.

    A stored cell is a rating, also where it is 0; a cell that is not stored is unknown. The arrays
    are read-only. Most objects are made by :func:`~isthmus.data.io.read_ratings` or by
    `from_arrays`, `from_frame` and `from_matrix`.

    Parameters
    ----------
    csr : CSR
        Ratings by users: int64 ``indptr``, int32 ``indices`` in increasing order in each row,
        float32 ``values``. Arrays of these types are not copied, nor are memory maps.
    user_ids, item_ids : array_like of int or str, optional
        Distinct ids of rows and columns; by default their positions. Kept as int64 or as NumPy's
        fixed-width strings.
    timestamps : array_like of int, shape (nnz,), optional
        Seconds since 1970 of each stored cell.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_users + 1,)
    indices : ndarray of int32, shape (nnz,)
    values : ndarray of float32, shape (nnz,)
    timestamps : ndarray of int64, shape (nnz,), or None
    user_ids : ndarray of int64 or str, shape (n_users,)
    item_ids : ndarray of int64 or str, shape (n_items,)
    shape : (int, int)
        Numbers of users and items.

    Raises
    ------
    TypeError, ValueError
        If an array has the wrong type or shape, a rating is not finite, no cell is stored, or ids
        are not unique.

    Examples
    --------
    >>> ratings = Ratings.from_arrays([196, 22, 196], ["Heat", "Alien", "Alien"], [4, 0, 5])
    >>> ratings
    Ratings(2 users x 2 items, 3 ratings in [0, 5])
    >>> ratings.user_index([196, 22])
    array([1, 0])
    """

    def __init__(
        self,
        csr: CSR,
        *,
        user_ids: ArrayLike | IdIndex | None = None,
        item_ids: ArrayLike | IdIndex | None = None,
        timestamps: ArrayLike | None = None,
    ) -> None:
        if not isinstance(csr, CSR):
            raise TypeError(
                f"csr must be a CSR, but it is a {_kind(csr)}; for a matrix of SciPy's there is "
                f"Ratings.from_matrix."
            )
        _csr.check_shape(csr.shape, "csr")
        self.shape = (int(csr.shape[0]), int(csr.shape[1]))
        values = as_values(csr.values, "csr.values")
        _csr.check_structure(csr.indptr, csr.indices, self.shape, "csr")
        self.indptr: NDArray[np.int64] = read_only(as_contiguous(csr.indptr, np.int64))
        self.indices: NDArray[np.int32] = read_only(as_contiguous(csr.indices, np.int32))
        self.values: NDArray[np.float32] = read_only(values)
        check_same_length("csr.values", self.values, "csr.indices", self.indices)
        if self.nnz == 0:
            raise ValueError("csr must hold at least one rating, but no cell is stored.")
        if not _csr.has_increasing_rows(self.indptr, self.indices):
            raise ValueError("csr.indices must increase in every row, but they do not.")
        self._users = _id_index(user_ids, self.n_users, "user", self.nnz)
        self._items = _id_index(item_ids, self.n_items, "item", self.nnz)
        self.timestamps: NDArray[np.int64] | None = None
        if timestamps is not None:
            self.timestamps = read_only(as_timestamps(timestamps))
            check_same_length("timestamps", self.timestamps, "csr.indices", self.indices)

    @classmethod
    def from_arrays(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        ratings: ArrayLike,
        timestamps: ArrayLike | None = None,
        *,
        duplicates: Duplicates = "error",
        user_ids: ArrayLike | None = None,
        item_ids: ArrayLike | None = None,
    ) -> Ratings:
        """Make ratings from three or four arrays with one entry a rating.

        Parameters
        ----------
        users, items : array_like of int or str, shape (n,)
            Ids; integers are 0 or more.
        ratings : array_like of real numbers, shape (n,)
            Finite; 0 is a rating, and True is 1.
        timestamps : array_like of int or datetime64, shape (n,), optional
            Seconds since 1970, or points in time, which are rounded down to whole seconds.
        duplicates : {"error", "mean", "sum", "last"}, default "error"
            What to do if a user rated an item more than once: refuse, keep the mean or the sum (and
            the latest timestamp), or keep what comes last in the arrays.
        user_ids, item_ids : array_like of int or str, optional
            All users or items, in the order that rows or columns shall have, with or without
            ratings; by default those that occur, sorted.

        Returns
        -------
        Ratings

        Raises
        ------
        TypeError, ValueError
            If the arrays do not fit each other or hold invalid values.

        Examples
        --------
        >>> Ratings.from_arrays([1, 1], [7, 7], [2, 5], duplicates="mean").values
        array([3.5], dtype=float32)
        """
        row_ids, column_ids = as_ids(users, "users"), as_ids(items, "items")
        values = as_values(ratings, "ratings")
        check_same_length("items", column_ids, "users", row_ids)
        check_same_length("ratings", values, "users", row_ids)
        stamps = None if timestamps is None else as_timestamps(timestamps)
        if stamps is not None:
            check_same_length("timestamps", stamps, "users", row_ids)
        if len(values) == 0:
            raise ValueError("ratings must hold at least one rating, but it is empty.")
        user_index, rows = _place(*encode(row_ids), user_ids, "user")
        item_index, columns = _place(*encode(column_ids), item_ids, "item")
        return cls._from_cells(rows, columns, values, stamps, duplicates, user_index, item_index)

    @classmethod
    def from_frame(
        cls,
        df: Any,
        *,
        user: str | int | None = None,
        item: str | int | None = None,
        rating: str | int | None = None,
        timestamp: str | int | None = None,
        implicit: bool = False,
        duplicates: Duplicates = "error",
        missing_values: float | Sequence[float] | None = None,
    ) -> Ratings:
        """Make ratings from a data frame with one row a rating.

        Parameters
        ----------
        df : pandas.DataFrame, polars.DataFrame, pyarrow.Table or what narwhals takes for one
        user, item, rating, timestamp : str or int, optional
            Names of columns, or positions; by default the usual names (``userId``, ``movie_id``,
            ``score``...). There need be no timestamp.
        implicit : bool, default False
            Whether every row is a rating of 1, so that no rating column is needed. Rows that
            repeat are one, unless `duplicates` is "sum", which counts them.
        duplicates : {"error", "mean", "sum", "last"}, default "error"
            As for `from_arrays`.
        missing_values : float or sequence of float, optional
            Values that mean "no rating", as -1 for "seen, not rated": their rows are left out, and
            so are users and items without other ratings.

        Returns
        -------
        Ratings

        Raises
        ------
        TypeError, ValueError
            If `df` is no data frame, lacks a column, or a column holds invalid values.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"userId": [1, 2], "movieId": [5, 5], "rating": [3.5, 4.0]})
        >>> Ratings.from_frame(frame)
        Ratings(2 users x 1 items, 2 ratings in [3.5, 4])
        """
        names = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
        missing = as_missing(missing_values, implicit=implicit)
        cells = frame_cells(df, names, implicit=implicit, missing=missing)
        if implicit and duplicates == "error":
            duplicates = "mean"  # which is 1
        users, items = IdIndex(cells.user_ids, "user"), IdIndex(cells.item_ids, "item")
        return cls._from_cells(
            *(cells.rows, cells.columns, cells.values, cells.timestamps),
            *(duplicates, users, items),
        )

    @classmethod
    def from_matrix(
        cls,
        X: Any,
        *,
        user_ids: ArrayLike | IdIndex | None = None,
        item_ids: ArrayLike | IdIndex | None = None,
        duplicates: Duplicates = "error",
    ) -> Ratings:
        """Make ratings from a SciPy sparse matrix or array, users x items.

        Parameters
        ----------
        X : scipy.sparse array or matrix, shape (n_users, n_items)
            Any format and real type. Every stored cell is a rating, also where it is 0. A CSR
            with float32 values and sorted int32 indices is not copied.
        user_ids, item_ids : array_like of int or str, optional
            Ids of rows and columns; by default their positions. Without ids, a matrix may have at
            most 10 million more users, or items, than ratings.
        duplicates : {"error", "mean", "sum", "last"}, default "error"
            As for `from_arrays`. (SciPy itself would add the values up.)

        Returns
        -------
        Ratings

        Raises
        ------
        TypeError, ValueError
            If `X` is not sparse or holds invalid values.

        Examples
        --------
        >>> from scipy import sparse
        >>> Ratings.from_matrix(sparse.coo_array(([0.0, 4.0], ([0, 1], [2, 0])), shape=(2, 3)))
        Ratings(2 users x 3 items, 2 ratings in [0, 4])
        """
        return cls._from_matrix(X, "X", user_ids, item_ids, duplicates)

    @classmethod
    def _from_matrix(
        cls,
        X: Any,
        name: str,
        user_ids: ArrayLike | IdIndex | None,
        item_ids: ArrayLike | IdIndex | None,
        duplicates: Duplicates = "error",
    ) -> Ratings:
        """Make ratings from a sparse matrix that the caller calls `name`."""
        if not sparse.issparse(X):
            raise TypeError(_no_matrix(X, name))
        matrix = checked_matrix(X, name)
        if matrix.nnz == 0:
            raise ValueError(f"{name} must hold at least one rating, but no cell is stored.")
        shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        users = _id_index(user_ids, shape[0], "user", matrix.nnz, name)
        items = _id_index(item_ids, shape[1], "item", matrix.nnz, name)
        if matrix.format == "csr":
            csr = matrix_rows(matrix, shape, name)
            if _csr.has_increasing_rows(csr.indptr, csr.indices):
                return cls(csr, user_ids=users, item_ids=items)
            rows, columns, values = _csr.row_numbers(csr.indptr), csr.indices, csr.values
        else:
            rows, columns, values = matrix_cells(X, matrix, name)
        return cls._from_cells(rows, columns, values, None, duplicates, users, items)

    @classmethod
    def _from_cells(
        cls,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        values: NDArray[np.float32],
        timestamps: NDArray[np.int64] | None,
        duplicates: Duplicates,
        users: IdIndex,
        items: IdIndex,
    ) -> Ratings:
        matrix, stamps = csr_from_cells(
            *(rows, columns, values, timestamps),
            duplicates=duplicates,
            user_ids=users.ids,
            item_ids=items.ids,
        )
        return cls(matrix, user_ids=users, item_ids=items, timestamps=stamps)

    @property
    def user_ids(self) -> IdArray:
        """Ids of the rows."""
        return self._users.ids

    @property
    def item_ids(self) -> IdArray:
        """Ids of the columns."""
        return self._items.ids

    @property
    def n_users(self) -> int:
        """Number of users, with or without ratings."""
        return self.shape[0]

    @property
    def n_items(self) -> int:
        """Number of items, with or without ratings."""
        return self.shape[1]

    @property
    def nnz(self) -> int:
        """Number of ratings."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """Share of the cells that hold a rating."""
        return self.nnz / self.n_users / self.n_items

    @property
    def min(self) -> float:
        """Lowest rating."""
        return self._statistics[0]

    @property
    def max(self) -> float:
        """Highest rating."""
        return self._statistics[1]

    @property
    def mean(self) -> float:
        """Mean of the ratings, summed in double precision."""
        return self._statistics[2]

    @cached_property
    def _statistics(self) -> tuple[float, float, float]:
        mean = self.values.mean(dtype=np.float64)
        return float(self.values.min()), float(self.values.max()), float(mean)

    def __repr__(self) -> str:
        return (
            f"Ratings({self.n_users} users x {self.n_items} items, "
            f"{self.nnz:,} ratings in [{self.min:g}, {self.max:g}])"
        )

    def user_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Find the rows of users.

        Parameters
        ----------
        ids : int, str or array_like of either
            Ids, of the type that `user_ids` has: 196 and "196" differ.

        Returns
        -------
        ndarray of int64
            Positions, in the shape of `ids`.

        Raises
        ------
        TypeError, ValueError
            If an id is unknown or of another type.
        """
        return self._users.positions(ids, "users")

    def item_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Find the columns of items; see `user_index`."""
        return self._items.positions(ids, "items")

    def cell_index(self, users: ArrayLike, items: ArrayLike) -> NDArray[np.int64]:
        """Find where the ratings of some (user, item) pairs are stored.

        Parameters
        ----------
        users, items : array_like of int or str, shape (n,)
            Ids.

        Returns
        -------
        ndarray of int64, shape (n,)
            Positions in `indices`, `values` and `timestamps`.

        Raises
        ------
        TypeError, ValueError
            If an id is unknown or a pair has no rating.

        Examples
        --------
        >>> ratings = Ratings.from_arrays([1, 1, 2], [5, 6, 5], [3, 4, 2])
        >>> ratings.values[ratings.cell_index([2, 1], [5, 6])]
        array([2., 4.], dtype=float32)
        """
        rows, columns = self.user_index(users), self.item_index(items)
        check_same_length("items", columns, "users", rows)
        stored = _csr.row_numbers(self.indptr).astype(np.int64) * self.n_items + self.indices
        wanted = rows * self.n_items + columns
        place = np.minimum(np.searchsorted(stored, wanted), self.nnz - 1)
        missing = np.flatnonzero(stored[place] != wanted)
        if len(missing):
            user, item = self.user_ids[rows[missing[0]]], self.item_ids[columns[missing[0]]]
            raise ValueError(
                f"users and items must be pairs with a rating, but {len(missing):,} of "
                f"{len(wanted):,} have none, first user {user.item()!r} and item {item.item()!r}."
            )
        return place

    def has_same_ids(self, other: Ratings) -> bool:
        """Return whether both have the same users and items in the same order."""
        return self._users.matches(other._users) and self._items.matches(other._items)

    def rows(self, orientation: Literal["user", "item"], *, num_threads: int = 0) -> CSR:
        """Return the ratings by users, as they are stored, or by items.

        Parameters
        ----------
        orientation : {"user", "item"}
            What the rows are. By items, the matrix is transposed, which copies it.
        num_threads : int, default 0
            0 means all that this process may use.

        Returns
        -------
        CSR
            int64 ``indptr``, sorted int32 ``indices``, float32 ``values`` and ``shape``.

        Raises
        ------
        TypeError, ValueError
            If an argument is not allowed.
        """
        check_choice("orientation", orientation, ("user", "item"))
        threads = resolve_num_threads(num_threads)
        by_user = CSR(self.indptr, self.indices, self.values, self.shape)
        return by_user if orientation == "user" else _csr.transpose(by_user, threads)

    def to_arrays(
        self,
    ) -> tuple[IdArray, IdArray, NDArray[np.float32], NDArray[np.int64] | None]:
        """Return users, items, ratings and timestamps with one entry a rating, in stored order.

        Examples
        --------
        >>> Ratings.from_arrays(["b", "a"], [1, 2], [3, 4]).to_arrays()[0].tolist()
        ['a', 'b']
        """
        users = self.user_ids[_csr.row_numbers(self.indptr)]
        return users, self.item_ids[self.indices], self.values, self.timestamps

    def to_frame(self, backend: Literal["pyarrow", "pandas", "polars"] = "pyarrow") -> Any:
        """Return a data frame with one row a rating, in stored order.

        Parameters
        ----------
        backend : {"pyarrow", "pandas", "polars"}, default "pyarrow"

        Returns
        -------
        pyarrow.Table, pandas.DataFrame or polars.DataFrame
            Columns user, item, rating and, if they are known, timestamp.

        Raises
        ------
        ImportError
            If the backend is not installed.
        ValueError
            If `backend` is unknown.
        """
        columns = dict(zip(FIELDS, self.to_arrays(), strict=True))
        table = pa.table({name: array for name, array in columns.items() if array is not None})
        return to_backend(table, backend)

    def to_matrix(self) -> Any:
        """Return a ``scipy.sparse.csr_array``, users x items."""
        return sparse.csr_array((self.values, self.indices, self.indptr), shape=self.shape)

    def __getitem__(self, index: Any) -> Ratings:
        """Keep the ratings at some positions in stored order, or under a mask; see `select`.

        For scikit-learn, which splits data so by the positions that `RatingKFold` gives.
        """
        # it asks for data[positions, ...], as of an array
        alone = isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis
        at = np.asarray(index[0] if alone else index)
        if at.dtype == np.bool_:
            return self.select(at)
        if at.dtype.kind not in "iu" or at.ndim != 1:
            raise TypeError(
                f"index must hold positions of ratings, or a mask, but its dtype is {at.dtype} and "
                f"its shape {at.shape}."
            )
        if len(at) and not 0 <= at.min() <= at.max() < self.nnz:
            raise ValueError(
                f"index must lie between 0 and {self.nnz - 1}, but it goes from {at.min()} to "
                f"{at.max()}."
            )
        mask = np.zeros(self.nnz, np.bool_)
        mask[at] = True
        return self.select(mask)

    def select(self, mask: ArrayLike) -> Ratings:
        """Keep some of the ratings, and all users and items.

        Parameters
        ----------
        mask : array_like of bool, shape (nnz,)
            Which ratings to keep, in stored order.

        Returns
        -------
        Ratings

        Raises
        ------
        TypeError, ValueError
            If `mask` is no such array, or keeps nothing.
        """
        keep = np.asarray(mask)
        if keep.dtype != np.bool_:
            raise TypeError(f"mask must hold booleans, but its dtype is {keep.dtype}.")
        if keep.shape != (self.nnz,):
            raise ValueError(
                f"mask must have shape ({self.nnz},), one entry a rating, "
                f"but its shape is {keep.shape}."
            )
        kept = np.flatnonzero(keep)
        if len(kept) == 0:
            raise ValueError("mask must keep at least one rating, but it keeps none.")
        indptr = np.searchsorted(kept, self.indptr)
        return Ratings(
            CSR(indptr, self.indices[kept], self.values[kept], self.shape),
            user_ids=self._users,
            item_ids=self._items,
            timestamps=None if self.timestamps is None else self.timestamps[kept],
        )

    def binarize(self, threshold: float) -> Ratings:
        """Keep the ratings of at least `threshold`, each as 1, and all users and items.

        Parameters
        ----------
        threshold : float

        Returns
        -------
        Ratings

        Raises
        ------
        ValueError
            If every rating is lower.
        """
        mask = self.values >= threshold
        if not mask.any():
            raise ValueError(
                f"threshold must be at most the highest rating, {self.max:g}, "
                f"but it was {threshold}."
            )
        part = self.select(mask)
        return part._with_values(np.ones(part.nnz, np.float32))

    def log1p(self) -> Ratings:
        """Return the ratings as log(1 + rating), so that large counts do not outweigh all others.

        Returns
        -------
        Ratings

        Raises
        ------
        ValueError
            If a rating is not above -1.

        Examples
        --------
        >>> plays = Ratings.from_arrays([1, 1], [5, 6], [1, 1023])
        >>> plays.log1p()
        Ratings(1 users x 2 items, 2 ratings in [0.693147, 6.93147])
        """
        if not self.min > -1:
            raise ValueError(f"ratings must be above -1 for log1p, but the lowest is {self.min:g}.")
        return self._with_values(np.log1p(self.values))

    def _with_values(self, values: NDArray[np.float32]) -> Ratings:
        return Ratings(
            CSR(self.indptr, self.indices, values, self.shape),
            user_ids=self._users,
            item_ids=self._items,
            timestamps=self.timestamps,
        )

    def k_core(self, users: int, items: int) -> Ratings:
        """Drop users and items with few ratings, again and again, until none has too few.

        Parameters
        ----------
        users, items : int
            The fewest ratings that a user, or an item, may have. 1 drops what has none.

        Returns
        -------
        Ratings
            With the users and items that remain.

        Raises
        ------
        ValueError
            If nothing remains.

        Examples
        --------
        >>> Ratings.from_arrays([1, 1, 2], [5, 6, 5], [3, 4, 2]).k_core(users=2, items=1)
        Ratings(1 users x 2 items, 2 ratings in [3, 4])
        """
        check_integer("users", users, low=0)
        check_integer("items", items, low=0)
        rows = _csr.row_numbers(self.indptr)
        keep = np.ones(self.nnz, np.bool_)
        while True:
            per_user = np.bincount(rows[keep], minlength=self.n_users)
            per_item = np.bincount(self.indices[keep], minlength=self.n_items)
            lost = keep & ((per_user < users)[rows] | (per_item < items)[self.indices])
            if not lost.any():
                break
            keep &= ~lost
        if not keep.any():
            raise ValueError(
                f"users and items must leave some ratings, but no user has {users} ratings of "
                f"items with {items}."
            )
        kept_users, kept_items = per_user > 0, per_item > 0
        columns = (np.cumsum(kept_items) - 1).astype(np.int32)[self.indices[keep]]
        indptr = np.concatenate(([0], np.cumsum(per_user[kept_users])))
        shape = (int(kept_users.sum()), int(kept_items.sum()))
        return Ratings(
            CSR(indptr, columns, self.values[keep], shape),
            user_ids=self.user_ids[kept_users],
            item_ids=self.item_ids[kept_items],
            timestamps=None if self.timestamps is None else self.timestamps[keep],
        )


@runtime_checkable
class InFiles(Protocol):
    """Ratings that are not in memory yet, as `Shards` are."""

    def to_ratings(self, *, mmap: bool = False) -> Ratings:
        """Read them, or map them into memory."""


def in_memory(X: Any) -> Any:
    """Read what a model is to be fitted to, if it is in files; leave anything else as it is."""
    return X.to_ratings() if isinstance(X, InFiles) else X


def mapped(X: Any) -> Any:
    """Map what a model is to be fitted to, if it is in files; leave anything else as it is."""
    return X.to_ratings(mmap=True) if isinstance(X, InFiles) else X


def as_ratings(
    X: Any, name: str = "X", users: IdIndex | None = None, items: IdIndex | None = None
) -> Ratings:
    """Return what a model is fitted to: ratings as they are, or a sparse matrix as ratings.

    Parameters
    ----------
    X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
    name : str, default "X"
        What the caller calls it, for messages.
    users, items : IdIndex, optional
        Ids of a matrix's rows and columns; by default their positions.

    Returns
    -------
    Ratings

    Raises
    ------
    TypeError, ValueError
        If `X` is neither, or holds invalid values.
    """
    if isinstance(X, Ratings):
        return X
    return Ratings._from_matrix(X, name, users, items)


def _place(
    distinct: IdArray, codes: NDArray[np.int32], given: ArrayLike | None, kind: str
) -> tuple[IdIndex, NDArray[np.int32]]:
    if given is None:
        return IdIndex(distinct, kind), codes
    index = IdIndex(as_ids(given, f"{kind}_ids"), kind)
    index.check_unique()
    return index, index.positions(distinct, f"{kind}s").astype(np.int32)[codes]


def _id_index(
    ids: ArrayLike | IdIndex | None, n: int, kind: str, cells: int, name: str = "csr"
) -> IdIndex:
    if ids is None:
        check_named(n, cells, name, f"{kind}s", f"{kind}_ids")
        return IdIndex(np.arange(n, dtype=np.int64), kind)
    index = ids if isinstance(ids, IdIndex) else IdIndex(as_ids(ids, f"{kind}_ids"), kind)
    if len(index) != n:
        raise ValueError(
            f"{kind}_ids must have {n:,} entries, one a {kind} of the matrix, "
            f"but it has {len(index):,}."
        )
    if index is not ids:
        index.check_unique()
    return index


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def _no_matrix(X: Any, name: str) -> str:
    if isinstance(X, np.ndarray):
        return (
            f"{name} must be sparse, for a stored cell is a rating and any other is unknown, but "
            f"it is a {_kind(X)}, in which nothing is unknown: if 0 stands for unknown, pass "
            f"scipy.sparse.csr_array(X)."
        )
    return (
        f"{name} must be Ratings or a scipy.sparse array, users x items, but it is a {_kind(X)}; "
        f"for a data frame there is Ratings.from_frame, for a file read_ratings."
    )
