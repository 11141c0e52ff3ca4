"""Whole optimizer steps are PyTorch's, as tests/data/record_torch_steps.py has recorded them."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import reference
from core_fixtures import assert_weights_close, core_model, core_rows, core_trainer

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_steps.json").read_text())


class EnoughError(Exception):
    """Ends an epoch between two batches."""


def train(core, case, rows, batches):
    """Train on so many batches: the weights, and what an epoch gave if it was whole."""
    shape = reference.Autoencoder(
        *(rows.cols, tuple(case["hidden"])), case["hidden_activation"], case["output_activation"]
    )
    model = core_model(core, shape)
    for key, array in model.weights().items():
        array[:] = case["initial"][key]
    trainer = core_trainer(
        *(core, model, rows),
        optimizer=case["optimizer"],
        regularization=case["regularization"],
        bias_regularization=case.get("bias_regularization", 0.0),
        batch_size=RECORDING["batch_size"],
        seed=RECORDING["seed"],
    )

    def stop(rows_done):
        if rows_done == batches * RECORDING["batch_size"]:
            raise EnoughError

    rates = np.array(case["rates"], np.float32)
    result = None
    with contextlib.suppress(EnoughError):
        result = trainer.run_epoch(core_rows(core, rows), 0, rates, progress=stop)
    trainer.finish()
    return model.weights(), result


@pytest.mark.parametrize("name", RECORDING["cases"])
def test_five_steps_are_those_of_pytorch(core, name):
    case = RECORDING["cases"][name]
    rows = reference.Rows(
        np.array(RECORDING["indptr"], np.int64),
        np.array(RECORDING["indices"], np.int32),
        np.array(RECORDING["values"], np.float32),
        RECORDING["cols"],
        target_scale=case["target_scale"],
        **{name: np.array(a, np.float32) for name, a in case.get("reading", {}).items()},
    )
    steps = case["steps"]
    assert len(steps) == 5
    for batches, step in enumerate(steps, 1):
        weights, result = train(core, case, rows, batches)
        assert (result is None) == (batches < len(steps))
        assert_weights_close(weights, step["weights"], 1e-4)
    assert result[0] == pytest.approx(sum(step["squared_error"] for step in steps), rel=1e-5)
