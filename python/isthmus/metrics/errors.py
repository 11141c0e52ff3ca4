"""How far predicted ratings are from true ones, and the predictions that any model must beat."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.data._csr import row_numbers
from isthmus.data.ratings import Ratings, as_ratings

__all__ = ["bias_baseline", "mae", "mean_baseline", "rmse"]


def rmse(truth: ArrayLike, prediction: ArrayLike) -> float:
    r"""Return the root mean squared error over all ratings.

    Parameters
    ----------
    truth, prediction : array_like of real numbers, of one shape
        The ratings of a test part and what was predicted for them. The mean is over ratings, not
        over users, and is taken in double precision.

    Returns
    -------
    float
        :math:`\sqrt{\sum (r - \hat r)^2 / n}`

    Raises
    ------
    TypeError, ValueError
        If the arrays differ in shape, are empty, or hold anything but finite numbers.

    Examples
    --------
    >>> rmse([4, 2], [3, 2])
    0.7071067811865476
    """
    return float(np.sqrt(np.mean(np.square(_errors(truth, prediction)))))


def mae(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean absolute error over all ratings.

    Parameters
    ----------
    truth, prediction : array_like of real numbers, of one shape
        As for `rmse`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `rmse`.

    Examples
    --------
    >>> mae([4, 2], [3, 2])
    0.5
    """
    return float(np.mean(np.abs(_errors(truth, prediction))))


def mean_baseline(train: Any, test: Any) -> NDArray[np.float64]:
    """Predict the mean of all training ratings for every test rating.

    Parameters
    ----------
    train, test : Ratings or scipy.sparse array or matrix
        With the same users and items.

    Returns
    -------
    ndarray of float64, shape (test.nnz,)

    Raises
    ------
    TypeError, ValueError
        If users or items differ.

    Examples
    --------
    >>> train = Ratings.from_arrays([1, 2], [7, 7], [3, 4])
    >>> mean_baseline(train, train)
    array([3.5, 3.5])
    """
    train, test = _same_ids(train, test)
    return np.full(test.nnz, train.mean)


def bias_baseline(
    train: Any, test: Any, *, user_damping: float = 10.0, item_damping: float = 25.0
) -> NDArray[np.float64]:
    r"""Predict test ratings from how the user and the item deviate from the mean.

    Parameters
    ----------
    train, test : Ratings or scipy.sparse array or matrix
        With the same users and items.
    user_damping, item_damping : float, default 10 and 25
        How many ratings at the mean each user and each item is given besides its own, at least 0.

    Returns
    -------
    ndarray of float64, shape (test.nnz,)
        :math:`\mu + b_u + b_i`, in the stored order of `test`. A user or an item without training
        ratings has the bias 0.

    Raises
    ------
    TypeError, ValueError
        If users or items differ, or a damping is negative.

    Notes
    -----
    :math:`b_i = \sum_u (r_{ui} - \mu) / (\lambda_i + n_i)`, then
    :math:`b_u = \sum_i (r_{ui} - \mu - b_i) / (\lambda_u + n_u)`: Koren, "Factor in the
    neighbors", TKDD 2010, section 2.1, with its constants.

    Examples
    --------
    >>> train = Ratings.from_arrays([1, 1, 2], [7, 8, 7], [3, 5, 1])
    >>> bias_baseline(train, train, user_damping=0, item_damping=0)
    array([2.5, 5.5, 1. ])
    """
    train, test = _same_ids(train, test)
    for name, damping in (("user_damping", user_damping), ("item_damping", item_damping)):
        if not (np.isfinite(damping) and damping >= 0):
            raise ValueError(f"{name} must be finite and at least 0, but it was {damping}.")
    rows, columns = row_numbers(train.indptr), train.indices
    rest = train.values.astype(np.float64) - train.mean
    item_bias = _damped_means(columns, rest, train.n_items, item_damping)
    rest -= item_bias[columns]
    user_bias = _damped_means(rows, rest, train.n_users, user_damping)
    prediction: NDArray[np.float64] = (
        train.mean + user_bias[row_numbers(test.indptr)] + item_bias[test.indices]
    )
    return prediction


def _damped_means(
    group: NDArray[np.int32], values: NDArray[np.float64], n: int, damping: float
) -> NDArray[np.float64]:
    total = np.bincount(group, weights=values, minlength=n)
    count = np.bincount(group, minlength=n) + damping
    means: NDArray[np.float64] = np.divide(total, count, out=np.zeros(n), where=count > 0)
    return means


def _errors(truth: ArrayLike, prediction: ArrayLike) -> NDArray[np.float64]:
    arrays = []
    for name, given in (("truth", truth), ("prediction", prediction)):
        array = np.asarray(given)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, but its dtype is {array.dtype}.")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{name} must be finite, but {int((~np.isfinite(array)).sum()):,} of "
                f"{array.size:,} values are not."
            )
        arrays.append(array.astype(np.float64))
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(
            f"truth and prediction must have one shape, "
            f"but they have {arrays[0].shape} and {arrays[1].shape}."
        )
    if arrays[0].size == 0:
        raise ValueError("truth and prediction must hold at least one value, but are empty.")
    errors: NDArray[np.float64] = arrays[0] - arrays[1]
    return errors


def _same_ids(train: Any, test: Any) -> tuple[Ratings, Ratings]:
    train, test = as_ratings(train), as_ratings(test)
    if train.shape != test.shape:
        raise ValueError(
            f"train and test must have the same users and items, but their shapes are "
            f"{train.shape} and {test.shape}."
        )
    if not train.has_same_ids(test):
        raise ValueError("train and test must have the same ids in the same order, but do not.")
    return train, test
