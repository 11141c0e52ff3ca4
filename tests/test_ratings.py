import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from isthmus.data.ratings import CSR, Ratings, as_ratings

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


def example():
    return Ratings.from_arrays(
        [30, 10, 10, 20], ["b", "a", "c", "b"], [0, 4, -1.5, 5], [7, 8, 9, 6]
    )


def cells(ratings):
    users, items, values, stamps = ratings.to_arrays()
    stamps = [None] * len(values) if stamps is None else stamps.tolist()
    return list(zip(users.tolist(), items.tolist(), values.tolist(), stamps, strict=True))


def random_csr():
    dense = np.random.default_rng(0).random((20, 30), np.float32)
    return sparse.csr_array(np.where(dense < 0.2, dense, 0))


def memory_owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


@st.composite
def distinct_cells(draw):
    n_users, n_items = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)),
            min_size=1,
            unique=True,
        )
    )
    values = draw(st.lists(st.integers(-5, 5), min_size=len(pairs), max_size=len(pairs)))
    users, items = np.array(pairs, dtype=np.int32).T
    return users, items, np.array(values, np.float32), (n_users, n_items)


class TestFromArrays:
    def test_cells_are_sorted_and_zeros_and_negative_ratings_stay(self):
        assert cells(example()) == [
            (10, "a", 4.0, 8),
            (10, "c", -1.5, 9),
            (20, "b", 5.0, 6),
            (30, "b", 0.0, 7),
        ]

    def test_types(self):
        ratings = example()
        assert ratings.indptr.dtype == np.int64
        assert ratings.indices.dtype == np.int32
        assert ratings.values.dtype == np.float32
        assert ratings.timestamps.dtype == np.int64
        assert ratings.user_ids.dtype == np.int64
        assert ratings.item_ids.dtype.kind == "U"

    def test_arrays_are_read_only(self):
        ratings = example()
        for array in (ratings.indptr, ratings.indices, ratings.values, ratings.user_ids):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1

    @given(distinct_cells(), st.randoms(use_true_random=False))
    def test_the_order_of_the_arrays_does_not_matter(self, data, shuffler):
        users, items, values, _ = data
        order = list(range(len(values)))
        shuffler.shuffle(order)
        once = Ratings.from_arrays(users, items, values, values)
        again = Ratings.from_arrays(users[order], items[order], values[order], values[order])
        assert cells(once) == cells(again)
        assert once.nnz == len(values)

    @given(distinct_cells())
    def test_given_ids_set_the_shape_and_the_order(self, data):
        users, items, values, (n_users, n_items) = data
        user_ids, item_ids = np.arange(n_users)[::-1], np.arange(n_items)
        ratings = Ratings.from_arrays(users, items, values, user_ids=user_ids, item_ids=item_ids)
        assert ratings.shape == (n_users, n_items)
        dense = np.zeros((n_users, n_items), np.float32)
        dense[users, items] = values
        np.testing.assert_array_equal(ratings.to_matrix().toarray(), dense[::-1])

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)), min_size=1))
    def test_duplicates_are_merged_as_a_loop_would(self, rows):
        users, items, values = (list(column) for column in zip(*rows, strict=True))
        stamps = list(range(len(rows)))[::-1]
        grouped = {}
        for user, item, value, stamp in zip(users, items, values, stamps, strict=True):
            grouped.setdefault((user, item), []).append((value, stamp))
        mean = [
            (
                *pair,
                float(np.float32(sum(v for v, _ in group) / len(group))),
                max(t for _, t in group),
            )
            for pair, group in sorted(grouped.items())
        ]
        last = [
            (*pair, float(group[-1][0]), group[-1][1]) for pair, group in sorted(grouped.items())
        ]
        assert cells(Ratings.from_arrays(users, items, values, stamps, duplicates="mean")) == mean
        assert cells(Ratings.from_arrays(users, items, values, stamps, duplicates="last")) == last

    def test_booleans_are_ones_and_zeros(self):
        assert Ratings.from_arrays([1, 2], [1, 1], [True, False]).values.tolist() == [1, 0]

    def test_points_in_time_become_seconds(self):
        when = np.array(["2000-12-31T22:12:40.9"], "datetime64[ms]")
        assert Ratings.from_arrays([1], [1], [5], when).timestamps.tolist() == [978300760]


class TestFromMatrix:
    @given(distinct_cells(), st.sampled_from(["csr", "csc", "coo", "lil", "dok"]))
    def test_every_format_keeps_every_stored_cell(self, data, format):
        users, items, values, shape = data
        coo = sparse.coo_array((values, (users, items)), shape=shape)
        ratings = Ratings.from_matrix(coo.asformat(format))
        assert ratings.shape == shape
        expected = Ratings.from_arrays(
            users, items, values, user_ids=np.arange(shape[0]), item_ids=np.arange(shape[1])
        )
        assert cells(ratings) == cells(expected)

    @pytest.mark.parametrize("format", FORMATS)
    @pytest.mark.parametrize("kind", ["array", "matrix"])
    @pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float64, np.bool_])
    def test_types_and_kinds(self, format, kind, dtype):
        make = getattr(sparse, f"csr_{kind}")
        X = make(np.eye(3, dtype=dtype)).asformat(format)
        assert cells(Ratings.from_matrix(X)) == [(i, i, 1.0, None) for i in range(3)]

    @pytest.mark.parametrize("index", [np.int32, np.int64])
    def test_both_index_types(self, index):
        X = sparse.csr_array(np.diag([1.0, 2.0, 3.0]).astype(np.float32))
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        ratings = Ratings.from_matrix(X)
        assert (ratings.indptr.dtype, ratings.indices.dtype) == (np.int64, np.int32)
        assert ratings.values.tolist() == [1, 2, 3]

    def test_a_float32_csr_is_not_copied(self):
        X = random_csr()
        ratings = Ratings.from_matrix(X)
        assert np.shares_memory(ratings.values, X.data)
        assert np.shares_memory(ratings.indices, X.indices)
        assert X.data.flags.writeable

    def test_memory_maps_stay_memory_maps(self, tmp_path):
        source = random_csr()
        arrays = []
        for name, array in (("data", source.data), ("indices", source.indices)):
            np.save(tmp_path / f"{name}.npy", array)
            arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
        X = sparse.csr_array((*arrays, source.indptr), shape=source.shape)
        for made in (
            Ratings.from_matrix(X),
            Ratings(CSR(source.indptr.astype(np.int64), arrays[1], arrays[0], source.shape)),
        ):
            assert isinstance(memory_owner(made.values), np.memmap)
            assert isinstance(memory_owner(made.indices), np.memmap)

    def test_unsorted_rows_are_sorted_and_the_matrix_stays_as_it_was(self):
        X = sparse.csr_array(([1.0, 2.0, 3.0], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
        assert Ratings.from_matrix(X).indices.tolist() == [0, 2, 1]
        assert X.indices.tolist() == [2, 0, 1]

    def test_duplicates_are_not_added_up(self):
        X = sparse.coo_array(([1.0, 4.0], ([0, 0], [1, 1])), shape=(1, 2))
        with pytest.raises(ValueError, match=r"first that of user 0 and item 1; pass duplicates="):
            Ratings.from_matrix(X)
        assert Ratings.from_matrix(X, duplicates="mean").values.tolist() == [2.5]

    def test_spare_room_behind_the_last_cell_is_no_rating(self):
        X = sparse.csr_array(np.eye(2, dtype=np.float32))
        X.data, X.indices = np.append(X.data, np.nan), np.append(X.indices, 77)
        assert Ratings.from_matrix(X).nnz == 2

    def test_ids(self):
        X = sparse.csr_array(np.eye(2, dtype=np.float32))
        ratings = Ratings.from_matrix(X, user_ids=["x", "y"], item_ids=[5, 3])
        assert cells(ratings) == [("x", 5, 1.0, None), ("y", 3, 1.0, None)]

    def test_as_ratings_is_the_door_for_both(self):
        ratings = example()
        assert as_ratings(ratings) is ratings
        assert as_ratings(sparse.csr_matrix(np.eye(2))).nnz == 2


class TestFromFrame:
    @pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
    def test_backends(self, make):
        frame = make(
            {"movieId": ["b", "a"], "user_id": [2, 1], "Rating": [0.0, 3.5], "timestamp": [5, 6]}
        )
        assert cells(Ratings.from_frame(frame)) == [(1, "a", 3.5, 6), (2, "b", 0.0, 5)]

    @pytest.mark.parametrize("backend", ["pyarrow", "pandas", "polars"])
    def test_round_trip(self, backend):
        assert cells(Ratings.from_frame(example().to_frame(backend))) == cells(example())

    def test_named_columns_and_implicit_ratings(self):
        frame = pd.DataFrame({"who": [1, 2], "what": [3, 4], "rating": [9, 9]})
        ratings = Ratings.from_frame(frame, user="who", item="what", implicit=True)
        assert ratings.values.tolist() == [1, 1]

    def test_columns_whose_names_are_integers(self):
        frame = pd.DataFrame([[1, 2, 3.0], [4, 5, 6.0]])  # as pandas.read_csv(header=None) gives
        expected = [(1, 2, 3.0, None), (4, 5, 6.0, None)]
        for columns in ([0, 1, 2], [2, 0, 1]):
            ratings = Ratings.from_frame(frame[columns], user=0, item=1, rating=2)
            assert cells(ratings) == expected

    def test_columns_that_are_none_of_the_four_may_have_any_name(self):
        frame = pd.DataFrame({"user": [1], "item": [2], "rating": [3.0], 0: ["x"], ("a", "b"): 1})
        assert cells(Ratings.from_frame(frame)) == [(1, 2, 3.0, None)]

    def test_unused_categories_are_no_users(self):
        users = pd.Categorical(["b", "a"], categories=["z", "b", "a"])
        frame = pd.DataFrame({"user": users, "item": [1, 2], "rating": [3, 4]})
        assert Ratings.from_frame(frame).user_ids.tolist() == ["a", "b"]

    def test_sliced_and_chunked_tables(self):
        table = example().to_frame()
        chunked = pa.concat_tables([table.slice(0, 1), table.slice(2, 2)])
        assert cells(Ratings.from_frame(chunked)) == [cells(example())[i] for i in (0, 2, 3)]

    def test_other_number_and_time_types(self):
        frame = pl.DataFrame(
            {"user": [1], "item": [2], "rating": ["3.5"], "time": ["2000-12-31 22:12:40"]}
        ).with_columns(pl.col("rating").cast(pl.Decimal(8, 2)), pl.col("time").str.to_datetime())
        assert cells(Ratings.from_frame(frame)) == [(1, 2, 3.5, 978300760)]

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "UTC"])
    def test_times_are_rounded_down_as_those_of_arrays(self, unit, zone):
        times = np.array([-1500, -1000, -1, 0, 1500], "datetime64[ms]").astype(
            f"datetime64[{unit}]"
        )
        ones = np.ones(5)
        frame = {"user": range(5), "item": ones.astype(int), "rating": ones}
        frame["time"] = pa.array(times).cast(pa.timestamp(unit, zone))
        of_frame = Ratings.from_frame(pa.table(frame)).timestamps
        of_arrays = Ratings.from_arrays(frame["user"], frame["item"], ones, times).timestamps
        assert of_frame.tolist() == of_arrays.tolist() == [-2, -1, -1, 0, 1]

    def test_days(self):
        day = pa.array([-1, 1], pa.date32())
        frame = pa.table({"user": [1, 2], "item": [1, 1], "rating": [3, 4], "date": day})
        assert Ratings.from_frame(frame).timestamps.tolist() == [-86400, 86400]


class TestUse:
    def test_repr(self):
        assert repr(example()) == "Ratings(3 users x 3 items, 4 ratings in [-1.5, 5])"

    def test_summary(self):
        ratings = example()
        assert (ratings.n_users, ratings.n_items, ratings.nnz) == (3, 3, 4)
        assert (ratings.min, ratings.max, ratings.mean) == (-1.5, 5.0, 1.875)
        assert ratings.density == pytest.approx(4 / 9)

    def test_ids_are_found_in_any_shape(self):
        ratings = example()
        assert ratings.user_index(30) == 2
        assert ratings.user_index([[30, 10], [20, 20]]).tolist() == [[2, 0], [1, 1]]
        assert ratings.item_index(pd.Series(["c", "a"])).tolist() == [2, 0]
        assert ratings.item_index("b") == 1
        assert ratings.user_index([]).shape == (0,)

    @given(st.sets(st.integers(0, 2**63 - 1), min_size=1), st.randoms(use_true_random=False))
    def test_integer_ids_far_and_near(self, ids, shuffler):
        ids = list(ids)
        shuffler.shuffle(ids)
        ratings = Ratings.from_arrays(ids, [0] * len(ids), [1] * len(ids), user_ids=ids)
        assert ratings.user_index(ids).tolist() == list(range(len(ids)))
        absent = next(n for n in range(len(ids) + 1) if n not in ids)
        with pytest.raises(ValueError, match=f"but {absent} is not"):
            ratings.user_index([ids[0], absent])

    @given(distinct_cells())
    def test_rows_of_items_are_the_transpose(self, data):
        users, items, values, shape = data
        ratings = Ratings.from_matrix(sparse.coo_array((values, (users, items)), shape=shape))
        by_item = ratings.rows("item")
        assert by_item.shape == shape[::-1]
        assert (by_item.indptr.dtype, by_item.indices.dtype) == (np.int64, np.int32)
        swapped = Ratings.from_matrix(sparse.coo_array((values, (items, users)), shape=shape[::-1]))
        for ours, theirs in zip(by_item[:3], swapped.rows("user")[:3], strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_cells_are_found(self):
        ratings = example()
        assert ratings.cell_index([30, 10], ["b", "c"]).tolist() == [3, 1]
        with pytest.raises(ValueError, match=r"1 of 2 have none, first user 30 and item 'a'"):
            ratings.cell_index([10, 30], ["c", "a"])

    def test_select_keeps_users_items_and_timestamps(self):
        part = example().select([False, True, False, True])
        assert part.shape == (3, 3)
        assert cells(part) == [cells(example())[i] for i in (1, 3)]

    def test_binarize(self):
        assert cells(example().binarize(4)) == [(10, "a", 1.0, 8), (20, "b", 1.0, 6)]

    def test_k_core_goes_on_until_nothing_is_left_to_drop(self):
        # Item 9 has one rating; without it user 3 has one, and without that item 8 has one.
        ratings = Ratings.from_arrays(
            [1, 1, 2, 2, 3, 3, 4, 4], [5, 6, 5, 6, 9, 8, 8, 5], [1, 2, 3, 4, 5, 6, 7, 8]
        )
        core = ratings.k_core(users=2, items=2)
        assert [cell[:3] for cell in cells(core)] == [(1, 5, 1), (1, 6, 2), (2, 5, 3), (2, 6, 4)]
        assert core.shape == (2, 2)

    def test_pickle(self):
        assert cells(pickle.loads(pickle.dumps(example()))) == cells(example())


EYE = sparse.csr_array(np.eye(2, dtype=np.float32))


def broken(**parts):
    X = EYE.copy()
    for name, value in parts.items():
        setattr(X, name, value)
    return X


def arrays(**changes):
    given = {"users": [1, 2], "items": [1, 2], "ratings": [3, 4], **changes}
    return lambda: Ratings.from_arrays(**given)


def matrix(X, **options):
    return lambda: Ratings.from_matrix(X, **options)


def frame(options=None, **columns):
    given = {"user": [1, 2], "item": [1, 2], "rating": [3.0, 4.0], **columns}
    given = {name: column for name, column in given.items() if column is not None}
    return lambda: Ratings.from_frame(pd.DataFrame(given), **(options or {}))


BAD = {
    "nan": (
        arrays(ratings=[1, np.nan]),
        *(
            ValueError,
            r"ratings must hold finite values from -1e\+15 to 1e\+15, but 1 of them is not: .* nan",
        ),
    ),
    "infinite": (
        matrix(EYE * np.inf),
        *(
            ValueError,
            r"X must hold finite values from .* to .*, but 2 of them are not: .* position 0",
        ),
    ),
    "beyond float32": (arrays(ratings=[1, 1e39]), ValueError, r"the first is 1e\+39 at position 1"),
    "complex": (matrix(EYE * 1j), TypeError, r"X must hold real numbers, but its dtype is complex"),
    "objects": (arrays(ratings=[1, None]), TypeError, r"ratings must hold real .* dtype is object"),
    "texts": (arrays(ratings=["1", "2"]), TypeError, r"ratings must hold real numbers, but its"),
    "table of ratings": (
        arrays(ratings=[[1], [2]]),
        ValueError,
        r"ratings must have one dimension",
    ),
    "too few items": (
        arrays(items=[1]),
        *(ValueError, r"items must have one entry for each of users, 2, but it has 1\."),
    ),
    "too many ratings": (arrays(ratings=[1, 2, 3]), ValueError, r"ratings must have one entry for"),
    "too few timestamps": (arrays(timestamps=[1]), ValueError, r"timestamps must have one entry"),
    "timestamp text": (arrays(timestamps=["a", "b"]), TypeError, r"timestamps must be integers or"),
    "timestamp fraction": (arrays(timestamps=[1, 1.5]), ValueError, r"must be whole seconds"),
    "not a time": (
        arrays(timestamps=np.array(["NaT", "2000-01-01"], "datetime64[s]")),
        *(ValueError, r"timestamps must be points in time, but some are NaT"),
    ),
    "negative id": (
        arrays(users=[1, -2]),
        *(ValueError, r"users must be at least 0 .*, but there is -2 at position 1\."),
    ),
    "float ids": (arrays(users=np.array([1.0, 2.0])), TypeError, r"users must be .*float64"),
    "boolean ids": (arrays(users=[True, False]), TypeError, r"users must be all integers or all"),
    "mixed ids": (
        arrays(items=[1, "a"]),
        *(TypeError, r"items must be all integers or all strings, but there is 'a' \(str\) at pos"),
    ),
    "missing id": (arrays(items=["a", None]), TypeError, r"but there is None \(NoneType\) at"),
    "empty id": (arrays(items=["a", ""]), ValueError, r"items must not be empty strings, .* 1\."),
    "huge id": (arrays(users=[1, 2**70]), ValueError, r"users must fit int64, but it holds 1180"),
    "huge unsigned id": (
        arrays(users=np.array([1, 2**63], np.uint64)),
        *(ValueError, r"users must fit int64, but it holds 9223372036854775808"),
    ),
    "duplicate": (
        arrays(users=[7, 7], items=["b", "b"]),
        *(ValueError, r"1 rating repeats an earlier pair, first that of user 7 and item 'b'; pass"),
    ),
    "duplicates argument": (arrays(duplicates="max"), ValueError, r"'last', but it was 'max'\."),
    "no ratings": (
        arrays(users=[], items=[], ratings=[]),
        *(ValueError, r"ratings must hold at least one rating, but it is empty"),
    ),
    "ids not unique": (
        arrays(user_ids=[1, 2, 2]),
        *(ValueError, r"user_ids must be unique, but 2 occurs 2 times"),
    ),
    "ids not all": (
        arrays(item_ids=[1, 3]),
        *(ValueError, r"items must be among the 2 item ids of the ratings, but 2 is not"),
    ),
    "too few ids": (
        matrix(EYE, user_ids=[1]),
        *(ValueError, r"user_ids must have 2 entries, one a user of the matrix, but it has 1"),
    ),
    "dense": (
        matrix(np.eye(2)),
        *(TypeError, r"X must be sparse, .* but it is a numpy\.ndarray, .*csr_array\(X\)"),
    ),
    "np.matrix": (
        matrix(sparse.eye(2, format="coo").todense()),
        TypeError,
        r"X must be sparse, .* numpy\.matrix",
    ),
    "list": (matrix([[1, 2]]), TypeError, r"X must be Ratings or a scipy\.sparse array, .* a list"),
    "frame as matrix": (
        matrix(pd.DataFrame({"user": [1]})),
        *(TypeError, r"for a data frame there is Ratings\.from_frame"),
    ),
    "no cell": (
        matrix(sparse.csr_array((3, 4))),
        *(ValueError, r"X must hold at least one rating, but no cell is stored"),
    ),
    "no user": (matrix(sparse.coo_array((0, 4))), ValueError, r"X must hold at least one rating"),
    "too many columns": (
        matrix(sparse.coo_array(([1.0], ([0], [2**31])), shape=(1, 2**31 + 1))),
        *(
            ValueError,
            r"at most 2,147,483,647 users and as many items, but it is 1 x 2,147,483,649",
        ),
    ),
    "column out of range": (
        matrix(broken(indices=np.array([0, 5], np.int32))),
        *(ValueError, r"X\.indices must lie between 0 and 1, but they include 5"),
    ),
    "negative column": (
        matrix(broken(indices=np.array([0, -1], np.int32))),
        *(ValueError, r"X\.indices must lie between 0 and 1, but they include -1"),
    ),
    "falling pointers": (
        matrix(broken(indptr=np.array([0, 3, 2], np.int32))),
        *(ValueError, r"X\.indptr must not decrease, but it does after row 1"),
    ),
    "pointers beyond": (
        matrix(broken(indptr=np.array([0, 1, 9], np.int32))),
        *(ValueError, r"X\.indptr must go from 0 to the number of stored cells, 2, .* to 9"),
    ),
    "too few pointers": (
        matrix(broken(indptr=np.array([0, 2], np.int32))),
        *(ValueError, r"X\.indptr must have shape \(3,\), one entry more than the rows"),
    ),
    "zeros of a dia": (
        matrix(sparse.dia_array(np.diag([1.0, 0.0, 2.0]))),
        *(ValueError, r"its format is dia, which fills up with zeros that cannot be told from"),
    ),
    "zeros of a bsr": (
        matrix(sparse.bsr_array(np.eye(4), blocksize=(2, 2))),
        *(ValueError, r"its format is bsr, which fills up with zeros"),
    ),
    "unsorted csr": (
        lambda: Ratings(CSR(np.array([0, 2]), np.array([1, 0]), np.ones(2, np.float32), (1, 2))),
        *(ValueError, r"csr\.indices must increase in every row, but they do not"),
    ),
    "float columns": (
        lambda: Ratings(CSR(np.array([0, 1]), np.array([0.0]), np.ones(1, np.float32), (1, 1))),
        *(TypeError, r"csr\.indices must hold integers, but its dtype is float64"),
    ),
    "no frame": (
        lambda: Ratings.from_frame({"user": [1]}),
        *(TypeError, r"df must be a pandas, polars or pyarrow data frame, but it is a dict"),
    ),
    "lazy frame": (
        lambda: Ratings.from_frame(pl.LazyFrame({"user": [1]})),
        *(TypeError, r"data frame, but it is a LazyFrame"),
    ),
    "integers for names": (
        lambda: Ratings.from_frame(pd.DataFrame([[1, 2, 3.0]])),
        *(ValueError, r"no column known to be the user; its columns are 0, 1, 2: name it"),
    ),
    "absent column": (
        frame({"user": "who"}),
        *(ValueError, r"df has no column 'who' for the user; its columns are user, item, rating"),
    ),
    "unknown columns": (
        frame(item=None, thing=[1, 2]),
        *(ValueError, r"df has no column known to be the item; its columns are .*thing: name it"),
    ),
    "no rating column": (frame(rating=None), ValueError, r"name it, or pass implicit=True"),
    "two candidates": (
        frame(movieId=[1, 2]),
        *(ValueError, r"several columns that may be the item \(item, movieId\): name one"),
    ),
    "one column twice": (frame({"user": "item"}), ValueError, r"one was named twice"),
    "null in frame": (
        frame(rating=[1.0, None]),
        *(ValueError, r"column 'rating' must have no missing values, but it has 1, .* row 1"),
    ),
    "negative in frame": (
        frame(user=[3, 3, 3, -1], item=[1, 2, 3, 4], rating=[1, 1, 1, 1]),
        *(ValueError, r"column 'user' must be at least 0 .* but there is -1 at position 3"),
    ),
    "text in frame": (frame(rating=["1", "2"]), TypeError, r"column 'rating' must hold numbers"),
    "mixed in frame": (frame(user=[1, "a"]), TypeError, r"df must have columns of one type each"),
    "empty frame": (
        frame(user=[], item=[], rating=[]),
        *(ValueError, r"df must hold at least one rating, but it has no rows"),
    ),
    "unknown user": (
        lambda: example().user_index([10, 11, 12]),
        *(ValueError, r"users must be among the 3 user ids .*, but 11 \(and 1 more\) are not"),
    ),
    "integer for string id": (
        lambda: example().item_index(196),
        *(
            ValueError,
            r"items must be strings, as .* are \(for example 'a'\), but 196 is an integer",
        ),
    ),
    "string for integer id": (
        lambda: example().user_index(["10"]),
        *(ValueError, r"users must be integers, as .* example 10\), but '10' is a string"),
    ),
    "orientation": (
        lambda: example().rows("column"),
        *(ValueError, r"orientation must be one of 'user', 'item', but it was 'column'"),
    ),
    "number of threads": (
        lambda: example().rows("user", num_threads=10**9),
        *(ValueError, r"num_threads must be an integer from 0 to 1,024, but it was 1000000000"),
    ),
    "mask type": (lambda: example().select([1, 0, 1, 0]), TypeError, r"mask must hold booleans"),
    "mask length": (
        lambda: example().select([True]),
        *(ValueError, r"mask must have shape \(4,\), one entry a rating, but its shape is \(1,\)"),
    ),
    "mask of nothing": (lambda: example().select([False] * 4), ValueError, r"but it keeps none"),
    "threshold": (
        lambda: example().binarize(6),
        *(ValueError, r"threshold must be at most the highest rating, 5, but it was 6"),
    ),
    "empty core": (
        lambda: example().k_core(users=9, items=1),
        *(ValueError, r"users and items must leave some ratings, but no user has 9"),
    ),
    "backend": (
        lambda: example().to_frame("dask"),
        ValueError,
        r"backend must be one of 'pyarrow'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_at_the_door(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message) as caught:
        call()
    assert str(caught.value).endswith(".")


VECTOR = sparse.coo_array(np.ones(3))


@pytest.mark.skipif(len(VECTOR.shape) > 1, reason="this SciPy has no sparse vectors")
def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"X must have two dimensions, .* its shape is \(3,\)\."):
        Ratings.from_matrix(VECTOR)


@pytest.mark.data
def test_jester_keeps_its_zeros_and_negative_ratings(data_dir):
    with np.load(data_dir / "jester-1" / "ratings.npz") as file:
        coo = sparse.coo_array(
            (file["rating"], (file["user"], file["item"])), shape=tuple(file["shape"])
        )
    ratings = Ratings.from_matrix(coo)
    assert ratings.nnz == 1_810_455
    assert (ratings.values == 0).sum() == (coo.data == 0).sum() > 0
    assert ratings.min == np.float32(-9.95)
