import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from core_fixtures import (
    assert_close,
    assert_weights_close,
    core_model,
    core_rows,
    core_trainer,
    random_rows,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from reference import ACTIVATIONS, Rows

from isthmus import _core

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)
ON_EVERY_ISA = pytest.mark.parametrize("isa", _core.available())
OPTIMIZERS = {"sgd": 2e-3, "momentum": 5e-4, "adagrad": 0.05, "adam": 0.01}  # learning rates
# Adagrad and Adam divide by the gradient's size, and so blow up its rounding where it is small.
TOLERANCES = {"sgd": 1e-5, "momentum": 1e-5, "adagrad": 1e-4, "adam": 1e-4, "rprop": 1e-5}
HIDDEN = [(7,), (20, 9), (5, 16, 33)]
CORRUPTIONS = [("none", 0.0), ("mask", 0.4), ("gaussian", 0.3)]


def ratings(rows=23, cols=19, seed=3, **options):
    """Random rows with an offset for each and scales."""
    rng = np.random.default_rng(seed)
    return random_rows(
        rows,
        cols,
        seed=seed,
        input_offset=rng.random(rows).astype(np.float32),
        target_offset=(3 * rng.random(rows)).astype(np.float32),
        input_scale=0.5,
        target_scale=0.4,
        **options,
    )


def snapshot(model):
    """Copies of a model's weights, whichever of the two implementations it is of."""
    weights = model.weights() if callable(model.weights) else model.weights
    return {name: np.array(array) for name, array in weights.items()}


def train(core, model, rows, rate, epochs=1, **options):
    """Train a model of the core: its weights, and what each epoch gave."""
    trained = core_model(core, model)
    trainer = core_trainer(core, trained, rows, **options)
    results = [trainer.run_epoch(core_rows(core, rows), e, rate) for e in range(epochs)]
    trainer.finish()
    return snapshot(trained), results


def assert_trains_as_the_reference(core, model, rows, rate, epochs=1, **options):
    weights, results = train(core, model, rows, rate, epochs, **options)
    trainer = reference.Trainer(model, **options)
    expected = [trainer.run_epoch(rows, e, rate) for e in range(epochs)]
    assert_results_close(results, expected)
    assert_weights_close(weights, model.weights, TOLERANCES[options["optimizer"]])


def assert_results_close(results, expected):
    assert [cells for _, cells in results] == [cells for _, cells in expected]
    errors, expected_errors = ([error for error, _ in r] for r in (results, expected))
    np.testing.assert_allclose(errors, expected_errors, rtol=1e-5)


# The reference itself


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_the_reference_gradients_are_the_slopes_of_the_reference_loss(hidden, activation, output):
    rows = ratings()
    model = reference.Autoencoder(rows.cols, hidden, activation, output, seed=1)
    rng = np.random.default_rng(0)
    for name in model.weights:
        model.weights[name] += 0.1 * rng.normal(size=model.weights[name].shape)
    trainer = reference.Trainer(model, dropout=0.3)
    batch = rows.inputs_and_targets()
    arguments = (*batch, 0.7, trainer.kept(np.arange(len(rows)), 0))
    gradients = model.gradients(*arguments)
    for name, array in model.weights.items():
        for _ in range(5):
            at = tuple(rng.integers(array.shape))
            before, step = array[at], 1e-6
            losses = []
            for moved in (before + step, before - step):
                array[at] = moved
                losses.append(model.loss(*arguments))
            array[at] = before
            slope = (losses[0] - losses[1]) / (2 * step)
            assert slope == pytest.approx(gradients[name][at], rel=1e-5, abs=1e-5)


# Initialisation and encoding


@pytest.mark.parametrize("hidden", HIDDEN)
def test_initial_weights_are_the_documented_draws(core, hidden):
    model = reference.Autoencoder(70, hidden, seed=2**40 + 5)
    assert_weights_close(snapshot(core_model(core, model)), model.weights, 2e-7)


@ON_EVERY_ISA
@SETTINGS
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 60),
    hidden=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    density=st.sampled_from([0.02, 0.3, 1.0]),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    seed=st.integers(0, 100),
)
def test_codes_are_those_of_the_reference(isa, rows, cols, hidden, density, activation, seed):
    core = _core.load_core(isa)
    data = ratings(rows, cols, seed=seed, density=density)
    model = reference.Autoencoder(cols, tuple(hidden), activation, seed=seed)
    codes = core_model(core, model).encode(core_rows(core, data), num_threads=2).array
    assert_close(codes, model.encode(data.inputs_and_targets()[0])[-1], 2e-6)


@pytest.mark.parametrize("hidden", [(1,), (16,), (129,)])
def test_codes_of_wide_rows_and_of_more_rows_than_a_piece(core, hidden):
    data = ratings(1100, 2000, density=0.05)  # several blocks of rows and of columns
    assert np.diff(data.indptr).max() > 256
    model = reference.Autoencoder(2000, hidden, "tanh")
    codes = core_model(core, model).encode(core_rows(core, data)).array
    assert_close(codes, model.encode(data.inputs_and_targets()[0])[-1], 2e-6)


def test_a_row_without_cells_gets_the_code_of_an_empty_input(core):
    none = Rows(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 4)
    model = core_model(core, reference.Autoencoder(4, (3,), "sigmoid"))
    model.weights()["encoder.bias"][:] = [[-1, 0, 2]]
    codes = model.encode(core_rows(core, none)).array
    assert_close(codes, reference.sigmoid(np.array([[-1.0, 0, 2]] * 2)), 2e-7)


# Training is the reference's, whatever the combination


@functools.cache
def reference_run(optimizer, activation, hidden, corruption, dropout):
    """Three epochs of the reference; computed once for all instruction sets."""
    model = reference.Autoencoder(19, hidden, activation, seed=5)
    trainer = reference.Trainer(model, **combination(optimizer, corruption, dropout))
    results = [trainer.run_epoch(ratings(), e, OPTIMIZERS[optimizer]) for e in range(3)]
    return model.weights, results


def combination(optimizer, corruption, dropout):
    return {
        "optimizer": optimizer,
        "regularization": 0.3,
        "batch_size": 8,
        "corruption": corruption[0],
        "corruption_level": corruption[1],
        "dropout": dropout,
        "seed": 11,
    }


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_several_epochs_are_those_of_the_reference(core, optimizer, activation, hidden):
    for corruption, dropout in itertools.product(CORRUPTIONS, (0.0, 0.3)):
        expected, expected_results = reference_run(
            optimizer, activation, hidden, corruption, dropout
        )
        weights, results = train(
            core,
            reference.Autoencoder(19, hidden, activation, seed=5),
            ratings(),
            OPTIMIZERS[optimizer],
            epochs=3,
            **combination(optimizer, corruption, dropout),
        )
        assert_results_close(results, expected_results)
        assert_weights_close(weights, expected, TOLERANCES[optimizer])


@pytest.mark.parametrize("output", sorted(ACTIVATIONS))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_any_output_activation_trains_as_the_reference_does(core, optimizer, output):
    model = reference.Autoencoder(19, (12,), "sigmoid", output, seed=7)
    assert_trains_as_the_reference(
        *(core, model, ratings(), OPTIMIZERS[optimizer], 3),
        optimizer=optimizer,
        batch_size=9,
        regularization=0.1,
    )


@ON_EVERY_ISA
@SETTINGS
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 60),
    hidden=st.lists(st.integers(1, 40), min_size=1, max_size=2),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    batch_size=st.integers(1, 50),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    seed=st.integers(0, 100),
)
def test_an_epoch_on_any_shape_is_that_of_the_reference(
    isa, rows, cols, hidden, density, batch_size, optimizer, seed
):
    data = ratings(rows, cols, seed=seed, density=density)
    model = reference.Autoencoder(cols, tuple(hidden), "tanh", seed=seed)
    assert_trains_as_the_reference(
        *(_core.load_core(isa), model, data, OPTIMIZERS[optimizer]),
        optimizer=optimizer,
        batch_size=batch_size,
        regularization=0.5,
        corruption="mask",
        corruption_level=0.2,
        seed=seed,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_wide_rows_in_many_blocks_train_as_the_reference_does(core, optimizer):
    data = ratings(150, 1500, density=0.2)
    model = reference.Autoencoder(1500, (40,), "sigmoid", seed=1)
    assert_trains_as_the_reference(
        *(core, model, data, OPTIMIZERS[optimizer] / 10, 2),
        optimizer=optimizer,
        batch_size=64,
        regularization=1.0,
        corruption="mask",
        corruption_level=0.3,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_hidden_layers_may_have_a_decay_of_their_own(core, optimizer):
    assert_trains_as_the_reference(
        *(core, reference.Autoencoder(19, (7, 5, 6), seed=5), ratings(), OPTIMIZERS[optimizer], 3),
        optimizer=optimizer,
        regularization=0.3,
        hidden_regularization=2.5,
        batch_size=8,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_output_biases_may_have_a_decay_of_their_own(core, optimizer):
    assert_trains_as_the_reference(
        *(core, reference.Autoencoder(19, (7,), seed=5), ratings(), OPTIMIZERS[optimizer], 3),
        optimizer=optimizer,
        regularization=0.3,
        bias_regularization=4.0,
        batch_size=4,
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_biases_of_columns_that_skip_many_batches_decay_nearly_as_in_the_reference(core, optimizer):
    # one cell a row: a column skips more steps than are caught up with one by one
    cols = np.random.default_rng(0).permutation(np.tile(np.arange(40, dtype=np.int32), 3))
    rows = Rows(np.arange(121, dtype=np.int64), cols, np.ones(120, np.float32), 40)
    options = {"optimizer": optimizer, "bias_regularization": 50.0, "batch_size": 1}
    weights, _ = train(core, reference.Autoencoder(40, (3,), seed=5), rows, 1e-3, 2, **options)
    model = reference.Autoencoder(40, (3,), seed=5)
    trainer = reference.Trainer(model, **options)
    for epoch in range(2):
        trainer.run_epoch(rows, epoch, 1e-3)
    assert_close(weights["decoder.bias"], model.weights["decoder.bias"], 0.02)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_read_may_depend_on_row_column_and_cell(core, optimizer, corruption):
    rows = ratings()
    rng = np.random.default_rng(1)
    rows.input_factor = (0.5 + rng.random(len(rows))).astype(np.float32)
    rows.column_offset = rng.normal(size=rows.cols).astype(np.float32)
    rows.cell_offset = rng.normal(size=len(rows.values)).astype(np.float32)
    rates = OPTIMIZERS[optimizer] * np.linspace(1, 0.2, 4, dtype=np.float32)
    trained = core_model(core, reference.Autoencoder(19, (7,), "sigmoid", seed=5))
    model = reference.Autoencoder(19, (7,), "sigmoid", seed=5)
    options = {
        **combination(optimizer, corruption, 0.0),
        "batch_size": 5,
        "bias_regularization": 1.0,
        "transposed": True,
    }
    trainer = core_trainer(core, trained, rows, **options)
    expected = reference.Trainer(model, **options)
    assert np.count_nonzero(np.diff(rows.indptr)) in range(16, 21)  # four batches
    outputs, expected_outputs = np.zeros((2, len(rows.values)), np.float32)
    for epoch in range(2):
        result = trainer.run_epoch(core_rows(core, rows), epoch, rates, predictions=outputs)
        wanted = expected.run_epoch(rows, epoch, rates, predictions=expected_outputs)
        assert_results_close([result], [wanted])
        assert_close(outputs, expected_outputs, 1e-4)
    trainer.finish()
    assert_weights_close(snapshot(trained), model.weights, TOLERANCES[optimizer])


def weighted(rows, seed=0):
    """Rows with weights, some of which are 0."""
    rng = np.random.default_rng(seed)
    rows.cell_weight = (rng.integers(0, 4, len(rows.values)) * rng.random(len(rows.values))).astype(
        np.float32
    )
    assert (rows.cell_weight == 0).any()
    return rows


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_errors_of_cells_count_by_their_weights(core, optimizer, output, hidden):
    model = reference.Autoencoder(19, hidden, "tanh", output, seed=5)
    options = {**combination(optimizer, ("mask", 0.4), 0.0), "batch_size": 5}
    rate = OPTIMIZERS[optimizer]
    plain, _ = train(core, model, ratings(), rate, 2, **options)
    weights, _ = train(core, model, weighted(ratings()), rate, 2, **options)
    assert np.abs(weights["decoder.weights"] - plain["decoder.weights"]).max() > 1e-4
    assert_trains_as_the_reference(core, model, weighted(ratings()), rate, 2, **options)


def test_weights_of_one_change_no_bit(core):
    rows = ratings()
    model = reference.Autoencoder(19, (7,), "sigmoid", seed=5)
    expected, results = train(core, model, rows, 0.01, 2, optimizer="adam", batch_size=5)
    rows.cell_weight = np.ones(len(rows.values), np.float32)
    weights, same = train(core, model, rows, 0.01, 2, optimizer="adam", batch_size=5)
    assert same == results
    for name, array in expected.items():
        assert_array_equal(weights[name], array, err_msg=name)


def test_outputs_of_weighted_cells_are_refused(core):
    rows = weighted(ratings())
    trainer = core_trainer(core, core_model(core, reference.Autoencoder(19, (4,))), rows)
    outputs = np.zeros(len(rows.values), np.float32)
    with pytest.raises(RuntimeError, match="need cells without weights"):
        trainer.run_epoch(core_rows(core, rows), 0, 0.1, predictions=outputs)


def test_a_matrix_and_its_transpose_have_the_same_cells_masked(core):
    # an identity of one unit and no bias: an item's code is the sum of its inputs that are left
    rng = np.random.default_rng(0)
    table = 1.0 + rng.integers(0, 5, (30, 20)).astype(np.float32)

    def left(values, transposed):
        rows, cols = values.shape
        dense = Rows(
            np.arange(rows + 1, dtype=np.int64) * cols,
            np.tile(np.arange(cols, dtype=np.int32), rows),
            values.ravel(),
            cols,
        )
        sums = np.zeros(values.shape)
        for column in range(cols):  # its weight alone is not 0
            model = core_model(core, reference.Autoencoder(cols, (1,), "identity"))
            options = {"corruption": "mask", "corruption_level": 0.4, "seed": 7}
            trainer = core_trainer(core, model, dense, transposed=transposed, **options)
            weights = model.weights()
            for array in weights.values():
                array[...] = 0
            weights["encoder.weights"][trainer.column_rows[column]] = 1
            weights["decoder.weights"][trainer.column_rows[column]] = 1
            outputs = np.zeros(values.size, np.float32)
            trainer.run_epoch(core_rows(core, dense), 3, 0.0, predictions=outputs)
            sums[:, column] = outputs.reshape(values.shape)[:, column]
            trainer.finish()
        return sums

    by_rows = left(table, False)
    assert 0.3 < np.mean(by_rows == 0) < 0.5
    assert_array_equal(left(np.ascontiguousarray(table.T), True), by_rows.T)


def test_rates_must_be_one_or_one_for_each_batch(core):
    rows = ratings()
    trainer = core_trainer(
        *(core, core_model(core, reference.Autoencoder(19, (3,))), rows), batch_size=5
    )
    with pytest.raises(ValueError, match="one rate, or one for each of 4 batches, but there are 3"):
        trainer.run_epoch(core_rows(core, rows), 0, np.zeros(3, np.float32))


def test_full_batches_of_rprop_move_as_the_reference_does(core):
    # A step's length depends on nothing but signs, so that few steps agree to the last digits; in
    # many, a gradient that is 0 but for rounding would take either sign.
    model = reference.Autoencoder(19, (6,), "sigmoid", seed=1)
    assert_trains_as_the_reference(
        *(core, model, ratings(), 0.01, 4),
        optimizer="rprop",
        batch_size=23,
        regularization=0.5,
    )


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_masking_nothing_and_masking_everything(core, level):
    model = reference.Autoencoder(19, (6,), "sigmoid", seed=1)
    assert_trains_as_the_reference(
        *(core, model, ratings(), 1e-3),
        optimizer="sgd",
        corruption="mask",
        corruption_level=level,
        batch_size=5,
    )


@pytest.mark.parametrize("seed", [0, 2**33, 2**64 - 1])
def test_another_seed_gives_another_order_and_other_masks(core, seed):
    model = reference.Autoencoder(19, (6,), "sigmoid", seed=seed)
    assert_trains_as_the_reference(
        *(core, model, ratings(), 1e-3, 2),
        optimizer="sgd",
        corruption="mask",
        corruption_level=0.5,
        dropout=0.5,
        batch_size=5,
        seed=seed,
    )


@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_are_the_slopes_of_the_loss(core, hidden):
    """One step at rate 1 moves the weights by the gradient; finite differences must give it."""
    rows = ratings()
    weights, _ = train(
        *(core, reference.Autoencoder(19, hidden, "swish", "sigmoid", seed=4), rows, 1.0),
        optimizer="sgd",
        regularization=0.7,
    )
    model = reference.Autoencoder(19, hidden, "swish", "sigmoid", seed=4)
    rng = np.random.default_rng(0)
    batch = rows.inputs_and_targets()
    for name, array in model.weights.items():
        for _ in range(8):
            at = tuple(rng.integers(array.shape))
            before, step = array[at], 1e-6
            losses = []
            for moved in (before + step, before - step):
                array[at] = moved
                losses.append(model.loss(*batch, 0.7))
            array[at] = before
            slope = (losses[0] - losses[1]) / (2 * step)
            assert before - weights[name][at] == pytest.approx(slope, rel=1e-4, abs=1e-5)


# Observed cells, and nothing else


def single_row(cells, cols):
    columns = np.array(sorted(cells), np.int32)
    values = np.array([cells[c] for c in sorted(cells)], np.float32)
    return Rows(np.array([0, len(cells)], np.int64), columns, values, cols)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stored_zero_is_observed_and_an_absent_cell_is_not_touched(core, optimizer):
    rows = single_row({1: 0.0, 3: 4.0}, cols=5)
    model = reference.Autoencoder(5, (3,), "sigmoid", seed=1)
    before = snapshot(core_model(core, model))
    after, results = train(core, model, rows, 0.1, optimizer=optimizer)
    recon = model.reconstruct(model.encode(rows.dense()[0])[-1])[0]
    assert results[0] == (pytest.approx(recon[1] ** 2 + (recon[3] - 4) ** 2, rel=1e-5), 2)
    for name in ("decoder.weights", "decoder.bias"):
        moved = (after[name] != before[name]).reshape(after[name].shape[-2:])
        moved = moved.any(axis=1) if name == "decoder.weights" else moved[0]
        assert_array_equal(moved, [False, True, False, True, False])
    moved = (after["encoder.weights"] != before["encoder.weights"]).any(axis=1)
    assert_array_equal(moved, [False, False, False, True, False])  # the input of a 0 is 0


def test_every_input_may_be_observed_with_any_value(core):
    for value in (0.0, -3.0, 1e-30, 5.0):
        rows = single_row({0: value, 2: 1.0}, cols=3)
        model = reference.Autoencoder(3, (4,), "tanh", seed=2)
        assert_trains_as_the_reference(*(core, model, rows, 0.01, 3), optimizer="sgd")


def test_rows_without_cells_take_no_part_in_training(core):
    full, gaps = ratings(12, 9, density=2.0), ratings(12, 9, density=2.0)
    gaps.indptr = np.sort(np.concatenate([full.indptr, full.indptr[[0, 4, -1]]]))
    empty = np.flatnonzero(np.diff(gaps.indptr) == 0)
    for name in ("input_offset", "target_offset"):
        offsets = getattr(full, name)
        setattr(gaps, name, np.full(len(gaps), 1e6, np.float32))
        getattr(gaps, name)[np.diff(gaps.indptr) > 0] = offsets[np.diff(full.indptr) > 0]
    assert len(empty) >= 3
    model = reference.Autoencoder(9, (4,), seed=1)
    options = {"optimizer": "adam", "batch_size": 4, "regularization": 1.0}
    expected, expected_results = train(core, model, full, 0.01, 2, **options)
    actual, results = train(core, model, gaps, 0.01, 2, **options)
    assert results == expected_results
    for name in expected:
        assert_array_equal(actual[name], expected[name])


# The same bits at any number of threads


@pytest.mark.parametrize(
    ("hidden", "optimizer", "corruption", "dropout"),
    [
        ((40,), "adam", "mask", 0.0),
        ((33, 20), "adagrad", "gaussian", 0.2),
        ((20, 10, 20), "momentum", "none", 0.0),
        ((64,), "sgd", "mask", 0.5),
    ],
)
@pytest.mark.parametrize("cols", [100, 700])  # one slice of columns, and four
def test_the_number_of_threads_changes_no_bit(core, cols, hidden, optimizer, corruption, dropout):
    data = ratings(150, cols, density=0.15)
    model = reference.Autoencoder(cols, hidden, "sigmoid", seed=3)

    def run(num_threads):
        trained = core_model(core, model, num_threads)
        trainer = core_trainer(
            *(core, trained, data),
            **combination(optimizer, (corruption, 0.3), dropout) | {"batch_size": 64},
            num_threads=num_threads,
        )
        rows = core_rows(core, data)
        results = [trainer.run_epoch(rows, e, OPTIMIZERS[optimizer]) for e in range(2)]
        trainer.finish()
        codes = trained.encode(rows, num_threads=num_threads).array
        return results, codes.tobytes(), {n: w.tobytes() for n, w in trained.weights().items()}

    expected = run(1)
    for num_threads in (2, 3, 5):
        assert run(num_threads) == expected


def test_models_that_train_in_two_threads_at_once_do_not_disturb_each_other(core):
    data = ratings(100, 150)

    def run(seed):
        model = core_model(core, reference.Autoencoder(150, (20,), seed=seed))
        trainer = core_trainer(core, model, data, optimizer="adam", batch_size=16, num_threads=2)
        for epoch in range(5):
            trainer.run_epoch(core_rows(core, data), epoch, 0.01)
        trainer.finish()
        return {name: array.tobytes() for name, array in snapshot(model).items()}

    expected = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, range(4))) == expected


# What a trainer does with its model


def test_finishing_gives_the_columns_back_in_their_order(core):
    data = ratings(40, 700)
    model = core_model(core, reference.Autoencoder(700, (5,)))
    model.weights()["decoder.bias"][:] = np.arange(700)
    before = snapshot(model)
    trainer = core_trainer(core, model, data)
    during, where = snapshot(model), trainer.column_rows
    assert_array_equal(np.sort(where), np.arange(700))
    assert not np.array_equal(where, np.arange(700))
    for name in ("encoder.weights", "decoder.weights"):
        assert_array_equal(during[name][where], before[name])
    assert_array_equal(during["decoder.bias"][:, where], before["decoder.bias"])
    trainer.finish()
    trainer.finish()  # once more is no harm
    for name, array in snapshot(model).items():
        assert_array_equal(array, before[name])


def test_forgetting_a_trainer_finishes_it(core):
    model = core_model(core, reference.Autoencoder(700, (5,)))
    before = snapshot(model)
    trainer = core_trainer(core, model, ratings(40, 700))
    assert not np.array_equal(snapshot(model)["encoder.weights"], before["encoder.weights"])
    del trainer
    assert_array_equal(snapshot(model)["encoder.weights"], before["encoder.weights"])


def test_the_best_weights_are_kept_and_restored(core):
    data, model = ratings(40, 30), reference.Autoencoder(30, (8, 5))
    options = {"optimizer": "adam", "batch_size": 8}
    expected, _ = train(core, model, data, 0.01, epochs=2, **options)
    trained = core_model(core, model)
    trainer = core_trainer(core, trained, data, **options)
    rows = core_rows(core, data)
    trainer.restore_best()  # nothing is kept yet: nothing happens
    for epoch in range(4):
        trainer.run_epoch(rows, epoch, 0.01)
        if epoch < 2:
            trainer.keep_best()  # the second one replaces the first
    trainer.restore_best()
    trainer.finish()
    for name, array in snapshot(trained).items():
        assert_array_equal(array, expected[name])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_trainer_encodes_by_the_model_as_it_stands(core, hidden):
    data = ratings(600, 700, density=0.05)
    model = core_model(core, reference.Autoencoder(700, hidden))
    trainer = core_trainer(core, model, data, optimizer="adam", dropout=0.5)
    rows = core_rows(core, data)
    trainer.run_epoch(rows, 0, 0.01)
    codes = core.Matrix(np.full((600, hidden[-1]), np.nan, np.float32))
    trainer.encode(rows, codes)
    trainer.finish()
    assert_close(codes.array, model.encode(rows).array, 2e-6)


def test_a_finished_trainer_refuses_to_go_on(core):
    data = ratings()
    model = core_model(core, reference.Autoencoder(19, (3,)))
    trainer = core_trainer(core, model, data)
    trainer.finish()
    rows, codes = core_rows(core, data), core.Matrix(np.zeros((23, 3), np.float32))
    for call in (
        lambda: trainer.run_epoch(rows, 0, 0.1),
        lambda: trainer.encode(rows, codes),
        trainer.keep_best,
        trainer.restore_best,
    ):
        with pytest.raises(RuntimeError, match="the trainer has finished"):
            call()


def test_views_of_weights_outlive_the_model_and_change_it(core):
    model = core_model(core, reference.Autoencoder(19, (3,)))
    view = model.weights()["encoder.bias"]
    view[:] = 2
    assert_array_equal(model.weights()["encoder.bias"], np.full((1, 3), 2))
    del model
    assert_array_equal(view, np.full((1, 3), 2))


# Progress, interruption and divergence


def test_progress_is_told_the_rows_done_before_each_batch(core):
    data = ratings(23, 19, density=3.0)
    trainer = core_trainer(
        core, core_model(core, reference.Autoencoder(19, (3,))), data, batch_size=8
    )
    rows_with_cells = np.count_nonzero(np.diff(data.indptr))
    told = []
    trainer.run_epoch(core_rows(core, data), 0, 0.01, progress=told.append)
    assert told == list(range(0, rows_with_cells, 8))


@pytest.mark.parametrize("cols", [19, 700])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_exception_between_batches_leaves_the_weights_as_after_the_last_whole_batch(
    core, optimizer, cols
):
    data = ratings(24, cols, density=3.0 if cols == 19 else 0.02)
    options = {"optimizer": optimizer, "batch_size": 8, "regularization": 0.3}
    rate = OPTIMIZERS[optimizer]
    model = reference.Autoencoder(cols, (6,))
    trained = core_model(core, model)
    trainer = core_trainer(core, trained, data, **options)
    expected = reference.Trainer(model, **options)

    def stop_before_the_third(rows_done):
        if rows_done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run_epoch(core_rows(core, data), 0, rate, progress=stop_before_the_third)
    expected.run_epoch(data, 0, rate, batches=2)
    where = trainer.column_rows
    for name, weights in snapshot(trained).items():
        if name != "encoder.bias":
            weights = weights[..., where] if name == "decoder.bias" else weights[where]
        assert_close(weights, model.weights[name], TOLERANCES[optimizer], name)

    assert trainer.run_epoch(core_rows(core, data), 1, rate)[1] == len(data.values)
    expected.run_epoch(data, 1, rate)
    trainer.finish()
    assert_weights_close(snapshot(trained), model.weights, TOLERANCES[optimizer])


def test_a_run_that_diverges_says_where(core):
    data = ratings()
    trainer = core_trainer(
        core, core_model(core, reference.Autoencoder(19, (3,), "identity")), data, batch_size=8
    )
    message = r"training diverged in epoch 5, batch \d: the loss is no longer finite"
    with pytest.raises(core.Diverged, match=message):
        trainer.run_epoch(core_rows(core, data), 4, 1e20)
    assert issubclass(core.Diverged, RuntimeError)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("name", ["encoder.weights", "encoder.bias", "hidden.1.weights"])
def test_weights_that_are_not_finite_are_noticed(core, activation, name):
    data = ratings(density=2.0)
    model = core_model(core, reference.Autoencoder(19, (3, 3), activation))
    model.weights()[name][:, 1] = np.nan
    trainer = core_trainer(core, model, data)
    with pytest.raises(core.Diverged, match="epoch 1, batch 1"):
        trainer.run_epoch(core_rows(core, data), 0, 0.01)


# Columns split over machines


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_reduction_sees_the_encoding_and_the_error_once_a_batch(core, hidden):
    data = ratings(20, 700, density=1.0)
    model = core_model(core, reference.Autoencoder(700, hidden))
    trainer = core_trainer(core, model, data, batch_size=8)
    rows_with_cells = np.count_nonzero(np.diff(data.indptr))
    shapes = []

    def reduce(sums, parts):
        assert sums.flags.c_contiguous  # as MPI wants it
        shapes.append(sums.shape)

    trainer.run_epoch(core_rows(core, data), 0, 0.0, reduce=reduce)
    batches = [min(8, rows_with_cells - start) for start in range(0, rows_with_cells, 8)]
    first, last = ((-(-k // 16) | 1) * 16 for k in (hidden[0], hidden[-1]))  # padded
    assert shapes == [shape for rows in batches for shape in ((rows, first), (rows + 1, last))]


def test_by_slices_the_reduction_gets_the_share_of_each(core):
    data = ratings(20, 40, density=0.5)
    whole, sliced = [], []
    for blocks, slice_of in ((whole, None), (sliced, np.arange(40, dtype=np.int32) % 3)):
        model = core_model(core, reference.Autoencoder(40, (5,)))

        def reduce(sums, parts, blocks=blocks):
            if parts:
                sums[:, : parts[0].shape[1]] = sum(parts)
            blocks.append((len(parts), sums.copy()))

        trainer = core_trainer(core, model, data, batch_size=8, slice_of=slice_of)
        trainer.run_epoch(core_rows(core, data), 0, 0.0, reduce=reduce)
        if slice_of is not None:
            assert len(trainer.slice_errors) == 3
    assert [n for n, _ in whole] == [0] * len(whole)
    assert [n for n, _ in sliced] == [3] * len(whole)
    for (_, one), (_, other) in zip(whole, sliced, strict=True):
        assert_close(other, one, 1e-5)


def test_the_first_reduction_is_of_the_input_times_the_encoder(core):
    data = single_row({1: 2.0, 3: 4.0}, cols=5)
    model = core_model(core, reference.Autoencoder(5, (3,)))
    encoder = snapshot(model)["encoder.weights"]
    blocks = []
    core_trainer(core, model, data).run_epoch(
        core_rows(core, data), 0, 0.0, reduce=lambda sums, parts: blocks.append(sums.copy())
    )
    assert_close(blocks[0][:, :3], [2 * encoder[1] + 4 * encoder[3]], 1e-6)
    # the second is of the hidden errors, with a row that tells of a loss that is not finite
    assert len(blocks[1]) == 2
    assert_array_equal(blocks[1][1], 0)


class Exchange:
    """Sums the blocks of several trainers, each in a thread of its own."""

    def __init__(self, parties):
        self.blocks = [None] * parties
        self.barrier = threading.Barrier(parties, timeout=60)

    def reduction(self, party):
        def reduce(sums, parts):
            assert not parts
            self.blocks[party] = sums.copy()
            self.barrier.wait()
            total = sum(self.blocks[1:], self.blocks[0])
            self.barrier.wait()
            sums[:] = total

        return reduce


def columns_of(data, begin, end):
    inside = (data.indices >= begin) & (data.indices < end)
    before = np.concatenate([[0], np.cumsum(inside)])
    return Rows(
        before[data.indptr].astype(np.int64),
        data.indices[inside] - np.int32(begin),
        data.values[inside],
        end - begin,
        data.input_offset,
        data.target_offset,
        data.input_scale,
        data.target_scale,
    )


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_trainers_with_half_the_columns_each_train_as_one(core, optimizer, hidden):
    data = ratings(60, 40)
    parts = [columns_of(data, 0, 25), columns_of(data, 25, 40)]
    filled = np.flatnonzero(np.diff(data.indptr)).astype(np.int32)
    assert any(len(np.flatnonzero(np.diff(part.indptr))) < len(filled) for part in parts)
    options = {
        "optimizer": optimizer,
        "regularization": 0.5,
        "batch_size": 16,
        "dropout": 0.2,
        "corruption": "mask",
        "corruption_level": 0.3,
    }
    whole = reference.Autoencoder(40, hidden, "sigmoid", seed=1)
    rate = OPTIMIZERS[optimizer]
    expected, expected_results = train(core, whole, data, rate, 3, **options)

    exchange = Exchange(2)
    numbers = [np.arange(25, dtype=np.int32), np.arange(25, 40, dtype=np.int32)]
    models = [
        core.Autoencoder(
            len(columns),
            hidden,
            hidden_activation="sigmoid",
            output_activation="identity",
            seed=1,
            columns=columns,
            all_columns=40,
        )
        for columns in numbers
    ]
    first = core_model(core, reference.Autoencoder(40, hidden, "sigmoid", seed=1)).weights()
    for model, columns in zip(models, numbers, strict=True):
        for name in ("encoder.weights", "decoder.weights"):
            assert_array_equal(model.weights()[name], first[name][columns])

    def run(party):
        split = {"num_threads": 2, "columns": numbers[party]}
        trainer = core_trainer(core, models[party], parts[party], **options, **split)
        rows, reduce = core_rows(core, parts[party]), exchange.reduction(party)
        results = [trainer.run_epoch(rows, e, rate, reduce=reduce, filled=filled) for e in range(3)]
        trainer.finish()
        return results

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))
    total = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(*results, strict=True)]
    assert_results_close(total, expected_results)
    first, second = map(snapshot, models)
    axes = {"encoder.weights": 0, "decoder.weights": 0, "decoder.bias": 1}
    for name, array in expected.items():
        if name in axes:
            assert_close(np.concatenate([first[name], second[name]], axes[name]), array, 1e-4, name)
        else:  # each has a copy, moved by the same sums
            assert_array_equal(first[name], second[name])
            assert_close(first[name], array, 1e-4, name)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optimizer": "newton"},
            "unknown optimizer 'newton': choose sgd, momentum, adagrad, adam or rprop",
        ),
        ({"corruption": "salt"}, "unknown corruption 'salt': choose none, mask or gaussian"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
    ],
)
def test_a_trainer_that_makes_no_sense_is_refused(core, options, message):
    model = core_model(core, reference.Autoencoder(19, (3,)))
    with pytest.raises(ValueError, match=message):
        core_trainer(core, model, ratings(), **options)
    with pytest.raises(ValueError, match="popularity must have a value per input"):
        core_trainer(core, model, ratings(cols=18))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": np.array([0, 2, 1], np.int64)}, "indptr must not decrease"),
        ({"indptr": np.array([0, 1, 4], np.int64)}, "indptr points outside of indices and values"),
        ({"indptr": np.array([-1, 1, 3], np.int64)}, "indptr points outside"),
        ({"indptr": np.zeros(0, np.int64)}, r"indptr must hold rows \+ 1 positions"),
        ({"indices": np.array([0, 1, 5], np.int32)}, r"indices must lie in \[0, 5\)"),
        ({"indices": np.array([0, -1, 2], np.int32)}, r"indices must lie in \[0, 5\)"),
        ({"input_offset": np.zeros(3, np.float32)}, "input_offset has 3 values; it must have 2"),
        ({"target_offset": np.zeros(1, np.float32)}, "target_offset has 1 values; it must have 2"),
    ],
)
def test_rows_that_are_no_csr_are_refused(core, change, message):
    arrays = {
        "indptr": np.array([0, 1, 3], np.int64),
        "indices": np.array([0, 1, 2], np.int32),
        "values": np.ones(3, np.float32),
        "cols": 5,
    }
    core.Rows(**arrays)
    with pytest.raises(ValueError, match=message):
        core.Rows(**arrays | change)
    with pytest.raises(TypeError):  # never converted, which would copy
        core.Rows(**arrays | {"indices": np.array([0, 1, 2], np.int64)})


def test_rows_and_codes_of_another_shape_are_refused(core):
    data, other = ratings(), core_rows(core, ratings(cols=20))
    model = core_model(core, reference.Autoencoder(19, (3,)))
    with pytest.raises(ValueError, match="rows must have a column per input"):
        model.encode(other)
    with pytest.raises(ValueError, match="num_threads must be at least 1"):
        model.encode(core_rows(core, data), num_threads=0)
    trainer = core_trainer(core, model, data)
    with pytest.raises(ValueError, match="rows must have a column per input"):
        trainer.run_epoch(other, 0, 0.1)
    with pytest.raises(ValueError, match="rows must have a column per input"):
        trainer.encode(other, core.Matrix(np.zeros((23, 3), np.float32)))
    for shape in ((23, 2), (22, 3)):
        with pytest.raises(ValueError, match="codes must have a row per row and a column per unit"):
            trainer.encode(core_rows(core, data), core.Matrix(np.zeros(shape, np.float32)))


@pytest.mark.parametrize(
    ("inputs", "hidden", "message"),
    [
        (0, [3], "inputs must be at least 1"),
        (5, [], "hidden must name at least one layer"),
        (5, [3, 0], "hidden layers have at least one unit"),
    ],
)
def test_a_model_without_units_is_refused(core, inputs, hidden, message):
    with pytest.raises(ValueError, match=message):
        core.Autoencoder(
            inputs, hidden, hidden_activation="tanh", output_activation="identity", seed=0
        )
