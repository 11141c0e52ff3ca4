"""Record PyTorch's loss and gradients over all rows, for tests/test_lbfgs.py.

    pip install torch==2.13.0
    PYTHONPATH=tests:tests/data python tests/data/record_torch_gradients.py

writes tests/data/torch_gradients.json: the ratings, and for each case its weights, the loss with
its penalty, and the gradient that autograd finds.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record_torch_steps import CASES, COLS, FUNCTIONS, SEED, make_ratings, numbers
from reference import Autoencoder


def record(case: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the loss once, at weights whose biases are not 0."""
    ratings, observed = make_ratings()
    inputs = torch.tensor(ratings, dtype=torch.float64)
    functions = FUNCTIONS[case["hidden_activation"]], FUNCTIONS[case["output_activation"]]
    rng = np.random.default_rng(1)
    weights = {
        name: torch.tensor(
            (w + 0.1 * rng.normal(size=w.shape)).astype(np.float32).astype(np.float64),
            requires_grad=True,
        )
        for name, w in Autoencoder(COLS, tuple(case["hidden"]), seed=SEED).weights.items()
    }
    h = inputs
    for name in ["encoder", *(f"hidden.{layer}" for layer in range(1, len(case["hidden"])))]:
        h = functions[0](h @ weights[f"{name}.weights"] + weights[f"{name}.bias"])
    output = functions[1](h @ weights["decoder.weights"].T + weights["decoder.bias"])
    errors = (output - inputs * case["target_scale"])[torch.tensor(observed)]
    penalty = sum((w**2).sum() for name, w in weights.items() if name.endswith("weights"))
    loss = (errors**2).sum() + case["regularization"] / 2 * penalty
    loss.backward()
    return {
        **case,
        "loss": float(loss.detach()),
        "weights": {name: numbers(w.float()) for name, w in weights.items()},
        "gradients": {name: numbers(w.grad.float()) for name, w in weights.items()},
    }


def main() -> None:
    """Write the file beside this one."""
    ratings, observed = make_ratings()
    row, col = np.nonzero(observed)
    recording = {
        "torch": torch.__version__,
        "cols": COLS,
        "indptr": np.searchsorted(row, np.arange(len(ratings) + 1)).tolist(),
        "indices": col.tolist(),
        "values": ratings[row, col].tolist(),
        "cases": {name: record(case) for name, case in CASES.items()},
    }
    path = Path(__file__).with_name("torch_gradients.json")
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
