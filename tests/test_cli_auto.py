"""`isthmus auto`."""

import re

import pytest

from isthmus import Recommender, synthetic_ratings, write_ratings
from isthmus.automatic.search import Search


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("auto")
    ratings = synthetic_ratings(60, 40, 900, random_state=1)
    write_ratings(ratings, folder / "ratings.csv")
    return folder


def test_writes_a_model_of_all_ratings_and_says_what_it_does(run, folder):
    model = folder / "m.st"
    code, out, err = run(
        *("auto", folder / "ratings.csv", "--output", model, "--trials", 2, "--num-threads", 1)
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].endswith("60 users x 40 items, 900 ratings from 1 to 5")
    assert "held out to choose by: 90 ratings, drawn at random" in lines
    table = lines.index("model        epochs     RMSE  seconds  parameters")
    assert lines[table + 1].startswith("BiasedMF")
    assert lines[table + 2].startswith("AutoRec")
    assert re.fullmatch(r"trained again on all 900 ratings in \d+\.\d s", lines[table + 4])
    assert re.fullmatch(r"\d\.\d of 5 minutes", lines[-1])
    assert Recommender.load(model).receipt_.ratings == 900


def test_repeats_for_the_same_trials(run, folder):
    for name in ("one.st", "two.st"):
        arguments = ("--output", folder / name, "--trials", 2, "--random-state", 3)
        assert run("auto", folder / "ratings.csv", *arguments)[0] == 0
    one, two = (Recommender.load(folder / name) for name in ("one.st", "two.st"))
    assert one.receipt_.data == two.receipt_.data
    assert run("diff", folder / "one.st", folder / "two.st")[1] == "the models are the same\n"


def test_learns_who_had_what_with_implicit(run, folder):
    model = folder / "implicit.st"
    options = ("--columns", "user,item,-", "--implicit", "--trials", 1)
    code, out, _ = run("auto", folder / "ratings.csv", "--output", model, *options)
    assert code == 0, out
    assert "models are compared by NDCG@10" in out
    assert type(Recommender.load(model)).__name__ == "EASE"


def test_writes_a_report_of_the_model_on_ratings_that_it_has_not_seen(run, folder):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    model, report = folder / "r.st", folder / "report.html"
    options = ("--trials", 1, "--report", report)
    code, out, _ = run("auto", folder / "ratings.csv", "--output", model, *options)
    assert code == 0, out
    assert re.search(r"^test RMSE \d\.\d{4}, MAE \d\.\d{4}$", out, re.M)
    assert Recommender.load(model).receipt_.ratings == 810
    assert "The model is BiasedMF alone, the best of 1 fit" in report.read_text("utf-8")


def test_writes_the_best_so_far_after_ctrl_c(run, folder, monkeypatch):
    whole, done = Search._fit, []

    def interrupt(self, *arguments, **options):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return whole(self, *arguments, **options)

    monkeypatch.setattr(Search, "_fit", interrupt)
    model = folder / "cut.st"
    code, out, _ = run("auto", folder / "ratings.csv", "--output", model)
    assert code == 0
    assert "interrupted: this is the best model so far" in out
    assert Recommender.load(model).receipt_.ratings == 810


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--minutes", 0), "0.05"),
        (("--trials", 0), "trials"),
        (("--items", "movies.csv"), "--items must come with --report"),
        (("--output", "nowhere/m.st"), "nowhere"),
    ],
    ids=str,
)
def test_refuses_bad_options_before_it_reads(run, folder, options, message):
    given = options if "--output" in options else ("--output", folder / "x.st", *options)
    code, out, err = run("auto", folder / "ratings.csv", *given)
    assert code in (1, 2)
    assert out == ""
    assert message in err


def test_refuses_to_write_over_the_ratings(run, folder):
    path = folder / "ratings.csv"
    code, _, err = run("auto", path, "--output", path)
    assert code == 1
    assert "must be none of the files that are read" in err
