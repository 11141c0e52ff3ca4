"""Explanations: what a score would be without each of the ratings behind it."""

import copy

import numpy as np
import pytest
from model_registry import SETTINGS
from test_models import CASES, maker

from isthmus import (
    EASE,
    AutoRec,
    DualAutoRec,
    Explanation,
    MultDAE,
    NotFittedError,
    Ratings,
    synthetic_ratings,
    train_test_split,
)
from isthmus.models import _explaining

NEW = 1_000_000
"""An id that no one has."""


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(50, 40, 700, random_state=1)


@pytest.fixture(scope="module")
def models(ratings):
    """Fit the model of a case once for all tests."""
    fitted = {}

    def get(case):
        model, settings = case
        key = model.__name__, SETTINGS[model.__name__].index(settings)
        if key not in fitted:
            fitted[key] = maker(model, settings)().fit(ratings)
        return fitted[key]

    return get


def cells_of(ratings, axis, who):
    """What was rated, and how high."""
    users, items, values, _ = ratings.to_arrays()
    own, others = (users, items) if axis == "user" else (items, users)
    return others[own == who], values[own == who]


def refolded(model, axis, others, values, other):
    """Return the score of someone new with these ratings, by `fold_in` and `predict`."""
    grown = copy.deepcopy(model)
    if "clip" in grown.get_params():
        grown.set_params(clip=False)
    if "default_rating" in grown.get_params():
        grown.set_params(default_rating=None)
    new = np.full(len(others), NEW)
    pair = (new, others) if axis == "user" else (others, new)
    grown.fold_in(Ratings.from_arrays(*pair, values), axis=axis)
    asked = (NEW, other) if axis == "user" else (other, NEW)
    vectors = grown._vectors()
    place = grown._users.positions([asked[0]], "user"), grown._items.positions([asked[1]], "item")
    return vectors.scorer().score_pairs(*(p.astype(np.int32) for p in place), num_threads=1)[0]


@pytest.mark.parametrize("axis", ["user", "item"])
@pytest.mark.parametrize("case", CASES)
def test_effects_equal_refolding_without_each_rating(case, axis, models, ratings):
    model = models(case)
    if axis == "item" and not model._rates:
        with pytest.raises(ValueError, match=r'^axis must be "user" for '):
            model.explain(3, 5, ratings=ratings, axis="item")
        return
    random = np.random.default_rng(0)
    for _ in range(6):
        user, item = random.integers(50), random.integers(40)
        who, other = (user, item) if axis == "user" else (item, user)
        rated, values = cells_of(ratings, axis, who)
        if len(rated) < 2:
            continue
        explanation = model.explain(user, item, n=None, ratings=ratings, axis=axis)
        whole = refolded(model, axis, rated, values, other)
        assert explanation.score == pytest.approx(whole, abs=1e-5)
        assert sorted(explanation.ids.tolist()) == sorted(rated.tolist())
        for place in random.choice(len(rated), 3):
            without = refolded(
                model, axis, np.delete(rated, place), np.delete(values, place), other
            )
            effect = explanation.effects[explanation.ids == rated[place]]
            assert effect == pytest.approx(whole - without, abs=1e-5)
        assert explanation.effects.sum() + explanation.remainder == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_a_single_rating_is_taken_away(case, models, ratings):
    model = models(case)
    one = Ratings.from_arrays([NEW], [7], [4.0])
    explanation = model.explain(NEW, 5, ratings=one)
    none = Ratings.from_arrays([0], [7], [4.0], user_ids=[0, NEW])
    empty = model._fold_users(model._rows_among(none, "X", axis="user"))
    pair = np.array([1], np.int32), np.array([5], np.int32)
    without = empty.scorer().score_pairs(*pair, num_threads=1)[0]
    assert explanation.score - explanation.effects[0] == pytest.approx(without, abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_blocks_and_threads_do_not_matter(case, models, ratings, monkeypatch):
    model = models(case)
    whole = model.explain(3, 5, None, ratings=ratings)
    monkeypatch.setattr(_explaining, "CELLS", 30)
    blocked = model.explain(3, 5, None, ratings=ratings)
    np.testing.assert_allclose(
        blocked.effects[np.argsort(blocked.ids)], whole.effects[np.argsort(whole.ids)], atol=1e-5
    )


def test_models_of_implicit_feedback_know_what_a_user_had(ratings):
    model = MultDAE(hidden_units=(6,), epochs=2, random_state=0).fit(ratings)
    known, given = model.explain(3, 5), model.explain(3, 5, ratings=ratings)
    np.testing.assert_array_equal(known.ids, given.ids)
    np.testing.assert_array_equal(known.effects, given.effects)
    assert set(known.ratings.tolist()) == {1.0}


def test_those_of_ease_are_its_weights(ratings):
    model = EASE(regularization=5.0).fit(ratings)
    explanation = model.explain(3, 5)
    np.testing.assert_allclose(
        explanation.effects, model.item_weights_[explanation.ids, 5], atol=1e-6
    )


def test_the_greatest_in_size_come_first(ratings):
    model = AutoRec(hidden_units=(6,), epochs=2, random_state=0).fit(ratings)
    few = model.explain(3, 5, n=4, ratings=ratings)
    every = model.explain(3, 5, n=None, ratings=ratings)
    sizes = np.abs(every.effects)
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(few.ids, every.ids[:4])
    assert few.remainder == pytest.approx(few.score - few.effects.sum())


def test_someone_who_comes_after_training(ratings):
    train, _ = train_test_split(ratings, test_size=0.5, random_state=0)
    model = DualAutoRec(hidden_units=(6,), epochs=2, random_state=0).fit(train)
    items = train.item_ids[[1, 2, 8]]
    new = Ratings.from_arrays([NEW] * 3, items, [1.0, 5.0, 3.0])
    explanation = model.explain(NEW, train.item_ids[0], ratings=new)
    assert sorted(explanation.ids.tolist()) == items.tolist()
    matrix = model.explain(0, train.item_ids[0], ratings=train.to_matrix())
    named = model.explain(train.user_ids[0], train.item_ids[0], ratings=train)
    np.testing.assert_array_equal(matrix.effects, named.effects)


def test_it_prints_and_becomes_a_frame():
    explanation = Explanation(
        user=7,
        item="a\x1b[2J",
        axis="user",
        score=4.5,
        ids=np.array(["b", "cc"]),
        ratings=np.array([5, 0.5], np.float32),
        effects=np.array([0.5, -0.25], np.float32),
        remainder=4.25,
    )
    assert "\x1b" not in str(explanation)
    assert str(explanation).splitlines()[1:] == [
        "  item b          5    +0.5000",
        "  item cc       0.5    -0.2500",
        "  remainder            +4.2500",
    ]
    assert explanation.to_frame().to_pydict() == {
        "item": ["b", "cc"],
        "rating": [5.0, 0.5],
        "effect": [0.5, -0.25],
    }
    assert list(explanation.to_frame("pandas").columns) == ["item", "rating", "effect"]
    with pytest.raises(ValueError, match=r"^backend must be one of"):
        explanation.to_frame("arrow")
    with pytest.raises(AttributeError):
        explanation.score = 1.0


@pytest.fixture(scope="module")
def model(ratings):
    return AutoRec(orientation="user", hidden_units=(4,), epochs=1, random_state=0).fit(ratings)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"user": 99}, "user must be among the 50 user ids of the ratings, but 99 is not."),
            ({"item": 99}, "item must be among the 40 item ids of the ratings, but 99 is not."),
            ({"user": [1, 2]}, "user must be one id, but it was [1, 2]."),
            ({"n": 0}, "n must be"),
            ({"axis": "row"}, "axis must be one of"),
            ({"ratings": None}, "ratings must be given to explain scores of AutoRec, which keeps"),
        ],
    )
    def test_is_refused(self, model, ratings, arguments, message):
        with pytest.raises((ValueError, TypeError)) as caught:
            model.explain(**{"user": 1, "item": 2, "ratings": ratings, **arguments})
        assert str(caught.value).startswith(message)

    def test_someone_without_ratings(self, model, ratings):
        none = Ratings.from_arrays([1], [7], [4.0], user_ids=[1, 2])
        with pytest.raises(ValueError, match=r"^user must have a rating .* but 2 has none\.$"):
            model.explain(2, 5, ratings=none)
        with pytest.raises(ValueError, match=r"^user must be one of the 50 users of ratings"):
            model.explain(50, 5, ratings=ratings.to_matrix())

    def test_before_fit(self):
        with pytest.raises(NotFittedError):
            EASE().explain(1, 2)

    def test_outputs_that_cannot_be_regressed(self, ratings):
        model = AutoRec(
            hidden_units=(4,), decoder_activation="sigmoid", target_centering="none", epochs=1
        ).fit(ratings)
        with pytest.raises(ValueError, match="only if its decoder_activation is"):
            model.explain(1, 2, ratings=ratings)
        assert model.explain(1, 2, ratings=ratings, axis="item").ids.size
