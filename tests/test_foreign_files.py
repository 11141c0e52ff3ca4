"""Raw files of other makers, as they come."""

import json

import numpy as np
import pandas as pd
import pytest

from isthmus import Ratings, read_items, read_ratings

NOW = 1_341_100_800


@pytest.fixture
def write(tmp_path):
    def write(content, name="ratings.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def cells(ratings):
    users, items, values, stamps = ratings.to_arrays()
    times = [None] * len(users) if stamps is None else stamps.tolist()
    return list(zip(users.tolist(), items.tolist(), values.tolist(), times, strict=True))


class TestMakers:
    def test_book_crossing(self, write):
        text = (
            '"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n'
            '"276726";"0155061224\xe9";"5"\r\n'
        )
        path = write(text.encode("latin-1"), "BX-Book-Ratings.csv")
        ratings = read_ratings(path, encoding="latin-1")
        assert cells(ratings) == [(276725, "034545104X", 0, None), (276726, "0155061224é", 5, None)]
        with pytest.raises(ValueError, match=r"line 3: .*encoding='latin-1'"):
            read_ratings(path)

    def test_last_fm_2k(self, write):
        path = write("userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n", "user_artists.dat")
        assert cells(read_ratings(path)) == [(2, 51, 13883, None), (2, 52, 11690, None)]

    def test_last_fm_360k(self, write):
        path = write(
            "00000c28\t3bd73256\tbetty blowtorch\t2137\n00000c28\tf2fb0ff0\tdie Ärzte\t9\n"
        )
        assert cells(read_ratings(path)) == [
            ("00000c28", "3bd73256", 2137, None),
            ("00000c28", "f2fb0ff0", 9, None),
        ]

    def test_steam_200k(self, write):
        path = write(
            "151603712,The Elder Scrolls V Skyrim,purchase,1.0,0\n"
            "151603712,The Elder Scrolls V Skyrim,play,273.0,0\n"
            '53875128,"Deus Ex, Human Revolution",play,62.0,0\n'
        )
        with pytest.raises(ValueError, match=r"pass duplicates=\"mean\", \"sum\" or \"last\""):
            read_ratings(path)
        assert cells(read_ratings(path, duplicates="last")) == [
            (53875128, "Deus Ex, Human Revolution", 62, None),
            (151603712, "The Elder Scrolls V Skyrim", 273, None),
        ]

    def test_amazon_user_first(self, write):
        path = write(f"A2CX7LUOHB2NDG,0321732944,5.0,{NOW}\nA2NWSAGRHCP8N5,0439886341,1.0,{NOW}\n")
        assert cells(read_ratings(path))[0] == ("A2CX7LUOHB2NDG", "0321732944", 5, NOW)

    def test_amazon_item_first(self, write):
        path = write(f"0321732944,A2CX7LUOHB2NDG,5.0,{NOW}\nB00004Y2UT,A2NWSAGRHCP8N5,1.0,{NOW}\n")
        assert cells(read_ratings(path)) == [
            ("A2CX7LUOHB2NDG", "0321732944", 5, NOW),
            ("A2NWSAGRHCP8N5", "B00004Y2UT", 1, NOW),
        ]
        assert read_ratings(path, implicit=True).user_ids[0] == "A2CX7LUOHB2NDG"

    def test_amazon_2023(self, write):
        path = write(f"user_id,parent_asin,rating,timestamp\nAE2,B07,5.0,{NOW}000\n", "a.csv")
        assert cells(read_ratings(path)) == [("AE2", "B07", 5, NOW * 1000)]

    def test_amazon_reviews(self, write):
        lines = [
            {"reviewerID": "A2", "asin": "0000013714", "reviewText": "It, \n", "overall": 5.0},
            {"overall": 3, "asin": "0000013715", "reviewerID": "A2", "helpful": [0, 1]},
        ]
        text = "".join(json.dumps({**line, "unixReviewTime": NOW}) + "\n" for line in lines)
        for name in ("reviews.json", "reviews.txt"):
            assert cells(read_ratings(write(text, name))) == [
                ("A2", "0000013714", 5, NOW),
                ("A2", "0000013715", 3, NOW),
            ]

    def test_yelp(self, write):
        line = {"review_id": "x", "user_id": "mh_-e", "business_id": "XQf", "stars": 3.0}
        text = json.dumps({**line, "date": "2018-07-07 22:09:11"}) + "\n"
        assert cells(read_ratings(write(text, "review.json"))) == [("mh_-e", "XQf", 3, 1531001351)]

    def test_anime(self, write):
        n = 30
        rows = "".join(f"{u},{u % 7},{-1 if u % 3 == 0 else u % 10 + 1}\n" for u in range(1, n))
        path = write("user_id,anime_id,rating\n" + rows, "rating.csv")
        with pytest.warns(UserWarning, match=r"31\.0% of the ratings are -1, far from .*=-1\.$"):
            everything = read_ratings(path)
        assert everything.nnz == n - 1
        rated = read_ratings(path, missing_values=-1)
        assert (rated.nnz, rated.min) == (20, 1)
        assert 3 not in rated.user_ids

    def test_netflix(self, write):
        path = write(
            "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n3:\n885013,4,2005-10-19\n4:\n",
            "combined_data_1.txt",
        )
        day = 86400
        assert cells(read_ratings(path)) == [
            (822109, 1, 5, 12916 * day),
            (885013, 3, 4, 13075 * day),
            (1488844, 1, 3, 13032 * day),
        ]
        assert cells(read_ratings(path, format="netflix")) == cells(read_ratings(path))

    def test_netflix_in_many_blocks(self, write):
        rng = np.random.default_rng(0)
        counts = rng.integers(0, 60, 3000)
        lines, expected = [], []
        for movie, count in enumerate(counts, 1):
            lines.append(f"{movie}:\r\n")
            for user in range(count):
                lines.append(f"{user},{movie % 5 + 1},2005-01-01\r\n")
                expected.append((user, movie))
        ratings = read_ratings(write("".join(lines)))
        assert ratings.nnz == counts.sum() > 2**16
        users, items, values, _ = ratings.to_arrays()
        assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == sorted(expected)
        np.testing.assert_array_equal(values, items % 5 + 1)


class TestNames:
    @pytest.mark.parametrize(
        "header",
        [
            "session,track,plays,accessed",
            "member_id,event,weight,created_at",
            "CustomerID,StockCode,Quantity,visited",
            "account,game,hours,playedAt",
            "username,title,count,last_accessed",
        ],
    )
    def test_are_found(self, write, header):
        path = write(f"{header}\n1,2,3,4\n")
        assert cells(read_ratings(path)) == [(1, 2, 3, 4)]

    def test_the_usual_ones_come_first(self, write):
        path = write("session,user,title,movieId,weight,rating,created,date\n9,1,x,2,9,3,9,4\n")
        assert cells(read_ratings(path)) == [(1, 2, 3, 4)]

    def test_an_item_of_such_a_name_keeps_its_title(self, write):
        assert read_items(write("news,Evening News\nheat,Heat\n")) == {
            "news": "Evening News",
            "heat": "Heat",
        }

    def test_two_of_a_kind_are_refused(self, write):
        with pytest.raises(ValueError, match=r"may be the rating \(plays, weight\): name one"):
            read_ratings(write("user,item,plays,weight\n1,2,3,4\n"))

    def test_the_error_for_others_shows_what_to_give(self, write):
        path = write("who,what,much\n1,2,3\n")
        with pytest.raises(ValueError, match=r"as columns=\['who', 'what', 'much'\] does if these"):
            read_ratings(path)
        assert read_ratings(path, columns=["who", "what", "much"]).nnz == 1
        frame = pd.DataFrame({"thing": [1], "x": [2], "r": [3.0]})
        with pytest.raises(ValueError, match=r"name it, as user='thing', item='x', rating='r' do"):
            Ratings.from_frame(frame, item="x", rating="r")


class TestRepeats:
    def test_sum(self, write):
        path = write("1,2,3,7\n1,2,4,5\n1,3,1,6\n")
        assert cells(read_ratings(path, duplicates="sum")) == [(1, 2, 7, 7), (1, 3, 1, 6)]

    def test_of_implicit_ratings_are_one_or_counted(self, write):
        path = write("user,item,time\n1,2,7\n1,2,5\n1,3,6\n")
        assert cells(read_ratings(path, implicit=True)) == [(1, 2, 1, 7), (1, 3, 1, 6)]
        counted = read_ratings(path, implicit=True, duplicates="sum")
        assert counted.values.tolist() == [2, 1]
        path = path.with_name("r.npz")
        np.savez(path, user=[0, 0], item=[1, 1])
        assert read_ratings(path, implicit=True).values.tolist() == [1]

    def test_too_large_a_sum_is_refused(self):
        with pytest.raises(ValueError, match=r"finite values from -1e\+15 to 1e\+15"):
            Ratings.from_arrays([1, 1], [2, 2], [9e14, 9e14], duplicates="sum")


class TestNotOneLineARating:
    @pytest.mark.parametrize("separator", [",", " ", "\t", ";"])
    def test_a_dense_matrix_is_refused(self, write, separator):
        line = separator.join(["0"] * 150 + ["3.5"] * 150) + "\n"
        path = write(line * 5)
        with pytest.raises(ValueError, match=r"its lines are of 300 numbers, as those of a dense"):
            read_ratings(path)
        assert read_ratings(path, columns=(0, 1, 2), duplicates="last").nnz == 1

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("[[1, 2, 3],\n [1, 3, 4]]\n", "a.json"),
            ("{'reviewerID': 'A', 'asin': 'B', 'overall': 5.0}\n", "a.txt"),
            ('{\n "user": 1\n}\n', "a.txt"),
            ("[" * 100_000, "a.json"),
        ],
    )
    def test_other_json_is_refused(self, write, text, name):
        with pytest.raises(ValueError, match=r"must have a JSON object in each line, as .* first"):
            read_ratings(write(text, name))

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"user": 1, "item": 2, "rating": "x"}', "cannot be read as a file with a JSON obj"),
            ('{"user": 1, "item": 2', "cannot be read as a file with a JSON obj"),
            ('{"user": 1, "item": 2}', "must have no missing values, but it has 1, the first in"),
            ('{"user": 1, "item": -2, "rating": 1}', "at least 0 where they are integers"),
        ],
    )
    def test_a_bad_object_is_refused(self, write, line, message):
        good = '{"user": 1, "item": 3, "rating": 4}\n'
        with pytest.raises(ValueError, match=message) as caught:
            read_ratings(write(good * 1 + line + "\n"), duplicates="last")
        assert "ratings.txt" in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "1:\n1,3,2005-01-01\n1,3\n",
                r"line 3: there must be a movie's id and a colon.* '1,3'",
            ),
            ("1:\n1,3,2005-01-01\n\n", r"must have no missing values, but it has 1, .* row 1"),
            ("1:\n1,x,2005-01-01\n", r"cannot be read as a file of the Netflix Prize"),
            ("1:\n1,3,yesterday\n", r"cannot be read as a file of the Netflix Prize"),
            ("1:\n2:\n", r"must hold at least one rating"),
            ("1:\n-4,3,2005-01-01\n", r"must be at least 0"),
        ],
    )
    def test_bad_blocks_are_refused(self, write, text, message):
        with pytest.raises(ValueError, match=message):
            read_ratings(write(text))

    def test_blocks_have_no_columns_to_name(self, write):
        with pytest.raises(ValueError, match=r"columns is for text and Parquet files, not for net"):
            read_ratings(write("1:\n1,3,2005-01-01\n"), columns=(0, 1))


class TestMissingValues:
    def rows(self):
        return pd.DataFrame({"user": [1, 1, 2, 3], "item": [5, 6, 5, 7], "rating": [4, -1, 0, -1]})

    @pytest.mark.parametrize("suffix", ["csv", "parquet", "npz", "jsonl"])
    def test_are_left_out_of_every_format(self, tmp_path, suffix):
        path, frame = tmp_path / f"r.{suffix}", self.rows()
        if suffix == "csv":
            frame.to_csv(path, index=False)
        elif suffix == "parquet":
            frame.to_parquet(path)
        elif suffix == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            np.savez(path, **{name: frame[name].to_numpy() for name in frame})
        got = cells(read_ratings(path, missing_values=-1))
        assert got == [(1, 5, 4, None), (2, 5, 0, None)]
        assert cells(read_ratings(path, missing_values=[-1, 0])) == [(1, 5, 4, None)]

    def test_arrays_of_other_lengths_are_refused(self, tmp_path):
        path = tmp_path / "r.npz"
        np.savez(path, user=[1, 2, 3], item=[1, 2], rating=[-1, 2])
        with pytest.raises(
            ValueError, match=r"r\.npz: the array user must have one entry for each"
        ):
            read_ratings(path, missing_values=-1)

    def test_of_frames(self):
        ratings = Ratings.from_frame(self.rows(), missing_values=-1.0)
        assert cells(ratings) == [(1, 5, 4, None), (2, 5, 0, None)]
        assert ratings.item_ids.tolist() == [5]

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"missing_values": [4, -1, 0]}, ValueError, "must leave at least one rating"),
            ({"missing_values": "NA"}, TypeError, "missing_values must be a finite number"),
            ({"missing_values": float("nan")}, ValueError, "missing_values must be a finite"),
            ({"missing_values": -1, "implicit": True}, ValueError, "not be given with implicit"),
        ],
    )
    def test_refuses(self, options, error, message):
        with pytest.raises(error, match=message):
            Ratings.from_frame(self.rows(), **options)


class TestWarnings:
    def read(self, write, values):
        rows = (f"{at},{at % 9},{value:g}\n" for at, value in enumerate(values))
        return read_ratings(write("user,item,rating\n" + "".join(rows)))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([-1, 1, 2, 3, 4, 5] * 10, r"16\.7% of the ratings are -1, far from .* from 1 to 5"),
            ([-1, 0, 1, 2, 3, 4, 5] * 10, r"are -1, far from the others"),
            ([0, *range(20, 101, 5)] * 5, r"are 0, far from .*missing_values=0\.$"),
            ([0] * 70 + [*range(1, 11)] * 4, r"63\.6% of the ratings are 0, more than all others"),
            ([99, -9.5, 3.25, 0.5, 9] * 8, r"are 99, far from the others, which are from -9\.5"),
            ([1, 2, 1, 3, 1, 1, 2, 9000] * 4, r"look like counts, .* 9000, .*log1p\(\), or"),
        ],
    )
    def test_say_what_to_do(self, write, values, message):
        with pytest.warns(UserWarning, match=message) as caught:
            self.read(write, values)
        assert len(caught) == 1
        assert (
            caught[0].filename == __file__.replace(".pyc", ".py") or "io.py" in caught[0].filename
        )

    @pytest.mark.parametrize(
        "values",
        [
            [1, 2, 3, 4, 5] * 10,
            [0.5 * level for level in range(1, 11)] * 5,
            [0, 1, 2, 3, 4, 5] * 10,
            [0, 0.5, 1, 1.5, 2] * 10,
            [-1, 1] * 20,
            [-1, 0, 1] * 20,
            np.linspace(-9.95, 10, 60),
            np.linspace(0, 1, 60),
            [10, 20, 30, 99, 100] * 9,
            [0, *range(1, 40)] * 2,
            [1] * 50,
        ],
        ids=str,
    )
    def test_are_not_of_scales(self, write, values):
        self.read(write, values)


def test_log1p_of_ratings():
    ratings = Ratings.from_arrays([1, 2], [3, 4], [0, 9], [5, 6])
    logs = ratings.log1p()
    np.testing.assert_allclose(logs.values, np.log([1, 10]), rtol=1e-6)
    assert logs.timestamps.tolist() == [5, 6]
    with pytest.raises(ValueError, match=r"ratings must be above -1 for log1p, but the lowest is"):
        Ratings.from_arrays([1], [2], [-1]).log1p()
