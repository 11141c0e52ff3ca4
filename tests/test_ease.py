"""EASE against its closed form in float64, and its promises at the edges."""

import pickle

import numpy as np
import pytest

from isthmus import (
    EASE,
    ConvergenceError,
    NotFittedError,
    Ratings,
    synthetic_ratings,
    train_test_split,
)
from isthmus.models import ease as ease_module


def closed_form(X, regularization):
    """Steck (WWW 2019), eq. 8, in float64."""
    P = np.linalg.inv(X.T @ X + regularization * np.eye(X.shape[1]))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    return B


@pytest.fixture(scope="module")
def parts():
    ratings = synthetic_ratings(150, 80, 2500, random_state=0)
    return train_test_split(ratings, test_size=0.2, random_state=0)


# one block, its edges, several blocks and tiles
@pytest.mark.parametrize("n_items", [1, 2, 17, 255, 256, 257, 300, 600, 1025])
def test_weights_are_the_closed_form(n_items):
    rng = np.random.default_rng(n_items)
    dense = rng.random((200, n_items)) < rng.random(n_items) ** 2 * 0.5
    dense[0, 0] = True
    users, items = np.nonzero(dense)
    X = Ratings.from_arrays(
        *(users, items, np.full(len(users), 3.0)),
        user_ids=np.arange(200),
        item_ids=np.arange(n_items),
    )
    model = EASE(regularization=20.0, num_threads=2).fit(X)
    expected = closed_form(dense.astype(np.float64), 20.0)
    scale = np.abs(expected).max() or 1.0
    error = np.abs(model.item_weights_ - expected).max() / scale
    assert error < 3e-5  # of float32, at condition numbers of some hundreds
    assert (np.diag(model.item_weights_) == 0).all()
    if n_items == 1025:
        for threads in (1, 3, 5):
            other = EASE(regularization=20.0, num_threads=threads).fit(X)
            np.testing.assert_array_equal(model.item_weights_, other.item_weights_)


def test_scores_are_rows_times_weights(parts):
    train, test = parts
    model = EASE(regularization=50.0).fit(train)
    X = (train.to_matrix().toarray() != 0).astype(np.float64)
    expected = X @ closed_form(X, 50.0)
    scores = model.predict(np.arange(150)[:, None], np.arange(80))
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    ids, best = model.recommend(n=5)
    expected[X > 0] = -np.inf
    np.testing.assert_allclose(best, -np.sort(-expected, axis=1)[:, :5], atol=1e-5)
    assert model.evaluate(test, "hr@5")["hr@5"] == pytest.approx(
        np.mean(
            [
                bool(set(row) & set(np.flatnonzero(seen)))
                for row, seen in zip(ids, test.to_matrix().toarray(), strict=True)
                if seen.any()
            ]
        )
    )


def test_new_users_get_their_rows_times_the_weights(parts, tmp_path):
    model = EASE(regularization=50.0).fit(parts[0])
    new = Ratings.from_arrays([900, 900, 901], [3, 5, 60], [1, 1, 1])
    ids, scores = model.recommend(ratings=new, n=4)
    model.fold_in(new)
    for got, expected in zip(model.recommend([900, 901], n=4), (ids, scores), strict=True):
        np.testing.assert_array_equal(got, expected)
    model.save(tmp_path / "ease")
    again = EASE.load(tmp_path / "ease")
    np.testing.assert_array_equal(again.recommend(900)[0], model.recommend(900)[0])
    with pytest.raises(ValueError, match='axis must be "user" for EASE'):
        model.fold_in(Ratings.from_arrays([3], [900], [1]), axis="item")


def test_similar_items_are_those_that_an_item_recommends(parts):
    model = EASE(regularization=50.0).fit(parts[0])
    ids, scores = model.similar_items(7, n=3)
    weights = model.item_weights_[7].copy()
    weights[7] = -np.inf
    np.testing.assert_array_equal(ids, np.argsort(-weights, kind="stable")[:3])
    np.testing.assert_array_equal(scores, weights[ids])


def test_too_little_memory_is_said_before_the_work_begins(parts, monkeypatch):
    monkeypatch.setattr(ease_module, "available_memory", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"EASE needs .* KiB for weights between 80 items, but"):
        EASE().fit(parts[0])


def test_bad_regularization_is_refused(parts):
    with pytest.raises(ValueError, match="regularization must be a finite number above 0"):
        EASE(regularization=0).fit(parts[0])
    for value in ("best", None):
        with pytest.raises(TypeError, match="regularization must be a finite number above 0"):
            EASE(regularization=value).fit(parts[0])
    same = Ratings.from_arrays(np.arange(50).repeat(2), [0, 1] * 50, np.ones(100))
    with pytest.raises(ConvergenceError, match=r"Raise regularization \(it is 1e-20\)"):
        EASE(regularization=1e-20).fit(same)


class TestAutoRegularization:
    """lambda chosen on cells that are held out of what `fit` is given."""

    def test_is_the_default_and_can_be_seen(self, parts):
        model = EASE().fit(parts[0])
        assert model.regularization == "auto"
        assert model.get_params()["regularization"] == "auto"
        again = EASE(regularization=model.regularization_).fit(parts[0])
        np.testing.assert_array_equal(model.item_weights_, again.item_weights_)
        assert again.regularization_ == again.regularization == model.regularization_
        with pytest.raises(NotFittedError):
            EASE().regularization_  # noqa: B018

    def test_is_the_same_at_any_number_of_threads(self, parts):
        chosen = {EASE(num_threads=n).fit(parts[0]).regularization_ for n in (1, 2, 5)}
        assert len(chosen) == 1

    def test_does_not_depend_on_values(self, parts):
        other = parts[0].to_matrix().copy()
        other.data[:] = 0
        assert EASE().fit(other).regularization_ == EASE().fit(parts[0]).regularization_

    def test_ranks_what_is_held_out_about_as_well_as_the_best_of_a_grid(self):
        ratings = synthetic_ratings(400, 200, 9000, random_state=3).binarize(4)
        train, test = train_test_split(ratings, test_size=0.2, by="user", random_state=0)
        grid = [EASE(regularization=10.0 * 2**k).fit(train) for k in range(10)]
        best = max(model.evaluate(test, "ndcg@10")["ndcg@10"] for model in grid)
        worst = min(model.evaluate(test, "ndcg@10")["ndcg@10"] for model in grid)
        auto = EASE().fit(train).evaluate(test, "ndcg@10")["ndcg@10"]
        assert worst < 0.9 * best
        assert auto > 0.97 * best

    def test_follows_the_size_of_the_data(self):
        small = EASE().fit(synthetic_ratings(100, 60, 1500, random_state=0).binarize(4))
        large = EASE().fit(synthetic_ratings(3000, 60, 45_000, random_state=0).binarize(4))
        assert 8 <= small.regularization_ < large.regularization_

    def test_comes_from_a_rule_where_nothing_can_be_held_out(self):
        lonely = Ratings.from_arrays(np.arange(40), np.arange(40) % 4, np.ones(40))
        assert EASE().fit(lonely).regularization_ == 30.0  # 3 times 10 cells an item
        assert EASE().fit(Ratings.from_arrays([1], [2], [3])).regularization_ == 20.0

    @pytest.mark.parametrize(
        ("values", "summit"),
        [
            ([3, 2, 1, 0, 0, 0], 10.0),
            ([0, 0, 1, 2, 3, 4], 10240.0),
            ([0, 1, 2, 1, 0, 0], 160.0),
            ([0, 0, 2, 2, 0, 0], 320.0),  # half of a step of 4, on the logarithmic scale
            ([1, 1, 1, 1, 1, 1], 10.0),
        ],
    )
    def test_is_where_a_parabola_is_highest(self, values, summit):
        assert ease_module._summit(np.array(values, np.float64)) == pytest.approx(summit)

    def test_passes_over_what_cannot_be_inverted(self, parts, monkeypatch):
        chosen = EASE().fit(parts[0]).regularization_
        core = ease_module._core.ease

        def fails_below_40(*arrays, num_threads):
            if arrays[-1] < 40:
                raise ease_module._core.NotPositiveDefinite("no")
            return core(*arrays, num_threads=num_threads)

        monkeypatch.setattr(ease_module._core, "ease", fails_below_40)
        if chosen >= 40:
            assert EASE().fit(parts[0]).regularization_ >= 0.8 * 40
        else:
            with pytest.raises(ConvergenceError):
                EASE(regularization=chosen).fit(parts[0])

    def test_is_in_files_and_pickles(self, parts, tmp_path):
        model = EASE().fit(parts[0])
        chosen = model.regularization_
        model.set_params(regularization=7.0).save(tmp_path / "ease")  # used by the next fit
        for again in (EASE.load(tmp_path / "ease"), pickle.loads(pickle.dumps(model))):
            assert again.regularization_ == chosen
            np.testing.assert_array_equal(again.item_weights_, model.item_weights_)
        assert EASE.load(tmp_path / "ease").regularization == "auto"
        number = EASE(regularization=7.0).fit(parts[0])
        number.set_params(regularization="auto").save(tmp_path / "number")
        again = EASE.load(tmp_path / "number")
        assert (again.regularization, again.regularization_) == (7.0, 7.0)

    def test_set_after_fit_leaves_the_one_that_was_used(self, parts):
        model = EASE(regularization=7.0).fit(parts[0]).set_params(regularization="auto")
        again = pickle.loads(pickle.dumps(model))
        assert again.regularization == "auto"  # for the next fit
        assert again.regularization_ == 7
        np.testing.assert_array_equal(again.item_weights_, model.item_weights_)

    def test_is_said(self, parts, capsys):
        model = EASE(verbose=True).fit(parts[0])
        assert f"regularization {model.regularization_:g}\n" in capsys.readouterr().out


@pytest.mark.data
def test_reaches_the_published_figure_on_ncf_leave_one_out(data_folder):
    from scipy import sparse

    from isthmus import mask_split

    with np.load(data_folder / "ml-1m" / "ratings.npz") as file:
        users, items, values = file["user"], file["item"], file["rating"]
        ratings = Ratings.from_arrays(
            *(users, items, values), user_ids=np.arange(6040), item_ids=np.arange(3706)
        )
        train, test = mask_split(ratings, file["ncf_loo_test"], users=users, items=items)
    with np.load(data_folder / "ml-1m" / "ncf_leave_one_out.npz") as file:
        negatives = file["negatives"]
    pairs = (np.repeat(np.arange(6040), 99), negatives.ravel())
    pool = sparse.csr_array((np.ones(len(pairs[0]), np.float32), pairs), shape=ratings.shape)
    values = (
        EASE(regularization=1000.0).fit(train).evaluate(test, ["hr@10", "ndcg@10"], candidates=pool)
    )
    assert values["hr@10"] == pytest.approx(0.7192, abs=0.005)
    assert values["ndcg@10"] == pytest.approx(0.4494, abs=0.005)


@pytest.fixture
def data_folder():
    import os
    from pathlib import Path

    folder = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs real data, but the folder {folder} (ISTHMUS_DATA) is absent")
    return folder
