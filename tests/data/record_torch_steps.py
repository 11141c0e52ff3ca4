"""Record what PyTorch computes for a few training steps, for tests/test_torch_steps.py.

    pip install torch==2.13.0
    PYTHONPATH=tests python tests/data/record_torch_steps.py

writes tests/data/torch_steps.json: the ratings, and for each case its initial weights, and the loss
and the weights after each step.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference import Autoencoder, shuffled

ROWS, COLS, BATCH_SIZE, SEED = 19, 12, 4, 5

OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.003),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.002, momentum=0.9),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.05),
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.01),
}

CASES: dict[str, dict[str, Any]] = {
    "I-AutoRec": {
        "hidden": [6],
        "hidden_activation": "sigmoid",
        "output_activation": "identity",
        "regularization": 0.5,
        "target_scale": 1.0,
    },
    "deep": {
        "hidden": [7, 3, 5],
        "hidden_activation": "tanh",
        "output_activation": "sigmoid",
        "regularization": 0.2,
        "target_scale": 0.2,
    },
    "recipe": {
        "hidden": [6],
        "hidden_activation": "centered_sigmoid",
        "output_activation": "identity",
        "regularization": 0.5,
        "target_scale": 1.2,
        "bias_regularization": 3.0,
        "schedule": [0.1, 1.0, 0.75, 0.5, 0.25],
        "reading": {
            "input_factor": np.linspace(0.5, 1.5, ROWS),
            "target_offset": np.linspace(3, 2, ROWS),
            "column_offset": np.linspace(-1, 1, COLS),
        },
    },
}
"""Their ratings are read as they are where there is no "reading"."""

FUNCTIONS = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "centered_sigmoid": lambda z: torch.sigmoid(z) - 0.5,
    "tanh": torch.tanh,
}


def make_ratings() -> tuple[np.ndarray, np.ndarray]:
    """Return ratings from 0 to 5, 0 among them, and where they are; one row has none."""
    rng = np.random.default_rng(0)
    observed = rng.random((ROWS, COLS)) < 0.4
    observed[:, 0] = True
    observed[7] = False
    return np.where(observed, rng.integers(0, 6, (ROWS, COLS)), 0), observed


def record(case: dict[str, Any], optimizer: str) -> dict[str, Any]:
    """Train for an epoch, of five batches."""
    ratings, observed = make_ratings()
    inputs, targets = ratings, ratings * case["target_scale"]
    if "reading" in case:
        read = {name: array.astype(np.float32) for name, array in case["reading"].items()}
        read["cell_offset"] = np.sin(np.arange(np.count_nonzero(observed), dtype=np.float32))
        inputs = ratings * read["input_factor"][:, None]
        targets = ratings - read["target_offset"][:, None] - read["column_offset"]
        targets = targets * case["target_scale"]
        targets[observed] -= read["cell_offset"]
        case = {**case, "reading": {name: array.tolist() for name, array in read.items()}}
    inputs = torch.tensor(inputs, dtype=torch.float32)
    targets = torch.tensor(targets, dtype=torch.float32)
    mask = torch.tensor(observed)
    functions = FUNCTIONS[case["hidden_activation"]], FUNCTIONS[case["output_activation"]]
    initial = Autoencoder(COLS, tuple(case["hidden"]), seed=SEED).weights
    rng = np.random.default_rng(1)
    weights = {
        name: torch.tensor(
            (w + 0.1 * rng.normal(size=w.shape)).astype(np.float32), requires_grad=True
        )
        for name, w in initial.items()
    }
    start = {name: numbers(w) for name, w in weights.items()}
    stepper = OPTIMIZERS[optimizer](list(weights.values()))
    order = shuffled(np.flatnonzero(observed.any(axis=1)), SEED, epoch=0)
    rate = stepper.param_groups[0]["lr"]
    rates = [rate * share for share in case.get("schedule", [1.0] * 5)]
    steps = []
    for begin, own_rate in zip(range(0, len(order), BATCH_SIZE), rates, strict=True):
        stepper.param_groups[0]["lr"] = own_rate
        ids = order[begin : begin + BATCH_SIZE]
        h = inputs[ids]
        for name in ["encoder", *(f"hidden.{layer}" for layer in range(1, len(case["hidden"])))]:
            h = functions[0](h @ weights[f"{name}.weights"] + weights[f"{name}.bias"])
        output = functions[1](h @ weights["decoder.weights"].T + weights["decoder.bias"])
        squared = ((output - targets[ids])[mask[ids]] ** 2).sum()
        decayed = sum((w**2).sum() for name, w in weights.items() if name.endswith("weights"))
        penalty = case["regularization"] / 2 * decayed
        penalty = (
            penalty + case.get("bias_regularization", 0) / 2 * (weights["decoder.bias"] ** 2).sum()
        )
        loss = squared + len(ids) / len(order) * penalty
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        steps.append(
            {
                "squared_error": float(squared.detach()),
                "weights": {name: numbers(w) for name, w in weights.items()},
            }
        )
    return {
        **case,
        "optimizer": optimizer,
        "rates": rates,
        "initial": start,
        "steps": steps,
    }


def numbers(array: torch.Tensor) -> list[list[float]]:
    """Return the numbers with no more digits than a float has."""
    return [[float(str(x)) for x in row] for row in array.detach().numpy()]


def main() -> None:
    """Write the file beside this one."""
    ratings, observed = make_ratings()
    row, col = np.nonzero(observed)
    recording = {
        "torch": torch.__version__,
        "batch_size": BATCH_SIZE,
        "seed": SEED,
        "cols": COLS,
        "indptr": np.searchsorted(row, np.arange(ROWS + 1)).tolist(),
        "indices": col.tolist(),
        "values": ratings[row, col].tolist(),
        "cases": {
            f"{name} {optimizer}": record(case, optimizer)
            for name, case in CASES.items()
            for optimizer in OPTIMIZERS
        },
    }
    path = Path(__file__).with_name("torch_steps.json")
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
