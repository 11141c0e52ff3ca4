"""The runs behind docs/reproduction.md: kept, resumed, and never told a test rating."""

import json
import math

import numpy as np
import pytest

from isthmus import AutoRec, BiasedMF, Blend, synthetic_ratings, train_test_split

pytest.importorskip("benchmarks.reproduce", reason="needs the benchmarks beside the tests")

from benchmarks.reproduce import report, runs
from benchmarks.reproduce.experiments import EXPERIMENTS, Case, Experiment

QUICK = {"factors": 4, "epochs": 3}


@pytest.fixture
def folder(tmp_path):
    """A data set as the real ones are kept, with a mask of its own."""
    ratings = synthetic_ratings(60, 40, 900, random_state=0)
    users, items, values, _ = ratings.to_arrays()
    path = tmp_path / "data"
    path.mkdir()
    np.savez(
        path / "ratings.npz",
        user=users,
        item=items,
        rating=values,
        shape=np.array([60, 40]),
        test=np.arange(len(values)) % 5 == 0,
    )
    return path


@pytest.fixture
def experiment():
    return Experiment("Made up", (Case("mf", "BiasedMF", BiasedMF, QUICK, ".9"),))


def run_all(experiment, folder, output, splits=2):
    runs.run_all(experiment, list(experiment.cases), folder, output, splits, 1)


class TestRuns:
    def test_are_of_the_split_with_their_number(self, experiment, folder, tmp_path):
        run_all(experiment, folder, tmp_path / "out")
        ratings, _ = runs.load_folder(folder)
        for number in range(2):
            train, test = train_test_split(ratings, test_size=0.1, random_state=number)
            expected = BiasedMF(**QUICK, random_state=number).fit(train).evaluate(test)
            path = runs.result_path(tmp_path / "out", experiment, experiment.cases[0], number)
            result = json.loads(path.read_text())
            assert result["rmse"] == expected["rmse"]
            assert result["epochs"] == 3
            assert result["seconds"] > 0
            assert result["processor_seconds"] > 0

    def test_can_be_of_a_published_split(self, folder):
        train, test = runs.make_split(Experiment("", (), split="test"), folder, 3)
        assert (train.nnz, test.nnz) == (720, 180)

    def test_are_kept(self, experiment, folder, tmp_path, capsys):
        run_all(experiment, folder, tmp_path, splits=1)
        path = runs.result_path(tmp_path, experiment, experiment.cases[0], 0)
        before = path.read_bytes()
        run_all(experiment, folder, tmp_path, splits=2)
        assert path.read_bytes() == before
        assert capsys.readouterr().out.count("kept from an earlier run") == 1
        assert len(list(path.parent.iterdir())) == 2

    def test_are_shared_by_tables_with_the_same_model(self, experiment, folder, tmp_path, capsys):
        run_all(experiment, folder, tmp_path, splits=1)
        other = Experiment("Another", (Case("other", "name", BiasedMF, QUICK),))
        run_all(other, folder, tmp_path, splits=1)
        assert "other, split 0: kept from an earlier run" in capsys.readouterr().out

    def test_are_made_anew_for_other_parameters(self, experiment, folder, tmp_path):
        run_all(experiment, folder, tmp_path, splits=1)
        other = Experiment("", (Case("mf", "", BiasedMF, {**QUICK, "epochs": 5}),))
        assert runs.results_of(tmp_path, other, other.cases[0]) == []
        run_all(other, folder, tmp_path, splits=1)
        assert runs.results_of(tmp_path, other, other.cases[0])[0]["epochs"] == 5

    def test_take_blends(self, folder, tmp_path):
        def make(random_state=0, num_threads=0):
            return Blend([BiasedMF(**QUICK, random_state=random_state)], random_state=0)

        blend = Experiment("", (Case("blend", "", make),))
        run_all(blend, folder, tmp_path, splits=1)
        assert len(runs.results_of(tmp_path, blend, blend.cases[0])) == 1

    def test_that_choose_parameters_see_no_test_rating(self, folder, monkeypatch, capsys):
        make_split = runs.make_split
        monkeypatch.setattr(runs, "make_split", lambda *args: (make_split(*args)[0], None))
        case = Case("a", "", AutoRec, {"hidden_units": (4,), "epochs": 10})
        runs.validate(Experiment("", (case,)), case, folder, 0, 1, {"epochs": 20})
        shown = capsys.readouterr().out
        train, held_out = train_test_split(
            make_split(Experiment("", (case,)), folder, 0)[0], test_size=0.1, random_state=0
        )
        model = AutoRec(hidden_units=(4,), epochs=20, random_state=0).fit(train)
        assert f"{model.evaluate(held_out)['rmse']:.4f} in the last" in shown


class TestReport:
    def test_has_the_mean_and_its_interval(self, experiment, folder, tmp_path):
        run_all(experiment, folder, tmp_path, splits=3)
        errors = [r["rmse"] for r in runs.results_of(tmp_path, experiment, experiment.cases[0])]
        # Student's t for two degrees of freedom
        width = 4.302652729911275 * np.std(errors, ddof=1) / math.sqrt(3)
        assert report.interval(errors) == pytest.approx(width, rel=1e-9)
        table = report.table(experiment, tmp_path)
        assert f"| {np.mean(errors):.4f} ± {width:.4f} | 3 " in table
        assert "| .9 " in table
        assert "`BiasedMF(factors=4, epochs=3)`" in table

    def test_of_one_split_has_no_interval(self, experiment, folder, tmp_path):
        run_all(experiment, folder, tmp_path, splits=1)
        assert "±" not in report.table(experiment, tmp_path)
        assert math.isnan(report.interval([0.8]))

    def test_adds_up_the_time_of_rows_that_have_all_been_run(self, experiment, folder, tmp_path):
        other = Case("other", "other", BiasedMF, {**QUICK, "epochs": 2})
        both = Experiment("Two", (*experiment.cases, other))
        run_all(experiment, folder, tmp_path)
        assert "One split of all rows" not in report.table(both, tmp_path)
        run_all(both, folder, tmp_path)
        times = iter([40.0, 20.0, 5.0, 7.0])
        assert " of a processor." in report.table(both, tmp_path)
        for case in both.cases:
            for number in range(2):
                path = runs.result_path(tmp_path, both, case, number)
                result = {**json.loads(path.read_text()), "processor_seconds": next(times)}
                result["seconds"] = result["processor_seconds"] / 2
                path.write_text(json.dumps(result))
        table = report.table(both, tmp_path)
        assert "| 30 " in table
        assert table.endswith("One split of all rows takes 18 seconds, 36 of a processor.")

    def test_says_what_was_not_run(self, experiment, tmp_path):
        assert "| not run | 0 " in report.table(experiment, tmp_path)

    def test_draws_the_splits_that_all_points_have(self, folder, tmp_path):
        cases = (
            Case("a", "4", BiasedMF, QUICK),
            Case("b", "2", BiasedMF, {**QUICK, "factors": 2}),
            Case("c", "1", BiasedMF, {**QUICK, "factors": 1}),
        )
        figure = Experiment("A figure", cases, x="factors")
        assert report.curve(figure, tmp_path) == []
        runs.run_all(figure, [cases[0]], folder, tmp_path, 2, 1)
        runs.run_all(figure, [cases[1]], folder, tmp_path, 1, 1)
        first = [runs.results_of(tmp_path, figure, case)[0]["rmse"] for case in cases[:2]]
        assert report.curve(figure, tmp_path) == [(4.0, first[0]), (2.0, first[1])]

    def test_puts_tables_into_the_page_and_figures_beside_it(
        self, experiment, folder, tmp_path, monkeypatch
    ):
        pytest.importorskip("matplotlib")
        run_all(experiment, folder, tmp_path, splits=1)
        case = Case("mf", "4", BiasedMF, QUICK)
        figure = Experiment("A figure", (case,), x="factors")
        page = tmp_path / "page.md"
        page.write_text("before <!-- made-up -->\nold <!-- /made-up -->\nafter")
        monkeypatch.setattr(report, "PAGE", page)
        monkeypatch.setattr(report, "EXPERIMENTS", {"made-up": figure})
        report.render(tmp_path)
        once = page.read_text()
        assert once.startswith("before <!-- made-up -->\n\n| factors")
        assert once.endswith("![A figure](made-up.svg)\n\n<!-- /made-up -->\nafter")
        assert "old" not in once
        drawn = (tmp_path / "made-up.svg").read_bytes()
        report.render(tmp_path)
        assert page.read_text() == once
        assert (tmp_path / "made-up.svg").read_bytes() == drawn

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_has_a_place_for_every_experiment(self, name):
        text = report.PAGE.read_text(encoding="utf-8")
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_case_is_a_model_with_a_name_of_its_own(name):
    cases = EXPERIMENTS[name].cases
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        model = case.model(random_state=0, num_threads=1)
        for member in model.models if isinstance(model, Blend) else [model]:
            member._check_parameters()
