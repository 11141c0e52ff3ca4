"""How the learning rate changes while a model is trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEDULES", "learning_rates"]

SCHEDULES = ("linear", "exponential")

FIRST_STEP = 0.02
"""Share of the learning rate that a warm-up begins with."""

AFTERWARDS = 0.1
"""Share of the learning rate in epochs after the last one of a linear schedule."""


def learning_rates(
    schedule: str, rate: float, *, decay: float, epochs: int, epoch: int, batches: int
) -> NDArray[np.float32]:
    """Return the learning rate of each of an epoch's batches.

    Parameters
    ----------
    schedule : {"linear", "exponential"}
        "linear": rises over the first epoch and falls towards 0 at the end of the last one.
        "exponential": constant within an epoch.
    rate : float
        Learning rate to begin with.
    decay : float
        Factor on the rate from one epoch to the next, of "exponential".
    epochs : int
        After how many epochs a "linear" rate reaches 0; later ones have a tenth of the rate.
    epoch, batches : int
        Number of the epoch, from 0, and how many batches it has.
    """
    if schedule == "exponential":
        return np.full(batches, rate * decay**epoch, np.float32)
    if epoch >= epochs:
        return np.full(batches, AFTERWARDS * rate, np.float32)
    done = epoch + np.arange(batches) / max(batches, 1)
    rates = rate * (1 - done / epochs) * np.minimum(done + FIRST_STEP, 1)
    return rates.astype(np.float32)
