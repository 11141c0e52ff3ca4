"""What trained columns say about a new one before its ratings do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import blocks
from isthmus.data._csr import CSR, column_counts, row_numbers_of
from isthmus.evaluation.scores import Floats
from isthmus.models._tensors import Layout, Tensors, double, single

__all__ = ["ColumnPrior", "residual_variance", "strength"]

MAX_STRENGTH = 1e6
"""Strength in ratings of a prior whose columns are all alike."""


class ColumnPrior(NamedTuple):
    """The distribution of trained columns, by their mean and by how far their levels spread.

    A column's level is its output at the mean code. Empirical Bayes: a new column is treated as
    another draw from it, so that its first rating moves its level no further than levels differ.
    """

    weights: Floats
    """Of the mean column, shape (outputs, k)."""
    bias: Floats
    """Of the mean column, shape (1, outputs)."""
    center: Floats
    """Mean code of all ratings, shape (1, k)."""
    level_penalty: float

    @classmethod
    def of(
        cls,
        weights: Floats,
        bias: Floats,
        codes: Floats,
        matrix: CSR,
        *,
        row_offset: Floats | None = None,
        scale: float | None = None,
        targets: Targets | None = None,
    ) -> ColumnPrior:
        """Estimate it from columns of weights (columns x outputs x k) and bias (columns x outputs).

        `matrix` has the ratings that they were trained on. With a `scale`, an error costs its
        square: (rating - offset of the row) x scale - output; without, a negative log-likelihood.
        `targets` replace the ratings.
        """
        # einsum, and not a product of matrices: its sums do not depend on the number of threads
        counts = np.diff(matrix.indptr).astype(np.float64)
        center = np.einsum("r,rk->k", counts / counts.sum(), codes)
        popularity = column_counts(matrix.indices, len(weights))
        # only differences between a column's outputs count where there are several
        mean_weights = np.einsum("c,cok->ok", popularity / popularity.sum(), weights)
        levels = bias + np.einsum("cok,k->co", weights, center)
        if levels.shape[1] > 1:
            mean_weights -= mean_weights.mean(axis=0)
            levels -= levels.mean(axis=1, keepdims=True)
        noise = 1.0
        if scale is not None:
            level = levels[:, 0] / scale
            offset = np.zeros(matrix.shape[0]) if row_offset is None else row_offset
            noise = scale**2 * residual_variance(
                matrix, lambda rows, columns: offset[rows] + level[columns], targets
            )
        spread = levels[popularity > 0]
        mean_level = spread.mean(axis=0)
        return cls(
            mean_weights.astype(np.float32),
            (mean_level - mean_weights @ center).astype(np.float32)[np.newaxis],
            center.astype(np.float32)[np.newaxis],
            strength(noise, float(spread.var(axis=0).mean())),
        )

    def in_core(self) -> _core.ColumnPrior:
        """Return it for the core."""
        return _core.ColumnPrior(*self)

    def tensors(self) -> Tensors:
        """Return its content for a file."""
        return {f"prior.{name}": np.atleast_1d(value) for name, value in self._asdict().items()}

    @staticmethod
    def layout(outputs: int, units: int) -> Layout:
        """Describe its tensors in a file."""
        return {
            "prior.weights": single(outputs, units),
            "prior.bias": single(1, outputs),
            "prior.center": single(1, units),
            "prior.level_penalty": double(1),
        }

    @staticmethod
    def check_values(tensors: Tensors) -> None:
        """Refuse a file whose penalty is below 0."""
        if tensors["prior.level_penalty"][0] < 0:
            raise ValueError("prior.level_penalty must be at least 0")

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> ColumnPrior:
        """Make it from a file's tensors."""
        weights, bias, center, penalty = (tensors[f"prior.{name}"] for name in cls._fields)
        return cls(weights, bias, center, float(penalty[0]))


Targets = Callable[[slice, NDArray[np.int64]], Floats]
"""Return the targets of some stored cells, given their rows."""


def residual_variance(
    matrix: CSR,
    expected: Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[Any]],
    targets: Targets | None = None,
) -> float:
    """Return the mean square of how stored values differ from those expected there.

    `targets` replace the values.
    """
    total = 0.0
    for cells in blocks(len(matrix.indices)):
        residuals = np.empty(cells.stop - cells.start)
        for few in blocks(len(residuals), 1 << 18):  # so that temporary arrays are small
            some = slice(cells.start + few.start, cells.start + few.stop)
            rows = row_numbers_of(matrix.indptr, some)
            values = matrix.values[some] if targets is None else targets(some, rows)
            residuals[few] = values - expected(rows, matrix.indices[some])
        total += float(np.sum(np.square(residuals, out=residuals)))
    return total / len(matrix.indices)


def strength(noise: float, spread: float) -> float:
    """Return how many ratings a prior mean counts as: the ratio of two variances."""
    return min(noise / spread, MAX_STRENGTH) if spread > 0 else MAX_STRENGTH
