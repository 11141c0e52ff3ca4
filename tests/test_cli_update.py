"""`isthmus update`."""

import numpy as np
import pytest

from isthmus import EASE, BiasedMF, Ratings, Recommender, synthetic_ratings, write_ratings


@pytest.fixture
def now(tmp_path):
    """A file of all ratings, with ids that are texts, and the ratings of the first users in it."""
    made = synthetic_ratings(40, 30, 500, random_state=1)
    users, items, values, _ = made.to_arrays()
    ratings = Ratings.from_arrays([f"u{user}" for user in users], items, values)
    write_ratings(ratings, tmp_path / "now.csv")
    return tmp_path / "now.csv", ratings.select(
        np.repeat(np.arange(40), np.diff(ratings.indptr)) < 30
    )


@pytest.mark.parametrize("model", [BiasedMF(factors=3, epochs=5, random_state=0), EASE()])
def test_takes_in_what_is_new_and_may_write_over_the_model(run, now, tmp_path, model):
    path, then = now
    file = tmp_path / "model.safetensors"
    known = Ratings.from_frame(then.to_frame())  # without the users who have no ratings yet
    model.fit(known).save(file)
    code, out, err = run("update", file, path, "--output", file)
    assert (code, err) == (0, "")
    assert "40 users x 30 items" in out
    assert f"new: {40 - known.n_users} users, {30 - known.n_items} items" in out
    updated = Recommender.load(file)
    assert len(updated.user_ids_) == 40
    np.testing.assert_array_equal(updated.user_ids_[: known.n_users], known.user_ids)


def test_refuses_epochs_of_a_model_without_any(run, now, tmp_path):
    path, then = now
    EASE(regularization=5.0).fit(then).save(tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    file = tmp_path / "model.safetensors"
    code, _, err = run("update", file, path, "--output", file, "--epochs", "3")
    assert code == 1
    assert "epochs and callbacks must not be given for EASE" in err
    assert file.read_bytes() == before


def test_values_stay_the_weights_that_they_were(run, tmp_path):
    made = synthetic_ratings(40, 30, 500, random_state=1)
    users, items, _, _ = made.to_arrays()
    plays = np.round(np.exp(np.random.default_rng(0).normal(2, 2, 500))) + 1
    counts = Ratings.from_arrays(users, items, plays)
    write_ratings(counts, tmp_path / "plays.csv")
    file = tmp_path / "model.safetensors"
    model = EASE(regularization=5.0, weights="log1p").fit(counts)
    model.save(file)
    code, _, err = run("update", file, tmp_path / "plays.csv", "--output", file)
    assert (code, err) == (0, "")  # also no warning that these look like counts
    np.testing.assert_allclose(Recommender.load(file).item_weights_, model.item_weights_, atol=1e-5)
    code, out, err = run("verify", file, tmp_path / "plays.csv")
    assert (code, err) == (0, "")
    assert "gave the same bits" in out
    for option in (["--implicit"], ["--threshold", "2"]):
        code, _, err = run("update", file, tmp_path / "plays.csv", "--output", file, *option)
        assert code == 2
        assert f"A model with weights must not come with {option[0]}" in " ".join(err.split())


def test_says_whose_ratings_are_missing(run, now, tmp_path):
    path, then = now
    file = tmp_path / "model.safetensors"
    model = BiasedMF(factors=3, epochs=5, random_state=0).fit(then)
    model.save(file)
    had = len(set(then.to_frame()["user"]))
    _, out, _ = run("update", file, path, "--output", tmp_path / "whole")
    assert "note:" not in out
    user, item, value = (array[:1] for array in then.to_arrays()[:3])
    write_ratings(Ratings.from_arrays(user, item, value), tmp_path / "today.csv")
    code, out, _ = run("update", file, tmp_path / "today.csv", "--output", file)
    assert code == 0
    assert f"note: {had - 1} of {had} users of the model have no ratings in" in out
    assert Recommender.load(file)._seen.indptr[-1] == 1


@pytest.mark.parametrize("option", [["--implicit"], ["--threshold", "4"]])
def test_refuses_to_take_the_values_from_a_model_with_weights(run, now, tmp_path, option):
    path, then = now
    file = tmp_path / "model.safetensors"
    EASE(regularization=5.0, weights="log1p").fit(then).save(file)
    code, _, err = run("update", file, path, "--output", file, *option)
    assert code == 2
    assert f"must not come with {option[0]}, which makes all values 1" in err
