import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.ratings import Ratings
from isthmus.data.splits import train_test_split
from isthmus.data.synthetic import synthetic_ratings
from isthmus.metrics import bias_baseline, mean_baseline, rmse


@pytest.fixture(scope="module")
def million():
    return synthetic_ratings()


def test_shape_of_movielens_1m(million):
    assert repr(million) == "Ratings(6040 users x 3706 items, 1,000,209 ratings in [1, 5])"
    assert million.values.dtype == np.float32
    assert set(np.unique(million.values)) == {1, 2, 3, 4, 5}
    assert million.mean == pytest.approx(3.6, abs=0.05)


def test_skew_is_that_of_movielens_1m(million):
    # There: medians of 96 and 123.5, a busiest user with 2,314 and a top item with 57 %.
    per_user = np.diff(million.indptr)
    per_item = np.bincount(million.indices, minlength=million.n_items)
    assert per_user.min() == 20
    assert 80 < np.median(per_user) < 110
    assert 1500 < per_user.max() < 3706
    assert 100 < np.median(per_item) < 160
    assert 0.45 < per_item.max() / million.n_users < 0.6


def test_there_is_more_to_learn_than_biases(million):
    train, test = train_test_split(million, random_state=0)
    mean = rmse(test.values, mean_baseline(train, test))
    bias = rmse(test.values, bias_baseline(train, test))
    # The same ratings before noise and rounding are the best that a model could predict.
    silent = synthetic_ratings(noise=0, step=0)
    np.testing.assert_array_equal(silent.indices, million.indices)
    best = rmse(million.values, silent.values)
    assert mean > 1.15 * bias > 1.15 * 1.1 * best


def test_popular_items_are_better_liked(million):
    per_item = np.bincount(million.indices, minlength=million.n_items)
    total = np.bincount(million.indices, weights=million.values, minlength=million.n_items)
    rated = per_item >= 20
    correlation = np.corrcoef(np.log(per_item[rated]), total[rated] / per_item[rated])[0, 1]
    assert correlation > 0.2


def test_a_seed_fixes_all():
    def make(random_state):
        ratings = synthetic_ratings(300, 200, 5000, random_state=random_state)
        return ratings.indptr.tolist(), ratings.indices.tolist(), ratings.values.tolist()

    assert make(5) == make(5) == make(np.random.default_rng(5))
    assert make(5) != make(6)


@settings(deadline=None)
@given(st.data())
def test_any_number_of_ratings_fits_any_shape(data):
    n_users, n_items = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    n_ratings = data.draw(st.integers(1, n_users * n_items))
    ratings = synthetic_ratings(
        n_users, n_items, n_ratings, random_state=data.draw(st.integers(0, 99))
    )
    # Ratings itself refuses unsorted rows and duplicates.
    assert (ratings.shape, ratings.nnz) == ((n_users, n_items), n_ratings)


def test_blocks_of_users_do_not_show(monkeypatch):
    monkeypatch.setattr("isthmus.data.synthetic._CELLS_AT_ONCE", 500)
    ratings = synthetic_ratings(300, 200, 5000)
    assert ratings.nnz == 5000
    halves = [
        ratings.values[: len(ratings.values) // 2],
        ratings.values[len(ratings.values) // 2 :],
    ]
    assert abs(halves[0].mean() - halves[1].mean()) < 0.3


@pytest.mark.parametrize(
    ("scale", "step", "expected"),
    [
        ((0.5, 5), 0.5, np.arange(1, 11) / 2),
        ((0, 1), 1, [0, 1]),
        ((-10, 10), 5, [-10, -5, 0, 5, 10]),
        ((1, 5.5), 1, [1, 2, 3, 4, 5]),
    ],
)
def test_scales(scale, step, expected):
    ratings = synthetic_ratings(200, 100, 4000, scale=scale, step=step)
    assert np.unique(ratings.values).tolist() == list(expected)


def test_without_a_step_ratings_are_not_rounded():
    assert len(np.unique(synthetic_ratings(200, 100, 4000, step=0).values)) > 2000


def test_without_tastes_and_noise_biases_explain_nearly_all():
    ratings = synthetic_ratings(200, 100, 8000, rank=0, noise=0, step=0, scale=(-50, 50))
    predicted = bias_baseline(ratings, ratings, user_damping=0, item_damping=0)
    assert rmse(ratings.values, predicted) < 0.25 * ratings.values.std()


def test_top_share():
    def share(top_share):
        ratings = synthetic_ratings(1000, 500, 40_000, top_share=top_share)
        return np.bincount(ratings.indices).max() / 1000

    assert share(0.2) == pytest.approx(0.2, abs=0.06)
    assert share(0.8) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("shape", ["ml-100k"])
def test_other_shapes(shape):
    assert isinstance(synthetic_ratings(shape=shape), Ratings)
    assert synthetic_ratings(shape=shape).nnz == 100_000


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((), {"shape": "ml-2m"}, ValueError, r"shape must be one of 'ml-100k', .* was 'ml-2m'\."),
        ((5, 5), {}, ValueError, r"n_users, n_items and n_ratings must be given together"),
        ((5, 5, 26), {}, ValueError, r"n_ratings must be at most n_users x n_items, 25, .* 26\."),
        ((5, 0, 1), {}, ValueError, r"n_items must be an integer of at least 1, but it was 0\."),
        ((5.0, 5, 5), {}, TypeError, r"n_users must be an integer .* but it was 5\.0"),
        ((5, 5, True), {}, TypeError, r"n_ratings must be an integer .* was True"),
        ((), {"rank": -1}, ValueError, r"rank must be an integer of at least 0, but it was -1\."),
        ((), {"rank": 1.5}, TypeError, r"rank must be an integer .* but it was 1\.5"),
        ((), {"noise": -1}, ValueError, r"noise must be a finite .* but it was -1\."),
        ((), {"noise": np.inf}, ValueError, r"noise must be a finite number"),
        ((), {"scale": (5, 1)}, ValueError, r"scale must be a lower and a higher .* \(5, 1\)\."),
        ((), {"step": 5}, ValueError, r"step must lie between 0 and the length .*, 4, .* was 5\."),
        ((), {"top_share": 1}, ValueError, r"top_share must be .* below 1, but it was 1\."),
        ((), {"random_state": 0.5}, TypeError, r"random_state must be an integer"),
    ],
)
def test_bad_arguments_are_refused(sizes, options, error, message):
    with pytest.raises(error, match=message):
        synthetic_ratings(*sizes, **options)
