"""Mult-DAE and Mult-VAE over ranks are those of one machine."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isthmus import (
    MultDAE,
    MultVAE,
    Ratings,
    hold_out_users,
    shard,
    synthetic_ratings,
    train_test_split,
    verify,
    write_ratings,
)
from isthmus.data.shards import Shards
from isthmus.distributed import ThreadCommunicator, part_of, run_in_threads
from isthmus.exceptions import ConvergenceError

RATINGS = synthetic_ratings(300, 130, 6_000, random_state=0)
QUICK = {
    "hidden_units": (24,),
    "epochs": 3,
    "batch_size": 32,
    "precision": "float32",
    "num_threads": 1,
    "random_state": 3,
}
SETTINGS = {
    "dae": (MultDAE, {}),
    "deep dae": (MultDAE, {"hidden_units": (24, 8, 17), "regularization": 0.01}),
    "gaussian": (MultDAE, {"likelihood": "gaussian", "optimizer": "sgd", "learning_rate": 0.01}),
    "bernoulli": (MultDAE, {"likelihood": "bernoulli", "weights": "log1p"}),
    "vae": (MultVAE, {"latent_units": 7}),
    "bfloat16": (MultVAE, {"latent_units": 7, "precision": "bfloat16"}),
    "deep vae": (MultVAE, {"latent_units": 7, "decoder_units": None, "optimizer": "adagrad"}),
    "weighed": (MultVAE, {"latent_units": 7, "weights": "values", "batch_size": "auto"}),
}
VAE = SETTINGS["vae"]


def fitted(settings, ratings=RATINGS, **options):
    kind, parameters = settings
    return kind(**{**QUICK, **parameters}).fit(ratings, **options)


def over_ranks(size, settings, ratings=RATINGS, **options):
    """The whole model of a job in threads, with the model of each rank."""

    def train(comm):
        part = part_of(ratings, comm.rank, comm.size, axis="item")
        model = fitted(settings, part, comm=comm, **options)
        return model.gather(comm), model

    results = run_in_threads(size, train)
    assert all(whole is None for whole, _ in results[1:])
    return results[0][0], [model for _, model in results]


def arrays(model):
    return {**model._network.weights(), "codes": model._codes}


def losses(model):
    return [epoch.loss for epoch in model.history_]


def assert_same_bits(a, b):
    one, other = arrays(a), arrays(b)
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert_array_equal(array, other[name], name)
    assert losses(a) == losses(b)
    assert [e.metrics for e in a.history_] == [e.metrics for e in b.history_]


def assert_close(a, b, tolerance=5e-5):
    one, other = arrays(a), arrays(b)
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert np.abs(array - other[name]).max() <= tolerance * np.abs(array).max(), name
    assert losses(a) == pytest.approx(losses(b), rel=1e-6)


@pytest.mark.parametrize("name", SETTINGS)
def test_ranks_train_as_one_machine(name):
    one = fitted(SETTINGS[name])
    assert losses(one)[-1] < losses(one)[0]
    assert_same_bits(over_ranks(1, SETTINGS[name])[0], one)
    for size in (2, 3):
        # a product is rounded the other way in halves
        tolerance = 2e-3 if name == "bfloat16" else 5e-5
        assert_close(over_ranks(size, SETTINGS[name])[0], one, tolerance)


@pytest.mark.parametrize("name", SETTINGS)
def test_slices_give_the_same_bits_on_any_number_of_ranks(name):
    alone, *others = (over_ranks(size, SETTINGS[name], slices=6)[0] for size in (1, 2, 3))
    for other in others:
        assert_same_bits(other, alone)
    kind, parameters = SETTINGS[name]
    threads = (kind, {**parameters, "num_threads": 3})
    assert_same_bits(over_ranks(2, threads, slices=6)[0], alone)
    assert_close(alone, fitted(SETTINGS[name]), 2e-3 if name == "bfloat16" else 5e-5)


def test_items_of_many_blocks():
    ratings = synthetic_ratings(200, 2_500, 9_000, random_state=1)
    # Adam would make much of the rounding of gradients that are nearly 0
    settings = (MultVAE, {"latent_units": 7, "optimizer": "sgd", "learning_rate": 0.1})
    one = fitted(settings, ratings)
    assert losses(one)[-1] < losses(one)[0]
    for options in {}, {"slices": 4}:
        whole, _ = over_ranks(2, settings, ratings, **options)
        assert_close(whole, one, 1e-5)


def test_first_weights_are_those_of_one_machine():
    still = (MultVAE, {"latent_units": 7, "learning_rate": 1e-30, "optimizer": "sgd", "epochs": 1})
    one = fitted(still)
    for options in {}, {"slices": 9}:
        whole, models = over_ranks(3, still, **options)
        for name, array in one._network.weights().items():
            if name.endswith("weights"):
                assert_array_equal(whole._network.weights()[name], array, name)
        own = models[0]._network.weights()["encoder.weights"]
        assert not np.array_equal(own, one._network.weights()["encoder.weights"][: len(own)])


def test_ranks_share_the_buckets_of_shards(tmp_path):
    write_ratings(RATINGS, tmp_path / "r.parquet")
    path = shard(tmp_path / "r.parquet", tmp_path / "s", buckets=6, axis="item").path

    def train(comm):
        return fitted(VAE, Shards(path), comm=comm, slices=6).gather(comm)

    alone = train(ThreadCommunicator())
    assert_close(alone, fitted(VAE))
    for size in (2, 3):
        whole = run_in_threads(size, train)[0]
        assert_same_bits(whole, alone)
        assert_array_equal(whole._seen.indices, RATINGS.indices)


def test_a_whole_model_is_an_ordinary_one(tmp_path):
    one = fitted(VAE)
    whole, models = over_ranks(3, VAE, slices=3)
    whole.save(tmp_path / "m")
    loaded = MultVAE.load(tmp_path / "m")
    users, items = RATINGS.user_ids[:20], RATINGS.item_ids[:20]
    assert_array_equal(loaded.recommend(users, 5)[0], one.recommend(users, 5)[0])
    np.testing.assert_allclose(loaded.predict(users, items), one.predict(users, items), rtol=1e-4)
    new = synthetic_ratings(20, 130, 300, random_state=5).to_matrix()
    assert_array_equal(loaded.recommend(ratings=new, n=5)[0], one.recommend(ratings=new, n=5)[0])
    loaded.partial_fit(RATINGS)
    one.partial_fit(RATINGS)
    assert_close(loaded, one)
    assert loaded._steps == one._steps == 4 * 10
    for rank, model in enumerate(models):  # each predicts for its own items
        part = part_of(RATINGS, rank, 3, axis="item")
        own = model.item_ids_[:5]
        np.testing.assert_allclose(
            model.predict(users[:5], own), whole.predict(users[:5], own), rtol=1e-6
        )
        for ask in (
            lambda model=model: model.save(tmp_path / "part"),
            lambda model=model, part=part: model.partial_fit(part),
            lambda model=model: model.recommend(ratings=new[:, : model._seen.shape[1]]),
        ):
            with pytest.raises(ValueError, match="must be whole for that"):
                ask()
    models[0].fit(RATINGS)
    assert_same_bits(models[0], fitted(VAE))


def test_the_receipt_of_ranks_is_that_of_one_machine_and_trains_the_same_bits(tmp_path):
    split = hold_out_users(RATINGS, test_users=60, random_state=0)
    one = fitted(VAE, split.train, validation=split.test)
    whole, _ = over_ranks(2, VAE, split.train, validation=split.test, slices=2)
    assert (whole.receipt_.ranks, whole.receipt_.slices) == (2, 2)
    for name in ("data", "validation", "users", "items", "ratings", "seed"):
        assert getattr(whole.receipt_, name) == getattr(one.receipt_, name), name
    whole.save(tmp_path / "m")
    assert verify(tmp_path / "m", split.train, validation=split.test)


# Validation


@pytest.mark.parametrize("weights", [None, "values"])
def test_users_who_are_held_out_are_measured_as_on_one_machine(weights):
    split = hold_out_users(RATINGS, test_users=60, random_state=0)
    settings = (MultVAE, {"latent_units": 7, "weights": weights})
    one = fitted(settings, split.train, validation=split.test)
    wholes = [
        over_ranks(size, settings, split.train, validation=split.test, slices=6)[0]
        for size in (1, 2, 3)
    ]
    found = [[epoch.metrics for epoch in model.history_] for model in (one, *wholes)]
    assert found[1] == found[2] == found[3]
    for there, here in zip(found[0], found[1], strict=True):
        assert list(there) == list(here) == ["ndcg@10"]
        assert here["ndcg@10"] == pytest.approx(there["ndcg@10"], rel=1e-3)
    assert len({metrics["ndcg@10"] for metrics in found[1]}) == 3


@pytest.mark.parametrize("metric", ["recall@20", "auc"])
def test_further_items_of_known_users_are_measured_as_on_one_machine(metric):
    train, test = train_test_split(RATINGS, test_size=0.2, random_state=0)
    test = test.select(test.user_ids[np.repeat(np.arange(300), np.diff(test.indptr))] < 200)
    settings = (MultDAE, {"validation_metric": metric})
    one = fitted(settings, train, validation=test)
    whole, _ = over_ranks(3, settings, train, validation=test)
    metrics = [[epoch.metrics[metric] for epoch in model.history_] for model in (whole, one)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-3)


def test_what_is_held_out_and_when_training_stops_does_not_depend_on_ranks():
    settings = (
        MultVAE,
        {
            "latent_units": 7,
            "validation_fraction": 0.2,
            "patience": 1,
            "epochs": 40,
            "learning_rate": 0.03,
        },
    )
    alone, *others = (over_ranks(size, settings, slices=6)[0] for size in (1, 2, 3))
    assert 1 < len(alone.history_) < 40
    first = alone.history_[:-1]  # the epoch before the last was the best
    assert max(alone.history_, key=lambda epoch: epoch.metrics["ndcg@10"]).index == first[-1].index
    for other in others:
        assert_same_bits(other, alone)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"sampled_items": 20}, {}, "sampled_items must be None with comm, where each rank has"),
        ({"patience": 2}, {}, "patience needs validation data"),
        ({}, {"validation": RATINGS.to_matrix()}, "validation must be Ratings, the same on all"),
        ({}, {"validation": RATINGS}, "validation must hold nothing that is in X, but 6,000"),
        (
            {"weights": "values"},
            {"ratings": Ratings.from_arrays([1, 2, 3], [1, 2, 3], [1, -2, 3])},
            "X, with weights='values', must be at least 0 and not all 0, but the lowest is -2",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_on_all_ranks(change, options, message):
    options = dict(options)
    ratings = options.pop("ratings", RATINGS)

    def train(comm):
        part = part_of(ratings, comm.rank, comm.size, axis="item")
        model = MultDAE(**{**QUICK, **change})
        with pytest.raises((TypeError, ValueError), match=message):
            model.fit(part, comm=comm, **options)

    run_in_threads(2, train)


def test_validation_users_must_fit():
    split = hold_out_users(RATINGS, test_users=60, random_state=0)
    fold_in, test = split.test
    other = Ratings.from_matrix(
        test.to_matrix(), user_ids=test.user_ids, item_ids=test.item_ids + 1_000
    )
    fewer = fold_in.select(np.arange(fold_in.nnz) < 500)

    def refused(validation, message, **change):
        def train(comm):
            part = part_of(split.train, comm.rank, comm.size, axis="item")
            with pytest.raises((TypeError, ValueError), match=message):
                MultDAE(**QUICK, **change).fit(
                    part, comm=comm, validation=split.test._replace(**validation)
                )

        run_in_threads(2, train)

    refused({"test": test.to_matrix()}, "validation.test must be Ratings, the same on all ranks")
    refused({"test": other}, f"validation must have items of X alone, but {other.nnz:,} of its")
    refused({"test": fold_in}, "validation.test must hold nothing that is in validation.fold_in")
    refused(
        {"fold_in": Ratings.from_matrix(fewer.to_matrix(), user_ids=fewer.user_ids + 5_000)},
        "validation.fold_in must have the users of test in the same order",
    )
    below = Ratings.from_matrix(
        -fold_in.to_matrix(), user_ids=fold_in.user_ids, item_ids=fold_in.item_ids
    )
    message = "validation.fold_in must be at least 0 with weights='log1p', but the lowest is -5"
    refused({"fold_in": below}, message, weights="log1p")


# Faults


def test_a_loss_that_is_infinite_on_one_rank_ends_training_on_all_at_once():
    def train(comm):
        model = MultVAE(**QUICK, latent_units=7)

        def spoil(epoch):
            if comm.rank == 1 and epoch.index == 0:
                model._network.weights()["decoder.bias"][...] = np.inf

        part = part_of(RATINGS, comm.rank, comm.size, axis="item")
        with pytest.raises(ConvergenceError, match="epoch 2, batch 1") as caught:
            model.fit(part, comm=comm, callbacks=[spoil])
        assert not model.__sklearn_is_fitted__()
        return str(caught.value)

    assert len(set(run_in_threads(3, train))) == 1


class Broken(Exception):
    pass


@pytest.mark.parametrize("slices", [None, 6])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_ended(tmp_path, slices):
    split = hold_out_users(RATINGS, test_users=60, random_state=0)
    settings = (MultVAE, {"latent_units": 7, "epochs": 6, "patience": 3, "annealing_steps": 40})
    options = {"slices": slices, "validation": split.test}
    unbroken, _ = over_ranks(2, settings, split.train, **options)
    for size in (2, 3):
        folder = tmp_path / str(size)

        def fail(comm, folder=folder):
            def end(epoch):
                if epoch.index == 3 and comm.rank == 1:
                    raise Broken

            part = part_of(split.train, comm.rank, comm.size, axis="item")
            more = {"checkpoint": folder, "every": 2, "callbacks": [end]}
            fitted(settings, part, comm=comm, **options, **more)

        with pytest.raises((Broken, RuntimeError)):
            run_in_threads(size, fail)
        assert [path.name for path in folder.iterdir()] == ["epoch-000004"]
        resumed, _ = over_ranks(
            5 - size, settings, split.train, checkpoint=folder, resume=True, **options
        )
        if slices:
            assert_same_bits(resumed, unbroken)
        else:
            assert_close(resumed, unbroken)
        assert resumed._steps == unbroken._steps


# What crosses the network


class Counting(ThreadCommunicator):
    """Counts the floats of a batch's sums."""

    def __init__(self, comm):
        self._shared, self.rank, self.size = comm._shared, comm.rank, comm.size
        self.sums = []

    def allreduce(self, array):
        if array.dtype == np.float32:
            self.sums.append(array.shape)
        super().allreduce(array)


def test_a_batch_sums_two_blocks_and_three_numbers_a_row_and_rank():
    def train(comm):
        counting = Counting(comm)
        part = part_of(RATINGS, comm.rank, comm.size, axis="item")
        settings = (MultVAE, {"hidden_units": (600,), "latent_units": 200, "epochs": 1})
        fitted(settings, part, comm=counting)
        return counting.sums

    for sums in run_in_threads(2, train):
        # as wide as rows of the core are: an odd number of cache lines
        assert sums[:3] == [(32, 624), (32, 16), (32, 208)]
        assert len(sums) == 3 * 10 + 10  # and the codes of all rows
