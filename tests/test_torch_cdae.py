"""Two epochs of CDAE against PyTorch's losses, gradients and weights, recorded beforehand.

tests/data/record_torch_cdae.py makes the recording; PyTorch is not needed to run this.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from isthmus import _core

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_cdae.json").read_text())


@pytest.mark.parametrize("name", RECORDING["cases"])
def test_steps_are_those_of_torch(name):
    case = RECORDING["cases"][name]
    rows = [np.array(row, np.int32) for row in RECORDING["rows"]]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    indices = np.concatenate(rows)
    rate = RECORDING["rates"][case["optimizer"]]
    model = _core.Cdae(
        *(len(rows), RECORDING["items"], RECORDING["units"]),
        activation=case["activation"],
        logistic=case["logistic"],
        tied=case["tied"],
        seed=RECORDING["seed"],
    )
    trainer = _core.CdaeTrainer(
        model,
        optimizer=case["optimizer"],
        regularization=case["regularization"],
        batch_size=RECORDING["batch_size"],
        cells=len(indices),
        negatives=RECORDING["negatives"],
        corruption=RECORDING["corruption"],
        seed=RECORDING["seed"],
        num_threads=2,
    )
    initial = {key: array.copy() for key, array in model.weights().items()}
    first = {}

    def remember(rows_done):
        if rows_done == RECORDING["batch_size"] and not first:
            first.update({key: array.copy() for key, array in model.weights().items()})

    for epoch, losses in enumerate(case["losses"]):
        loss, _ = trainer.run_epoch(indptr, indices, epoch, rate, progress=remember)
        assert len(losses) == 3
        assert loss == pytest.approx(sum(losses), rel=1e-5)
    for key, expected in case["gradients"].items():
        gradient = (initial[key] - first[key]) / rate
        scale = np.abs(expected).max()
        assert scale > 0, key
        # a difference of weights has their rounding, divided by the rate
        assert np.abs(gradient - expected).max() < 1e-4 * scale + 1e-5, key
    assert case["weights"].keys() == initial.keys()
    for key, expected in case["weights"].items():
        moved = np.abs(expected - initial[key]).max()
        assert moved > 1e-3, key
        assert np.abs(model.weights()[key] - expected).max() < 1e-4 * max(moved, 1e-2), key
