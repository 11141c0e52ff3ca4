"""EASE's weights without some of the users that they were computed from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.linear import solve_positive_definite
from isthmus.data._csr import CSR, as_scipy, column_counts
from isthmus.evaluation.scores import Floats

__all__ = ["downdated"]

ROWS = 128
"""Rows of the weights that are changed at once, which bounds the memory besides them."""


def downdated(weights: Floats, rows: CSR, gone: CSR, regularization: float) -> Floats:
    r"""Return the weights that training without some users gives.

    With :math:`P = (X^T X + \lambda I)^{-1}` and the rows U of those users,

    .. math::
        (X^T X - U^T U + \lambda I)^{-1} = P + P U^T (I - U P U^T)^{-1} U P

    (M. A. Woodbury, 1950), which takes time in the number of users times the square of the items.

    Parameters
    ----------
    weights : ndarray of float32, shape (n_items, n_items)
        B, which stays as it is.
    rows, gone : CSR
        All users that B was computed from, and those who are to go, of whom there are some.
    regularization : float
        lambda.
    """
    diagonal = _diagonal_of_inverse(weights, rows, regularization)
    products = _rows_times_inverse(weights, gone, diagonal)  # U P
    core = np.eye(len(products)) - (as_scipy(gone).astype(np.float64) @ products.T)
    solved = solve_positive_definite((core + core.T) / 2, products)
    after = diagonal + np.einsum("ui,ui->i", products, solved)
    changed = _core.Matrix(weights).array
    for first in range(0, len(changed), ROWS):
        block = changed[first : first + ROWS]
        block[...] = (block * diagonal - products[:, first : first + ROWS].T @ solved) / after
    np.fill_diagonal(changed, 0.0)
    return changed


def _diagonal_of_inverse(weights: Floats, rows: CSR, regularization: float) -> NDArray[np.float64]:
    """Return the diagonal of P, which B = I - P diag(P)^-1 does not hold.

    As P^-1 (I - B) is diagonal, its product with one vector gives all of the diagonal. Signs drawn
    at random keep its sums small, and so their rounding; large entries would be far larger.
    """
    n_items = len(weights)
    counts = column_counts(rows.indices, n_items)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], n_items)
    vector = signs / np.sqrt(counts + regularization)
    matrix = as_scipy(rows)
    product = matrix.T @ (matrix @ vector) + regularization * vector
    whole = product.copy()
    for first in range(0, n_items, ROWS):
        part = slice(first, first + ROWS)
        whole -= product[part] @ weights[part].astype(np.float64)
    inverse: NDArray[np.float64] = vector / whole
    return inverse


def _rows_times_inverse(
    weights: Floats, rows: CSR, diagonal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return X P = (X - X B) diag(P), row by row."""
    products = np.zeros((rows.shape[0], len(weights)))
    for row, (first, last) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        items = rows.indices[first:last]
        products[row] = -weights[items].sum(axis=0, dtype=np.float64)
        products[row, items] += 1.0
    products *= diagonal
    return products
