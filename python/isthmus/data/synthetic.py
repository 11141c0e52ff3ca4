"""Made-up ratings that resemble real ones."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_choice, check_integer, check_real, check_share
from isthmus._util.random import RandomState, as_generator
from isthmus.data._csr import CSR
from isthmus.data.ratings import Ratings

__all__ = ["Shape", "synthetic_ratings"]

Shape = Literal["ml-100k", "ml-1m", "ml-20m", "netflix"]


class _Preset(NamedTuple):
    n_users: int
    n_items: int
    n_ratings: int
    scale: tuple[float, float]
    step: float
    activity_skew: float
    popularity_skew: float


# The skews are chosen so that mean over median, of ratings a user and ratings an item, come out
# near those of the data sets.
_PRESETS = {
    "ml-100k": _Preset(943, 1_682, 100_000, (1, 5), 1, 1.0, 1.25),
    "ml-1m": _Preset(6_040, 3_706, 1_000_209, (1, 5), 1, 1.05, 1.3),
    "ml-20m": _Preset(138_493, 26_744, 20_000_263, (0.5, 5), 0.5, 1.05, 2.6),
    "netflix": _Preset(480_189, 17_770, 100_480_507, (1, 5), 1, 1.25, 2.1),
}

# Variances of the parts of a rating, in units of the scale's quarter (1 on a scale from 1 to 5).
_USER_VARIANCE, _ITEM_VARIANCE, _TASTE_VARIANCE, _NOISE_VARIANCE = 0.2, 0.28, 0.3, 0.55

_CENTRE = 0.675  # where on the scale the mean is, before rounding and clipping

_CELLS_AT_ONCE = 1 << 20
_USERS_AT_ONCE = 1 << 14


def synthetic_ratings(
    n_users: int | None = None,
    n_items: int | None = None,
    n_ratings: int | None = None,
    *,
    shape: Shape = "ml-1m",
    random_state: RandomState = 0,
    rank: int = 8,
    noise: float | None = None,
    scale: tuple[float, float] | None = None,
    step: float | None = None,
    top_share: float = 0.5,
) -> Ratings:
    """Make up ratings with the skew of real ones and with something to learn in them.

    How many ratings users give and items get is log-normal, with a long tail. A rating is a mean
    plus a bias of the user, a bias of the item (popular ones are better liked), a product of
    `rank` tastes, and noise, rounded to the steps of the scale; all ratings have a mean of about
    two thirds of the scale, 3.6 on one from 1 to 5.

    Parameters
    ----------
    n_users, n_items, n_ratings : int, optional
        All three or none; by default those of `shape`.
    shape : {"ml-100k", "ml-1m", "ml-20m", "netflix"}, default "ml-1m"
        The data set to resemble in size, scale and skew.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same ratings.
    rank : int, default 8
        Number of tastes, at least 0.
    noise : float, optional
        Standard deviation of the noise, at least 0; by default about a sixth of the scale.
    scale : (float, float), optional
        Lowest and highest rating; by default those of `shape`.
    step : float, optional
        Ratings are rounded to multiples of this above the lowest; 0 does not round.
    top_share : float, default 0.5
        Share of the users, about, who rate the most popular item, between 0 and 1.

    Returns
    -------
    Ratings
        Exactly `n_ratings` different cells.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or there are more ratings than cells.

    Notes
    -----
    Made in blocks of users, so that the memory needed is little more than that of the result, and
    no loop is over ratings.

    Examples
    --------
    >>> synthetic_ratings(100, 50, 1000)
    Ratings(100 users x 50 items, 1,000 ratings in [1, 5])
    """
    preset = _PRESETS[check_choice("shape", shape, tuple(_PRESETS))]
    sizes = _check_sizes(n_users, n_items, n_ratings, preset)
    lowest, highest = preset.scale if scale is None else scale
    step = preset.step if step is None else step
    _check_ranges(rank, noise, lowest, highest, step, top_share)
    quarter = (highest - lowest) / 4
    noise = _NOISE_VARIANCE**0.5 * quarter if noise is None else noise
    if step:
        highest = lowest + np.floor((highest - lowest) / step) * step
    random = as_generator(random_state)

    counts = _ratings_per_user(random, sizes, preset.activity_skew)
    fame = random.standard_normal(sizes[1])
    popularity = _popularity(np.exp(preset.popularity_skew * fame), counts, top_share)
    model = _make_model(random, counts, popularity, fame, rank, quarter)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    indices = np.empty(sizes[2], np.int32)
    values = np.empty(sizes[2], np.float32)
    for users in _user_blocks(indptr):
        cells = _draw_cells(random, counts[users], popularity)
        rows, columns = np.divmod(cells, sizes[1])
        made = slice(indptr[users.start], indptr[users.stop])
        score = _score(model, rows + users.start, columns) + lowest + _CENTRE * 4 * quarter
        score += np.float32(noise) * random.standard_normal(len(cells), np.float32)
        if step:
            score = lowest + np.round((score - lowest) / step) * step
        indices[made] = columns
        values[made] = np.clip(score, lowest, highest)
    return Ratings(CSR(indptr, indices, values, sizes[:2]))


class _Model(NamedTuple):
    user_bias: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    user_taste: NDArray[np.float32]
    item_taste: NDArray[np.float32]


def _make_model(
    random: np.random.Generator,
    counts: NDArray[np.int64],
    popularity: NDArray[np.float64],
    fame: NDArray[np.float64],
    rank: int,
    quarter: float,
) -> _Model:
    n_users, n_items = len(counts), len(popularity)
    user_bias = _USER_VARIANCE**0.5 * random.standard_normal(n_users)
    quality = 0.5 * fame + 0.75**0.5 * random.standard_normal(n_items)
    item_bias = _ITEM_VARIANCE**0.5 * quality
    # Centred over ratings, so that the skews do not move the mean.
    user_bias -= np.average(user_bias, weights=counts)
    item_bias -= np.average(item_bias, weights=popularity)
    spread = (_TASTE_VARIANCE / max(rank, 1)) ** 0.25 * quarter**0.5
    return _Model(
        (quarter * user_bias).astype(np.float32),
        (quarter * item_bias).astype(np.float32),
        np.float32(spread) * random.standard_normal((n_users, rank), np.float32),
        np.float32(spread) * random.standard_normal((n_items, rank), np.float32),
    )


def _score(
    model: _Model, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    taste = np.einsum("nk,nk->n", model.user_taste[rows], model.item_taste[columns])
    score: NDArray[np.float32] = model.user_bias[rows] + model.item_bias[columns] + taste
    return score


def _ratings_per_user(
    random: np.random.Generator, sizes: tuple[int, int, int], skew: float
) -> NDArray[np.int64]:
    n_users, n_items, n_ratings = sizes
    activity = np.exp(skew * random.standard_normal(n_users))
    fewest = min(20, n_ratings // (2 * n_users))

    def counts_at(level: float) -> NDArray[np.int64]:
        return np.clip(activity * level, fewest, n_items).astype(np.int64)

    low, high = 0.0, (n_items + 1) / activity.min()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if counts_at(middle).sum() <= n_ratings else (low, middle)
    counts = counts_at(low)
    while (missing := n_ratings - int(counts.sum())) > 0:
        room = np.flatnonzero(counts < n_items)
        counts[random.choice(room, min(missing, len(room)), replace=False)] += 1
    return counts


def _popularity(
    weights: NDArray[np.float64], counts: NDArray[np.int64], top_share: float
) -> NDArray[np.float64]:
    if len(weights) == 1:
        return np.ones(1)
    # The chance per draw at which the share of users who draw an item at least once is top_share.
    low, high = 1 / len(weights), 0.5
    for _ in range(60):
        top = (low + high) / 2
        share = -np.expm1(counts * np.log1p(-top)).mean()
        low, high = (top, high) if share <= top_share else (low, top)
    first = np.argmax(weights)
    popularity = weights / weights.sum()
    for _ in range(20):
        popularity[first] = 0
        popularity = np.minimum(popularity * (1 - low) / max(popularity.sum(), 1e-300), low)
        popularity[first] = low
    normalised: NDArray[np.float64] = popularity / popularity.sum()
    return normalised


def _draw_cells(
    random: np.random.Generator, counts: NDArray[np.int64], popularity: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Draw items of some users, without repetition; sorted numbers ``row * n_items + item``."""
    n_items = len(popularity)
    cumulative = np.cumsum(popularity)
    cumulative /= cumulative[-1]
    # Users who rate a large share would draw items again too often: there, items race.
    many = np.flatnonzero(counts > n_items // 4)
    finish = random.standard_exponential((len(many), n_items)) / popularity
    winners = np.argsort(finish, axis=1, kind="stable")
    chosen = winners[np.arange(n_items) < counts[many, None]]
    cells = np.sort(np.repeat(many * n_items, counts[many]) + chosen)
    missing = counts.copy()
    missing[many] = 0
    attempts = 0
    while len(rows := np.repeat(np.arange(len(counts)), missing)):
        drawn = random.random(len(rows))
        # After some attempts, popular items are all drawn, and draws go to all items alike.
        columns = (
            np.searchsorted(cumulative, drawn, side="right")
            if attempts < 8
            else (drawn * n_items).astype(np.int64)
        )
        # np.unique would do, but hashes, which is several times slower in recent versions.
        fresh = np.sort(rows * n_items + columns)
        fresh = fresh[np.diff(fresh, prepend=-1) > 0]
        if len(cells):
            place = np.minimum(np.searchsorted(cells, fresh), len(cells) - 1)
            fresh = fresh[cells[place] != fresh]
        missing -= np.bincount(fresh // n_items, minlength=len(counts))
        cells = np.sort(np.concatenate((cells, fresh)), kind="stable")  # merges two sorted runs
        attempts += 1
    return cells


def _user_blocks(indptr: NDArray[np.int64]) -> Iterator[slice]:
    n_users, start = len(indptr) - 1, 0
    while start < n_users:
        end = int(np.searchsorted(indptr, indptr[start] + _CELLS_AT_ONCE, side="right")) - 1
        end = min(max(end, start + 1), start + _USERS_AT_ONCE, n_users)
        yield slice(start, end)
        start = end


def _check_sizes(
    n_users: int | None, n_items: int | None, n_ratings: int | None, preset: _Preset
) -> tuple[int, int, int]:
    if n_users is None and n_items is None and n_ratings is None:
        return preset.n_users, preset.n_items, preset.n_ratings
    if n_users is None or n_items is None or n_ratings is None:
        raise ValueError("n_users, n_items and n_ratings must be given together, or none of them.")
    for name, size in (("n_users", n_users), ("n_items", n_items), ("n_ratings", n_ratings)):
        check_integer(name, size, low=1)
    if n_ratings > n_users * n_items:
        raise ValueError(
            f"n_ratings must be at most n_users x n_items, {n_users * n_items:,}, "
            f"but it was {n_ratings:,}."
        )
    return int(n_users), int(n_items), int(n_ratings)


def _check_ranges(
    rank: int, noise: float | None, lowest: float, highest: float, step: float, top_share: float
) -> None:
    check_integer("rank", rank, low=0)
    check_real("noise", noise, low=0, others=(None,))
    if not (np.isfinite([lowest, highest]).all() and lowest < highest):
        raise ValueError(
            f"scale must be a lower and a higher finite number, but it was ({lowest}, {highest})."
        )
    if not 0 <= step <= highest - lowest:
        raise ValueError(
            f"step must lie between 0 and the length of the scale, {highest - lowest:g}, "
            f"but it was {step}."
        )
    check_share("top_share", top_share)
