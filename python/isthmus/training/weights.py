"""Weights that are views of a model of the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WeightKeeper", "load_weights"]


class WeightKeeper:
    """The part of a learner that keeps a copy of the weights, given as views of them."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._best: dict[str, NDArray[np.float32]] | None = None

    def keep_best(self) -> None:
        """Keep a copy of the weights."""
        self._best = {name: array.copy() for name, array in self._weights.items()}

    def restore_best(self) -> None:
        """Restore that copy."""
        if self._best is not None:
            load_weights(self._weights, self._best)


def load_weights(
    weights: dict[str, NDArray[np.float32]], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Copy tensors into views of a model's weights."""
    for name, array in weights.items():
        array[...] = tensors[name]
