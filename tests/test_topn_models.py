"""What every model of implicit feedback promises, whatever it is."""

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from isthmus import (
    CDAE,
    CVAE,
    EASE,
    ConvergenceError,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    hold_out_users,
    synthetic_ratings,
    train_test_split,
)
from isthmus.data.splits import HeldOutUsers

CASES = {
    "EASE": (EASE, {"regularization": 5.0}),
    "EASE by itself": (EASE, {}),
    "MultDAE": (MultDAE, {"hidden_units": (9,), "epochs": 3, "batch_size": 16, "random_state": 0}),
    "deep MultDAE": (
        MultDAE,
        {"hidden_units": (9, 4, 9), "epochs": 3, "batch_size": 16, "random_state": 0},
    ),
    "MultVAE": (
        MultVAE,
        {"hidden_units": (9,), "latent_units": 4, "epochs": 3, "batch_size": 16, "random_state": 0}
        | {"annealing_steps": 10, "decoder_units": None},
    ),
    "Bernoulli MultDAE": (
        MultDAE,
        {"hidden_units": (9,), "epochs": 15, "batch_size": 16, "random_state": 0}
        | {"likelihood": "bernoulli", "learning_rate": 0.01},
    ),
    "Gaussian MultVAE": (
        MultVAE,
        {"hidden_units": (9,), "latent_units": 4, "epochs": 15, "batch_size": 16, "random_state": 0}
        | {"likelihood": "gaussian", "learning_rate": 0.01},
    ),
    "linear MultVAE": (
        MultVAE,
        {"hidden_units": (9,), "latent_units": 4, "epochs": 3, "batch_size": 16, "random_state": 0},
    ),
    "sampled MultVAE": (
        MultVAE,
        {"hidden_units": (9,), "latent_units": 4, "epochs": 4, "batch_size": 16, "random_state": 0}
        | {"sampled_items": 40, "decoder_units": None, "annealing_steps": 200_000},
    ),
    "CDAE": (CDAE, {"hidden_units": 9, "epochs": 3, "batch_size": 16, "random_state": 0}),
    "tied CDAE": (
        CDAE,
        {"hidden_units": 9, "epochs": 15, "tied": True, "loss": "square", "random_state": 0}
        | {"encoder_activation": "identity", "learning_rate": 0.02},
    ),
}
TRAINED = [name for name, (model, _) in CASES.items() if model is not EASE]


@pytest.fixture(params=CASES)
def make(request):
    model, settings = CASES[request.param]
    return lambda **params: model(**{**settings, **params})


@pytest.fixture(params=TRAINED)
def make_trained(request):
    model, settings = CASES[request.param]
    return lambda **params: model(**{**settings, **params})


@pytest.fixture(scope="module")
def parts():
    # more items than a block of columns has, so that there are several
    ratings = synthetic_ratings(90, 600, 4000, random_state=1)
    return train_test_split(ratings, test_size=0.2, random_state=0, by="user")


def predict_all(model):
    return model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)


def assert_same_bits(one, other):
    left, right = one._tensors(), other._tensors()
    assert left.keys() == right.keys()
    for name in left.keys() - {"history"}:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    np.testing.assert_array_equal(predict_all(one), predict_all(other))


@pytest.mark.parametrize("num_threads", [2, 3, 5])
def test_gives_the_same_bits_at_any_number_of_threads(make, parts, num_threads):
    one = make(num_threads=1).fit(parts[0])
    many = make(num_threads=num_threads).fit(parts[0])
    assert_same_bits(one, many)
    assert one.evaluate(parts[1], ["ndcg@10", "auc"]) == many.evaluate(parts[1], ["ndcg@10", "auc"])


def test_learns(make, parts):
    shuffled = np.random.default_rng(0).permutation(parts[1].n_items)
    noise = Ratings.from_matrix(parts[1].to_matrix()[:, shuffled])
    model = make().fit(parts[0])
    real = model.evaluate(parts[1], "auc")["auc"]
    assert real > 0.6
    assert real > model.evaluate(noise, "auc", exclude_seen=False)["auc"] + 0.1


def test_counts_every_stored_cell_as_one(make, parts):
    other = parts[0].to_matrix().astype(np.float32)
    other.data = np.linspace(-3, 3, other.nnz, dtype=np.float32)
    other.data[7] = 0.0
    assert_same_bits(make().fit(parts[0]), make().fit(other))


def test_recommends_what_scores_best_of_the_unseen(make, parts):
    model = make().fit(parts[0])
    _, scores = model.recommend(n=8)
    table = predict_all(model).copy()
    table[parts[0].to_matrix().toarray() != 0] = -np.inf
    np.testing.assert_allclose(scores, -np.sort(-table, axis=1)[:, :8], rtol=1e-4, atol=1e-5)
    few, _ = model.recommend([3, 1], n=4, candidates=[5, 7, 9, 11, 13])
    assert set(few.ravel()) <= {5, 7, 9, 11, 13, -1}


def test_folds_in_users_and_refuses_items(make, parts, tmp_path):
    model = make().fit(parts[0])
    before = predict_all(model)
    new = Ratings.from_arrays([900, 900, 901], [3, 5, 60], [1, 1, 1])
    ids, scores = model.recommend(ratings=new, n=4)
    assert model.fold_in(new) is model
    np.testing.assert_array_equal(predict_all(model)[:90], before)
    got, again = model.recommend([900, 901], n=4)
    np.testing.assert_array_equal(got, ids)
    np.testing.assert_allclose(again, scores, rtol=1e-5)
    model.save(tmp_path / "model")
    assert_same_bits(model, Recommender.load(tmp_path / "model"))
    with pytest.raises(ValueError, match='axis must be "user" for'):
        model.fold_in(Ratings.from_arrays([3], [900], [1]), axis="item")


def test_evaluates_users_it_has_not_seen(make):
    split = hold_out_users(synthetic_ratings(120, 60, 3000, random_state=2), random_state=0)
    model = make().fit(split.train)
    values = model.evaluate(split.test.test, ["auc", "ndcg@10"], ratings=split.test.fold_in)
    assert values["auc"] > 0.52


def test_finds_similar_items(make, parts):
    model = make().fit(parts[0])
    ids, scores = model.similar_items([3, 5], n=6)
    assert ids.shape == scores.shape == (2, 6)
    assert 3 not in ids[0]
    assert (np.diff(scores, axis=1) <= 0).all()


def test_copies(make, parts):
    model = make().fit(parts[0])
    assert_same_bits(model, pickle.loads(pickle.dumps(model)))
    copied = copy.deepcopy(model)
    assert_same_bits(model, copied)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    "cells",
    [
        ((1, 6), [(0, 1), (0, 4)]),
        ((6, 1), [(1, 0), (4, 0)]),
        ((1, 1), [(0, 0)]),
        ((9, 9), [(2, 3), (2, 7), (6, 3)]),
        ((3, 4), [(1, i) for i in range(4)]),
    ],
)
def test_edges(make, cells):
    shape, pairs = cells
    users, items = np.transpose(pairs)
    X = sparse.coo_array((np.ones(len(pairs), np.float32), (users, items)), shape=shape)
    model = make(num_threads=2).fit(X)
    assert np.isfinite(predict_all(model)).all()
    ids, scores = model.recommend(n=shape[1])
    for user in range(shape[0]):
        unseen = set(range(shape[1])) - set(items[users == user].tolist())
        assert set(ids[user][: len(unseen)].tolist()) == unseen
        assert np.isnan(scores[user][len(unseen) :]).all()
    assert np.isfinite(model.evaluate(X, "ndcg@3", exclude_seen=False)["ndcg@3"])


@pytest.mark.parametrize("model", [MultDAE, MultVAE])
@pytest.mark.parametrize(("n_users", "size"), [(90, 50), (730, 73), (6000, 500)])
def test_automatic_batches_are_a_tenth_of_the_users(model, n_users, size):
    users = np.arange(n_users)
    X = sparse.coo_array((np.ones(n_users), (users, users % 7)), shape=(n_users + 400, 8))
    settings = {"hidden_units": (3,), "epochs": 2, "random_state": 0}  # 400 users have nothing
    assert model().batch_size == "auto"
    assert_same_bits(model(**settings).fit(X), model(**settings, batch_size=size).fit(X))


@pytest.mark.parametrize("model", [MultDAE, MultVAE])
@pytest.mark.parametrize("value", ["all", None, 2.0])
def test_batches_of_no_size_are_refused(model, value, parts):
    message = 'batch_size must be an integer of at least 1 or "auto", but it was'
    with pytest.raises(TypeError, match=message):
        model(batch_size=value).fit(parts[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_logits_take_little_more_than_their_size():
    # blocks of .5 MiB, of which each on a huge page of its own would take 2 MiB
    n_users, n_items = 500, 40_000
    code = f"""
import numpy as np
from scipy import sparse
from isthmus import MultDAE

def kib(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

X = sparse.eye({n_users}, {n_items}, dtype=np.float32, format="csr")
model = MultDAE(hidden_units=(8,), batch_size={n_users}, epochs=1, random_state=0, num_threads=1)
before = kib("VmRSS")
model.fit(X)
print((kib("VmHWM") - before) * 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    logits = 4 * n_users * n_items
    assert logits < int(done.stdout) < 2 * logits


class TestAnnealing:
    def test_goes_on_with_the_step_it_had_reached(self, tmp_path):
        X = synthetic_ratings(50, 60, 1000, random_state=1).to_matrix()
        X = sparse.vstack([X, sparse.csr_array((450, 60))], format="csr")  # no cells: no steps
        settings = {"hidden_units": (9,), "latent_units": 4, "random_state": 0}
        annealed = MultVAE(**settings, batch_size=16, epochs=3, beta=100.0, annealing_steps=8)
        annealed.fit(X).save(tmp_path / "model")

        def went_on(model, **params):
            return model.set_params(batch_size=50, **params).partial_fit(X)

        copies = (copy.deepcopy(annealed), Recommender.load(tmp_path / "model"))
        right, wrong = (
            went_on(copy.deepcopy(annealed), beta=steps / 8, annealing_steps=0)
            for steps in (12, 13)
        )
        for model in map(went_on, copies):
            assert_same_bits(model, right)
        assert not np.array_equal(predict_all(right), predict_all(wrong))


class TestSampledItems:
    def test_that_are_all_items_change_nothing(self, parts):
        make, settings = CASES["MultVAE"]
        n_items = parts[0].n_items
        whole = make(**settings).fit(parts[0])
        assert_same_bits(whole, make(**settings, sampled_items=n_items).fit(parts[0]))
        few = make(**settings, sampled_items=20).fit(parts[0])
        assert not np.array_equal(predict_all(whole), predict_all(few))

    def test_learn_nearly_as_well(self, parts):
        make, settings = CASES["MultVAE"]
        settings = {**settings, "epochs": 20}
        whole, few = (
            make(**settings, sampled_items=sampled).fit(parts[0]).evaluate(parts[1], "auc")["auc"]
            for sampled in (None, 60)
        )
        assert few > whole - 0.03

    def test_need_a_multinomial_likelihood(self, parts):
        for likelihood in ("bernoulli", "gaussian"):
            with pytest.raises(ValueError, match="sampled_items must be None unless likelihood is"):
                MultDAE(likelihood=likelihood, sampled_items=5).fit(parts[0])


class TestTraining:
    def test_validates_and_goes_back_to_the_best_epoch(self, make_trained, parts):
        model = make_trained(epochs=12, patience=2).fit(parts[0], validation=parts[1])
        values = [epoch.metrics["ndcg@10"] for epoch in model.history_]
        assert model.evaluate(parts[1], "ndcg@10")["ndcg@10"] == pytest.approx(max(values))

    def test_validates_on_held_out_users(self, make_trained):
        split = hold_out_users(
            synthetic_ratings(120, 60, 3000, random_state=2), validation_users=0.2, random_state=0
        )
        model = make_trained(validation_metric="recall@5").fit(
            split.train, validation=split.validation
        )
        expected = model.evaluate(
            split.validation.test, "recall@5", ratings=split.validation.fold_in
        )
        assert model.history_[-1].metrics == pytest.approx(expected)

    def test_goes_on(self, make_trained, parts):
        model = make_trained(validation_fraction=0.2)
        assert model.fit(parts[0]) is model
        losses = [epoch.loss for epoch in model.partial_fit(parts[0], epochs=4).history_]
        assert len(losses) == model.epochs + 4
        assert [epoch.index for epoch in model.history_] == list(range(len(losses)))

    def test_stops_when_a_callback_says_so(self, make_trained, parts):
        seen = []
        model = make_trained().fit(parts[0], callbacks=[lambda epoch: seen.append(epoch) or True])
        assert len(model.history_) == len(seen) == 1

    def test_other_seeds_give_other_bits(self, make_trained, parts):
        one, other = (make_trained(random_state=seed).fit(parts[0]) for seed in (0, 1))
        assert not np.array_equal(predict_all(one), predict_all(other))

    def test_validates_on_nothing_that_it_was_trained_on(self, make_trained, parts):
        with pytest.raises(ValueError, match=r"^validation must hold nothing that is in X, but"):
            make_trained().fit(parts[0], validation=parts[0])

    def test_says_that_it_has_diverged(self, make_trained, parts):
        with pytest.raises(
            ConvergenceError, match=r"training diverged in epoch \d+.*learning_rate"
        ):
            make_trained(optimizer="sgd", learning_rate=3e38, epochs=20).fit(parts[0])

    def test_refuses_bad_parameters(self, make_trained, parts):
        for params, message in {
            ("epochs", 0): "epochs must be an integer of at least 1",
            ("learning_rate", 0.0): "learning_rate must be a finite number above 0",
            ("validation_metric", "ndcg"): "must be given with a cut-off",
            ("optimizer", "lbfgs"): "optimizer must be one of",
            ("patience", 3): "patience needs validation data",
        }.items():
            with pytest.raises(ValueError, match=message):
                make_trained(**dict([params])).fit(parts[0])

    @pytest.mark.parametrize(
        ("model", "params", "message"),
        [
            (MultDAE, {"likelihood": "poisson"}, "likelihood must be one of 'multinomial'"),
            (MultVAE, {"sampled_items": 0}, "sampled_items must be an integer of at least 1"),
            (MultVAE, {"beta": -0.1}, "beta must be a finite number of at least 0"),
            (MultVAE, {"annealing_steps": -1}, "annealing_steps must be an integer of at least 0"),
            (
                MultVAE,
                {"decoder_units": (0,)},
                "decoder_units must be an integer from 1 to 1,000,000",
            ),
            (CDAE, {"negatives": -1}, "negatives must be an integer of at least 0"),
        ],
    )
    def test_refuses_bad_parameters_of_a_model(self, parts, model, params, message):
        with pytest.raises(ValueError, match=message):
            model(**params).fit(parts[0])


class TestValidationThatMeasuresNothing:
    """Of a mean over no user, early stopping and histories would make nothing."""

    ONE = sparse.csr_array(np.eye(3, 12, dtype=np.float32))
    NONE = sparse.csr_array((3, 12), dtype=np.float32)
    HALVES = tuple(
        sparse.csr_array(np.tile(half, (2, 1)).astype(np.float32))
        for half in (np.arange(12) < 6, np.arange(12) >= 6)
    )

    @pytest.mark.parametrize("model", [MultDAE, MultVAE, CDAE, CVAE])
    @pytest.mark.parametrize(
        ("metric", "validation", "message"),
        [
            ("ndcg@10", HeldOutUsers(ONE, NONE), r"^validation\.test must have a rating, but it"),
            ("ndcg@10", HeldOutUsers(ONE, ONE[:2]), r"^validation\.fold_in must have the users of"),
            ("auc", HeldOutUsers(*HALVES), r"^validation\.test must leave items .* have all 12 it"),
        ],
    )
    def test_is_refused_before_training(self, model, metric, validation, message):
        ratings = synthetic_ratings(20, 12, 120, random_state=0)
        fitted = model(epochs=1, validation_metric=metric, random_state=0).fit(ratings)
        before = fitted.predict(fitted.user_ids_, 3)
        for train in (fitted.fit, fitted.partial_fit):
            with pytest.raises(ValueError, match=message):
                train(ratings, validation=validation)
            np.testing.assert_array_equal(fitted.predict(fitted.user_ids_, 3), before)

    def test_is_told_apart_from_users_with_something_to_measure(self):
        ratings = synthetic_ratings(20, 12, 120, random_state=0)
        fold_in, test = (half.tolil() for half in self.HALVES)
        test[0, 11] = 0  # the first user has not had all items
        test = sparse.csr_array(test)
        test.eliminate_zeros()
        model = MultDAE(epochs=1, validation_metric="auc", random_state=0)
        model.fit(ratings, validation=HeldOutUsers(sparse.csr_array(fold_in), test))
        assert 0 <= model.history_[0].metrics["auc"] <= 1

    def test_does_not_count_as_divergence_if_it_comes_about(self, monkeypatch):
        ratings = synthetic_ratings(20, 12, 120, random_state=0)
        model = MultDAE(epochs=2, random_state=0)
        monkeypatch.setattr(
            "isthmus.models._implicit.rank", lambda *_, **__: {"m": np.array([np.nan])}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(ratings, validation=sparse.csr_array(ratings.to_matrix() == 0))
        assert np.isfinite(model.predict(model.user_ids_, 3)).all()
