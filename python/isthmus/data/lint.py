"""What looks wrong in ratings, before anything is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, column_counts, row_numbers, select_rows
from isthmus.data._ids import IdIndex
from isthmus.data._values import doubt_of_counts, doubt_of_sentinel
from isthmus.data.ratings import Ratings, as_ratings

__all__ = ["Finding", "lint"]

FEW = 5
"""Ratings of a user or an item, of fewer than which little can be learnt or said."""

MANY = 100
"""Ratings of a user, of fewer than which nobody is suspected to be a program."""

BURST = 60
"""Ratings of a user within a minute: more than one a second."""

_DAY = 24 * 60 * 60
_CELLS = 1 << 23  # whose times are sorted at once


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong in ratings. Printed, it is a sentence or two.

    Attributes
    ----------
    kind : str
        What it is: "constant", "sentinel", "counts", "twin users", "twin items", "same value",
        "activity", "bursts", "few ratings", "no ratings", "tested in training", "newcomers" or
        "time leak".
    count : int
        Of how many users, items or ratings it is.
    message : str
        What was found, with numbers, and what to do.
    """

    kind: str
    count: int
    message: str

    def __str__(self) -> str:
        return self.message


def lint(ratings: Any, *, test: Any = None) -> list[Finding]:
    """Look for what is wrong with ratings, or unusual enough to be looked at.

    Nothing is changed. What is found may be right: the messages say what to do if it is not.

    Parameters
    ----------
    ratings : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
        What a model is, or is to be, trained on. Bursts and leaks in time are looked for where
        `Ratings` have timestamps.
    test : Ratings or scipy.sparse array or matrix, optional
        What it is to be tested on: Ratings with ids as those of `ratings`, of which some may be
        unknown there, or a matrix of the same shape.

    Returns
    -------
    list of Finding
        What concerns all ratings first, then users and items, then the test; empty if nothing was
        found.

    Raises
    ------
    TypeError, ValueError
        If `ratings` or `test` is no such matrix, or their ids are of different types.

    Notes
    -----
    Ratings of one user for one item that occur twice cannot be in `Ratings`: what makes them
    refuses or merges those. Users are suspected to be programs by a number of ratings that is
    beyond three interquartile ranges above the upper quartile, of logarithms (J. Tukey,
    Exploratory Data Analysis, 1977), and at least 100; or by 60 ratings within a minute, unless
    all timestamps are whole days.

    Examples
    --------
    >>> from isthmus import Ratings
    >>> for finding in lint(Ratings.from_arrays([1, 1, 2], [7, 8, 7], [1, 1, 1])):
    ...     print(finding.kind)
    constant
    few ratings
    few ratings
    """
    known = as_ratings(ratings, "ratings")
    found = [*_of_values(known), *_of_rows(known), *_of_times(known)]
    if test is not None:
        users, items = (None, None) if isinstance(test, Ratings) else (known._users, known._items)
        found += _of_test(known, as_ratings(test, "test", users, items))
    return found


def _some(n: int, of: int, kind: str) -> str:
    """Return how many of how many, as "3 of 200 users (1.5 %)"."""
    return f"{n:,} of {of:,} {kind} ({n / of:.1%})".replace("%", " %")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# The values


def _of_values(ratings: Ratings) -> Iterator[Finding]:
    if ratings.min == ratings.max:
        yield Finding(
            "constant",
            ratings.nnz,
            f"All {ratings.nnz:,} ratings are {ratings.min:g}: nothing but who had what can be "
            f"learnt from them, which takes a top-N model, as EASE or MultVAE.",
        )
    for kind, doubt in (
        ("sentinel", doubt_of_sentinel(ratings.values)),
        ("counts", doubt_of_counts(ratings.values)),
    ):
        if doubt:
            yield Finding(kind, ratings.nnz, _sentence(doubt))


# Users and items


def _of_rows(ratings: Ratings) -> Iterator[Finding]:
    per_user = np.diff(ratings.indptr)
    per_item = column_counts(ratings.indices, ratings.n_items)
    by_user = CSR(ratings.indptr, ratings.indices, ratings.values, ratings.shape)
    yield from _of_twins(by_user, per_user, per_item)
    if ratings.min < ratings.max:
        yield from _of_same_values(by_user, per_user)
    yield from _of_activity(per_user)
    for kind, counts in (("users", per_user), ("items", per_item)):
        yield from _of_few(kind, counts)


def _of_same_values(by_user: CSR, per_user: NDArray[np.int64]) -> Iterator[Finding]:
    judged = np.flatnonzero(per_user >= FEW)
    if len(judged) == 0:
        return
    starts = by_user.indptr[judged]
    ends = by_user.indptr[judged + 1]
    # a change is where a value differs from the one before it in the same row
    changes = np.concatenate(([0], np.cumsum(by_user.values[1:] != by_user.values[:-1])))
    same = int(np.count_nonzero(changes[ends - 1] == changes[starts]))
    if same:
        yield Finding(
            "same value",
            same,
            f"{_some(same, len(judged), f'users with {FEW} ratings or more')} gave one value to "
            f"all that they rated, which says what they had and not what they liked; leave them "
            f"out, if the value is a form's default.",
        )


def _of_twins(
    by_user: CSR, per_user: NDArray[np.int64], per_item: NDArray[np.int64]
) -> Iterator[Finding]:
    """Find users, and items, whose ratings are all those of another: copies, most likely."""
    rows, columns = row_numbers(by_user.indptr), by_user.indices
    values = by_user.values.view(np.uint32).astype(np.uint64)
    for kind, own, other, counts in (
        ("users", rows, columns, per_user),
        ("items", columns, rows, per_item),
    ):
        judged = np.flatnonzero(counts >= FEW)
        # a sum of 64 random bits a cell is the same for the same cells, and for no others
        sums = np.zeros(len(counts), np.uint64)
        np.add.at(sums, own, _mixed((other.astype(np.uint64) << np.uint64(32)) | values))
        twins = len(judged) - len(np.unique(sums[judged]))
        if twins:
            yield Finding(
                f"twin {kind}",
                twins,
                f"{_some(twins, len(judged), f'{kind} with {FEW} ratings or more')} have exactly "
                f"the ratings of another: where those are copies under another id, leave them out, "
                f"for they count twice in training and leak into tests.",
            )


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return random bits that depend on all bits of each (the finalizer of SplitMix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed


def _of_activity(per_user: NDArray[np.int64]) -> Iterator[Finding]:
    active = per_user[per_user > 0]
    low, high = np.quantile(np.log(active), [0.25, 0.75])
    limit = max(np.exp(high + 3 * (high - low)), MANY)
    far = active[active > limit]
    if len(far):
        yield Finding(
            "activity",
            len(far),
            f"{_some(len(far), len(active), 'users')} have more than {int(limit):,} ratings, up to "
            f"{far.max():,}, where the median is {np.median(active):,.0f}; they gave "
            f"{far.sum() / active.sum():.1%} of all ratings. Leave them out, if they are "
            f"programs, shops or shared accounts.".replace("%", " %"),
        )


def _of_few(kind: str, counts: NDArray[np.int64]) -> Iterator[Finding]:
    unrated = int(np.count_nonzero(counts == 0))
    if unrated:
        what = "rated nothing" if kind == "users" else "were rated by nobody"
        yield Finding(
            "no ratings",
            unrated,
            f"{_some(unrated, len(counts), kind)} {what}: a model can say nothing of them but "
            f"defaults, until they are folded in.",
        )
    few = int(np.count_nonzero((counts > 0) & (counts < FEW)))
    if few:
        yield Finding(
            "few ratings",
            few,
            f"{_some(few, len(counts), kind)} have fewer than {FEW} ratings, which is little to "
            f"learn from; k_core drops them.",
        )


# Time


def _of_times(ratings: Ratings) -> Iterator[Finding]:
    stamps = ratings.timestamps
    if stamps is None or not (stamps % _DAY).any():
        return
    active = np.flatnonzero(np.diff(ratings.indptr) >= BURST)
    hasty = sum(_count_hasty(ratings, users) for users in _in_parts(ratings, active))
    if hasty:
        yield Finding(
            "bursts",
            hasty,
            f"{_some(hasty, ratings.n_users, 'users')} gave {BURST} ratings or more within a "
            f"minute: they are programs, or their ratings were imported and the times are not "
            f"those of the ratings; do not split these by time.",
        )


def _in_parts(ratings: Ratings, users: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return users in parts with about as many ratings as are looked at at once."""
    total = np.cumsum(np.diff(ratings.indptr)[users])
    return np.split(users, np.flatnonzero(np.diff(total // _CELLS)) + 1) if len(users) else []


def _count_hasty(ratings: Ratings, users: NDArray[np.int64]) -> int:
    """Count users with a burst."""
    assert ratings.timestamps is not None
    by_user = CSR(ratings.indptr, ratings.indices, ratings.timestamps, ratings.shape)  # type: ignore[arg-type]
    part = select_rows(by_user, users)
    rows = row_numbers(part.indptr)
    stamps = part.values[np.lexsort((part.values, rows))]
    within = BURST - 1
    close = (stamps[within:] - stamps[:-within] < 60) & (rows[within:] == rows[:-within])
    return len(np.unique(rows[within:][close]))


# The test


def _of_test(train: Ratings, test: Ratings) -> Iterator[Finding]:
    users = _positions(train._users, test.user_ids, "users of test")[row_numbers(test.indptr)]
    items = _positions(train._items, test.item_ids, "items of test")[test.indices]
    yield from _of_newcomers(train, test, users, items)
    both = (users >= 0) & (items >= 0)
    known = int(np.isin(_keys(train, users[both], items[both]), _own_keys(train)).sum())
    if known:
        yield Finding(
            "tested in training",
            known,
            f"{_some(known, test.nnz, 'test ratings')} are of a user and an item that training has "
            f"as well: the model has seen the answers, and its figures are too good; drop them.",
        )
    yield from _of_leaks(train, test, users)


def _positions(known: IdIndex, ids: Any, name: str) -> NDArray[np.int64]:
    if known.matches(IdIndex(ids, known.kind)):
        return np.arange(len(ids))
    return known.find(ids, name)


def _keys(train: Ratings, users: NDArray[Any], items: NDArray[Any]) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = users.astype(np.int64) * train.n_items + items
    return keys


def _own_keys(train: Ratings) -> NDArray[np.int64]:
    return _keys(train, row_numbers(train.indptr), train.indices)


def _of_newcomers(
    train: Ratings, test: Ratings, users: NDArray[np.int64], items: NDArray[np.int64]
) -> Iterator[Finding]:
    per_user = np.diff(train.indptr)
    per_item = column_counts(train.indices, train.n_items)
    for kind, places, counts in (("users", users, per_user), ("items", items, per_item)):
        new = int(np.count_nonzero(np.where(places < 0, 0, counts[places]) == 0))
        if new:
            yield Finding(
                "newcomers",
                new,
                f"{_some(new, test.nnz, 'test ratings')} are of {kind} without a rating in "
                f"training, for which a model has nothing but defaults; measure them apart.",
            )


def _of_leaks(train: Ratings, test: Ratings, users: NDArray[np.int64]) -> Iterator[Finding]:
    if train.timestamps is None or test.timestamps is None:
        return
    latest = np.full(train.n_users, np.iinfo(np.int64).min)
    filled = np.flatnonzero(np.diff(train.indptr))
    latest[filled] = np.maximum.reduceat(train.timestamps, train.indptr[filled])
    early = int(
        np.count_nonzero(test.timestamps < np.where(users < 0, latest.min(), latest[users]))
    )
    if early:
        yield Finding(
            "time leak",
            early,
            f"{_some(early, test.nnz, 'test ratings')} are older than a training rating of the "
            f"same user: the model has seen what came later, and will do less well on the future; "
            f'split by time, as train_test_split(by="user_time") does.',
        )
