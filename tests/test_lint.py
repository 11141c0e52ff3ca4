"""What lint finds in ratings, and what it does not take for odd."""

import numpy as np
import pytest

from isthmus import Ratings, read_ratings, synthetic_ratings, train_test_split
from isthmus.data import lint as module
from isthmus.data.lint import Finding, lint

DAY = 86_400


def kinds(*args, **options):
    return [finding.kind for finding in lint(*args, **options)]


def message(kind, *args, **options):
    (found,) = [one.message for one in lint(*args, **options) if one.kind == kind]
    return found


def grid(users=12, items=10, *, seed=0, gap=3):
    """Ratings that nothing is wrong with: users x items, at days and seconds of their own."""
    random = np.random.default_rng(seed)
    rows, columns = np.divmod(np.arange(users * items), items)
    values = random.integers(1, 6, users * items)
    stamps = DAY * 3 + 7 + np.arange(users * items) * gap * 60
    return rows, columns, values, stamps


@pytest.fixture
def clean():
    return Ratings.from_arrays(*grid())


def test_finds_nothing_in_what_is_clean(clean):
    assert lint(clean) == []
    users, items, values, _ = clean.to_arrays()
    stamps = np.random.default_rng(0).permuted(np.arange(120).reshape(12, 10), axis=1).ravel()
    shuffled = Ratings.from_arrays(users, items, values, 7 + 61 * stamps)
    train, test = train_test_split(shuffled, test_size=2, by="user_time")
    assert lint(train, test=test) == []
    assert lint(clean.to_matrix()) == []


def test_a_finding_prints_as_its_message():
    assert str(Finding("counts", "There are counts.")) == "There are counts."


def test_constant():
    rows, columns, values, _ = grid()
    found = message("constant", Ratings.from_arrays(rows, columns, np.ones(len(values))))
    assert found.startswith("All 120 ratings are 1, so that only who had what can be learnt")
    assert "same value" not in kinds(Ratings.from_arrays(rows, columns, np.ones(len(values))))


def test_sentinels_and_counts():
    rows, columns, values, _ = grid()
    with_none = Ratings.from_arrays(rows, columns, np.where(columns == 0, -1, values))
    found = message("sentinel", with_none)
    assert found.startswith("10.0% of the ratings are -1, far from the others")
    assert found.endswith("pass missing_values=-1.")
    counts = np.where(columns == 0, 1000, values)
    assert message("counts", Ratings.from_arrays(rows, columns, counts)).startswith(
        "The ratings look like counts"
    )


def test_users_who_give_one_value():
    rows, columns, values, _ = grid()
    same = Ratings.from_arrays(rows, columns, np.where(rows < 2, 1 + rows, values))
    found = message("same value", same)
    assert found.startswith("2 of 12 users with 5 ratings or more (16.7 %) gave all that they")
    few = np.where((rows < 2) & (columns > 3), False, True)  # four ratings say nothing
    same = Ratings.from_arrays(rows[few], columns[few], np.where(rows < 2, 3, values)[few])
    assert "same value" not in kinds(same)


@pytest.mark.parametrize("by", ["users", "items"])
def test_twins(by):
    rows, columns, values, _ = grid()
    values = values.reshape(12, 10)
    if by == "users":
        values[3], values[7], values[11] = values[0], values[0], values[1]
    else:
        values[:, 4] = values[:, 9]
    ratings = Ratings.from_arrays(rows, columns, values.ravel())
    found = message(f"twin {by}", ratings)
    n = "3 of 12 users" if by == "users" else "1 of 10 items"
    assert found.startswith(f"{n} with 5 ratings or more")
    assert ("has" if by == "items" else "have") + " exactly the ratings of another" in found
    values[0, 0], values[1, 1], values[2, 4] = 6, 7, 8  # of each pair, one cell differs
    left = kinds(Ratings.from_arrays(rows, columns, values.ravel()))
    assert left.count("twin users") == (by == "users")  # 3 and 7


def test_the_same_items_with_other_values_are_no_twins(clean):
    assert not {"twin users", "twin items"} & set(kinds(clean))


def test_activity_far_out():
    rows = np.repeat(np.arange(100), 10)
    columns = np.tile(np.arange(10), 100) + 10 * (rows % 7)
    program = np.arange(2000)
    values = np.random.default_rng(0).integers(1, 6, len(rows) + len(program))
    ratings = Ratings.from_arrays(
        np.append(rows, np.full(2000, 100)), np.append(columns, program), values
    )
    found = message("activity", ratings)
    assert found.startswith(
        "1 of 101 users (1.0 %) has more than 99 ratings, the most active 2,000"
    )
    assert "the median is 10" in found


@pytest.mark.parametrize("shape", ["ml-100k", "ml-1m"])
def test_activity_of_a_heavy_tail_is_none(shape):
    if shape == "ml-1m":
        ratings = synthetic_ratings(2000, 1000, 150_000, random_state=0)
    else:
        ratings = synthetic_ratings(shape=shape, random_state=0)
    assert "activity" not in kinds(ratings)


def test_bursts():
    random = np.random.default_rng(0)
    rows, columns = np.divmod(np.arange(300), 100)
    values = random.integers(1, 6, 300)
    far = DAY + 7 + 61 * np.arange(300)
    quick = np.where(rows == 1, DAY + 7 + np.arange(300) // 2, far)
    order = random.permutation(300)
    ratings = Ratings.from_arrays(*(array[order] for array in (rows, columns, values, quick)))
    found = message("bursts", ratings)
    assert found.startswith("1 of 3 users (33.3 %) gave 60 ratings or more within a minute")
    assert "bursts" not in kinds(Ratings.from_arrays(rows, columns, values, far))
    assert "bursts" not in kinds(Ratings.from_arrays(rows, columns, values))


def test_59_ratings_in_a_minute_are_no_burst():
    columns = np.arange(61)
    values = np.random.default_rng(0).integers(1, 6, 61)
    stamps = DAY + 7 + np.where(columns < 59, columns, 10_000)
    assert "bursts" not in kinds(Ratings.from_arrays(np.zeros(61, int), columns, values, stamps))
    stamps[59] = stamps[58]
    assert "bursts" in kinds(Ratings.from_arrays(np.zeros(61, int), columns, values, stamps))


def test_whole_days_are_no_bursts():
    columns = np.arange(100)
    values = np.random.default_rng(0).integers(1, 6, 100)
    stamps = np.full(100, 20_000 * DAY)
    assert "bursts" not in kinds(Ratings.from_arrays(np.zeros(100, int), columns, values, stamps))


def test_bursts_are_counted_in_parts(monkeypatch):
    rows, columns = np.divmod(np.arange(600), 100)
    values = np.random.default_rng(0).integers(1, 6, 600)
    stamps = np.where(rows % 2 == 0, 7, 61 * np.arange(600)) + DAY
    ratings = Ratings.from_arrays(rows, columns, values, stamps)
    whole = message("bursts", ratings)
    assert whole.startswith("3 of 6 users")
    monkeypatch.setattr(module, "_CELLS", 150)
    assert message("bursts", ratings) == whole


def test_few_ratings_and_none():
    rows, columns, values, _ = grid()
    kept = ~((rows == 0) & (columns > 2)) & (columns != 9)
    ratings = Ratings.from_arrays(
        rows[kept], columns[kept], values[kept], user_ids=np.arange(12), item_ids=np.arange(10)
    )
    assert kinds(ratings) == ["few ratings", "no ratings"]
    found = lint(ratings)
    assert found[0].message.startswith("1 of 12 users (8.3 %) has fewer than 5 ratings")
    assert found[1].message.startswith("1 of 10 items (10.0 %) has no rating")


class TestOfTheTest:
    def test_leaks_in_time(self):
        rows, columns, values, stamps = grid()
        last = columns == 9
        train = Ratings.from_arrays(*(a[~last] for a in (rows, columns, values, stamps)))
        early = stamps.copy()
        early[last] = np.where(rows[last] < 3, stamps[last] - 2 * 180, stamps[last])
        test = Ratings.from_arrays(*(a[last] for a in (rows, columns, values, early)))
        found = message("time leak", train, test=test)
        assert found.startswith("3 of 12 test ratings (25.0 %) are older than a training rating")
        untimed = Ratings.from_arrays(rows[last], columns[last], values[last])
        assert "time leak" not in kinds(train, test=untimed)

    def test_others_times_are_no_leak(self):
        """Of one user, who has no training rating: there is nothing that is later."""
        train = Ratings.from_arrays([1, 1], [1, 2], [3, 4], [500, 600])
        for user in (2, 1):
            test = Ratings.from_arrays([user], [3], [3], [100])
            assert ("time leak" in kinds(train, test=test)) == (user == 1)

    def test_answers_in_training(self, clean):
        test = clean.select(np.arange(clean.nnz) < 7)
        found = message("tested in training", clean, test=test)
        assert found.startswith("7 of 7 test ratings (100.0 %) are of a user and an item that")

    def test_newcomers(self, clean):
        users, items, values, _ = clean.to_arrays()
        test = Ratings.from_arrays([*users[:3], 99, 0], [*items[:3], 0, 99], [*values[:3], 3, 3])
        found = [one.message for one in lint(clean, test=test) if one.kind == "newcomers"]
        assert [one[:33] for one in found] == ["1 of 5 test ratings (20.0 %) is o"] * 2
        assert "of users without a rating in training" in found[0]
        assert "of items without a rating in training" in found[1]

    def test_ids_are_what_counts(self, clean):
        """Not positions: a test has users and items of its own."""
        users, items, values, _ = clean.to_arrays()
        few = (users > 8) & (items > 5)
        test = Ratings.from_arrays(users[few], items[few], values[few])
        train = clean.select(~few)
        assert lint(train, test=test) == []

    def test_a_matrix_has_the_same_shape(self, clean):
        few = clean.select(np.arange(clean.nnz) < 5)
        assert kinds(clean, test=few.to_matrix()) == ["tested in training"]
        with pytest.raises(ValueError, match=r"^test must be a matrix of 12 users x 10 items"):
            lint(clean, test=clean.to_matrix()[:5])

    def test_refuses_ids_of_another_type(self, clean):
        with pytest.raises(ValueError, match=r"^users of test must be integers"):
            lint(clean, test=Ratings.from_arrays(["ann"], [1], [3]))


def test_refuses_what_are_no_ratings():
    with pytest.raises(TypeError, match=r"^ratings must be Ratings or a scipy.sparse array"):
        lint([1, 2])


class TestProgram:
    def lines(self, run, *arguments):
        code, out, err = run("lint", *arguments)
        assert err == ""
        return code, out.splitlines()

    def test_says_what_it_finds(self, run, tmp_path):
        rows, columns, values, _ = grid()
        path = tmp_path / "r.csv"
        lines = [f"{r},{c},{v}" for r, c, v in zip(rows, columns, values, strict=True)]
        path.write_text("\n".join(["user,item,rating", *lines]))
        assert self.lines(run, path) == (0, ["nothing was found"])
        path.write_text("\n".join(["user,item,rating", *lines, "0,0,5", "50,0,3"]))
        code, found = self.lines(run, path)
        assert code == 1
        assert found[0].startswith(
            f"{path}: a user may rate an item once, but 1 rating repeats an earlier"
        )
        assert "pass --duplicates mean, sum or last" in found[0]
        assert found[1].startswith("1 of 13 users (7.7 %) has fewer than 5 ratings")
        assert len(found) == 2
        assert len(self.lines(run, path, "--duplicates", "mean")[1]) == 1

    def test_knows_options_of_the_program(self, run, tmp_path):
        rows, columns, values, _ = grid()
        path = tmp_path / "r.csv"
        values = np.where(columns == 0, -1, values)
        lines = [f"{r},{c},{v}" for r, c, v in zip(rows, columns, values, strict=True)]
        path.write_text("\n".join(["user,item,rating", *lines]))
        code, found = self.lines(run, path)
        assert (code, len(found)) == (1, 1)
        assert found[0].endswith("pass --missing-values -1.")
        _, found = self.lines(run, path, "--implicit")
        assert not any("All 120 ratings are 1" in line for line in found)  # as was asked for
        code, found = self.lines(run, path, "--test", path)
        assert found[1].startswith("120 of 120 test ratings (100.0 %) are of a user and an item")

    def test_refuses_what_is_wrong_otherwise(self, run, tmp_path):
        (tmp_path / "r.csv").write_text("user,item,rating\n1,2,x\n")
        code, out, err = run("lint", tmp_path / "r.csv")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert run("lint", tmp_path / "no.csv")[0] == 1


@pytest.mark.data
def test_of_movielens(data_dir):
    ratings = read_ratings(data_dir / "ml-100k" / "u.data")
    train, test = train_test_split(ratings, random_state=0)
    assert kinds(train, test=test) == ["no ratings", "few ratings", "newcomers", "time leak"]
    train, test = train_test_split(ratings, test_size=0.1, by="user_time")
    assert "time leak" not in kinds(train, test=test)
