import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.io import read_ratings
from isthmus.data.ratings import Ratings
from isthmus.data.splits import mask_split
from isthmus.metrics import bias_baseline, mae, mean_baseline, rmse

NUMBERS = st.floats(-100, 100)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1))
def test_errors_are_those_of_a_loop(pairs):
    truth, prediction = zip(*pairs, strict=True)
    squares = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    assert rmse(truth, prediction) == pytest.approx(squares**0.5, abs=1e-9)
    absolute = sum(abs(a - b) for a, b in pairs) / len(pairs)
    assert mae(truth, prediction) == pytest.approx(absolute, abs=1e-9)


def test_sums_are_in_double_precision():
    truth = np.zeros(3_000_000, np.float32)
    prediction = np.full(3_000_000, 0.1, np.float32)
    assert rmse(truth, prediction) == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    assert mae(truth, prediction) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_unsigned_ratings_do_not_wrap_around():
    assert mae(np.array([1], np.uint8), np.array([3], np.uint8)) == 2


@pytest.mark.parametrize("metric", [rmse, mae])
@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        ([1, 2], [1], ValueError, r"must have one shape, but they have \(2,\) and \(1,\)\."),
        ([1, 2], [[1], [2]], ValueError, r"but they have \(2,\) and \(2, 1\)\."),
        ([], [], ValueError, r"truth and prediction must hold at least one value"),
        ([1, np.nan], [1, 2], ValueError, r"truth must be finite, but 1 of 2 values are not\."),
        ([1], [np.inf], ValueError, r"prediction must be finite, but 1 of 1 values are not\."),
        (["a"], [1], TypeError, r"truth must hold real numbers, but its dtype is <U1\."),
        ([1], [1j], TypeError, r"prediction must hold real numbers, but its dtype is complex"),
    ],
)
def test_bad_arrays_are_refused(metric, truth, prediction, error, message):
    with pytest.raises(error, match=message):
        metric(truth, prediction)


@st.composite
def splits(draw):
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=36, unique=True
        )
    )
    values = draw(st.lists(st.integers(1, 5), min_size=len(pairs), max_size=len(pairs)))
    users, items = np.array(pairs).T
    ratings = Ratings.from_arrays(
        users, items, values, user_ids=np.arange(6), item_ids=np.arange(6)
    )
    mask = np.arange(len(pairs)) < draw(st.integers(1, len(pairs) - 1))
    return mask_split(ratings, mask)


@given(splits(), st.floats(0, 30), st.floats(0, 30))
def test_biases_are_those_of_a_loop(parts, user_damping, item_damping):
    train, test = parts
    stored = list(zip(*train.to_arrays()[:3], strict=True))
    mean = sum(float(r) for *_, r in stored) / len(stored)

    def damped(deviations, damping):
        n = len(deviations) + damping
        return sum(deviations) / n if n else 0.0

    item = [damped([r - mean for _, i, r in stored if i == j], item_damping) for j in range(6)]
    user = [
        damped([r - mean - item[i] for u, i, r in stored if u == v], user_damping) for v in range(6)
    ]
    expected = [mean + user[u] + item[i] for u, i in zip(*test.to_arrays()[:2], strict=True)]
    predicted = bias_baseline(train, test, user_damping=user_damping, item_damping=item_damping)
    np.testing.assert_allclose(predicted, expected, atol=1e-6)
    np.testing.assert_allclose(mean_baseline(train, test), mean)


def test_baselines_need_the_same_users_and_items():
    one = Ratings.from_arrays([1, 2], [1, 2], [3, 4])
    with pytest.raises(ValueError, match=r"their shapes are \(2, 2\) and \(1, 1\)\."):
        bias_baseline(one, Ratings.from_arrays([1], [1], [3]))
    with pytest.raises(ValueError, match=r"the same ids in the same order, but do not\."):
        mean_baseline(one, Ratings.from_arrays([1, 3], [1, 2], [3, 4]))
    with pytest.raises(ValueError, match=r"user_damping must be finite and at least 0, .* -1\."):
        bias_baseline(one, one, user_damping=-1)


@pytest.mark.data
def test_baselines_on_the_published_split_of_movielens_1m(data_dir):
    path = data_dir / "ml-1m" / "ratings.npz"
    with np.load(path) as file:
        users, items = file["user_id"][file["user"]], file["item_id"][file["item"]]
        train, test = mask_split(read_ratings(path), file["bpmf_probe"], users=users, items=items)
    assert rmse(test.values, mean_baseline(train, test)) == pytest.approx(1.117, abs=0.003)
    assert rmse(test.values, bias_baseline(train, test)) == pytest.approx(0.909, abs=0.003)
