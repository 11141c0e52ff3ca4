import os
import pickle
import signal
import threading
import time
from types import MappingProxyType

import numpy as np
import pytest
import reference
from scipy import sparse

from isthmus import (
    AutoRec,
    ConvergenceError,
    Epoch,
    Ratings,
    synthetic_ratings,
    train_test_split,
)
from isthmus.metrics import bias_baseline, mean_baseline, rmse
from isthmus.models._pretraining import inner_layers

SMALL = {
    "hidden_units": (8,),
    "epochs": 4,
    "batch_size": 16,
    "learning_rate_schedule": "exponential",  # so that one epoch does not depend on their number
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


def bias_dampings(table, orientation="item"):
    """Those of rows and of columns, beside a network."""
    row, column = reference.dampings(table)
    return (1.25 if orientation == "item" else 1.0) * row, 1.25 * column


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class TestStart:
    def test_weights_have_the_deviation_that_is_given(self, parts):
        still = {**SMALL, "hidden_units": (8, 3, 8), "optimizer": "sgd", "learning_rate": 1e-20}
        still["target_centering"] = "row"  # beside biases, outputs begin at 0
        default, small = (
            AutoRec(**still, initial_deviation=deviation).fit(parts[0])
            for deviation in (None, 0.01)
        )
        before, after = default._trained.network.weights(), small._trained.network.weights()
        for name in (n for n in before if n.endswith("weights")):
            glorot = np.sqrt(2 / sum(before[name].shape))
            drawn = before[name] != 0  # columns without a rating have no weights
            assert before[name][drawn].std() == pytest.approx(glorot, rel=0.35)
            np.testing.assert_allclose(after[name], before[name] * (0.01 / glorot), rtol=1e-5)
        assert abs(small.encoder_bias_).max() < 1e-15  # biases begin at 0, and are not scaled


class TestPretraining:
    SETTINGS = MappingProxyType({**SMALL, "learning_rate_decay": 0.9, "corruption": 0})

    def test_starts_from_the_shallow_model_and_autoencoders_of_its_codes(self, parts):
        shallow = AutoRec(**{**self.SETTINGS, "epochs": 5}).fit(parts[0])
        layers = inner_layers(
            *(shallow.codes_, (5, 3, 5)),
            activation="centered_sigmoid",
            seed=0,
            num_threads=1,
        )
        deep = AutoRec(
            **{**self.SETTINGS, "hidden_units": (8, 5, 3, 5, 8), "epochs": 1}, pretraining_epochs=5
        ).fit(parts[0])
        # the one epoch of fit moves a weight by little more than Adam's rate in each of 3 batches
        limit = 5 * deep.learning_rate
        moved = deep._trained.network.weights()
        for name, start in shallow._trained.network.weights().items():
            assert abs(moved[name] - start).max() < limit, name
        for number, (matrix, bias) in enumerate(layers, 1):
            assert abs(moved[f"hidden.{number}.weights"] - matrix).max() < limit
            assert abs(moved[f"hidden.{number}.bias"] - bias).max() < limit

    def test_trains_the_autoencoders_as_the_reference_does(self):
        rng = np.random.default_rng(0)
        codes = rng.random((300, 6)).astype(np.float32)
        cells = np.arange(300 * 6)
        rows = reference.Rows(
            np.arange(301, dtype=np.int64) * 6, (cells % 6).astype(np.int32), codes.ravel(), 6
        )
        model = reference.Autoencoder(6, (4,), "sigmoid", "sigmoid", seed=3)
        trainer = reference.Trainer(model, "adam", seed=3)
        for epoch in range(4):
            trainer.run_epoch(rows, epoch, 0.002 * 0.97**epoch)
        (into, into_bias), (out_of, out_bias) = inner_layers(
            codes,
            (4,),
            activation="sigmoid",
            seed=3,
            num_threads=2,
            epochs=4,
        )
        found = {"encoder.weights": into, "decoder.weights": out_of.T}
        found |= {"encoder.bias": into_bias, "decoder.bias": out_bias}
        for name, expected in model.weights.items():
            np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)

    def test_is_not_repeated_where_training_goes_on(self, parts):
        settings = {**self.SETTINGS, "hidden_units": (8, 3, 8), "pretraining_epochs": 3}
        model = AutoRec(**settings).fit(parts[0])
        before = model.history_[-1].loss
        assert model.partial_fit(parts[0]).history_[-1].loss < before


class TestLearning:
    def test_beats_the_biases_of_users_and_items(self):
        train, test = train_test_split(
            synthetic_ratings(600, 400, 30_000, random_state=0), test_size=0.1, random_state=0
        )
        model = AutoRec(
            hidden_units=(100,),
            regularization=100,
            learning_rate=0.003,
            epochs=100,
            batch_size=64,
            random_state=0,
            num_threads=1,
        )
        found = model.fit(train).evaluate(test)["rmse"]
        biases = rmse(test.values, bias_baseline(train, test))
        assert found < 0.98 * biases < rmse(test.values, mean_baseline(train, test))

    def test_lowers_the_loss(self, parts):
        settings = {**SMALL, "epochs": 60, "learning_rate": 0.005}
        model = AutoRec(**settings, corruption=0, regularization=0.1).fit(parts[0])
        losses = [epoch.loss for epoch in model.history_]
        assert losses[-1] < 0.8 * losses[0]

    @pytest.mark.parametrize("orientation", ["item", "user"])
    def test_predicts_by_the_equation(self, parts, orientation):
        model = AutoRec(**SMALL, orientation=orientation, clip=False).fit(parts[0])
        train = reference.table_of(parts[0])
        rows = train.T if orientation == "item" else train
        known = np.isfinite(rows)
        mean, factor = np.nanmean(train), 1.117 / np.nanstd(train)
        inputs = np.where(known, (rows - mean) * factor + 4.3, 0)  # an absent cell adds nothing
        counts = known.sum(axis=1, keepdims=True)
        typical = (counts**2).sum() / counts.sum()
        sums = (counts / typical) ** -0.5 * (inputs @ model.encoder_weights_)
        codes = sigmoid(sums + model.encoder_bias_) - 0.5
        np.testing.assert_allclose(model.codes_, codes, rtol=1e-3, atol=1e-5)
        base, row, column = reference.biases(rows, *bias_dampings(rows, orientation))
        outputs = codes @ model.decoder_weights_.T + model.decoder_bias_
        expected = base + row[:, np.newaxis] + column + outputs / factor
        found = predict_all(model)
        np.testing.assert_allclose(
            found.T if orientation == "item" else found, expected, rtol=1e-4, atol=1e-4
        )

    @pytest.mark.parametrize("orientation", ["item", "user"])
    def test_predicts_by_the_equation_of_the_paper(self, parts, orientation):
        model = AutoRec.paper(
            **{**SMALL, "target_centering": "row"}, orientation=orientation, clip=False
        ).fit(parts[0])
        train = reference.table_of(parts[0])
        rows = train.T if orientation == "item" else train
        known = np.isfinite(rows)
        raw = np.where(known, rows, 0)
        codes = sigmoid(raw @ model.encoder_weights_ + model.encoder_bias_)
        np.testing.assert_allclose(model.codes_, codes, rtol=1e-4, atol=1e-5)
        means = (raw.sum(axis=1) + 10 * np.nanmean(train)) / (known.sum(axis=1) + 10)
        expected = codes @ model.decoder_weights_.T + model.decoder_bias_ + means[:, np.newaxis]
        found = predict_all(model)
        np.testing.assert_allclose(
            found.T if orientation == "item" else found, expected, rtol=1e-4, atol=1e-4
        )

    def test_of_users_is_that_of_items_on_the_transposed_matrix(self, parts):
        matrix = parts[0].to_matrix()
        # biases of users and of items are damped differently
        settings = {**SMALL, "target_centering": "row", "regularization": 30.0}
        users = AutoRec(**settings, orientation="user").fit(matrix)
        items = AutoRec(**settings, orientation="item").fit(matrix.T)
        np.testing.assert_array_equal(predict_all(users), predict_all(items).T)

    @pytest.mark.parametrize(
        "params",
        [
            *({"encoder_activation": g} for g in ("identity", "tanh", "relu", "elu", "selu")),
            {"encoder_activation": "swish", "hidden_units": [6, 3]},
            *({"decoder_activation": f} for f in ("relu", "elu", "selu", "swish")),
            {"decoder_activation": "sigmoid", "target_centering": "none"},
            {"decoder_activation": "tanh", "target_centering": "none"},
            *({"optimizer": o, "learning_rate": 1e-4} for o in ("adagrad", "momentum", "sgd")),
            {"corruption": 0},
            {"corruption": 0.7, "corruption_kind": "gaussian"},
            {"dropout": 0.5},
            {"input_centering": "row", "target_centering": "global"},
            {"input_centering": "global", "target_centering": "none", "learning_rate": 0.2},
            {"hidden_units": 5},
            {"hidden_units": np.array([5, 4, 5])},
            {"regularization": 0, "learning_rate_decay": 1},
            {"batch_size": 1000},
            {"batch_size": 1},
        ],
        ids=str,
    )
    def test_works_with_every_choice(self, parts, params, tmp_path):
        model = AutoRec(**{**SMALL, **params}).fit(parts[0])
        predictions = predict_all(model)
        assert np.isfinite(predictions).all()
        assert np.ptp(predictions) > 0
        assert rmse(parts[0].values, model.predict(*parts[0].to_arrays()[:2])) < 2
        model.save(tmp_path / "model")
        np.testing.assert_array_equal(predictions, predict_all(AutoRec.load(tmp_path / "model")))

    @pytest.mark.parametrize("decoder_activation", ["sigmoid", "tanh"])
    def test_scales_ratings_to_a_bounded_output(self, decoder_activation):
        ratings = synthetic_ratings(60, 45, 900, random_state=1, scale=(-10, 10), step=0)
        model = AutoRec(
            hidden_units=(8,),
            epochs=60,
            batch_size=16,
            learning_rate=0.02,
            regularization=0.1,
            corruption=0,
            decoder_activation=decoder_activation,
            target_centering="none",
            random_state=0,
            clip=False,
        ).fit(ratings)
        predictions = predict_all(model)
        assert predictions.min() > ratings.min
        assert predictions.max() < ratings.max
        assert model.evaluate(ratings)["rmse"] < 0.8 * ratings.values.std()

    @pytest.mark.parametrize(
        ("n_users", "n_items", "repeats", "rows"),
        [
            (7, 300, 1, 16),  # the least
            (7, 2000, 1, 32),  # 64 steps at most
            (100, 1000, 60, 30),  # a row for 2,000 ratings
            (60_000, 5000, 12, 500),  # few steps, as they pass most of the many columns by
        ],
    )
    def test_batches_grow_with_the_data_by_themselves(self, n_users, n_items, repeats, rows):
        cells = np.arange(n_items * repeats)
        items = cells % n_items
        users = (cells // n_items * (n_users // repeats) + items) % n_users
        ratings = sparse.csr_array((1.0 + cells % 5, (users, items)), shape=(n_users, n_items + 9))
        settings = {"hidden_units": (3,), "epochs": 2, "random_state": 0}
        automatic = AutoRec(**settings).fit(ratings)
        chosen = AutoRec(**settings, batch_size=rows).fit(ratings)
        np.testing.assert_array_equal(automatic.codes_, chosen.codes_)
        other = AutoRec(**settings, batch_size=rows - 1).fit(ratings)
        assert (automatic.codes_ != other.codes_).any()

    @pytest.mark.parametrize("optimizer", ["adam", "adagrad", "momentum", "sgd", "rprop"])
    def test_has_one_result_where_most_columns_miss_most_batches(self, optimizer):
        cells = np.unique(np.random.default_rng(0).integers(0, 3000 * 2000, 5000))
        matrix = sparse.csr_array(
            (1.0 + cells % 5, (cells // 2000, cells % 2000)), shape=(3000, 2000)
        )
        settings = {"hidden_units": (5,), "batch_size": 16, "optimizer": optimizer}
        models = [
            AutoRec(**settings, epochs=2, learning_rate=1e-4, random_state=0, num_threads=n)
            for n in (1, 2, 5)
        ]
        one, *others = [model.fit(matrix) for model in models]
        if optimizer != "rprop":  # which is meant for full batches
            assert one.history_[1].loss < one.history_[0].loss
        for other in others:
            np.testing.assert_array_equal(one.decoder_weights_, other.decoder_weights_)
            np.testing.assert_array_equal(one.decoder_bias_, other.decoder_bias_)
            np.testing.assert_array_equal(one.encoder_weights_, other.encoder_weights_)

    def test_keeps_columns_without_ratings_at_0(self, parts):
        matrix = parts[0].to_matrix().tocsc()
        matrix = sparse.hstack([matrix, sparse.csc_array((matrix.shape[0], 2))]).T.tocsr()
        model = AutoRec(**SMALL, orientation="item").fit(matrix)
        for weights in (model.encoder_weights_, model.decoder_weights_, model.decoder_bias_):
            assert not weights[-2:].any()
            assert weights[:-2].any()

    @pytest.mark.parametrize("orientation", ["item", "user"])
    @pytest.mark.parametrize("hidden_units", [(17,), (130,), (40, 17, 40)])
    def test_of_many_vectors_has_one_result_at_any_number_of_threads(
        self, orientation, hidden_units
    ):
        # rows of several vectors of weights, shared by more threads than there are blocks
        ratings = synthetic_ratings(70, 40, 900, random_state=0)
        settings = {"orientation": orientation, "hidden_units": hidden_units, "epochs": 2}
        one, *others = (
            AutoRec(**settings, random_state=0, num_threads=n).fit(ratings)._tensors()
            for n in (1, 2, 3, 5)
        )
        for other in others:
            for name in one.keys() - {"history"}:
                np.testing.assert_array_equal(other[name], one[name], err_msg=name)

    def test_has_one_result_at_any_number_of_threads(self):
        ratings = synthetic_ratings(700, 600, 20_000, random_state=2)
        weights = []
        for num_threads in (1, 2, 3, 5):
            model = AutoRec(
                hidden_units=(40, 20),
                epochs=2,
                batch_size=100,
                dropout=0.1,
                random_state=3,
                num_threads=num_threads,
            )
            weights.append(model.fit(ratings)._tensors())
        for other in weights[1:]:
            for name in other.keys() - {"history"}:
                np.testing.assert_array_equal(other[name], weights[0][name], err_msg=name)


class TestRegularization:
    @pytest.mark.parametrize(
        ("orientation", "times"), [("item", 1), ("user", 1.4 * (60 / 45) ** (1 / 3))]
    )
    def test_follows_the_size_of_the_data_by_itself(self, parts, orientation, times):
        settings = {**SMALL, "orientation": orientation}
        automatic = AutoRec(**settings).fit(parts[0])
        expected = 0.45 * np.sqrt(parts[0].nnz) * times
        assert automatic.regularization_ == pytest.approx(expected)
        chosen = AutoRec(**settings, regularization=expected).fit(parts[0])
        np.testing.assert_array_equal(predict_all(automatic), predict_all(chosen))

    def test_is_the_one_of_the_last_training(self, parts, tmp_path):
        model = AutoRec(**SMALL, regularization=3)
        with pytest.raises(ValueError, match="is not fitted yet"):
            _ = model.regularization_
        assert model.fit(parts[0]).regularization_ == 3
        model.set_params(regularization="auto")
        assert model.regularization_ == 3
        model.fold_in(parts[1].to_matrix()[:2])
        model.save(tmp_path / "model")
        assert AutoRec.load(tmp_path / "model").regularization_ == 3
        model = AutoRec(**SMALL, regularization=3).fit(parts[0]).set_params(regularization="auto")
        model.partial_fit(parts[1])
        assert model.regularization_ == pytest.approx(0.45 * np.sqrt(parts[1].nnz))


class TestRatingsWithoutSpread:
    @pytest.mark.parametrize("orientation", ["item", "user"])
    @pytest.mark.parametrize("scale", ["standard", "raw"])
    @pytest.mark.parametrize("value", [0.0, 4.0, -2.5])
    def test_over_all_are_predicted_everywhere(self, parts, orientation, scale, value):
        X = parts[0].to_matrix()
        X = sparse.csr_array((np.full(X.nnz, value), X.indices, X.indptr), shape=X.shape)
        settings = {**SMALL, "orientation": orientation, "clip": False}
        model = AutoRec(**settings, rating_scale=scale).fit(X)
        np.testing.assert_allclose(predict_all(model), value, atol=1e-6)
        model.fold_in(X[:3])
        np.testing.assert_allclose(predict_all(model)[-3:], value, atol=1e-6)

    @pytest.mark.parametrize("orientation", ["item", "user"])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_within_a_user_or_an_item_are_predicted_nearly(self, orientation, axis):
        X = synthetic_ratings(60, 40, 1200, random_state=0).to_matrix().tocoo()
        places = X.coords[axis]
        X = sparse.csr_array((1.0 + places % 5, X.coords), shape=X.shape)
        model = AutoRec(**{**SMALL, "orientation": orientation}).fit(X)
        predictions = predict_all(model)
        wanted = 1.0 + np.arange(X.shape[axis]) % 5
        wanted = np.broadcast_to(wanted[:, np.newaxis] if axis == 0 else wanted, X.shape)
        assert np.isfinite(predictions).all()
        assert np.corrcoef(predictions.ravel(), wanted.ravel())[0, 1] > 0.95
        # what damping leaves of it
        assert np.sqrt(np.mean((predictions - wanted) ** 2)) < 0.5 * wanted.std()


class TestWhatCounts:
    def test_a_rating_of_zero_does(self, parts):
        train = parts[0]
        low = train.values == train.min
        values = np.where(low, 0, train.values).astype(np.float32)
        X = sparse.csr_array((values, train.indices, train.indptr), shape=train.shape)
        model = AutoRec(**{**SMALL, "epochs": 30}, regularization=1).fit(X)
        assert X.nnz == train.nnz
        zeros = model.predict(*np.argwhere(reference.table_of(train) == train.min).T)
        others = model.predict(*np.argwhere(reference.table_of(train) == train.max).T)
        assert zeros.mean() < others.mean() - 0.5
        # and it is a rating for recommend: the user knows the item
        user, item = np.argwhere(reference.table_of(train) == train.min)[0]
        assert item not in model.recommend(user, n=45)[0]

    def test_an_absent_cell_does_not(self, parts):
        train = parts[0]
        wider = Ratings.from_arrays(
            *train.to_arrays()[:3],
            user_ids=np.arange(80),
            item_ids=np.arange(65),
        )
        model, larger = AutoRec(**SMALL), AutoRec(**SMALL)
        model.fit(train)
        larger.fit(wider)
        assert larger.history_[0].loss == pytest.approx(model.history_[0].loss, rel=0.05)
        # nobody rated the items that were added: they are predicted near the mean of all
        added = predict_all(larger)[:60, 45:]
        assert np.abs(added - train.mean).max() < 1

    def test_validation_ratings_are_never_learnt_from(self, parts):
        train, test = parts
        flipped = Ratings.from_matrix(test.to_matrix().multiply(-1).tocsr() + 0)
        models = [AutoRec(**SMALL).fit(train, validation=v) for v in (None, test, flipped)]
        for model in models[1:]:
            np.testing.assert_array_equal(predict_all(model), predict_all(models[0]))
        assert models[1].history_ != models[2].history_


@pytest.fixture(scope="module")
def holey(parts):
    """Ratings without any of user 5 and of item 7."""
    train = parts[0]
    users = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
    return train.select((users != 5) & (train.indices != 7))


class TestUnseen:
    @pytest.mark.parametrize("orientation", ["item", "user"])
    @pytest.mark.parametrize("centering", ["biases", "row", "global", "none"])
    def test_users_and_items_are_predicted_near_the_mean(self, holey, orientation, centering):
        model = AutoRec(
            **SMALL, orientation=orientation, target_centering=centering, regularization=1
        ).fit(holey)
        predictions = predict_all(model)
        column = predictions[5] if orientation == "item" else predictions[:, 7]
        row = predictions[:, 7] if orientation == "item" else predictions[5]
        assert np.isfinite(predictions).all()
        if centering in ("global", "none"):
            np.testing.assert_allclose(column, holey.mean, rtol=1e-6)
        assert abs(column.mean() - holey.mean) < 0.5
        if centering != "none":
            assert np.abs(row - holey.mean).max() < 1

    @pytest.mark.parametrize("orientation", ["item", "user"])
    def test_users_and_items_get_the_default_rating(self, holey, orientation):
        model = AutoRec(**SMALL, orientation=orientation, default_rating=3).fit(holey)
        predictions = predict_all(model)
        assert (predictions[5] == 3).all()
        assert (predictions[:, 7] == 3).all()
        assert (np.delete(np.delete(predictions, 5, 0), 7, 1) != 3).all()

    def test_users_can_be_recommended_to(self, holey):
        ids, scores = AutoRec(**SMALL).fit(holey).recommend(5, n=45)
        assert sorted(ids) == list(range(45))
        assert np.isfinite(scores).all()


class TestClip:
    def test_keeps_predictions_between_the_lowest_and_the_highest_rating(self, parts):
        settings = {**SMALL, "epochs": 60, "learning_rate": 0.05}
        model = AutoRec(**settings, regularization=0, corruption=0).fit(parts[0])
        assert predict_all(model).min() == parts[0].min
        assert predict_all(model).max() == parts[0].max
        model.set_params(clip=False)
        assert predict_all(model).min() < parts[0].min
        assert predict_all(model).max() > parts[0].max


class TestHistory:
    def test_has_an_entry_for_each_epoch(self, parts):
        model = AutoRec(**SMALL).fit(parts[0], validation=parts[1])
        assert [epoch.index for epoch in model.history_] == [0, 1, 2, 3]
        assert all(isinstance(epoch, Epoch) and epoch.seconds > 0 for epoch in model.history_)
        assert all(np.isfinite(epoch.loss) for epoch in model.history_)
        assert model.history_[-1].metrics["rmse"] == pytest.approx(
            model.evaluate(parts[1])["rmse"], rel=1e-5
        )

    def test_says_what_callbacks_are_told(self, parts):
        told = []
        model = AutoRec(**SMALL).fit(parts[0], callbacks=[told.append])
        assert told == model.history_

    def test_ends_where_a_callback_says_so(self, parts):
        model = AutoRec(**SMALL).fit(parts[0], callbacks=[lambda epoch: epoch.index == 1])
        assert len(model.history_) == 2
        np.testing.assert_array_equal(
            predict_all(model), predict_all(AutoRec(**{**SMALL, "epochs": 2}).fit(parts[0]))
        )


class TestEarlyStopping:
    SETTINGS = {  # noqa: RUF012
        **SMALL,
        "epochs": 200,
        "learning_rate": 0.02,
        "learning_rate_decay": 1.0,
        "regularization": 0.0,
        "corruption": 0.0,
    }

    def test_goes_back_to_the_best_epoch(self, parts):
        train, test = parts
        model = AutoRec(**self.SETTINGS, patience=3).fit(train, validation=test)
        measured = [epoch.metrics["rmse"] for epoch in model.history_]
        best = int(np.argmin(measured))
        assert len(measured) == best + 4 < 200
        assert model.evaluate(test)["rmse"] == pytest.approx(measured[best], rel=1e-6)
        assert measured[-1] > measured[best]
        settings = {**self.SETTINGS, "epochs": best + 1}
        np.testing.assert_array_equal(
            predict_all(model), predict_all(AutoRec(**settings).fit(train))
        )

    def test_goes_back_also_where_epochs_run_out(self, parts):
        train, test = parts
        model = AutoRec(**{**self.SETTINGS, "epochs": 60}, patience=1000).fit(
            train, validation=test
        )
        assert len(model.history_) == 60
        assert model.evaluate(test)["rmse"] == pytest.approx(
            min(epoch.metrics["rmse"] for epoch in model.history_), rel=1e-6
        )

    def test_can_hold_out_its_own_validation_ratings(self, parts):
        model = AutoRec(**self.SETTINGS, validation_fraction=0.25, patience=2).fit(parts[0])
        assert len(model.history_) < 200
        assert "rmse" in model.history_[0].metrics
        trained_on, _ = train_test_split(parts[0], test_size=0.25, random_state=0)
        rows = reference.table_of(trained_on).T
        mean, *_ = reference.biases(rows, *bias_dampings(rows))
        assert model._mean == pytest.approx(mean, abs=1e-4)

    def test_needs_something_to_measure(self, parts):
        with pytest.raises(ValueError, match=r"patience needs validation data: pass validation"):
            AutoRec(**SMALL, patience=2).fit(parts[0])


class TestInterruption:
    def test_leaves_the_model_as_after_the_last_batch(self, parts):
        def interrupt(epoch):
            if epoch.index == 1:
                raise KeyboardInterrupt

        model = AutoRec(**SMALL)
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0], callbacks=[interrupt])
        expected = AutoRec(**{**SMALL, "epochs": 2}).fit(parts[0])
        np.testing.assert_array_equal(predict_all(model), predict_all(expected))
        assert len(model.history_) == 2

    @pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
    def test_by_ctrl_c_is_between_batches(self, parts):
        model = AutoRec(**{**SMALL, "epochs": 10**9})
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0])
        assert time.perf_counter() - start < 10
        timer.join()
        assert np.isfinite(predict_all(model)).all()
        model.partial_fit(parts[0])

    def test_by_an_exception_of_a_callback_too(self, parts):
        model = AutoRec(**SMALL)
        with pytest.raises(ZeroDivisionError):
            model.fit(parts[0], callbacks=[lambda epoch: 1 / 0])
        assert np.isfinite(predict_all(model)).all()


class TestDivergence:
    @pytest.mark.parametrize("verbose", [False, True])
    def test_is_an_error_that_names_the_epoch_and_what_to_lower(self, parts, verbose):
        model = AutoRec(
            **{**SMALL, "encoder_activation": "identity", "epochs": 100},
            optimizer="sgd",
            learning_rate=10.0,
            verbose=verbose,
        )
        message = r"diverged in epoch \d+, .*(?i:lower) learning_rate \(it is 10\)"
        with pytest.raises(ConvergenceError, match=message):
            model.fit(parts[0])
        with pytest.raises(ValueError, match="is not fitted yet"):
            model.predict(0, 0)
        model.set_params(optimizer="adam", learning_rate=0.001).fit(parts[0])
        assert np.isfinite(predict_all(model)).all()

    def test_seen_by_validation_is_one_too(self, parts):
        model = AutoRec(**{**SMALL, "epochs": 100}, optimizer="sgd", learning_rate=10.0)
        with pytest.raises(ConvergenceError, match=r"diverged in epoch \d+"):
            model.fit(parts[0], validation=parts[1])

    def test_in_pretraining_leaves_no_model(self, parts, monkeypatch):
        model = AutoRec(**{**SMALL, "hidden_units": (5, 3, 5)}, pretraining_epochs=3).fit(parts[0])

        def interrupt(*args, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr("isthmus.models.autorec.inner_layers", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0])
        with pytest.raises(ValueError, match="is not fitted yet"):
            model.predict(0, 0)


class TestPartialFit:
    def test_goes_on_where_fit_stopped(self, parts):
        model = AutoRec(**SMALL, corruption=0).fit(parts[0])
        before = model.evaluate(parts[0])["rmse"]
        assert model.partial_fit(parts[0], epochs=20) is model
        assert [epoch.index for epoch in model.history_] == list(range(24))
        assert model.evaluate(parts[0])["rmse"] < before

    def test_is_fit_where_nothing_was_before(self, parts):
        model = AutoRec(**SMALL).partial_fit(parts[0], epochs=4)
        np.testing.assert_array_equal(
            predict_all(model), predict_all(AutoRec(**SMALL).fit(parts[0]))
        )

    @pytest.mark.parametrize("schedule", ["linear", "exponential"])
    def test_of_single_epochs_is_fit(self, parts, schedule):
        settings = {**SMALL, "learning_rate_schedule": schedule}
        # which has no averages to start anew
        settings |= {"optimizer": "sgd", "learning_rate": 1e-3}
        whole = AutoRec(**settings).fit(parts[0])
        model = AutoRec(**settings)
        for _ in range(4):
            model.partial_fit(parts[0])
        losses = [[epoch.loss for epoch in one.history_] for one in (model, whole)]
        assert losses[0] == losses[1]
        np.testing.assert_array_equal(predict_all(model), predict_all(whole))

    def test_after_a_linear_schedule_has_a_tenth_of_the_rate(self, parts):
        settings = {**SMALL, "optimizer": "sgd", "learning_rate": 1e-3, "epochs": 2}
        one = AutoRec(**{**settings, "learning_rate_schedule": "linear"}).fit(parts[0])
        other = pickle.loads(pickle.dumps(one))
        one.partial_fit(parts[0], epochs=2)
        other.set_params(learning_rate_schedule="exponential", learning_rate_decay=1.0)
        other.set_params(learning_rate=1e-4).partial_fit(parts[0], epochs=2)
        np.testing.assert_array_equal(predict_all(one), predict_all(other))

    def test_learns_new_ratings_and_counts_them_as_seen(self, parts):
        train, test = parts
        both = Ratings.from_matrix(train.to_matrix() + test.to_matrix())
        model = AutoRec(**SMALL).fit(train)
        model.partial_fit(both)
        for user in range(5):
            seen = both.indices[slice(*both.indptr[user : user + 2])]
            assert not set(model.recommend(user, n=45)[0]) & set(seen)

    def test_goes_on_from_a_file(self, parts, tmp_path):
        model = AutoRec(**SMALL).fit(parts[0])
        model.save(tmp_path / "model")
        again = AutoRec.load(tmp_path / "model")
        np.testing.assert_array_equal(
            predict_all(again.partial_fit(parts[0])), predict_all(model.partial_fit(parts[0]))
        )
        assert [epoch.index for epoch in again.history_] == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("orientation", ["item", "user"])
    def test_learns_what_was_folded_in(self, parts, orientation):
        train = parts[0]
        first = train.select(np.repeat(np.arange(60), np.diff(train.indptr)) < 50)
        first = Ratings.from_matrix(first.to_matrix()[:50])
        model = AutoRec(**SMALL, orientation=orientation).fit(first)
        model.fold_in(train.to_matrix()[50:])
        before = predict_all(model)
        model.partial_fit(train.to_matrix(), epochs=3)
        assert not np.array_equal(before[50:], predict_all(model)[50:])
        assert np.isfinite(predict_all(model)).all()

    def test_refuses_other_users_and_items(self, parts):
        model = AutoRec(**SMALL).fit(parts[0])
        with pytest.raises(ValueError, match="X must be a matrix of 60 users x 45 items"):
            model.partial_fit(parts[0].to_matrix()[:50])
        with pytest.raises(ValueError, match="users of X must be among the 60 user ids"):
            model.partial_fit(Ratings.from_matrix(parts[0].to_matrix(), user_ids=range(1, 61)))

    def test_takes_ids_in_any_order(self, parts):
        train = parts[0]
        order = np.random.default_rng(0).permutation(train.n_users)
        other = Ratings.from_matrix(train.to_matrix()[order], user_ids=train.user_ids[order])
        one, two = (
            AutoRec(**SMALL).fit(train).partial_fit(ratings, epochs=2) for ratings in (train, other)
        )
        np.testing.assert_array_equal(predict_all(one), predict_all(two))
        np.testing.assert_array_equal(one.user_ids_, two.user_ids_)


class TestFoldIn:
    @pytest.mark.parametrize("orientation", ["item", "user"])
    def test_encodes_a_new_row_as_one_of_training(self, parts, orientation):
        train = parts[0]
        model = AutoRec(**SMALL, orientation=orientation).fit(train)
        before = predict_all(model)
        X = train.to_matrix()
        if orientation == "user":
            model.fold_in(X[:4])
            np.testing.assert_array_equal(predict_all(model)[-4:], before[:4])
        else:
            model.fold_in(X[:, :4], axis="item")
            np.testing.assert_array_equal(predict_all(model)[:, -4:], before[:, :4])

    @pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
    def test_scales_a_new_row_by_its_own_number_of_ratings(self, parts, power):
        train = parts[0]
        model = AutoRec(**SMALL, orientation="user", row_scaling=power).fit(train)
        mean, factor = train.mean, 1.117 / train.values.std()
        counts = np.diff(train.indptr).astype(np.float64)
        typical = (counts @ counts) / counts.sum()
        rated = [np.array([4]), np.array([1, 4, 9]), np.arange(45)]
        values = [np.array([5.0]), np.array([1.0, 4.0, 2.0]), 1.0 + np.arange(45) % 5]
        indptr = np.cumsum([0, *map(len, rated)])
        new = (np.concatenate(values), np.concatenate(rated), indptr)
        model.fold_in(sparse.csr_array(new, shape=(3, 45)))
        for row, (places, given) in enumerate(zip(rated, values, strict=True), start=60):
            inputs = ((given - mean) * factor + 4.3) * (len(places) / typical) ** -power
            code = sigmoid(inputs @ model.encoder_weights_[places] + model.encoder_bias_) - 0.5
            np.testing.assert_allclose(model.codes_[row], code, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("orientation", ["item", "user"])
    def test_takes_biases_of_what_is_new(self, parts, orientation):
        train = parts[0]
        model = AutoRec(**SMALL, orientation=orientation, clip=False).fit(train)
        table = reference.table_of(train)
        rows = table.T if orientation == "item" else table
        dampings = bias_dampings(rows, orientation)
        mean, row, column = reference.biases(rows, *dampings)
        assert abs(mean - train.mean) > 0.01
        items = row if orientation == "item" else column
        rated, values = np.array([2, 5, 11]), np.array([5.0, 1.0, 4.0])
        model.fold_in(sparse.csr_array((values, rated, [0, 3]), shape=(1, 45)))
        of_users = dampings[1] if orientation == "item" else dampings[0]
        bias = (values - mean - items[rated]).sum() / (3 + of_users)
        row_offset, column_offset = model._trained.offsets
        if orientation == "item":
            assert column_offset[-1] == pytest.approx(bias, abs=1e-4)
        else:
            assert row_offset[-1] == pytest.approx(mean + bias, abs=1e-4)

    def test_regresses_a_new_column_on_the_codes(self, parts):
        train = parts[0]
        model = AutoRec(
            **SMALL, regularization=2.0, clip=False, rating_scale="raw", target_centering="row"
        ).fit(train)
        offset = model._trained.offsets.row
        # by hand: the mean column, and how far levels, the outputs at the mean code, spread
        values = train.to_matrix().toarray()
        seen = np.zeros(values.shape, bool)
        seen[np.repeat(np.arange(train.n_users), np.diff(train.indptr)), train.indices] = True
        W, b = model.decoder_weights_.astype(np.float64), model.decoder_bias_.astype(np.float64)
        center = seen.sum(axis=0) @ model.codes_ / seen.sum()
        mean_weights = seen.sum(axis=1) @ W / seen.sum()
        levels = b + W @ center
        around = (values - offset - levels[:, np.newaxis])[seen]
        known = {
            "mean_weights": mean_weights,
            "mean_bias": levels.mean() - mean_weights @ center,
            "center": center,
            "level_penalty": np.mean(around**2) / levels.var(),
        }
        model.fold_in(train.to_matrix()[[3]])
        rated = train.indices[slice(*train.indptr[3:5])]
        codes = model.codes_[rated].astype(np.float64)
        target = train.values[slice(*train.indptr[3:5])] - offset[rated]
        weights, intercept = reference.ridge(codes, target, 1.0, **known)
        expected = model.codes_ @ weights + intercept + offset
        np.testing.assert_allclose(predict_all(model)[-1], expected, rtol=1e-3)

    def test_of_columns_needs_an_identity_output(self, parts):
        model = AutoRec(**SMALL, decoder_activation="relu").fit(parts[0])
        with pytest.raises(ValueError, match=r'only if its decoder_activation is "identity"'):
            model.fold_in(parts[0].to_matrix()[:1])
        model.fold_in(parts[0].to_matrix()[:, :1], axis="item")


class TestFittedArrays:
    def test_have_the_shapes_that_are_documented(self, parts):
        model = AutoRec(**{**SMALL, "hidden_units": (7, 5)}).fit(parts[0])
        assert model.encoder_weights_.shape == (60, 7)
        assert model.encoder_bias_.shape == (7,)
        assert model.decoder_weights_.shape == (60, 5)
        assert model.decoder_bias_.shape == (60,)
        assert model.codes_.shape == (45, 5)

    def test_cannot_be_written(self, parts):
        model = AutoRec(**SMALL).fit(parts[0])
        for name in ("encoder_weights_", "encoder_bias_", "decoder_weights_", "codes_"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(model, name)[...] = 0

    def test_survive_a_change_of_parameters(self, parts):
        model = AutoRec(**SMALL).fit(parts[0])
        model.set_params(hidden_units=(3,))
        assert np.isfinite(predict_all(model)).all()
        model.partial_fit(parts[0])
        assert model.codes_.shape == (45, 8)


def test_verbose_shows_a_bar_on_stderr(parts, capsys):
    AutoRec(**SMALL, verbose=True).fit(parts[0], validation=parts[1])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "fit: 100%" in shown.err
    assert "epoch=4" in shown.err
    assert "rmse=" in shown.err


def test_quiet_shows_nothing(parts, capfd):
    AutoRec(**SMALL).fit(parts[0], validation=parts[1])
    assert capfd.readouterr() == ("", "")


def test_two_models_train_in_two_threads(parts):
    expected = predict_all(AutoRec(**SMALL).fit(parts[0]))
    models = [AutoRec(**{**SMALL, "num_threads": 2}) for _ in range(2)]
    threads = [threading.Thread(target=model.fit, args=(parts[0],)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model in models:
        np.testing.assert_array_equal(predict_all(model), expected)
