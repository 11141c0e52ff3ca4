"""Lists for all users: those of `recommend`, from tables and files, whole or not at all."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from model_registry import SETTINGS
from sklearn.base import clone

import isthmus
from isthmus import EASE, BiasedMF, Ratings, synthetic_ratings
from isthmus._util.files import atomic_folder
from isthmus.data import _grouping
from isthmus.data._grouping import grouped, part_of_ids
from isthmus.data._histories import as_histories
from isthmus.lists import Lister, write_lists

N = 5
RATINGS = synthetic_ratings(60, 40, 900, random_state=0)
NAMED = Ratings.from_matrix(
    RATINGS.to_matrix(),
    user_ids=[f"u{user}" for user in range(60)],
    item_ids=[f"ï{item}" for item in range(40)],
)
MODELS = [
    getattr(isthmus, name)(**settings, **({} if name in ("EASE", "Blend") else {"random_state": 0}))
    for name, every in SETTINGS.items()
    for settings in every
]
every_model = pytest.mark.parametrize("kind", MODELS, ids=lambda model: type(model).__name__)


@pytest.fixture(scope="module")
def model():
    return BiasedMF(factors=4, epochs=2, random_state=0).fit(RATINGS)


@pytest.fixture(scope="module")
def named():
    return BiasedMF(factors=4, epochs=2, random_state=0).fit(NAMED)


def rows(table):
    return {row["user"]: (row["items"], row["scores"]) for row in table.to_pylist()}


def as_table(users, ids, scores):
    """Return what `recommend` gave, as `rows` does."""
    return {
        user: (row[~np.isnan(value)].tolist(), value[~np.isnan(value)].tolist())
        for user, row, value in zip(np.asarray(users).tolist(), ids, scores, strict=True)
    }


def newcomers(ids=(7, 3), items=((1, 2, 9), (4,)), ratings=((5.0, 2.0, 4.0), (1.0,))):
    return pa.table({"user": list(ids), "items": list(items), "ratings": list(ratings)})


class TestLister:
    @every_model
    @pytest.mark.parametrize("exclude_seen", [True, False])
    def test_known_and_unknown_users_get_the_lists_of_recommend(self, kind, exclude_seen):
        model = clone(kind).fit(RATINGS)
        lister = Lister(model, N, exclude_seen=exclude_seen)
        histories = pa.table(
            {
                "user": [1001, 5, 1000, 0],
                "items": [[3], None, [1, 2, 9], []],
                "ratings": [[4.0], None, [5.0, 2.0, 4.0], []],
            }
        )
        new = Ratings.from_arrays(
            *([1001, 1000, 1000, 1000], [3, 1, 2, 9], [4.0, 5, 2, 4]), item_ids=range(40)
        )
        expected = as_table([5, 0], *model.recommend([5, 0], N, exclude_seen=exclude_seen))
        folded = model.recommend(n=N, ratings=new, exclude_seen=exclude_seen)
        expected |= as_table(new.user_ids, *folded)
        found = lister(histories)
        assert found["user"].to_pylist() == [1001, 5, 1000, 0]
        assert rows(found) == expected

    def test_a_known_user_is_not_given_what_the_history_adds(self, model):
        best = model.recommend(5, N)[0].tolist()
        histories = pa.table({"user": [5], "items": [best[:2]]})
        assert rows(Lister(model, 3)(histories))[5][0] == best[2:]
        assert rows(Lister(model, 3, exclude_seen=False)(histories)) == as_table(
            [5], *model.recommend([5], 3, exclude_seen=False)
        )

    @pytest.mark.parametrize("user", [5, 1000])
    def test_excludes_items_of_each_user(self, model, user):
        empty = pa.table({"user": [user], "items": [[]], "ratings": [[]]})
        best = rows(Lister(model, N)(empty))[user][0]
        table = empty.append_column("exclude", [[best[:2]]])
        for exclude_seen in (True, False):
            found = rows(Lister(model, 40, exclude_seen=exclude_seen)(table))[user][0]
            assert not set(best[:2]) & set(found)
        assert rows(Lister(model, 3)(table))[user][0] == best[2:]

    @pytest.mark.parametrize("order", ["likely", "rating"])
    def test_users_choose_from_candidates_of_their_own(self, model, order):
        own = [1, 4, 17, 30, 31, 4]
        table = pa.table({"user": [5, 6, 7], "candidates": [own, None, []]})
        found = rows(Lister(model, N, order=order)(table))
        expected = as_table([5], *model.recommend([5], N, candidates=own, order=order))
        assert found[5][0] == expected[5][0]
        np.testing.assert_allclose(found[5][1], expected[5][1], rtol=1e-6)
        assert found[6] == as_table([6], *model.recommend([6], N, order=order))[6]
        assert found[7] == ([], [])

    def test_own_candidates_are_among_those_of_all(self, model):
        table = pa.table({"user": [5, 6], "candidates": [[1, 4, 17, 30], None]})
        found = rows(Lister(model, N, candidates=[4, 17, 18], exclude_seen=False)(table))
        assert set(found[5][0]) == {4, 17}
        assert set(found[6][0]) == {4, 17, 18}

    @pytest.mark.parametrize("own", [[1, 4, 17, 30], None])
    def test_excludes_items_of_all_users(self, model, own):
        table = pa.table({"user": [5], "candidates": [own]})
        lister = Lister(model, 40, candidates=[4, 17, 18], exclude=[17, 2], exclude_seen=False)
        expected = {4} if own else {4, 18}
        assert set(rows(lister(table))[5][0]) == expected
        assert set(rows(lister.of_known(np.array([5])))[5][0]) == {4, 18}

    @pytest.mark.parametrize("name", ["candidates", "exclude"])
    def test_refuses_lists_of_each_user(self, model, name):
        for lists in ([[1], [2, 3]], [[1], [2]]):
            with pytest.raises(ValueError, match=f"^{name} must be one list .* column of hist"):
                Lister(model, N, **{name: lists})

    def test_reads_a_row_a_rating(self, model):
        long = pa.table({"userId": [7, 1000, 7], "movieId": [1, 2, 3], "rating": [5, 1, 2]})
        wide = pa.table({"user": [7, 1000], "items": [[1, 3], [2]], "ratings": [[5, 2], [1]]})
        assert Lister(model, N)(long).equals(Lister(model, N)(wide))

    def test_strings_in_any_of_arrows_forms(self, named):
        lister = Lister(named, N)
        plain = pa.table({"user": ["x", "u5"], "items": [["ï1"], ["ï2"]], "ratings": [[5], [4]]})
        lists = pa.list_(pa.dictionary(pa.int32(), pa.string()))
        items = pa.array([["ï9"], ["ï1"], ["ï2"]], lists).slice(1)
        coded = plain.set_column(0, "user", plain["user"].dictionary_encode())
        coded = coded.set_column(1, "items", items)
        large = plain.set_column(0, "user", plain["user"].cast(pa.large_string()))
        found = lister(plain)
        assert found.schema.field("items").type.value_type == pa.string()
        assert found.equals(lister(coded))
        assert found.equals(lister(large))

    def test_implicit_models_need_no_ratings(self):
        model = EASE(regularization=5.0).fit(RATINGS)
        new = Ratings.from_arrays([0, 0], [1, 2], [1.0, 1.0], item_ids=range(40))
        found = Lister(model, N)(pa.table({"user": [1000], "items": [[1, 2]]}))
        assert rows(found) == as_table([1000], *model.recommend(n=N, ratings=new))

    @pytest.mark.parametrize("table", [newcomers(), RATINGS.to_frame(), NAMED.to_frame()])
    def test_no_rows_give_no_lists(self, model, table):
        found = Lister(model, N)(table.slice(0, 0))
        assert len(found) == 0
        assert found.column_names == ["user", "items", "scores"]

    def test_skips_items_that_the_model_does_not_know_if_told_to(self, model):
        table = newcomers([1000], [[1, 77, 9]], [[5.0, 2.0, 4.0]])
        table = table.append_column("exclude", [[[88]]]).append_column("candidates", [[[99, 7, 8]]])
        with pytest.raises(ValueError, match="must be among the 40 item ids"):
            Lister(model, N)(table)
        without = newcomers([1000], [[1, 9]], [[5.0, 4.0]])
        without = without.append_column("candidates", [[[7, 8]]])
        assert Lister(model, N, unknown_items="skip")(table).equals(Lister(model, N)(without))

    def test_duplicates_of_newcomers_are_refused_or_merged(self, model):
        table = newcomers([1000], [[1, 1, 9]], [[5.0, 3.0, 4.0]])
        with pytest.raises(ValueError, match="first that of user 1000 and item 1"):
            Lister(model, N)(table)
        mean = newcomers([1000], [[1, 9]], [[4.0, 4.0]])
        assert Lister(model, N, duplicates="mean")(table).equals(Lister(model, N)(mean))
        known = newcomers([5], [[1, 1]], [[5.0, 3.0]])  # of whom only the pattern matters
        assert len(Lister(model, N)(known)) == 1

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ({"user": ["a"]}, "users must be integers"),
            ({"user": [1000], "items": [[1]]}, "must have ratings, for BiasedMF to fold"),
            ({"user": [1], "items": [3]}, "items must hold lists, a row a user"),
            ({"user": [1], "items": [[1]], "ratings": [[1.0, 2.0]]}, "as long as those of items"),
            ({"user": [1], "ratings": [[1.0]]}, "as long as those of items"),
            ({"user": [None, 1]}, "user must have no missing ids, but 1 are"),
            ({"user": [1], "items": [[None]]}, "items must have no missing ids"),
            (
                {"user": [1], "items": [[1]], "ratings": [[None]]},
                "ratings must have no missing values",
            ),
            ({"user": [1], "items": [[1]], "ratings": [[np.nan]]}, "ratings must hold finite"),
            ({"a": [1], "b": [2]}, "no column known to be the user"),
            ({"user": [1], "items": [[2]], "stars": [[1]]}, "must have columns among user, items"),
            ({"user": [1, None], "item": [1, 2], "rating": [1, 2]}, "user must have no missing"),
        ],
    )
    def test_refuses_tables_in_one_sentence(self, model, table, message):
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            Lister(model, N)(pa.table(table))
        assert "\n" not in str(caught.value)

    def test_refuses_other_arguments(self, model):
        with pytest.raises(TypeError, match="must be a pyarrow"):
            Lister(model)({"user": [1]})
        with pytest.raises(ValueError, match="unknown_items must be one of 'error', 'skip'"):
            Lister(model, unknown_items="drop")
        with pytest.raises(ValueError, match="n must be"):
            Lister(model, 0)


def write(path, table, **options):
    pq.write_table(table, path, **options)
    return path


class TestWriteLists:
    def test_everyone_gets_the_lists_of_recommend(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr("isthmus.lists.USERS_AT_ONCE", 7)
        monkeypatch.setattr("isthmus.lists.USERS_A_FILE", 20)
        assert write_lists(Lister(model, N), tmp_path / "lists") == (60, 3)
        names = sorted(os.listdir(tmp_path / "lists"))
        assert names == [f"part-0000{number}.parquet" for number in range(3)]
        found = pq.read_table(tmp_path / "lists")
        assert found["user"].to_pylist() == list(range(60))
        assert rows(found) == as_table(range(60), *model.recommend(n=N))

    def test_histories_of_a_folder(self, model, tmp_path):
        (tmp_path / "in" / "day=1").mkdir(parents=True)
        write(tmp_path / "in" / "day=1" / "a.parquet", newcomers())
        write(tmp_path / "in" / "b.parquet", newcomers([8, 1000]))
        (tmp_path / "in" / "_metadata.parquet").write_bytes(b"")
        assert write_lists(Lister(model, N), tmp_path / "out", tmp_path / "in") == (4, 1)
        both = pa.concat_tables([newcomers([8, 1000]), newcomers()])
        assert rows(pq.read_table(tmp_path / "out")) == rows(Lister(model, N)(both))

    @pytest.mark.parametrize("spills", [False, True])
    @pytest.mark.parametrize("which", ["model", "named"])
    def test_ratings_in_any_order(self, request, which, tmp_path, monkeypatch, spills):
        model = request.getfixturevalue(which)
        if spills:
            monkeypatch.setattr(_grouping, "RATINGS_AT_ONCE", 100)
            monkeypatch.setattr(_grouping, "ROWS_AT_ONCE", 64)
        long = (RATINGS if which == "model" else NAMED).to_frame()
        shuffled = long.take(np.random.default_rng(0).permutation(len(long)))
        (tmp_path / "in").mkdir()
        write(tmp_path / "in" / "a.parquet", shuffled.slice(0, 500))
        write(tmp_path / "in" / "b.parquet", shuffled.slice(500))
        n_users, _ = write_lists(Lister(model, N), tmp_path / "out", tmp_path / "in")
        found = pq.read_table(tmp_path / "out")
        assert n_users == len(found) == 60
        assert rows(found) == as_table(model.user_ids_, *model.recommend(n=N))
        assert os.listdir(tmp_path / "out") == ["part-00000.parquet"]

    def test_a_failure_leaves_nothing(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        write(tmp_path / "in" / "a.parquet", newcomers())
        write(tmp_path / "in" / "b.parquet", newcomers([1000], [[77]], [[1.0]]))
        with pytest.raises(ValueError, match=r"b\.parquet: .*, but 77 is not"):
            write_lists(Lister(model, N), tmp_path / "out", tmp_path / "in")
        assert os.listdir(tmp_path) == ["in"]

    def test_refuses_what_is_there_and_what_is_not(self, model, tmp_path):
        lister = Lister(model, N)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("")
        with pytest.raises(FileExistsError, match="a folder that is not empty"):
            write_lists(lister, tmp_path / "out")
        with pytest.raises(FileNotFoundError, match="there is none"):
            write_lists(lister, tmp_path / "new", tmp_path / "absent")
        (tmp_path / "in").mkdir()
        with pytest.raises(FileNotFoundError, match="must hold Parquet files"):
            write_lists(lister, tmp_path / "new", tmp_path / "in")
        write(tmp_path / "in" / "a.parquet", newcomers().slice(0, 0))
        with pytest.raises(ValueError, match="at least one user"):
            write_lists(lister, tmp_path / "new", tmp_path / "in")
        write(tmp_path / "in" / "b.parquet", pa.table({"user": [1]}))
        with pytest.raises(ValueError, match=r"b\.parquet must have the columns of"):
            write_lists(lister, tmp_path / "new", tmp_path / "in")

    def test_a_damaged_file_is_named(self, model, tmp_path):
        path = write(tmp_path / "a.parquet", newcomers())
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a Parquet file"):
            write_lists(Lister(model, N), tmp_path / "out", path)

    def test_a_file_that_says_much_in_few_bytes_is_refused(self, model, tmp_path):
        lists = pa.ListArray.from_arrays([0, 1 << 26], pa.array(np.zeros(1 << 26, np.int8)))
        path = write(tmp_path / "a.parquet", pa.table({"user": [1], "items": lists}))
        assert path.stat().st_size < 100_000
        with pytest.raises(ValueError, match="must unpack to at most 256 MiB"):
            write_lists(Lister(model, N), tmp_path / "out", path)

    def test_parts_hold_all_of_a_user(self):
        users = np.random.default_rng(0).integers(0, 50, 500)
        for column in (users, users.astype(np.str_)):
            parts = part_of_ids(pa.chunked_array([pa.array(column)]), 8)
            assert {len(set(parts[users == user])) for user in range(50)} == {1}
            assert len(set(parts)) == 8

    def test_the_spill_is_gone_when_reading_ends_early(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_grouping, "RATINGS_AT_ONCE", 100)
        path = write(tmp_path / "a.parquet", RATINGS.to_frame())
        with grouped([path], tmp_path, 4) as tables:
            assert next(tables)[0] == path
            assert (tmp_path / "spill").is_dir()
        assert os.listdir(tmp_path) == ["a.parquet"]

    def test_terminated_it_leaves_nothing(self, tmp_path):
        code = (
            "import os, signal; from isthmus._util.files import atomic_folder\n"
            "with atomic_folder('out') as folder:\n"
            "    (folder / 'part').write_text('x'); os.kill(os.getpid(), signal.SIGTERM)"
        )
        ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
        assert ended.returncode == -15
        assert os.listdir(tmp_path) == []


def test_a_folder_may_be_there_if_it_is_empty(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("x")
        assert os.listdir(tmp_path / "out") == []
    assert os.listdir(tmp_path / "out") == ["a"]


def test_histories_of_sliced_tables():
    told = as_histories(newcomers().slice(1))
    assert told.users.tolist() == [3]
    assert told.items.ids[told.items.codes].tolist() == [4]
    assert told.ratings.tolist() == [1.0]


class TestMappedModels:
    @every_model
    def test_gives_the_same(self, kind, tmp_path):
        clone(kind).fit(RATINGS).save(tmp_path / "m")
        held, mapped = (type(kind).load(tmp_path / "m", mmap=way) for way in (False, True))
        for one, other in zip(held.recommend(n=N), mapped.recommend(n=N), strict=True):
            np.testing.assert_array_equal(one, other)
        again = pickle.loads(pickle.dumps(mapped))
        np.testing.assert_array_equal(again.recommend(n=N)[1], held.recommend(n=N)[1])

    def test_copies_no_weights_ids_or_seen_items(self, model, tmp_path):
        model.save(tmp_path / "m")
        mapped = BiasedMF.load(tmp_path / "m", mmap=True)

        def is_map(array):
            while isinstance(array, np.ndarray):
                if isinstance(array, np.memmap):
                    return True
                array = array.base
            return False

        assert all(
            is_map(array)
            for array in (
                mapped._vectors().users,
                mapped._vectors().items,
                mapped.user_ids_,
                mapped._seen.indices,
            )
        )
        EASE(regularization=5.0).fit(RATINGS).save(tmp_path / "e")
        assert is_map(EASE.load(tmp_path / "e", mmap=True)._vectors().weights)

    def test_training_goes_on_and_leaves_the_file_as_it_was(self, model, tmp_path):
        model.save(tmp_path / "m")
        before = (tmp_path / "m").read_bytes()
        held, mapped = (BiasedMF.load(tmp_path / "m", mmap=way) for way in (False, True))
        np.testing.assert_array_equal(
            mapped.partial_fit(RATINGS).recommend(n=N)[1],
            held.partial_fit(RATINGS).recommend(n=N)[1],
        )
        assert (tmp_path / "m").read_bytes() == before

    def test_stays_whole_when_the_file_is_replaced(self, model, tmp_path):
        model.save(tmp_path / "m")
        mapped = BiasedMF.load(tmp_path / "m", mmap=True)
        BiasedMF(factors=2, epochs=1, random_state=1).fit(RATINGS).save(tmp_path / "m")
        np.testing.assert_array_equal(mapped.recommend(n=N)[1], model.recommend(n=N)[1])

    def test_damage_is_refused(self, model, tmp_path):
        model.save(tmp_path / "m")
        data = bytearray((tmp_path / "m").read_bytes())
        data[-3] ^= 1
        (tmp_path / "m").write_bytes(data)
        with pytest.raises(ValueError, match="its checksum does not match"):
            BiasedMF.load(tmp_path / "m", mmap=True)
        (tmp_path / "m").write_bytes(data[:-10])
        with pytest.raises(ValueError, match="no model file, or a damaged one"):
            BiasedMF.load(tmp_path / "m", mmap=True)
