"""Training over ranks is that of one machine, and what fails on one rank fails on all."""

import dataclasses
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isthmus import (
    AutoRec,
    MultVAE,
    Ratings,
    shard,
    synthetic_ratings,
    train_test_split,
    verify,
    write_ratings,
)
from isthmus._util.arrays import blocks
from isthmus.data._fingerprint import fingerprint
from isthmus.data.shards import Shards
from isthmus.distributed import Communicator, ThreadCommunicator, part_of, run_in_threads
from isthmus.exceptions import ConvergenceError
from isthmus.models import _checkpoints, _rank_receipts

RATINGS = synthetic_ratings(300, 130, 6_000, random_state=0)
USERS = np.repeat(np.arange(300), np.diff(RATINGS.indptr))
WEIGHTS = ("encoder_weights_", "encoder_bias_", "decoder_weights_", "decoder_bias_", "codes_")
QUICK = {
    "hidden_units": (24,),
    "epochs": 3,
    "precision": "float32",
    "num_threads": 1,
    "random_state": 3,
}
SETTINGS = {
    "default": {},
    "bfloat16": {"precision": "bfloat16"},
    "deep": {"hidden_units": (24, 8, 17), "dropout": 0.2, "hidden_regularization": 3.0},
    "rows": {"target_centering": "row", "input_centering": "row", "corruption_kind": "gaussian"},
    "users": {"orientation": "user", "batch_size": 64},
    "raw": {
        "rating_scale": "raw",
        "target_centering": "none",
        "optimizer": "momentum",
        "learning_rate": 1e-4,
        "initial_deviation": 0.02,
        "row_scaling": 0.0,
    },
    "bounded": {"decoder_activation": "sigmoid", "target_centering": "none", "optimizer": "sgd"},
}


def over_ranks(size, parameters=None, ratings=RATINGS, **options):
    """The whole model of a job in threads, with the model of each rank."""
    parameters = {**QUICK, **(parameters or {})}
    axis = "item" if parameters.get("orientation") == "user" else "user"

    def train(comm):
        part = part_of(ratings, comm.rank, comm.size, axis=axis)
        model = AutoRec(**parameters).fit(part, comm=comm, **options)
        return model.gather(comm), model

    results = run_in_threads(size, train)
    assert all(whole is None for whole, _ in results[1:])
    return results[0][0], [model for _, model in results]


def assert_same_bits(a, b):
    for name in WEIGHTS:
        assert_array_equal(getattr(a, name), getattr(b, name), name)
    assert [e.loss for e in a.history_] == [e.loss for e in b.history_]


def assert_close(a, b, tolerance):
    for name in WEIGHTS:
        one, other = getattr(a, name), getattr(b, name)
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max(), name


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("settings", SETTINGS)
def test_ranks_train_as_one_machine(settings, size):
    parameters = SETTINGS[settings]
    one = AutoRec(**{**QUICK, **parameters}).fit(RATINGS)
    whole, _ = over_ranks(size, parameters)
    # the state of another few numbers is rounded the other way in halves
    assert_close(whole, one, 0.02 if settings == "bfloat16" else 5e-5)
    assert whole.evaluate(RATINGS)["rmse"] == pytest.approx(one.evaluate(RATINGS)["rmse"], rel=1e-5)
    losses = [[epoch.loss for epoch in model.history_] for model in (whole, one)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_slices_give_the_same_bits_on_any_number_of_ranks(settings):
    wholes = [over_ranks(size, SETTINGS[settings], slices=6)[0] for size in (1, 2, 3)]
    assert_same_bits(wholes[0], wholes[1])
    assert_same_bits(wholes[0], wholes[2])
    assert wholes[0]._trained.prior.level_penalty == wholes[2]._trained.prior.level_penalty


def test_first_weights_are_those_of_one_machine():
    still = {"learning_rate": 1e-30, "optimizer": "sgd", "epochs": 1, "regularization": 0.0}
    one = AutoRec(**{**QUICK, **still}).fit(RATINGS)
    whole, models = over_ranks(3, still)
    assert_array_equal(whole.encoder_weights_, one.encoder_weights_)
    assert not np.array_equal(models[0].encoder_weights_[:40], models[1].encoder_weights_[:40])


def test_threads_and_ranks_do_not_change_bits_with_slices():
    a, _ = over_ranks(2, {"num_threads": 3}, slices=4)
    b, _ = over_ranks(4, {"num_threads": 1}, slices=4)
    assert_same_bits(a, b)


def test_a_whole_model_is_an_ordinary_one(tmp_path):
    one = AutoRec(**QUICK).fit(RATINGS)
    whole, models = over_ranks(3)
    whole.save(tmp_path / "m")
    loaded = AutoRec.load(tmp_path / "m")
    users, items = RATINGS.user_ids[:20], RATINGS.item_ids[:20]
    np.testing.assert_allclose(loaded.predict(users, items), one.predict(users, items), rtol=1e-5)
    assert_array_equal(loaded.recommend(users, 5)[0], one.recommend(users, 5)[0])
    assert_array_equal(loaded.user_ids_, one.user_ids_)
    new = synthetic_ratings(20, 130, 300, random_state=5)
    new = Ratings.from_matrix(new.to_matrix(), user_ids=new.user_ids + 10_000)
    grown = [model.fold_in(new) for model in (loaded, one)]
    predictions = [model.predict(new.user_ids, items) for model in grown]
    np.testing.assert_allclose(*predictions, rtol=1e-3)
    loaded.partial_fit(RATINGS)
    for model in models:  # each predicts for its own users
        own = model.user_ids_[:5]
        np.testing.assert_allclose(
            model.predict(own, items[:5]), one.predict(own, items[:5]), rtol=1e-5
        )
        with pytest.raises(ValueError, match="must be whole for that"):
            model.save(tmp_path / "part")
        with pytest.raises(ValueError, match="must be whole for that"):
            model.partial_fit(RATINGS.select(np.isin(RATINGS.user_ids, model.user_ids_)[USERS]))


def test_what_is_held_out_and_when_training_stops_does_not_depend_on_ranks():
    parameters = {"validation_fraction": 0.1, "patience": 1, "epochs": 40, "learning_rate": 0.03}
    wholes = [over_ranks(size, parameters, slices=6)[0] for size in (1, 2, 3)]
    assert 1 < len(wholes[0].history_) < 40
    assert [e.metrics for e in wholes[0].history_] == [e.metrics for e in wholes[2].history_]
    assert_same_bits(wholes[0], wholes[1])
    assert_same_bits(wholes[0], wholes[2])


def test_validation_ratings_are_measured_as_on_one_machine():
    train, test = train_test_split(RATINGS, test_size=0.2, random_state=0)
    one = AutoRec(**QUICK).fit(train, validation=test)
    whole, _ = over_ranks(3, ratings=train, validation=test)
    metrics = [[epoch.metrics["rmse"] for epoch in model.history_] for model in (whole, one)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-6)


def test_a_callback_of_one_rank_ends_training_on_all():
    def train(comm):
        def stop(epoch):
            return comm.rank == 2 and epoch.index == 1

        part = part_of(RATINGS, comm.rank, comm.size)
        return len(AutoRec(**QUICK).fit(part, comm=comm, callbacks=[stop]).history_)

    assert run_in_threads(3, train) == [2, 2, 2]


def test_a_loss_that_is_infinite_on_one_rank_ends_training_on_all_at_once():
    def train(comm):
        part = part_of(RATINGS, comm.rank, comm.size)
        model = AutoRec(**{**QUICK, "rating_scale": "raw", "target_centering": "none"})

        def spoil(epoch):
            if comm.rank == 1 and epoch.index == 0:
                model._network.weights()["decoder.bias"][...] = np.inf

        with pytest.raises(ConvergenceError, match="epoch 2, batch 1") as caught:
            model.fit(part, comm=comm, callbacks=[spoil])
        assert not model.__sklearn_is_fitted__()
        return str(caught.value)

    assert len(set(run_in_threads(3, train))) == 1


def test_an_error_of_one_rank_ends_the_others():
    failed = []

    def train(comm):
        def fail(epoch):
            if comm.rank == 1:
                raise OSError("the disk is full")

        part = part_of(RATINGS, comm.rank, comm.size)
        try:
            AutoRec(**QUICK).fit(part, comm=comm, callbacks=[fail])
        except Exception as error:
            failed.append(str(error))
            raise

    with pytest.raises(OSError, match="the disk is full"):
        run_in_threads(3, train)
    others = [message for message in failed if message != "the disk is full"]
    assert len(others) == 2
    assert all("rank 1 of 3 failed" in message for message in others)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_ratings(RATINGS, folder / "r.parquet")
    return {
        axis: shard(folder / "r.parquet", folder / axis, buckets=6, axis=axis)
        for axis in ("user", "item")
    }


@pytest.mark.parametrize("orientation", ["item", "user"])
def test_ranks_share_the_buckets_of_shards(shards, orientation):
    axis = "user" if orientation == "item" else "item"
    parameters = {**QUICK, "orientation": orientation}
    one = AutoRec(**parameters).fit(RATINGS)

    def train(comm):
        model = AutoRec(**parameters).fit(Shards(shards[axis].path), comm=comm, slices=6)
        return model.gather(comm)

    alone = train(ThreadCommunicator())
    assert_close(alone, one, 5e-5)
    for size in (2, 3):
        whole = run_in_threads(size, train)[0]
        assert_same_bits(whole, alone)
        assert_array_equal(whole._seen.indices, one._seen.indices)


def test_string_ids_and_rows_of_one_rank_alone():
    users = np.array([f"u{i:03}" for i in RATINGS.user_ids])
    named = Ratings.from_arrays(
        users[np.repeat(np.arange(300), np.diff(RATINGS.indptr))],
        RATINGS.indices,
        RATINGS.values,
        user_ids=users,
    )

    def train(comm):
        part = part_of(named, comm.rank, comm.size)
        rows = np.repeat(np.arange(part.n_users), np.diff(part.indptr))
        own = Ratings.from_arrays(  # only items that have ratings here, in another order of users
            part.user_ids[rows][::-1], part.item_ids[part.indices][::-1], part.values[::-1]
        )
        return AutoRec(**QUICK).fit(own, comm=comm).gather(comm)

    whole = run_in_threads(2, train)[0]
    one = AutoRec(**QUICK).fit(named)
    assert_array_equal(whole.user_ids_, one.user_ids_)
    assert_close(whole, one, 5e-5)


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"slices": 3}, {}, "slices must be a multiple of the number of ranks, 2, but it was 3"),
        ({"slices": 0}, {}, "slices must be"),
        ({"resume": True}, {}, "resume must come with checkpoint"),
        ({}, {"optimizer": "lbfgs", "corruption": 0, "batch_size": None}, "optimizer must be any"),
        ({}, {"patience": 2}, "patience needs validation data"),
        ({"validation": RATINGS.to_matrix()}, {}, "validation must be Ratings, the same"),
        ({"every": 0}, {}, "every must be a number of epochs, at least 1, or a time"),
        ({"every": "10 minutes"}, {}, "every must be a number of epochs, at least 1, or a time"),
        ({"every": "0.0min"}, {}, "a time above 0 in s, min or h"),
    ],
)
def test_what_makes_no_sense_is_refused_on_all_ranks(options, change, message):
    def train(comm):
        part = part_of(RATINGS, comm.rank, comm.size)
        with pytest.raises((TypeError, ValueError), match=message):
            AutoRec(**{**QUICK, **change}).fit(part, comm=comm, **options)

    run_in_threads(2, train)


def test_parts_and_shards_that_do_not_fit_are_refused_on_all_ranks(shards):
    def refused(X, message, error=ValueError, **options):
        def train(comm):
            given = X(comm) if callable(X) else X
            with pytest.raises(error, match=message):
                AutoRec(**QUICK).fit(given, comm=comm, **options)

        run_in_threads(2, train)

    refused(RATINGS, "each user on one rank alone, but user 0 is on several")
    refused(shards["user"], "slices must be at most as many as buckets, 6, but it", slices=8)
    refused(
        lambda comm: part_of(RATINGS, comm.rank, 2),
        "slices must be at most the number of users, 300, but it was 302",
        slices=302,
    )
    refused(shards["item"], "X must be shards of users, which are the columns")
    refused(RATINGS.to_matrix(), "X must be Shards, or the Ratings of this rank's users", TypeError)
    refused(lambda comm: part_of(RATINGS, 1 - comm.rank, 2), "X must be what part_of", slices=2)
    refused(
        lambda comm: part_of(RATINGS, comm.rank, 2),
        "validation must have users and items of X alone, but 6,000 of its 6,000",
        validation=Ratings.from_matrix(
            RATINGS.to_matrix(), user_ids=RATINGS.user_ids + 1000, item_ids=RATINGS.item_ids
        ),
    )

    def one_alone(comm):
        X = part_of(RATINGS, comm.rank, 2) if comm.rank else "ratings"
        with pytest.raises((TypeError, RuntimeError), match="X must be Shards"):
            AutoRec(**QUICK).fit(X, comm=comm)

    run_in_threads(2, one_alone)

    def differ(comm):
        model = AutoRec(**{**QUICK, "epochs": 2 + comm.rank})
        with pytest.raises(ValueError, match="the same parameters and options"):
            model.fit(part_of(RATINGS, comm.rank, 2), comm=comm)

    run_in_threads(2, differ)
    with pytest.raises(ValueError, match="must come with comm"):
        AutoRec().fit(RATINGS, slices=2)


def test_a_refused_fit_leaves_a_part_what_it_was():
    _, parts = over_ranks(2)
    with pytest.raises(ValueError, match="validation_fraction must"):
        parts[0].set_params(validation_fraction=2.0).fit(RATINGS)
    with pytest.raises(ValueError, match="gather\\(\\) makes a whole one"):
        parts[0].set_params(validation_fraction=None).save("part.safetensors")
    parts[0].fit(RATINGS)
    assert_same_bits(parts[0], AutoRec(**QUICK).fit(RATINGS))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("orientation", ["item", "user"])
def test_a_model_of_ranks_has_the_receipt_of_one_machine(monkeypatch, size, orientation):
    monkeypatch.setattr(_rank_receipts, "blocks", lambda n, size=500: blocks(n, size))
    monkeypatch.setattr(_rank_receipts, "CELLS_AT_ONCE", 70)
    monkeypatch.setattr("isthmus.data._fingerprint.blocks", lambda n: blocks(n, 500))
    users = np.array([f"u{i:03}" for i in range(300)])
    named = Ratings.from_arrays(
        *(users[USERS], RATINGS.indices, RATINGS.values),
        user_ids=np.append(users, "nobody"),
        item_ids=np.arange(140),
    )
    train, test = train_test_split(named, test_size=0.1, random_state=0)
    parameters = {"orientation": orientation, "epochs": 1}
    one = AutoRec(**{**QUICK, **parameters}).fit(train, validation=test).receipt_
    whole, models = over_ranks(size, parameters, ratings=train, validation=test)
    times = {"wall_seconds": 0.0, "processor_seconds": 0.0}
    expected = dataclasses.replace(one, ranks=size, **times)
    assert dataclasses.replace(whole.receipt_, **times) == expected
    assert whole.receipt_.wall_seconds > 0
    assert whole.receipt_.processor_seconds > 0
    assert all(model.receipt_ == whole.receipt_ for model in models)


def test_the_fingerprint_of_held_out_ratings_and_of_shards_is_that_of_all(shards):
    whole, _ = over_ranks(2, {"validation_fraction": 0.2})
    assert whole.receipt_.data == fingerprint(RATINGS)
    for axis, orientation in (("user", "item"), ("item", "user")):

        def train(comm, axis=axis, orientation=orientation):
            model = AutoRec(**{**QUICK, "orientation": orientation, "epochs": 1})
            return model.fit(shards[axis], comm=comm).receipt_

        for receipt in run_in_threads(2, train):
            assert (receipt.data, receipt.buckets) == (fingerprint(RATINGS), 6)
            assert (receipt.users, receipt.items, receipt.ratings) == (300, 130, RATINGS.nnz)


def test_models_of_ranks_are_verified_where_bits_are_fixed(shards, tmp_path):
    path = tmp_path / "m"

    def found(X, **options):
        return verify(path, X, num_threads=1, **options)

    over_ranks(2)[0].save(path)
    assert found(RATINGS).same_data
    assert "2 ranks added up in an order of their own" in str(found(RATINGS))
    over_ranks(1)[0].save(path)
    assert found(RATINGS)
    over_ranks(3, {"patience": 1}, slices=6, validation=RATINGS)[0].save(path)
    assert found(RATINGS, validation=RATINGS)
    assert found(shards["user"], validation=RATINGS)
    assert "without the validation data" in str(found(RATINGS))

    def train(comm):
        return AutoRec(**QUICK).fit(shards["user"], comm=comm, slices=6).gather(comm)

    whole = run_in_threads(2, train)[0]
    whole.save(path)
    assert found(Shards(shards["user"].path))
    assert "without the shards that the model was trained on, of 6" in str(found(RATINGS))
    whole._trained.network.weights()["decoder.weights"][3, 1] += np.float32(1e-6)
    whole.save(path)
    assert found(shards["user"]).same_bits is False


def test_the_program_verifies_what_ranks_have_trained(run, shards, tmp_path):
    path = shards["user"].path
    train = ["train", path, "-o", tmp_path / "m", "--hidden-units", "9", "--epochs", "2"]
    assert run(*train, "--slices", "3")[0] == 0
    code, out, _ = run("verify", tmp_path / "m", path)
    assert code == 0
    assert "Training again gave the same bits" in out
    code, out, _ = run("info", tmp_path / "m")
    assert re.search("receipt slices +3", out)


def test_a_callback_of_ranks_has_no_snapshot():
    def train(comm):
        model = AutoRec(**QUICK)
        part = part_of(RATINGS, comm.rank, comm.size)
        with pytest.raises(ValueError, match="snapshot must not be called while ranks train"):
            model.fit(part, comm=comm, callbacks=[lambda epoch: model.snapshot()])
        model.fit(part, comm=comm)
        assert_array_equal(model.snapshot().decoder_weights_, model.decoder_weights_)

    run_in_threads(1, train)


# Going on


def gone_on(size, model, X=RATINGS, *, axis="user", **options):
    """The whole model of a job whose ranks went on from one, with the model of each rank."""

    def train(comm):
        part = X if isinstance(X, Shards) else part_of(X, comm.rank, comm.size, axis=axis)
        own = pickle.loads(model).partial_fit(part, comm=comm, **options)
        return own.gather(comm), own

    results = run_in_threads(size, train)
    return results[0][0], [own for _, own in results]


@pytest.mark.parametrize("settings", SETTINGS)
def test_ranks_go_on_as_one_machine_and_to_the_bit_with_slices(settings):
    parameters = {**QUICK, **SETTINGS[settings]}
    axis = "item" if settings == "users" else "user"
    model = pickle.dumps(AutoRec(**parameters).fit(RATINGS))
    some = RATINGS.select(np.random.default_rng(0).random(RATINGS.nnz) < 0.7)
    one = pickle.loads(model).partial_fit(some, epochs=2)
    wholes = []
    for size, slices in ((1, None), (3, None), (1, 6), (2, 6), (3, 6)):
        whole, _ = gone_on(size, model, some, axis=axis, epochs=2, slices=slices)
        assert_close(whole, one, 0.05 if settings == "bfloat16" else 5e-5)
        assert whole._mean == pytest.approx(one._mean)
        assert_array_equal(whole._seen.indices, one._seen.indices)
        assert [e.index for e in whole.history_] == list(range(5))
        assert whole.receipt_ == one.receipt_
        wholes.append(whole)
    assert_same_bits(wholes[0], one)
    assert_same_bits(wholes[2], wholes[3])
    assert_same_bits(wholes[2], wholes[4])


def without_empty(ratings):
    return Ratings.from_arrays(*ratings.to_arrays()[:3])


@pytest.mark.parametrize("orientation", ["item", "user"])
def test_ranks_go_on_with_users_and_items_in_a_models_own_order(orientation, tmp_path):
    axis = "user" if orientation == "item" else "item"
    few = without_empty(RATINGS.select((USERS % 3 > 0) & (RATINGS.indices % 4 > 0)))
    users = without_empty(RATINGS.select((USERS % 3 == 0) & (RATINGS.indices % 4 > 0)))
    items = without_empty(RATINGS.select((USERS % 3 > 0) & (RATINGS.indices % 4 == 0)))
    model = AutoRec(**{**QUICK, "orientation": orientation}).fit(few)
    model = pickle.dumps(model.fold_in(users).fold_in(items, axis="item"))
    now = without_empty(RATINGS.select((RATINGS.indices < 120) & (USERS < 290)))
    one = pickle.loads(model).partial_fit(now)
    assert (np.diff(one.user_ids_) < 0).any()
    assert (np.diff(one.item_ids_) < 0).any()
    write_ratings(now, tmp_path / "r.parquet")
    shards = shard(tmp_path / "r.parquet", tmp_path / "s", buckets=6, axis=axis)
    for X in (now, shards):
        wholes = [gone_on(size, model, X, axis=axis, slices=6)[0] for size in (1, 2, 3)]
        assert_array_equal(wholes[1].user_ids_, one.user_ids_)
        assert_array_equal(wholes[1]._seen.indptr, one._seen.indptr)
        assert_array_equal(wholes[1]._seen.indices, one._seen.indices)
        assert_close(wholes[1], one, 5e-5)
        assert_same_bits(wholes[0], wholes[1])
        assert_same_bits(wholes[0], wholes[2])


def test_ranks_go_on_from_what_they_trained(tmp_path):
    over_ranks(2, slices=6)[0].save(tmp_path / "m")
    model = pickle.dumps(AutoRec.load(tmp_path / "m"))
    parameters = {"validation": RATINGS, "callbacks": [lambda epoch: epoch.index == 4]}
    whole, models = gone_on(3, model, epochs=8, slices=6, **parameters)
    assert len(whole.history_) == 5
    assert list(whole.history_[-1].metrics) == ["rmse"]
    assert whole.receipt_.steps == ("fit", "partial_fit")
    assert (whole.receipt_.ranks, whole.receipt_.slices) == (2, 6)
    whole.save(tmp_path / "m")
    assert "after fit there was partial_fit" in str(verify(tmp_path / "m", RATINGS))
    assert sum(len(own.user_ids_) for own in models) == 300


def test_a_model_that_is_not_fitted_begins_over_ranks_with_partial_fit():
    whole, _ = gone_on(2, pickle.dumps(AutoRec(**QUICK)), epochs=2, slices=6)
    assert_same_bits(whole, over_ranks(2, {"epochs": 3}, slices=6, callbacks=[stop_at_2])[0])


def stop_at_2(epoch):
    return epoch.index == 1


def test_ranks_that_cannot_go_on_are_refused_and_keep_their_models():
    model = pickle.dumps(AutoRec(**QUICK).fit(RATINGS))

    def refused(message, X=RATINGS, change=lambda own, comm: own, **options):
        def train(comm):
            own = change(pickle.loads(model), comm)
            with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
                own.partial_fit(part_of(X, comm.rank, comm.size), comm=comm, **options)
            assert own.__sklearn_is_fitted__()

        run_in_threads(2, train)

    more = Ratings.from_matrix(RATINGS.to_matrix(), user_ids=RATINGS.user_ids + 1)
    refused("users of X must be among the 300 user ids of the ratings, but 300 is not", more)
    refused("epochs must be an integer of at least 1", epochs=0)
    refused("weights must be None with comm", weights=RATINGS)
    refused("slices must be a multiple of the number of ranks, 2, but it was 3", slices=3)

    def trained_on(own, comm):
        return own.partial_fit(RATINGS) if comm.rank else own

    refused("the same model, parameters and options, but they differ", change=trained_on)

    def parts(comm):
        part = part_of(RATINGS, comm.rank, comm.size)
        own = AutoRec(**QUICK).fit(part, comm=comm)
        with pytest.raises(ValueError, match="must be whole for that"):
            own.partial_fit(part, comm=comm)

    run_in_threads(2, parts)
    with pytest.raises(ValueError, match="slices must come with comm"):
        pickle.loads(model).partial_fit(RATINGS, slices=2)


# Checkpoints


class Broken(Exception):
    pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("slices", [None, 6])
@pytest.mark.parametrize(("patience", "last"), [(2, 3), (1, 0)])  # the latter ends after epoch 1
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_ended(
    tmp_path, slices, precision, patience, last
):
    parameters = {
        "epochs": 6,
        "precision": precision,
        "validation_fraction": 0.1,
        "patience": patience,
        "learning_rate": 0.012,
    }

    def train(size, **options):
        return over_ranks(size, parameters, slices=slices, **options)[0]

    unbroken = train(2)
    assert len(unbroken.history_) == (6 if patience == 2 else 2)
    for size in (2, 3):
        folder = tmp_path / str(size)

        def fail(comm, folder=folder):
            def end(epoch):
                if epoch.index == last and comm.rank == 1:
                    raise Broken

            part = part_of(RATINGS, comm.rank, comm.size)
            model = AutoRec(**{**QUICK, **parameters})
            model.fit(
                part,
                comm=comm,
                slices=slices,
                callbacks=[end],
                checkpoint=folder,
                every=1 + (last == 3),
            )

        with pytest.raises((Broken, RuntimeError)):
            run_in_threads(2, fail)
        assert [path.name for path in folder.iterdir()] == [f"epoch-{last + 1:06}"]
        resumed = train(size, checkpoint=folder, resume=True)
        if size == 2 or slices:
            assert_same_bits(resumed, unbroken)
        else:
            assert_close(resumed, unbroken, 1e-4 if precision == "float32" else 0.05)
        metrics = [[e.metrics["rmse"] for e in m.history_] for m in (resumed, unbroken)]
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)


def test_checkpoints_come_after_so_many_minutes_of_rank_0(monkeypatch, tmp_path):
    clock = threading.local()
    monkeypatch.setattr(_checkpoints, "monotonic", lambda: getattr(clock, "now", 0.0))

    def train(comm):
        seen = []

        def pass_time(epoch):
            seen.append([path.name for path in tmp_path.iterdir()])
            clock.now = (epoch.index + 1) * (1e6 if comm.rank else 4 * 60.0)

        part = part_of(RATINGS, comm.rank, comm.size)
        model = AutoRec(**{**QUICK, "epochs": 8})
        model.fit(part, comm=comm, checkpoint=tmp_path, every="10min", callbacks=[pass_time])
        return seen

    # after epoch 4, in which 12 minutes have passed, and 12 minutes later
    expected = [*([[]] * 3), *([["epoch-000004"]] * 3), *([["epoch-000007"]] * 2)]
    assert run_in_threads(2, train) == [expected, expected]


@pytest.mark.parametrize(
    ("every", "interval"),
    [(3, (3, False)), ("90s", (90, True)), ("1.5min", (90, True)), ("2h", (7200, True))],
)
def test_an_interval_is_epochs_or_a_time(every, interval):
    assert _checkpoints.check_every(every) == interval


def test_a_receipt_counts_the_ranks_that_came_before(tmp_path):
    parameters = {"epochs": 2}
    over_ranks(3, parameters, checkpoint=tmp_path, slices=6)
    whole, _ = over_ranks(2, parameters, checkpoint=tmp_path, slices=6, resume=True)
    assert (whole.receipt_.ranks, whole.receipt_.slices) == (3, 6)


def test_a_checkpoint_of_something_else_or_a_damaged_one_is_refused(tmp_path):
    folder = tmp_path / "c"
    over_ranks(2, checkpoint=folder)

    def refused(message, change=None, ratings=RATINGS, **options):
        def train(comm):
            part = part_of(ratings, comm.rank, comm.size)
            with pytest.raises((ValueError, RuntimeError), match=message):
                AutoRec(**{**QUICK, **(change or {})}).fit(
                    part, comm=comm, checkpoint=folder, **options
                )

        run_in_threads(2, train)

    refused("checkpoint must be a folder without checkpoints unless resume=True")
    refused("learning_rate must be as in the checkpoint", {"learning_rate": 0.1}, resume=True)
    refused("random_state must be as in the checkpoint", {"random_state": 4}, resume=True)
    fewer = train_test_split(RATINGS, test_size=0.1, random_state=0)[0]
    refused("ratings of the rows must be as in the checkpoint", ratings=fewer, resume=True)
    (file,) = folder.glob("epoch-*/rank-00001.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    refused("rank-00001.safetensors cannot be read as a checkpoint|rank 1", resume=True)
    (manifest,) = folder.glob("epoch-*/manifest.json")
    manifest.write_text("{}")
    refused("manifest.json cannot be read as a checkpoint", resume=True)


# Engines

PROGRAM = """
import os, signal, sys
from isthmus import AutoRec
from isthmus.data.shards import Shards
from isthmus.distributed import MPICommunicator, TorchCommunicator

engine, shards, output, checkpoint, kill = sys.argv[1:]
comm = MPICommunicator() if engine == "mpi" else TorchCommunicator()
model = AutoRec(
    hidden_units=(24,), epochs=3, precision="float32", num_threads=1, random_state=3
)

exchanged = 0
exchange = comm.alltoall

def exchange_or_die(array):  # in the middle of an epoch
    global exchanged
    exchanged += array.dtype == "float32"
    if kill and exchanged == int(kill) and comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return exchange(array)

comm.alltoall = exchange_or_die
options = {"checkpoint": checkpoint, "resume": True} if checkpoint else {}
model.fit(Shards(shards), comm=comm, slices=6, **options)
whole = model.gather(comm)
if whole is not None:
    whole.save(output)
"""


def run(command, **more):
    env = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=400)


def launcher(engine, size):
    if engine == "mpi":
        mpiexec = which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if find_spec("mpi4py") is None or mpiexec is None:
            pytest.skip("there is no mpi4py with an mpiexec")
        mpich = "HYDRA" in run([mpiexec, "--version"]).stdout
        more = [] if mpich else ["--oversubscribe", "--bind-to", "none", "--allow-run-as-root"]
        return [mpiexec, *more, "-n", str(size), sys.executable]
    if find_spec("torch") is None:
        pytest.skip("there is no torch")
    torchrun = ["-m", "torch.distributed.run", "--standalone"]  # on a free port
    return [sys.executable, *torchrun, "--nproc-per-node", str(size)]


@pytest.fixture(scope="module")
def alone(shards):
    return AutoRec(**QUICK).fit(shards["user"], comm=ThreadCommunicator(), slices=6)


@pytest.mark.parametrize("engine", ["mpi", "torch"])
def test_engines_train_to_the_bit(engine, shards, alone, tmp_path):
    command = launcher(engine, 2)
    (tmp_path / "p.py").write_text(PROGRAM)
    arguments = [engine, str(shards["user"].path), str(tmp_path / "m"), "", ""]
    done = run([*command, str(tmp_path / "p.py"), *arguments])
    assert done.returncode == 0, done.stderr
    assert_same_bits(AutoRec.load(tmp_path / "m"), alone)


@pytest.mark.parametrize("engine", ["mpi", "torch"])
def test_a_killed_rank_ends_the_job_and_the_job_goes_on(engine, shards, alone, tmp_path):
    command = launcher(engine, 2)
    (tmp_path / "p.py").write_text(PROGRAM)
    arguments = [engine, str(shards["user"].path), str(tmp_path / "m"), str(tmp_path / "c")]
    # of an epoch's 4 x 8 batches
    done = run([*command, str(tmp_path / "p.py"), *arguments, "50"])
    assert done.returncode != 0
    assert not (tmp_path / "m").exists()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["epoch-000001"]
    done = run([*command, str(tmp_path / "p.py"), *arguments, ""])
    assert done.returncode == 0, done.stderr
    assert_same_bits(AutoRec.load(tmp_path / "m"), alone)


def test_the_program_trains_by_mpi(shards, tmp_path):
    program = [*launcher("mpi", 3), "-m", "mpi4py", "-m", "isthmus", "train"]
    options = ["--mpi", "-o", str(tmp_path / "m"), "--hidden-units", "24", "--epochs", "3"]
    options += ["--precision", "float32", "--random-state", "3", "--num-threads", "1"]
    done = run([*program, str(shards["user"].path), *options, "--slices", "6"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training AutoRec") == 1
    one = AutoRec(**QUICK).fit(shards["user"], comm=ThreadCommunicator(), slices=6)
    assert_same_bits(AutoRec.load(tmp_path / "m"), one)
    done = run([*program, str(shards["user"].path), *options, "--slices", "4"])
    assert done.returncode == 1
    assert done.stderr.count("isthmus: error: slices must be a multiple of the number of") == 1


def test_the_program_trains_the_vae_by_mpi(shards, tmp_path):
    program = [*launcher("mpi", 2), "-m", "mpi4py", "-m", "isthmus", "train"]
    options = ["--model", "mult-vae", "--mpi", "--slices", "2", "-o", str(tmp_path / "m")]
    options += ["--hidden-units", "24", "--latent-units", "8", "--epochs", "3"]
    options += ["--random-state", "3", "--num-threads", "1", "--precision", "float32"]
    done = run([*program, str(shards["item"].path), *options])
    assert done.returncode == 0, done.stderr
    model = MultVAE(**QUICK, latent_units=8)
    model.fit(shards["item"], comm=ThreadCommunicator(), slices=2)
    trained = MultVAE.load(tmp_path / "m")
    assert_array_equal(trained._codes, model._codes)
    for name, weights in trained._network.weights().items():
        assert_array_equal(weights, model._network.weights()[name], name)
    done = run([*program, str(shards["user"].path), *options])
    assert done.returncode == 1
    assert "X must be shards of items, which are the columns of this model" in done.stderr


def test_the_program_goes_on_from_a_checkpoint_in_one_process(run, tmp_path):
    write_ratings(RATINGS, tmp_path / "r.parquet")
    train = ["train", tmp_path / "r.parquet", "-o", tmp_path / "m", "--hidden-units", "9"]
    train += ["--epochs", "3", "--random-state", "3", "--checkpoint", tmp_path / "c"]
    assert run(*train)[0] == 0
    first = AutoRec.load(tmp_path / "m")
    code, _, error = run(*train)
    assert code == 1
    assert "checkpoint must be a folder without checkpoints unless" in error
    code, out, _ = run(*train, "--resume")
    assert code == 0
    assert "3 epochs in" in out
    assert_same_bits(AutoRec.load(tmp_path / "m"), first)
    code, _, error = run(*train[:-2], "--resume")
    assert code == 2
    assert "--resume must come with --checkpoint" in error
    code, _, error = run(*train[:-2], "--every", "2")
    assert code == 2
    assert "--every must come with --checkpoint" in error
    code, _, error = run(*train, "--every", "10 min")
    assert code == 2
    assert "a time above 0 in s, min or h" in " ".join(error.split())
    assert run(*train, "--every", "10min", "--resume")[0] == 0
    code, _, error = run(*train, "--model", "biased-mf")
    assert code == 2


def test_the_program_refuses_a_folder_that_ranks_do_not_use(run, shards, tmp_path):
    path = shards["user"].path
    train = ["train", path, "-o", tmp_path / "m", "--slices", "2", "--scratch", tmp_path]
    code, _, error = run(*train)
    assert code == 2
    assert "--scratch must not come with --mpi, --slices or" in " ".join(error.split())


def test_a_rank_that_is_bound_to_one_cpu_is_warned_of(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def train(comm):
        part = part_of(RATINGS, comm.rank, comm.size)
        return AutoRec(**{**QUICK, "num_threads": 0}).fit(part, comm=comm)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_in_threads(2, train)
    assert [str(w.message) for w in caught if "--bind-to none" in str(w.message)] == [
        "num_threads=0 means 1 here, as this process is bound to one CPU of 8; with Open MPI, "
        "mpiexec --bind-to none lifts that."
    ]


def test_threads_are_a_communicator():
    def work(comm: Communicator):
        array = np.arange(4, dtype=np.float64) + comm.rank
        comm.allreduce(array)
        sent = np.full((3, 2), comm.rank, np.float32)
        return array.tolist(), comm.alltoall(sent)[:, 0].tolist(), comm.gather(comm.rank)

    first, *others = run_in_threads(3, work)
    assert first == ([3.0, 6.0, 9.0, 12.0], [0.0, 1.0, 2.0], [0, 1, 2])
    assert all(other == (*first[:2], None) for other in others)


@pytest.mark.parametrize("axis", ["user", "item"])
def test_parts_are_all_of_the_ratings(axis):
    parts = [part_of(RATINGS, rank, 3, axis=axis) for rank in range(3)]
    assert sum(part.nnz for part in parts) == RATINGS.nnz
    for part in parts:
        rows = np.repeat(part.user_ids, np.diff(part.indptr))
        cells = RATINGS.cell_index(rows, part.item_ids[part.indices])
        assert_array_equal(RATINGS.values[cells], part.values)
    assert max(part.nnz for part in parts) < 1.1 * min(part.nnz for part in parts)
    with pytest.raises(ValueError, match="size must be at most the number of"):
        part_of(RATINGS, 0, 1000, axis=axis)
