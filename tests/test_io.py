import gzip
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from isthmus._util.files import TEMPORARY, atomic_write
from isthmus.data.io import read_ratings, write_ratings
from isthmus.data.items import ItemText, read_item_texts, read_items
from isthmus.data.ratings import Ratings


def cells(ratings):
    users, items, values, stamps = ratings.to_arrays()
    stamps = [None] * len(values) if stamps is None else stamps.tolist()
    return list(zip(users.tolist(), items.tolist(), values.tolist(), stamps, strict=True))


@pytest.fixture
def write(tmp_path):
    def write(content, name="ratings.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


LAYOUTS = {
    "movielens dat": "2::7::0::10\n1::7::3.5::11\n",
    "tab": "2\t7\t0\t10\n1\t7\t3.5\t11\n",
    "comma, no header": "2,7,0,10\n1,7,3.5,11\n",
    "header": "userId,movieId,rating,timestamp\n2,7,0,10\n1,7,3.5,11\n",
    "other order": "timestamp;score;item_id;user_id\n10;0;7;2\n11;3.5;7;1\n",
    "typed header": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "2\t7\t0\t10.0\n1\t7\t3.5\t11.0\n",
    "quotes": '"User-ID","ISBN","Book-Rating","Date"\n"2","7","0","10"\n"1","7","3.5","11"\n',
    "blanks": "2, 7, 0, 10\n1, 7, 3.5, 11\n",
    "space": "2 7 0 10\n1 7 3.5 11\n",
    "bar, CRLF, empty lines": "\r\n2|7|0|10\r\n\r\n1|7|3.5|11\r\n\r\n",
    "no last newline": "2,7,0,10\n1,7,3.5,11",
    "byte order mark": "\ufeffuserId,movieId,rating,timestamp\n2,7,0,10\n1,7,3.5,11\n",
    "unused columns": "userId,title,movieId,rating,timestamp\n2,Heat,7,0,10\n1,Heat,7,3.5,11\n",
    "mixed numbers": "2,7,0,10\n1,7,3.5,11.0\n",
    "zones": "2,7,0,1970-01-01T00:00:10Z\n1,7,3.5,1970-01-01T02:00:11.999+02:00\n",
    "fractions": "2,7,0,1970-01-01 00:00:10\n1,7,3.5,1970-01-01 00:00:11.1234567\n",
    "dates": "user,item,rating,date\n2,7,0,1970-01-01 00:00:10\n1,7,3.5,1970-01-01 00:00:11\n",
}


class TestText:
    @pytest.mark.parametrize("layout", [*LAYOUTS])
    def test_layouts(self, write, layout):
        assert cells(read_ratings(write(LAYOUTS[layout]))) == [(1, 7, 3.5, 11), (2, 7, 0.0, 10)]

    @pytest.mark.parametrize("columns", [("w", "x", "y"), (0, 1, 2), ("w", 1, "y")])
    def test_columns_by_name_and_position(self, write, columns):
        path = write("w,x,y,z\n1,2,3,no time\n")
        assert cells(read_ratings(path, columns=columns)) == [(1, 2, 3.0, None)]

    def test_a_fourth_column_that_is_no_time_is_left_alone(self, write):
        assert cells(read_ratings(write("1,2,3,fine\n"))) == [(1, 2, 3.0, None)]

    def test_times_are_rounded_down_also_before_1970(self, write):
        path = write("1,2,3,1969-12-31T23:59:58.5\n")
        assert cells(read_ratings(path)) == [(1, 2, 3.0, -2)]

    def test_integers_keep_all_their_digits(self, write):
        path = write("1,2,3,1577836800000000001\n")
        assert cells(read_ratings(path)) == [(1, 2, 3.0, 1577836800000000001)]

    @pytest.mark.parametrize(
        ("text", "options"),
        [
            ("1,2\n1,3\n", {"implicit": True}),
            ("1,2\n1,3\n", {"columns": (0, 1)}),
            ("9,1,2,5\n9,1,3,5\n", {"columns": (1, 2, None)}),
            ("user,item,rating\n1,2,0\n1,3,4\n", {"implicit": True}),
        ],
    )
    def test_implicit_ratings_when_asked_for(self, write, text, options):
        assert cells(read_ratings(write(text), **options)) == [(1, 2, 1, None), (1, 3, 1, None)]

    def test_header_argument(self, write):
        path = write("alice,heat,5\nbob,heat,4\n")
        assert read_ratings(path).nnz == 2
        assert read_ratings(path, header=True, columns=(0, 1, 2)).nnz == 1

    def test_a_file_of_words_alone_has_no_header_unless_it_names_its_columns(self, write):
        assert read_ratings(write("a,b\nc,d\n"), implicit=True).nnz == 2
        assert read_ratings(write("user,item\nc,d\n"), implicit=True).nnz == 1

    @pytest.mark.parametrize(
        ("ids", "expected"),
        [
            (["10", "9"], [9, 10]),
            (["10", "007"], ["007", "10"]),
            (["10", "x9"], ["10", "x9"]),
            (["x", "-9"], ["-9", "x"]),
            (["10", "9.0"], ["10", "9.0"]),
            (["1", "9223372036854775807"], [1, 9223372036854775807]),
            (["1", "9223372036854775808"], ["1", "9223372036854775808"]),
            (["1", "9999999999999999999999"], ["1", "9999999999999999999999"]),
            (["NA", "null"], ["NA", "null"]),
            (["a:b", "c"], ["a:b", "c"]),
            (["é", "z"], ["z", "é"]),
        ],
    )
    @pytest.mark.parametrize("separator", [",", "::", "\t"])
    def test_ids_are_integers_only_if_all_are_written_so(self, write, ids, expected, separator):
        lines = (separator.join((name, "1", "3")) + "\n" for name in ids)
        assert read_ratings(write("".join(lines))).user_ids.tolist() == expected

    @given(
        st.lists(
            st.tuples(
                st.text("ab:", min_size=1, max_size=6).filter(lambda s: "::" not in s),
                st.integers(0, 10**12),
            ),
            min_size=1,
            max_size=40,
            unique=True,
        ),
        st.integers(1, 9),
    )
    def test_double_colons_across_blocks(self, rows, size):
        from isthmus.data._text import _DoubleColons

        class Blocks:
            def __init__(self, data):
                self.data = data

            def read(self, n):
                out, self.data = self.data[: min(n, size)], self.data[min(n, size) :]
                return out

        # A single colon beside a double one is ambiguous: cut from the left, as str.split does.
        text = "".join(f"{name}::{number}\n" for name, number in rows)
        stream, out = _DoubleColons(Blocks(text.encode())), b""
        while block := stream.read(64):
            out += block
        assert out.decode().split("\x1f") == text.split("::")

    def test_many_blocks(self, tmp_path):
        n = 200_000
        path = tmp_path / "ratings.dat"
        path.write_text(
            "".join(f"{i // 7}::{i % 7 + i % 3 * 10}::{i % 5}::{i}\n" for i in range(n))
        )
        ratings = read_ratings(path)
        assert ratings.nnz == n
        users, items, values, stamps = ratings.to_arrays()
        np.testing.assert_array_equal(users, stamps // 7)
        np.testing.assert_array_equal(items, stamps % 7 + stamps % 3 * 10)
        np.testing.assert_array_equal(values, stamps % 5)

    def test_quoted_newlines_across_blocks(self, write):
        n = 100_000  # more than a block holds
        path = write("user,item,rating\n" + "".join(f'"a\nb\n{i}\n",7,3\n' for i in range(n)))
        assert set(read_ratings(path).user_ids) == {f"a\nb\n{i}" for i in range(n)}

    def test_a_quoted_newline_in_the_header(self, write):
        path = write('user,item,rating,"a\nb"\n1,2,3,4\n')
        assert cells(read_ratings(path)) == [(1, 2, 3.0, None)]

    def test_compressed(self, tmp_path):
        path = tmp_path / "ratings.csv.gz"
        path.write_bytes(gzip.compress(b"1,2,3\n"))
        assert cells(read_ratings(path)) == [(1, 2, 3.0, None)]

    def test_encoding(self, write):
        path = write("Andr\xe9,Am\xe9lie,5\n".encode("latin-1"))
        assert read_ratings(path, encoding="latin-1").user_ids.tolist() == ["Andr\xe9"]

    def test_duplicates(self, write):
        path = write("1,2,3\n1,2,4\n")
        assert read_ratings(path, duplicates="mean").values.tolist() == [3.5]
        assert read_ratings(path, duplicates="last").values.tolist() == [4]

    def test_format_sets_the_separator(self, write):
        path = write("1,2\t7\t3\n", "ratings")
        assert read_ratings(path, format="tsv").user_ids.tolist() == ["1,2"]


GOOD = "1,2,3,4\n"
BAD = {
    "too few fields": ("1,2,3,4\n5,6,7\n", {}, r"line 2: there must be 4 fields .* are 3: '5,6,7'"),
    "too many fields": ("1::2::3\n1::3::3\n1::2::3::4\n", {}, r"line 3: there must be 3 fields"),
    "rating": ("user,item,rating\n1,2,3\n\n1,3,x\n", {}, r"line 4: the rating .* but it is 'x'"),
    "no rating": ("1,2,3\n1,3,\n", {}, r"line 2: the rating must be a finite number, but it is ''"),
    "nan": ("1,2,3\n1,3,nan\n", {}, r"line 2: the rating must be a finite number, but it is 'nan'"),
    "infinite": ("1,2,3\n1,3,1e99\n", {}, r"line 2: the rating must be a finite .* '1e99'"),
    "no user": ("1,2,3\n ,3,4\n", {}, r"line 2: the user must not be empty, but it is: ' ,3,4'"),
    "no item": ("1::2::3\n1::::4\n", {}, r"line 2: the item must not be empty"),
    "timestamp": ("1,2,3,4\n1,3,4,x\n", {}, r"line 2: the timestamp must be a whole .* 'x'"),
    "time": ("1,2,3,4.0\n1,3,4,x\n", {}, r"line 2: the timestamp must be a whole number .* 'x'"),
    "late date": (
        "1,2,3,2001-02-03\n1,3,4,5\n",
        {},
        r"line 2: the timestamp must be as 2020-01-31",
    ),
    "late zone": (
        "1,2,3,2001-02-03\n1,3,4,2001-02-03T04:05:06Z\n",
        {},
        r"line 2: the timestamp must be as .* without a zone, but it is '2001-02-03T04:05:06Z'",
    ),
    "no zone": (
        "1,2,3,2001-02-03T04:05:06Z\n1,3,4,2001-02-03T04:05:06\n",
        {},
        r"line 2: the timestamp must be as .* with a zone, but it is '2001-02-03T04:05:06'",
    ),
    "other date": (
        "user,item,rating,date\n1,2,3,1/2/2003\n",
        {},
        r"line 2: the timestamp must be a whole .* or all as 2020-01-31T12:30:00Z.* '1/2/2003'",
    ),
    "fraction of a second": (
        "1,2,3,978300760\n1,3,4,978300760.5\n",
        {},
        r"line 2: the timestamp must be a whole number of seconds.* '978300760\.5'",
    ),
    "seconds that are too many": ("1,2,3,4\n1,3,4,1e300\n", {}, r"line 2: the timestamp must be"),
    "seconds that are no number": ("1,2,3,4\n1,3,4,nan\n", {}, r"line 2: the timestamp .* 'nan'"),
    "negative": ("1,2,3\n1,-3,3\n", {}, r"line 2: the item must be at least 0 .* but it is '-3'"),
    "underscore": ("1,2,3\n1,3,1_0\n", {}, r"line 2: the rating must be a finite .* '1_0'"),
    "long field": (f"1,2,3\n1,3,{'9' * 150_000}\n", {}, r"line 2: there must be 3 fields"),
    "encoding of a fourth column": (b"a,b,3,4\na,c,3,\xe9\n", {}, r"line 2: the timestamp must"),
    "control": ("1::2::3\n\x1f::2::3\n", {}, r"line 2: there must be no character U\+001F"),
    "encoding": (b"a,b,3\n\xe9,b,3\n", {}, r"line 2: the user must be utf-8 text.*'latin-1'"),
    "blank line": ("1,2,3\n  \n1,3,3\n", {}, r"line 2: there must be 3 fields"),
    "after a quoted newline": (
        'user,item,rating\n"a\nb",2,3\nc,3,zz\n',
        {},
        r"line 4: the rating must be a finite number, but it is 'zz'",
    ),
    "in a record of two lines": (
        'user,item,rating\nc,3,4\n"a\nb",2\n',
        {},
        r"line 3: there must be 3 fields separated by ',', but there are 2: 'a\\nb,2'",
    ),
    "far line": ("1,2,3\n" + "1,2,3\n" * 300_000 + "1,2\n", {}, r"line 300002: there must be 3"),
    "empty": ("", {}, r"must hold at least one rating, but it is empty\."),
    "only newlines": ("\n\n", {}, r"must hold at least one rating, but it is empty\."),
    "only a header": ("user,item,rating\n", {}, r"at least one rating, but it has only a header"),
    "binary": (b"\x7fELF\0\0\0\0", {}, r"must be a text, Parquet or npz file, but it is another"),
    "no separator": ("hello\n", {}, r"must have fields separated by .* line is 'hello'; pass sep"),
    "format": (GOOD, {"format": "xlsx"}, r"format must be one of 'csv', .* but it was 'xlsx'\."),
    "separator": (GOOD, {"separator": "ab"}, r"separator must be one ASCII character or .*'ab'"),
    "separator of many bytes": (GOOD, {"separator": "é"}, r"must be one ASCII character or .* 'é'"),
    "unknown encoding": (GOOD, {"encoding": "u8x"}, r"encoding must be known to Python, .*'u8x'"),
    "unknown name": (
        "user,item,rating\n1,2,3\n",
        {"columns": ("user", "thing", "rating")},
        r"has no column 'thing' for the item; its columns are user, item, rating\.",
    ),
    "name without header": (
        "user,item,rating\n1,2,3\n",
        {"columns": ("user", "item", "rating"), "header": False},
        r"has no header, so the user column must be a position, but it was 'user'",
    ),
    "position": (GOOD, {"columns": (0, 1, 4)}, r"rating column must lie between 0 and 3 .* was 4"),
    "same column": (GOOD, {"columns": (0, 1, 1)}, r"but one was named twice"),
    "one column": (GOOD, {"columns": (0,)}, r"columns must name user, item and, .* was \(0,\)\."),
    "unnamed": ("a,b,c\n1,2,3\n", {}, r"no column known to be the user; its columns are a, b, c"),
    "no rating column": ("1,2\n", {}, r"it has 2 columns: name it, or pass implicit=True"),
    "duplicate": ("1,2,3\n1,2,4\n", {}, r"txt: a user may rate an item once, .* user 1 and item 2"),
    "parquet": (b"PAR1 and then nothing", {}, r"cannot be read as a Parquet file"),
    "npz": (b"PK and then nothing", {"format": "npz"}, r"cannot be read as an npz file"),
    "npz columns": (GOOD, {"format": "npz", "columns": (0, 1)}, r"columns is for text and Parquet"),
    "npz header": (
        GOOD,
        {"format": "npz", "header": True},
        r"header is for text files, but .* npz",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(write, case):
    content, options, message = BAD[case]
    path = write(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_ratings(path, **options)
    if "must be one" not in message and "known to Python" not in message:
        assert str(path) in str(caught.value) or "column" in message


def test_columns_must_be_a_sequence(write):
    with pytest.raises(TypeError, match=r"columns must be a sequence of 2 to 4 .* was 'user'\."):
        read_ratings(write(GOOD), columns="user")
    with pytest.raises(TypeError, match=r"the item column must be a name or a position, .* 1\.5"):
        read_ratings(write(GOOD), columns=(0, 1.5, 2))


def test_damaged_compression(write):
    with pytest.raises(ValueError, match="cannot be decompressed"):
        read_ratings(write(b"no gzip at all", "ratings.csv.gz"))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv must be a file, but there is none"):
        read_ratings(tmp_path / "absent.csv")
    with pytest.raises(IsADirectoryError, match="must be a file, but it is a folder"):
        read_ratings(tmp_path)


class TestOtherFormats:
    def test_parquet(self, tmp_path):
        path = tmp_path / "ratings.parquet"
        frame = pd.DataFrame({"u": ["b", "a"], "movie_id": [1, 2], "stars": [3, 4], "x": [0, 0]})
        frame.to_parquet(path)
        assert cells(read_ratings(path, columns=("u", "movie_id", "stars"))) == [
            ("a", 2, 4.0, None),
            ("b", 1, 3.0, None),
        ]
        assert read_ratings(path, columns=(0, 1)).values.tolist() == [1, 1]
        with pytest.raises(ValueError, match=r"no column known to be the user; its columns are u,"):
            read_ratings(path)

    def test_parquet_with_missing_ratings(self, tmp_path):
        path = tmp_path / "ratings.parquet"
        pd.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [3, None]}).to_parquet(path)
        with pytest.raises(
            ValueError, match=r"parquet: column 'rating' must have no missing value"
        ):
            read_ratings(path)

    def test_scipy_npz(self, tmp_path):
        path = tmp_path / "matrix.npz"
        X = sparse.coo_array(([0.0, 2.0], ([1, 0], [2, 0])), shape=(3, 4)).tocsr()
        sparse.save_npz(path, X)
        ratings = read_ratings(path)
        assert ratings.shape == (3, 4)
        assert cells(ratings) == [(0, 0, 2.0, None), (1, 2, 0.0, None)]

    def test_npz_layout(self, tmp_path):
        path = tmp_path / "ratings.npz"
        np.savez(path, user=[1, 0], item=[0, 2], rating=[0.0, 5], shape=[3, 4], user_id=[9, 8, 7])
        ratings = read_ratings(path)
        assert ratings.shape == (3, 4)
        assert cells(ratings) == [(9, 2, 5.0, None), (8, 0, 0.0, None)]

    def test_npz_without_shape_is_as_large_as_its_positions(self, tmp_path):
        path = tmp_path / "ratings.npz"
        np.savez(path, user=[4], item=[2])
        assert read_ratings(path, implicit=True).shape == (5, 3)
        with pytest.raises(ValueError, match=r"but it has no rating; it has item, user"):
            read_ratings(path)

    def test_npz_with_positions_beyond_its_shape(self, tmp_path):
        path = tmp_path / "ratings.npz"
        np.savez(path, user=[4], item=[2], rating=[1], shape=[4, 3])
        with pytest.raises(ValueError, match=r"npz: users must be among the 4 user ids"):
            read_ratings(path)

    def test_npz_with_objects_is_not_unpickled(self, tmp_path):
        path = tmp_path / "ratings.npz"
        np.savez(path, user=np.array([object()]), item=[2], rating=[1])
        with pytest.raises(
            ValueError, match=r"npz file: its array user holds neither numbers nor strings"
        ):
            read_ratings(path)


IDS = {
    "integers": st.integers(0, 2**63 - 1),
    "strings": st.text("abcé:;\"', 1", min_size=1).filter(lambda s: s == s.strip() != ""),
}


class TestWrite:
    @pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npz", "csv.gz", "tsv.gz"])
    @pytest.mark.parametrize("kind", IDS)
    @settings(max_examples=30, deadline=None)  # files are slow on a busy machine
    @given(data=st.data())
    def test_round_trip(self, tmp_path_factory, suffix, kind, data):
        pairs = data.draw(
            st.lists(st.tuples(IDS[kind], st.integers(0, 9)), min_size=1, max_size=5, unique=True)
        )
        values = [data.draw(st.floats(-(2.0**49), 2.0**49, width=32)) for _ in pairs]
        stamps = data.draw(st.sampled_from([None, [*range(len(pairs))]]))
        users, items = zip(*pairs, strict=True)
        # Beside an id that no integer looks like, digits stay text when they are read.
        if kind == "strings":
            users, items = (*users, "z"), (*items, 0)
            values, stamps = [*values, 0.0], stamps and [*stamps, 9]
        ratings = Ratings.from_arrays(users, items, values, stamps)
        path = tmp_path_factory.mktemp("written") / f"ratings.{suffix}"
        write_ratings(ratings, path)
        assert cells(read_ratings(path)) == cells(ratings)

    def test_npz_keeps_what_has_no_ratings(self, tmp_path):
        ratings = Ratings.from_arrays([1], [1], [3], user_ids=[2, 1], item_ids=[1, 5])
        write_ratings(ratings, tmp_path / "ratings.npz")
        read = read_ratings(tmp_path / "ratings.npz")
        assert read.user_ids.tolist() == [2, 1]
        assert read.item_ids.tolist() == [1, 5]

    def test_errors(self, tmp_path):
        ratings = Ratings.from_arrays([1], [1], [3])
        with pytest.raises(ValueError, match=r"format must be csv, .*, but for .* it was 'xlsx'\."):
            write_ratings(ratings, tmp_path / "ratings.xlsx")
        with pytest.raises(ValueError, match=r"path must not end in \.gz for the format npz"):
            write_ratings(ratings, tmp_path / "ratings.npz.gz")
        with pytest.raises(TypeError, match=r"ratings must be Ratings, but it is a list"):
            write_ratings([1], tmp_path / "ratings.csv")
        with pytest.raises(FileNotFoundError, match=r"the folder .*absent is missing"):
            write_ratings(ratings, tmp_path / "absent" / "ratings.csv")
        assert list(tmp_path.iterdir()) == []


class TestAtomicWrite:
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")

        def fail_half_way():
            with atomic_write(path) as temporary:
                temporary.write_text("half of the n")
                raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            fail_half_way()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_the_new_file_appears_at_the_end(self, tmp_path):
        path = tmp_path / "file"
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            assert temporary.parent == path.parent
            assert not path.exists()
        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_is_refused(self, tmp_path):
        with pytest.raises(IsADirectoryError, match="it is a folder"), atomic_write(tmp_path):
            pass

    @pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX")
    def test_modes_and_links_are_kept(self, tmp_path):
        path, link = tmp_path / "file", tmp_path / "link"
        path.write_text("old")
        path.chmod(0o640)
        link.symlink_to(path)
        with atomic_write(link) as temporary:
            temporary.write_text("new")
        assert link.is_symlink()
        assert path.read_text() == "new"
        assert path.stat().st_mode & 0o777 == 0o640

    @pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
    def test_a_killed_process_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        program = (
            "import os, signal, sys\n"
            "from isthmus._util.files import atomic_write\n"
            "with atomic_write(sys.argv[1]) as temporary:\n"
            "    temporary.write_text('half')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        process = subprocess.run([sys.executable, "-c", program, path], check=False)
        assert process.returncode == -signal.SIGKILL
        assert path.read_text() == "old"
        left = [file.name for file in tmp_path.iterdir() if file != path]
        assert len(left) == 1
        assert left[0].startswith(TEMPORARY[0])
        assert left[0].endswith(TEMPORARY[1])

    @pytest.mark.skipif(os.name == "nt", reason="SIGTERM is POSIX")
    def test_a_terminated_process_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        program = (
            "import os, signal, sys, time\n"
            "from isthmus._util.files import atomic_write\n"
            "with atomic_write(sys.argv[1]) as temporary:\n"
            "    temporary.write_text('half')\n"
            "    os.kill(os.getpid(), signal.SIGTERM)\n"
            "    time.sleep(60)\n"
        )
        process = subprocess.run([sys.executable, "-c", program, path], check=False, timeout=50)
        assert process.returncode == -signal.SIGTERM
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(os.name == "nt", reason="SIGTERM is POSIX")
    @pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, lambda *_: None])
    def test_signals_are_handled_as_before(self, tmp_path, handler):
        before = signal.signal(signal.SIGTERM, handler)
        try:
            with atomic_write(tmp_path / "file"):
                handled = signal.getsignal(signal.SIGTERM) is not handler
            assert handled == (handler is signal.SIG_DFL)
            assert signal.getsignal(signal.SIGTERM) is handler
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_threads_write_as_well(self, tmp_path):
        def write():
            with atomic_write(tmp_path / "file") as temporary:
                temporary.write_text("new")

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert (tmp_path / "file").read_text() == "new"

    @pytest.mark.parametrize("length", [236, 255])
    def test_names_may_be_as_long_as_the_system_allows(self, tmp_path, length):
        path = tmp_path / ("n" * length)
        with atomic_write(path) as temporary:
            temporary.write_text("new")
        assert path.read_text() == "new"

    def test_a_full_disk_is_the_systems_error_and_names_the_file(self, tmp_path, largest_file):
        path = tmp_path / "file"
        with (
            pytest.raises(OSError, match=r"File too large: .*/file'"),
            largest_file(100),
            atomic_write(path) as temporary,
        ):
            temporary.write_bytes(bytes(1000))
        assert list(tmp_path.iterdir()) == []


class TestItems:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                'movieId,title,genres\n2,"Heat, The",Crime\n1,Alien,Horror\n',
                {2: "Heat, The", 1: "Alien"},
            ),
            ("1::Alien: 2::Horror|Sci-Fi\n", {1: "Alien: 2"}),
            ("1|Alien|01-Jan-1979||http://example.org|0|1\n", {1: "Alien"}),
            ("007\tBond\n1\tAlien\n", {"007": "Bond", "1": "Alien"}),
        ],
    )
    def test_layouts(self, write, text, expected):
        assert read_items(write(text)) == expected

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_encodings_are_found(self, write, encoding):
        assert read_items(write("1::Am\xe9lie::Comedy\n".encode(encoding))) == {1: "Am\xe9lie"}

    @pytest.mark.parametrize(
        ("text", "title", "detail"),
        [
            ("7::Heat (1995)::Action|Crime\n", "Heat (1995)", "Action · Crime"),
            ("movieId,title,genres\n7,Heat,Action|Crime\n", "Heat", "Action · Crime"),
            (
                "book_id,isbn,authors,title,year,url,count\n7,019,A. Author,Heat,1995,https://a,12345\n",
                *("Heat", "A. Author · 1995"),
            ),
            ("item_id:token\tyear:token\tmovie_title:token_seq\n7\t1995\tHeat\n", "Heat", "1995"),
            ("7|Heat (1995)|01-Jan-1995||http://a|0|1" + 17 * "|0" + "\n", "Heat (1995)", "Action"),
            ("7,Heat\n", "Heat", ""),
            ("7,Heat," + 200 * "x" + "\n", "Heat", 120 * "x" + "…"),
        ],
    )
    def test_other_columns_are_a_detail(self, write, text, title, detail):
        assert read_item_texts(write(text)) == {7: ItemText(title, detail)}
        assert read_items(write(text)) == {7: title}

    def test_errors(self, write):
        with pytest.raises(ValueError, match=r"line 2: there must be an id and a title .* '2'\."):
            read_items(write("1,Alien\n2\n"))
        with pytest.raises(
            ValueError, match=r"line 2: every id must have one line, but '1' has two"
        ):
            read_items(write("1,Alien\n1,Heat\n"))


@pytest.mark.data
class TestRealFiles:
    def test_movielens_100k(self, data_dir):
        text = read_ratings(data_dir / "ml-100k" / "u.data")
        assert repr(text) == "Ratings(943 users x 1682 items, 100,000 ratings in [1, 5])"
        assert cells(text) == cells(read_ratings(data_dir / "ml-100k" / "ratings.npz"))

    def test_movielens_latest(self, data_dir):
        text = read_ratings(data_dir / "ml-latest-small" / "ratings.csv")
        assert repr(text) == "Ratings(610 users x 9724 items, 100,836 ratings in [0.5, 5])"
        assert cells(text) == cells(read_ratings(data_dir / "ml-latest-small" / "ratings.npz"))

    def test_movielens_1m_through_double_colons(self, data_dir, tmp_path):
        known = read_ratings(data_dir / "ml-1m" / "ratings.npz")
        users, items, values, _ = known.to_arrays()
        path = tmp_path / "ratings.dat"
        path.write_text(
            "".join(
                f"{user}::{item}::{value:g}::978300760\n"
                for user, item, value in zip(users, items, values, strict=True)
            )
        )
        ratings = read_ratings(path)
        assert repr(ratings) == "Ratings(6040 users x 3706 items, 1,000,209 ratings in [1, 5])"
        np.testing.assert_array_equal(ratings.indices, known.indices)
        np.testing.assert_array_equal(ratings.values, known.values)

    @pytest.mark.parametrize(
        ("name", "count", "key", "title"),
        [
            ("ml-1m/movies.dat", 3883, 2858, "American Beauty (1999)"),
            ("ml-100k/u.item", 1682, 50, "Star Wars (1977)"),
            ("ml-latest-small/movies.csv", 9742, 11, "American President, The (1995)"),
        ],
    )
    def test_titles(self, data_dir, name, count, key, title):
        items = read_items(data_dir / name)
        assert len(items) == count
        assert items[key] == title
