"""The full loss and its gradient, and L-BFGS over them."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import reference
from core_fixtures import (
    assert_weights_close,
    core_model,
    core_rows,
    core_trainer,
    random_rows,
)
from scipy import optimize

from isthmus import AutoRec, synthetic_ratings, train_test_split
from isthmus.training.lbfgs import minimize

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_gradients.json").read_text())


def evaluated(
    core,
    model,
    rows,
    *,
    batch_size=256,
    num_threads=1,
    regularization=0.7,
    hidden_regularization=None,
):
    """The core's loss and gradients, in the columns' own order, at a reference model's weights."""
    trained = core_model(core, model)
    trainer = core_trainer(
        *(core, trained, rows),
        optimizer="momentum",
        regularization=regularization,
        hidden_regularization=hidden_regularization,
        batch_size=batch_size,
        num_threads=num_threads,
    )
    place = trainer.column_rows
    for name, array in trained.weights().items():
        set_by_column(name, array, place, model.weights[name])
    before = {name: array.copy() for name, array in trained.weights().items()}
    # twice: an evaluation starts from nothing
    first = trainer.evaluate(core_rows(core, rows))
    assert trainer.evaluate(core_rows(core, rows)) == first
    for name, array in trained.weights().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    gradients = {name: by_column(name, array, place) for name, array in trainer.gradients().items()}
    return first, gradients


def by_column(name, array, place):
    if name in ("encoder.weights", "decoder.weights"):
        return array[place].copy()
    return array[:, place].copy() if name == "decoder.bias" else array.copy()


def set_by_column(name, array, place, values):
    if name in ("encoder.weights", "decoder.weights"):
        array[place] = values
    elif name == "decoder.bias":
        array[:, place] = values
    else:
        array[:] = values


def moved(rows, hidden, activation="sigmoid", output="identity", seed=1):
    """A reference model whose biases are not 0."""
    model = reference.Autoencoder(rows.cols, hidden, activation, output, seed=seed)
    rng = np.random.default_rng(seed)
    for array in model.weights.values():
        array += 0.1 * rng.normal(size=array.shape)
        array[:] = array.astype(np.float32)
    return model


class TestEvaluation:
    @pytest.mark.parametrize("hidden", [(7,), (20, 9), (5, 16, 33)])
    @pytest.mark.parametrize("activation", sorted(reference.ACTIVATIONS))
    @pytest.mark.parametrize("output", ["identity", "sigmoid"])
    def test_is_that_of_the_reference(self, core, hidden, activation, output):
        rows = random_rows(
            *(23, 19),
            seed=3,
            input_offset=np.linspace(0, 1, 23, dtype=np.float32),
            target_offset=np.linspace(1, 3, 23, dtype=np.float32),
            input_scale=0.5,
            target_scale=0.4,
        )
        model = moved(rows, hidden, activation, output)
        batch = rows.inputs_and_targets()
        for batch_size in (4, 256):
            (loss, error, cells), gradients = evaluated(core, model, rows, batch_size=batch_size)
            assert cells == len(rows.indices)
            assert error == pytest.approx(model.squared_error(*batch), rel=1e-5)
            assert loss == pytest.approx(model.loss(*batch, 0.7), rel=1e-5)
            assert_weights_close(gradients, model.gradients(*batch, 0.7), 1e-5)

    def test_decays_hidden_layers_by_their_own_lambda(self, core):
        rows = random_rows(23, 31, seed=1)
        model = moved(rows, (7, 5, 6), "tanh", "identity")
        (loss, *_), gradients = evaluated(core, model, rows, hidden_regularization=3.0)
        batch = rows.inputs_and_targets()
        hidden = {n: w for n, w in model.weights.items() if "hidden" in n and "weights" in n}
        extra = (3.0 - 0.7) / 2 * sum(np.sum(w**2) for w in hidden.values())
        assert loss == pytest.approx(model.loss(*batch, 0.7) + extra, rel=1e-5)
        expected = model.gradients(*batch, 0.7)
        for name, weights in hidden.items():
            expected[name] = expected[name] + (3.0 - 0.7) * weights
        assert_weights_close(gradients, expected, 1e-5)

    def test_has_the_slope_of_its_own_loss(self, core):
        rows = random_rows(40, 30, seed=1)
        model = moved(rows, (9, 4), "tanh")
        rng = np.random.default_rng(0)
        _, gradients = evaluated(core, model, rows)
        start = {name: array.copy() for name, array in model.weights.items()}
        for name, gradient in gradients.items():
            direction = rng.normal(size=gradient.shape)
            losses = []
            for step in (2e-3, -2e-3):
                model.weights[name][:] = (start[name] + step * direction).astype(np.float32)
                losses.append(evaluated(core, model, rows)[0][0])
            model.weights[name][:] = start[name]
            slope = (losses[0] - losses[1]) / 4e-3
            allowed = 1e-3 * np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert slope == pytest.approx(np.sum(gradient * direction), abs=allowed), name

    @pytest.mark.parametrize("name", RECORDING["cases"])
    def test_is_that_of_pytorch(self, core, name):
        case = RECORDING["cases"][name]
        rows = reference.Rows(
            np.array(RECORDING["indptr"], np.int64),
            np.array(RECORDING["indices"], np.int32),
            np.array(RECORDING["values"], np.float32),
            RECORDING["cols"],
            target_scale=case["target_scale"],
        )
        model = reference.Autoencoder(
            *(rows.cols, tuple(case["hidden"])),
            *(case["hidden_activation"], case["output_activation"]),
        )
        for key, array in model.weights.items():
            array[:] = case["weights"][key]
        (loss, *_), gradients = evaluated(
            *(core, model, rows), batch_size=5, regularization=case["regularization"]
        )
        assert loss == pytest.approx(case["loss"], rel=1e-5)
        assert_weights_close(gradients, case["gradients"], 1e-5)

    def test_has_the_same_bits_at_any_number_of_threads(self, core):
        rows = random_rows(300, 700, seed=2)
        model = moved(rows, (40, 20))
        one, gradients = evaluated(core, model, rows, batch_size=64)
        for num_threads in (2, 3, 5):
            other, others = evaluated(core, model, rows, batch_size=64, num_threads=num_threads)
            assert other == one
            for name, array in gradients.items():
                np.testing.assert_array_equal(others[name], array, err_msg=name)

    @pytest.mark.parametrize(
        "options",
        [
            {"optimizer": "adam"},
            {"optimizer": "momentum", "corruption": "mask", "corruption_level": 0.3},
            {"optimizer": "momentum", "dropout": 0.3},
        ],
    )
    def test_is_refused_where_there_is_no_one_loss(self, core, options):
        rows = random_rows(10, 8)
        model = reference.Autoencoder(rows.cols, (3,))
        trainer = core_trainer(core, core_model(core, model), rows, **options)
        with pytest.raises(RuntimeError, match=r"evaluate\(\) needs a trainer"):
            trainer.evaluate(core_rows(core, rows))


AS_THEY_ARE = {"a": np.ones((1, 1), np.float32), "b": np.ones((), np.float32)}


class TestMinimize:
    """On a quadratic whose minimum is known."""

    CENTRE = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)

    def make(self):
        weights = {"a": np.zeros((3, 4), np.float32), "b": np.zeros((1, 2), np.float32)}
        gradients = {name: np.zeros_like(array) for name, array in weights.items()}
        stretch = np.arange(1, 13).reshape(3, 4)

        def evaluate():
            gradients["a"][:] = stretch * (weights["a"] - self.CENTRE)
            gradients["b"][:] = weights["b"] - 5
            return float(
                np.sum(stretch * (weights["a"] - self.CENTRE).astype(float) ** 2) / 2
                + np.sum((weights["b"].astype(float) - 5) ** 2) / 2
            )

        return weights, gradients, evaluate

    def test_finds_it_and_then_ends(self):
        weights, gradients, evaluate = self.make()
        losses = []
        minimize(
            *(evaluate, weights, gradients),
            scales=AS_THEY_ARE,
            iterations=1000,
            finish_iteration=lambda: losses.append(evaluate()),
        )
        np.testing.assert_allclose(weights["a"], self.CENTRE, atol=1e-4)
        np.testing.assert_allclose(weights["b"], 5, rtol=1e-4)
        assert len(losses) < 100
        assert losses == sorted(losses, reverse=True)

    def test_needs_two_iterations_where_scales_make_it_round(self):
        weights, gradients, evaluate = self.make()
        stretch = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
        after = []

        def finish():
            after.append(weights["a"].copy())
            return False

        minimize(
            *(evaluate, weights, gradients),
            scales={"a": stretch**-0.5, "b": np.float32(1)},
            iterations=50,
            finish_iteration=finish,
        )
        # the first step's length is a guess; the second has seen the one curvature that there is
        np.testing.assert_allclose(after[1], self.CENTRE, atol=1e-4)
        np.testing.assert_allclose(weights["b"], 5, rtol=1e-4)

    def test_ends_where_it_is_told_to(self):
        weights, gradients, evaluate = self.make()
        after = []

        def finish():
            after.append(weights["a"].copy())
            return len(after) == 3

        minimize(
            *(evaluate, weights, gradients),
            scales=AS_THEY_ARE,
            iterations=50,
            finish_iteration=finish,
        )
        assert len(after) == 3
        np.testing.assert_array_equal(weights["a"], after[-1])

    def test_leaves_the_last_iteration_s_weights_where_an_evaluation_fails(self):
        weights, gradients, evaluate = self.make()
        after, evaluations = [], []

        def failing():
            evaluations.append(1)
            if len(after) == 2:
                raise ZeroDivisionError
            return evaluate()

        def finish():
            after.append(weights["a"].copy())
            return False

        with pytest.raises(ZeroDivisionError):
            minimize(
                *(failing, weights, gradients),
                scales={"a": np.array([[0.5], [2.0], [3.0]], np.float32), "b": np.float32(0.1)},
                iterations=50,
                finish_iteration=finish,
            )
        np.testing.assert_array_equal(weights["a"], after[-1])


SMALL = {
    "hidden_units": (8,),
    "optimizer": "lbfgs",
    "regularization": 2.0,
    "epochs": 6,
    "random_state": 0,
    "num_threads": 1,
}


@pytest.fixture(scope="module")
def parts():
    return train_test_split(
        synthetic_ratings(60, 45, 900, random_state=1), test_size=0.2, random_state=0
    )


def predict_all(model):
    return model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)


def objective(model, train):
    """The paper's, of a fitted model with raw ratings in and out."""
    users, items, values = train.to_arrays()[:3]
    model.set_params(clip=False)
    error = np.sum((model.predict(users, items).astype(float) - values) ** 2)
    weights = (model.encoder_weights_, model.decoder_weights_)
    return error + model.regularization / 2 * sum(np.sum(w.astype(float) ** 2) for w in weights)


class TestAutoRec:
    def test_goes_the_way_of_l_bfgs_on_the_reference(self, parts):
        train = parts[0]
        model = AutoRec.paper(**SMALL, initial_deviation=None).fit(train)
        matrix = train.to_matrix().T.tocsr()
        rows = reference.Rows(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            matrix.data,
            train.n_users,
        )
        network = reference.Autoencoder(train.n_users, (8,), seed=0)
        network.weights["decoder.bias"][:] = np.float32(train.mean)
        names = list(network.weights)
        batch = rows.inputs_and_targets()

        # in variables that have alike second derivatives
        counts = np.bincount(matrix.indices, minlength=train.n_users)[:, np.newaxis]
        column = 2.0 + 2.0 * counts
        scales = {
            "encoder.weights": column,
            "encoder.bias": np.array(2.0 * matrix.nnz),
            "decoder.weights": column,
            "decoder.bias": np.maximum(2.0 * counts.T, 1.0),
        }
        scales = {name: array**-0.5 for name, array in scales.items()}

        def flat(arrays):
            return np.concatenate([arrays[name].ravel() for name in names])

        def loss(x):
            start = 0
            for name in names:
                array = network.weights[name]
                array[:] = x[start : start + array.size].reshape(array.shape) * scales[name]
                start += array.size
            gradients = network.gradients(*batch, 2.0)
            return network.loss(*batch, 2.0), flat({n: gradients[n] * scales[n] for n in names})

        options = {"maxiter": 6, "ftol": 0, "gtol": 0}
        found = optimize.minimize(
            *(loss, flat({n: network.weights[n] / scales[n] for n in names})),
            jac=True,
            method="L-BFGS-B",
            options=options,
        )
        loss(found.x)
        assert objective(model, train) == pytest.approx(found.fun, rel=1e-4)
        seen = model._users_trained
        np.testing.assert_allclose(
            model.encoder_weights_, network.weights["encoder.weights"], atol=2e-3
        )
        np.testing.assert_allclose(
            model.decoder_weights_[seen], network.weights["decoder.weights"][seen], atol=2e-3
        )

    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"orientation": "user"},
            {"hidden_units": (7, 3, 5), "encoder_activation": "tanh", "initial_deviation": None},
            {"decoder_activation": "sigmoid"},
            {"target_centering": "row"},
        ],
        ids=str,
    )
    def test_lowers_the_loss_in_every_epoch(self, parts, params):
        model = AutoRec.paper(**{**SMALL, "epochs": 30, "regularization": 0.0, **params})
        losses = [epoch.loss for epoch in model.fit(parts[0]).history_]
        assert len(losses) == 30
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < 0.5 * losses[0]
        assert [epoch.index for epoch in model.history_] == list(range(30))

    def test_ends_where_there_is_nothing_to_gain(self, parts):
        model = AutoRec.paper(**{**SMALL, "epochs": 5000, "regularization": 100.0}).fit(parts[0])
        assert len(model.history_) < 5000
        assert np.isfinite(predict_all(model)).all()

    def test_gives_the_same_bits_at_any_number_of_threads(self):
        ratings = synthetic_ratings(700, 600, 20_000, random_state=2)
        fits = [
            AutoRec.paper(**{**SMALL, "hidden_units": (40, 20), "num_threads": threads}).fit(
                ratings
            )
            for threads in (1, 2, 5)
        ]
        for other in fits[1:]:
            for name, array in fits[0]._tensors().items():
                if name != "history":
                    np.testing.assert_array_equal(other._tensors()[name], array, err_msg=name)

    def test_goes_back_to_the_best_epoch(self, parts):
        train, test = parts
        settings = {**SMALL, "epochs": 300, "regularization": 0.0}
        model = AutoRec.paper(**settings, patience=3).fit(train, validation=test)
        measured = [epoch.metrics["rmse"] for epoch in model.history_]
        best = int(np.argmin(measured))
        assert len(measured) == best + 4 < 300
        assert model.evaluate(test)["rmse"] == pytest.approx(measured[best], rel=1e-6)
        again = AutoRec.paper(**{**settings, "epochs": best + 1}).fit(train)
        np.testing.assert_array_equal(predict_all(model), predict_all(again))

    def test_ends_where_a_callback_says_so(self, parts):
        stop = AutoRec.paper(**SMALL).fit(parts[0], callbacks=[lambda epoch: epoch.index == 2])
        assert len(stop.history_) == 3
        whole = AutoRec.paper(**{**SMALL, "epochs": 3}).fit(parts[0])
        np.testing.assert_array_equal(predict_all(stop), predict_all(whole))

    def test_counts_on_in_partial_fit(self, parts):
        model = AutoRec.paper(**SMALL).fit(parts[0])
        model.partial_fit(parts[0], epochs=2)
        assert [epoch.index for epoch in model.history_] == list(range(8))
        assert model.history_[-1].loss < model.history_[5].loss

    def test_shows_its_progress(self, parts, capsys):
        AutoRec.paper(**SMALL, verbose=True).fit(parts[0])
        assert "epoch=6" in capsys.readouterr().err

    @pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
    def test_stops_at_ctrl_c_between_batches(self, parts):
        settings = {"epochs": 10**6, "regularization": 0.0, "hidden_units": (400,)}
        model = AutoRec.paper(**{**SMALL, **settings})
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0])
        assert time.perf_counter() - start < 30
        timer.join()
        assert np.isfinite(predict_all(model)).all()

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"batch_size": 64}, r"batch_size must be None with optimizer=\"lbfgs\".* was 64"),
            ({"corruption": 0.3}, r"corruption must be 0 with optimizer=\"lbfgs\".* was 0\.3"),
            ({"dropout": 0.5}, r"dropout must be 0 with optimizer=\"lbfgs\".* was 0\.5"),
        ],
    )
    def test_refuses_what_changes_the_loss(self, parts, params, message):
        with pytest.raises(ValueError, match=message):
            AutoRec.paper(**SMALL, **params).fit(parts[0])
