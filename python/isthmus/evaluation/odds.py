"""How likely users are to rate items, from who has rated what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, as_scipy, column_counts, select_rows
from isthmus.evaluation.scores import Floats, Vectors

__all__ = ["Odds", "leading_directions", "rated_odds"]

FACTORS = 64
"""Factors of the co-occurrence of items. The first, which popularity explains, is left out."""

DAMPING = 30.0
"""Further ratings of every user and item that count as 0, which damp their vectors."""

PASSES = 6
"""Passes over the ratings to find the factors; more make lists no better."""

MAX_CELLS = 2_000_000
"""Most ratings to find the factors from; of more, those of evenly spaced users."""


class Odds(NamedTuple):
    """Log odds that a user rates an item, whatever the rating.

    They are those of the item, by its share of users, plus the dot product of the item's vector and
    the user's, which is the damped mean of the vectors of what the user has rated.
    """

    items: Floats
    """A vector of each item, shape (n_items, k)."""
    log_odds: Floats
    """Log odds that any user rates an item."""

    def of(self, rows: CSR) -> Vectors:
        """Return the scores of users who have rated what is stored in rows of users x items."""
        had = np.diff(rows.indptr)[:, np.newaxis]
        users = as_scipy(rows).astype(np.float32) @ self.items / np.float32(had + DAMPING)
        return Vectors(users.astype(np.float32), self.items, item_offset=self.log_odds)


def rated_odds(seen: CSR) -> Odds:
    r"""Estimate the odds from who has rated what.

    Parameters
    ----------
    seen : CSR
        Cells of users x items.

    Returns
    -------
    Odds
        The same at any number of threads.

    Notes
    -----
    With n_u and n_i the ratings of a user and an item, N of all and d = 30, a damped correspondence
    analysis: the matrix with 1 / sqrt((n_u + d) (n_i + d)) where u has rated i is split into its
    singular vectors. Its first pair is popularity; what the others add to it is the first order of
    the logarithm of P(u rates i) / (P(u) P(i)). Each is shrunk by its singular value relative to
    the second, as small ones are noise.
    """
    n_users, n_items = seen.shape
    counts = column_counts(seen.indices, n_items)
    log_odds = np.log((counts + 0.5) / (n_users - counts + 0.5)).astype(np.float32)
    scales = 1 / np.sqrt(counts + DAMPING)
    values, vectors = _right_singular(_sample(seen), scales)
    strengths = values[1:] / values[1] if len(values) > 1 else values[1:]
    factors = np.sqrt(len(seen.indices) * strengths) * vectors[:, 1:]
    return Odds((scales[:, np.newaxis] * factors).astype(np.float32), log_odds)


def _sample(seen: CSR) -> CSR:
    """Keep evenly spaced users, for no more than MAX_CELLS cells or so."""
    step = -(-len(seen.indices) // MAX_CELLS)
    return seen if step <= 1 else select_rows(seen, np.arange(0, seen.shape[0], step))


def _right_singular(cells: CSR, scales: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the greatest singular values, decreasing, and their vectors of items."""
    weights = as_scipy(cells).astype(np.float32)
    rows = np.diff(cells.indptr)
    weights.data[:] = np.repeat(1 / np.sqrt(rows + DAMPING), rows) * scales[cells.indices]
    by_item = weights.T.tocsr()
    return leading_directions(
        *(lambda basis: weights @ basis, lambda basis: by_item @ basis),
        *(cells.shape[1], min(FACTORS, *cells.shape)),
    )


def leading_directions(
    apply: Callable[[Floats], Floats],
    apply_transposed: Callable[[Floats], Floats],
    columns: int,
    width: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a matrix's greatest singular values, decreasing, and their right vectors.

    By subspace iteration. It does not use BLAS or LAPACK, whose sums depend on the number of
    threads.

    Parameters
    ----------
    apply, apply_transposed : callable
        Multiply the matrix, and its transpose, with a matrix of `width` columns.
    columns : int
        Of the matrix.
    width : int
        How many are looked for; those that are next to nothing are left out.
    """
    basis = np.random.default_rng(0).standard_normal((columns, width), np.float32)
    for _ in range(PASSES):
        basis = apply_transposed(apply(basis))
        basis = _times(basis, _whitening(_gram(basis)))
    values, rotation = _eigen(_gram(apply(basis)))
    kept = values > 1e-6 * values[0]
    return np.sqrt(values[kept]), _times(basis, rotation[:, kept])


def _gram(columns: Floats) -> NDArray[np.float64]:
    gram: NDArray[np.float64] = np.einsum("ij,ik->jk", columns, columns).astype(np.float64)
    return gram


def _times(columns: Floats, small: NDArray[np.float64]) -> Floats:
    product: Floats = np.einsum("ij,jk->ik", columns, small.astype(np.float32))
    return product


def _whitening(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what makes columns with these inner products orthonormal, or 0 if they depend."""
    columns = np.eye(len(gram))
    for j, own in enumerate(np.diag(gram)):
        done, this = columns[:, :j], columns[:, j]
        this -= np.einsum("ij,j->i", done, np.einsum("ij,i->j", done, gram[:, j]))
        length = np.einsum("i,ij,j->", this, gram, this)
        this *= 1 / np.sqrt(length) if length > 1e-9 * own else 0.0
    return columns


def _eigen(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the eigenvalues of a symmetric matrix, decreasing, and the vectors, in columns.

    By Jacobi's rotations, n / 2 of disjoint pairs at a time.
    """
    n = len(matrix)
    work, vectors = np.zeros((n + n % 2,) * 2), np.eye(n + n % 2)
    work[:n, :n] = matrix
    order = np.arange(len(work))
    limit = 1e-24 * np.sum(np.square(matrix))
    for _ in range(30):  # sweeps; six to ten are enough
        if np.sum(np.square(work - np.diag(np.diag(work)))) <= limit:
            break
        for _ in range(len(work) - 1):
            _rotate(work, vectors, *np.array_split(order, 2))
            order = np.concatenate((order[:1], np.roll(order[1:], 1)))
    values = np.diag(work)[:n]
    descending = np.argsort(-values, kind="stable")
    return values[descending], vectors[:n, descending]


def _rotate(
    work: NDArray[np.float64],
    vectors: NDArray[np.float64],
    p: NDArray[np.int64],
    q: NDArray[np.int64],
) -> None:
    """Rotate p and q, pair by pair, so that the two of a pair become orthogonal."""
    q = q[::-1]
    between, apart = work[p, q], work[q, q] - work[p, p]
    # tangent of the smaller angle; 0 if they are orthogonal already
    length = np.sqrt(apart**2 + 4 * between**2)
    tangent = (
        2
        * between
        * np.where(apart < 0, -1.0, 1.0)
        / np.maximum(np.abs(apart) + length, np.finfo(float).tiny)
    )
    cosine = 1 / np.sqrt(tangent**2 + 1)
    sine = tangent * cosine
    for array in (work, vectors):
        first, second = array[:, p], array[:, q]
        array[:, p], array[:, q] = cosine * first - sine * second, sine * first + cosine * second
    first, second = work[p], work[q]
    cosine, sine = cosine[:, np.newaxis], sine[:, np.newaxis]
    work[p], work[q] = cosine * first - sine * second, sine * first + cosine * second
