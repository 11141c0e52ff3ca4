import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from isthmus.data.io import read_ratings
from isthmus.data.ratings import Ratings
from isthmus.data.splits import kfold, leave_one_out, mask_split, split_off, train_test_split


def made(n=200, seed=0, *, timestamps=True):
    """Ratings whose values are all different, so that a rating is known by its value."""
    random = np.random.default_rng(seed)
    cell = random.choice(20 * 30, n, replace=False)
    stamps = random.integers(0, 50, n) if timestamps else None
    return Ratings.from_arrays(
        cell // 30, cell % 30 + 100, random.permutation(n), stamps, user_ids=np.arange(20)
    )


def check_parts(ratings, train, test):
    """No rating is lost or in both parts, and each is where and when it was."""
    for part in (train, test):
        assert part.shape == ratings.shape
        assert part.has_same_ids(ratings)
        dense = part.to_matrix().toarray()
        np.testing.assert_array_equal(dense[dense != 0], ratings.to_matrix().toarray()[dense != 0])
    assert sorted([*train.values, *test.values]) == sorted(ratings.values)
    if ratings.timestamps is not None:
        when = dict(zip(ratings.values, ratings.timestamps, strict=True))
        assert [when[value] for value in test.values] == test.timestamps.tolist()


class TestTrainTest:
    @given(
        st.integers(4, 200),
        st.integers(0, 9),
        st.sampled_from(["rating", "time"]),
        st.floats(0.3, 0.7),
    )
    def test_a_share_of_all(self, n, seed, by, share):
        ratings = made(n, seed)
        train, test = train_test_split(ratings, test_size=share, random_state=seed, by=by)
        check_parts(ratings, train, test)
        assert test.nnz == int(share * n + 1e-9)

    @given(
        st.integers(60, 200),
        st.integers(0, 9),
        st.sampled_from(["user", "user_time"]),
        st.one_of(st.floats(0.4, 0.9), st.integers(1, 2)),
    )
    def test_a_portion_of_each_user(self, n, seed, by, size):
        ratings = made(n, seed)
        train, test = train_test_split(ratings, test_size=size, random_state=seed, by=by)
        check_parts(ratings, train, test)
        count = np.diff(ratings.indptr)
        taken = np.floor(count * size + 1e-9) if isinstance(size, float) else np.full(20, size)
        np.testing.assert_array_equal(np.diff(test.indptr), np.where(taken < count, taken, 0))

    def test_a_number_of_ratings(self):
        assert train_test_split(made(), test_size=7, random_state=0)[1].nnz == 7

    def test_a_share_that_floats_miss_by_a_little(self):
        assert train_test_split(made(100), test_size=0.29, random_state=0)[1].nnz == 29

    def test_by_time_takes_the_latest(self):
        train, test = train_test_split(made(), test_size=0.25, by="time")
        assert train.timestamps.max() <= test.timestamps.min()

    def test_by_user_time_takes_the_latest_of_each_user(self):
        train, test = train_test_split(made(), test_size=2, by="user_time")
        for user in range(20):
            earlier = train.timestamps[train.indptr[user] : train.indptr[user + 1]]
            later = test.timestamps[test.indptr[user] : test.indptr[user + 1]]
            assert len(later) == 0 or earlier.max() <= later.min()

    @pytest.mark.parametrize("by", ["rating", "user"])
    def test_a_seed_fixes_the_split(self, by):
        def values(random_state):
            return train_test_split(made(), random_state=random_state, by=by)[1].values.tolist()

        assert values(3) == values(3) == values(np.random.default_rng(3)) == values(np.int64(3))
        assert values(3) != values(4)

    def test_known_split(self):
        _, test = train_test_split(made(), test_size=4, random_state=0)
        assert test.values.tolist() == [161, 108, 0, 39]

    def test_every_rating_is_as_likely_to_be_taken(self):
        ratings, taken = made(40), np.zeros(40)
        random = np.random.default_rng(0)
        for _ in range(2000):
            _, test = train_test_split(ratings, test_size=0.25, random_state=random)
            taken[test.values.astype(int)] += 1
        # 500 expected, with a standard deviation of 19.4.
        assert 400 < taken.min() <= taken.max() < 600

    def test_an_item_in_test_alone_is_an_empty_column_of_train(self):
        ratings = Ratings.from_arrays([1, 1, 2], [5, 6, 5], [1, 2, 3], [1, 9, 2])
        train, test = train_test_split(ratings, test_size=1, by="time")
        assert train.item_ids.tolist() == [5, 6]
        assert train.to_matrix().toarray().tolist() == [[1, 0], [3, 0]]
        assert test.to_matrix().toarray().tolist() == [[0, 2], [0, 0]]

    def test_a_sparse_matrix_will_do(self):
        train, test = train_test_split(sparse.csr_array(np.eye(10)), random_state=0)
        assert (train.nnz, test.nnz) == (9, 1)


class TestLeaveOneOut:
    def test_random(self):
        ratings = made(40)
        train, test = leave_one_out(ratings, random_state=0)
        check_parts(ratings, train, test)
        np.testing.assert_array_equal(np.diff(test.indptr), np.diff(ratings.indptr) > 1)

    def test_latest(self):
        train, test = leave_one_out(made(), by="time")
        for user in range(20):
            earlier = train.timestamps[train.indptr[user] : train.indptr[user + 1]]
            assert earlier.max() <= test.timestamps[test.indptr[user]]


class TestKFold:
    @given(st.integers(2, 7), st.integers(7, 60))
    def test_each_rating_is_tested_once(self, n_splits, n):
        ratings = made(n)
        parts = list(kfold(ratings, n_splits, random_state=0))
        assert len(parts) == n_splits
        for train, test in parts:
            check_parts(ratings, train, test)
            assert test.nnz in (n // n_splits, n // n_splits + 1)
        assert sorted(np.concatenate([test.values for _, test in parts])) == sorted(ratings.values)


class TestMaskSplit:
    def test_in_stored_order(self):
        ratings = made(6)
        mask = np.array([True, False, False, True, False, False])
        train, test = mask_split(ratings, mask)
        check_parts(ratings, train, test)
        np.testing.assert_array_equal(test.values, ratings.values[mask])

    def test_in_the_order_of_a_file(self):
        users, items, values = [3, 1, 2, 1], [5, 5, 6, 4], [10, 20, 30, 40]
        ratings = Ratings.from_arrays(users, items, values)
        mask = [False, True, True, False]
        _, test = mask_split(ratings, mask, users=users, items=items)
        assert sorted(test.values) == [20, 30]

    @pytest.mark.data
    def test_the_published_split_of_movielens_1m(self, data_dir):
        path = data_dir / "ml-1m" / "ratings.npz"
        ratings = read_ratings(path)
        with np.load(path) as file:
            probe, truth = file["bpmf_probe"], file["rating"][file["bpmf_probe"]]
            users, items = file["user_id"][file["user"]], file["item_id"][file["item"]]
        train, test = mask_split(ratings, probe, users=users, items=items)
        assert (train.nnz, test.nnz) == (900_000, 100_209)
        order = test.cell_index(users[probe], items[probe])
        np.testing.assert_array_equal(test.values[order], truth)


PLAIN = made(timestamps=False)
SINGLE = Ratings.from_arrays([1, 2], [1, 2], [3, 4])

BAD = {
    "size type": (
        lambda: train_test_split(PLAIN, test_size="0.1"),
        *(TypeError, r"test_size must be a float or an integer, but it was '0\.1'\."),
    ),
    "size bool": (lambda: train_test_split(PLAIN, test_size=True), TypeError, r"but it was True"),
    "size 0": (lambda: train_test_split(PLAIN, test_size=0), ValueError, r"at least 1 .* was 0\."),
    "share 1": (
        lambda: train_test_split(PLAIN, test_size=1.0),
        *(ValueError, r"test_size must lie between 0 and 1 as a share, but it was 1\.0\."),
    ),
    "share nan": (lambda: train_test_split(PLAIN, test_size=np.nan), ValueError, r"it was nan\."),
    "share of nothing": (
        lambda: train_test_split(PLAIN, test_size=0.001),
        *(ValueError, r"leave ratings in both parts, but 0\.001 takes 0 of 200\."),
    ),
    "size all": (
        lambda: train_test_split(PLAIN, test_size=200),
        *(ValueError, r"leave ratings in both parts, but 200 takes 200 of 200\."),
    ),
    "size of users": (
        lambda: train_test_split(PLAIN, test_size=30, by="user"),
        *(ValueError, r"take ratings of some user, but 30 takes none where the most active user"),
    ),
    "by": (
        lambda: train_test_split(PLAIN, by="item"),
        *(ValueError, r"by must be one of 'rating', .*, 'user_time', but it was 'item'\."),
    ),
    "size of another name": (
        lambda: split_off(PLAIN, 1.5, name="share", random_state=0, by="rating"),
        *(ValueError, r"^share must lie between 0 and 1 as a share, but it was 1\.5\."),
    ),
    "size of another name that takes all": (
        lambda: split_off(PLAIN, 0.001, name="share", random_state=0, by="rating"),
        *(ValueError, r"^share must leave ratings in both parts"),
    ),
    "size of another name that takes none of users'": (
        lambda: split_off(PLAIN, 30, name="share", random_state=0, by="user"),
        *(ValueError, r"^share must take ratings of some user"),
    ),
    "no timestamps": (
        lambda: train_test_split(PLAIN, by="time"),
        *(ValueError, r"ratings must have timestamps to be split by time, but has none"),
    ),
    "no timestamps of users": (
        lambda: leave_one_out(PLAIN, by="time"),
        *(ValueError, r"ratings must have timestamps"),
    ),
    "seed type": (
        lambda: train_test_split(PLAIN, random_state="x"),
        *(TypeError, r"random_state must be an integer, .* or None, but it was 'x' \(str\)\."),
    ),
    "seed sign": (
        lambda: train_test_split(PLAIN, random_state=-1),
        *(ValueError, r"random_state must lie in \[0, 2\*\*64\) .* but it was -1\."),
    ),
    "no matrix": (lambda: train_test_split([[1]]), TypeError, r"X must be Ratings or a scipy"),
    "leave by": (lambda: leave_one_out(PLAIN, by="x"), ValueError, r"'random', 'time', .* 'x'"),
    "leave single": (lambda: leave_one_out(SINGLE), ValueError, r"a user with two ratings or more"),
    "one fold": (
        lambda: kfold(PLAIN, 1),
        ValueError,
        r"n_splits must be .* from 2 to 200, .* 1\.",
    ),
    "many folds": (lambda: kfold(PLAIN, 201), ValueError, r"from 2 to 200, but it was 201\."),
    "half folds": (lambda: kfold(PLAIN, 2.5), TypeError, r"n_splits must be an integer .* 2\.5"),
    "mask type": (lambda: mask_split(SINGLE, [1, 0]), TypeError, r"mask must hold booleans, .*int"),
    "mask length": (lambda: mask_split(SINGLE, [True]), ValueError, r"mask must have shape \(2,\)"),
    "mask all": (lambda: mask_split(SINGLE, [True] * 2), ValueError, r"but it marks all of them"),
    "mask none": (
        lambda: mask_split(SINGLE, [False] * 2),
        ValueError,
        r"but it marks none of them",
    ),
    "mask users": (
        lambda: mask_split(SINGLE, [True, False], users=[1, 2]),
        *(ValueError, r"users and items must be given together, but one of them is missing"),
    ),
    "mask of pairs": (
        lambda: mask_split(SINGLE, [True], users=[1, 2], items=[1, 2]),
        *(ValueError, r"mask must have one entry for each of users, 2, but its shape is \(1,\)"),
    ),
    "mask of a pair twice": (
        lambda: mask_split(SINGLE, [True, False], users=[1, 1], items=[1, 1]),
        *(ValueError, r"users and items must not repeat a pair"),
    ),
    "mask of no rating": (
        lambda: mask_split(SINGLE, [True], users=[1], items=[2]),
        *(
            ValueError,
            r"must be pairs with a rating, but 1 of 1 have none, first user 1 and item 2",
        ),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
