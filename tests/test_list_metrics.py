"""Metrics of lists made elsewhere: the numbers of `evaluate`."""

import numpy as np
import pytest
from scipy import sparse

from isthmus import EASE, Ratings, metrics, synthetic_ratings, train_test_split

NAMES = ["precision", "recall", "recall_capped", "ndcg", "map", "mrr", "hit_rate", "coverage"]
TRAIN, TEST = train_test_split(
    synthetic_ratings(80, 60, 1500, random_state=2), test_size=0.06, random_state=0
)
MODEL = EASE(regularization=20.0).fit(TRAIN)
LISTS = MODEL.recommend(n=10)[0]


def named(ratings):
    return Ratings(
        ratings.rows("user"),
        user_ids=[f"u{i}" for i in range(ratings.n_users)],
        item_ids=[f"i{i}" for i in range(ratings.n_items)],
    )


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("name", NAMES)
def test_are_those_of_evaluate(name, k):
    assert (np.diff(TEST.indptr) == 0).any(), "some user has no positive"
    expected = MODEL.evaluate(TEST, f"{name}@{k}")[f"{name}@{k}"]
    measure = getattr(metrics, name)
    assert measure(LISTS, TEST, k) == pytest.approx(expected, abs=1e-12)
    as_dict = {user: row[:k].tolist() for user, row in enumerate(LISTS)}
    assert measure(as_dict, TEST) == pytest.approx(expected, abs=1e-12)
    shuffled = np.random.default_rng(0).permutation(len(LISTS))
    assert measure(LISTS[shuffled], TEST, k, users=shuffled) == pytest.approx(expected, abs=1e-12)
    assert measure(LISTS, TEST.to_matrix(), k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_are_those_of_evaluate_for_short_lists_of_names(name):
    train, test = named(TRAIN), named(TEST)
    model = EASE(regularization=20.0).fit(train)
    pool = [f"i{i}" for i in range(0, 60, 4)]
    ids, _ = model.recommend(n=12, candidates=pool)
    assert (ids == "").any()
    # of what evaluate ranks, recommend lists what is of the pool: leave out all else
    cells = np.ones(train.shape)
    cells[:, ::4] = 0
    cells[test.to_matrix().toarray() != 0] = 0
    kept = test.select(np.isin(test.item_ids[test.indices], pool))
    others = Ratings.from_matrix(
        sparse.csr_array(cells), user_ids=train.user_ids, item_ids=train.item_ids
    )
    rest = test.select(~np.isin(test.item_ids[test.indices], pool))
    expected = model.evaluate(
        kept,
        f"{name}@12",
        exclude=Ratings.from_matrix(
            others.to_matrix() + rest.to_matrix(),
            user_ids=train.user_ids,
            item_ids=train.item_ids,
        ),
    )
    assert getattr(metrics, name)(ids, kept, 12) == pytest.approx(*expected.values(), abs=1e-12)


def test_unknown_items_are_no_positives_and_short_lists_count_as_long():
    test = Ratings.from_arrays([1, 2], [10, 11], [5, 5])
    lists = {1: [999, 10], 2: [11], 3: [10]}
    assert metrics.precision(lists, test) == 0.5
    assert metrics.mrr(lists, test) == 0.75
    assert metrics.hit_rate(lists, test, 1) == 0.5
    assert metrics.recall([[], []], test) == 0.0
    assert metrics.mrr([[], []], test) == 0.0


@pytest.mark.parametrize(
    ("lists", "options", "message"),
    [
        ([[1]], {}, r"must have a list for each of the 80 users, but it has 1\."),
        ({0: [1]}, {}, r"must have one for every user with a test rating, but \d+ have none"),
        (LISTS[:, [0, 1, 0]], {}, r"must not repeat an item"),
        (LISTS[0], {}, r"must have two dimensions, users x n"),
        (LISTS.astype(str), {}, r"must be integers, as the item ids of the ratings are"),
        (LISTS, {"k": 0}, r"k must be an integer of at least 1"),
        (LISTS, {"users": ["a"] * 80}, r"unique"),
        ({0: [1]}, {"users": [0]}, r"users must not be given where lists is a dict"),
    ],
)
def test_what_are_no_lists_is_refused_by_name(lists, options, message):
    with pytest.raises(ValueError, match=message):
        metrics.ndcg(lists, TEST, **options)


class TestDiversity:
    def test_is_the_mean_distance_of_pairs(self):
        rng = np.random.default_rng(1)
        vectors = rng.standard_normal((20, 5))
        lists = [rng.choice(20, size, replace=False) for size in (2, 6, 4, 1, 0)]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        expected = []
        for items in lists[:3]:
            cosines = unit[items] @ unit[items].T
            expected.append(1 - cosines[np.triu_indices(len(items), 1)].mean())
        assert metrics.diversity(lists, vectors) == pytest.approx(np.mean(expected), abs=1e-6)
        ids = [f"i{i}" for i in range(20)]
        given = [[ids[i] for i in items] for items in lists]
        again = metrics.diversity(given, sparse.coo_array(vectors), item_ids=ids)
        assert again == pytest.approx(np.mean(expected), abs=1e-6)

    def test_takes_a_vector_of_zeros_for_one_unlike_all(self):
        assert metrics.diversity([[0, 1]], [[0, 0], [1, 0]]) == 1.0

    def test_is_nan_without_a_pair(self):
        assert np.isnan(metrics.diversity([[0], []], np.eye(2)))

    def test_refuses_items_without_a_vector(self):
        with pytest.raises(ValueError, match=r"lists must be among the 2 item ids"):
            metrics.diversity([[0, 5]], np.eye(2))


@pytest.mark.parametrize("lists", [[7] * 80, ["i7"] * 80])
def test_ids_are_no_lists(lists):
    with pytest.raises(TypeError, match=r"lists must be lists of item ids, but one is '?i?7"):
        metrics.ndcg(lists, TEST)
