"""Linear systems of NumPy's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["solve_positive_definite"]


def solve_positive_definite(matrix: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return x with ``matrix @ x == right``, by Cholesky's decomposition."""
    from scipy import linalg  # the import takes a sixth of isthmus's own

    solution: NDArray[np.float64] = linalg.cho_solve(linalg.cho_factor(matrix), right)
    return solution
