"""Tables of what users have had, a row a user or a row a rating, in Arrow's format."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isthmus._util.arrays import as_values
from isthmus.data import _compute as pc
from isthmus.data._columns import Columns, resolve_columns
from isthmus.data._frames import distinct_values, numbers
from isthmus.data._ids import IdArray, as_ids

__all__ = ["COLUMNS", "Histories", "Ragged", "as_histories", "by_user", "is_by_user"]

COLUMNS = ("user", "items", "ratings", "exclude", "candidates")
"""Of a table with a row a user; all but the first hold lists, and may be missing."""


class Ragged(NamedTuple):
    """Lists of ids: row r has ``ids[codes[indptr[r]:indptr[r + 1]]]``."""

    indptr: NDArray[np.int64]
    ids: IdArray
    codes: NDArray[np.integer[Any]] | slice
    given: NDArray[np.bool_]
    """Which rows have a list, maybe an empty one, and no null."""


class Histories(NamedTuple):
    """What is known of users, one row each."""

    users: IdArray
    items: Ragged | None
    ratings: NDArray[np.float32] | None
    """Of `items`, one after the other."""
    exclude: Ragged | None
    candidates: Ragged | None


def is_by_user(names: list[str]) -> bool:
    """Return whether columns of these names are those of a table with a row a user."""
    return "user" in names and set(names) <= set(COLUMNS)


def rating_columns(names: list[str]) -> Columns:
    """Return where a table with a row a rating has its columns."""
    if "items" in names:
        raise ValueError(
            f"a table with a row a user must have columns among {', '.join(COLUMNS)}, "
            f"but its columns are {', '.join(names)}."
        )
    return resolve_columns(
        *(None, names, len(names), "the table of histories"),
        find=True,
        implicit="rating" not in names,
    )


def by_user(table: Any) -> Any:
    """Turn a table with a row a rating into one with a row a user, in order of first appearance."""
    names = table.column_names
    if is_by_user(names):
        return table
    found = rating_columns(names)
    wanted = {"user": found.user, "items": found.item, "ratings": found.rating}
    there = {name: table.column(at) for name, at in wanted.items() if at is not None}
    for name, column in there.items():
        if column.null_count:
            raise ValueError(f"{name} must have no missing values, but {column.null_count:,} are.")
    users = _combined(there.pop("user"))
    if len(users) == 0:
        return pa.table({"user": users})
    distinct, codes = distinct_values(pa.chunked_array([users]))
    coded = pa.array(codes).dictionary_encode()  # which numbers by first appearance
    codes = _plain(coded.indices)
    order = pa.array(np.argsort(codes, kind="stable"))
    ends = np.concatenate(([0], np.cumsum(np.bincount(codes, minlength=len(distinct)))))
    lists = {
        name: pa.LargeListArray.from_arrays(pa.array(ends), _combined(column).take(order))
        for name, column in there.items()
    }
    return pa.table({"user": distinct.take(coded.dictionary), **lists})


def as_histories(table: Any) -> Histories:
    """Read a table in either form.

    Parameters
    ----------
    table : pyarrow.Table

    Raises
    ------
    TypeError, ValueError
        If columns are missing, of a wrong type, or do not fit each other.
    """
    if not isinstance(table, pa.Table):
        raise TypeError(
            f"histories must be a pyarrow.Table (in Ray Data: batch_format='pyarrow'), but they "
            f"are a {type(table).__name__}."
        )
    table = by_user(table)
    users, codes = _ids(_combined(table["user"]), "user")
    there = {name: _lists(table, name) for name in COLUMNS[1:] if name in table.column_names}
    lists = {
        name: Ragged(indptr, *_ids(flat, name), given)
        for name, (indptr, flat, given) in there.items()
        if name != "ratings"
    }
    ratings = None
    if "ratings" in there:
        if "items" not in there or not np.array_equal(there["ratings"][0], there["items"][0]):
            raise ValueError("ratings must be lists as long as those of items, but they are not.")
        ratings = _numbers(there["ratings"][1])
    return Histories(
        users[codes],
        lists.get("items"),
        ratings,
        lists.get("exclude"),
        lists.get("candidates"),
    )


def _combined(column: Any) -> Any:
    whole = column.unify_dictionaries().combine_chunks()
    # of no chunk, or in older versions of Arrow
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _lists(table: Any, name: str) -> tuple[NDArray[np.int64], Any, NDArray[np.bool_]]:
    """Return where the lists of a column begin and end, all their values, and which are no null."""
    column = _combined(table[name])
    kind = column.type
    if pa.types.is_null(kind):
        column = column.cast(pa.list_(pa.int64()))
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise TypeError(
            f"{name} must hold lists, a row a user, but its type is {kind}; a table with a row a "
            f"rating has columns user, item and rating."
        )
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    indptr = np.concatenate(([0], np.cumsum(_plain(lengths), dtype=np.int64)))
    return indptr, column.flatten(), ~_plain(column.is_null())


def _ids(column: Any, name: str) -> tuple[IdArray, NDArray[np.integer[Any]] | slice]:
    """Return distinct ids, and the position of each value among them."""
    if column.null_count:
        raise ValueError(f"{name} must have no missing ids, but {column.null_count:,} are.")
    if len(column) == 0:
        return np.empty(0, np.int64), slice(None)
    if pa.types.is_integer(column.type):
        return as_ids(_plain(column), name), slice(None)
    distinct, codes = distinct_values(pa.chunked_array([column]))
    return as_ids(distinct.to_pylist(), name), codes


def _numbers(column: Any) -> NDArray[np.float32]:
    if len(column) == 0:  # of any type, as of empty lists alone
        return np.empty(0, np.float32)
    return as_values(numbers(pa.chunked_array([column]), "ratings"), "ratings")


def _plain(array: Any) -> NDArray[Any]:
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values
