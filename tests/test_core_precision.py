"""Training in bfloat16: close to float32, and with its promises."""

import numpy as np
import pytest
import reference
from core_fixtures import core_model, core_rows, core_trainer, random_rows
from numpy.testing import assert_array_equal

RATES = {"sgd": 2e-3, "momentum": 5e-4, "adagrad": 0.05, "adam": 0.01}


def data(cols=60, density=0.5):
    return random_rows(80, cols, seed=3, density=density)


def snapshot(model):
    return {name: np.array(array) for name, array in model.weights().items()}


def train(core, hidden, rows, epochs=2, **options):
    options = {"optimizer": "adam", "batch_size": 16, "regularization": 0.3} | options
    model = core_model(core, reference.Autoencoder(rows.cols, hidden, "sigmoid", seed=1))
    before = snapshot(model)
    trainer = core_trainer(core, model, rows, **options)
    rate = RATES[options["optimizer"]]
    results = [trainer.run_epoch(core_rows(core, rows), e, rate) for e in range(epochs)]
    trainer.finish()
    return before, snapshot(model), results


def assert_moves_alike(before, after, expected, tolerance):
    """Check that all weights together end up where they should, by how far they moved."""
    moved, wrong = (
        np.sqrt(sum(np.sum(np.square(x[name] - y[name])) for name in expected))
        for x, y in ((expected, before), (after, expected))
    )
    assert 0 < wrong < tolerance * moved


# lines of 16 units: whole pairs, a last one without a partner, and that one alone
@pytest.mark.parametrize("hidden", [(32,), (48,), (5,), (130,), (300,), (40, 20)])
@pytest.mark.parametrize("optimizer", RATES)
def test_weights_move_as_in_float32(core, optimizer, hidden):
    rows = data()
    options = {"optimizer": optimizer, "corruption": "mask", "corruption_level": 0.3}
    before, expected, errors = train(core, hidden, rows, **options)
    _, after, rounded_errors = train(core, hidden, rows, precision="bfloat16", **options)
    divides = optimizer in ("adagrad", "adam")  # by the gradient's size, however small
    assert_moves_alike(before, after, expected, 0.05 if divides else 0.01)
    np.testing.assert_allclose(rounded_errors, errors, rtol=2e-3)


@pytest.mark.parametrize("optimizer", RATES)
def test_columns_that_skip_batches_move_as_in_float32(core, optimizer):
    rows = data(cols=700, density=0.01)
    before, expected, _ = train(core, (40,), rows, optimizer=optimizer, batch_size=2)
    _, after, _ = train(core, (40,), rows, optimizer=optimizer, batch_size=2, precision="bfloat16")
    assert_moves_alike(before, after, expected, 0.05)


@pytest.mark.parametrize("optimizer", RATES)
def test_weighted_cells_move_as_in_float32(core, optimizer):
    rows = data()
    rng = np.random.default_rng(0)
    rows.cell_weight = (2 * rng.random(len(rows.values))).astype(np.float32)
    before, expected, errors = train(core, (40,), rows, optimizer=optimizer)
    _, after, rounded_errors = train(core, (40,), rows, optimizer=optimizer, precision="bfloat16")
    divides = optimizer in ("adagrad", "adam")
    assert_moves_alike(before, after, expected, 0.05 if divides else 0.01)
    np.testing.assert_allclose(rounded_errors, errors, rtol=2e-3)


def test_state_of_16_bits_sees_steps_far_below_its_resolution(core):
    # each of 400 steps adds less than half a unit in the last place to the mean of squares
    rows = data(cols=20)
    before, expected, _ = train(core, (16,), rows, epochs=80)
    _, after, _ = train(core, (16,), rows, epochs=80, precision="bfloat16")
    assert_moves_alike(before, after, expected, 0.1)


@pytest.mark.parametrize("cols", [100, 700])
@pytest.mark.parametrize("optimizer", RATES)
def test_the_number_of_threads_changes_no_bit(core, optimizer, cols):
    rows = data(cols, density=0.15)
    options = {"optimizer": optimizer, "precision": "bfloat16", "corruption": "mask"}

    def run(num_threads):
        _, weights, results = train(
            core, (65,), rows, corruption_level=0.3, num_threads=num_threads, **options
        )
        return results, {name: array.tobytes() for name, array in weights.items()}

    expected = run(1)
    for num_threads in (2, 3, 5):
        assert run(num_threads) == expected


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_weights_are_whole_between_epochs_and_after_an_interruption(core, optimizer):
    rows = data(cols=30)
    options = {"optimizer": optimizer, "batch_size": 16, "precision": "bfloat16"}

    def stop(rows_done):
        if rows_done == 32:
            raise KeyboardInterrupt

    reached = []
    for interrupt in (None, stop):
        model = core_model(core, reference.Autoencoder(30, (20,), "sigmoid", seed=1))
        trainer = core_trainer(core, model, rows, **options)
        told = []

        def progress(rows_done, told=told, interrupt=interrupt):
            told.append(rows_done)
            if interrupt:
                interrupt(rows_done)

        if interrupt:
            with pytest.raises(KeyboardInterrupt):
                trainer.run_epoch(core_rows(core, rows), 0, RATES[optimizer], progress=progress)
        else:
            # a rate of 0 moves nothing: both have the weights of two batches
            filled = np.count_nonzero(np.diff(rows.indptr))
            rates = np.zeros(-(-filled // 16), np.float32)
            rates[:2] = RATES[optimizer]
            trainer.run_epoch(core_rows(core, rows), 0, rates, progress=progress)
        trainer.finish()
        reached.append(snapshot(model))
    for name, array in reached[0].items():
        assert_array_equal(array, reached[1][name], err_msg=name)


@pytest.mark.parametrize("optimizer", RATES)
def test_reading_weights_between_epochs_changes_no_bit(core, optimizer):
    # an epoch leaves weights split, in two halves of their bits
    rows = data()

    def run(reads):
        model = core_model(core, reference.Autoencoder(rows.cols, (40,), "sigmoid", seed=1))
        trainer = core_trainer(core, model, rows, optimizer=optimizer, precision="bfloat16")
        codes = core.Matrix(np.zeros((len(rows.indptr) - 1, 40), np.float32))
        for epoch in range(3):
            trainer.run_epoch(core_rows(core, rows), epoch, RATES[optimizer])
            if reads:
                trainer.encode(core_rows(core, rows), codes)
                trainer.keep_best()
        trainer.encode(core_rows(core, rows), codes)
        if reads:
            trainer.run_epoch(core_rows(core, rows), 3, RATES[optimizer])
            trainer.restore_best()
        trainer.finish()
        expected = model.encode(core_rows(core, rows))
        np.testing.assert_allclose(codes.array, expected.array, rtol=1e-4, atol=1e-6)
        return {name: array.tobytes() for name, array in snapshot(model).items()}

    assert run(reads=True) == run(reads=False)


def test_what_only_float32_can_do_is_refused(core):
    rows = data()
    model = core_model(core, reference.Autoencoder(60, (4,)))
    with pytest.raises(ValueError, match=r"unknown precision 'half': choose float32 or bfloat16"):
        core_trainer(core, model, rows, precision="half")
    trainer = core_trainer(core, model, rows, optimizer="momentum", precision="bfloat16")
    with pytest.raises(RuntimeError, match="momentum in float32"):
        trainer.evaluate(core_rows(core, rows))
