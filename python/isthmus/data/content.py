"""What is known of items apart from ratings: bags of words, tags, any features of 0 or more."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from isthmus.data import _compute as pc
from isthmus.data._csr import CSR, check_shape
from isthmus.data._frames import distinct_values
from isthmus.data._ids import IdArray, IdIndex, as_ids, as_strings, rank_codes
from isthmus.data._matrices import check_named, checked_matrix

__all__ = ["MAX_FEATURES", "Content"]

MAX_FEATURES = int(np.iinfo(np.int32).max)
"""As many as int32 numbers."""

AXES = ("items", "features")
"""The names of content's rows and columns, for messages."""


class Content:
    """Features of items: a sparse matrix of items x features that knows the items' ids.

    An item's features are divided by the greatest of them, so that all lie in [0, 1] and counts
    of words need no preparation. An item without a feature above 0 has no content. Most objects
    are made by `from_matrix` and `from_frame`.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix, shape (n_items, n_features)
        Finite numbers of at least 0. It is copied.
    item_ids : array_like of int or str, shape (n_items,), optional
        Distinct ids of the rows; by default their positions.
    vocabulary : array_like of str, shape (n_features,), optional
        Distinct names of the columns, if they have any.

    Attributes
    ----------
    rows : CSR
        int64 ``indptr``, int32 ``indices`` in increasing order, float32 ``values`` in (0, 1].
    item_ids : ndarray of int64 or str, shape (n_items,)
    vocabulary : ndarray of str, shape (n_features,), or None

    Raises
    ------
    TypeError, ValueError
        If the matrix is not sparse or holds anything but finite numbers of at least 0, or ids or
        words are not unique or not as many as rows or columns.

    Examples
    --------
    >>> import pandas as pd
    >>> papers = pd.DataFrame({"item": [7, 3], "tokens": [["deep", "net", "deep"], ["net"]]})
    >>> content = Content.from_frame(papers)
    >>> content
    Content(2 items x 2 features, 3 above 0)
    >>> content.vocabulary.tolist()
    ['deep', 'net']
    >>> content.rows.values
    array([1. , 0.5, 1. ], dtype=float32)
    """

    def __init__(
        self,
        matrix: Any,
        *,
        item_ids: ArrayLike | None = None,
        vocabulary: ArrayLike | None = None,
    ) -> None:
        cells = checked_content(matrix, named=item_ids is not None)
        if vocabulary is None:
            check_named(matrix.shape[1], cells.nnz, "content", "features", "vocabulary")
        self.rows = _scaled_rows(cells)
        n_items, n_features = self.rows.shape
        ids = np.arange(n_items) if item_ids is None else as_ids(item_ids, "item_ids")
        _check_length("item_ids", ids, n_items, "items")
        self._items = IdIndex(ids, "item")
        self._items.check_unique()
        self.vocabulary: NDArray[np.str_] | None = None
        if vocabulary is not None:
            self.vocabulary = _as_vocabulary(vocabulary)
            _check_length("vocabulary", self.vocabulary, n_features, "features")
            if len(np.unique(self.vocabulary)) < n_features:
                raise ValueError("vocabulary must hold distinct words, but one occurs twice.")

    @classmethod
    def from_frame(
        cls,
        df: Any,
        *,
        item: str | int = "item",
        tokens: str | int = "tokens",
        vocabulary: ArrayLike | None = None,
    ) -> Content:
        """Make content from a data frame with a list of tokens for each item.

        Parameters
        ----------
        df : pandas.DataFrame, polars.DataFrame, pyarrow.Table or what narwhals takes for one
            One row an item.
        item, tokens : str or int, default "item" and "tokens"
            Names of the columns. Tokens are lists of strings; one that occurs twice counts twice. A
            missing or empty list is an item without content.
        vocabulary : array_like of str, optional
            The words to keep, in the order of the columns; by default all that occur, sorted.

        Returns
        -------
        Content

        Raises
        ------
        TypeError, ValueError
            If there is no such column, tokens are not lists of strings, or an item occurs twice.
        """
        table = _item_table(df, item, tokens)
        lists = table["tokens"].combine_chunks()
        kind = lists.type
        if pa.types.is_null(kind):  # no item has any
            lists = lists.cast(pa.list_(pa.string()))
        elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            raise TypeError(
                f"column {tokens!r} must hold lists of strings, but its type is {kind}."
            )
        counts = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        words = lists.flatten()
        encoded = pa.types.is_dictionary(words.type)
        word = words.type.value_type if encoded else words.type
        if len(words) and not (pa.types.is_string(word) or pa.types.is_large_string(word)):
            raise TypeError(
                f"column {tokens!r} must hold lists of strings, but its type is {kind}."
            )
        if words.null_count:
            raise ValueError(f"column {tokens!r} must have no missing value within a list.")
        rows = np.repeat(np.arange(len(counts)), counts)
        known, columns = _numbered(words, vocabulary)
        kept = columns >= 0
        cells = (np.ones(int(kept.sum()), np.float32), (rows[kept], columns[kept]))
        matrix = sparse.coo_array(cells, shape=(len(counts), len(known)))
        ids = as_ids(table["item"].to_pylist(), f"column {item!r}")
        return cls(matrix, item_ids=ids, vocabulary=known)

    @property
    def item_ids(self) -> IdArray:
        """Ids of the items, in the order of the rows."""
        return self._items.ids

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.rows.shape[1]

    def __repr__(self) -> str:
        n_items, n_features = self.rows.shape
        return (
            f"Content({n_items:,} items x {n_features:,} features, "
            f"{len(self.rows.indices):,} above 0)"
        )

    def to_matrix(self) -> Any:
        """Return the features as a scipy.sparse.csr_array, scaled as they are."""
        arrays = (self.rows.values.copy(), self.rows.indices.copy(), self.rows.indptr.copy())
        return sparse.csr_array(arrays, shape=self.rows.shape)

    def of_items(self, items: IdIndex) -> CSR:
        """Return one row for each of some items; rows of unknown items are empty."""
        if self._items.matches(items):
            return self.rows
        if self.item_ids.dtype.kind != items.ids.dtype.kind:
            raise ValueError(
                f"content must have item ids of the type of the ratings', as "
                f"{items.ids[0].item()!r}, but one is {self.item_ids[0].item()!r}."
            )
        known = np.isin(items.ids, self.item_ids)
        rows = self._items.positions(items.ids[known], "item_ids")
        place = sparse.csr_array(
            (np.ones(len(rows), np.float32), (np.flatnonzero(known), rows)),
            shape=(len(items), len(self._items)),
        )
        return as_rows(place @ self.to_matrix())

    def with_vocabulary(self, vocabulary: NDArray[np.str_] | None, n_features: int) -> Content:
        """Return the same items with the columns of another content; its words alone are kept."""
        if vocabulary is None or self.vocabulary is None:
            if self.n_features != n_features:
                raise ValueError(
                    f"content must have the {n_features:,} features that the model was trained "
                    f"with, but it has {self.n_features:,}."
                )
            return self
        position = {word: column for column, word in enumerate(vocabulary.tolist())}
        found = np.array([position.get(word, -1) for word in self.vocabulary.tolist()], np.int64)
        old = np.flatnonzero(found >= 0)
        place = sparse.csr_array(
            (np.ones(len(old), np.float32), (old, found[old])), shape=(self.n_features, n_features)
        )
        return Content(self.to_matrix() @ place, item_ids=self.item_ids, vocabulary=vocabulary)


def as_content(content: Any, n_items: int, *, item_ids: IdArray | None) -> Content:
    """Make content of a sparse matrix with a row for each item, or of token lists."""
    if isinstance(content, Content):
        return content
    if not is_sparse(content):
        return Content.from_frame(content)
    check_shape(content.shape, "content", AXES)
    if content.shape[0] != n_items:
        raise ValueError(
            f"content must have a row for each of the {n_items:,} items, but it is a matrix of "
            f"{content.shape[0]:,} x {content.shape[1]:,}; Content.from_matrix takes ids of rows."
        )
    return Content(content, item_ids=item_ids)


def is_sparse(X: Any) -> bool:
    """Return whether it is a SciPy matrix; type checkers learn nothing from it."""
    return bool(sparse.issparse(X))


def as_rows(matrix: Any) -> CSR:
    """Return the cells of a SciPy matrix, sorted."""
    rows = sparse.csr_array(matrix)
    rows.sort_indices()
    return CSR(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, rows.shape)


def checked_content(matrix: Any, *, named: bool) -> Any:
    """Return a SciPy matrix in CSR or COO format once its arrays and its size are checked.

    `named` says whether there are ids of its rows.
    """
    if not is_sparse(matrix):
        raise TypeError(
            f"content must be a scipy.sparse array or matrix, but it is a {type(matrix).__name__}."
        )
    cells = checked_matrix(matrix, "content", AXES)
    if min(matrix.shape) == 0:
        raise ValueError(f"content must have items and features, but its shape is {matrix.shape}.")
    if not named:
        check_named(matrix.shape[0], cells.nnz, "content", "items", "item_ids")
    return cells


def _scaled_rows(matrix: Any) -> CSR:
    rows = sparse.csr_array(matrix, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    if not (np.isfinite(rows.data) & (rows.data >= 0)).all():
        wrong = rows.data[~(np.isfinite(rows.data) & (rows.data >= 0))][0]
        raise ValueError(f"content must hold finite numbers of at least 0, but one is {wrong:g}.")
    rows.eliminate_zeros()
    greatest = rows.max(axis=1).toarray().ravel() if rows.nnz else np.zeros(rows.shape[0])
    rows.data /= np.repeat(greatest, np.diff(rows.indptr))
    return as_rows(rows.astype(np.float32))


def _check_length(name: str, array: NDArray[Any], n: int, what: str) -> None:
    if array.shape != (n,):
        raise ValueError(
            f"{name} must have one entry for each of the {n:,} {what}, "
            f"but its shape is {array.shape}."
        )


def _item_table(df: Any, item: Any, tokens: Any) -> pa.Table:
    try:
        frame = nw.from_native(df, eager_only=True)
    except TypeError:
        raise TypeError(
            f"content must be Content, a scipy.sparse array or matrix, or a pandas, polars or "
            f"pyarrow data frame, but it is a {type(df).__name__}."
        ) from None
    for name in (item, tokens):
        if name not in frame.columns:
            raise ValueError(
                f"content must have columns {item!r} and {tokens!r}, but it has {frame.columns}."
            )
    try:
        return frame.select(item=nw.col(item), tokens=nw.col(tokens)).to_arrow()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TypeError(
            f"content must have columns of one type each, but {error.args[0]}."
        ) from None


def _numbered(
    words: pa.Array, vocabulary: ArrayLike | None
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the vocabulary and each word's place in it, -1 for none."""
    distinct, codes = [], np.empty(0, np.int64)
    if len(words):
        dictionary, codes = distinct_values(pa.chunked_array([words]))
        distinct = dictionary.to_pylist()
    if vocabulary is not None:
        known = _as_vocabulary(vocabulary)
        place = {word: position for position, word in enumerate(known.tolist())}
        return known, np.array([place.get(word, -1) for word in distinct], np.int64)[codes]
    if len(distinct) == 0:
        raise ValueError("content must hold at least one token, but all lists are empty.")
    ranked: Any = rank_codes(as_strings(distinct, "tokens"), codes)
    return ranked[0], ranked[1].astype(np.int64)


def _as_vocabulary(vocabulary: ArrayLike) -> NDArray[np.str_]:
    return as_strings(np.asarray(vocabulary).astype(np.str_).tolist(), "vocabulary")
