"""Record what PyTorch makes of DualAutoRec's recipe, for tests/test_torch_dual.py.

    pip install torch==2.13.0
    PYTHONPATH=tests python tests/data/record_torch_dual.py

writes tests/data/torch_dual.json: ratings, and the predictions and codes after two epochs, in which
each part is trained on what the other left of each rating when that was last trained.
"""

import json
from pathlib import Path

import numpy as np
import torch
from record_torch_steps import make_ratings, numbers
from reference import CORRUPTION, Philox, biases, dampings, glorot, shuffled

UNITS, BATCH_SIZE, EPOCHS, RATE, CORRUPTED, SEED = 5, 4, 2, 0.02, 0.4, 5


class Part:
    """An autoencoder of the rows of a table."""

    def __init__(
        self, row: str, table: np.ndarray, inputs: np.ndarray, damping: float, seed: int
    ) -> None:
        observed = np.isfinite(table)
        counts = observed.sum(axis=1)
        factors = (np.maximum(counts, 1) / (counts @ counts / counts.sum())) ** -0.5
        self.transposed = row == "user"
        self.inputs = torch.tensor(np.where(observed, inputs * factors[:, None], 0)).float()
        self.observed = torch.tensor(observed)
        self.filled = np.flatnonzero(counts)
        weights = glorot(table.shape[1], UNITS, seed, 0) * observed.any(axis=0)[:, None]
        arrays = [weights, np.zeros((1, UNITS)), np.zeros((table.shape[1], UNITS))]
        arrays.append(np.zeros((1, table.shape[1])))
        self.weights = [torch.tensor(w).float().requires_grad_() for w in arrays]
        self.stepper = torch.optim.Adam(self.weights)
        rows, columns = np.count_nonzero(counts), np.count_nonzero(observed.any(axis=0))
        times = 2 * max(rows / columns, columns / rows) ** (1 / 3) if row == "user" else 1
        self.decay = 0.45 * counts.sum() ** 0.5 * times
        self.bias_decay = 2 * damping

    def codes(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the hidden units."""
        return torch.sigmoid(inputs @ self.weights[0] + self.weights[1]) - 0.5

    def outputs(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the outputs for every column."""
        return codes @ self.weights[2].T + self.weights[3]

    def run_epoch(self, epoch: int, targets: torch.Tensor) -> torch.Tensor:
        """Return the outputs of each batch before its step."""
        order = shuffled(self.filled, SEED, epoch)
        made = torch.zeros_like(targets)
        starts = range(0, len(order), BATCH_SIZE)
        for step, start in enumerate(starts):
            ids = order[start : start + BATCH_SIZE]
            rows, columns = ids[:, None], np.arange(targets.shape[1])
            cells = (columns, rows) if self.transposed else (rows, columns)
            masked = Philox(SEED, CORRUPTION, epoch).uniform(*cells) < np.float32(CORRUPTED)
            inputs = self.inputs[ids] * torch.tensor(~masked) / (1 - CORRUPTED)
            made[ids] = output = self.outputs(self.codes(inputs))
            squared = ((output - targets[ids])[self.observed[ids]] ** 2).sum()
            encoder, _, decoder, bias = self.weights
            penalty = self.decay / 2 * ((encoder**2).sum() + (decoder**2).sum())
            penalty = penalty + self.bias_decay / 2 * (bias**2).sum()
            done = epoch + step / len(starts)
            rate = RATE * (1 - done / EPOCHS) * min(done + 0.02, 1)
            self.stepper.param_groups[0]["lr"] = rate
            self.stepper.zero_grad()
            (squared + len(ids) / len(order) * penalty).backward()
            self.stepper.step()
            made = made.detach()
        return made


def main() -> None:
    """Write the file beside this one."""
    ratings, observed = make_ratings()  # users x items
    table = np.where(observed, ratings, np.nan).T
    of_items, of_users = (1.25 * damping for damping in dampings(table))
    mean, item_bias, user_bias = biases(table, of_items, of_users)
    factor = 1.117 / np.nanstd(table)
    offset = mean + item_bias[:, None] + user_bias
    targets = torch.tensor(np.nan_to_num((table - offset) * factor)).float()
    inputs = (table - np.nanmean(table)) * factor + 4.3
    item = Part("item", table, inputs, of_users, SEED)
    user = Part("user", table.T, inputs.T, of_items, SEED + 1)
    left = torch.zeros_like(targets)
    for epoch in range(EPOCHS):
        left = item.run_epoch(epoch, targets - left)
        left = user.run_epoch(epoch, (targets - left).T).T
    codes = {"item": item.codes(item.inputs), "user": user.codes(user.inputs)}
    output = item.outputs(codes["item"]) + user.outputs(codes["user"]).T
    users, items = np.nonzero(observed)
    recording = {
        "torch": torch.__version__,
        "parameters": {
            "hidden_units": [UNITS],
            "batch_size": BATCH_SIZE,
            "epochs": EPOCHS,
            "learning_rate": RATE,
            "corruption": CORRUPTED,
            "random_state": SEED,
        },
        "users": users.tolist(),
        "items": items.tolist(),
        "ratings": ratings[users, items].tolist(),
        "item_codes": numbers(codes["item"]),
        "user_codes": numbers(codes["user"]),
        "predictions": numbers((output / factor + torch.tensor(offset)).T.float()),
    }
    path = Path(__file__).with_name("torch_dual.json")
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
