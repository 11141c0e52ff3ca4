"""`isthmus explain`."""

import re

import numpy as np
import pytest

from isthmus import EASE, AutoRec, Ratings, synthetic_ratings, write_ratings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    made = synthetic_ratings(40, 30, 400, random_state=1)
    ratings = Ratings.from_matrix(
        made.to_matrix(), user_ids=np.arange(100, 140), item_ids=np.arange(500, 530)
    )
    write_ratings(ratings, folder / "ratings.csv")
    titles = "\n".join(f"{item}::Film {item}::Drama" for item in ratings.item_ids)
    (folder / "movies.dat").write_text(titles)
    AutoRec(hidden_units=(6,), epochs=2, random_state=0).fit(ratings).save(folder / "rates.st")
    EASE(regularization=5.0).fit(ratings).save(folder / "ranks.st")
    return folder


def test_prints_effects_with_titles(run, folder):
    pair = ("--user", 103, "--item", 505, "--items", folder / "movies.dat", "-n", 3)
    code, out, err = run("explain", folder / "ranks.st", *pair)
    assert (code, err) == (0, "")
    explanation = EASE.load(folder / "ranks.st").explain(103, 505, n=3)
    lines = out.splitlines()
    assert lines[0] == f"user 103, item 505: {explanation.score:.4f}  Film 505"
    for line, one, effect in zip(lines[1:4], explanation.ids, explanation.effects, strict=True):
        assert re.fullmatch(rf"  item {one} +1 +{re.escape(f'{effect:+.4f}')}  Film {one}", line)
    assert lines[4].startswith("  remainder")


def test_takes_the_ratings_of_a_file(run, folder):
    pair = ("--user", 103, "--item", 505, "--ratings", folder / "ratings.csv")
    assert run("explain", folder / "rates.st", *pair)[0] == 0
    code, out, _ = run("explain", folder / "rates.st", *pair, "--axis", "item")
    assert code == 0
    assert out.splitlines()[1].startswith("  user 1")


def test_says_what_is_missing(run, folder):
    code, out, err = run("explain", folder / "rates.st", "--user", 103, "--item", 505)
    assert (code, out) == (1, "")
    assert err.startswith("isthmus: error: --ratings must be given to explain scores of AutoRec")
    code, _, err = run("explain", folder / "ranks.st", "--user", "ann", "--item", 505)
    assert (code, err.startswith("isthmus: error: --user must be an integer")) == (1, True)
