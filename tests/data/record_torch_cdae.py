"""Record what PyTorch computes for two epochs of CDAE, for tests/test_torch_cdae.py.

    pip install torch==2.13.0
    python tests/data/record_torch_cdae.py

writes tests/data/torch_cdae.json: the users' items, and for each case the loss of each step, the
first step's gradients and the weights after the last. First weights, the order of users, what the
mask keeps and the sampled negatives are drawn by isthmus, whose tests of them stand on their own.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import _core

USERS, ITEMS, UNITS, BATCH, SEED = 10, 16, 4, 4, 3
NEGATIVES, CORRUPTION, EPOCHS = 2, 0.4, 2
CORRUPTION_STREAM = 1
RATES = {"sgd": 0.05, "adagrad": 0.05, "momentum": 0.02, "adam": 0.01}
OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "momentum": lambda weights, lr: torch.optim.SGD(weights, lr=lr, momentum=0.9),
    "adam": torch.optim.Adam,
}
MODELS = {
    "M1": ("identity", "square"),
    "M2": ("identity", "logistic"),
    "M3": ("sigmoid", "square"),
    "M4": ("sigmoid", "logistic"),
}
CASES = [
    *product(MODELS, (False, True), (0.0, 0.3), ("sgd", "adagrad")),
    *product(("M1", "M4"), (False, True), (0.0, 0.3), ("momentum", "adam")),
]


def make_rows() -> list[np.ndarray]:
    """Return the items of each user; one has none, and each batch leaves users out."""
    rng = np.random.default_rng(0)
    rows = [
        np.sort(rng.choice(ITEMS, size, replace=False)).astype(np.int32)
        for size in rng.integers(1, 7, USERS)
    ]
    rows[4] = rows[4][:0]
    return rows


def as_lists(arrays: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {
        name: [[float(f"{x:.7g}") for x in row] for row in array.detach().tolist()]
        for name, array in arrays.items()
    }


def user_loss(
    weights: dict[str, torch.Tensor], model: str, user: int, items: np.ndarray, epoch: int
) -> torch.Tensor:
    """Return a user's loss, summed over positives and sampled negatives."""
    activation, loss = MODELS[model]
    draws = _core.random_uniform(SEED, CORRUPTION_STREAM, epoch, user, items.astype(np.uint32))
    kept = items[draws >= CORRUPTION]
    z = weights["encoder.weights"][kept].sum(0) / (1 - CORRUPTION)
    z = z + weights["users"][user] + weights["encoder.bias"][0]
    h = torch.sigmoid(z) if activation == "sigmoid" else z
    others = _core.sample_negatives(SEED, epoch, user, items, ITEMS, NEGATIVES * len(items))
    chosen = np.concatenate([items, others])
    target = torch.tensor(np.isin(chosen, items), dtype=torch.float32)
    output = weights.get("decoder.weights", weights["encoder.weights"])
    score = output[chosen] @ h + weights["decoder.bias"][0, chosen]
    if loss == "square":
        return ((score - target) ** 2).sum()
    return torch.nn.functional.binary_cross_entropy_with_logits(score, target, reduction="sum")


def record(model: str, tied: bool, regularization: float, optimizer: str) -> dict[str, Any]:
    """Train for two epochs, of three batches each."""
    rows = make_rows()
    activation, loss = MODELS[model]
    initial = _core.Cdae(
        *(USERS, ITEMS, UNITS),
        activation=activation,
        logistic=loss == "logistic",
        tied=tied,
        seed=SEED,
    ).weights()
    weights = {
        name: torch.tensor(np.array(array), requires_grad=True) for name, array in initial.items()
    }
    stepper = OPTIMIZERS[optimizer](list(weights.values()), lr=RATES[optimizer])
    filled = np.array([user for user, items in enumerate(rows) if len(items)])
    losses: list[list[float]] = []
    gradients: dict[str, Any] = {}
    for epoch in range(EPOCHS):
        order = filled[_core.shuffle(len(filled), SEED, epoch)]
        losses.append([])
        for begin in range(0, len(order), BATCH):
            users = order[begin : begin + BATCH]
            each = [user_loss(weights, model, int(user), rows[user], epoch) for user in users]
            data = torch.stack(each).sum()
            shared = sum((w**2).sum() for name, w in weights.items() if name.endswith("weights"))
            decay = len(users) / len(order) * shared + (weights["users"][users] ** 2).sum()
            stepper.zero_grad()
            (data + regularization / 2 * decay).backward()
            if not gradients and optimizer == "sgd":
                gradients = as_lists({name: w.grad for name, w in weights.items()})
            stepper.step()
            losses[-1].append(data.item())
    return {
        "activation": activation,
        "logistic": loss == "logistic",
        "tied": tied,
        "regularization": regularization,
        "optimizer": optimizer,
        "losses": losses,
        "gradients": gradients,
        "weights": as_lists(weights),
    }


def main() -> None:
    """Write the file."""
    recording = {
        "torch": torch.__version__,
        "items": ITEMS,
        "units": UNITS,
        "batch_size": BATCH,
        "seed": SEED,
        "negatives": NEGATIVES,
        "corruption": CORRUPTION,
        "rates": RATES,
        "rows": [items.tolist() for items in make_rows()],
        "cases": {
            f"{model}, {'tied' if tied else 'free'}, lambda {decay:g}, {optimizer}": record(
                model, tied, decay, optimizer
            )
            for model, tied, decay, optimizer in CASES
        },
    }
    path = Path(__file__).parent / "torch_cdae.json"
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
