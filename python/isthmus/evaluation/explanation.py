"""Explanations of scores, and ratings without one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isthmus.data._csr import CSR
from isthmus.data._frames import to_backend
from isthmus.data._ids import IdArray
from isthmus.data._reading import printable
from isthmus.evaluation.scores import Floats

__all__ = ["Explanation", "without_each"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a score would lose without each of the ratings behind it.

    Printed, it is a table.

    Attributes
    ----------
    user, item : int or str
        Ids of the pair that was scored.
    axis : {"user", "item"}
        Whose ratings were taken away one by one.
    score : float
        The score from all the ratings, before clipping.
    ids : ndarray, shape (n,)
        What was rated (items, or users with ``axis="item"``), the greatest effects first.
    ratings : ndarray of float32, shape (n,)
        The ratings; 1 of models for which every stored cell is 1.
    effects : ndarray of float32, shape (n,)
        `score` less the score without this one rating.
    remainder : float
        `score` less the sum of `effects`: what the model predicts without ratings, what ratings do
        together, and the effects of those that are not listed.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings
    >>> explanation = EASE().fit(synthetic_ratings(200, 100, 5000)).explain(7, 12, n=3)
    >>> explanation.to_frame().column_names
    ['item', 'rating', 'effect']
    """

    user: int | str
    item: int | str
    axis: str
    score: float
    ids: IdArray
    ratings: Floats
    effects: Floats
    remainder: float

    @property
    def kind(self) -> str:
        """What `ids` are of: "item", or "user" with ``axis="item"``."""
        return "item" if self.axis == "user" else "user"

    def __str__(self) -> str:
        title = f"user {printable(self.user)}, item {printable(self.item)}: {self.score:.4f}"
        names = [f"{self.kind} {printable(one)}" for one in self.ids.tolist()]
        width = max(map(len, [*names, "remainder"]))
        cells = zip(names, self.ratings.tolist(), self.effects.tolist(), strict=True)
        rows = [f"  {name:<{width}}  {value:>6g}  {effect:+9.4f}" for name, value, effect in cells]
        return "\n".join(
            [title, *rows, f"  {'remainder':<{width}}  {'':6}  {self.remainder:+9.4f}"]
        )

    def to_frame(self, backend: Literal["pyarrow", "pandas", "polars"] = "pyarrow") -> Any:
        """Return a data frame with a row for each effect.

        Parameters
        ----------
        backend : {"pyarrow", "pandas", "polars"}, default "pyarrow"

        Returns
        -------
        pyarrow.Table, pandas.DataFrame or polars.DataFrame
            Columns item (or user, with ``axis="item"``), rating and effect.

        Raises
        ------
        ImportError
            If the backend is not installed.
        ValueError
            If `backend` is unknown.
        """
        columns = {self.kind: self.ids, "rating": self.ratings, "effect": self.effects}
        return to_backend(pa.table(columns), backend)


def without_each(row: CSR, which: NDArray[np.int64]) -> CSR:
    """Return copies of a row, each without one of its cells, by their places in it."""
    n, copies = len(row.indices), len(which)
    kept = np.ones((copies, n), np.bool_)
    kept[np.arange(copies), which] = False
    indptr = np.arange(copies + 1, dtype=np.int64) * (n - 1)
    indices = np.broadcast_to(row.indices, kept.shape)[kept]
    values = np.broadcast_to(row.values, kept.shape)[kept]
    return CSR(indptr, indices, values, (copies, row.shape[1]))
