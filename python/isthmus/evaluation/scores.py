"""The four kinds of scores that models have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.data._csr import CSR, select_rows, with_ones

__all__ = [
    "Expected",
    "Floats",
    "Products",
    "Scorable",
    "Vectors",
    "Weighted",
    "dot_vectors",
    "unit_rows",
]

Floats = NDArray[np.float32]


class Scorable(Protocol):
    """Scores of users and items."""

    def take(
        self, users: NDArray[np.int64] | None = None, items: NDArray[np.int64] | None = None
    ) -> Scorable:
        """Keep some users and items, in the order given; None keeps all."""

    def scorer(self) -> _core.Scores:
        """Return the scorer of the core."""


class Vectors(NamedTuple):
    """Scores by dot products of users' and items' vectors.

    ``score = f(user . item + user_bias + item_bias) / scale + user_offset + item_offset``, with
    the activation f; what is None counts 0.
    """

    users: Floats
    items: Floats
    user_bias: Floats | None = None
    item_bias: Floats | None = None
    user_offset: Floats | None = None
    item_offset: Floats | None = None
    activation: str = "identity"
    scale: float = 1.0

    def take(
        self, users: NDArray[np.int64] | None = None, items: NDArray[np.int64] | None = None
    ) -> Vectors:
        """Keep some users and items, in the order given; None keeps all."""

        def rows(array: Floats | None, index: NDArray[np.int64] | None) -> Floats | None:
            return array if array is None or index is None else array[index]

        return self._replace(
            users=self.users if users is None else self.users[users],
            items=self.items if items is None else self.items[items],
            user_bias=rows(self.user_bias, users),
            item_bias=rows(self.item_bias, items),
            user_offset=rows(self.user_offset, users),
            item_offset=rows(self.item_offset, items),
        )

    def scorer(self) -> _core.Scorer:
        """Return the scorer of the core."""
        return _core.Scorer(
            self.users,
            self.items,
            activation=self.activation,
            scale=self.scale,
            query_bias=self.user_bias,
            candidate_bias=self.item_bias,
            query_offset=self.user_offset,
            candidate_offset=self.item_offset,
        )


class Products(NamedTuple):
    """Scores of sparse rows times a dense matrix; rows without values are of ones."""

    rows: CSR
    weights: Floats

    def take(
        self, users: NDArray[np.int64] | None = None, items: NDArray[np.int64] | None = None
    ) -> Products:
        """Keep some users and items, in the order given; None keeps all."""
        return Products(
            self.rows if users is None else select_rows(self.rows, users),
            self.weights if items is None else np.ascontiguousarray(self.weights[:, items]),
        )

    def scorer(self) -> _core.ProductScorer:
        """Return the scorer of the core."""
        rows = self.rows if len(self.rows.values) else with_ones(self.rows)
        return _core.ProductScorer(rows.indptr, rows.indices, rows.values, self.weights)


class Expected(NamedTuple):
    """Scores by the expected rating under a column's softmax, given a row's code."""

    codes: Floats  # rows x hidden
    weights: Floats  # columns x levels x hidden
    bias: Floats  # columns x levels
    values: NDArray[np.float64]
    rows_are_users: bool

    def take(
        self, users: NDArray[np.int64] | None = None, items: NDArray[np.int64] | None = None
    ) -> Expected:
        """Keep some users and items, in the order given; None keeps all."""
        rows, columns = (users, items) if self.rows_are_users else (items, users)
        return self._replace(
            codes=self.codes if rows is None else self.codes[rows],
            weights=self.weights if columns is None else self.weights[columns],
            bias=self.bias if columns is None else self.bias[columns],
        )

    def scorer(self) -> _core.ExpectedScorer:
        """Return the scorer of the core."""
        return _core.ExpectedScorer(
            self.codes,
            self.weights.reshape(-1, self.codes.shape[1]),
            self.bias,
            values=self.values.tolist(),
            queries_are_rows=self.rows_are_users,
        )


class Weighted(NamedTuple):
    """Scores by a weighted sum of the models' own."""

    members: tuple[Scorable, ...]
    weights: tuple[float, ...]
    constant: float

    def take(
        self, users: NDArray[np.int64] | None = None, items: NDArray[np.int64] | None = None
    ) -> Weighted:
        """Keep some users and items, in the order given; None keeps all."""
        return self._replace(members=tuple(member.take(users, items) for member in self.members))

    def scorer(self) -> _core.WeightedScorer:
        """Return the scorer of the core."""
        scores = tuple(member.scorer() for member in self.members)
        return _core.WeightedScorer(scores, self.weights, self.constant)


_RISING = ("identity", "sigmoid", "centered_sigmoid", "tanh", "elu", "selu")


def dot_vectors(scores: Scorable) -> tuple[Floats, Floats] | None:
    """Return vectors of users and items whose dot products rank each user's items as scores do.

    None if there are none: if scores are no function of dot products, or one that does not rise.
    """
    if isinstance(scores, Vectors) and scores.activation in _RISING and scores.item_offset is None:
        # a rising function of each user's scores keeps their order
        scores = scores._replace(activation="identity", scale=1.0)
    users, items, bias = [], [], np.zeros((), np.float64)
    for member, weight in _members(scores, 1.0):
        if not isinstance(member, Vectors) or member.activation != "identity":
            return None
        users.append(member.users * np.float32(weight / member.scale))
        items.append(member.items)
        for part, factor in ((member.item_bias, 1 / member.scale), (member.item_offset, 1.0)):
            if part is not None:
                bias = bias + weight * factor * part.astype(np.float64)
    if bias.ndim:
        users.append(np.ones((len(users[0]), 1), np.float32))
        items.append(bias.astype(np.float32)[:, np.newaxis])
    return np.hstack(users), np.hstack(items)


def _members(scores: Scorable, weight: float) -> Iterator[tuple[Scorable, float]]:
    """Yield the parts of a sum of sums, each with its weight."""
    if isinstance(scores, Weighted):
        for member, own in zip(scores.members, scores.weights, strict=True):
            yield from _members(member, weight * own)
    else:
        yield scores, weight


def unit_rows(vectors: Floats) -> Floats:
    """Scale each row to length 1; a row of zeros stays one."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, np.newaxis]
    unit: Floats = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit
