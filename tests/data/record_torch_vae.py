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
ITEM_AXIS = {"encoder.weights": 0, "decoder.weights": 0, "decoder.bias": 1}

CASES: dict[str, dict[str, Any]] = {
    "dae": {"encoder": [5], "latent": 0, "decoder": [], "regularization": 0.0},
    "deep dae": {"encoder": [6, 3, 6], "latent": 0, "decoder": [], "regularization": 0.02},
    "vae": {"encoder": [6], "latent": 3, "decoder": [6], "regularization": 0.0},
    "deep vae": {"encoder": [6, 4], "latent": 2, "decoder": [4, 5], "regularization": 0.01},
    "bernoulli dae": {"encoder": [5], "latent": 0, "decoder": [], "likelihood": "bernoulli"},
    "bernoulli vae": {"encoder": [6], "latent": 3, "decoder": [], "likelihood": "bernoulli"},
    "gaussian dae": {"encoder": [5], "latent": 0, "decoder": [], "likelihood": "gaussian"},
    "gaussian vae": {"encoder": [6], "latent": 3, "decoder": [6], "likelihood": "gaussian"},
    "quiet vae": {"encoder": [6], "latent": 3, "decoder": [6], "noise": 0.1},
    # 4 to 6 draw a first gradient that cancels to 1e-5, whose rounding Adam divides by its own size
    "sampled dae": {"encoder": [5], "latent": 0, "decoder": [], "sampled_items": 3},
    "sampled vae": {"encoder": [6], "latent": 3, "decoder": [6], "sampled_items": 3},
}
DEFAULTS = {"regularization": 0.0, "likelihood": "multinomial", "noise": 1.0, "sampled_items": 0}


def make_rows(case: dict[str, Any]) -> np.ndarray:
    """Return rows of ones; one has none. Few items are in a batch if others are to be drawn."""
    share = 0.1 if case["sampled_items"] else 0.3
    observed = np.random.default_rng(0).random((ROWS, ITEMS)) < share
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


def sample_items(case: dict[str, Any], x: torch.Tensor, batch: int) -> tuple[Any, torch.Tensor]:
    """Return the items of a batch's softmax, ascending, and the logarithms of their weights."""
    own = np.flatnonzero(x.numpy().any(axis=0)).astype(np.int32)
    if not case["sampled_items"]:
        return np.arange(ITEMS), torch.zeros(ITEMS)
    drawn = _core.sample_negatives(SEED, 0, batch, own, ITEMS, case["sampled_items"])
    assert 0 < len(drawn) < ITEMS - len(own)
    items = np.sort(np.concatenate([own, drawn]))
    weight = np.where(np.isin(items, own), 1.0, (ITEMS - len(own)) / len(drawn))
    return items, torch.tensor(np.log(weight), dtype=torch.float32)


def negative_log_likelihood(
    case: dict[str, Any],
    logits: torch.Tensor,
    x: torch.Tensor,
    items: Any,
    log_weight: torch.Tensor,
) -> torch.Tensor:
    """Return its mean over the rows."""
    if case["likelihood"] == "bernoulli":
        cells = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    elif case["likelihood"] == "gaussian":
        cells = (x - logits) ** 2 / 2
    else:
        cells = -x[:, items] * torch.log_softmax(logits[:, items] + log_weight, 1)
    return cells.sum(1).mean()


def losses(
    case: dict[str, Any],
    weights: dict[str, torch.Tensor],
    x: torch.Tensor,
    rows: np.ndarray,
    n: int,
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Return mean negative log likelihood, KL divergence and items of the batch with number n."""
    code = len(case["encoder"]) if case["latent"] else None
    items, log_weight = sample_items(case, x, n)
    kept = torch.zeros(x.shape)
    kept[:, items] = (
        draw(_core.random_uniform, CORRUPTION_STREAM, rows, len(items)) >= DROPOUT
    ) * 1.0
    h = torch.nn.functional.normalize(x) * kept / (1 - DROPOUT)
    h = torch.tanh(h @ weights["encoder.weights"] + weights["encoder.bias"])
    divergence = torch.zeros(())
    n_layers = len(case["encoder"]) + len(case["decoder"]) + (code is not None)
    for layer in range(1, n_layers):
        z = h @ weights[f"hidden.{layer}.weights"] + weights[f"hidden.{layer}.bias"]
        if layer == code:
            mean, log_variance = z.chunk(2, dim=1)
            noise = draw(_core.random_normal, LATENT_STREAM, rows, case["latent"])
            h = mean + case["noise"] * noise * torch.exp(0.5 * log_variance)
            divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        else:
            h = torch.tanh(z)
    logits = h @ weights["decoder.weights"].T + weights["decoder.bias"]
    return negative_log_likelihood(case, logits, x, items, log_weight), divergence, items


def keep_items(gradient: torch.Tensor, items: Any, axis: int) -> torch.Tensor:
    """Return the gradient with cells for some items alone."""
    mask = torch.zeros(gradient.shape)
    mask.index_fill_(axis, torch.tensor(items, dtype=torch.int64), 1.0)
    cells = mask.nonzero().T
    return torch.sparse_coo_tensor(
        cells, gradient[tuple(cells)], gradient.shape, check_invariants=True
    )


def record(case: dict[str, Any], optimizer: str) -> dict[str, Any]:
    """Train for an epoch, of three batches."""
    observed = make_rows(case)
    model = _core.MultinomialAutoencoder(
        ITEMS, case["encoder"], case["latent"], case["decoder"], activation="tanh", seed=SEED
    )
    weights = {
        name: torch.tensor(np.array(array), requires_grad=True)
        for name, array in model.weights().items()
    }
    sparse = list(ITEM_AXIS) if case["sampled_items"] and optimizer == "adam" else []
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    rate = RATES[optimizer]
    steppers = [kind([w for name, w in weights.items() if name not in sparse], lr=rate)]
    if sparse:
        steppers.append(torch.optim.SparseAdam([weights[name] for name in sparse], lr=rate))
    filled = np.flatnonzero(observed.any(axis=1))
    order = filled[_core.shuffle(len(filled), SEED, 0)]
    steps, gradients = [], {}
    for number, begin in enumerate(range(0, len(order), BATCH)):
        rows = order[begin : begin + BATCH]
        x = torch.tensor(observed[rows], dtype=torch.float32)
        likelihood, divergence, items = losses(case, weights, x, rows, number)
        decay = sum((w**2).sum() for name, w in weights.items() if name.endswith("weights"))
        loss = likelihood + min(BETA, number / ANNEALING) * divergence
        for w in weights.values():
            w.grad = None
        (loss + case["regularization"] / 2 * decay).backward()
        if number == 0:
            gradients = as_lists({name: w.grad for name, w in weights.items()})
        for name in sparse:
            weights[name].grad = keep_items(weights[name].grad, items, ITEM_AXIS[name])
        for stepper in steppers:
            stepper.step()
        n = len(rows)
        steps.append({"likelihood": likelihood.item() * n, "divergence": divergence.item() * n})
    return {
        **case,
        "rows": [np.flatnonzero(row).tolist() for row in observed],
        "optimizer": optimizer,
        "steps": steps,
        "gradients": gradients if optimizer == "sgd" else {},
        "weights": as_lists(weights),
    }


def main() -> None:
    """Write the file."""
    recording = {
        "torch": torch.__version__,
        "items": ITEMS,
        "batch_size": BATCH,
        "seed": SEED,
        "dropout": DROPOUT,
        "beta": BETA,
        "annealing": ANNEALING,
        "rates": RATES,
        "cases": {
            f"{name}, {optimizer}": record({**DEFAULTS, **case}, optimizer)
            for name, case in CASES.items()
            for optimizer in RATES
        },
    }
    path = Path(__file__).parent / "torch_vae.json"
    path.write_text(json.dumps(recording, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
