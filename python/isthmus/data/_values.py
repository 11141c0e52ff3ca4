"""Values of ratings that may mean something else: no rating, or a count."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_real

__all__ = ["as_missing", "doubt_of_counts", "doubt_of_sentinel", "is_rating", "warn_of_values"]

Floats = NDArray[np.float32]

_SENTINELS = (-1.0, 0.0, 99.0, -99.0, 999.0, -999.0, 9999.0, -9999.0)
_SAMPLE = 200_000
_FEWEST = 20  # of a value before anything is said about it


def as_missing(missing_values: float | Sequence[float] | None, *, implicit: bool) -> Floats:
    """Return the values that mean "no rating", if any."""
    if missing_values is None:
        return np.empty(0, np.float32)
    if implicit:
        raise ValueError(
            "missing_values must not be given with implicit=True, for which every row is a rating "
            "of 1."
        )
    scalar = not isinstance(missing_values, list | tuple | np.ndarray)
    given: Any = [missing_values] if scalar else missing_values
    return np.array([check_real("missing_values", value) for value in given], np.float32)


def is_rating(values: NDArray[Any], missing: Floats) -> NDArray[np.bool_]:
    """Return which values are ratings; raise ValueError if none is."""
    there = ~np.isin(values.astype(np.float32, copy=False), missing)
    if not there.any():
        raise ValueError("missing_values must leave at least one rating, but all are among them.")
    return there


def warn_of_values(values: Floats, name: str) -> None:
    """Warn of ratings that look like a sign for no rating, or like counts, and say what to do.

    Parameters
    ----------
    values : ndarray of float32
    name : str
        What they are from.
    """
    doubt = doubt_of_sentinel(values) or doubt_of_counts(values)
    if doubt:
        warnings.warn(f"{name}: {doubt}", stacklevel=3)


def doubt_of_sentinel(values: Floats) -> str:
    """Return a sentence if a value looks like a sign for no rating, and what to do; or ""."""
    if len(values) < _FEWEST:
        return ""
    low, high = values.min(), values.max()
    levels = np.unique(np.append(_sample(values), [low, high]))
    for value in (low, high):
        if float(value) in _SENTINELS and (what := _sentinel(value, levels, values)):
            others = levels[levels != value]
            return (
                f"{np.mean(values == value):.1%} of the ratings are {value:g}, {what}, "
                f"which are from {others[0]:g} to {others[-1]:g}. If that stands for no rating, "
                f"pass missing_values={value:g}."
            )
    return ""


def doubt_of_counts(values: Floats) -> str:
    """Return a sentence if ratings look like counts, and what to do; or ""."""
    if len(values) < _FEWEST:
        return ""
    sample = _sample(values)
    mean, deviation = sample.mean(dtype=np.float64), sample.std(dtype=np.float64)
    if not (values.min() >= 0 and values.max() > 20 and deviation > 1.5 * mean):
        return ""
    return (
        f"the ratings look like counts, with a mean of {mean:.3g}, a standard deviation of "
        f"{deviation:.3g} and a highest of {values.max():.6g}, so that a few large ones outweigh "
        f"all others. Take their logarithms with log1p(), or what is at least a threshold with "
        f'binarize(threshold); a top-N model may have weights="log1p".'
    )


def _sample(values: Floats) -> Floats:
    return values[:: -(-len(values) // _SAMPLE)]


def _sentinel(value: np.float32, levels: Floats, values: Floats) -> str:
    """Return why a value at an end of the scale is unlike the others, or ""."""
    others = levels[levels != value].astype(np.float64)
    if len(others) < 3:  # likes and dislikes
        return ""
    gap = float(np.abs(others - value).min())
    spread, step = float(others[-1] - others[0]), float(np.median(np.diff(others)))
    apart = value < others[0] and gap >= max(2 * step, spread / 10)
    negative = value == -1 and others[0] >= 0 and gap >= spread / 10
    if apart or negative if value in (-1, 0) else gap > spread:
        return "far from the others"
    if value == 0 < others[0] and others[-1] <= 100 and np.mean(values == 0) > 0.5:
        return "more than all others"
    return ""
