"""Record what PyTorch computes for steps of Mult-DAE and Mult-VAE, for tests/test_torch_vae.py.

    pip install torch==2.13.0
    python tests/data/record_torch_vae.py

writes tests/data/torch_vae.json: the rows, and for each case its initial weights, the loss of each
step, the first step's gradients and the weights after the last. The order of rows, what dropout
keeps and the noise of the code are drawn by isthmus, whose tests of them stand on their own.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import _core

ROWS, ITEMS, BATCH, SEED, DROPOUT = 11, 21, 4, 5, 0.4
CORRUPTION_STREAM, LATENT_STREAM = 1, 3
BETA, ANNEALING = 0.5, 4.0
RATES = {"sgd": 0.05, "adam": 0.01}

CASES: dict[str, dict[str, Any]] = {
    "dae": {"encoder": [5], "latent": 0, "decoder": [], "regularization": 0.0},
    "deep dae": {"encoder": [6, 3, 6], "latent": 0, "decoder": [], "regularization": 0.02},
    "vae": {"encoder": [6], "latent": 3, "decoder": [6], "regularization": 0.0},
    "deep vae": {"encoder": [6, 4], "latent": 2, "decoder": [4, 5], "regularization": 0.01},
}


def make_rows() -> np.ndarray:
    """Return rows of ones; one has none."""
    observed = np.random.default_rng(0).random((ROWS, ITEMS)) < 0.3
    observed[:, 0] = True
    observed[4] = False
    return observed


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
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean negative log likelihood and KL divergence of a batch."""
    code = len(case["encoder"]) if case["latent"] else None
    kept = draw(_core.random_uniform, CORRUPTION_STREAM, rows, ITEMS) >= DROPOUT
    h = torch.nn.functional.normalize(x) * kept / (1 - DROPOUT)
    h = torch.tanh(h @ weights["encoder.weights"] + weights["encoder.bias"])
    divergence = torch.zeros(())
    n_layers = len(case["encoder"]) + len(case["decoder"]) + (code is not None)
    for layer in range(1, n_layers):
        z = h @ weights[f"hidden.{layer}.weights"] + weights[f"hidden.{layer}.bias"]
        if layer == code:
            mean, log_variance = z.chunk(2, dim=1)
            noise = draw(_core.random_normal, LATENT_STREAM, rows, case["latent"])
            h = mean + noise * torch.exp(0.5 * log_variance)
            divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        else:
            h = torch.tanh(z)
    logits = h @ weights["decoder.weights"].T + weights["decoder.bias"]
    return -(x * torch.log_softmax(logits, 1)).sum(1).mean(), divergence


def record(case: dict[str, Any], optimizer: str) -> dict[str, Any]:
    """Train for an epoch, of three batches."""
    observed = make_rows()
    model = _core.MultinomialAutoencoder(
        ITEMS, case["encoder"], case["latent"], case["decoder"], activation="tanh", seed=SEED
    )
    weights = {
        name: torch.tensor(np.array(array), requires_grad=True)
        for name, array in model.weights().items()
    }
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    stepper = kind(list(weights.values()), lr=RATES[optimizer])
    filled = np.flatnonzero(observed.any(axis=1))
    order = filled[_core.shuffle(len(filled), SEED, 0)]
    steps, gradients = [], {}
    for number, begin in enumerate(range(0, len(order), BATCH)):
        rows = order[begin : begin + BATCH]
        x = torch.tensor(observed[rows], dtype=torch.float32)
        likelihood, divergence = losses(case, weights, x, rows)
        decay = sum((w**2).sum() for name, w in weights.items() if name.endswith("weights"))
        loss = likelihood + min(BETA, number / ANNEALING) * divergence
        stepper.zero_grad()
        (loss + case["regularization"] / 2 * decay).backward()
        if number == 0:
            gradients = as_lists({name: w.grad for name, w in weights.items()})
        stepper.step()
        n = len(rows)
        steps.append({"likelihood": likelihood.item() * n, "divergence": divergence.item() * n})
    return {
        **case,
        "optimizer": optimizer,
        "steps": steps,
        "gradients": gradients if optimizer == "sgd" else {},
        "weights": as_lists(weights),
    }


def main() -> None:
    """Write the file."""
    recording = {
        "torch": torch.__version__,
        "rows": [np.flatnonzero(row).tolist() for row in make_rows()],
        "items": ITEMS,
        "batch_size": BATCH,
        "seed": SEED,
        "dropout": DROPOUT,
        "beta": BETA,
        "annealing": ANNEALING,
        "rates": RATES,
        "cases": {
            f"{name}, {optimizer}": record(case, optimizer)
            for name, case in CASES.items()
            for optimizer in RATES
        },
    }
    path = Path(__file__).parent / "torch_vae.json"
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
