"""How likely users are to rate items, and the lists of models of ratings that are ordered by it."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from isthmus import (
    EASE,
    RBM,
    AutoRec,
    BiasedMF,
    Blend,
    Ratings,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.data._csr import as_pattern, empty
from isthmus.evaluation import odds
from isthmus.evaluation.odds import DAMPING, rated_odds
from isthmus.evaluation.scores import Weighted

LIST = {"random_state": 0, "num_threads": 1}
QUICK = {"epochs": 3, "random_state": 0, "num_threads": 1}
MODELS = {
    "AutoRec": AutoRec(hidden_units=(6,), batch_size=16, regularization=5.0, **QUICK),
    "U-AutoRec": AutoRec(orientation="user", hidden_units=(6,), batch_size=16, **QUICK),
    "AutoRec sigmoid": AutoRec(
        hidden_units=(6,), decoder_activation="sigmoid", target_centering="none", **QUICK
    ),
    "BiasedMF": BiasedMF(factors=5, **QUICK),
    "RBM": RBM(hidden_units=6, batch_size=16, **QUICK),
    "U-RBM": RBM(orientation="user", hidden_units=6, batch_size=16, **QUICK),
}
MODELS["Blend"] = Blend([MODELS["AutoRec"], MODELS["RBM"]], random_state=0, num_threads=1)


def new(name):
    return type(MODELS[name])(**MODELS[name].get_params())


def scores_of(found, rows):
    vectors = found.of(rows)
    return vectors.users.astype(np.float64) @ vectors.items.T + vectors.item_offset


def reference(table):
    """The log odds of every cell of a table of zeros and ones, by NumPy's own decomposition."""
    users, items = table.sum(1), table.sum(0)
    outer = np.sqrt(np.outer(users + DAMPING, items + DAMPING))
    left, values, right = np.linalg.svd(table / outer, full_matrices=False)
    kept = slice(1, odds.FACTORS)
    strengths = values[kept] ** 2 / max(values[1], 1e-12)
    added = (left[:, kept] * strengths) @ right[kept]
    popularity = np.log((items + 0.5) / (len(table) - items + 0.5))
    return popularity + table.sum() * added / outer


def random_table(n_users, n_items, density, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n_users, n_items)) < density * rng.random(n_items) * 2).astype(float)


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(120, 80, 2_500, random_state=0)


class TestOdds:
    @pytest.mark.parametrize("shape", [(50, 30), (30, 50), (40, 64), (2, 2), (3, 9)])
    def test_are_those_of_a_damped_correspondence_analysis(self, shape):
        table = random_table(*shape, 0.4)
        found = rated_odds(as_pattern(sparse.csr_array(table)))
        got = scores_of(found, as_pattern(sparse.csr_array(table)))
        np.testing.assert_allclose(got, reference(table), atol=2e-3)

    def test_more_factors_than_are_kept_are_nearly_found(self):
        rng = np.random.default_rng(1)
        tastes = rng.random((8, 90)) < 0.3
        table = (tastes[rng.integers(0, 8, 300)] & (rng.random((300, 90)) < 0.6)).astype(float)
        pattern = as_pattern(sparse.csr_array(table))
        got, expected = scores_of(rated_odds(pattern), pattern), reference(table)
        assert np.abs(got - expected).max() < 0.1 * np.abs(expected).std()

    def test_a_user_is_the_damped_mean_of_what_he_has_rated(self):
        table = random_table(40, 20, 0.3)
        found = rated_odds(as_pattern(sparse.csr_array(table)))
        rows = as_pattern(sparse.csr_array(np.eye(20)[[3, 5]] + np.eye(20)[[7, 7]]))
        expected = (found.items[[3, 5]] + found.items[7]) / (2 + DAMPING)
        np.testing.assert_allclose(found.of(rows).users, expected, rtol=1e-5)

    def test_without_ratings_are_those_of_nobody(self):
        found = rated_odds(empty((4, 3)))
        np.testing.assert_allclose(scores_of(found, empty((2, 3))), np.log(0.5 / 4.5), rtol=1e-6)
        table = random_table(30, 12, 0.4)
        table[:, 5] = 0
        found = rated_odds(as_pattern(sparse.csr_array(table)))
        assert (found.items[5] == 0).all()
        assert (found.of(empty((1, 12))).users == 0).all()

    @pytest.mark.parametrize("table", [np.ones((1, 1)), np.ones((5, 4)), np.eye(3), np.eye(1, 6)])
    def test_are_finite_of_tables_of_low_rank(self, table):
        pattern = as_pattern(sparse.csr_array(table))
        assert np.isfinite(scores_of(rated_odds(pattern), pattern)).all()

    def test_of_many_ratings_come_from_some_of_the_users(self, monkeypatch):
        table = np.kron(random_table(40, 25, 0.3), np.ones((2, 1)))
        expected = reference(table)
        monkeypatch.setattr(odds, "MAX_CELLS", int(table.sum()) // 2 + 1)
        pattern = as_pattern(sparse.csr_array(table))
        # every other user is one of two that are alike
        np.testing.assert_allclose(scores_of(rated_odds(pattern), pattern), expected, atol=2e-3)

    def test_are_the_same_at_any_number_of_blas_threads(self):
        program = (
            "import hashlib; from isthmus import synthetic_ratings as s, BiasedMF as M;"
            "m = M(factors=3, epochs=1, random_state=0).fit(s(400, 300, 20000, random_state=0));"
            "print(hashlib.md5(m._odds().items.tobytes()).hexdigest())"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for threads in ("1", "2", "5")
        }
        assert len(found) == 1

    @pytest.mark.parametrize("n", [1, 2, 5, 12, 33])
    def test_eigenvalues_are_lapacks(self, n):
        matrix = np.random.default_rng(n).normal(size=(n, n + 3))
        matrix = matrix @ matrix.T
        values, vectors = odds._eigen(matrix)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-10)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
class TestLists:
    def expected(self, model, ratings):
        """The order of all items for every user by the rule, seen ones last."""
        model.clip = False
        raw = (
            model._vectors()
            .scorer()
            .score_pairs(
                *np.indices((ratings.n_users, ratings.n_items), dtype=np.int32).reshape(2, -1),
                num_threads=1,
            )
        )
        seen = ratings.to_matrix().toarray() != 0
        width = (ratings.max - ratings.min) / 4
        return raw.reshape(seen.shape) + width * reference(seen.astype(float)), seen

    def test_are_by_rating_and_odds(self, name, ratings):
        model = new(name).fit(ratings)
        ids, _ = model.recommend(n=5)
        values, seen = self.expected(model, ratings)
        values[seen] = -np.inf
        best = -np.sort(-values, axis=1)[:, :5]
        # equal to rounding, and to how nearly the factors are found
        np.testing.assert_allclose(np.take_along_axis(values, ids, 1), best, atol=0.02)

    def test_have_predicted_ratings_as_scores(self, name, ratings):
        model = new(name).fit(ratings)
        for options in ({}, {"order": "rating"}, {"candidates": [3, 7, 9, 11, 20]}):
            ids, scores = model.recommend(n=5, **options)
            there = ids >= 0
            users = np.broadcast_to(model.user_ids_[:, np.newaxis], ids.shape)
            predicted = model.predict(users[there], ids[there])
            if name != "Blend":  # which predicts from its models' clipped ratings
                np.testing.assert_allclose(scores[there], predicted, rtol=1e-5)
            assert np.isnan(scores[~there]).all()
            assert scores[there].min() >= ratings.min
            assert scores[there].max() <= ratings.max

    def test_do_not_depend_on_the_scale_of_ratings(self, name, ratings, monkeypatch):
        # of the same predictions: how training depends on the scale is tested elsewhere
        model = new(name).fit(ratings)
        ids, _ = model.recommend(n=5)
        rescaled = Weighted((model._vectors(),), (20.0,), 3.0)
        monkeypatch.setattr(model, "_vectors", lambda: rescaled)
        monkeypatch.setattr(model, "_range", tuple(20 * end + 3 for end in model._range))
        again, scores = model.recommend(n=5)
        assert (again == ids).mean() > 0.995  # but for rounding
        assert np.nanmax(scores) > ratings.max

    def test_are_ranked_alike_by_evaluate(self, name, ratings):
        train, test = (
            ratings.select(np.arange(2_500) % 5 > 0),
            ratings.select(np.arange(2_500) % 5 == 0),
        )
        model = new(name).fit(train)
        positives = test.to_matrix().toarray() != 0
        tested = positives.any(axis=1)
        for order in ("likely", "rating"):
            ids, _ = model.recommend(n=5, order=order)
            hits = np.take_along_axis(positives, ids, axis=1).sum(axis=1)[tested] / 5
            got = model.evaluate(test, "precision@5", order=order)["precision@5"]
            assert got == pytest.approx(hits.mean())
            _, values = model.evaluate_users(test, "precision@5", order=order)
            np.testing.assert_allclose(values["precision@5"], hits)
        assert model.evaluate(test, "ndcg@5") == model.evaluate(test, "ndcg@5", order="likely")

    def test_of_new_users_are_those_of_known_ones(self, name, ratings):
        if name == "AutoRec sigmoid":  # which takes no new users
            return
        model = new(name).fit(ratings)
        known = ratings.to_matrix().tocsr()[:4]
        ids, _ = model.recommend(ratings=known, n=5)
        had = known.toarray() != 0
        assert not np.take_along_axis(had, ids, axis=1).any()
        odds_of_them = scores_of(model._odds(), as_pattern(known))
        raw = model._fold_users(model._rows_among(known, "X", axis="user"))
        values = raw.scorer().score_pairs(
            *np.indices(had.shape, dtype=np.int32).reshape(2, -1), num_threads=1
        )
        values = values.reshape(had.shape) + (ratings.max - ratings.min) / 4 * odds_of_them
        values[had] = -np.inf
        best = -np.sort(-values, axis=1)[:, :5]
        np.testing.assert_allclose(np.take_along_axis(values, ids, 1), best, atol=1e-4)
        nothing, _ = model.recommend(ratings=sparse.csr_array((1, ratings.n_items)), n=5)
        assert (nothing >= 0).all()

    def test_know_what_was_folded_in(self, name, ratings):
        model = new(name).fit(ratings)
        before = model._odds()
        if name == "AutoRec sigmoid":  # which takes no new users
            return
        model.fold_in(Ratings.from_arrays([900, 901], [3, 5], [1, 5]))
        assert model._odds() is not before
        assert (model.recommend([900, 901], n=5)[0] >= 0).all()
        liked = Ratings.from_arrays(np.arange(60), np.full(60, 950), np.full(60, 5.0))
        model.fold_in(liked, axis="item")
        assert len(model._odds().items) == 81
        assert (model.recommend([900, 901], n=20)[0] == 950).any()

    def test_survive_files_and_pickles(self, name, ratings, tmp_path):
        model = new(name).fit(ratings)
        expected = model.recommend(n=5)
        model.save(tmp_path / "model")
        assert b"_known_odds" not in pickle.dumps(model)
        for again in (
            Recommender.load(tmp_path / "model"),
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
        ):
            for left, right in zip(again.recommend(n=5), expected, strict=True):
                np.testing.assert_array_equal(left, right)

    def test_follow_a_fit_on_other_ratings(self, name, ratings):
        model = new(name).fit(ratings)
        model.recommend(n=5)
        other = ratings.select(np.arange(2_500) % 2 > 0)
        for left, right in zip(
            model.fit(other).recommend(n=5), new(name).fit(other).recommend(n=5), strict=True
        ):
            np.testing.assert_array_equal(left, right)

    def test_may_be_of_ratings_that_are_all_equal(self, name):
        table = random_table(30, 20, 0.4) * 4
        model = new(name).fit(sparse.csr_array(table))
        assert np.isfinite(model.recommend(n=3, exclude_seen=False)[1]).all()


class TestOrder:
    def test_must_be_one_of_two(self, ratings):
        model = new("BiasedMF").fit(ratings)
        for call in (
            lambda **options: model.recommend(n=3, **options),
            lambda **options: model.evaluate(ratings, "ndcg@3", exclude_seen=False, **options),
            lambda **options: model.evaluate_users(
                ratings, "ndcg@3", exclude_seen=False, **options
            ),
        ):
            with pytest.raises(ValueError, match=r"order must be .*likely.*rating"):
                call(order="popular")

    def test_of_implicit_feedback_is_one(self, ratings):
        model = EASE(num_threads=1).fit(ratings)
        for left, right in zip(
            model.recommend(n=3), model.recommend(n=3, order="likely"), strict=True
        ):
            np.testing.assert_array_equal(left, right)
        with pytest.raises(ValueError, match=r'order must be "likely" for EASE, whose scores'):
            model.recommend(n=3, order="rating")
        assert model._known_odds is None


@pytest.mark.data
@pytest.mark.parametrize(
    "model",
    [AutoRec(**LIST), AutoRec(orientation="user", **LIST), BiasedMF(**LIST), BiasedMF.als(**LIST)],
    ids=["I-AutoRec", "U-AutoRec", "BiasedMF", "BiasedMF.als"],
)
def test_lists_of_ml_100k_are_twice_as_good_as_popularitys(model, data_dir):
    with np.load(data_dir / "ml-100k" / "ratings.npz") as file:
        ratings = Ratings.from_arrays(file["user"], file["item"], file["rating"])
    train, test = train_test_split(ratings, test_size=0.2, random_state=0, by="user")
    liked = test.binarize(4)
    # popularity has .167 to .178, by split
    assert model.fit(train).evaluate(liked, "ndcg@10")["ndcg@10"] > 0.32
    assert model.evaluate(liked, "ndcg@10", order="rating")["ndcg@10"] < 0.17
