"""Checks of arguments, each with the sentence that refuses a bad one."""

import numbers
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

__all__ = [
    "ACTIVATIONS",
    "MAX_UNITS",
    "check_bool",
    "check_choice",
    "check_integer",
    "check_layers",
    "check_real",
    "check_share",
    "check_units",
    "is_auto",
    "shown",
]

ACTIVATIONS = ("identity", "sigmoid", "centered_sigmoid", "tanh", "relu", "elu", "selu", "swish")
"""What the core can apply to the units of a layer."""

MAX_UNITS = 1_000_000
"""Most units of a layer, or factors: far more than sensible, and no product of sizes overflows."""

_INT32_MAX = 2**31 - 1
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_bool(name: str, value: Any) -> bool:
    """Return a truth value, Python's or NumPy's."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"{name} must be True or False, but it was {shown(value)} ({type(value).__name__})."
        )
    return bool(value)


Others = tuple[str | None, ...]
"""What a parameter may be instead of a number."""


def _listed(others: Others) -> str:
    """Return how a sentence about a number goes on: as ``, "auto" or None``."""
    *most, last = ["", *("None" if one is None else f'"{one}"' for one in others)]
    return f"{', '.join(most)} or {last}" if last else ""


def _is_one(value: Any, others: Others) -> bool:
    return any(value is one or (isinstance(value, str) and value == one) for one in others)


def check_integer(
    name: str, value: Any, *, low: int, high: float = _INT32_MAX, others: Others = ()
) -> int:
    """Return an integer within bounds, by default those of 32 bits, which the core takes.

    One of `others` is returned as it is.
    """
    if _is_one(value, others):
        return cast("int", value)
    unbounded = high in (_INT32_MAX, np.inf)
    bounds = (f"of at least {low}" if unbounded else f"from {low} to {high:,}") + _listed(others)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be an integer {bounds}, but it was {shown(value)} "
            f"({type(value).__name__})."
        )
    number = int(value)
    if number > high:
        bounds = f"from {low} to {high:,}"
    if not low <= number <= high:
        raise ValueError(f"{name} must be an integer {bounds}, but it was {shown(number)}.")
    return number


def check_real(
    name: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
    open_high: bool = False,
    others: Others = (),
) -> float:
    """Return a number that is finite in float32 and within bounds, each of which may be open.

    One of `others` is returned as it is.
    """
    if _is_one(value, others):
        return cast("float", value)
    lower = "" if low == -np.inf else f" {'above' if open_low else 'of at least'} {low:g}"
    upper = "" if high == np.inf else f" {'below' if open_high else 'of at most'} {high:g}"
    allowed = f"a finite number{lower}{' and' if lower and upper else ''}{upper}{_listed(others)}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be {allowed}, but it was {shown(value)} ({type(value).__name__})."
        )
    try:
        number = float(value)
    except OverflowError:  # of an integer
        number = np.inf
    if abs(number) > _FLOAT32_MAX:
        allowed += f", in float32, which ends at {_FLOAT32_MAX:.3g}"
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (abs(number) <= _FLOAT32_MAX and above and below):
        raise ValueError(f"{name} must be {allowed}, but it was {shown(value)}.")
    return number


def shown(value: Any) -> str:
    """Write what was wrong, shortened where it is long; Python may refuse to write an integer."""
    if isinstance(value, numbers.Integral) and int(value).bit_length() > 256:
        return f"an integer of {int(value).bit_length():,} bits"
    text = " ".join((str if isinstance(value, numbers.Number) else repr)(value).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def check_share(name: str, value: Any, others: Others = ()) -> float:
    """Return a part of a whole: a number above 0 and below 1."""
    return check_real(name, value, low=0, high=1, open_low=True, open_high=True, others=others)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return one of a few strings."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, but it was {shown(value)}.")
    return value


def check_units(name: str, value: Any) -> int:
    """Return a number of hidden units, latent units or factors."""
    return check_integer(name, value, low=1, high=MAX_UNITS)


def check_layers(name: str, value: Any) -> tuple[int, ...]:
    """Return numbers of units, one a layer; a single number is one layer."""
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        value = (value,)
    if (
        isinstance(value, str | bytes)
        or not isinstance(value, Sequence | np.ndarray)
        or len(value) == 0
    ):
        raise ValueError(
            f"{name} must be the units of at least one layer, as (500,), but it was {shown(value)}."
        )
    return tuple(check_units(f"every entry of {name}", units) for units in value)


def is_auto(value: Any) -> bool:
    """Return whether a parameter is left to the model."""
    return isinstance(value, str) and value == "auto"
