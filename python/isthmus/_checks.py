"""Checks of arguments, each with the sentence that refuses a bad one."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "check_choice",
    "check_integer",
    "check_layers",
    "check_real",
    "check_share",
    "seed_from",
]


def check_integer(name: str, value: Any, *, low: int) -> int:
    """Return an integer that is at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be an integer of at least {low}, but it was {value!r} "
            f"({type(value).__name__})."
        )
    if value < low:
        raise ValueError(f"{name} must be an integer of at least {low}, but it was {value}.")
    return int(value)


def check_real(
    name: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return a finite number within bounds, each of which may be open."""
    lower = "" if low == -np.inf else f" {'above' if open_low else 'of at least'} {low:g}"
    upper = "" if high == np.inf else f" {'below' if open_high else 'of at most'} {high:g}"
    allowed = f"a finite number{lower}{' and' if lower and upper else ''}{upper}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, but it was {value!r} ({type(value).__name__}).")
    number = float(value)
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (np.isfinite(number) and above and below):
        raise ValueError(f"{name} must be {allowed}, but it was {value}.")
    return number


def check_share(name: str, value: Any) -> float:
    """Return a part of a whole: a number above 0 and below 1."""
    return check_real(name, value, low=0, high=1, open_low=True, open_high=True)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return one of a few strings."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, but it was {value!r}.")
    return value


def check_layers(name: str, value: Any) -> tuple[int, ...]:
    """Return numbers of units, one a layer; a single number is one layer."""
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        value = (value,)
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) == 0:
        raise ValueError(
            f"{name} must be the units of at least one layer, as (500,), but it was {value!r}."
        )
    return tuple(check_integer(f"every entry of {name}", units, low=1) for units in value)


def seed_from(random_state: Any) -> int:
    """Return a 64-bit seed: an int is one, a generator draws one, None asks the system."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**64, dtype=np.uint64))
    if not isinstance(random_state, bool) and isinstance(random_state, numbers.Integral):
        seed = int(random_state)
        if not 0 <= seed < 2**64:
            raise ValueError(
                f"random_state must lie in [0, 2**64) if it is an integer, but it was {seed}."
            )
        return seed
    raise TypeError(
        f"random_state must be an integer, a numpy.random.Generator or None, "
        f"but it was {random_state!r} ({type(random_state).__name__})."
    )
