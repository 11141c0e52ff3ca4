"""Steps of Mult-DAE and Mult-VAE are PyTorch's, as tests/data/record_torch_vae.py recorded them."""

import json
from pathlib import Path

import numpy as np
import pytest

from isthmus import _core

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_vae.json").read_text())


@pytest.mark.parametrize("name", RECORDING["cases"])
def test_steps_are_those_of_pytorch(name):
    case = RECORDING["cases"][name]
    rows = [np.array(row, np.int32) for row in case["rows"]]
    lengths = np.array([len(row) for row in rows])
    n_rows = int(np.count_nonzero(lengths))
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    items, rate = RECORDING["items"], RECORDING["rates"][case["optimizer"]]
    model = _core.MultinomialAutoencoder(
        *(items, case["encoder"], case["latent"], case["decoder"]),
        activation="tanh",
        seed=RECORDING["seed"],
    )
    trainer = _core.MultinomialTrainer(
        *(model, n_rows),
        optimizer=case["optimizer"],
        regularization=case["regularization"],
        batch_size=RECORDING["batch_size"],
        dropout=RECORDING["dropout"],
        likelihood=case["likelihood"],
        sampled_items=case["sampled_items"],
        noise=case["noise"],
        seed=RECORDING["seed"],
        num_threads=2,
    )
    initial = {key: array.copy() for key, array in model.weights().items()}
    first = {}

    def remember(rows_done):
        if rows_done == RECORDING["batch_size"]:
            first.update({key: array.copy() for key, array in model.weights().items()})

    likelihood, divergence, done = trainer.run_epoch(
        *(indptr, np.concatenate(rows), items, 0, rate),
        beta=RECORDING["beta"],
        annealing=RECORDING["annealing"],
        progress=remember,
    )
    assert done == n_rows
    steps = case["steps"]
    assert len(steps) == 3
    assert likelihood == pytest.approx(sum(step["likelihood"] for step in steps), rel=1e-5)
    assert divergence == pytest.approx(
        sum(step["divergence"] for step in steps), rel=1e-4, abs=1e-6
    )
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
