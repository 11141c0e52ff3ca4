"""Weights of cells: what they are of, what they change, and what is refused."""

import pickle

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from isthmus import (
    CDAE,
    EASE,
    AutoRec,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    _core,
    hold_out_users,
    synthetic_ratings,
    tune,
    verify,
)
from isthmus.data.ratings import CSR

EPOCHS = {"epochs": 3, "batch_size": 16, "random_state": 0}
TOP_N = {
    "EASE": (EASE, {"regularization": 5.0}),
    "MultDAE": (MultDAE, {"hidden_units": (6,), **EPOCHS}),
    "MultVAE": (MultVAE, {"hidden_units": (6,), "latent_units": 3, **EPOCHS}),
    "MultVAE, sampled": (
        MultVAE,
        {"hidden_units": (6,), "latent_units": 3, "sampled_items": 9, **EPOCHS},
    ),
    "MultDAE, Bernoulli": (MultDAE, {"hidden_units": (6,), "likelihood": "bernoulli", **EPOCHS}),
    "MultDAE, Gaussian": (MultDAE, {"hidden_units": (6,), "likelihood": "gaussian", **EPOCHS}),
    "CDAE": (CDAE, {"hidden_units": 6, **EPOCHS}),
    "CDAE, tied": (CDAE, {"hidden_units": 6, "tied": True, "loss": "square", **EPOCHS}),
}
AUTOREC = {
    "item": {"regularization": 5.0},
    "user": {"orientation": "user"},
    "float32": {"precision": "float32"},
    "lbfgs": {"optimizer": "lbfgs", "batch_size": None, "corruption": 0.0},
    "pretrained": {"hidden_units": (6, 3, 6), "pretraining_epochs": 1},
    "bounded": {"decoder_activation": "sigmoid", "target_centering": "none"},
}


@pytest.fixture(params=TOP_N)
def make(request):
    kind, parameters = TOP_N[request.param]
    return lambda **more: kind(**{**parameters, **more})


@pytest.fixture(params=AUTOREC)
def make_autorec(request):
    parameters = {"hidden_units": (6,), **EPOCHS, **AUTOREC[request.param]}
    return lambda **more: AutoRec(**{**parameters, **more})


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(60, 40, 700, random_state=0)


@pytest.fixture(scope="module")
def weights(ratings):
    return with_values(ratings, np.random.default_rng(1).random(ratings.nnz))


@pytest.fixture(scope="module")
def plays(ratings):
    """Counts, from 1 to some hundreds."""
    return with_values(ratings, np.random.default_rng(0).geometric(0.05, ratings.nnz))


def with_values(ratings, values):
    cells = (values, ratings.indices, ratings.indptr)
    return Ratings.from_matrix(
        sparse.csr_array(cells, shape=ratings.shape),
        user_ids=ratings.user_ids,
        item_ids=ratings.item_ids,
    )


def assert_same_bits(one, other):
    left, right = one._tensors(), other._tensors()
    for name in left.keys() & right.keys():
        if not name.startswith("history"):
            assert_array_equal(left[name], right[name], err_msg=name)
    assert_array_equal(one.recommend(n=5)[1], other.recommend(n=5)[1])


def differ(one, other):
    left, right = one._tensors(), other._tensors()
    name = "weights" if "weights" in left else "decoder.bias"
    return not np.array_equal(left[name], right[name])


class TestOfTopNModels:
    def test_that_are_equal_change_no_bit(self, make, plays):
        expected = make().fit(plays)
        for value in (1.0, 0.25):  # whose unit does not matter
            alike = with_values(plays, np.full(plays.nnz, value))
            assert_same_bits(make(weights="values").fit(alike), expected)

    def test_change_what_is_learnt(self, make, plays):
        models = [make(weights=rule).fit(plays) for rule in (None, "values", "log1p")]
        assert differ(models[0], models[1])
        assert differ(models[1], models[2])

    def test_are_log1p_of_the_values_if_asked(self, make, plays):
        logs = with_values(plays, np.log1p(plays.values))
        one, other = make(weights="log1p").fit(plays), make(weights="values").fit(logs)
        assert not differ(one, other)

    @pytest.mark.parametrize("num_threads", [2, 5])
    def test_give_the_same_bits_at_any_number_of_threads(self, make, plays, num_threads):
        one, other = (
            make(weights="log1p", num_threads=threads).fit(plays) for threads in (1, num_threads)
        )
        assert_same_bits(one, other)

    def test_are_part_of_files_pickles_and_receipts(self, make, plays, tmp_path):
        model = make(weights="log1p").fit(plays)
        model.save(tmp_path / "model")
        for copy in (Recommender.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
            assert copy.weights == "log1p"
            assert_same_bits(copy, model)
        assert verify(tmp_path / "model", plays)
        doubled = with_values(plays, 2 * plays.values)
        assert not verify(tmp_path / "model", doubled).same_data

    def test_of_0_are_allowed(self, make, plays):
        some = with_values(plays, np.where(np.arange(plays.nnz) % 3 == 0, 0, plays.values))
        model = make(weights="values").fit(some)
        ids, scores = model.recommend(n=3)
        assert (np.isfinite(scores) == (ids != -1)).all()
        seen = {*zip(*some.to_arrays()[:2], strict=True)}
        assert not any(
            (u, i) in seen for u, row in zip(some.user_ids, ids, strict=True) for i in row
        )

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (-1, r"at least 0 and not all 0, but the lowest is -1\."),
            (0, r"at least 0 and not all 0, but all are 0\."),
        ],
    )
    @pytest.mark.parametrize("rule", ["values", "log1p"])
    def test_that_are_none_are_refused(self, make, plays, rule, values, message):
        bad = with_values(plays, np.full(plays.nnz, values))
        with pytest.raises(ValueError, match=message):
            make(weights=rule).fit(bad)

    def test_have_rules_with_names(self, make, plays):
        with pytest.raises(ValueError, match="weights must be one of 'values', 'log1p', but"):
            make(weights="plays").fit(plays)

    def test_of_new_users_are_those_of_their_values(self, make, plays):
        model = make(weights="log1p").fit(plays)
        scores = model.recommend(ratings=plays, n=5)[1]
        if not isinstance(model, CDAE):  # whose users of training have nodes
            assert_allclose(scores, model.recommend(n=5)[1], rtol=1e-4, atol=1e-5)
            bad = with_values(plays, -plays.values)
            with pytest.raises(ValueError, match="ratings must be at least 0 with weights='log1p'"):
                model.recommend(ratings=bad)

    def test_are_counted_in_an_update(self, make, plays):
        model = make(weights="log1p").fit(plays.select(np.arange(plays.nnz) % 10 > 0))
        equal = make().fit(plays.select(np.arange(plays.nnz) % 10 > 0))
        lists = [m.update(plays).recommend()[1] for m in (model, equal)]
        assert not np.array_equal(*lists)

    def test_are_needed_for_explanations(self, make, plays):
        model = make(weights="log1p").fit(plays)
        user, item = plays.user_ids[0], plays.item_ids[0]
        with pytest.raises(ValueError, match="keeps what a user had, but not how often"):
            model.explain(user, item)
        assert model.explain(user, item, ratings=plays).ids.size

    def test_are_a_parameter_to_search(self, plays):
        pytest.importorskip("optuna")
        model = MultDAE(hidden_units=(4,), **EPOCHS)
        tuned = tune(
            *(model, plays, lambda trial: {"weights": trial.suggest_categorical("w", ["log1p"])}),
            trials=1,
            random_state=0,
        )
        assert tuned.model.weights == "log1p"


class TestOfTrainedModels:
    @pytest.fixture(params=[name for name in TOP_N if "EASE" not in name])
    def make(self, request):
        kind, parameters = TOP_N[request.param]
        return lambda **more: kind(**{**parameters, **more})

    def test_are_of_the_cells_that_are_not_held_out(self, make, plays):
        model = make(weights="log1p", validation_fraction=0.2).fit(plays)
        assert len(model.history_) == 3

    def test_may_be_of_held_out_users(self, make, plays):
        held_out = hold_out_users(plays, test_users=20, random_state=0)
        model = make(weights="log1p").fit(held_out.train, validation=held_out.test)
        assert model.history_[-1].metrics["ndcg@10"] >= 0

    def test_go_on(self, make, plays):
        model = make(weights="log1p").fit(plays).partial_fit(plays, epochs=2)
        assert len(model.history_) == 5


class TestOfEase:
    @pytest.mark.parametrize("rule", ["values", "log1p"])
    def test_are_counted_in_the_closed_form(self, plays, rule):
        X = plays.to_matrix().toarray().astype(np.float64)
        weights = X if rule == "values" else np.log1p(X)
        roots = np.sqrt(weights / weights[X > 0].mean())
        P = np.linalg.inv(roots.T @ roots + 20 * np.eye(plays.n_items))
        B = -P / np.diag(P)
        np.fill_diagonal(B, 0)
        model = EASE(regularization=20, weights=rule).fit(plays)
        assert_allclose(model.item_weights_, B, atol=3e-5 * np.abs(B).max())
        scores = model.predict(plays.user_ids[:, np.newaxis], plays.item_ids)
        assert_allclose(scores, roots @ B, atol=1e-4)

    def test_of_a_user_count_as_so_many_users(self, plays):
        users = np.repeat(np.arange(plays.n_users), np.diff(plays.indptr))
        counts = np.random.default_rng(1).integers(1, 4, plays.n_users)
        weighted = with_values(plays, counts[users])
        X = plays.to_matrix().toarray() > 0
        repeated = Ratings.from_matrix(sparse.csr_array(np.repeat(X, counts, axis=0) * 1.0))
        mean = float(counts[users].mean())
        one = EASE(regularization=20, weights="values").fit(weighted)
        other = EASE(regularization=20 * mean).fit(repeated)
        assert_allclose(one.item_weights_, other.item_weights_, atol=1e-5)

    def test_have_a_part_in_the_choice_of_lambda(self, plays):
        ones = with_values(plays, np.ones(plays.nnz))
        expected = EASE().fit(plays)
        assert EASE(weights="values").fit(ones).regularization_ == expected.regularization_
        some = with_values(plays, np.where(np.arange(plays.nnz) % 3 == 0, 0, plays.values))
        model = EASE(weights="values").fit(some)
        assert model.regularization_ != expected.regularization_
        rest = some.select(some.values > 0)  # cells of weight 0 are as if they were not there
        same = EASE(weights="values").fit(rest)
        assert same.regularization_ == model.regularization_

    def test_are_folded_in_and_forgotten(self, plays, tmp_path):
        chosen = np.arange(plays.n_users) < 50
        rows = np.repeat(chosen, np.diff(plays.indptr))
        known, new = (
            Ratings.from_arrays(*plays.select(mask).to_arrays()[:3], item_ids=plays.item_ids)
            for mask in (rows, ~rows)
        )
        model = EASE(regularization=20, weights="log1p").fit(known).fold_in(new)
        scores = model.predict(new.user_ids[:, np.newaxis], plays.item_ids)
        fresh = EASE(regularization=20, weights="log1p").fit(known)
        expected = fresh.recommend(ratings=new, n=40, exclude_seen=False)
        order = np.argsort(expected[0], axis=1)
        assert_allclose(scores, np.take_along_axis(expected[1], order, 1), atol=1e-6)
        model.forget(new.user_ids).forget(known.user_ids[:7])
        rest = known.select(np.isin(known.to_arrays()[0], known.user_ids[7:]))
        again = EASE(regularization=20, weights="log1p").fit(rest)
        assert_allclose(model.item_weights_, again.item_weights_, atol=1e-5)
        assert_allclose(
            model.recommend(known.user_ids[7:], n=5)[1],
            again.recommend(known.user_ids[7:], n=5)[1],
            atol=1e-5,
        )
        model.save(tmp_path / "model")
        assert_same_bits(EASE.load(tmp_path / "model"), model)

    def test_stay_those_of_fit_if_the_parameter_changes(self, plays, tmp_path):
        model = EASE(regularization=20, weights="log1p").fit(plays).set_params(weights=None)
        plain = EASE(regularization=20).fit(plays).set_params(weights="values")
        for one in (model, plain):
            one.save(tmp_path / "model")
            assert_same_bits(EASE.load(tmp_path / "model"), one)
            assert_same_bits(pickle.loads(pickle.dumps(one)), one)


class TestOfMultinomialModels:
    @pytest.mark.parametrize("likelihood", ["multinomial", "bernoulli", "gaussian"])
    def test_step_as_the_reference_does(self, likelihood):
        """One step at rate 1 moves the weights by the gradient."""
        rng = np.random.default_rng(0)
        n_rows, n_items, seed = 9, 300, 4
        observed = rng.random((n_rows, n_items)) < 0.1
        observed[:, 0] = True
        weights = np.where(observed, rng.gamma(1.0, 1.0, observed.shape), 0).astype(np.float32)
        weights[2, 0] = 0
        rows = CSR(
            np.append(0, np.cumsum(observed.sum(axis=1))).astype(np.int64),
            np.nonzero(observed)[1].astype(np.int32),
            weights[observed],
            observed.shape,
        )
        model = _core.MultinomialAutoencoder(n_items, [5], 0, [], activation="tanh", seed=seed)
        trainer = _core.MultinomialTrainer(
            *(model, n_rows),
            optimizer="sgd",
            regularization=0.0,
            batch_size=n_rows,
            dropout=0.4,
            likelihood=likelihood,
            seed=seed,
            num_threads=2,
        )
        before = {name: array.astype(np.float64) for name, array in model.weights().items()}
        uniform = reference.Philox(seed, reference.CORRUPTION, 0).uniform(
            np.arange(n_rows)[:, np.newaxis], np.arange(n_items)
        )
        kept = np.where(uniform < np.float32(0.4), 0, 1 / 0.6)
        loss, gradients = reference.multinomial_gradients(
            before, weights.astype(np.float64), observed, kept, likelihood
        )
        measured, _, _ = trainer.run_epoch(
            *(rows.indptr, rows.indices, n_items, 0, 1.0),
            beta=0.0,
            annealing=0.0,
            weights=rows.values,
        )
        assert measured == pytest.approx(loss, rel=1e-5)
        for name, array in model.weights().items():
            moved = before[name] - array
            scale = np.abs(gradients[name]).max()
            assert scale > 1e-3
            assert_allclose(moved, gradients[name], atol=1e-4 * scale, err_msg=name)

    def test_are_counted_as_cells_that_occur_more_often(self, plays):
        # the multinomial likelihood of a user who had an item twice
        rng = np.random.default_rng(0)
        z, twice = rng.normal(size=6), np.array([0, 2, 2, 5])
        logs = z - np.log(np.exp(z).sum())
        parameters = {
            "encoder.weights": np.zeros((6, 1)),
            "encoder.bias": np.zeros((1, 1)),
            "decoder.weights": np.zeros((6, 1)),
            "decoder.bias": z[np.newaxis],
        }
        weights = np.bincount(twice, minlength=6)[np.newaxis].astype(np.float64)
        loss, _ = reference.multinomial_gradients(
            parameters, weights, weights > 0, np.ones((1, 6)), "multinomial"
        )
        assert loss == pytest.approx(-logs[twice].sum())


class TestOfAutoRec:
    def test_that_are_equal_change_no_bit(self, make_autorec, ratings):
        expected = make_autorec().fit(ratings)
        alike = with_values(ratings, np.full(ratings.nnz, 0.25))
        assert_same_bits(make_autorec().fit(ratings, weights=alike), expected)

    def test_change_what_is_learnt(self, make_autorec, ratings, weights):
        assert differ(make_autorec().fit(ratings, weights=weights), make_autorec().fit(ratings))

    def test_are_a_matrix_or_ratings_in_any_order(self, make_autorec, ratings, weights):
        expected = make_autorec().fit(ratings, weights=weights)
        users, items, values, _ = weights.to_arrays()
        order = np.random.default_rng(0).permutation(len(values))
        shuffled = Ratings.from_arrays(users[order], items[order], values[order])
        for same in (weights.to_matrix(), shuffled):
            assert_same_bits(make_autorec().fit(ratings, weights=same), expected)

    @pytest.mark.parametrize("num_threads", [2, 5])
    def test_give_the_same_bits_at_any_number_of_threads(
        self, make_autorec, ratings, weights, num_threads
    ):
        one, other = (
            make_autorec(num_threads=threads).fit(ratings, weights=weights)
            for threads in (1, num_threads)
        )
        assert_same_bits(one, other)

    def test_of_0_are_of_cells_that_are_not_reconstructed(self, ratings):
        mask = np.arange(ratings.nnz) % 2 == 0
        weights = with_values(ratings, mask.astype(np.float32))
        values = ratings.values.copy()
        values[~mask] = np.random.default_rng(0).permutation(values[~mask])
        changed = with_values(ratings, values)  # with the same mean
        model = AutoRec(
            hidden_units=(4,),
            rating_scale="raw",
            target_centering="none",
            corruption=0.0,
            optimizer="sgd",
            learning_rate=1e-4,
            batch_size=None,
            epochs=1,
            random_state=0,
        )
        bias = model.fit(ratings, weights=weights).decoder_bias_.copy()
        moved = model.fit(changed, weights=weights).decoder_bias_ - bias
        plain = model.fit(changed).decoder_bias_ - model.fit(ratings).decoder_bias_
        assert 0 < np.abs(moved).max() < 0.2 * np.abs(plain).max()

    def test_go_on_and_are_held_out_with_the_ratings(self, make_autorec, ratings, weights):
        model = make_autorec(validation_fraction=0.2)
        model.fit(ratings, weights=weights).partial_fit(ratings, weights=weights)
        assert np.isfinite(model.history_[-1].metrics["rmse"])
        ones = with_values(ratings, np.ones(ratings.nnz))
        expected = make_autorec(validation_fraction=0.2).fit(ratings).partial_fit(ratings)
        again = make_autorec(validation_fraction=0.2)
        again.fit(ratings, weights=ones).partial_fit(ratings, weights=ones)
        assert_same_bits(again, expected)
        assert differ(model, expected)

    def test_are_not_dropped_by_an_update(self, ratings, weights):
        model = AutoRec(hidden_units=(6,), **EPOCHS).fit(ratings, weights=weights)
        with pytest.raises(ValueError, match="trained with weights, which update does not take"):
            model.update(ratings)

    def test_are_in_the_receipt(self, ratings, weights, tmp_path):
        model = AutoRec(hidden_units=(4,), epochs=2, random_state=0)
        model.fit(ratings, weights=weights).save(tmp_path / "model")
        assert Recommender.load(tmp_path / "model").receipt_ == model.receipt_
        assert model.receipt_.weights is not None
        assert verify(tmp_path / "model", ratings, weights=weights)
        assert verify(tmp_path / "model", ratings, weights=weights.to_matrix())
        for found, message in (
            (verify(tmp_path / "model", ratings), "without the weights"),
            (verify(tmp_path / "model", ratings, weights=ratings), "are not those of training"),
        ):
            assert found.same_data
            assert found.same_bits is None
            assert message in str(found)
        model.fit(ratings)
        assert model.receipt_.weights is None

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda X: X.to_matrix()[:, :-1], r"matrix of 60 users x 40 items, as X is"),
            (lambda X: X.select(np.arange(X.nnz) > 0), r"each of the \d+ cells of X and for no"),
            (lambda X: with_values(X, -X.values), r"weights must be at least 0 and not all 0, but"),
            (lambda X: with_values(X, 0 * X.values), r"not all 0, but all are 0\."),
            (lambda X: X.to_matrix().toarray(), r"weights must be sparse, for a stored cell"),
            (lambda X: "values", r"weights must be Ratings or a scipy\.sparse"),
        ],
    )
    def test_that_are_no_weights_are_refused(self, ratings, change, message):
        model = AutoRec(hidden_units=(4,), epochs=1, random_state=0).fit(ratings)
        bits = model.predict(ratings.user_ids, ratings.item_ids[0])
        for fit in (model.fit, model.partial_fit):
            with pytest.raises((TypeError, ValueError), match=message):
                fit(ratings, weights=change(ratings))
        assert_array_equal(model.predict(ratings.user_ids, ratings.item_ids[0]), bits)
