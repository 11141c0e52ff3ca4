"""informative_items: what to ask newcomers, beside a slow reference."""

from itertools import pairwise

import numpy as np
import pytest
from tests.model_registry import SETTINGS

from isthmus import EASE, AutoRec, BiasedMF, NotFittedError, Ratings, synthetic_ratings
from isthmus.models import _asking

QUICK = {"random_state": 0, "num_threads": 1}
RATES = sorted({"AutoRec", "BiasedMF", "Blend", "DualAutoRec", "RBM"} & set(SETTINGS))


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return synthetic_ratings(60, 40, 900, random_state=0)


@pytest.fixture(scope="module")
def model(ratings) -> BiasedMF:
    return BiasedMF(factors=4, epochs=10, **QUICK).fit(ratings)


def variance(covariance, noise, asked, left):
    """The sum of the variances of some ratings, given the answers to others."""
    own, between = covariance[np.ix_(asked, asked)], covariance[np.ix_(left, asked)]
    told = between @ np.linalg.solve(own + noise * np.eye(len(asked)), between.T)
    return np.trace(covariance[np.ix_(left, left)] - told)


def reference(model, ratings, n):
    """Greedy choice by whole posteriors, from NumPy's decomposition of the predictions."""
    scores = model._vectors().users.astype(float) @ model._vectors().items.T.astype(float)
    scores += model._vectors().user_bias[:, None] + model._vectors().item_bias
    scores /= model._vectors().scale
    scores -= scores.mean(axis=0)
    _, values, directions = np.linalg.svd(scores, full_matrices=False)
    loadings = (directions[:16].T * values[:16]) / np.sqrt(len(scores))
    covariance, noise = loadings @ loadings.T, ((ratings.max - ratings.min) / 4) ** 2
    had = [set(ratings.indices[a:b]) for a, b in pairwise(ratings.indptr)]
    chosen = []
    for _ in range(n):
        gains = np.zeros(ratings.n_items)
        for known in (known for known in had if len(known) >= 2):
            answered = [item for item in chosen if item in known]
            unasked = sorted(known - set(chosen))
            for item in unasked:
                left = [other for other in unasked if other != item]
                fall = variance(covariance, noise, answered, left) - variance(
                    covariance, noise, [*answered, item], left
                )
                gains[item] += fall / max(1, len(left))
        gains[chosen] = -np.inf
        chosen.append(int(np.argmax(gains)))
    return chosen


def test_are_those_of_the_reference(model, ratings):
    assert model.informative_items(6).tolist() == reference(model, ratings, 6)


@pytest.mark.parametrize("name", RATES)
def test_of_every_model_of_ratings(name, ratings):
    import isthmus

    settings = {**SETTINGS[name][0], **({} if name == "Blend" else {"random_state": 0})}
    fitted = getattr(isthmus, name)(**settings).fit(ratings)
    one, two = (fitted.set_params(num_threads=n).informative_items(10) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert len(set(one.tolist())) == 10
    assert set(one) <= set(fitted.item_ids_)


def test_leave_the_model_as_it_is(model):
    before = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)
    model.informative_items(3)
    np.testing.assert_array_equal(
        model.predict(model.user_ids_[:, np.newaxis], model.item_ids_), before
    )


def test_can_be_chosen_among_candidates(model):
    among = model.informative_items(30, candidates=[5, 7, 11])
    assert sorted(among) == [5, 7, 11]
    everything = model.informative_items(100)
    assert sorted(everything) == sorted(model.item_ids_)
    assert model.informative_items(1, candidates=int(everything[0])).tolist() == [everything[0]]


def test_tell_more_than_popular_ones():
    """Of two groups of items, as popular, one has ratings that say nothing of others."""
    random = np.random.default_rng(0)
    users, items = np.divmod(np.arange(200 * 20), 20)
    taste = random.choice([-1.5, 1.5], 200)
    noise = random.choice([-1.5, 1.5], len(users))
    values = 3 + np.where(items < 10, taste[users], noise)
    kept = random.random(len(users)) < 0.8
    fitted = BiasedMF(factors=4, **QUICK).fit(
        Ratings.from_arrays(users[kept], items[kept], values[kept])
    )
    assert fitted.informative_items(3).max() < 10


def test_are_of_some_users_where_there_are_many(model, monkeypatch):
    monkeypatch.setattr(_asking, "NEWCOMERS", 20)
    monkeypatch.setattr(_asking, "USERS", 20)
    monkeypatch.setattr(_asking, "CELLS", 5)
    assert len(set(model.informative_items(8).tolist())) == 8


def test_are_the_popular_ones_where_nobody_has_two_ratings():
    ratings = Ratings.from_arrays(["a", "b", "c", "d"], ["x", "y", "y", "z"], [1.0, 2, 3, 4])
    fitted = BiasedMF(factors=2, epochs=1, **QUICK).fit(ratings)
    assert fitted.informative_items(2).tolist() == ["y", "x"]


def test_of_equal_ratings_are_fine():
    ratings = Ratings.from_arrays(np.repeat(range(6), 5), np.tile(range(5), 6), np.full(30, 4.0))
    assert len(BiasedMF(factors=2, epochs=2, **QUICK).fit(ratings).informative_items(3)) == 3


def test_refuse_what_they_cannot_do(model, ratings):
    with pytest.raises(ValueError, match=r"informative_items needs a model of ratings.* but EASE"):
        EASE(regularization=10).fit(ratings).informative_items(3)
    with pytest.raises(ValueError, match="n must be an integer of at least 1, but it was 0"):
        model.informative_items(0)
    with pytest.raises(ValueError, match="candidates"):
        model.informative_items(3, candidates=[999])
    with pytest.raises(NotFittedError):
        AutoRec().informative_items(3)
