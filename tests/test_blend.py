import numpy as np
import pytest

from isthmus import (
    EASE,
    RBM,
    AutoRec,
    BiasedMF,
    Blend,
    NotFittedError,
    Ratings,
    synthetic_ratings,
    train_test_split,
    verify,
)

QUICK = {"hidden_units": (10,), "epochs": 10, "batch_size": 16, "random_state": 0, "num_threads": 1}


def models():
    return [
        AutoRec(**QUICK, regularization=20),
        AutoRec(**QUICK, regularization=20, orientation="user"),
        # with biases that fit noise, so that no model is the best by far
        BiasedMF(factors=5, bias_regularization=0.0, random_state=0, num_threads=1),
    ]


@pytest.fixture(scope="module")
def parts():
    ratings = synthetic_ratings(300, 200, 12_000, random_state=0)
    return train_test_split(ratings, test_size=0.2, random_state=0)


class TestWeights:
    def test_are_those_of_least_squares_on_the_validation_ratings(self, parts):
        train, rest = parts
        validation, test = train_test_split(rest, test_size=0.5, random_state=0)
        blend = Blend(models()).fit(train, validation=validation)
        users, items, truth, _ = validation.to_arrays()
        members = [model.fit(train) for model in models()]
        predicted = np.column_stack([m.predict(users, items) for m in members]).astype(float)
        # the same minimum by gradient descent's end: the derivative is 0
        error = truth - blend.constant_ - predicted @ blend.weights_
        pull = 10 * predicted.var(axis=0).mean() * (blend.weights_ - 1 / 3)
        np.testing.assert_allclose(predicted.T @ error, pull, atol=1e-6 * len(truth))
        assert error.mean() == pytest.approx(0, abs=1e-6)
        users, items, truth, _ = test.to_arrays()
        predicted = np.column_stack([m.predict(users, items) for m in members]).astype(float)
        expected = np.clip(blend.constant_ + predicted @ blend.weights_, train.min, train.max)
        np.testing.assert_allclose(blend.predict(users, items), expected, rtol=1e-6)

    def test_beat_each_model_and_the_plain_mean(self, parts):
        train, test = parts
        blend = Blend(models(), random_state=0).fit(train)
        users, items, truth, _ = test.to_arrays()
        members = [model.fit(train).predict(users, items) for model in models()]
        plain = np.mean((np.mean(members, axis=0) - truth) ** 2) ** 0.5
        alone = [np.mean((member - truth) ** 2) ** 0.5 for member in members]
        found = blend.evaluate(test)["rmse"]
        assert found < min(alone)
        assert found < plain * 1.002

    def test_are_equal_where_nothing_tells_the_models_apart(self, parts):
        twins = [BiasedMF(factors=3, random_state=1), BiasedMF(factors=3, random_state=1)]
        weights = Blend(twins, random_state=0).fit(parts[0]).weights_
        assert weights[0] == pytest.approx(weights[1], rel=1e-6)

    def test_that_are_given_are_taken_and_each_model_is_fitted_once_to_everything(self, parts):
        blend = Blend(models(), weights=[0.5, 0.4, 0.3]).fit(parts[0])
        assert blend.weights_.tolist() == [0.5, 0.4, 0.3]
        assert blend.constant_ == pytest.approx(-0.2 * parts[0].mean)
        users, items, *_ = parts[1].to_arrays()
        members = [model.fit(parts[0]).predict(users, items) for model in models()]
        expected = blend.constant_ + np.tensordot(blend.weights_, members, 1)
        np.testing.assert_allclose(
            blend.predict(users, items), expected.clip(parts[0].min, parts[0].max), rtol=1e-6
        )

    def test_that_are_given_outlive_a_file(self, parts, tmp_path):
        blend = Blend(models()[:1], weights=np.array([0.9])).fit(parts[0])
        blend.save(tmp_path / "blend")
        assert Blend.load(tmp_path / "blend").weights_.tolist() == [0.9]
        assert verify(tmp_path / "blend", parts[0])

    @pytest.mark.parametrize("weights", [[1.0], 1.0, [1, 2, "x"], [1, 2, np.nan]], ids=str)
    def test_must_be_a_number_for_each_model(self, parts, weights):
        with pytest.raises((ValueError, TypeError), match="weights must be a"):
            Blend(models(), weights=weights).fit(parts[0])

    def test_of_equal_ratings_give_that_rating(self):
        ratings = Ratings.from_arrays(
            np.repeat(range(6), 5), np.tile(range(5), 6), np.full(30, 4.0)
        )
        blend = Blend([BiasedMF(factors=2, random_state=0)] * 2, random_state=0).fit(ratings)
        assert blend.predict(0, 0) == 4


class TestFit:
    def test_refits_to_all_ratings_what_it_held_out_from(self, parts):
        blend = Blend(models(), random_state=0).fit(parts[0])
        alone = models()[0].fit(parts[0])
        users, items, *_ = parts[1].to_arrays()
        np.testing.assert_array_equal(
            blend.models_[0].predict(users, items), alone.predict(users, items)
        )

    def test_leaves_the_given_models_as_they_are(self, parts):
        given = models()
        blend = Blend(given, random_state=0)
        assert blend.fit(parts[0]) is blend
        for model in given:
            with pytest.raises(NotFittedError):
                model.predict(0, 0)

    def test_never_looks_at_test_ratings_and_repeats(self, parts):
        one, two = (Blend(models(), random_state=0).fit(parts[0]) for _ in range(2))
        np.testing.assert_array_equal(one.weights_, two.weights_)
        assert one.evaluate(parts[1]) == two.evaluate(parts[1])

    def test_takes_matrices_and_strings_for_ids(self, parts):
        named = Ratings.from_matrix(
            parts[0].to_matrix(),
            user_ids=[f"u{n}" for n in parts[0].user_ids],
            item_ids=[f"i{n}" for n in parts[0].item_ids],
        )
        quick = [BiasedMF(factors=3, random_state=0)]
        by_name = Blend(quick, random_state=0).fit(named)
        by_position = Blend(quick, random_state=0).fit(parts[0].to_matrix())
        assert by_name.predict("u3", "i5") == by_position.predict(3, 5)
        assert by_position.predict([[0], [1]], [0, 1, 2]).shape == (2, 3)
        assert by_position.evaluate(parts[1].to_matrix()) == by_position.evaluate(parts[1])

    def test_takes_models_that_do_not_score_by_dot_products(self, parts):
        blend = Blend([RBM(hidden_units=5, epochs=2, random_state=0), *models()[:1]])
        assert np.isfinite(blend.fit(parts[0]).evaluate(parts[1])["rmse"])


class TestRecommend:
    def test_ranks_by_the_weighted_sum_of_the_models_scores(self, parts):
        blend = Blend(models(), random_state=0).fit(parts[0])
        everything = {"exclude_seen": False, "order": "rating"}
        ids, scores = blend.recommend(n=5, **everything)
        expected = np.full((300, 200), blend.constant_)
        for weight, model in zip(blend.weights_, blend.models_, strict=True):
            listed, theirs = model.set_params(clip=False).recommend(n=200, **everything)
            own = np.empty((300, 200))
            np.put_along_axis(own, listed, theirs, axis=1)
            expected += weight * own
        best = -np.sort(-expected, axis=1)[:, :5]
        np.testing.assert_allclose(scores, np.clip(best, parts[0].min, parts[0].max), rtol=1e-5)
        assert [len(set(row)) for row in ids.tolist()] == [5] * 300

    def test_measures_rankings(self, parts):
        blend = Blend(models(), random_state=0).fit(parts[0])
        assert 0 < blend.evaluate(parts[1], "ndcg@10")["ndcg@10"] < 1


class TestFoldIn:
    def test_changes_all_of_the_models_or_none(self, parts):
        bounded = AutoRec(**QUICK, decoder_activation="sigmoid", target_centering="none")
        blend = Blend([models()[2], bounded], random_state=0).fit(parts[0])
        new = Ratings.from_arrays([900], [3], [5])
        with pytest.raises(ValueError, match="can be folded into an AutoRec"):
            blend.fold_in(new)
        assert 900 not in blend.user_ids_
        assert all(900 not in model.user_ids_ for model in blend.models_)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([], ValueError, r"models must be a list of at least one, but it was \[\]"),
        (BiasedMF(), ValueError, r"models must be a list of at least one"),
        ([EASE()], TypeError, r"models must be models of ratings.*one is a EASE"),
        ([AutoRec(epochs=0)], ValueError, r"epochs must be an integer of at least 1"),
        ([AutoRec(patience=2)], ValueError, r"patience needs validation data"),
    ],
    ids=str,
)
def test_refuses_other_models(parts, given, error, message):
    with pytest.raises(error, match=message):
        Blend(given, random_state=0).fit(parts[0])


def test_refuses_a_bad_fraction_and_use_before_fit(parts):
    with pytest.raises(ValueError, match=r"validation_fraction must be .* but it was 1"):
        Blend(models(), validation_fraction=1).fit(parts[0])
    with pytest.raises(NotFittedError, match="This Blend is not fitted yet"):
        Blend(models()).predict(0, 0)


def test_a_file_keeps_each_models_own_range(tmp_path):
    made = synthetic_ratings(60, 40, 700, random_state=3)
    users, items, values, _ = made.to_arrays()
    values = values.copy()
    values[0] = 9.0  # one that the models hold out
    ratings = Ratings.from_arrays(users, items, values)
    options = {"validation_fraction": 0.5, "hidden_units": (4,), "epochs": 2, "batch_size": 16}
    members = [
        AutoRec(**options, decoder_activation="sigmoid", target_centering="none", random_state=seed)
        for seed in range(6)
    ]
    blend = Blend(members, random_state=0).fit(ratings)
    assert len({model._range for model in blend.models_}) == 2
    before = blend.predict(blend.user_ids_[:, np.newaxis], blend.item_ids_)
    blend.save(tmp_path / "blend")
    again = Blend.load(tmp_path / "blend")
    assert [model._range for model in again.models_] == [m._range for m in blend.models_]
    after = again.predict(again.user_ids_[:, np.newaxis], again.item_ids_)
    np.testing.assert_array_equal(after, before)
    for left, right in zip(again.recommend(n=5), blend.recommend(n=5), strict=True):
        np.testing.assert_array_equal(left, right)
