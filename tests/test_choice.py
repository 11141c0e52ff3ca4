"""Who may be recommended what: `candidates` and `exclude` in all their forms."""

from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from isthmus import EASE, AutoRec, Ratings, Recommender, synthetic_ratings
from isthmus.evaluation import recommend
from isthmus.evaluation.scores import Vectors

N_USERS, N_ITEMS = 30, 40
TRAIN = synthetic_ratings(N_USERS, N_ITEMS, 400, random_state=1)
MODEL = EASE(regularization=10.0).fit(TRAIN)
RATES = AutoRec(hidden_units=(4,), epochs=2, random_state=0).fit(TRAIN)
RNG = np.random.default_rng(5)
LISTS = [RNG.choice(N_ITEMS, RNG.integers(1, 20), replace=False).tolist() for _ in range(N_USERS)]


def as_matrix(lists):
    matrix = sparse.lil_array((len(lists), N_ITEMS))
    for row, items in enumerate(lists):
        matrix[row, items] = 1
    return matrix.tocsr()


def as_known(lists, users=None):
    return Ratings.from_matrix(as_matrix(lists), user_ids=users)


def seen_by(user):
    return TRAIN.indices[TRAIN.indptr[user] : TRAIN.indptr[user + 1]]


@pytest.mark.parametrize("model", [MODEL, RATES], ids=["products", "likely"])
@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("long", [0, 0.2, 1])
def test_lists_hold_the_best_of_each_users_own(model, exclude_seen, long, monkeypatch):
    monkeypatch.setattr(recommend, "_LONG", long)
    everything, all_scores = model.recommend(n=N_ITEMS, exclude_seen=False)
    ids, scores = model.recommend(n=5, candidates=LISTS, exclude_seen=exclude_seen)
    for user in range(N_USERS):
        gone = seen_by(user) if exclude_seen else []
        allowed = np.isin(everything[user], LISTS[user]) & ~np.isin(everything[user], gone)
        wanted = everything[user][allowed][:5]
        np.testing.assert_array_equal(ids[user][: len(wanted)], wanted)
        np.testing.assert_allclose(
            scores[user][: len(wanted)], all_scores[user][allowed][:5], rtol=1e-5, atol=1e-6
        )
        assert (ids[user][len(wanted) :] == -1).all()
        assert np.isnan(scores[user][len(wanted) :]).all()


@pytest.mark.parametrize("option", ["candidates", "exclude"])
def test_lists_matrices_and_ratings_say_the_same(option):
    wanted = MODEL.recommend(n=5, **{option: LISTS})
    for given in (as_matrix(LISTS), as_known(LISTS), [np.array(one) for one in LISTS]):
        for got, expected in zip(MODEL.recommend(n=5, **{option: given}), wanted, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_matrix_has_the_models_users_whoever_is_asked_for():
    users = [9, 3, 9]
    wanted = MODEL.recommend(users, n=5, candidates=[LISTS[user] for user in users])
    for got, expected in zip(
        MODEL.recommend(users, n=5, candidates=as_matrix(LISTS)), wanted, strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_columns_of_tables_are_lists():
    pool = [3, 5, 8, 13]
    wanted, _ = MODEL.recommend(n=5, candidates=pool)
    for given in (pa.array(pool), pd.Series(pool), pl.Series(pool), tuple(pool), set(pool)):
        np.testing.assert_array_equal(MODEL.recommend(n=5, candidates=given)[0], wanted)
    one, _ = MODEL.recommend(n=5, candidates=[7])
    for given in (7, np.int64(7), np.array(7)):
        np.testing.assert_array_equal(MODEL.recommend(n=5, candidates=given)[0], one)
    wanted, _ = MODEL.recommend(n=5, candidates=LISTS)
    for given in (pd.Series(LISTS), [set(one) for one in LISTS], [pd.Series(one) for one in LISTS]):
        np.testing.assert_array_equal(MODEL.recommend(n=5, candidates=given)[0], wanted)


def test_ratings_are_matched_by_user():
    some = as_known([LISTS[4], LISTS[2]], users=[4, 2])
    ids, _ = MODEL.recommend([2, 4, 5], n=5, candidates=some)
    wanted, _ = MODEL.recommend([2, 4, 5], n=5, candidates=[LISTS[2], LISTS[4], []])
    np.testing.assert_array_equal(ids, wanted)


@pytest.mark.parametrize("candidates", [None, [3, 5, 8, 13, 21, 34], LISTS])
@pytest.mark.parametrize("exclude", [7, [8, 13, 2], [[8, u] for u in range(N_USERS)], LISTS[::-1]])
def test_excluded_items_are_in_no_list(candidates, exclude):
    ids, _ = MODEL.recommend(n=N_ITEMS, candidates=candidates, exclude=exclude)
    by_user = isinstance(exclude, list) and isinstance(exclude[0], list)
    for user in range(N_USERS):
        pool = range(N_ITEMS) if candidates is None else candidates
        own = pool[user] if candidates is LISTS else pool
        out = exclude[user] if by_user else np.atleast_1d(exclude).tolist()
        left = set(own) - set(out) - set(seen_by(user).tolist())
        assert set(ids[user][ids[user] >= 0].tolist()) == left


def test_newcomers_have_lists_and_matrices_of_their_own():
    new = TRAIN.to_matrix()[[4, 6]]
    lists = [LISTS[4], LISTS[6]]
    wanted = MODEL.recommend([4, 6], n=5, candidates=lists, exclude=[[3], [5]])
    for candidates in (lists, as_matrix(lists)):
        got = MODEL.recommend(ratings=new, n=5, candidates=candidates, exclude=[[3], [5]])
        np.testing.assert_array_equal(got[0], wanted[0])
    with pytest.raises(ValueError, match=r"candidates must have the users of ratings in the same"):
        MODEL.recommend(ratings=new, candidates=as_matrix(LISTS))


def test_equals_are_in_the_models_order_and_blocks_do_not_matter(monkeypatch):
    class Levels(Recommender, abstract=True):
        """Scores of few levels, and some that are NaN."""

        def fit(self, X, *, validation=None):
            self._remember(X)
            self._fitted = True
            return self

        def _vectors(self):
            levels = (np.arange(N_ITEMS) * 7 % 5).astype(np.float32)
            levels[[3, 17]] = np.nan
            return Vectors(np.ones((N_USERS, 1), np.float32), levels[:, np.newaxis])

    model = Levels().fit(TRAIN)
    expected = [model.recommend(u, n=6, candidates=LISTS[u]) for u in range(N_USERS)]
    for places, long in product((1 << 22, 100, 25, 1), (0, 0.2, 1)):
        monkeypatch.setattr(recommend, "_PLACES", places)
        monkeypatch.setattr(recommend, "_LONG", long)
        ids, scores = model.recommend(n=6, candidates=LISTS)
        for user, (one, values) in enumerate(expected):
            np.testing.assert_array_equal(ids[user], one)
            np.testing.assert_array_equal(scores[user], values)


def test_lists_of_a_result_may_be_given_back_with_their_ends():
    first, _ = MODEL.recommend(n=N_ITEMS, candidates=LISTS)
    assert (first == -1).any()
    again, _ = MODEL.recommend(n=N_ITEMS, candidates=first)
    np.testing.assert_array_equal(again, first)


def test_names_are_ids_and_no_lists():
    ratings = Ratings(TRAIN.rows("user"), item_ids=[f"i{i:02}" for i in range(N_ITEMS)])
    model = EASE(regularization=10.0).fit(ratings)
    one, _ = model.recommend(3, n=2, candidates="i07", exclude_seen=False)
    assert one.tolist() == ["i07", ""]
    ids, _ = model.recommend([3, 4], n=1, candidates=[["i07"], ["i09"]], exclude_seen=False)
    assert ids.tolist() == [["i07"], ["i09"]]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([[1, 2]], ValueError, r"must have a list for each of the 2 users, but it has 1 lists\."),
        ([[1, 2], 3], ValueError, r"but besides lists it has 3\."),
        ({1: [2]}, TypeError, r"must be item ids, a list of them for each user, .* is a dict\."),
        ([[1], [99]], ValueError, r"must be among the 40 item ids of the ratings, but 99 is not"),
        ([["a"], ["b"]], ValueError, r"must be integers, as the item ids of the ratings are"),
        (
            np.ones((2, 2, 2), int),
            ValueError,
            r"must be lists of item ids, but they are lists of lists",
        ),
        (sparse.csr_array(np.eye(2)), ValueError, r"must be a matrix of 30 users x 40 items"),
    ],
)
@pytest.mark.parametrize("option", ["candidates", "exclude"])
def test_what_is_no_choice_is_refused_by_name(option, given, error, message):
    with pytest.raises(error, match=message) as caught:
        MODEL.recommend([1, 2], **{option: given})
    assert str(caught.value).startswith(option)
