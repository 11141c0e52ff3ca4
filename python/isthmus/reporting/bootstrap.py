"""Confidence intervals of figures, by resampling users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "Bootstrap", "Estimate", "Interval"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RESAMPLES = 1000

GROUPS = 10_000
"""Most users to draw one by one; of more, as many random groups are drawn."""

FEWEST = 10
"""Fewest users of a bin for which an interval is given."""

_AT_ONCE = 100  # resamples


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes
    ----------
    value : float
        Of the data.
    low, high : float
        The 2.5th and the 97.5th percentile over the resamples; NaN with too few users.
    n, users : int
        How many cells, of how many users, it is of.
    """

    value: float
    low: float
    high: float
    n: int
    users: int


@dataclass(frozen=True)
class Estimate:
    """The means of some bins, of the data and of each resample.

    Attributes
    ----------
    values : ndarray of float64, shape (bins,)
        NaN of an empty bin.
    resampled : ndarray of float64, shape (RESAMPLES, bins)
    n, users : ndarray of int64, shape (bins,)
        How many cells, of how many users.
    """

    values: Floats
    resampled: Floats
    n: Integers
    users: Integers

    def root(self) -> Estimate:
        """Return the square roots, as of mean squared errors."""
        return Estimate(np.sqrt(self.values), np.sqrt(self.resampled), self.n, self.users)

    def less(self, other: Estimate) -> Estimate:
        """Return the differences of two estimates of the same cells, resample by resample."""
        values, resampled = self.values - other.values, self.resampled - other.resampled
        return Estimate(values, resampled, self.n, self.users)

    def intervals(self) -> list[Interval]:
        """Return each bin's figure with its interval."""
        bounds = np.full((2, len(self.values)), np.nan)
        enough = self.users >= FEWEST
        bounds[:, enough] = np.nanpercentile(self.resampled[:, enough], [2.5, 97.5], axis=0)
        columns = (self.values, *bounds, self.n, self.users)
        return [
            Interval(value, low, high, int(n), int(users))
            for value, low, high, n, users in zip(*(c.tolist() for c in columns), strict=True)
        ]


class Bootstrap:
    """Resample users, each with all of its cells, as cells of one user are alike.

    Every figure has the same resamples, so that figures may be compared resample by resample.

    Parameters
    ----------
    users : ndarray of int, shape (cells,)
        Whose the cells are, by any numbers.
    random_state : int

    Notes
    -----
    The percentile bootstrap of B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13, with users as the units. Of more than 10,000 users, random groups are drawn in their
    place, whose sums vary as much.
    """

    def __init__(self, users: NDArray[np.integer], random_state: int) -> None:
        random = np.random.default_rng(random_state)
        present, number = np.unique(users, return_inverse=True)
        self.n_users, self._user = len(present), number.reshape(-1)
        self._n_groups = min(self.n_users, GROUPS)
        self._group = self._user
        if self.n_users > GROUPS:
            self._group = (random.permutation(self.n_users) % GROUPS)[self._user]
        self.counts = np.empty((RESAMPLES, self._n_groups), np.uint16)
        """How often each resample has each user, or group."""
        for counts in self.counts:
            drawn = random.integers(self._n_groups, size=self._n_groups)
            counts[:] = np.bincount(drawn, minlength=self._n_groups)

    def means(
        self, values: NDArray[np.floating], bins: Integers | None = None, n_bins: int = 1
    ) -> Estimate:
        """Return the mean of the cells' values in each bin.

        Parameters
        ----------
        values : ndarray of float, shape (cells,)
        bins : ndarray of int64, shape (cells,), optional
            By default all cells are in one bin.
        n_bins : int, default 1

        Returns
        -------
        Estimate
        """
        key = self._group if bins is None else self._group * n_bins + bins
        size = self._n_groups * n_bins
        sums, sizes = (
            np.bincount(key, weights, size).reshape(-1, n_bins).astype(np.float64)
            for weights in (values, None)
        )
        with np.errstate(invalid="ignore"):  # 0 / 0 of a bin that is empty in a resample
            resampled = np.vstack(
                [
                    (counts @ sums) / (counts @ sizes)
                    for first in range(0, RESAMPLES, _AT_ONCE)
                    for counts in (self.counts[first : first + _AT_ONCE].astype(np.float64),)
                ]
            )
            mean = sums.sum(axis=0) / sizes.sum(axis=0)
        pairs = np.unique(self._user if bins is None else self._user * n_bins + bins)
        users = np.bincount(pairs % n_bins, minlength=n_bins)
        return Estimate(mean, resampled, sizes.sum(axis=0).astype(np.int64), users)
