"""Random seeds and generators, as `random_state` gives them."""

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import shown

__all__ = ["RandomState", "as_generator", "check_seed", "mix_bits", "seed_from"]

RandomState = int | np.integer[Any] | np.random.Generator | None


def as_generator(random_state: RandomState) -> np.random.Generator:
    """Return a generator: a new one from a seed or None, or the given one itself."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    return np.random.default_rng(None if random_state is None else check_seed(random_state))


def seed_from(random_state: RandomState) -> int:
    """Return a 64-bit seed: an int is one, a generator draws one, None asks the system."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**64, dtype=np.uint64))
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    return check_seed(random_state)


def check_seed(random_state: Any) -> int:
    """Return a seed that was given as an integer."""
    if isinstance(random_state, bool) or not isinstance(random_state, numbers.Integral):
        raise TypeError(
            f"random_state must be an integer, a numpy.random.Generator or None, "
            f"but it was {shown(random_state)} ({type(random_state).__name__})."
        )
    seed = int(random_state)
    if not 0 <= seed < 2**64:
        raise ValueError(
            f"random_state must lie in [0, 2**64) if it is an integer, but it was {shown(seed)}."
        )
    return seed


def mix_bits(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix each number's bits, as SplitMix64's last step does; distinct numbers stay distinct."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
