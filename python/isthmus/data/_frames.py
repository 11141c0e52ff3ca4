"""Data frames as the arrays that ratings are made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import narwhals.stable.v1 as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isthmus._util.arrays import as_timestamps, as_values
from isthmus._util.checks import check_choice
from isthmus.data._columns import FIELDS, resolve_columns
from isthmus.data._ids import IdArray, as_ids, rank_codes
from isthmus.data._values import is_rating

__all__ = ["BACKENDS", "Cells", "distinct_values", "frame_cells", "numbers", "to_backend"]

BACKENDS = ("pyarrow", "pandas", "polars")
"""Libraries whose data frames can be returned."""


_ID_TYPES = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)


class Cells(NamedTuple):
    """Ratings in any order; users and items are positions among their sorted ids."""

    user_ids: IdArray
    rows: NDArray[np.int32]
    item_ids: IdArray
    columns: NDArray[np.int32]
    values: NDArray[np.float32]
    timestamps: NDArray[np.int64] | None


def frame_cells(
    df: Any,
    names: Mapping[str, str | int | None],
    *,
    implicit: bool,
    missing: NDArray[np.float32] | None = None,
) -> Cells:
    """Read users, items, ratings and timestamps out of a data frame.

    Parameters
    ----------
    df : pandas.DataFrame, polars.DataFrame, pyarrow.Table or what narwhals takes for one
    names : mapping of "user", "item", "rating" and "timestamp" to str, int or None
        The columns; None looks for the usual names.
    implicit : bool
        Whether every row is a rating of 1.
    missing : ndarray of float32, optional
        Ratings whose rows are left out.
    """
    try:
        frame = nw.from_native(df, eager_only=True)
    except TypeError:
        raise TypeError(
            f"df must be a pandas, polars or pyarrow data frame, but it is a {type(df).__name__}."
        ) from None
    if len(set(frame.columns)) < len(frame.columns):
        raise ValueError(f"df must have distinct column names, but has {frame.columns}.")
    found = resolve_columns(
        [names[field] for field in FIELDS],
        *(frame.columns, len(frame.columns), "df"),
        find=True,
        implicit=implicit,
    )
    if len(frame) == 0:
        raise ValueError("df must hold at least one rating, but it has no rows.")
    there = {f: frame.columns[at] for f, at in found._asdict().items() if at is not None}
    try:
        # by fields, as Arrow's names are strings only
        table = frame.select(nw.col(name).alias(f) for f, name in there.items()).to_arrow()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TypeError(f"df must have columns of one type each, but {error.args[0]}.") from None

    def column(field: str) -> tuple[Any, str]:
        return table[field], f"column {there[field]!r}"

    if missing is not None and len(missing) and "rating" in there:
        kept = is_rating(numbers(*column("rating")), missing)
        table = table.filter(pa.array(kept))
    user_ids, rows = _ids(*column("user"))
    item_ids, columns = _ids(*column("item"))
    values, timestamps = np.ones(len(rows), np.float32), None
    if "rating" in there:
        rating, name = column("rating")
        values = as_values(numbers(rating, name), name)
    if "timestamp" in there:
        timestamp, name = column("timestamp")
        timestamps = as_timestamps(numbers(timestamp, name), name)
    return Cells(user_ids, rows, item_ids, columns, values, timestamps)


def _ids(column: Any, name: str) -> tuple[IdArray, NDArray[np.int32]]:
    _refuse_nulls(column, name)
    types = pa.types
    encoded = types.is_dictionary(column.type)
    kind = column.type.value_type if encoded else column.type
    # Floats and booleans are refused below, by the first of them.
    if not any(is_type(kind) for is_type in (*_ID_TYPES, types.is_floating, types.is_boolean)):
        raise TypeError(f"{name} must hold integers or strings, but its type is {column.type}.")
    dictionary, codes = distinct_values(column)
    try:
        ids = as_ids(dictionary.to_pylist(), name)
    except (TypeError, ValueError):
        as_ids(column.to_pylist(), name)  # fails as well, and names the row
        raise
    return rank_codes(ids, codes)


def distinct_values(column: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return the values that a column without nulls has, and which of them each row has."""
    if not pa.types.is_dictionary(column.type):
        try:
            column = column.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise TypeError(
                f"ids must be integers or strings, but their type is {column.type}."
            ) from None
    column = column.unify_dictionaries()
    dictionary = column.chunk(0).dictionary
    codes = _to_numpy([chunk.indices for chunk in column.chunks]).astype(np.int64, copy=False)
    # A categorical column may know values that no row has.
    used = np.bincount(codes, minlength=len(dictionary)) > 0
    if not used.all():
        codes = (np.cumsum(used) - 1)[codes]
        dictionary = dictionary.filter(pa.array(used))
    return dictionary, codes


def numbers(column: Any, name: str) -> NDArray[Any]:
    """Return a column of numbers or points in time; an error calls it by its name."""
    _refuse_nulls(column, name)
    types = pa.types
    if types.is_decimal(column.type):
        column = column.cast(pa.float64())
    elif types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    kind = column.type
    if types.is_timestamp(kind):
        return _to_numpy(column.cast(pa.int64()).chunks).view(f"datetime64[{kind.unit}]")
    if not (types.is_integer(kind) or types.is_floating(kind)):
        raise TypeError(f"{name} must hold numbers, but its type is {kind}.")
    return _to_numpy(column.chunks)


def _to_numpy(chunks: Sequence[Any]) -> NDArray[Any]:
    # Arrow's to_numpy would import pandas, where it is installed, for all its time and memory.
    def view(chunk: Any) -> NDArray[Any]:
        dtype = np.dtype(chunk.type.to_pandas_dtype())
        start = chunk.offset * dtype.itemsize
        return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), start)

    return np.concatenate([view(chunk) for chunk in chunks if len(chunk)])


def _refuse_nulls(column: Any, name: str) -> None:
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        raise ValueError(
            f"{name} must have no missing values, but it has {column.null_count:,}, "
            f"the first in row {first}."
        )


def to_backend(table: pa.Table, backend: str) -> Any:
    """Turn a table into a data frame of a library of `BACKENDS`."""
    check_choice("backend", backend, BACKENDS)
    if backend == "pyarrow":
        return table
    if backend == "pandas":
        return table.to_pandas()
    import polars

    return polars.from_arrow(table)
