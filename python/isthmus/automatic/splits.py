"""Ratings to search on, and those held out: the latest ones, where timestamps tell."""

from __future__ import annotations

import numpy as np

from isthmus.data._csr import row_numbers
from isthmus.data.ratings import Ratings
from isthmus.data.splits import split_off

__all__ = ["has_times", "hold_out"]

SHARE = 0.1
"""Share of the ratings that are held out."""

TOLD = 0.9
"""Share of the ratings that must be of users who rated at several times."""


def has_times(ratings: Ratings) -> bool:
    """Return whether the ratings' times tell which of a user's came last.

    They do if at most half of a user's ratings have the same time.
    """
    stamps = ratings.timestamps
    if stamps is None:
        return False
    rows, counts = row_numbers(ratings.indptr), np.diff(ratings.indptr)
    stamps = stamps[np.lexsort((stamps, rows))]
    changes = (stamps[1:] != stamps[:-1]) | (rows[1:] != rows[:-1])
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    longest = np.zeros(ratings.n_users, np.int64)
    np.maximum.at(longest, rows[starts], np.diff(np.append(starts, len(stamps))))
    told = (2 * longest <= counts) | (counts == 1)
    return bool(counts[told].sum() >= TOLD * ratings.nnz)


def hold_out(ratings: Ratings, *, name: str, seed: int, by_time: bool) -> tuple[Ratings, Ratings]:
    """Hold out a tenth: of each user's ratings the latest, or some of all, drawn at random.

    Where most ratings are of users with fewer than ten, it is the latest one of each user.
    """
    if not by_time:
        return split_off(ratings, SHARE, name=name, random_state=seed, by="rating")
    counts = np.diff(ratings.indptr)
    mostly_few = counts[counts < 1 / SHARE].sum() > ratings.nnz / 2
    size: float | int = 1 if mostly_few else SHARE
    return split_off(ratings, size, name=name, random_state=seed, by="user_time")
