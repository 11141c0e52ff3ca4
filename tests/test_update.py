"""A new day: `update` with all ratings as they are now."""

import copy

import numpy as np
import pytest
from scipy import sparse
from test_models import CASES, EPOCHAL, assert_same_bits, maker, predict_all

from isthmus import (
    CVAE,
    EASE,
    AutoRec,
    BiasedMF,
    Blend,
    MultVAE,
    NotFittedError,
    Ratings,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.models._epochs import EpochModel


@pytest.fixture(scope="module")
def now():
    return synthetic_ratings(50, 40, 900, random_state=1)


@pytest.fixture(scope="module")
def then(now):
    """What was known before: users and items with ids, and most of their ratings."""
    users, items, values, _ = now.to_arrays()
    known = (users < 42) & (items > 4) & (np.arange(len(users)) % 7 > 0)
    return Ratings.from_arrays(users[known], items[known], values[known])


@pytest.fixture(params=CASES)
def fitted(request, then):
    return maker(*request.param)().fit(then)


def test_new_users_and_items_come_behind_the_known(fitted, then, now, tmp_path):
    assert fitted.update(now) is fitted
    new_users = np.setdiff1d(now.user_ids, then.user_ids)
    new_items = np.setdiff1d(now.item_ids, then.item_ids)
    assert len(new_users) > 0
    assert len(new_items) > 0
    assert fitted.user_ids_.tolist() == [*then.user_ids, *new_users]
    assert fitted.item_ids_.tolist() == [*then.item_ids, *new_items]
    users, items, _, _ = now.to_arrays()
    assert fitted._seen.shape == now.shape
    rows = np.repeat(fitted.user_ids_, np.diff(fitted._seen.indptr))
    seen = set(zip(rows.tolist(), fitted.item_ids_[fitted._seen.indices].tolist(), strict=True))
    assert seen == set(zip(users.tolist(), items.tolist(), strict=True))
    assert np.isfinite(predict_all(fitted)).all()
    fitted.save(tmp_path / "model.st")
    assert_same_bits(Recommender.load(tmp_path / "model.st"), fitted)


def test_is_repeatable_and_leaves_copies_alone(fitted, now):
    before, other = copy.deepcopy(fitted), copy.deepcopy(fitted)
    fitted.update(now)
    assert_same_bits(other.update(now), fitted)
    assert len(before.user_ids_) < len(fitted.user_ids_)
    fitted.update(now)  # and again, on the next day


@pytest.mark.parametrize("case", EPOCHAL)
def test_goes_through_the_course_in_fewer_epochs(case, then, now):
    model = maker(*case)(epochs=10).fit(then)
    n = 10 + round(10 * model._update_share)
    assert len(model.update(now).history_) == n
    assert [epoch.index for epoch in model.history_] == list(range(n))
    assert len(model.update(now, epochs=2).history_) == n + 2
    assert model.receipt_.steps == ("fit", "partial_fit")


@pytest.mark.parametrize("case", EPOCHAL)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_stops_it_leaves_the_model_as_it_was(case, error, then, now):
    model = maker(*case)().fit(then)
    before = copy.deepcopy(model)

    def fail(epoch):
        raise error

    with pytest.raises(error):
        model.update(now, callbacks=[fail])
    assert_same_bits(model, before)
    assert model.history_ == before.history_


def test_comes_close_to_a_new_fit():
    ratings = synthetic_ratings(300, 200, 12_000, random_state=0)
    now, test = train_test_split(ratings, test_size=0.1, random_state=0)
    then = now.select(np.arange(now.nnz) % 2 == 0)
    errors = {}
    for name, model in (("AutoRec", AutoRec), ("BiasedMF", BiasedMF)):
        old = model(random_state=0).fit(then)
        errors[name] = [
            one.evaluate(test)["rmse"]
            for one in (old, copy.deepcopy(old).update(now), model(random_state=0).fit(now))
        ]
        old, updated, anew = errors[name]
        assert updated < anew + 0.5 * (old - anew), errors


def test_ease_becomes_that_of_a_new_fit(then, now):
    updated = EASE(regularization=5.0).fit(then).update(now)
    fresh = EASE(regularization=5.0).fit(now)
    order = np.searchsorted(now.item_ids, updated.item_ids_)
    np.testing.assert_allclose(
        updated.item_weights_, fresh.item_weights_[np.ix_(order, order)], atol=1e-5
    )
    assert updated.receipt_.steps == ("fit",)


def test_those_who_are_no_longer_rated_stay(then, now):
    users, items, values, _ = now.to_arrays()
    kept = users != then.user_ids[3]
    model = BiasedMF(factors=3, epochs=2, random_state=0).fit(then)
    model.update(Ratings.from_arrays(users[kept], items[kept], values[kept]))
    assert then.user_ids[3] in model.user_ids_
    assert model._seen.indptr[3] == model._seen.indptr[4]


def test_positions_of_a_matrix_are_ids():
    matrix = sparse.random(30, 20, 0.4, format="csr", random_state=0)
    model = MultVAE(hidden_units=(4,), latent_units=2, epochs=2).fit(matrix[:25, :18])
    assert model.update(matrix).user_ids_.tolist() == list(range(30))
    named = Ratings.from_arrays([3, 5], [1, 2], [1, 2])
    with pytest.raises(TypeError, match=r"^X must be Ratings, which have ids"):
        EASE(regularization=1.0).fit(named).update(matrix)
    with pytest.raises(TypeError, match=r"^X must be Ratings or a scipy\.sparse array.* is a str"):
        EASE(regularization=1.0).fit(named).update("ratings.csv")


def test_validates_and_stops_early(then, now):
    train, held_out = train_test_split(now, test_size=0.2, random_state=0)
    model = BiasedMF(factors=3, epochs=10, patience=1, learning_rate=0.5, random_state=0)
    model.fit(then, validation=then)
    model.update(train, validation=held_out)
    assert "rmse" in model.history_[-1].metrics
    with pytest.raises(ValueError, match=r"^patience needs validation data"):
        model.update(train)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (EASE(regularization=5.0), {"epochs": 2}, "^epochs and callbacks must not be given for EA"),
        (BiasedMF(epochs=1), {"epochs": 0}, "^epochs must be"),
        (
            AutoRec(decoder_activation="sigmoid", target_centering="none", epochs=1),
            {},
            "^new users can be folded into an AutoRec",
        ),
        (Blend([BiasedMF(epochs=1)]), {"callbacks": [print]}, "^validation and callbacks must not"),
    ],
)
def test_refuses_in_a_sentence_and_keeps_the_model(model, arguments, message, then, now):
    model.fit(then)
    with pytest.raises(ValueError, match=message):
        model.update(now, **arguments)
    assert len(model.user_ids_) == then.n_users


def test_needs_a_fitted_model_and_ids_of_its_type(then):
    with pytest.raises(NotFittedError):
        EASE().update(then)
    other = Ratings.from_arrays(["a"], [1], [1])
    with pytest.raises(ValueError, match=r"^the user ids of X must be"):
        EASE(regularization=1.0).fit(then).update(other)


def test_a_model_of_ones_own_is_fitted_anew(then, now):
    assert EpochModel._updated is not Recommender._updated
    assert EASE._updated is Recommender._updated


def test_content_stays(then, now, tmp_path):
    words = sparse.random(then.n_items, 20, 0.3, format="csr", random_state=0)
    model = CVAE(hidden_units=(4,), latent_units=3, epochs=2, pretraining_epochs=1, random_state=0)
    content = model.fit(then, content=words)._content
    model.update(now)
    assert model._content.shape == (now.n_items, 20)
    np.testing.assert_array_equal(model._content.values, content.values)
    np.testing.assert_array_equal(model._content.indices, content.indices)
    model.save(tmp_path / "model.st")
    assert_same_bits(Recommender.load(tmp_path / "model.st"), model)
