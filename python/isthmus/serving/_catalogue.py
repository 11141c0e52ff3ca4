"""Items' titles, and a search in them."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isthmus.data._ids import IdArray
from isthmus.data.items import ItemText

__all__ = ["Catalogue", "json_id"]

_LONGEST_TITLE = 300

_EXACT_IN_JAVASCRIPT = 2**53


def json_id(value: Any) -> int | str:
    """Write an id for JSON; an integer that JavaScript would round becomes a string."""
    plain = value.item() if hasattr(value, "item") else value
    return str(plain) if isinstance(plain, int) and plain >= _EXACT_IN_JAVASCRIPT else plain


class Catalogue:
    """Titles of items, and a search in them.

    Parameters
    ----------
    ids : ndarray of int64 or str, shape (n,)
    texts : mapping of int or str to ItemText
        By id; an item that it lacks is called by its id.
    counts : ndarray of int64, shape (n,)
        How many users have had each item.
    """

    def __init__(
        self, ids: IdArray, texts: Mapping[Any, ItemText], counts: NDArray[np.int64]
    ) -> None:
        plain = ids.tolist()
        found = [texts.get(one) or ItemText(str(one), "") for one in plain]
        self._ids = [json_id(one) for one in plain]
        self.titles = [
            (text.title or str(one))[:_LONGEST_TITLE]
            for one, text in zip(plain, found, strict=True)
        ]
        self._details = [text.detail for text in found]
        self.counts = counts
        self.by_count = np.argsort(-counts, kind="stable")
        """Positions of the items, those that most users have had first."""
        self._folded = pa.array([_fold(title) for title in self.titles], pa.large_string())

    def describe(self, position: int) -> dict[str, Any]:
        """Return an item's id, title and further text, for JSON."""
        return {
            "item": self._ids[position],
            "title": self.titles[position],
            "detail": self._details[position],
        }

    def search(self, query: str, n: int) -> NDArray[np.int64]:
        """Find items whose titles have all words of a query, in any case and without accents.

        Returns
        -------
        ndarray of int64
            Positions of at most n items: first titles that begin with the query, then those that
            most users have had.
        """
        folded = " ".join(_fold(query).split())
        fits = np.ones(len(self.titles), np.bool_)
        for word in folded.split():
            fits &= _bools(pc.match_substring(self._folded, word))
        begins = _bools(pc.starts_with(self._folded, folded))
        listed = self.by_count[fits[self.by_count]]
        found: NDArray[np.int64] = listed[np.argsort(~begins[listed], kind="stable")][:n]
        return found


def _fold(text: str) -> str:
    """Return a text in lower case, without accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if not unicodedata.combining(c))


def _bools(array: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = array.to_numpy(zero_copy_only=False)
    return found
