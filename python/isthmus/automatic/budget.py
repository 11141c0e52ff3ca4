"""The time that a search may take."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

__all__ = ["Budget"]


class Budget:
    """Seconds, counted from when this is made.

    Parameters
    ----------
    seconds : float
    clock : callable, default time.perf_counter
        Returns the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = perf_counter) -> None:
        self.seconds = seconds
        self.now = clock
        self._start = clock()

    @property
    def spent(self) -> float:
        """Return the seconds since the start."""
        return self.now() - self._start

    @property
    def left(self) -> float:
        """Return the seconds to the end; below 0 after it."""
        return self.seconds - self.spent
