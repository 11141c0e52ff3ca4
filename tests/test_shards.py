"""Shards hold what was read, however it was cut, and are whole or refused."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from isthmus import AutoRec, Ratings, Shards, read_ratings, shard, synthetic_ratings, write_ratings
from isthmus.data import _counted_ids, sharding, shards
from isthmus.data.shards import FORMAT_VERSION, checksum_of

RATINGS = synthetic_ratings(60, 40, 900, random_state=0)
NAMED = Ratings.from_matrix(
    RATINGS.to_matrix(),
    user_ids=[f"u{user}" for user in range(60)],
    item_ids=[f"ï{item}" for item in range(40)],
)


def same(one, other):
    """Check that two Ratings are the same, but for the order of users and items."""
    np.testing.assert_array_equal(one.user_ids, np.sort(other.user_ids))
    np.testing.assert_array_equal(one.item_ids, np.sort(other.item_ids))
    cells = [
        dict(zip(zip(users, items, strict=True), values, strict=True))
        for users, items, values, _ in (
            (None if a is None else a.tolist() for a in ratings.to_arrays())
            for ratings in (one, other)
        )
    ]
    assert cells[0] == cells[1]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(sharding, "_ROWS_AT_ONCE", 64)
    monkeypatch.setattr(_counted_ids, "_IDS_AT_ONCE", 16)
    monkeypatch.setattr(shards, "_CELLS_AT_ONCE", 50)


@pytest.fixture
def parts(tmp_path):
    """Files of ratings in no order."""

    def write(ratings, ending="parquet"):
        table = ratings.to_frame()
        table = table.take(np.random.default_rng(0).permutation(len(table)))
        paths = [tmp_path / f"part-{number}.{ending}" for number in range(3)]
        for number, path in enumerate(paths):
            some = table.slice(300 * number, 300)
            if ending == "parquet":
                pq.write_table(some, path, row_group_size=70)
            else:
                pa.csv.write_csv(some, path)
        return paths

    return write


@pytest.fixture
def whole(tmp_path, parts):
    return shard(parts(RATINGS), tmp_path / "shards", buckets=4)


class TestShard:
    @pytest.mark.parametrize("axis", ["user", "item"])
    @pytest.mark.parametrize("ending", ["parquet", "csv"])
    @pytest.mark.parametrize("ratings", [RATINGS, NAMED], ids=["integers", "strings"])
    @pytest.mark.usefixtures("small_batches")
    def test_holds_what_the_files_do(self, parts, tmp_path, axis, ending, ratings):
        made = shard(parts(ratings, ending), tmp_path / "shards", buckets=7, axis=axis)
        same(made.to_ratings(), ratings)
        assert made.shape == ratings.shape
        assert (made.nnz, made.n_buckets, made.axis) == (900, 7, axis)
        again = Shards(tmp_path / "shards")
        assert repr(again) == repr(made)
        same(again.to_ratings(), ratings)

    @pytest.mark.parametrize("axis", ["user", "item"])
    def test_statistics_are_those_of_all_ratings(self, parts, tmp_path, axis):
        made = shard(parts(RATINGS), tmp_path / "shards", buckets=7, axis=axis)
        values, by_item = RATINGS.values.astype(float), RATINGS.rows("item")
        assert (made.min, made.max) == (RATINGS.min, RATINGS.max)
        assert made.mean == pytest.approx(values.mean(), rel=1e-12)
        assert made.deviation == pytest.approx(values.std(), rel=1e-9)
        np.testing.assert_array_equal(made.counts["user"], np.diff(RATINGS.indptr))
        np.testing.assert_array_equal(made.counts["item"], np.diff(by_item.indptr))
        sums = np.add.reduceat(values, RATINGS.indptr[:-1])
        np.testing.assert_allclose(made.sums["user"], sums, rtol=1e-12)
        sums = np.add.reduceat(by_item.values.astype(float), by_item.indptr[:-1])
        np.testing.assert_allclose(made.sums["item"], sums, rtol=1e-12)

    @pytest.mark.parametrize("axis", ["user", "item"])
    def test_buckets_share_columns_out_by_popularity(self, parts, tmp_path, axis):
        made = shard(parts(RATINGS), tmp_path / "shards", buckets=7, axis=axis)
        buckets = list(made.buckets())
        n_columns = len(made.counts[axis])
        every = np.concatenate([bucket.columns for bucket in buckets])
        np.testing.assert_array_equal(np.sort(every), np.arange(n_columns))
        sizes = [len(bucket.columns) for bucket in buckets]
        assert max(sizes) - min(sizes) <= 1
        cells = [len(bucket.cells.values) for bucket in buckets]
        assert max(cells) - min(cells) <= made.counts[axis].max()
        ranked = np.argsort(-made.counts[axis], kind="stable")[:14].tolist()
        owner = {c: b for b, bucket in enumerate(buckets) for c in bucket.columns.tolist()}
        assert [owner[c] for c in ranked] == [*range(7), *reversed(range(7))]

    def test_rows_without_cells_take_no_room(self, tmp_path):
        ratings = Ratings.from_arrays([1, 1, 2, 3], [5, 6, 6, 7], [1.0, 2, 3, 4])
        write_ratings(ratings, tmp_path / "r.parquet")
        made = shard(tmp_path / "r.parquet", tmp_path / "s", buckets=9, axis="item")
        assert made.n_buckets == 3
        rows = {tuple(b.columns.tolist()): b.rows.tolist() for b in made.buckets()}
        assert rows == {(0,): [0], (1,): [0, 1], (2,): [2]}
        assert all((np.diff(bucket.cells.indptr) > 0).all() for bucket in made.buckets())

    def test_cells_are_maps_of_the_file(self, whole):
        array = whole.bucket(0).cells.values
        while isinstance(array.base, np.ndarray):
            array = array.base
        assert isinstance(array, np.memmap)

    def test_duplicates_are_refused_or_merged_across_files(self, tmp_path):
        for number, rating in enumerate([1.0, 4.0]):
            ratings = Ratings.from_arrays([7, 8], [5, 6], [rating, 2.0])
            if number:
                ratings = Ratings.from_arrays([7], [5], [rating])
            write_ratings(ratings, tmp_path / f"{number}.parquet")
        paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
        with pytest.raises(ValueError, match="first that of user 7 and item 5"):
            shard(paths, tmp_path / "s")
        assert not (tmp_path / "s").exists()
        for how, expected in (("mean", 2.5), ("sum", 5.0), ("last", 4.0)):
            made = shard(paths, tmp_path / how, duplicates=how)
            assert made.to_ratings().to_matrix().toarray().tolist() == [[expected, 0], [0, 2]]
            assert made.nnz == 3 - 1
            assert made.sums["user"].tolist() == [expected, 2]

    @pytest.mark.parametrize("duplicates", ["error", "sum"])
    def test_repeated_lines_are_as_read_ratings_takes_them(self, tmp_path, duplicates):
        (tmp_path / "plays.csv").write_text("user,item\n1,5\n1,5\n2,5\n")
        options = {"implicit": True, "duplicates": duplicates}
        made = shard(tmp_path / "plays.csv", tmp_path / "s", **options)
        same(made.to_ratings(), read_ratings(tmp_path / "plays.csv", **options))

    def test_text_as_read_ratings_reads_it(self, tmp_path):
        (tmp_path / "ratings.dat").write_text("01::x y::5::978300760\n 2 ::z::3::978302109\n")
        made = shard(tmp_path / "ratings.dat", tmp_path / "s").to_ratings()
        same(made, read_ratings(tmp_path / "ratings.dat"))
        assert made.user_ids.tolist() == ["01", "2"]
        (tmp_path / "pairs.tsv").write_text("b\ta\n9\t10\n8\t7\n")
        made = shard(tmp_path / "pairs.tsv", tmp_path / "p", columns=["a", "b"]).to_ratings()
        same(made, read_ratings(tmp_path / "pairs.tsv", columns=["a", "b"]))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1,2,3\n1,3,x\n", "line 2: the rating must be a finite number"),
            ("1,2,3\n1,,4\n", "line 2: the item must not be empty"),
            ("1,2,3\n1,3\n", "line 2: there must be 3 fields"),
            ("1,2,3\n1,3,nan\n", "line 2: the rating must be a finite number"),
            ("-1,2,3\n1,3,4\n", "user ids must be at least 0"),
            ("user,item,rating\n", "it has only a header"),
        ],
    )
    def test_refuses_bad_text_and_leaves_nothing(self, tmp_path, text, message):
        (tmp_path / "r.csv").write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            shard(tmp_path / "r.csv", tmp_path / "s")
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path) == ["r.csv"]

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ({"user": [1, None], "item": [1, 2], "rating": [1, 2]}, "no missing ids, but 1"),
            ({"user": [1.5], "item": [1], "rating": [1]}, "must hold integers or strings"),
            ({"user": [-1], "item": [1], "rating": [1]}, "user ids must be at least 0"),
            ({"user": [1], "item": [1], "rating": [np.inf]}, "rating must hold finite values"),
            ({"user": [1], "item": [1], "rating": ["a"]}, "rating must hold numbers"),
            ({"user": [1], "item": [1]}, "no column known to be the rating"),
            ({"user": pa.array([], pa.int64()), "item": [], "rating": []}, "at least one rating"),
        ],
    )
    def test_refuses_bad_tables_and_leaves_nothing(self, tmp_path, table, message):
        pq.write_table(pa.table(table), tmp_path / "r.parquet")
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            shard(tmp_path / "r.parquet", tmp_path / "s")
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path) == ["r.parquet"]
        if "must hold" in message:
            assert str(tmp_path / "r.parquet") in str(caught.value)

    def test_refuses_other_arguments(self, parts, tmp_path):
        paths = parts(RATINGS)
        with pytest.raises(ValueError, match="buckets must be"):
            shard(paths, tmp_path / "s", buckets=0)
        with pytest.raises(ValueError, match="axis must be one of"):
            shard(paths, tmp_path / "s", axis="rows")
        with pytest.raises(ValueError, match="at least one file"):
            shard([], tmp_path / "s")
        with pytest.raises(FileNotFoundError, match=r"absent\.csv must be a file"):
            shard([*paths, tmp_path / "absent.csv"], tmp_path / "s")
        write_ratings(RATINGS, tmp_path / "r.npz")
        with pytest.raises(ValueError, match="its format is npz"):
            shard(tmp_path / "r.npz", tmp_path / "s")
        write_ratings(NAMED, tmp_path / "named.parquet")
        with pytest.raises(ValueError, match="ids must be of one type in all files"):
            shard([*paths, tmp_path / "named.parquet"], tmp_path / "s")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine").write_text("")
        with pytest.raises(FileExistsError, match="a folder that is not empty"):
            shard(paths, tmp_path / "full")


def change(path, number=-3):
    data = bytearray(path.read_bytes())
    data[number] ^= 1
    path.write_bytes(data)


def forge(folder, **changed):
    """Change a manifest, and give it the checksum of what it then holds."""
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changed}
    manifest["checksum"] = checksum_of(manifest)
    path.write_text(json.dumps(manifest))


class TestDamage:
    @pytest.mark.parametrize("name", ["users", "items", "bucket-00002"])
    @pytest.mark.parametrize("how", ["changed", "cut", "missing"])
    def test_of_a_file_is_refused_in_one_sentence(self, whole, name, how):
        path = whole.path / f"{name}.safetensors"
        if how == "changed":
            change(path)
        elif how == "cut":
            path.write_bytes(path.read_bytes()[:-8])
        else:
            path.unlink()
        error = FileNotFoundError if how == "missing" else ValueError
        with pytest.raises(error) as caught:
            Shards(whole.path).to_ratings()
        message = str(caught.value)
        assert message.endswith(".")
        assert message.count(". ") == 0
        assert str(whole.path) in message

    def test_of_the_manifest_is_refused(self, whole):
        path = whole.path / "manifest.json"
        text = path.read_text()
        for damaged, message in (
            (text.replace('"n_ratings": 900', '"n_ratings": 901'), "the checksum of manifest.json"),
            (text[:100], "cannot be read as shards of ratings"),
            ("[]", "is not that of shards"),
            ('{"format": "isthmus shards", "format_version": 1}', "the checksum of manifest.json"),
        ):
            path.write_text(damaged)
            with pytest.raises(ValueError, match=message):
                Shards(whole.path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"but it has no manifest\.json"):
            Shards(whole.path)

    @pytest.mark.parametrize(
        "changed",
        [
            {"n_ratings": 800},
            {"n_ratings": 1 << 50},
            {"n_ratings": "900"},
            {"axis": "item"},
            {"axis": "rows"},
            {"buckets": []},
            {"buckets": [{}]},
            {"users": None},
            {"mean": "x"},
        ],
        ids=str,
    )
    def test_of_a_forged_manifest_is_refused(self, whole, changed):
        forge(whole.path, **changed)
        with pytest.raises(ValueError, match="shards"):
            Shards(whole.path).to_ratings()

    def test_a_bucket_that_is_another_is_refused(self, whole):
        first, second = (whole.path / f"bucket-0000{n}.safetensors" for n in (0, 1))
        shutil.copy(first, second)
        manifest = json.loads((whole.path / "manifest.json").read_text())
        forge(whole.path, buckets=[manifest["buckets"][n] for n in (0, 0, 2, 3)])
        with pytest.raises(ValueError, match="is damaged: two buckets have the same user"):
            Shards(whole.path).to_ratings()

    def test_newer_formats_are_refused(self, whole):
        forge(whole.path, format_version=FORMAT_VERSION + 1)
        with pytest.raises(ValueError, match=r"has format version 2, and this isthmus reads"):
            Shards(whole.path)

    def test_there_is_no_bucket_of_that_number(self, whole):
        with pytest.raises(ValueError, match="number must be"):
            whole.bucket(4)


def test_read_ratings_reads_shards(whole):
    same(read_ratings(whole.path), RATINGS)
    for option in ({"missing_values": -1}, {"implicit": True}, {"duplicates": "mean"}):
        with pytest.raises(ValueError, match="holds shards, which are read as they are"):
            read_ratings(whole.path, **option)


def test_missing_values_are_warned_of_or_left_out(tmp_path):
    values = np.where(np.arange(60) % 4, 5.0 + np.arange(60) % 6, -1)
    write_ratings(
        Ratings.from_arrays(np.arange(60) % 10, np.arange(60) // 10, values), tmp_path / "r.csv"
    )
    shard(tmp_path / "r.csv", tmp_path / "s")
    with pytest.warns(UserWarning, match=r"of the ratings are -1"):
        read_ratings(tmp_path / "s")
    made = shard(tmp_path / "r.csv", tmp_path / "rated", missing_values=-1)
    same(made.to_ratings(), read_ratings(tmp_path / "r.csv", missing_values=-1))
    with pytest.raises(ValueError, match="at least one rating"):
        shard(tmp_path / "r.csv", tmp_path / "none", missing_values=[-1, *range(5, 11)])
    assert not (tmp_path / "none").exists()


def test_only_what_trains_takes_shards(whole):
    model = AutoRec(hidden_units=(4,), epochs=1, random_state=0).fit(whole).partial_fit(whole)
    assert len(model.history_) == 2
    with pytest.raises(TypeError, match="must be Ratings or"):
        model.evaluate(whole)


@pytest.mark.parametrize("axis", ["user", "item"])
def test_fit_takes_shards(parts, tmp_path, axis):
    made = shard(parts(RATINGS), tmp_path / "shards", buckets=5, axis=axis)
    model = AutoRec(hidden_units=(4,), epochs=2, random_state=0)
    held = AutoRec(hidden_units=(4,), epochs=2, random_state=0).fit(RATINGS)
    np.testing.assert_array_equal(model.fit(made).recommend()[1], held.recommend()[1])
