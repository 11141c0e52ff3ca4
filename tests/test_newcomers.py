"""Users and items of few ratings, who come after training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import RBM, AutoRec, BiasedMF, Ratings, synthetic_ratings
from isthmus.metrics import rmse

MODELS: dict[str, Callable[[], Any]] = {
    "i-autorec": lambda: AutoRec(hidden_units=(30,), epochs=20, random_state=0),
    "u-autorec": lambda: AutoRec(orientation="user", hidden_units=(30,), epochs=20, random_state=0),
    "sgd": lambda: BiasedMF(factors=8, epochs=15, random_state=0),
    "als": lambda: BiasedMF.als(factors=8, random_state=0),
    "i-rbm": lambda: RBM(hidden_units=20, epochs=20, random_state=0),
    "u-rbm": lambda: RBM(orientation="user", hidden_units=20, epochs=20, random_state=0),
}


REGRESSED = [
    *(("i-autorec", "user"), ("u-autorec", "item"), ("i-rbm", "user"), ("u-rbm", "item")),
    *((name, axis) for name in ("sgd", "als") for axis in ("user", "item")),
]
"""Models, and what is new to them and cannot be encoded."""


def cells(ratings: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and values."""
    users = np.repeat(ratings.user_ids, np.diff(ratings.indptr))
    return users, ratings.item_ids[ratings.indices], ratings.values


def split(axis: str) -> tuple[Ratings, Ratings, Ratings]:
    """Training; one rating, drawn at random, of newcomers for whom it is a 1 or a 5; the rest."""
    ratings = synthetic_ratings(400, 200, 16_000, random_state=0)
    order = np.random.default_rng(0).permutation(ratings.nnz)
    users, items, values = (array[order] for array in cells(ratings))
    ids = users if axis == "user" else items
    new = ids % 4 == 0
    first = np.zeros(len(ids), bool)
    first[np.unique(ids, return_index=True)[1]] = True
    extreme = new & first & np.isin(values, [1, 5])
    rest = np.isin(ids, ids[extreme]) & ~first
    train, few, test = (
        Ratings.from_arrays(users[part], items[part], values[part])
        for part in (~new, extreme, rest)
    )
    return train, few, test


@pytest.mark.parametrize(("name", "axis"), REGRESSED)
def test_one_extreme_rating_is_no_worse_than_none(name, axis):
    train, extreme, rest = split(axis)
    users, items, values = cells(rest)
    # what predicts without it: the mean of the item, for a new user, or of the user
    known, ids = (items, train.item_ids) if axis == "user" else (users, train.user_ids)
    rows = train.rows("item" if axis == "user" else "user")
    means = np.add.reduceat(rows.values, rows.indptr[:-1]) / np.diff(rows.indptr)
    without = rmse(values, means[np.searchsorted(ids, known)])
    model = MODELS[name]().fit(train).fold_in(extreme, axis=axis)
    # an RBM of so few ratings is behind item means whoever it predicts for
    margin = 1.1 if name.endswith("rbm") else 1.0
    assert rmse(values, model.predict(users, items)) < margin * without


@pytest.mark.parametrize("name", MODELS)
def test_the_order_in_which_newcomers_come_does_not_matter(name):
    train, extreme, _ = split("user")
    together, apart = (MODELS[name]().fit(train) for _ in range(2))
    together.fold_in(extreme)
    users, items, values = cells(extreme)
    for chosen in (users >= 200, users < 200):
        part = users[chosen], items[chosen], values[chosen]
        apart.fold_in(Ratings.from_arrays(*part))
    everyone = extreme.user_ids[:, np.newaxis], train.item_ids
    np.testing.assert_allclose(apart.predict(*everyone), together.predict(*everyone), rtol=1e-5)
