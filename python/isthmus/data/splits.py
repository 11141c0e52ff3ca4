"""Ratings split into those to train on and those to test on."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus._util.checks import check_choice, check_integer, shown
from isthmus._util.random import RandomState, as_generator
from isthmus.data._csr import CSR, row_numbers
from isthmus.data.ratings import Ratings, as_ratings

__all__ = [
    "HeldOutUsers",
    "RatingKFold",
    "UserSplit",
    "hold_out_users",
    "kfold",
    "leave_one_out",
    "mask_split",
    "split_off",
    "train_test_split",
]


def train_test_split(
    ratings: Any,
    *,
    test_size: float | int = 0.1,
    random_state: RandomState = None,
    by: Literal["rating", "user", "time", "user_time"] = "rating",
) -> tuple[Ratings, Ratings]:
    """Split ratings into two parts, both with all users and items.

    Parameters
    ----------
    ratings : Ratings or scipy.sparse array or matrix
    test_size : float or int, default 0.1
        How much goes to the test part: a share between 0 and 1, or a number of ratings. With
        ``by="user"`` and ``by="user_time"``, of each user's ratings, rounded down; a user whose
        ratings would all be taken keeps them.
    random_state : int, numpy.random.Generator or None, default None
        The same seed gives the same split.
    by : {"rating", "user", "time", "user_time"}, default "rating"
        Whether the test part has ratings drawn from all, ratings drawn from each user's, the
        latest of all, or the latest of each user's. Of ratings at one time, those stored last
        (with the highest user, then item position) count as the latest.

    Returns
    -------
    train, test : Ratings
        An item rated only in the test part is an empty column of the training part.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, if a part would be empty, or if timestamps are needed and
        there are none.

    Examples
    --------
    >>> ratings = Ratings.from_arrays([1, 1, 2, 2], [5, 6, 5, 6], [3, 4, 2, 5])
    >>> train, test = train_test_split(ratings, test_size=1, random_state=0)
    >>> train.nnz, test.nnz, test.shape
    (3, 1, (2, 2))
    """
    return split_off(
        as_ratings(ratings), test_size, name="test_size", random_state=random_state, by=by
    )


def split_off(
    ratings: Ratings, size: float | int, *, name: str, random_state: RandomState, by: str
) -> tuple[Ratings, Ratings]:
    """Split as `train_test_split` does; `name` is what the caller calls the size, for messages."""
    check_choice("by", by, ("rating", "user", "time", "user_time"))
    size = _check_size(name, size)
    if by in ("user", "user_time"):
        count = np.diff(ratings.indptr)
        taken = _portion(count, size)
        order = _order_in_users(ratings, random_state, by_time=by == "user_time")
        mask = _last_of_users(ratings, order, np.where(taken < count, taken, 0))
        if not mask.any():
            raise ValueError(
                f"{name} must take ratings of some user, but {size} takes none "
                f"where the most active user has {count.max():,}."
            )
        return mask_split(ratings, mask)
    n_taken = int(_portion(np.array(ratings.nnz), size))
    if not 0 < n_taken < ratings.nnz:
        raise ValueError(
            f"{name} must leave ratings in both parts, but {size} takes {n_taken:,} of "
            f"{ratings.nnz:,}."
        )
    mask = np.zeros(ratings.nnz, np.bool_)
    if by == "time":
        mask[np.argsort(_timestamps(ratings), kind="stable")[-n_taken:]] = True
    else:
        random = as_generator(random_state)
        mask[random.choice(ratings.nnz, n_taken, replace=False, shuffle=False)] = True
    return mask_split(ratings, mask)


def leave_one_out(
    ratings: Any,
    *,
    random_state: RandomState = None,
    by: Literal["random", "time"] = "random",
) -> tuple[Ratings, Ratings]:
    """Move one rating of every user to the test part.

    Parameters
    ----------
    ratings : Ratings or scipy.sparse array or matrix
    random_state : int, numpy.random.Generator or None, default None
    by : {"random", "time"}, default "random"
        Whether it is drawn, or the user's latest.

    Returns
    -------
    train, test : Ratings
        A user with a single rating keeps it in the training part.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, no user has two ratings, or there are no timestamps to
        go by.

    Examples
    --------
    >>> ratings = Ratings.from_arrays([1, 1, 2, 2], [5, 6, 5, 6], [3, 4, 2, 5], [9, 8, 7, 10])
    >>> leave_one_out(ratings, by="time")[1].values
    array([3., 5.], dtype=float32)
    """
    ratings = as_ratings(ratings)
    check_choice("by", by, ("random", "time"))
    count = np.diff(ratings.indptr)
    if count.max() < 2:
        raise ValueError("ratings must have a user with two ratings or more, but none has.")
    order = _order_in_users(ratings, random_state, by_time=by == "time")
    return mask_split(ratings, _last_of_users(ratings, order, (count > 1).astype(np.int64)))


def kfold(
    ratings: Any, n_splits: int = 5, *, random_state: RandomState = None
) -> Iterator[tuple[Ratings, Ratings]]:
    """Split ratings so that each is in the test part once.

    Parameters
    ----------
    ratings : Ratings or scipy.sparse array or matrix
    n_splits : int, default 5
        From 2 to the number of ratings.
    random_state : int, numpy.random.Generator or None, default None

    Returns
    -------
    iterator of (train, test)
        Test parts differ in size by at most one rating.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Examples
    --------
    >>> ratings = Ratings.from_arrays([1, 1, 2, 2], [5, 6, 5, 6], [3, 4, 2, 5])
    >>> [test.nnz for train, test in kfold(ratings, 3, random_state=0)]
    [2, 1, 1]
    """
    ratings = as_ratings(ratings)
    fold = _folds(ratings, n_splits, random_state)
    return (mask_split(ratings, fold == number) for number in range(n_splits))


def _folds(ratings: Ratings, n_splits: int, random_state: RandomState) -> NDArray[np.int64]:
    """Return which fold each rating is tested in."""
    check_integer("n_splits", n_splits, low=2, high=ratings.nnz)
    return as_generator(random_state).permutation(np.arange(ratings.nnz) % n_splits)


class RatingKFold:
    """A splitter of ratings for scikit-learn's `cross_val_score` and `GridSearchCV`.

    Parameters
    ----------
    n_splits : int, default 5
        From 2 to the number of ratings.
    random_state : int, numpy.random.Generator or None, default None
        As for `kfold`, whose parts these are.

    Examples
    --------
    >>> from isthmus import AutoRec, synthetic_ratings
    >>> from sklearn.model_selection import GridSearchCV
    >>> ratings = synthetic_ratings(60, 40, 1000, random_state=0)
    >>> model = AutoRec(hidden_units=(5,), random_state=0)
    >>> search = GridSearchCV(model, {"epochs": [1, 10]}, cv=RatingKFold(3, random_state=0))
    >>> search.fit(ratings).best_params_
    {'epochs': 10}
    """

    def __init__(self, n_splits: int = 5, *, random_state: RandomState = None) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield positions of the ratings to train on, and of those to test on.

        Parameters
        ----------
        X : Ratings
            Not a matrix, which scikit-learn would split by rows, that is by users.
        y, groups : None
            Not used; here for scikit-learn.
        """
        if not isinstance(X, Ratings):
            raise TypeError(
                f"X must be Ratings, of which RatingKFold takes some ratings, but it is a "
                f"{type(X).__name__}, of which scikit-learn would take rows."
            )
        fold = _folds(X, self.n_splits, self.random_state)
        for number in range(self.n_splits):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits."""
        return self.n_splits


def mask_split(
    ratings: Any,
    mask: ArrayLike,
    *,
    users: ArrayLike | None = None,
    items: ArrayLike | None = None,
) -> tuple[Ratings, Ratings]:
    """Split ratings as someone else did.

    Parameters
    ----------
    ratings : Ratings or scipy.sparse array or matrix
    mask : array_like of bool
        Which ratings are the test part: in stored order or, where `users` and `items` are given,
        in theirs.
    users, items : array_like of int or str, optional
        Ids of the ratings that `mask` is about, each rating at most once. Ratings that are not
        among them go to the training part.

    Returns
    -------
    train, test : Ratings

    Raises
    ------
    TypeError, ValueError
        If `mask` has another length or type, leaves a part empty, or names a pair without a rating.

    Examples
    --------
    >>> ratings = Ratings.from_arrays([1, 1, 2], [5, 6, 5], [3, 4, 2])
    >>> mask_split(ratings, [True, False, False], users=[2, 1, 1], items=[5, 5, 6])[1].values
    array([2.], dtype=float32)
    """
    ratings = as_ratings(ratings)
    test = np.asarray(mask)
    if test.dtype != np.bool_:
        raise TypeError(f"mask must hold booleans, but its dtype is {test.dtype}.")
    if (users is None) != (items is None):
        raise ValueError("users and items must be given together, but one of them is missing.")
    if users is not None and items is not None:
        cells = ratings.cell_index(users, items)
        if test.shape != cells.shape:
            raise ValueError(
                f"mask must have one entry for each of users, {len(cells):,}, "
                f"but its shape is {test.shape}."
            )
        if len(np.unique(cells)) < len(cells):
            raise ValueError("users and items must not repeat a pair, but they do.")
        given, test = test, np.zeros(ratings.nnz, np.bool_)
        test[cells] = given
    if test.shape == (ratings.nnz,) and (test.all() or not test.any()):
        raise ValueError(
            f"mask must leave ratings in both parts, but it marks "
            f"{'all' if test.all() else 'none'} of them as test."
        )
    return ratings.select(~test), ratings.select(test)


class HeldOutUsers(NamedTuple):
    """Ratings of users that a model has not seen.

    Attributes
    ----------
    fold_in, test : Ratings
        What the model is told about the users, and what it should find: the same users, and no
        rating in both.
    """

    fold_in: Ratings
    test: Ratings


class UserSplit(NamedTuple):
    """What `hold_out_users` gives.

    Attributes
    ----------
    train : Ratings
        Of all other users.
    test : HeldOutUsers
    validation : HeldOutUsers or None
        Other users than those of `test`, if they were asked for.
    """

    train: Ratings
    test: HeldOutUsers
    validation: HeldOutUsers | None


def hold_out_users(
    ratings: Any,
    *,
    test_users: float | int = 0.1,
    validation_users: float | int | None = None,
    test_size: float | int = 0.2,
    random_state: RandomState = None,
    by: Literal["random", "time"] = "random",
) -> UserSplit:
    """Split for strong generalisation: by users, and then the ratings of those held out.

    No user is in two parts, and no rating of a held-out user is in the training part, so that
    ``model.fit(split.train)`` and ``model.evaluate(split.test.test, metrics,
    ratings=split.test.fold_in)`` can leak nothing (Liang et al., WWW 2018).

    Parameters
    ----------
    ratings : Ratings or scipy.sparse array or matrix
    test_users, validation_users : float or int
        How many users to hold out: a share between 0 and 1, or a number. Validation users: none by
        default.
    test_size : float or int, default 0.2
        How much of a held-out user's ratings the model should find, as for ``train_test_split``
        with ``by="user"``, and at least one; the rest is folded in.
    random_state : int, numpy.random.Generator or None, default None
    by : {"random", "time"}, default "random"
        Whether the ratings to find are drawn at random, or the user's latest.

    Returns
    -------
    UserSplit
        All parts have the same items: those with a training rating. Held-out users who have fewer
        than two ratings of these are dropped.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or a part would be empty.

    Examples
    --------
    >>> cells = [(u, i) for u in range(10) for i in range(5)]
    >>> ratings = Ratings.from_arrays(*zip(*cells), [1] * 50)
    >>> split = hold_out_users(ratings, test_users=3, random_state=0)
    >>> split.train.shape, split.test.fold_in.nnz, split.test.test.nnz
    ((7, 5), 12, 3)
    """
    ratings = as_ratings(ratings)
    check_choice("by", by, ("random", "time"))
    size = _check_size("test_size", test_size)
    random = as_generator(random_state)
    people = random.permutation(np.flatnonzero(np.diff(ratings.indptr)))
    total = np.array(len(people))
    wanted = {"test_users": test_users, "validation_users": validation_users}
    counts = [
        0 if users is None else int(_portion(total, _check_size(name, users)))
        for name, users in wanted.items()
    ]
    if counts[0] < 1 or sum(counts) >= len(people):
        raise ValueError(
            f"test_users and validation_users must leave users in every part, but they take "
            f"{counts[0]:,} and {counts[1]:,} of {len(people):,}."
        )
    train_users = np.sort(people[sum(counts) :])
    items = np.flatnonzero(
        np.bincount(_select_users(ratings, train_users).indices, minlength=ratings.n_items)
    )
    train = _select_users(ratings, train_users, items)
    parts = [
        _fold(_select_users(ratings, np.sort(users), items), size, random, by)
        for users in np.split(people[: sum(counts)], [counts[0]])
        if len(users)
    ]
    return UserSplit(train, parts[0], parts[1] if len(parts) > 1 else None)


def _select_users(
    ratings: Ratings, users: NDArray[np.int64], items: NDArray[np.int64] | None = None
) -> Ratings:
    """Return the ratings of some users (rows of the result) for some items (its columns)."""
    kept = np.zeros(ratings.n_users, np.bool_)
    kept[users] = True
    mask = kept[row_numbers(ratings.indptr)]
    columns = np.arange(ratings.n_items, dtype=np.int32)
    if items is not None:
        columns[:] = -1
        columns[items] = np.arange(len(items))
        mask &= columns[ratings.indices] >= 0
    if not mask.any():
        raise ValueError("ratings must leave some to every part, but held-out users share no item.")
    part = ratings.select(mask)
    indptr = np.append(part.indptr[:-1][users], part.nnz)
    return Ratings(
        CSR(indptr, columns[part.indices], part.values, (len(users), int(columns.max()) + 1)),
        user_ids=ratings.user_ids[users],
        item_ids=ratings.item_ids if items is None else ratings.item_ids[items],
        timestamps=part.timestamps,
    )


def _fold(
    ratings: Ratings, size: float | int, random: np.random.Generator, by: str
) -> HeldOutUsers:
    enough = np.flatnonzero(np.diff(ratings.indptr) >= 2)
    if len(enough) == 0:
        raise ValueError("ratings must have held-out users with two ratings or more, but has none.")
    ratings = _select_users(ratings, enough, np.arange(ratings.n_items))
    count = np.diff(ratings.indptr)
    taken = np.clip(_portion(count, size), 1, count - 1)
    order = _order_in_users(ratings, random, by_time=by == "time")
    return HeldOutUsers(*mask_split(ratings, _last_of_users(ratings, order, taken)))


def _check_size(name: str, value: float | int) -> float | int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a float or an integer, but it was {shown(value)}.")
    if isinstance(value, (int, np.integer)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1 as a number, but it was {value}.")
        return int(value)
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1 as a share, but it was {value}.")
    return float(value)


def _portion(count: NDArray[np.int64], size: float | int) -> NDArray[np.int64]:
    if isinstance(size, int):
        return np.full(count.shape, size, np.int64)
    # 0.29 * 100 is a little less than 29, and counts as 29.
    portion: NDArray[np.int64] = np.floor(size * count + 1e-9).astype(np.int64)
    return portion


def _timestamps(ratings: Ratings) -> NDArray[np.int64]:
    if ratings.timestamps is None:
        raise ValueError("ratings must have timestamps to be split by time, but has none.")
    return ratings.timestamps


def _order_in_users(
    ratings: Ratings, random_state: RandomState, *, by_time: bool
) -> NDArray[np.int64]:
    rows = row_numbers(ratings.indptr)
    if by_time:
        return np.lexsort((_timestamps(ratings), rows))
    random = as_generator(random_state)
    return np.argsort(rows + random.random(ratings.nnz), kind="stable")


def _last_of_users(
    ratings: Ratings, order: NDArray[np.int64], taken: NDArray[np.int64]
) -> NDArray[np.bool_]:
    # The order keeps users together, so that a user's end in it is that of the stored row.
    first_taken = np.repeat(ratings.indptr[1:] - taken, np.diff(ratings.indptr))
    mask = np.zeros(ratings.nnz, np.bool_)
    mask[order[np.arange(ratings.nnz) >= first_taken]] = True
    return mask
