import os
import pickle
import signal
import threading
from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import pytest
import reference
from core_fixtures import assert_close
from scipy import sparse
from sklearn.base import clone

from isthmus import AutoRec, DualAutoRec, Ratings, synthetic_ratings, train_test_split
from isthmus.metrics import bias_baseline, rmse
from isthmus.models._autorec_learners import Learner

SMALL = MappingProxyType(
    {
        "hidden_units": (6,),
        "epochs": 4,
        "batch_size": 16,
        "random_state": 0,
        "num_threads": 1,
    }
)
SIDES = ("item", "user")


@pytest.fixture(scope="module")
def parts():
    return train_test_split(
        synthetic_ratings(60, 45, 900, random_state=1), test_size=0.2, random_state=0
    )


@pytest.fixture(scope="module")
def larger():
    """Ratings enough to learn something from."""
    return train_test_split(
        synthetic_ratings(600, 400, 30_000, random_state=0), test_size=0.1, random_state=0
    )


@pytest.fixture(scope="module")
def learnt(larger):
    return DualAutoRec(hidden_units=(50,), random_state=0, num_threads=1).fit(larger[0])


def bias_dampings(table):
    """Those of rows and of columns, beside networks."""
    row, column = reference.dampings(table)
    return 1.25 * row, 1.25 * column


def predict_all(model):
    return model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)


def predict_rated(model, ratings):
    users, items, _, _ = ratings.to_arrays()
    return model.predict(users, items)


def weights_of(model, side):
    weights = model._parts[side].network.weights()
    return {name: np.array(array) for name, array in weights.items()}


def assert_same_bits(one, other):
    left, right = one._tensors(), other._tensors()
    assert left.keys() == right.keys()
    for name in left.keys() - {"history"}:  # which holds seconds
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


class Equation:
    """The model's equation in NumPy, on its fitted weights."""

    def __init__(self, model, ratings):
        self.table = reference.table_of(ratings)
        self.known = np.isfinite(self.table)
        self.mean, self.deviation = np.nanmean(self.table), np.nanstd(self.table)
        self.codes, self.weights = {}, {}
        for side in SIDES:
            table = self.table.T if side == "item" else self.table
            self.weights[side] = weights_of(model, side)
            self.codes[side] = self.encode(side, table)

    def encode(self, side, table):
        """The codes of rows, with NaN where nothing is rated."""
        known = np.isfinite(table)
        of_training = self.known.sum(axis=0 if side == "item" else 1)
        typical = (of_training**2).sum() / of_training.sum()
        inputs = np.where(known, (table - self.mean) * 1.117 / self.deviation + 4.3, 0)
        factor = (np.maximum(known.sum(axis=1), 1) / typical) ** -0.5
        weights = self.weights[side]
        sums = factor[:, np.newaxis] * (inputs @ weights["encoder.weights"])
        codes = reference.ACTIVATIONS["centered_sigmoid"](sums + weights["encoder.bias"])
        for layer in range(1, sum(name.startswith("hidden") for name in weights) // 2 + 1):
            sums = codes @ weights[f"hidden.{layer}.weights"] + weights[f"hidden.{layer}.bias"]
            codes = reference.ACTIVATIONS["centered_sigmoid"](sums)
        return codes

    def outputs(self, side):
        """What a part adds, rows x columns."""
        weights = self.weights[side]
        return self.codes[side] @ weights["decoder.weights"].T + weights["decoder.bias"]

    def predictions(self):
        mean, items, users = reference.biases(self.table.T, *bias_dampings(self.table.T))
        biases = mean + users[:, np.newaxis] + items
        outputs = self.outputs("item").T + self.outputs("user")
        return biases + outputs * self.deviation / 1.117


class TestPrediction:
    @pytest.mark.parametrize("hidden_units", [(6,), (7, 4)])
    def test_is_by_the_equation(self, parts, hidden_units):
        settings = {**SMALL, "hidden_units": hidden_units, "learning_rate": 0.02, "clip": False}
        model = DualAutoRec(**settings, regularization=0.1).fit(parts[0])
        equation = Equation(model, parts[0])
        np.testing.assert_allclose(model.item_codes_, equation.codes["item"], atol=1e-5)
        np.testing.assert_allclose(model.user_codes_, equation.codes["user"], atol=1e-5)
        for side in SIDES:
            assert equation.outputs(side).std() > 0.02
        np.testing.assert_allclose(predict_all(model), equation.predictions(), rtol=1e-4, atol=1e-4)

    def test_is_of_all_ratings_whatever_is_masked_in_training(self, parts):
        # where the weights hardly move, another corruption changes nothing else
        still = {**SMALL, "learning_rate": 1e-20, "clip": False}
        one, other = (DualAutoRec(**still, corruption=c).fit(parts[0]) for c in (0.0, 0.9))
        np.testing.assert_allclose(one.user_codes_, other.user_codes_, atol=1e-6)
        np.testing.assert_allclose(one.item_codes_, other.item_codes_, atol=1e-6)
        np.testing.assert_allclose(predict_all(one), predict_all(other), rtol=1e-6)

    def test_is_near_the_mean_where_a_user_or_an_item_has_no_rating(self, parts):
        train = parts[0]
        users = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
        holey = train.select((users != 5) & (train.indices != 7))
        model = DualAutoRec(**SMALL).fit(holey)
        predictions = predict_all(model)
        assert np.isfinite(predictions).all()
        assert abs(predictions[5].mean() - holey.mean) < 0.3
        assert abs(predictions[:, 7].mean() - holey.mean) < 0.3
        for side, place in (("item", 5), ("user", 7)):  # which are columns there
            for name in ("encoder.weights", "decoder.weights"):
                assert not weights_of(model, side)[name][place].any()
            assert weights_of(model, side)["decoder.bias"][0, place] == 0
        assert sorted(model.recommend(5, n=45)[0]) == list(range(45))
        model.set_params(default_rating=3)
        predictions = predict_all(model)
        assert (predictions[5] == 3).all()
        assert (predictions[:, 7] == 3).all()
        assert (np.delete(np.delete(predictions, 5, 0), 7, 1) != 3).all()

    def test_is_clipped_to_the_lowest_and_the_highest_rating(self, parts):
        settings = {**SMALL, "epochs": 40, "learning_rate": 0.05, "corruption": 0.0}
        model = DualAutoRec(**settings, regularization=0.0).fit(parts[0])
        assert predict_all(model).min() == parts[0].min
        assert predict_all(model).max() == parts[0].max
        model.set_params(clip=False)
        assert predict_all(model).min() < parts[0].min
        assert predict_all(model).max() > parts[0].max


class Oracle:
    """Both parts, trained in turn by the reference."""

    def __init__(self, ratings, *, hidden_units, batch_size, regularization, rate, epochs, seed):
        by_users = ratings.to_matrix()
        matrices = {"item": by_users.T.tocsr(), "user": by_users}
        table = reference.table_of(ratings)
        factor = 1.117 / np.nanstd(table)
        zero = np.nanmean(table) - 4.3 / factor
        self.shape, self.rate, self.epochs = table.shape, rate, epochs
        self.rows, self.trainers = {}, {}
        dampings = dict(zip(SIDES, bias_dampings(table.T), strict=True))
        mean, *biases = reference.biases(table.T, *dampings.values())
        for number, side in enumerate(SIDES):
            X = matrices[side]
            row, column = biases if side == "item" else biases[::-1]
            counts = np.diff(X.indptr)
            typical = (counts**2).sum() / counts.sum()
            self.rows[side] = reference.Rows(
                *(X.indptr.astype(np.int64), X.indices, X.data, X.shape[1]),
                input_offset=np.full(len(counts), zero),
                target_offset=mean + row,
                input_scale=factor,
                target_scale=factor,
                input_factor=(counts / typical) ** -0.5,
                column_offset=column,
                cell_offset=np.zeros(X.nnz),
            )
            network = reference.Autoencoder(
                X.shape[1], hidden_units, "centered_sigmoid", seed=seed + number
            )
            network.weights["decoder.weights"][:] = 0
            self.trainers[side] = reference.Trainer(
                network,
                "adam",
                regularization=regularization * (2 * (60 / 45) ** (1 / 3) if number else 1),
                batch_size=batch_size,
                corruption="mask",
                corruption_level=0.4,
                seed=seed,
                bias_regularization=2 * dampings["user" if side == "item" else "item"],
                transposed=side == "user",
            )

    def run_epoch(self, epoch):
        """Train each part on what the other leaves; return the user part's mean squared error."""
        left = np.zeros(self.shape)  # users x items
        for side, other in (SIDES, SIDES[::-1]):
            rows = self.rows[side]
            filled = np.count_nonzero(np.diff(rows.indptr))
            batches = -(-filled // self.trainers[side].batch_size)
            done = epoch + np.arange(batches) / batches
            rates = self.rate * (1 - done / self.epochs) * np.minimum(done + 0.02, 1)
            outputs = np.zeros(len(rows.values))
            error, cells = self.trainers[side].run_epoch(rows, epoch, rates, predictions=outputs)
            table = left if side == "user" else left.T
            table[rows.cells()] = outputs
            table = left if other == "user" else left.T
            self.rows[other].cell_offset = table[self.rows[other].cells()].copy()
        return error / cells / rows.target_scale**2


class TestTraining:
    def test_is_that_of_the_reference_in_turn(self, parts):
        settings = {"hidden_units": (6,), "batch_size": 16, "regularization": 0.7, "epochs": 2}
        oracle = Oracle(parts[0], **settings, rate=0.02, seed=5)
        model = DualAutoRec(
            **settings,
            learning_rate=0.02,
            random_state=5,
            num_threads=2,
            corruption=0.4,
            precision="float32",
        ).fit(parts[0])
        losses = [oracle.run_epoch(epoch) for epoch in range(2)]
        assert [epoch.loss for epoch in model.history_] == pytest.approx(losses, rel=1e-4)
        for side in SIDES:
            found = weights_of(model, side)
            for name, expected in oracle.trainers[side].model.weights.items():
                assert_close(found[name], expected, 2e-4, f"{side} {name}")
            assert np.abs(found["decoder.weights"]).max() > 0.02  # which began at 0

    def test_subtracts_the_same_biases_in_both_parts(self, parts):
        model = DualAutoRec(**SMALL).fit(parts[0])
        item, user = (model._parts[side].offsets for side in SIDES)
        rows = reference.table_of(parts[0]).T
        mean, *_ = reference.biases(rows, *bias_dampings(rows))
        assert model._mean == pytest.approx(mean, abs=1e-4)
        mean = model._mean
        np.testing.assert_allclose(user.row, mean + item.column, rtol=2e-7)
        np.testing.assert_allclose(mean + user.column, item.row, rtol=2e-7)

    def test_has_one_result_at_any_number_of_threads(self):
        ratings = synthetic_ratings(500, 400, 12_000, random_state=2)
        one, *others = (
            DualAutoRec(
                hidden_units=(40, 17), epochs=2, batch_size=100, random_state=3, num_threads=n
            ).fit(ratings)
            for n in (1, 2, 3, 5)
        )
        for other in others:
            assert_same_bits(one, other)

    def test_does_not_depend_on_where_a_user_or_an_item_is_but_in_its_draws(self, parts):
        # masks and initial weights are drawn by position; without either, order is all the same
        still = {**SMALL, "batch_size": 1000, "corruption": 0.0, "clip": False, "epochs": 3}
        X = parts[0].to_matrix()
        users, items = (np.random.default_rng(0).permutation(n) for n in X.shape)
        seen = predict_all(DualAutoRec(**still, learning_rate=1e-20).fit(X))
        moved = predict_all(DualAutoRec(**still, learning_rate=1e-20).fit(X[users][:, items]))
        np.testing.assert_allclose(moved, seen[users][:, items], rtol=1e-5)

    def test_beats_biases_and_a_model_of_items_alone(self, larger, learnt):
        train, test = larger
        found = learnt.evaluate(test)["rmse"]
        alone = AutoRec(hidden_units=(50,), random_state=0, num_threads=1).fit(train)
        assert found < 0.98 * rmse(test.values, bias_baseline(train, test))
        assert found < alone.evaluate(test)["rmse"]

    def test_measures_the_squared_error_on_masked_inputs(self, larger):
        model = DualAutoRec(hidden_units=(20,), epochs=8, random_state=0, num_threads=1)
        losses = [epoch.loss for epoch in model.fit(larger[0]).history_]
        assert losses[-1] < losses[0]
        assert losses[-1] == pytest.approx(model.evaluate(larger[0])["rmse"] ** 2, rel=0.2)

    @pytest.mark.parametrize("value", [0.0, 7.5, "auto"])
    def test_costs_the_weights_of_the_user_part_more(self, parts, value):
        model = DualAutoRec(**SMALL, regularization=value).fit(parts[0])
        found = [model._parts[side].regularization for side in SIDES]
        item = 0.45 * np.sqrt(parts[0].nnz) if value == "auto" else value
        assert found == pytest.approx([item, 2 * (60 / 45) ** (1 / 3) * item])
        alone = AutoRec(**SMALL, regularization=value).fit(parts[0])
        assert alone.regularization_ == pytest.approx(item)

    @pytest.mark.parametrize("few", SIDES)
    def test_costs_them_the_more_where_there_are_few_users_or_items(self, few):
        cells = np.arange(10 * 80)
        ratings = sparse.csr_array((1.0 + cells % 5, (cells // 80, cells % 80)), shape=(10, 85))
        model = DualAutoRec(**SMALL, regularization=3.0)
        model.fit(ratings if few == "user" else ratings.T)
        found = [model._parts[side].regularization for side in SIDES]
        assert found == pytest.approx([3, 3 * 2 * 2])

    def test_is_in_automatic_batches(self, parts):
        automatic = DualAutoRec(**{**SMALL, "batch_size": "auto"}).fit(parts[0])
        assert_same_bits(automatic, DualAutoRec(**SMALL).fit(parts[0]))

    def test_leaves_validation_ratings_alone(self, parts):
        train, test = parts
        plain = DualAutoRec(**SMALL).fit(train)
        watched = DualAutoRec(**SMALL).fit(train, validation=test)
        np.testing.assert_array_equal(predict_all(plain), predict_all(watched))
        measured = [epoch.metrics["rmse"] for epoch in watched.history_]
        assert measured[-1] == pytest.approx(watched.evaluate(test)["rmse"], rel=1e-6)


class TestCourse:
    OVERFITTING = MappingProxyType(
        {
            **SMALL,
            "epochs": 60,
            "learning_rate": 0.02,
            "regularization": 0.0,
            "corruption": 0.0,
        }
    )

    def test_stops_early_and_goes_back_to_the_best_epoch(self, parts):
        train, test = parts
        model = DualAutoRec(**self.OVERFITTING, patience=3).fit(train, validation=test)
        measured = [epoch.metrics["rmse"] for epoch in model.history_]
        best = int(np.argmin(measured))
        assert len(measured) == best + 4 < 60
        assert measured[-1] > measured[best]
        assert model.evaluate(test)["rmse"] == pytest.approx(measured[best], rel=1e-6)
        stopped = DualAutoRec(**self.OVERFITTING).fit(
            train, callbacks=[lambda epoch: epoch.index == best]
        )
        for side in SIDES:  # and what it will regress new users and items by
            found = model._parts[side].tensors()
            for name, array in stopped._parts[side].tensors().items():
                np.testing.assert_array_equal(found[name], array, err_msg=f"{side} {name}")

    def test_is_told_to_callbacks(self, parts):
        told = []
        model = DualAutoRec(**SMALL).fit(parts[0], validation=parts[1], callbacks=[told.append])
        assert told == model.history_
        assert [epoch.index for epoch in told] == [0, 1, 2, 3]

    def test_is_shown_by_one_bar_of_both_parts(self, parts, capsys):
        DualAutoRec(**SMALL, verbose=True).fit(parts[0])
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "fit: 100%" in shown.err

    def test_reports_halves_of_an_epoch(self, parts):
        model = DualAutoRec(**SMALL)
        model.fit(parts[0])
        told = []
        model._learner(parts[0]).run_epoch(0, told.append)
        assert told == sorted(told)
        assert told[0] == 0
        assert max(told) < parts[0].nnz
        assert parts[0].nnz // 2 in told

    @pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
    def test_is_cut_by_ctrl_c_between_batches(self, parts):
        model = DualAutoRec(**{**SMALL, "epochs": 10**9})
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0])
        timer.join()
        assert np.isfinite(predict_all(model)).all()
        model.partial_fit(parts[0])
        assert np.isfinite(predict_all(model)).all()

    def test_is_cut_between_the_parts(self, parts, monkeypatch):
        whole = DualAutoRec(**{**SMALL, "epochs": 2})
        expected = {"item": whole.fit(parts[0]), "user": clone(whole)}
        expected["user"].fit(parts[0], callbacks=[lambda epoch: True])
        run_epoch: Callable = Learner.run_epoch

        def stop(learner, index, progress):
            if index == 1 and learner.reader.settings.orientation == "user":
                raise KeyboardInterrupt
            return run_epoch(learner, index, progress)

        monkeypatch.setattr(Learner, "run_epoch", stop)
        model = clone(whole)
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0])
        monkeypatch.undo()
        assert len(model.history_) == 1
        for side, other in expected.items():
            for name, array in weights_of(other, side).items():
                np.testing.assert_array_equal(weights_of(model, side)[name], array, err_msg=name)
        model.partial_fit(parts[0])
        assert len(model.history_) == 2


class TestPartialFit:
    def test_goes_on_where_fit_stopped(self, larger):
        train, test = larger
        model = DualAutoRec(hidden_units=(20,), epochs=8, random_state=0, num_threads=1).fit(train)
        losses = [epoch.loss for epoch in model.history_]
        before, error = predict_all(model), model.evaluate(test)["rmse"]
        assert model.partial_fit(train, epochs=2) is model
        assert [epoch.index for epoch in model.history_] == list(range(10))
        # a tenth of the rate: it neither begins anew nor forgets what the other part explains
        assert model.history_[-1].loss < losses[-1] * 1.01
        assert model.history_[-1].loss < losses[-2]
        assert np.abs(predict_all(model) - before).mean() < 0.05
        assert model.evaluate(test)["rmse"] < error * 1.005

    def test_trains_the_item_part_on_what_the_user_part_leaves(self, parts):
        settings = {**SMALL, "learning_rate": 0.02, "regularization": 0.1, "clip": False}
        model = DualAutoRec(**settings).fit(parts[0])
        outputs = Equation(model, parts[0]).outputs("user")
        learner = model._learner(parts[0])
        by_items = parts[0].to_matrix().T.tocsr()
        items = np.repeat(np.arange(45), np.diff(by_items.indptr))
        np.testing.assert_allclose(
            learner._offsets["item"], outputs[by_items.indices, items], rtol=1e-4, atol=1e-5
        )

    def test_is_fit_where_nothing_was_before(self, parts):
        one = DualAutoRec(**SMALL).partial_fit(parts[0], epochs=4)
        assert_same_bits(one, DualAutoRec(**SMALL).fit(parts[0]))

    def test_goes_on_from_a_file_and_from_a_pickle(self, parts, tmp_path):
        model = DualAutoRec(**SMALL).fit(parts[0])
        model.save(tmp_path / "model")
        others = [DualAutoRec.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))]
        model.partial_fit(parts[0], epochs=2)
        for other in others:
            assert_same_bits(other.partial_fit(parts[0], epochs=2), model)

    def test_learns_what_was_folded_in(self, parts):
        X = parts[0].to_matrix()
        model = DualAutoRec(**SMALL).fit(X[:50, :40])
        model.fold_in(X[50:, :40]).fold_in(X[:, 40:], axis="item")
        before = predict_all(model)
        model.partial_fit(X, epochs=3)
        after = predict_all(model)
        assert np.isfinite(after).all()
        assert (before[50:] != after[50:]).any(axis=1).all()
        assert (before[:, 40:] != after[:, 40:]).any(axis=0).all()
        for side, known in (("item", 50), ("user", 40)):
            new = weights_of(model, side)["encoder.weights"][known:]
            rated = np.diff((X if side == "item" else X.T.tocsr()).indptr)[known:] > 0
            assert new[rated].any(axis=1).all()  # they have become inputs

    def test_keeps_the_scale_of_its_first_ratings(self, parts):
        model = DualAutoRec(**SMALL).fit(parts[0])
        readers = model._readers
        model.partial_fit(parts[0].to_matrix() * 2)
        for side in SIDES:
            assert model._readers[side].factor == readers[side].factor
            assert model._readers[side].zero == readers[side].zero
        assert model._readers["item"].high == 2 * parts[0].max


class TestFoldIn:
    def test_encodes_new_users_as_those_of_training(self, parts):
        X = parts[0].to_matrix()
        model = DualAutoRec(**SMALL).fit(parts[0])
        before, codes = predict_all(model), model.user_codes_.copy()
        model.fold_in(X[:4])
        assert model.user_codes_.shape == (64, 6)
        np.testing.assert_array_equal(model.user_codes_[-4:], codes[:4])
        np.testing.assert_array_equal(predict_all(model)[:60], before)

    def test_encodes_new_items_as_those_of_training(self, parts):
        X = parts[0].to_matrix()
        model = DualAutoRec(**SMALL).fit(parts[0])
        before, codes = predict_all(model), model.item_codes_.copy()
        model.fold_in(X[:, :4], axis="item")
        np.testing.assert_array_equal(model.item_codes_[-4:], codes[:4])
        np.testing.assert_array_equal(predict_all(model)[:, :45], before)

    @pytest.mark.parametrize("axis", ["user", "item"])
    def test_predicts_one_with_the_ratings_of_another_alike(self, larger, learnt, axis):
        X = larger[0].to_matrix()
        counts = np.diff((X if axis == "user" else X.T.tocsr()).indptr)
        chosen = np.argsort(counts)[-30:]
        model = pickle.loads(pickle.dumps(learnt))
        before = predict_all(model)
        if axis == "user":
            model.fold_in(X[chosen])
            new, old = predict_all(model)[-30:], before[chosen]
        else:
            model.fold_in(X[:, chosen], axis="item")
            new, old = predict_all(model)[:, -30:], before[:, chosen]
        assert np.sqrt(np.mean((new - old) ** 2)) < 0.25 * before.std()

    def test_regresses_new_weights_on_what_the_other_part_leaves(self, parts):
        settings = {**SMALL, "learning_rate": 0.02, "regularization": 2.0, "clip": False}
        model = DualAutoRec(**settings).fit(parts[0])
        equation = Equation(model, parts[0])
        rated = np.array([1, 7, 12, 30])
        values = np.array([5.0, 2.0, 4.0, 1.0])
        row = np.full((1, 45), np.nan)
        row[0, rated] = values
        # by hand: bias, then code in the user part, then the item part's weights
        dampings = bias_dampings(equation.table.T)
        mean, items, _ = reference.biases(equation.table.T, *dampings)
        left = values - mean - items[rated]
        bias = left.sum() / (len(rated) + dampings[1])
        code = equation.encode("user", row)
        weights = equation.weights["user"]
        user_part = (code @ weights["decoder.weights"].T + weights["decoder.bias"])[0]
        factor = 1.117 / equation.deviation
        targets = (left - bias) * factor - user_part[rated]
        codes = equation.codes["item"]
        prior = model._parts["item"].prior
        new, intercept = reference.ridge(
            codes[rated],
            targets,
            1.0,
            mean_weights=prior.weights[0].astype(np.float64),
            mean_bias=float(prior.bias[0, 0]),
            center=prior.center[0].astype(np.float64),
            level_penalty=prior.level_penalty,
        )
        outputs = codes @ new + intercept + user_part
        expected = mean + items + bias + outputs / factor
        X = sparse.csr_array((values, rated, [0, len(rated)]), shape=(1, 45))
        model.fold_in(X)
        np.testing.assert_allclose(predict_all(model)[-1], expected, rtol=1e-3, atol=1e-3)

    def test_is_what_recommends_to_new_users(self, parts):
        new = Ratings.from_arrays([70, 70, 70, 90], [3, 5, 8, 3], [1, 5, 4, 4])
        model = DualAutoRec(**SMALL).fit(parts[0])
        ids, scores = model.recommend(ratings=new, n=44, order="rating")
        model.fold_in(new)
        again, others = model.recommend([70, 90], n=44, order="rating")
        np.testing.assert_array_equal(ids, again)
        np.testing.assert_allclose(scores, others, rtol=1e-6)

    @pytest.mark.parametrize("axis", ["user", "item"])
    def test_of_one_without_ratings_is_near_the_mean(self, parts, axis):
        model = DualAutoRec(**SMALL).fit(parts[0])
        shape = (1, 45) if axis == "user" else (60, 1)
        model.fold_in(sparse.csr_array(shape, dtype=np.float32), axis=axis)
        new = predict_all(model)[-1] if axis == "user" else predict_all(model)[:, -1]
        assert np.isfinite(new).all()
        assert abs(new.mean() - parts[0].mean) < 0.3
        model.set_params(default_rating=2.25)
        new = predict_all(model)[-1] if axis == "user" else predict_all(model)[:, -1]
        assert (new == 2.25).all()

    def test_in_parts_is_as_at_once(self, parts):
        X = parts[0].to_matrix()
        one = DualAutoRec(**SMALL).fit(X[:50])
        other = pickle.loads(pickle.dumps(one))
        one.fold_in(X[50:])
        other.fold_in(X[50:53]).fold_in(X[53:])
        np.testing.assert_allclose(predict_all(one), predict_all(other), rtol=1e-6)


class TestCopies:
    def test_predict_as_the_model_does(self, parts, tmp_path):
        model = DualAutoRec(**SMALL).fit(parts[0])
        model.fold_in(Ratings.from_arrays([70, 70], [3, 5], [1, 5]))
        model.fold_in(Ratings.from_arrays([70, 3], [80, 80], [5, 2]), axis="item")
        model.save(tmp_path / "model")
        for other in (DualAutoRec.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
            assert_same_bits(model, other)
            np.testing.assert_array_equal(predict_all(model), predict_all(other))

    def test_that_are_clones_have_the_parameters_alone(self, parts):
        model = DualAutoRec(**SMALL, regularization=3.0, corruption=0.2).fit(parts[0])
        other = clone(model)
        assert other.get_params() == model.get_params()
        assert not other._fitted
        assert_same_bits(other.fit(parts[0]), model)


def test_codes_cannot_be_written(parts):
    model = DualAutoRec(**{**SMALL, "hidden_units": (7, 5)}).fit(parts[0])
    assert model.item_codes_.shape == (45, 5)
    assert model.user_codes_.shape == (60, 5)
    for codes in (model.item_codes_, model.user_codes_):
        with pytest.raises(ValueError, match="read-only"):
            codes[...] = 0


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5])
def test_ratings_that_are_all_equal_are_predicted(value):
    X = synthetic_ratings(30, 20, 200, random_state=0).to_matrix()
    X = sparse.csr_array((np.full(X.nnz, value), X.indices, X.indptr), shape=X.shape)
    model = DualAutoRec(**SMALL, clip=False).fit(X)
    np.testing.assert_allclose(predict_all(model), value, atol=1e-5)
