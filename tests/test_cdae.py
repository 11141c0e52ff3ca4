"""CDAE against a slow NumPy version of itself, and its negative sampling."""

import numpy as np
import pytest

from isthmus import CDAE, Ratings, _core, synthetic_ratings

CORRUPTION_STREAM = 1
DRAWN = [4052, 38237, 41160, 58271, 61103, 77388]


class TestNegatives:
    @pytest.mark.parametrize(("items", "n_positives"), [(40, 3), (40, 30), (1000, 20), (5, 4)])
    def test_are_distinct_and_never_positive(self, items, n_positives):
        rng = np.random.default_rng(items)
        positives = np.sort(rng.choice(items, n_positives, replace=False)).astype(np.int32)
        for row in range(20):
            drawn = _core.sample_negatives(7, 2, row, positives, items, 5 * n_positives)
            assert len(drawn) == min(5 * n_positives, items - n_positives)
            assert len(np.unique(drawn)) == len(drawn)
            assert not set(drawn.tolist()) & set(positives.tolist())
            assert (drawn >= 0).all()
            assert (drawn < items).all()
            again = _core.sample_negatives(7, 2, row, positives, items, 5 * n_positives)
            np.testing.assert_array_equal(drawn, again)

    def test_are_the_same_by_every_instruction_set(self):
        drawn = _core.sample_negatives(7, 2, 3, np.array([1, 4, 30], np.int32), 100_000, 6)
        np.testing.assert_array_equal(drawn, DRAWN)

    def test_need_positives_that_ascend(self):
        for positives in ([4, 1], [0, 0], [2, 9], [-1]):
            with pytest.raises(ValueError, match="positives must ascend within the items"):
                _core.sample_negatives(0, 0, 0, np.array(positives, np.int32), 9, 1)

    def test_are_drawn_evenly_and_anew(self):
        positives = np.array([1, 4], np.int32)
        for items, count in ((40, 6), (12, 7)):  # by rejection, and by permutation
            counts = np.zeros(items)
            for epoch in range(3000):
                drawn = _core.sample_negatives(1, epoch, 5, positives, items, count)
                counts[drawn] += 1
            expected = 3000 * count / (items - 2)
            rest = np.delete(counts, positives)
            assert (counts[positives] == 0).all()
            assert np.abs(rest - expected).max() < 5 * np.sqrt(expected)


def activation(name, z):
    return {"identity": z, "sigmoid": 1 / (1 + np.exp(-z)), "tanh": np.tanh(z)}[name]


def slope(name, h):
    return {"identity": np.ones_like(h), "sigmoid": h * (1 - h), "tanh": 1 - h * h}[name]


def reference_epoch(weights, rows, settings, seed, counts=None):
    """An epoch of AdaGrad in float64, batch by batch; changes the weights."""
    n_items = len(weights["encoder.weights"])
    tied = "decoder.weights" not in weights
    output = "encoder.weights" if tied else "decoder.weights"
    state = {name: np.zeros_like(array) for name, array in weights.items()}
    order = _core.shuffle(len(rows), seed, 0)
    total, cells = 0.0, 0
    for begin in range(0, len(order), settings["batch_size"]):
        batch = np.sort(order[begin : begin + settings["batch_size"]])
        gradient = {name: np.zeros_like(array) for name, array in weights.items()}
        for user in batch:
            positives = rows[user]
            negatives = _core.sample_negatives(
                *(seed, 0, int(user), positives, n_items),
                settings["negatives"] * len(positives),
            )
            draws = _core.random_uniform(
                *(seed, CORRUPTION_STREAM, 0, int(user)), positives.astype(np.uint32)
            )
            kept = positives[draws >= settings["corruption"]]
            scale = 1 / (1 - settings["corruption"])
            z = weights["encoder.weights"][kept].sum(axis=0) * scale
            z = z + weights["users"][user] + weights["encoder.bias"][0]
            h = activation(settings["activation"], z)
            chosen = np.concatenate([positives, negatives])
            target = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
            times = np.ones(len(chosen))
            if counts is not None:
                times[: len(positives)] = counts[user]
            score = weights[output][chosen] @ h + weights["decoder.bias"][0, chosen]
            if settings["logistic"]:
                y = activation("sigmoid", score)
                error = times * (y - target)
                total -= np.sum(times * (target * np.log(y) + (1 - target) * np.log(1 - y)))
            else:
                error = 2 * times * (score - target)
                total += np.sum(times * (score - target) ** 2)
            cells += len(chosen)
            dz = (error @ weights[output][chosen]) * slope(settings["activation"], h)
            gradient[output][chosen] += np.outer(error, h)
            gradient["decoder.bias"][0, chosen] += error
            gradient["encoder.weights"][kept] += scale * dz
            gradient["encoder.bias"][0] += dz
            gradient["users"][user] += dz + settings["regularization"] * weights["users"][user]
        share = len(batch) / len(rows)
        for name in {"encoder.weights", output}:
            gradient[name] += settings["regularization"] * share * weights[name]
        for name, array in weights.items():
            state[name] += gradient[name] ** 2
            array -= settings["rate"] * gradient[name] / (np.sqrt(state[name]) + 1e-10)
    return total, cells


@pytest.mark.parametrize("name", ["identity", "sigmoid", "tanh"])
@pytest.mark.parametrize("logistic", [True, False])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("regularization", [0.0, 0.3])
def test_an_epoch_is_that_of_the_reference(name, logistic, tied, regularization):
    check_epoch(name, logistic, tied, regularization, n_items=60, units=7)


@pytest.mark.parametrize("logistic", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_a_weighted_epoch_is_that_of_the_reference(logistic, tied):
    check_epoch("sigmoid", logistic, tied, 0.3, n_items=60, units=7, weighted=True)


@pytest.mark.parametrize("tied", [True, False])
def test_many_items_and_units_are_those_of_the_reference(tied):
    # more items than one block of the core's has, and more units than its registers
    check_epoch("sigmoid", True, tied, 0.0, n_items=1300, units=150)


def make_trainer(model, cells, regularization=0.0):
    return _core.CdaeTrainer(
        model,
        optimizer="adagrad",
        regularization=regularization,
        batch_size=6,
        cells=cells,
        negatives=3,
        corruption=0.4,
        seed=11,
        num_threads=2,
    )


def check_epoch(name, logistic, tied, regularization, n_items, units, weighted=False):
    rng = np.random.default_rng(0)
    rows = [
        np.sort(rng.choice(n_items, size, replace=False)).astype(np.int32)
        for size in rng.integers(1, 25, 19)
    ]
    settings = {
        "activation": name,
        "logistic": logistic,
        "batch_size": 6,
        "negatives": 3,
        "corruption": 0.4,
        "regularization": regularization,
        "rate": 0.05,
    }
    model = _core.Cdae(
        *(len(rows), n_items, units), activation=name, logistic=logistic, tied=tied, seed=11
    )
    weights = {key: array.astype(np.float64) for key, array in model.weights().items()}
    initial = {key: array.copy() for key, array in weights.items()}
    trainer = make_trainer(model, sum(map(len, rows)), regularization)
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    indices = np.concatenate(rows)
    counts = None
    if weighted:
        counts = [(3 * rng.random(len(row))).astype(np.float32) for row in rows]
    given = None if counts is None else np.concatenate(counts)
    loss, cells = trainer.run_epoch(indptr, indices, 0, 0.05, weights=given)
    expected, expected_cells = reference_epoch(weights, rows, settings, 11, counts)
    assert cells == expected_cells
    assert loss == pytest.approx(expected, rel=1e-5)
    for key, array in model.weights().items():
        assert np.abs(weights[key] - initial[key]).max() > 0.01
        np.testing.assert_allclose(array, weights[key], atol=2e-5, err_msg=key)


def test_users_who_were_folded_in_can_be_trained_on(tmp_path):
    ratings = synthetic_ratings(40, 30, 400, random_state=0)
    model = CDAE(hidden_units=6, epochs=2, random_state=0).fit(ratings)
    model.fold_in(Ratings.from_arrays([70], [3], [1]))
    model.save(tmp_path / "model")
    again = CDAE.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(70, range(30)), model.predict(70, range(30)))
    grown = Ratings.from_arrays(
        *(
            np.append(array, new)
            for array, new in zip(ratings.to_arrays()[:3], (70, 3, 1), strict=True)
        ),
        user_ids=model.user_ids_,
        item_ids=model.item_ids_,
    )
    before = model._network.weights()["users"][:40].copy()
    model.partial_fit(grown)
    assert len(model.history_) == 3
    assert len(model._network.weights()["users"]) == 41
    assert 0 < np.abs(model._network.weights()["users"][:40] - before).max() < 0.5


def test_rows_that_do_not_ascend_are_refused():
    model = _core.Cdae(1, 700, 4, activation="sigmoid", logistic=True, tied=False, seed=0)
    trainer = make_trainer(model, cells=2)
    indptr = np.array([0, 2], np.int64)
    for row in ([600, 3], [3, 3]):
        with pytest.raises(ValueError, match="must ascend"):
            trainer.run_epoch(indptr, np.array(row, np.int32), 0, 0.1)


def test_more_negatives_than_there_are_items_are_all_of_them():
    ratings = synthetic_ratings(40, 30, 200, random_state=0)
    losses = [
        CDAE(hidden_units=4, epochs=2, negatives=n, random_state=0).fit(ratings).history_[-1].loss
        for n in (30, 10**30)
    ]
    assert losses[0] == losses[1]
