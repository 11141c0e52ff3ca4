"""Reports: one page that holds all it shows, with figures and intervals that are right."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from model_registry import SETTINGS
from test_models import CASES, maker

import isthmus
from isthmus import (
    EASE,
    AutoRec,
    NotFittedError,
    Ratings,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.metrics import bias_baseline, rmse

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from isthmus.reporting import _svg, write_report
from isthmus.reporting._errors import measure_errors
from isthmus.reporting._map import map_items
from isthmus.reporting._rankings import USERS, _gini, measure_rankings
from isthmus.reporting._subject import bins_of, subject_of
from isthmus.reporting.bootstrap import GROUPS, RESAMPLES, Bootstrap

VOID = {"meta", "link", "br", "img", "hr", "input"}


@pytest.fixture(scope="module")
def parts():
    ratings = synthetic_ratings(60, 40, 900, random_state=1)
    return train_test_split(ratings, test_size=150, random_state=0)


@pytest.fixture(scope="module")
def rated(parts):
    return AutoRec(hidden_units=(6,), epochs=3, random_state=0, validation_fraction=0.1).fit(
        parts[0]
    )


@pytest.fixture(scope="module")
def ranked(parts):
    return EASE(regularization=5.0).fit(parts[0])


class Page(HTMLParser):
    """Reads a page: its text, its elements, and whether they are closed as they were opened."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open, self.tags, self.ids, self.words = [], [], [], []
        self.feed(self.source)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def count(self, tag):
        return sum(one == tag for one, _ in self.tags)


def page_of(model, path, test, **options):
    write_report(model, path, test=test, **options)
    return Page(path)


# of every model, its first settings: a page takes a second to draw
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.values[0][1] is SETTINGS[case.values[0][0].__name__][0]]
)
def test_a_page_for_every_model(case, parts, tmp_path):
    train, test = parts
    model, settings = case
    fitted = maker(model, settings)().fit(train)
    page = page_of(fitted, tmp_path / "report.html", test, train=train)
    for heading in ("Data", "How good it is", "How it learnt", "Whom the lists serve"):
        assert heading in page.text
    assert "What looks odd in the data" in page.text
    assert f"Parameters of {model.__name__}" in page.text
    assert fitted.receipt_.data in page.text
    assert "(that of the ratings given as train)" in page.text
    measured = fitted.evaluate(test, [*fitted._default_metrics, "ndcg@10", "recall@10"])
    for name, value in measured.items():
        assert f"{value:.4f}" in page.text, name
    assert ("Predicted ratings" in page.text) == fitted._rates
    assert page.text.count("User ") >= 10
    assert "no reasons" not in page.text
    assert page.count("b") >= 10  # effects, and what was rated highest


def test_the_page_asks_for_nothing(rated, parts, tmp_path):
    train, test = parts
    page = page_of(rated, tmp_path / "report.html", test, train=train)
    assert not re.search(r"https?:|//|@import|<script|<link|src=|javascript", page.source)
    assert not re.search(r'href="(?!#)', page.source)
    assert not re.search(r"url\((?!#)", page.source)
    assert len(page.ids) == len(set(page.ids))
    referred = set(re.findall(r'(?:href="|url\()#([^")]*)', page.source))
    assert referred <= set(page.ids)
    assert page.count("svg") == 11
    assert all(
        "viewbox" in about and about["aria-label"] for tag, about in page.tags if tag == "svg"
    )


def test_pictures_take_their_colours_from_the_page(rated, parts, tmp_path):
    source = page_of(rated, tmp_path / "report.html", parts[1], train=parts[0]).source
    drawn = "".join(re.findall(r"<svg.*?</svg>", source, re.S))
    used = set(re.findall(r"#[0-9a-f]{6}\b", drawn))
    assert used <= {"#000000"}, used  # of what is not painted
    for colour in _svg.COLOURS:
        assert source.count(f"--{colour}:") >= 2, colour  # in the light, in the dark
        assert f"var(--{colour})" in source


def test_titles_stay_text(rated, parts, tmp_path):
    train, test = parts
    bad = {
        item: f'<script>alert({item})</script> & "x" $\\frac{{1}}{{2}}$ \x1b[31m 雪 \''
        for item in train.item_ids.tolist()
    }
    page = page_of(
        rated, tmp_path / "report.html", test, train=train, items=bad,
        title="<img src=x onerror=alert(1)>", notes=["<b>chosen</b> & kept"],
    )  # fmt: skip
    assert page.count("script") == 0
    assert page.count("img") == 0
    assert "<b>chosen</b> & kept" in page.text
    assert page.words[page.words.index("<img src=x onerror=alert(1)>")]
    assert "<script>alert(" in page.text
    assert "$\\frac{1}{2}$" in page.text
    assert "\x1b" not in page.source
    assert "雪" in page.text


def test_string_ids_are_titles(parts, tmp_path):
    train, test = (
        Ratings.from_arrays(
            [f"u<{user}>" for user in users], [f"i<{item}>" for item in items], values
        )
        for users, items, values, _ in (part.to_arrays() for part in parts)
    )  # fmt: skip
    keep = np.isin(test.item_ids[test.indices], train.item_ids)
    test = test.select(keep)
    model = EASE(regularization=5.0).fit(train)
    page = page_of(model, tmp_path / "report.html", test)
    assert re.search(r"User u<\d+>", page.text)
    assert re.search(r"i<\d+>", page.text)


def test_the_same_arguments_give_the_same_bytes(rated, parts, tmp_path):
    train, test = parts
    for name in "ab":
        write_report(rated, tmp_path / name, test=test, train=train, random_state=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_report(rated, tmp_path / "b", test=test, train=train, random_state=4)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_does_without_training_ratings(rated, ranked, parts, tmp_path):
    page = page_of(rated, tmp_path / "a", parts[1])
    assert "Baselines of predicted ratings need the training ratings" in page.text
    assert "Reasons need the training ratings" in page.text
    assert "user and item biases" not in page.text
    page = page_of(ranked, tmp_path / "b", parts[1])
    assert "Reasons need" not in page.text
    assert "closed form" in page.text


def test_says_where_the_data_are_others(ranked, parts, tmp_path):
    train, test = parts
    fewer = train.select(np.arange(train.nnz) > 0)
    assert "(the ratings given as train are others)" in page_of(
        ranked, tmp_path / "a", test, train=fewer
    ).text  # fmt: skip


def test_says_why_there_are_no_reasons(parts, tmp_path):
    train, test = parts
    model = AutoRec(
        hidden_units=(3,), epochs=1, decoder_activation="sigmoid", target_centering="none"
    )
    page = page_of(model.fit(train), tmp_path / "a", test, train=train)
    assert "There are no reasons: new users can be folded into an AutoRec" in page.text


def test_gives_reasons_of_models_with_weights(parts, tmp_path):
    train, test = parts
    model = EASE(regularization=5.0, weights="values").fit(train)
    page = page_of(model, tmp_path / "a", test, train=train)
    assert "no reasons" not in page.text
    assert "Reasons need" in page_of(model, tmp_path / "b", test).text


def test_counts_are_odd_where_large_ones_outweigh_the_others(tmp_path):
    users, items, _, _ = synthetic_ratings(60, 40, 900, random_state=1).to_arrays()
    plays = np.round(np.exp(np.random.default_rng(0).normal(2, 2, 900))) + 1
    train, test = train_test_split(Ratings.from_arrays(users, items, plays), random_state=0)
    rated = AutoRec(hidden_units=(3,), epochs=1, random_state=0).fit(train)
    weighed = [EASE(regularization=5.0, weights=rule).fit(train) for rule in ("values", "log1p")]
    for model, there in ((rated, True), (weighed[0], True), (weighed[1], False)):
        page = page_of(model, tmp_path / "a", test, train=train)
        assert ("look like counts" in page.text) == there


def test_shows_that_there_were_weights(parts, tmp_path):
    train, test = parts
    model = AutoRec(hidden_units=(3,), epochs=1, random_state=0).fit(train, weights=train)
    page = page_of(model, tmp_path / "a", test)
    assert "weights' fingerprint" in page.text
    assert model.receipt_.weights in page.text


def test_takes_sparse_matrices(ranked, parts, tmp_path):
    train, test = parts
    write_report(ranked, tmp_path / "a", test=test, train=train)
    write_report(ranked, tmp_path / "b", test=test.to_matrix(), train=train.to_matrix())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_takes_training_ratings_in_shards(ranked, parts, tmp_path):
    train, test = parts
    isthmus.write_ratings(train, tmp_path / "train.csv")
    isthmus.shard(tmp_path / "train.csv", tmp_path / "shards", buckets=2)
    write_report(ranked, tmp_path / "a", test=test, train=isthmus.Shards(tmp_path / "shards"))
    write_report(ranked, tmp_path / "b", test=test, train=train)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_of_next_to_nothing(tmp_path):
    train = Ratings.from_arrays([1, 1, 2], [5, 6, 5], [3, 4, 3])
    test = Ratings.from_arrays([2], [6], [4])
    for number, model in enumerate(
        (EASE(regularization=1.0), AutoRec(hidden_units=(1,), epochs=1))
    ):
        page = page_of(model.fit(train), tmp_path / str(number), test, train=train)
        assert "Lists of 1 user" in page.text


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"model": 3}, TypeError, r"^model must be a model of isthmus, but it was 3\.$"),
            ({"model": EASE()}, NotFittedError, "not fitted yet"),
            ({"items": ["Heat"]}, TypeError, r"^items must be titles by item id, .* \['Heat'\]\.$"),
            ({"k": 0}, ValueError, r"^k must be an integer from 1 to 1,000, but it was 0\.$"),
            ({"notes": "x"}, TypeError, r"^notes must be a list of paragraphs, .* one: 'x'\.$"),
            ({"random_state": -1}, ValueError, "^random_state must be an integer from 0"),
            ({"test": 3}, TypeError, "^test must be Ratings or a scipy.sparse array"),
            ({"train": 3}, TypeError, "^train must be Ratings or a scipy.sparse array"),
            (
                {"test": Ratings.from_arrays([1, 999], [1, 1], [3, 4])},
                ValueError,
                r"^users of test must be among the 60 user ids of the ratings, but 999 is not\.$",
            ),
            (
                {"test": Ratings.from_arrays([1], ["heat"], [3])},
                ValueError,
                "^items of test must be integers",
            ),
        ],
    )
    def test_in_a_sentence(self, ranked, parts, tmp_path, change, error, message):
        options = {"model": ranked, "test": parts[1], **change}
        with pytest.raises(error, match=message):
            write_report(options.pop("model"), tmp_path / "report.html", **options)
        assert list(tmp_path.iterdir()) == []

    def test_of_a_test_that_is_all_in_training(self, ranked, parts, tmp_path):
        with pytest.raises(ValueError, match=r"it was trained on all 750 of them\.$"):
            write_report(ranked, tmp_path / "report.html", test=parts[0])

    def test_of_a_folder_that_is_missing(self, ranked, parts, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere is missing\.$"):
            write_report(ranked, tmp_path / "nowhere" / "report.html", test=parts[1])

    def test_without_the_extra(self, ranked, parts, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r"pip install 'isthmus\[plot\]'$"):
            write_report(ranked, tmp_path / "report.html", test=parts[1])


def test_what_fails_leaves_the_old_page(ranked, parts, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(_svg, "_inline", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(ranked, path, test=parts[1])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_page(ranked, parts, tmp_path, largest_file):
    path = tmp_path / "report.html"
    path.write_text("old")
    with largest_file(10_000), pytest.raises(OSError, match=r"report\.html"):
        write_report(ranked, path, test=parts[1])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_package_does_without_matplotlib_until_it_draws():
    code = (
        "import sys, isthmus, isthmus.reporting, isthmus.cli\n"
        "assert not {'matplotlib', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def loop(values, users, bins, n_bins, counts):
    """Return each bin's mean in every resample, by writing the resampled cells out."""
    present = np.unique(users)
    found = np.full((len(counts), n_bins), np.nan)
    for at, times in enumerate(counts):
        drawn = [value for value in zip(values, users, bins, strict=True)
                 for _ in range(times[np.flatnonzero(present == value[1])[0]])]  # fmt: skip
        for bin in range(n_bins):
            own = [value for value, _, where in drawn if where == bin]
            if own:
                found[at, bin] = sum(own) / len(own)
    return found


class TestBootstrap:
    def test_equals_a_loop(self):
        random = np.random.default_rng(0)
        users = np.sort(random.choice([3, 5, 8, 11, 20], 40))
        values, bins = random.normal(size=40), random.integers(0, 3, 40)
        bootstrap = Bootstrap(users, 7)
        estimate = bootstrap.means(values, bins, 3)
        assert estimate.resampled.shape == (RESAMPLES, 3)
        expected = loop(values, users, bins, 3, bootstrap.counts[:50].tolist())
        np.testing.assert_allclose(estimate.resampled[:50], expected, rtol=1e-12)
        np.testing.assert_allclose(
            estimate.values, [values[bins == bin].mean() for bin in range(3)], rtol=1e-12
        )
        np.testing.assert_array_equal(estimate.n, np.bincount(bins))
        assert estimate.users.tolist() == [len(set(users[bins == bin])) for bin in range(3)]
        assert (bootstrap.counts.sum(axis=1) == 5).all()

    def test_intervals_are_percentiles_of_resampled_users(self):
        """Against draws of its own: far from cells being drawn one by one."""
        random = np.random.default_rng(1)
        users = np.repeat(np.arange(200), 20)
        values = random.normal(size=200)[users] + 0.1 * random.normal(size=4000)
        one = Bootstrap(users, 0).means(np.square(values)).root().intervals()[0]
        by_user = np.square(values).reshape(200, 20)
        drawn = [
            np.sqrt(by_user[random.integers(200, size=200)].mean()) for _ in range(4000)
        ]  # fmt: skip
        low, high = np.percentile(drawn, [2.5, 97.5])
        assert one.value == pytest.approx(rmse(values, np.zeros(4000)))
        assert one.low == pytest.approx(low, abs=0.1 * (high - low))
        assert one.high == pytest.approx(high, abs=0.1 * (high - low))
        assert (one.n, one.users) == (4000, 200)

    def test_groups_of_many_users_vary_as_much(self):
        n = 3 * GROUPS
        random = np.random.default_rng(2)
        values = random.exponential(size=n)
        one = Bootstrap(np.arange(n), 0).means(values).intervals()[0]
        assert one.users == n
        assert one.high - one.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(n), rel=0.1)

    def test_differences_are_of_the_same_resamples(self):
        users = np.arange(100)
        values = np.random.default_rng(3).normal(size=100)
        bootstrap = Bootstrap(users, 0)
        apart = bootstrap.means(values + 0.5).less(bootstrap.means(values)).intervals()[0]
        assert (apart.low, apart.high) == pytest.approx((0.5, 0.5))

    def test_few_users_have_no_interval(self):
        one = Bootstrap(np.arange(9), 0).means(np.arange(9.0)).intervals()[0]
        assert one.value == 4
        assert np.isnan([one.low, one.high]).all()


class TestFigures:
    def test_errors_are_those_of_the_metrics(self, rated, parts):
        train, test = parts
        errors = measure_errors(subject_of(rated, test, train, None, 0))
        own, biases, _ = errors.table
        measured = rated.evaluate(test)
        assert own.figures["RMSE"].value == pytest.approx(measured["rmse"])
        assert own.figures["MAE"].value == pytest.approx(measured["mae"])
        apart = rmse(test.values, bias_baseline(train, test)) - measured["rmse"]
        assert errors.gain[1].value == pytest.approx(apart)
        assert biases.figures["RMSE"].low < biases.figures["RMSE"].value
        by = errors.by_popularity.series["AutoRec"]
        squares = sum(one.n * one.value**2 for one in by)
        assert squares / test.nnz == pytest.approx(measured["rmse"] ** 2)
        assert sum(one.n for one in by) == test.nnz

    def test_calibration_and_spread_are_of_all_ratings(self, rated, parts):
        train, test = parts
        errors = measure_errors(subject_of(rated, test, train, None, 0))
        n = np.array([one.n for one in errors.calibration.true])
        assert n.sum() == errors.spread.n.sum() == test.nnz
        true = np.array([one.value for one in errors.calibration.true])
        assert n @ true / n.sum() == pytest.approx(test.mean)
        predicted = rated.predict(*test.to_arrays()[:2])
        assert n @ errors.calibration.predicted / n.sum() == pytest.approx(predicted.mean())
        level = np.flatnonzero(errors.spread.true == 4)[0]
        np.testing.assert_allclose(
            errors.spread.quantiles[level],
            np.quantile(predicted[test.values == 4].astype(float), [0.05, 0.25, 0.5, 0.75, 0.95]),
        )

    def test_rankings_are_those_of_the_model(self, ranked, parts):
        train, test = parts
        rankings = measure_rankings(subject_of(ranked, test, train, None, 0), 5)
        measured = ranked.evaluate(test, ["ndcg@5", "recall@5", "precision@5"])
        figures = [one.value for one in rankings.table[0].figures.values()]
        assert figures == pytest.approx(list(measured.values()))
        hits = [one.n * one.value for one in rankings.by_popularity.series["EASE"]]
        users = len(ranked.evaluate_users(test, "precision@5")[0])
        assert sum(hits) == pytest.approx(5 * users * measured["precision@5"])
        lists, _ = ranked.recommend(np.unique(test.to_arrays()[0]), 5)
        one = rankings.concentration["EASE"]
        assert one.coverage == len(np.unique(lists)) / train.n_items
        assert one.deciles.sum() == pytest.approx(1)

    def test_popularity_lists_what_most_have(self, ranked, parts):
        train, test = parts
        rankings = measure_rankings(subject_of(ranked, test, train, None, 0), 1)
        counts = np.bincount(train.indices, minlength=train.n_items)
        hits = 0
        for user in range(train.n_users):
            seen = train.indices[train.indptr[user] : train.indptr[user + 1]]
            own = test.indices[test.indptr[user] : test.indptr[user + 1]]
            left = np.where(np.isin(np.arange(train.n_items), seen), -1, counts)
            hits += int(left.argmax()) in own
        tested = np.count_nonzero(np.diff(test.indptr))
        figure = rankings.table[1].figures["precision@1"]
        assert rankings.table[1].name == "popularity"
        assert figure.value == pytest.approx(hits / tested)

    def test_draws_users_where_there_are_many(self, ranked, parts, monkeypatch, tmp_path):
        monkeypatch.setattr("isthmus.reporting._rankings.USERS", 20)
        assert USERS == 10_000
        page = page_of(ranked, tmp_path / "a", parts[1])
        tested = np.count_nonzero(np.diff(parts[1].indptr))
        assert f"Measured for 20 users, drawn from the {tested} of the test." in page.text

    def test_cells_in_training_are_no_positives(self, ranked, parts):
        train, test = parts
        both = np.concatenate([[0, 1], np.arange(test.nnz)])
        users, items = (
            np.concatenate([of_train[:2], of_test])
            for of_train, of_test in zip(train.to_arrays()[:2], test.to_arrays()[:2], strict=True)
        )
        more = Ratings.from_arrays(users, items, np.ones(len(both)))
        subject = subject_of(ranked, more, None, None, 0)
        assert len(subject.positives.indices) == test.nnz

    @pytest.mark.parametrize(
        ("counts", "gini"), [([1, 1, 1, 1], 0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25)]
    )
    def test_gini(self, counts, gini):
        assert _gini(np.array(counts)) == pytest.approx(gini)

    def test_bins_are_half_decades(self):
        bins, labels = bins_of(np.array([0, 1, 3, 4, 10, 11, 30, 31, 1000, 1001, 30_001]))
        assert labels == ["0", "1–3", "4–10", "11–30", "31–100", "301–1k", "1k–3k", "30k–100k"]
        assert bins.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]

    def test_the_map_is_of_principal_components(self, ranked, parts):
        train, test = parts
        subject = subject_of(ranked, test, train, None, 0)
        items = map_items(subject)
        order = np.argsort(-subject.per_item, kind="stable")
        order = order[subject.per_item[order] > 0]
        vectors = ranked.item_weights_[np.ix_(order, order)].astype(float)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors -= vectors.mean(axis=0)
        _, values, axes = np.linalg.svd(vectors)
        np.testing.assert_allclose(
            np.abs(items.points), np.abs(vectors @ axes[:2].T), atol=1e-5
        )  # fmt: skip
        np.testing.assert_allclose(items.shares, values[:2] ** 2 / (values**2).sum(), rtol=1e-4)


class TestProgram:
    @pytest.fixture
    def folder(self, rated, parts, tmp_path):
        rated.save(tmp_path / "m.st")
        for name, part in zip(("train", "test"), parts, strict=True):
            isthmus.write_ratings(part, tmp_path / f"{name}.csv")
        titles = [f"{item}::Film <{item}>::Drama" for item in parts[0].item_ids]
        (tmp_path / "movies.dat").write_text("\n".join(titles))
        return tmp_path

    def test_writes_what_the_function_does(self, run, folder, parts):
        options = ("--test", folder / "test.csv", "--train", folder / "train.csv")
        more = ("--items", folder / "movies.dat", "--title", "My <model>", "-k", 5)
        code, out, err = run("report", folder / "m.st", *options, *more, "-o", folder / "r.html")
        assert (code, err) == (0, "")
        assert re.fullmatch(rf"wrote {re.escape(str(folder))}/r\.html \(0\.\d MB\)\n", out)
        items = {item: f"Film <{item}>" for item in parts[0].item_ids.tolist()}
        model = Recommender.load(folder / "m.st")
        write_report(
            model, folder / "f.html", test=parts[1], train=parts[0], items=items, k=5,
            title="My <model>",
        )  # fmt: skip
        assert (folder / "r.html").read_bytes() == (folder / "f.html").read_bytes()

    def test_refuses_in_one_line(self, run, folder):
        model, test = folder / "m.st", folder / "test.csv"
        cases = [
            ((model, "--test", folder / "no.csv", "-o", folder / "r"), "there is none"),
            ((folder / "no.st", "--test", test, "-o", folder / "r"), "no.st"),
            ((model, "--test", test, "-o", folder / "no" / "r"), "is missing"),
            ((model, "--test", test, "-o", test), "must be none of the files that are read"),
        ]
        for arguments, message in cases:
            code, out, err = run("report", *arguments)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert message in err
