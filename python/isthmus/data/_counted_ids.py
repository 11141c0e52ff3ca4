"""Ids of files too large for memory: counted while they are read, then looked up."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isthmus.data import _compute as pc
from isthmus.data._ids import IdArray, as_ids

__all__ = ["CountedIds"]

_IDS_AT_ONCE = 1 << 22

_INTEGERS = "^(0|-?[1-9][0-9]{0,18})$"


class CountedIds:
    """The ids of a column, counted while it is read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[Any] = []
        self._most = _IDS_AT_ONCE

    def add(self, column: Any) -> None:
        """Count the ids of some rows."""
        column = _plain_ids(column, self._name)
        if self._parts and column.type != self._parts[0].schema.field("id").type:
            raise ValueError(
                f"{self._name} ids must be of one type in all files, but there are "
                f"{self._parts[0].schema.field('id').type} and {column.type}."
            )
        counted = pc.value_counts(column)
        self._parts.append(pa.table({"id": counted.field("values"), "n": counted.field("counts")}))
        if sum(map(len, self._parts)) > self._most:
            merged = self._merged()
            self._parts, self._most = [merged], max(_IDS_AT_ONCE, 2 * len(merged))

    def _merged(self) -> Any:
        grouped = pa.concat_tables(self._parts).group_by("id").aggregate([("n", "sum")])
        return pa.table({"id": grouped["id"], "n": grouped["n_sum"]})

    def finish(self) -> tuple[IdArray, NDArray[np.int64]]:
        """Return the ids, sorted, and how often each occurred."""
        if not self._parts:
            raise ValueError("there must be at least one rating, but the files have no rows.")
        merged = self._merged()
        self._parts = []
        column, name = merged["id"].combine_chunks(), f"{self._name} ids"
        self._written = pa.types.is_string(column.type)
        if self._written and pc.all(pc.match_substring_regex(column, _INTEGERS)).as_py():
            with contextlib.suppress(pa.ArrowInvalid):  # 19 digits may be too many
                column = column.cast(pa.int64())
        integers = pa.types.is_integer(column.type)
        ids = as_ids(column.to_numpy() if integers else column.to_pylist(), name)
        order = np.argsort(ids)
        self._lookup = pa.array(ids[order])
        if self._written:
            self._lookup = self._lookup.cast(pa.string())
        return ids[order], merged["n"].to_numpy()[order].astype(np.int64)

    def positions(self, column: Any) -> NDArray[np.int32]:
        """Look ids up among those of `finish`."""
        found = pc.index_in(_plain_ids(column, self._name), value_set=self._lookup)
        if found.null_count:
            raise ValueError(f"the {self._name}s changed while the files were read.")
        positions: NDArray[np.int32] = found.to_numpy()
        return positions


def _plain_ids(column: Any, name: str) -> Any:
    """Return ids as int64 or strings."""
    if column.null_count:
        raise ValueError(f"{name} must have no missing ids, but {column.null_count:,} are.")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    types = pa.types
    if types.is_integer(column.type):
        return column.cast(pa.int64())
    if not (types.is_string(column.type) or types.is_large_string(column.type)):
        raise TypeError(f"{name} must hold integers or strings, but its type is {column.type}.")
    return column.cast(pa.string())
