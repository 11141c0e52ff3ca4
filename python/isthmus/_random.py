"""What `random_state` may be."""

from typing import Any

import numpy as np

__all__ = ["RandomState", "as_generator"]

RandomState = int | np.integer[Any] | np.random.Generator | None


def as_generator(random_state: RandomState) -> np.random.Generator:
    """Make a generator from a seed, or from none; one that is given is used and moves on."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, bool) or not isinstance(random_state, (int, np.integer)):
        raise TypeError(
            f"random_state must be an integer, a numpy.random.Generator or None, "
            f"but it was {random_state!r}."
        )
    if random_state < 0:
        raise ValueError(f"random_state must be at least 0, but it was {random_state}.")
    return np.random.default_rng(int(random_state))
