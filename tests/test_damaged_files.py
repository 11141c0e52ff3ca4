"""Files that are damaged or made to harm: each gives one sentence that names the file."""

import bz2
import gzip
import io
import random
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from isthmus import read_items, read_ratings, write_ratings
from isthmus.data.ratings import Ratings

LINES = b"user,item,rating\n1,2,3\n1,3,4\n2,2,5\n"


def refused(path, *matches, error=ValueError, reader=read_ratings, **options):
    with pytest.raises(error) as caught:
        reader(path, **options)
    message = str(caught.value)
    assert type(caught.value) is error
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    for match in matches:
        assert match in message


def npy_header(dtype, shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def arrays(**changed):
    return {"user": [0, 1], "item": [1, 0], "rating": [2.0, 3.0], "shape": [2, 2], **changed}


class TestNpz:
    def save(self, tmp_path, **changed):
        np.savez(tmp_path / "ratings.npz", **arrays(**changed))
        return tmp_path / "ratings.npz"

    def members(self, tmp_path, method=zipfile.ZIP_DEFLATED, **data):
        path = tmp_path / "ratings.npz"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, array in arrays().items():
                file = io.BytesIO()
                np.save(file, array)
                archive.writestr(f"{name}.npy", data.get(name, file.getvalue()))
        return path

    def test_pointers_that_overflow_a_heap(self, tmp_path):
        path = tmp_path / "e.npz"
        np.savez(
            path,
            format=b"csc",
            shape=(8, 6),
            data=np.ones(12),
            indices=np.zeros(12, np.int32),
            indptr=np.array([0, 400000, 0, 0, 0, 0, 12], np.int32),
        )
        refused(path, "X.indptr must not decrease")

    @pytest.mark.parametrize("kind", ["csr", "csc", "bsr", "dia", "coo"])
    def test_every_format_of_scipy_is_read(self, tmp_path, kind):
        X = sparse.coo_array(np.arange(1.0, 17).reshape(4, 4))
        sparse.save_npz(tmp_path / "m.npz", X.asformat(kind))
        np.testing.assert_array_equal(
            read_ratings(tmp_path / "m.npz").to_matrix().toarray(), X.toarray()
        )

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"format": b"lil"}, "format is one of csr, csc"),
            ({"format": [1]}, "format is one of csr, csc"),
            ({"format": b"csr"}, "must hold the array data of a matrix"),
            ({"format": b"coo", "data": [1], "row": [1], "col": [1], "shape": [2.5, 2]}, "shape"),
            ({"format": b"coo", "data": [1], "row": [1], "col": [5]}, "sparse matrix: "),
        ],
    )
    def test_what_is_no_matrix(self, tmp_path, changed, message):
        refused(self.save(tmp_path, **changed), message)

    def test_shape_needs_ratings_or_ids(self, tmp_path):
        refused(
            self.save(tmp_path, shape=[10**8, 2]), "array user_id to have over 10,000,000 users"
        )
        refused(self.save(tmp_path, item=[1, 10**8], shape=[2, 10**8 + 1]), "array item_id")
        refused(self.save(tmp_path, shape=[3, 2], user_id=[5, 6]), "user_id of the 3 users")
        assert read_ratings(self.save(tmp_path, shape=[1000, 2])).shape == (1000, 2)

    @pytest.mark.parametrize("shape", [[2], [2, 2, 2], [-1, 2], [2.0, 2.0], 4, ["2", "2"]])
    def test_shape_is_two_numbers(self, tmp_path, shape):
        refused(self.save(tmp_path, shape=shape), "two whole numbers of at least 0 as its shape")

    def test_headers_that_promise_more_than_there_is(self, tmp_path):
        for dtype, shape in (("<i4", (10**11,)), ("<U0", (10**12,)), ("<U100000000", (2,))):
            path = self.members(tmp_path, user=npy_header(dtype, shape) + bytes(8))
            refused(path, "its array user")

    def test_an_archive_that_unpacks_to_gigabytes(self, tmp_path):
        n = 1 << 26
        path = self.members(tmp_path, user=npy_header("<i8", (n,)) + bytes(8 * n))
        refused(path, "must unpack to at most 256 MiB")

    def test_other_methods_of_compression(self, tmp_path):
        refused(self.members(tmp_path, zipfile.ZIP_LZMA), "another method than NumPy's")

    def test_encrypted(self, tmp_path):
        path = self.save(tmp_path)
        data = bytearray(path.read_bytes())
        for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = data.find(signature)
            while at >= 0:
                data[at + flags] |= 1
                at = data.find(signature, at + 1)
        path.write_bytes(data)
        refused(path, "is encrypted")

    def test_arrays_of_other_types(self, tmp_path):
        refused(self.save(tmp_path, user=["a", "b"]), "user must hold integers", error=TypeError)
        refused(self.save(tmp_path, user=[0.5, 1]), "user must hold integers", error=TypeError)
        refused(self.save(tmp_path, user=3), "user must have one dimension", implicit=True)
        refused(self.save(tmp_path, user=np.array([1, 2**64 - 1], "u8")), "must fit int64")


class TestText:
    def write(self, tmp_path, content, name="ratings.csv"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    @pytest.mark.parametrize("reader", [read_ratings, read_items])
    def test_compressed_files_that_are_damaged(self, tmp_path, reader):
        whole = gzip.compress(LINES * 50)
        for data in (b"nonsense", whole[: len(whole) // 2], whole[:40] + b"\xff" * 9 + whole[49:]):
            path = self.write(tmp_path, data, "ratings.csv.gz")
            refused(path, "cannot be decompressed", reader=reader)

    def test_zeros(self, tmp_path):
        path = self.write(tmp_path, gzip.compress(bytes(10**8)), "ratings.csv.gz")
        refused(path, "another binary file")
        refused(path, "line 1: a line must have at most", reader=read_items)

    @pytest.mark.parametrize("reader", [read_ratings, read_items])
    def test_a_line_without_end(self, tmp_path, reader):
        data = gzip.compress(b"1,2,3\n" + b"a" * 10**7)
        refused(
            self.write(tmp_path, data, "ratings.csv.gz"),
            "line 2: a line must have at most 1,048,576 characters",
            reader=reader,
        )

    def test_a_record_without_end(self, tmp_path):
        data = b"1,2,3\n1,2," + b'"a\n",' * 300_000
        refused(self.write(tmp_path, data), "line 2: a record must have at most 1,048,576")

    def test_empty_lines_without_end(self, tmp_path):
        path = self.write(tmp_path, gzip.compress(b"\n" * 10**8), "ratings.csv.gz")
        refused(path, "begins with empty lines")

    @pytest.mark.parametrize("reader", [read_ratings, read_items])
    def test_what_unpacks_to_far_more_than_the_file(self, tmp_path, reader):
        data = bz2.compress(b"1,2,3\n" * 500_000) * 100
        refused(
            self.write(tmp_path, data, "ratings.csv.bz2"), "must unpack to at most", reader=reader
        )

    @pytest.mark.parametrize("encoding", ["hex", "base64", "rot13", "undefined", "a\0b", 5])
    def test_encodings_that_are_none(self, tmp_path, encoding):
        path = self.write(tmp_path, LINES)
        for reader in (read_ratings, read_items):
            with pytest.raises(
                ValueError, match=r"encoding must be known to Python, and be one of"
            ):
                reader(path, encoding=encoding)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-7", "idna", "punycode"])
    def test_encodings_that_do_not_fit(self, tmp_path, encoding):
        data = "user,item,rating\nü+,ü+é,3\n".encode("latin-1")
        refused(self.write(tmp_path, data), encoding=encoding)

    def test_titles_in_another_encoding(self, tmp_path):
        path = self.write(tmp_path, b"1,Am\xe9lie\n")
        assert read_items(path) == {1: "Am\xe9lie"}
        refused(path, "line 1: there must be utf-8 text", reader=read_items, encoding="utf-8")

    def test_one_column(self, tmp_path):
        path = self.write(tmp_path, b"7\n8\n")
        refused(path, "no column known to be the item", implicit=True, separator=",")

    def test_ids_of_very_different_lengths(self, tmp_path):
        data = b"".join(b"%d,1,3\n" % i for i in range(2000)) + b"a" * 900_000 + b",1,3\n"
        refused(self.write(tmp_path, data), "must be of similar lengths")

    def test_names_of_columns_are_shown_safely(self, tmp_path):
        path = self.write(tmp_path, b"a\x1b[31m,b,c\n1,2,3\n")
        with pytest.raises(ValueError, match=r"its columns are 'a\\x1b\[31m', b, c"):
            read_ratings(path, header=True)


class TestParquet:
    def save(self, tmp_path, **columns):
        table = pa.table({"user": [1, 2], "item": [3, 4], "rating": [5.0, 4.0], **columns})
        pq.write_table(table, tmp_path / "ratings.parquet")
        return tmp_path / "ratings.parquet"

    def test_every_truncation(self, tmp_path):
        path = self.save(tmp_path)
        whole = path.read_bytes()
        for length in range(4, len(whole), 37):
            path.write_bytes(whole[:length])
            refused(path, "cannot be read as a Parquet file")

    @pytest.mark.parametrize(
        "ids",
        [
            [[1], [2]],
            [{"a": 1}, {"a": 2}],
            [b"a", b"b"],
            pa.DictionaryArray.from_arrays([0, 1], [b"a", b"b"]),
            pa.array([1, 2], pa.duration("s")),
            pa.array([1, 2], pa.date32()),
            pa.array([1, 2], pa.decimal128(5)),
        ],
        ids=str,
    )
    def test_ids_of_other_types(self, tmp_path, ids):
        refused(
            self.save(tmp_path, user=ids),
            "column 'user' must hold integers or strings, but its type is",
            error=TypeError,
        )

    def test_dictionaries_of_lists(self):
        ids = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([[1], [2]]))
        with pytest.raises(TypeError, match="must hold integers or strings"):
            Ratings.from_frame(pa.table({"user": ids, "item": [1, 2], "rating": [1, 2]}))

    @pytest.mark.parametrize("kind", [pa.uint64(), pa.uint8(), pa.int16()])
    def test_dictionaries_with_codes_of_any_type(self, kind):
        ids = pa.DictionaryArray.from_arrays(pa.array([1, 0], kind), pa.array(["b", "a"]))
        ratings = Ratings.from_frame(pa.table({"user": ids, "item": [1, 2], "rating": [1, 2]}))
        assert ratings.user_ids.tolist() == ["a", "b"]

    def test_rows_that_take_no_room(self, tmp_path):
        zeros = pa.array(np.zeros(2 * 10**7, np.int32))
        path = self.save(tmp_path, user=zeros, item=zeros, rating=zeros)
        refused(path, "must unpack to at most 256 MiB")

    def test_a_long_id_that_is_repeated_takes_its_room_once(self, tmp_path):
        n, long = 100_000, "a" * 100_000
        codes = pa.array(np.zeros(n, np.int32))
        ids = pa.DictionaryArray.from_arrays(codes, pa.array([long]))
        path = self.save(
            tmp_path, user=ids, item=np.arange(n), rating=np.ones(n)
        )  # 10 GB as plain strings
        assert read_ratings(path).user_ids.tolist() == [long]

    def test_text_that_is_not_utf8(self, tmp_path):
        ids = pa.Array.from_buffers(
            pa.string(), 2, [None, *pa.array([b"a\xff", b"b"]).buffers()[1:]]
        )
        refused(self.save(tmp_path, user=ids), "Invalid UTF8")

    def test_integers_beyond_int64(self, tmp_path):
        huge = pa.array([1, 2**64 - 1], pa.uint64())
        refused(self.save(tmp_path, user=huge), "column 'user' must fit int64")
        refused(self.save(tmp_path, timestamp=huge), "column 'timestamp' must fit int64")


class TestArrays:
    def test_timestamps_beyond_int64(self):
        for stamps in (np.array([2**63], "u8"), np.array([1e300]), np.array([-1e19])):
            with pytest.raises(ValueError, match=r"timestamps must fit int64, but one is"):
                Ratings.from_arrays([1], [1], [1], stamps)
        half = np.array([7], np.float16)
        assert Ratings.from_arrays([1], [1], [1], half).timestamps.tolist() == [7]

    def test_ids_that_numpy_would_change(self):
        with pytest.raises(ValueError, match=r"users must not have the character U\+0000"):
            Ratings.from_arrays(["a", "a\0"], [1, 1], [1, 2])
        with pytest.raises(ValueError, match=r"users must not have the character U\+0000"):
            Ratings.from_arrays(np.array(["a", "\0a"]), [1, 1], [1, 2])
        with pytest.raises(ValueError, match=r"users must be Unicode text, .* surrogate"):
            Ratings.from_arrays(["a", "\udcff"], [1, 1], [1, 2])

    def test_no_csr(self):
        with pytest.raises(TypeError, match=r"csr must be a CSR, but it is a list"):
            Ratings([[1, 2]])


MUTATED = """
import resource, sys
from isthmus import read_items, read_ratings
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for path in sys.argv[1:]:
    for reader in (read_ratings, read_items):
        try:
            reader(path)
        except Exception as error:
            assert type(error) in (ValueError, TypeError), (path, repr(error))
            assert path in str(error), (path, repr(error))
"""


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.npz", "r.parquet", "csr.npz", "csc.npz"])
def test_flipped_bytes(tmp_path, name):
    """What random damage does: nothing, or one clear error."""
    path = tmp_path / name
    ratings = Ratings.from_arrays(
        ["ann", "bob"] * 10, np.arange(20) % 5, np.arange(20), duplicates="last"
    )
    if name.startswith("r."):
        write_ratings(ratings, path)
    else:
        sparse.save_npz(path, ratings.to_matrix().asformat(path.stem))
    whole, draw = path.read_bytes(), random.Random(0)
    paths = []
    for number in range(150):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 2, 8])):
            data[draw.randrange(len(data))] = draw.choice([0, 127, 255, draw.randrange(256)])
        paths.append(tmp_path / f"{number}.{name}")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", MUTATED, *map(str, paths)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
