"""CVAE: its sweeps against NumPy's normal equations, its losses, its content, its new items."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
import reference
from core_fixtures import assert_close
from scipy import sparse

from isthmus import (
    CVAE,
    Content,
    ConvergenceError,
    NotFittedError,
    Ratings,
    _core,
    synthetic_ratings,
)

N_USERS, N_ITEMS, N_WORDS, TOPICS = 90, 70, 50, 5
SMALL = {
    "hidden_units": (12, 8),
    "latent_units": 5,
    "pretraining_epochs": 15,
    "epochs": 8,
    "batch_size": 16,
    "random_state": 0,
}


def make_data(seed=0):
    """Users like items of one topic, whose words tell which."""
    rng = np.random.default_rng(seed)
    user, item, word = (np.arange(n) % TOPICS for n in (N_USERS, N_ITEMS, N_WORDS))
    likes = rng.random((N_USERS, N_ITEMS)) < np.where(user[:, None] == item, 0.5, 0.02)
    words = rng.random((N_ITEMS, N_WORDS)) < np.where(item[:, None] == word, 0.6, 0.03)
    return sparse.csr_array(likes.astype(np.float32)), sparse.csr_array(words.astype(np.float32))


LIKES, WORDS = make_data()


def fit(X=LIKES, content=WORDS, **params):
    return CVAE(**{**SMALL, **params}).fit(X, content=content)


@pytest.fixture(scope="module")
def model():
    return fit()


def cells(matrix):
    return _core.Cells(
        *(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)),
        *(matrix.data.astype(np.float32), matrix.shape[1]),
    )


class TestSweep:
    @pytest.mark.parametrize("k", [1, 3, 16, 50])
    @pytest.mark.parametrize("weights", [(1.0, 0.01), (3.0, 0.0), (1.0, 0.9)])
    @pytest.mark.parametrize("with_prior", [False, True])
    def test_solves_the_normal_equations(self, k, weights, with_prior):
        rng = np.random.default_rng(k)
        observed = rng.random((40, 60)) < rng.random((40, 1)) ** 2 * 0.4
        observed[3] = False
        factors = rng.standard_normal((60, k)).astype(np.float32)
        prior = rng.standard_normal((40, k)).astype(np.float32) if with_prior else None
        counted = observed.any(axis=0)
        gram = _core.factor_gram(factors[counted])
        positive, other = weights
        solved, error = _core.solve_implicit_rows(
            *(cells(sparse.csr_array(observed)), factors, gram),
            positive=positive,
            other=other,
            regularization=0.7,
            prior=prior,
        )
        expected, expected_error = reference.implicit_factors(
            observed,
            factors,
            positive=positive,
            other=other,
            regularization=0.7,
            prior=prior,
            counted=counted,
        )
        assert_close(solved, expected, 1e-4)
        # what is left of float32 sums of the squared targets
        rounding = 1e-5 * positive * observed.sum()
        assert error == pytest.approx(expected_error, rel=1e-4, abs=rounding)

    def test_has_the_same_bits_at_any_number_of_threads(self):
        rng = np.random.default_rng(0)
        observed = sparse.csr_array(rng.random((3000, 40)) < 0.1)
        factors = rng.standard_normal((40, 24)).astype(np.float32)
        tall = rng.standard_normal((5000, 24)).astype(np.float32)
        assert_close(_core.factor_gram(tall), tall.T.astype(np.float64) @ tall, 1e-5)
        options = {"positive": 1.0, "other": 0.1, "regularization": 0.5}
        one = _core.solve_implicit_rows(
            cells(observed), factors, _core.factor_gram(factors), **options
        )
        for threads in (2, 3, 5):
            gram = _core.factor_gram(factors, num_threads=threads)
            many = _core.solve_implicit_rows(
                cells(observed), factors, gram, **options, num_threads=threads
            )
            np.testing.assert_array_equal(one[0], many[0])
            assert one[1] == many[1]
            np.testing.assert_array_equal(
                _core.factor_gram(tall), _core.factor_gram(tall, num_threads=threads)
            )

    def test_a_round_ends_in_the_papers_equations(self, model):
        prior = model._encode_content(model._content)
        had = np.diff(LIKES.tocsc().indptr) > 0
        active = np.diff(LIKES.indptr) > 0
        weights = {"positive": 1.0, "other": 0.01}
        dense = LIKES.toarray()
        items, _ = reference.implicit_factors(
            dense.T,
            model.user_factors_,
            regularization=10.0,
            prior=prior,
            counted=active,
            **weights,
        )
        assert_close(model.item_factors_, items, 1e-4)
        # users were solved for the items before: one more sweep moves them little, exactly so
        newcomers = model._fold_users(Ratings.from_matrix(LIKES).rows("user"))
        users, _ = reference.implicit_factors(
            dense, model.item_factors_, regularization=0.1, counted=had, **weights
        )
        assert_close(newcomers.users, users, 1e-4)

    def test_without_content_is_a_weighted_factorisation(self):
        plain = fit(content=None, epochs=30, item_regularization=0.1, user_regularization=0.1)
        before = plain.losses_
        total = before["ratings"] + before["penalty"]
        assert (np.diff(total) < 1e-6 * total[0]).all()
        assert total[-1] < 0.7 * total[0]
        assert not before["reconstruction"].any()
        assert len(plain.pretraining_losses_) == 0
        with pytest.raises(ValueError, match="content needs a model that was fitted with content"):
            plain.fold_in_items(WORDS)


class TestTraining:
    def test_the_loss_of_every_part_falls(self):
        model = fit(epochs=30)
        for losses in model.pretraining_losses_:
            assert losses[-1] < losses[0]
        assert model.pretraining_losses_.shape == (3, 15)
        losses = model.losses_
        for name in ("reconstruction", "distance", "ratings"):
            assert losses[name][-1] < losses[name][0], name
        assert model.history_[-1].loss < model.history_[0].loss
        assert model.history_[-1].loss == pytest.approx(
            sum(
                values[-1] * (10.0 if name == "distance" else 1.0)
                for name, values in losses.items()
            )
        )

    def test_codes_are_the_networks_means(self, model):
        weights = model._network.weights()
        mean, _ = reference.content_code(WORDS.toarray(), weights, 2)
        empty = np.diff(WORDS.indptr) == 0
        assert_close(model._encode_content(model._content), np.where(empty[:, None], 0, mean), 1e-5)

    @pytest.mark.parametrize("num_threads", [2, 3, 5])
    def test_has_the_same_bits_at_any_number_of_threads(self, num_threads):
        one, many = (fit(num_threads=n, epochs=3, pretraining_epochs=3) for n in (1, num_threads))
        for name, tensor in one._tensors().items():
            if name != "history":
                np.testing.assert_array_equal(tensor, many._tensors()[name], err_msg=name)

    def test_content_helps_where_there_is_little_else(self):
        rng = np.random.default_rng(3)
        kept = LIKES.copy()
        kept.data = (rng.random(LIKES.nnz) < 0.15).astype(np.float32)
        kept.eliminate_zeros()
        rest = sparse.csr_array(LIKES - kept)
        rest.eliminate_zeros()
        with_content = fit(kept, epochs=20).evaluate(rest, "recall@10")["recall@10"]
        without = fit(kept, content=None, epochs=20).evaluate(rest, "recall@10")["recall@10"]
        assert with_content > without + 0.05

    def test_early_stopping_goes_back_to_the_best_round(self):
        metrics = []
        model = CVAE(**{**SMALL, "epochs": 40, "patience": 2, "validation_metric": "recall@5"})
        validation = sparse.csr_array(make_data(1)[0] * (1 - LIKES.toarray()))
        validation.eliminate_zeros()
        model.fit(
            *(LIKES,),
            content=WORDS,
            validation=validation,
            callbacks=[lambda epoch: metrics.append(epoch.metrics["recall@5"])],
        )
        assert model.evaluate(validation, "recall@5")["recall@5"] == pytest.approx(max(metrics))
        assert len(metrics) < 40

    def test_goes_on_where_it_stopped(self):
        model = fit(epochs=2)
        before = model.losses_["reconstruction"][-1]
        model.partial_fit(LIKES, epochs=3)
        assert len(model.history_) == 5
        assert model.losses_["reconstruction"][-1] < before

    def test_divergence_is_an_error(self):
        with pytest.raises(ConvergenceError, match=r"Lower learning_rate \(it is 1e\+20\)"):
            fit(learning_rate=1e20)

    def test_divergence_in_pretraining_is_an_error(self):
        model = CVAE(**{**SMALL, "pretraining_learning_rate": 1e20})
        with pytest.raises(
            ConvergenceError, match=r"^In pretraining, .* Lower pretraining_learning_rate"
        ):
            model.fit(LIKES, content=WORDS)
        with pytest.raises(NotFittedError):
            model.recommend(0)


class TestContent:
    def test_is_the_same_as_a_matrix_or_as_token_lists_in_any_order(self, model):
        order = np.random.default_rng(0).permutation(N_ITEMS)
        tokens = [[f"w{word:02}" for word in WORDS[[item]].indices] for item in order]
        frame = pa.table({"item": order, "tokens": tokens})
        words = fit(content=frame)
        np.testing.assert_array_equal(words.item_factors_, model.item_factors_)
        named = Content(WORDS[order], item_ids=order)
        np.testing.assert_array_equal(fit(content=named).item_factors_, model.item_factors_)

    def test_counts_are_scaled(self, model):
        np.testing.assert_array_equal(fit(content=WORDS * 7).item_factors_, model.item_factors_)

    def test_may_be_missing_for_some_items(self):
        some = WORDS.toarray()
        some[::3] = 0
        model = fit(content=sparse.csr_array(some))
        assert not model._encode_content(model._content)[::3].any()
        assert np.isfinite(model.item_factors_).all()
        assert model.item_factors_[0].any()

    def test_of_unknown_items_is_left_aside(self, model):
        more = Content(sparse.vstack([WORDS, WORDS[:4]]).tocsr())
        np.testing.assert_array_equal(fit(content=more).item_factors_, model.item_factors_)

    @pytest.mark.parametrize(
        ("content", "error", "sentence"),
        [
            (WORDS[:3], ValueError, r"must have a row for each of the 70 items.*3 x 50"),
            (np.ones((70, 3)), TypeError, r"content must be Content.*but it is a ndarray\."),
            (
                Content(WORDS, item_ids=[f"i{n}" for n in range(70)]),
                ValueError,
                r"item ids of the type of the ratings', as 0, but one is 'i0'\.",
            ),
        ],
    )
    def test_is_refused_in_a_sentence(self, content, error, sentence):
        with pytest.raises(error, match=sentence):
            fit(content=content)


class TestNewItems:
    def test_are_scored_by_their_codes(self):
        known = fit(
            *(LIKES[:, :60], WORDS[:60]), epochs=60, pretraining_epochs=50, learning_rate=0.01
        )
        before = known.predict(np.arange(N_USERS)[:, None], np.arange(60))
        assert known.fold_in_items(WORDS[60:]) is known
        assert known.item_ids_.tolist() == list(range(70))
        after = known.predict(np.arange(N_USERS)[:, None], np.arange(70))
        np.testing.assert_array_equal(after[:, :60], before)
        codes, _ = reference.content_code(WORDS[60:].toarray(), known._network.weights(), 2)
        expected = (
            known.user_factors_ @ np.where(np.diff(WORDS[60:].indptr)[:, None] > 0, codes, 0).T
        )
        assert_close(after[:, 60:], expected, 1e-4)
        ids, _ = known.recommend(n=2, candidates=np.arange(60, 70))
        same_topic = ids % TOPICS == np.arange(N_USERS)[:, None] % TOPICS
        assert same_topic.mean() > 0.6  # a guess is right in 0.2

    def test_take_part_in_all_that_models_do(self, tmp_path):
        model = fit().fold_in_items(WORDS[:3], item_ids=[100, 200, 300])
        assert model.item_ids_[-3:].tolist() == [100, 200, 300]
        assert set(model.recommend(5, n=73)[0].tolist()) >= {100, 200, 300}
        model.fold_in(Ratings.from_arrays([500], [200], [1]))
        assert 200 not in model.recommend(500, n=72)[0]
        model.save(tmp_path / "model")
        again = CVAE.load(tmp_path / "model").fold_in_items(WORDS[3:4], item_ids=[400])
        assert again.item_ids_[-1] == 400
        model.partial_fit(
            Ratings.from_arrays([0], [100], [1], user_ids=model.user_ids_, item_ids=model.item_ids_)
        )
        assert np.isfinite(model.item_factors_).all()

    def test_may_bring_words_that_training_did_not_have(self, tmp_path):
        tokens = [[f"w{word:02}" for word in WORDS[[item]].indices] for item in range(N_ITEMS)]
        model = fit(content=pa.table({"item": range(N_ITEMS), "tokens": tokens}))
        model.save(tmp_path / "model")
        model = CVAE.load(tmp_path / "model")
        new = pa.table({"item": [80, 81], "tokens": [[*tokens[1], "brand-new"], ["unheard"]]})
        model.fold_in_items(new)
        np.testing.assert_allclose(
            model.item_factors_[-2], model._encode_content(model._content)[1], rtol=1e-6
        )
        assert not model.item_factors_[-1].any()

    def test_survive_a_pickle(self):
        model = fit().fold_in_items(WORDS[:2])
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.recommend(n=5)[0], model.recommend(n=5)[0])

    @pytest.mark.parametrize(
        ("call", "sentence"),
        [
            (lambda m: m.fold_in_items(WORDS[:, :7]), r"the 50 features .* but it has 7\."),
            (lambda m: m.fold_in_items(WORDS[:1], item_ids=[3]), r"knows 3 already\."),
            (lambda m: m.fold_in_items(WORDS[:1], item_ids=["a"]), r"as 0, but one is 'a'\."),
            (
                lambda m: m.fold_in_items(Content(WORDS), item_ids=[3]),
                r"item_ids must not be given where content has ids itself\.",
            ),
            (lambda m: m.fold_in(LIKES[:, :2], axis="item"), r"fold_in_items adds them"),
        ],
    )
    def test_are_refused_in_a_sentence(self, model, call, sentence):
        with pytest.raises(ValueError, match=sentence):
            call(model)

    def test_need_ids_where_integers_end(self):
        model = fit().fold_in_items(WORDS[:1], item_ids=[2**63 - 2]).fold_in_items(WORDS[:1])
        assert model.item_ids_[-1] == 2**63 - 1
        with pytest.raises(ValueError, match=r"content must come with item ids, since the model's"):
            model.fold_in_items(WORDS[:1])


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("latent_units", 0),
            ("hidden_units", ()),
            ("user_regularization", 0.0),
            ("item_regularization", 0.0),
            ("content_weight", 0.0),
            ("positive_weight", 0.0),
            ("other_weight", 1.0),
            ("other_weight", -0.1),
            ("regularization", -1.0),
            ("corruption", 1.0),
            ("pretraining_epochs", -1),
            ("pretraining_learning_rate", 0.0),
        ],
    )
    def test_are_checked(self, name, value):
        with pytest.raises(ValueError, match=rf"^{name} must "):
            fit(**{name: value})


def test_hidden_units_may_be_one_number():
    one, same = fit(hidden_units=6), fit(hidden_units=(6,))
    np.testing.assert_array_equal(one.item_factors_, same.item_factors_)


def test_a_singular_problem_leaves_the_model_unfitted():
    model = CVAE(**{**SMALL, "positive_weight": 2.0**64})
    with pytest.raises(ConvergenceError, match=r"singular: raise regularization\.$"):
        model.fit(LIKES)
    with pytest.raises(NotFittedError):
        model.predict(0, 0)


def test_popular_synthetic_data_trains_without_content():
    model = CVAE(**{**SMALL, "epochs": 3}).fit(synthetic_ratings(60, 50, 900, random_state=0))
    assert np.isfinite(model.predict(np.arange(60)[:, None], np.arange(50))).all()


def test_partial_fit_needs_fit_which_alone_takes_content():
    with pytest.raises(NotFittedError, match="call fit first"):
        CVAE(epochs=1).partial_fit(LIKES)
