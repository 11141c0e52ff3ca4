"""Record what PyTorch computes for CVAE's content network, for tests/test_torch_content.py.

    pip install torch==2.13.0
    python tests/data/record_torch_content.py

writes tests/data/torch_content.json: the rows, and for each case the losses of each step, the first
step's gradients and the weights after the last. The order of rows, what corruption keeps and the
noise of the code are drawn by isthmus, whose tests of them stand on their own.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import _core

ROWS, INPUTS, BATCH, SEED = 11, 21, 4, 5
CORRUPTION_STREAM, LATENT_STREAM = 1, 3
RATES = {"sgd": 0.05, "adam": 0.01}

CASES: dict[str, dict[str, Any]] = {
    "layer": {"hidden": [5], "latent": 0, "corruption": 0.4, "regularization": 0.02},
    "code": {"hidden": [], "latent": 3, "corruption": 0.0, "regularization": 0.0},
    "network": {"hidden": [6, 4], "latent": 3, "corruption": 0.0, "regularization": 0.01},
    "drawn": {
        "hidden": [6, 4],
        "latent": 3,
        "corruption": 0.0,
        "regularization": 0.01,
        "target_weight": 1.5,
    },
}


def make_rows() -> np.ndarray:
    """Return rows of values in [0, 1]; one is empty."""
    rng = np.random.default_rng(0)
    values = np.round(rng.random((ROWS, INPUTS)), 3) * (rng.random((ROWS, INPUTS)) < 0.3)
    values[:, 0] = 1.0
    values[4] = 0.0
    return values.astype(np.float32)


def make_target(latent: int) -> np.ndarray:
    return np.round(np.random.default_rng(1).normal(size=(ROWS, latent)), 3).astype(np.float32)


def draw(function: Any, stream: int, rows: np.ndarray, n: int) -> torch.Tensor:
    positions = np.arange(n, dtype=np.uint32)
    return torch.tensor(np.array([function(SEED, stream, 0, int(row), positions) for row in rows]))


def as_lists(arrays: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {
        name: [[float(f"{x:.7g}") for x in row] for row in array.detach().tolist()]
        for name, array in arrays.items()
    }


def losses(
    case: dict[str, Any], weights: dict[str, torch.Tensor], x: torch.Tensor, rows: np.ndarray
) -> dict[str, torch.Tensor]:
    """Return the parts of a batch's loss, means over its rows."""
    zero = torch.zeros(())
    parts = {"reconstruction": zero, "divergence": zero, "distance": zero}
    h = x
    if case["corruption"]:
        kept = draw(_core.random_uniform, CORRUPTION_STREAM, rows, INPUTS) >= case["corruption"]
        h = h * kept / (1 - case["corruption"])
    n_hidden = len(case["hidden"])
    for layer in range(n_hidden):
        z = h @ weights[f"layer.{layer}.weights"] + weights[f"layer.{layer}.bias"]
        h = torch.sigmoid(z)
    if case["latent"]:
        code = f"layer.{n_hidden}"
        z = h @ weights[f"{code}.weights"] + weights[f"{code}.bias"]
        mean, log_variance = z.chunk(2, dim=1)
        noise = draw(_core.random_normal, LATENT_STREAM, rows, case["latent"])
        h = mean + noise * torch.exp(0.5 * log_variance)
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
        parts["divergence"] = divergence.mean()
        if "target_weight" in case:
            target = torch.tensor(make_target(case["latent"])[rows])
            parts["distance"] = ((target - h) ** 2).sum(1).mean()
        h = h @ weights[f"{code}.decoder_weights"].T + weights[f"{code}.decoder_bias"]
    else:
        n_hidden -= 1
        h = h @ weights[f"layer.{n_hidden}.weights"].T + weights[f"layer.{n_hidden}.decoder_bias"]
    for layer in reversed(range(n_hidden)):
        h = torch.sigmoid(h) @ weights[f"layer.{layer}.weights"].T
        h = h + weights[f"layer.{layer}.decoder_bias"]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(h, x, reduction="none")
    parts["reconstruction"] = entropy.sum(1).mean()
    return parts


def record(case: dict[str, Any], optimizer: str) -> dict[str, Any]:
    """Train for an epoch, of three batches."""
    values = make_rows()
    model = _core.ContentNetwork(INPUTS, case["hidden"], case["latent"], seed=SEED)
    weights = {
        name: torch.tensor(np.array(array), requires_grad=True)
        for name, array in model.weights().items()
    }
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    stepper = kind(list(weights.values()), lr=RATES[optimizer])
    filled = np.flatnonzero(values.any(axis=1))
    order = filled[_core.shuffle(len(filled), SEED, 0)]
    totals = dict.fromkeys(("reconstruction", "divergence", "distance"), 0.0)
    gradients = {}
    for number, begin in enumerate(range(0, len(order), BATCH)):
        rows = order[begin : begin + BATCH]
        parts = losses(case, weights, torch.tensor(values[rows]), rows)
        decay = sum((w**2).sum() for name, w in weights.items() if name.endswith("weights"))
        loss = parts["reconstruction"] + parts["divergence"]
        loss = loss + case.get("target_weight", 0.0) * parts["distance"]
        stepper.zero_grad()
        (loss + case["regularization"] / 2 * decay).backward()
        if number == 0:
            gradients = as_lists({name: w.grad for name, w in weights.items()})
        stepper.step()
        for name, part in parts.items():
            totals[name] += part.item() * len(rows)
    return {
        **case,
        "optimizer": optimizer,
        "losses": totals,
        "gradients": gradients if optimizer == "sgd" else {},
        "weights": as_lists(weights),
    }


def main() -> None:
    """Write the file."""
    recording = {
        "torch": torch.__version__,
        "rows": make_rows().round(3).tolist(),
        "target": make_target(3).tolist(),
        "batch_size": BATCH,
        "seed": SEED,
        "rates": RATES,
        "cases": {
            f"{name}, {optimizer}": record(case, optimizer)
            for name, case in CASES.items()
            for optimizer in RATES
        },
    }
    path = Path(__file__).parent / "torch_content.json"
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
