"""Whole optimizer steps are PyTorch's, as tests/data/record_torch_steps.py has recorded them."""

import json
from pathlib import Path

import numpy as np
import pytest
import reference
from core_fixtures import assert_weights_close, core_model, core_rows, core_trainer

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_steps.json").read_text())


@pytest.mark.parametrize("name", RECORDING["cases"])
def test_five_steps_are_those_of_pytorch(core, name):
    case = RECORDING["cases"][name]
    rows = reference.Rows(
        np.array(RECORDING["indptr"], np.int64),
        np.array(RECORDING["indices"], np.int32),
        np.array(RECORDING["values"], np.float32),
        RECORDING["cols"],
        target_scale=case["target_scale"],
    )
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
        batch_size=RECORDING["batch_size"],
        seed=RECORDING["seed"],
    )

    after = []

    def remember(rows_done):
        weights = {key: array.copy() for key, array in model.weights().items()}
        for key in ("encoder.weights", "decoder.weights"):
            weights[key] = weights[key][trainer.column_rows]
        weights["decoder.bias"] = weights["decoder.bias"][:, trainer.column_rows]
        after.append(weights)

    result = trainer.run_epoch(core_rows(core, rows), 0, case["learning_rate"], progress=remember)
    remember(len(rows))
    steps = case["steps"]
    assert len(steps) == 5
    assert result[0] == pytest.approx(sum(step["squared_error"] for step in steps), rel=1e-5)
    for actual, expected in zip(after[1:], steps, strict=True):
        assert_weights_close(actual, expected["weights"], 1e-4)
