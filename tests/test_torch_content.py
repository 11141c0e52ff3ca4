"""Steps of CVAE's content network are PyTorch's, as tests/data/record_torch_content.py recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from isthmus import _core

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_content.json").read_text())


@pytest.mark.parametrize("name", RECORDING["cases"])
def test_steps_are_those_of_pytorch(name):
    case = RECORDING["cases"][name]
    matrix = sparse.csr_array(np.array(RECORDING["rows"], np.float32))
    n_rows = int(np.count_nonzero(np.diff(matrix.indptr)))
    rate = RECORDING["rates"][case["optimizer"]]
    cells = _core.Cells(
        matrix.indptr.astype(np.int64), matrix.indices, matrix.data, matrix.shape[1]
    )
    model = _core.ContentNetwork(
        matrix.shape[1], case["hidden"], case["latent"], seed=RECORDING["seed"]
    )
    trainer = _core.ContentTrainer(
        *(model, cells),
        optimizer=case["optimizer"],
        regularization=case["regularization"],
        batch_size=RECORDING["batch_size"],
        corruption=case["corruption"],
        seed=RECORDING["seed"],
        num_threads=2,
    )
    initial = {key: array.copy() for key, array in model.weights().items()}
    first = {}

    def remember(rows_done):
        if rows_done == RECORDING["batch_size"]:
            first.update({key: array.copy() for key, array in model.weights().items()})

    drawn = "target_weight" in case
    *losses, done = trainer.run_epoch(
        *(0, rate),
        target=np.array(RECORDING["target"], np.float32) if drawn else None,
        target_weight=case.get("target_weight", 0.0),
        progress=remember,
    )
    assert done == n_rows
    np.testing.assert_allclose(losses, list(case["losses"].values()), rtol=2e-5, atol=1e-9)
    for key, expected in case["gradients"].items():
        gradient = (initial[key] - first[key]) / rate
        scale = np.abs(expected).max()
        assert scale > 0, key
        # a difference of weights has their rounding, divided by the rate
        assert np.abs(gradient - expected).max() < 1e-4 * scale + 1e-5, key
    for key, expected in case["weights"].items():
        moved = np.abs(expected - initial[key]).max()
        assert moved > 1e-3, key
        assert np.abs(model.weights()[key] - expected).max() < 1e-4 * max(moved, 1e-2), key
