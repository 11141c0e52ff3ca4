"""Checks of ratings for what looks wrong, before training on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus._util.arrays import blocks
from isthmus._util.random import mix_bits
from isthmus.data._alignment import ratings_among
from isthmus.data._csr import CSR, as_scipy, column_counts, row_numbers, select_rows
from isthmus.data._ids import IdIndex
from isthmus.data._values import doubt_of_counts, doubt_of_sentinel
from isthmus.data.ratings import Ratings, as_ratings, in_memory

__all__ = ["Finding", "lint"]

Integers = NDArray[np.int64]

FEW = 5
"""Ratings of a user or an item; from fewer, little can be learnt."""

MANY = 100
"""Ratings of a user; with fewer, nobody is suspected to be a program."""

BURST, SECONDS = 60, 60
"""Ratings of a user, and the seconds within which no person gives so many."""

_DAY = 24 * 60 * 60
_CELLS = 1 << 23  # whose times are sorted at once


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong in ratings. Printed, it is its message.

    Attributes
    ----------
    kind : str
        "constant", "sentinel", "counts", "twin users", "twin items", "same value", "activity",
        "no ratings", "few ratings", "bursts", "newcomers", "tested in training" or "time leak".
    message : str
        What was found, how often, and what to do.
    """

    kind: str
    message: str

    def __str__(self) -> str:
        return self.message


def lint(ratings: Any, *, test: Any = None) -> list[Finding]:
    """Look for what is wrong with ratings, or so unusual that you should look at it.

    Nothing is changed. What is found may be right: messages say what to do if it is not.

    Parameters
    ----------
    ratings : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
        What a model is to be trained on. Bursts and leaks in time are looked for where `Ratings`
        have timestamps.
    test : Ratings or scipy.sparse array or matrix, optional
        What the model is to be tested on: Ratings with ids as those of `ratings`, of which some
        may be unknown there, or a matrix of the same shape.

    Returns
    -------
    list of Finding
        Of all ratings, of users and items, of times, and of the test, in this order; empty if
        nothing was found.

    Raises
    ------
    TypeError, ValueError
        If `ratings` or `test` is no such matrix, or their ids or shapes do not fit each other.

    Notes
    -----
    `Ratings` cannot hold two ratings of one user for one item: what makes them refuses or merges
    those. A user's number of ratings is suspicious if it is at least 100, and its logarithm beyond
    three interquartile ranges above the upper quartile (J. Tukey, Exploratory Data Analysis,
    1977), and so are 60 ratings within a minute, unless all timestamps are whole days.

    Examples
    --------
    >>> from isthmus import Ratings
    >>> for finding in lint(Ratings.from_arrays([1, 1, 2], [7, 8, 7], [1, 1, 1])):
    ...     print(finding.kind)
    constant
    few ratings
    few ratings
    """
    known = as_ratings(in_memory(ratings), "ratings")
    found = [*_of_values(known), *_of_rows(known), *_of_times(known)]
    if test is not None:
        found += _of_test(known, _like(known, test))
    return found


def _like(known: Ratings, test: Any) -> Ratings:
    """Return a test as ratings; a matrix has the users and items of training."""
    if isinstance(test, Ratings):
        return test
    return ratings_among(known._users, known._items, test, "test")


def _some(n: int, of: int, kind: str) -> str:
    """Return a number and its share, as "3 of 200 users (1.5 %)"."""
    share = f"{100 * n / of:.1f} %" if n / of >= 0.0005 else "under 0.1 %"
    return f"{n:,} of {of:,} {kind} ({share})"


def _verb(n: int, singular: str, plural: str) -> str:
    return singular if n == 1 else plural


# The values


def _of_values(ratings: Ratings) -> Iterator[Finding]:
    if ratings.min == ratings.max:
        message = (
            f"All {ratings.nnz:,} ratings are {ratings.min:g}, so that only who had what can be "
            f"learnt from them: train a top-N model, as EASE or MultVAE."
        )
        yield Finding("constant", message)
    for kind, doubt in (
        ("sentinel", doubt_of_sentinel(ratings.values)),
        ("counts", doubt_of_counts(ratings.values)),
    ):
        if doubt:
            yield Finding(kind, doubt[0].upper() + doubt[1:])


# Users and items


def _of_rows(ratings: Ratings) -> Iterator[Finding]:
    per_user = np.diff(ratings.indptr)
    per_item = column_counts(ratings.indices, ratings.n_items)
    rows, values = row_numbers(ratings.indptr), ratings.values
    yield from _of_twins("users", per_user, _sums(ratings.n_users, rows, ratings.indices, values))
    yield from _of_twins("items", per_item, _sums(ratings.n_items, ratings.indices, rows, values))
    if ratings.min < ratings.max:
        yield from _of_same_values(ratings, per_user)
    yield from _of_activity(per_user)
    for kind, counts in (("users", per_user), ("items", per_item)):
        yield from _of_few(kind, counts)


def _sums(
    n: int, own: NDArray[np.int32], other: NDArray[np.int32], values: NDArray[np.float32]
) -> NDArray[np.uint64]:
    """Sum 64 random bits of every rating by user, or by item: equal for the same ratings alone."""
    sums = np.zeros(n, np.uint64)
    for cells in blocks(len(values)):
        np.add.at(sums, own[cells], _bits(other[cells], values[cells]))
    return sums


def _bits(other: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return random bits, by SplitMix64's last step, of the other user or item and the value."""
    bits = (other.astype(np.uint64) << np.uint64(32)) | values.view(np.uint32)
    return mix_bits(bits)


def _of_twins(kind: str, counts: Integers, sums: NDArray[np.uint64]) -> Iterator[Finding]:
    judged = sums[counts >= FEW]
    twins = len(judged) - len(np.unique(judged))
    if twins:
        message = (
            f"{_some(twins, len(judged), f'{kind} with {FEW} ratings or more')} "
            f"{_verb(twins, 'has', 'have')} exactly the ratings of another: leave them out if they "
            f"are copies under another id, which count twice and leak into tests."
        )
        yield Finding(f"twin {kind}", message)


def _of_same_values(ratings: Ratings, per_user: Integers) -> Iterator[Finding]:
    filled = np.flatnonzero(per_user)
    starts = ratings.indptr[filled]
    low, high = (f.reduceat(ratings.values, starts) for f in (np.minimum, np.maximum))
    judged = per_user[filled] >= FEW
    same = int(np.count_nonzero(judged & (low == high)))
    if same:
        message = (
            f"{_some(same, int(judged.sum()), f'users with {FEW} ratings or more')} gave all that "
            f"they rated the same value, which says what they had and not what they liked: leave "
            f"them out if that is the default of a form."
        )
        yield Finding("same value", message)


def _of_activity(per_user: Integers) -> Iterator[Finding]:
    active = per_user[per_user > 0]
    low, high = np.quantile(np.log(active), [0.25, 0.75])
    limit = max(int(np.exp(high + 3 * (high - low))), MANY - 1)
    far = active[active > limit]
    if len(far):
        message = (
            f"{_some(len(far), len(active), 'users')} {_verb(len(far), 'has', 'have')} more than "
            f"{limit:,} ratings, the most active {far.max():,}, where the median is "
            f"{np.median(active):,.0f}: leave them out if they are programs or shared accounts."
        )
        yield Finding("activity", message)


def _of_few(kind: str, counts: Integers) -> Iterator[Finding]:
    unrated = int(np.count_nonzero(counts == 0))
    if unrated:
        message = (
            f"{_some(unrated, len(counts), kind)} {_verb(unrated, 'has', 'have')} no rating, so "
            f"that a model has nothing but defaults for them: drop them, or fold them in later."
        )
        yield Finding("no ratings", message)
    few = int(np.count_nonzero((counts > 0) & (counts < FEW)))
    if few:
        message = (
            f"{_some(few, len(counts), kind)} {_verb(few, 'has', 'have')} fewer than {FEW} "
            f"ratings, from which little can be learnt: k_core drops them."
        )
        yield Finding("few ratings", message)


# Time


def _of_times(ratings: Ratings) -> Iterator[Finding]:
    stamps = ratings.timestamps
    if stamps is None or not (stamps % _DAY).any():
        return
    active = np.flatnonzero(np.diff(ratings.indptr) >= BURST)
    hasty = sum(_count_hasty(ratings, users) for users in _in_parts(ratings, active))
    if hasty:
        message = (
            f"{_some(hasty, ratings.n_users, 'users')} gave {BURST} ratings or more within a "
            f"minute, as programs do, and imports whose times are not those of the ratings: leave "
            f"them out, or do not split by time."
        )
        yield Finding("bursts", message)


def _in_parts(ratings: Ratings, users: Integers) -> list[Integers]:
    """Cut users into parts with about `_CELLS` ratings each."""
    total = np.cumsum(np.diff(ratings.indptr)[users])
    return np.split(users, np.flatnonzero(np.diff(total // _CELLS)) + 1) if len(users) else []


def _count_hasty(ratings: Ratings, users: Integers) -> int:
    """Count users with a burst."""
    stamps: Any = ratings.timestamps
    part = select_rows(CSR(ratings.indptr, ratings.indices, stamps, ratings.shape), users)
    rows = row_numbers(part.indptr)
    times = part.values[np.lexsort((part.values, rows))]
    last = BURST - 1
    close = (times[last:] - times[:-last] < SECONDS) & (rows[last:] == rows[:-last])
    return len(np.unique(rows[last:][close]))


# The test


def _of_test(train: Ratings, test: Ratings) -> Iterator[Finding]:
    users = _positions(train._users, test._users, "users of test")[row_numbers(test.indptr)]
    items = _positions(train._items, test._items, "items of test")[test.indices]
    counts = np.diff(train.indptr), column_counts(train.indices, train.n_items)
    yield from _of_newcomers("users", users, counts[0])
    yield from _of_newcomers("items", items, counts[1])
    yield from _of_answers(train, users, items)
    yield from _of_leaks(train, test, users)


def _positions(known: IdIndex, ids: IdIndex, name: str) -> Integers:
    return np.arange(len(ids)) if known.matches(ids) else known.find(ids.ids, name)


def _of_newcomers(kind: str, places: Integers, counts: Integers) -> Iterator[Finding]:
    new = int(np.count_nonzero(np.where(places < 0, 0, counts[places]) == 0))
    if new:
        message = (
            f"{_some(new, len(places), 'test ratings')} {_verb(new, 'is', 'are')} of {kind} "
            f"without a rating in training, for which a model has nothing but defaults: measure "
            f"them on their own."
        )
        yield Finding("newcomers", message)


def _of_answers(train: Ratings, users: Integers, items: Integers) -> Iterator[Finding]:
    known = (users >= 0) & (items >= 0)
    ones = np.ones(int(known.sum()), np.int8)
    cells = sparse.csr_array((ones, (users[known], items[known])), shape=train.shape)
    pattern = CSR(train.indptr, train.indices, train.values, train.shape)
    both = cells.multiply(as_scipy(pattern)).nnz
    if both:
        message = (
            f"{_some(both, len(users), 'test ratings')} {_verb(both, 'is', 'are')} of a user and "
            f"an item that training has as well, so that measures are too good: drop them."
        )
        yield Finding("tested in training", message)


def _of_leaks(train: Ratings, test: Ratings, users: Integers) -> Iterator[Finding]:
    if train.timestamps is None or test.timestamps is None:
        return
    latest = np.full(train.n_users + 1, np.iinfo(np.int64).min)  # the last is that of unknown users
    filled = np.flatnonzero(np.diff(train.indptr))
    latest[filled] = np.maximum.reduceat(train.timestamps, train.indptr[filled])
    early = int(np.count_nonzero(test.timestamps < latest[users]))
    if early:
        message = (
            f"{_some(early, test.nnz, 'test ratings')} {_verb(early, 'is', 'are')} older than a "
            f"training rating of the same user, so that the model has learnt from what came later: "
            f'split by time, as with by="user_time", to measure how well it foretells.'
        )
        yield Finding("time leak", message)
