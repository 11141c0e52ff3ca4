"""Ids of users and items, and their positions in a matrix."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isthmus._util.cached_property import cached_property
from isthmus._util.checks import shown

__all__ = ["IdArray", "IdIndex", "as_ids", "as_strings", "encode", "rank_codes"]

_MOST_CHARACTERS = 1 << 27  # of 4 bytes: half a GiB
_NUL = "{} must not have the character U+0000, which many programs take for the end of a text."

IdArray = NDArray[np.int64] | NDArray[np.str_]


def as_ids(values: Any, name: str) -> IdArray:
    """Turn ids into a one-dimensional array of int64, or of NumPy's fixed-width strings."""
    # A list goes through objects, for NumPy would silently turn [1, "a"] into strings.
    array = np.asarray(values, dtype=None if hasattr(values, "__array__") else object)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, but its shape is {array.shape}.")
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    elif array.dtype.kind in "UT":
        _refuse_nul(array.astype(np.str_, copy=False), name)
    if array.dtype.kind == "u" and len(array) and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit int64, but it holds {array.max()}.")
    if array.dtype.kind in "iu":
        integers = array.astype(np.int64, copy=False)
        if len(integers) and integers.min() < 0:
            first = int(np.argmax(integers < 0))
            raise ValueError(
                f"{name} must be at least 0 where they are integers, "
                f"but there is {integers[first]} at position {first}."
            )
        return integers
    if array.dtype.kind in "UT":
        strings = array.astype(np.str_, copy=False)
        empty = np.flatnonzero(strings == "")
        if len(empty):
            raise ValueError(
                f"{name} must not be empty strings, but there is one at position {empty[0]}."
            )
        return strings
    raise TypeError(f"{name} must be integers or strings, but their dtype is {array.dtype}.")


def _refuse_nul(strings: NDArray[np.str_], name: str) -> None:
    """Refuse strings that go on after U+0000; at their end, NumPy has dropped it."""
    if len(strings):
        letters = np.ascontiguousarray(strings).view(np.uint32).reshape(len(strings), -1)
        if ((letters[:, :-1] == 0) & (letters[:, 1:] != 0)).any():
            raise ValueError(_NUL.format(name))


def _from_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    types = set(map(type, array))
    if all(issubclass(t, str) for t in types):
        return as_strings(array.tolist(), name)
    if all(issubclass(t, (int, np.integer)) and t is not bool for t in types):
        try:
            return array.astype(np.int64)
        except OverflowError:
            raise ValueError(f"{name} must fit int64, but it holds {max(array)}.") from None
    allowed = str if issubclass(type(array[0]), str) else (int, np.integer)
    wrong = (isinstance(x, bool) or not isinstance(x, allowed) for x in array)
    first = list(wrong).index(True)
    raise TypeError(
        f"{name} must be all integers or all strings, "
        f"but there is {array[first]!r} ({type(array[first]).__name__}) at position {first}."
    )


def as_strings(strings: list[str], name: str) -> NDArray[np.str_]:
    """Turn strings into an array of fixed width, unless one makes it far larger than the others."""
    lengths = [len(string) for string in strings]
    width, longest = max(lengths, default=0), max(strings, key=len, default="")
    if width * len(strings) > max(_MOST_CHARACTERS, 16 * sum(lengths)):
        raise ValueError(
            f"{name} must be of similar lengths, as an array pads all to the longest, but "
            f"one of {len(strings):,} has {width:,} characters: {longest[:40]!r}..."
        )
    if any("\0" in string for string in strings):
        raise ValueError(_NUL.format(name))
    try:
        "".join(strings).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be Unicode text, but one has the surrogate {error.object[error.start]!r}."
        ) from None
    return np.array(strings, np.str_)


def encode(ids: IdArray) -> tuple[IdArray, NDArray[np.int32]]:
    """Sort the distinct ids, and give each entry the position of its id among them."""
    encoded = pa.array(ids).dictionary_encode()
    distinct: Any = np.array(encoded.dictionary.to_pylist(), ids.dtype)
    return rank_codes(distinct, encoded.indices.to_numpy())


def rank_codes(
    distinct: IdArray, codes: NDArray[np.integer[Any]]
) -> tuple[IdArray, NDArray[np.int32]]:
    """Sort distinct ids and renumber the codes that point to them."""
    order = np.argsort(distinct)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return distinct[order], rank[codes]


class IdIndex:
    """Distinct ids, and the way back from an id to its position.

    Parameters
    ----------
    ids : ndarray of int64 or str, shape (n,)
    kind : {"user", "item"}
        What the ids are of, for messages.
    """

    def __init__(self, ids: IdArray, kind: str) -> None:
        self.ids: IdArray = ids.view()
        self.ids.flags.writeable = False
        self.kind = kind

    def __len__(self) -> int:
        return len(self.ids)

    def check_unique(self) -> None:
        """Raise ValueError if an id occurs twice."""
        ids, counts = np.unique(self.ids, return_counts=True)
        if len(ids) < len(self.ids):
            raise ValueError(
                f"{self.kind}_ids must be unique, "
                f"but {ids[counts > 1][0].item()!r} occurs {counts[counts > 1][0]} times."
            )

    def check_new(self, ids: IdArray, name: str) -> None:
        """Raise ValueError if a new id is known already, or of another type."""
        if ids.dtype.kind != self.ids.dtype.kind:
            raise ValueError(
                f"the {self.kind} ids of {name} must be of the type of the model's, "
                f"as {self.ids[0].item()!r}, but one is {ids[0].item()!r}."
            )
        again = np.isin(ids, self.ids)
        if again.any():
            raise ValueError(
                f"the {self.kind}s of {name} must be new to the model, "
                f"but it knows {ids[again][0].item()!r} already."
            )

    def next_ids(self, n: int, name: str) -> IdArray:
        """Return n integers that follow the greatest id, for new rows without ids."""
        if self.ids.dtype.kind != "i":
            raise ValueError(
                f"{name} must come with {self.kind} ids, since the model's are strings, "
                f"as {self.ids[0].item()!r}."
            )
        last = int(self.ids.max())
        if n > np.iinfo(np.int64).max - last:
            raise ValueError(
                f"{name} must come with {self.kind} ids, since the model's go up to {last}, "
                f"and int64 cannot hold {n:,} more."
            )
        return last + np.arange(1, n + 1)

    def extended(self, ids: IdArray) -> "IdIndex":
        """Return an index with further ids at its end."""
        return IdIndex(np.concatenate([self.ids, ids]), self.kind)

    def matches(self, other: "IdIndex") -> bool:
        """Return whether both have the same ids in the same order."""
        return self is other or (
            self.ids.dtype.kind == other.ids.dtype.kind and np.array_equal(self.ids, other.ids)
        )

    def positions(self, wanted: Any, name: str) -> NDArray[np.int64]:
        """Look ids up; the result has the shape of `wanted`."""
        array = np.asarray(wanted, dtype=None if hasattr(wanted, "__array__") else object)
        if array.size == 0:
            return np.zeros(array.shape, np.int64)
        ids = as_ids(array.reshape(-1), name)
        self._check_type(ids, name)
        found, position = self._find(ids)
        if not found.all():
            unknown = np.flatnonzero(~found)
            verb = f" (and {len(unknown) - 1:,} more) are" if len(unknown) > 1 else " is"
            raise ValueError(
                f"{name} must be among the {len(self):,} {self.kind} ids of the ratings, "
                f"but {shown(ids[unknown[0]].item())}{verb} not."
            )
        return position.reshape(array.shape)

    def find(self, ids: IdArray, name: str) -> NDArray[np.int64]:
        """Look ids up of which some may be unknown: their positions are -1."""
        if len(ids) == 0:
            return np.empty(0, np.int64)
        self._check_type(ids, name)
        found, position = self._find(ids)
        return np.where(found, position, -1)

    def _check_type(self, ids: IdArray, name: str) -> None:
        if ids.dtype.kind != self.ids.dtype.kind:
            integers = ids.dtype.kind == "i"
            wants, got = ("strings", "an integer") if integers else ("integers", "a string")
            raise ValueError(
                f"{name} must be {wants}, as the {self.kind} ids of the ratings are "
                f"(for example {self.ids[0].item()!r}), but {shown(ids[0].item())} is {got}."
            )

    def _find(self, ids: IdArray) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        if self._table is not None:
            offset = ids - self.ids.min()
            inside = (offset >= 0) & (offset < len(self._table))
            position = np.where(inside, self._table[np.where(inside, offset, 0)], -1)
            return position >= 0, position
        order, ordered = self._sorted
        place = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
        return ordered[place] == ids, order[place]

    @cached_property
    def _table(self) -> NDArray[np.int64] | None:
        # Integers that lie close together, as most do, are looked up by one indexing.
        if self.ids.dtype.kind != "i" or int(np.ptp(self.ids)) > 8 * len(self) + 1024:
            return None
        table = np.full(int(np.ptp(self.ids)) + 1, -1, np.int64)
        table[self.ids - self.ids.min()] = np.arange(len(self))
        return table

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], IdArray]:
        order = np.argsort(self.ids)
        return order, self.ids[order]
