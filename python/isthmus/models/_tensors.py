"""Layouts of the tensors of a model file, to be checked before they are used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.data._tensor_files import Layout, Tensor, Tensors, check_layout

__all__ = [
    "MAX_WEIGHT",
    "Layout",
    "Tensor",
    "Tensors",
    "check_layout",
    "check_range",
    "double",
    "integer_in",
    "length_of",
    "network",
    "part_of",
    "single",
]

MAX_WEIGHT = 1e15
"""Greatest weight of a fitted model: products of two, summed over units, fit float32."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def single(*shape: int | None) -> Tensor:
    """Describe weights, codes and what is computed of them: float32 of at most MAX_WEIGHT."""
    return Tensor(np.float32, shape, MAX_WEIGHT)


def double(*shape: int | None, limit: float = _FLOAT32_MAX) -> Tensor:
    """Describe float64 that are finite in float32 as well."""
    return Tensor(np.float64, shape, limit)


def network(n: int, first: int, hidden: Iterable[tuple[int, int]], last: int) -> Layout:
    """Describe the layers between n sparse inputs and as many outputs.

    `first` and `last` are the units next to these, `hidden` the shapes of the weights between.
    """
    layout = {
        "encoder.weights": single(n, first),
        "encoder.bias": single(1, first),
        "decoder.weights": single(n, last),
        "decoder.bias": single(1, n),
    }
    for number, (inputs, outputs) in enumerate(hidden, 1):
        layout[f"hidden.{number}.weights"] = single(inputs, outputs)
        layout[f"hidden.{number}.bias"] = single(1, outputs)
    return layout


def length_of(tensors: Tensors, name: str) -> int:
    """Return the length of a tensor that others must fit."""
    if name not in tensors:
        raise ValueError(f"it has no tensor {name}")
    if tensors[name].ndim == 0:
        raise ValueError(f"{name} has no dimension")
    return len(tensors[name])


def integer_in(tensors: Tensors, name: str, *, high: int) -> int:
    """Return the one integer of a tensor, from 0 to `high`."""
    check_layout({key: tensors[key] for key in tensors if key == name}, {name: _INTEGER})
    value = int(tensors[name][0])
    if not 0 <= value <= high:
        raise ValueError(f"{name} must be from 0 to {high:,}, but it is {value:,}")
    return value


_INTEGER = Tensor(np.int64, (1,))


def check_range(limits: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and the highest rating."""
    low, high = limits.tolist()
    if low > high:
        raise ValueError(f"its ratings lie between {low} and {high}")
    return low, high


def part_of(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
