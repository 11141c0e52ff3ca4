"""RecVAE in dense PyTorch: whether it pays on ml-1m, by RecBole's protocol, on the first split.

    pip install torch==2.13.0
    python -m benchmarks.recvae_torch                   # the authors' weight of the divergence
    python -m benchmarks.recvae_torch --rate 0.002

I. Shenbin, A. Alekseev, E. Tutubalina, V. Malykh, S. I. Nikolenko: RecVAE, WSDM 2020. A round is
three passes of the encoder, with dropout, and one of the decoder, without; training stops 13 rounds
after the best validation NDCG@10, whose round's test NDCG@10 counts.
"""

import math
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.common import load, parser, print_table, write_results
from benchmarks.compare_topn import ndcg_by_hand
from benchmarks.topn_protocols import recbole_parts

LAYERS, HIDDEN, LATENT = 5, 600, 200
DROPOUT, BATCH = 0.5, 500
PATIENCE = 13
PRIOR = ((3 / 20, 0.0), (1 / 10, 10.0))
"""Shares and log-variances of the prior's fixed parts; the old posterior has the rest."""


class Encoder(nn.Module):
    """Layers of swish units with shortcuts from all before them, and layer norms."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        inputs = [n_items] + [HIDDEN] * (LAYERS - 1)
        self.layers = nn.ModuleList(nn.Linear(n, HIDDEN) for n in inputs)
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN, eps=0.1) for _ in inputs)
        self.mean = nn.Linear(HIDDEN, LATENT)
        self.log_variance = nn.Linear(HIDDEN, LATENT)

    def forward(self, x: torch.Tensor, dropout: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the code's mean and log-variance."""
        h = functional.dropout(functional.normalize(x), dropout, training=dropout > 0)
        before: list[torch.Tensor] = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            z = layer(h) + sum(before)
            h = norm(z * torch.sigmoid(z))
            before.append(h)
        return self.mean(h), self.log_variance(h)


def log_normal(z: torch.Tensor, mean: Any, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the density, by coordinate."""
    spread = (z - mean) ** 2 / log_variance.exp()
    return -0.5 * (log_variance + math.log(2 * math.pi) + spread)


class RecVAE:
    """Encoder, decoder, and the encoder of the round before, whose posterior is in the prior."""

    def __init__(self, x: torch.Tensor, gamma: float, rate: float) -> None:
        self.x, self.gamma = x, gamma
        self.encoder, self.old = Encoder(x.shape[1]), Encoder(x.shape[1])
        self.decoder = nn.Linear(LATENT, x.shape[1])
        self.old.load_state_dict(self.encoder.state_dict())
        self.steppers = [
            torch.optim.Adam(part.parameters(), lr=rate) for part in (self.encoder, self.decoder)
        ]

    def log_prior(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the mixture's density, by coordinate."""
        with torch.no_grad():
            mean, log_variance = self.old(x, 0.0)
        old = 1 - sum(share for share, _ in PRIOR)
        parts = [math.log(old) + log_normal(z, mean, log_variance)]
        for share, spread in PRIOR:
            parts.append(math.log(share) + log_normal(z, 0.0, torch.tensor(spread)))
        return torch.logsumexp(torch.stack(parts), 0)

    def run_pass(self, part: int) -> None:
        """Train the encoder (0) or the decoder (1) on every user once."""
        for rows in torch.randperm(len(self.x)).split(BATCH):
            x = self.x[rows]
            mean, log_variance = self.encoder(x, DROPOUT if part == 0 else 0.0)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
            likelihood = (functional.log_softmax(self.decoder(z), 1) * x).sum(1)
            divergence = (log_normal(z, mean, log_variance) - self.log_prior(x, z)).sum(1)
            loss = (self.gamma * x.sum(1) * divergence - likelihood).mean()
            for stepper in self.steppers:
                stepper.zero_grad()
            loss.backward()
            self.steppers[part].step()

    def run_round(self) -> None:
        """Three passes of the encoder, and one of the decoder."""
        for _ in range(3):
            self.run_pass(0)
        self.old.load_state_dict(self.encoder.state_dict())
        self.run_pass(1)

    def scores(self) -> Any:
        """Score all items for all users."""
        with torch.no_grad():
            return self.decoder(self.encoder(self.x, 0.0)[0]).numpy()


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--gamma", type=float, default=0.005, help="weight of the divergence")
    p.add_argument("--rate", type=float, default=0.0005)
    p.add_argument("--rounds", type=int, default=100, help="at most")
    args = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    train, validation, test = recbole_parts(load("ml-1m")[0], seed=0)
    seen = train.to_matrix().toarray() != 0
    held_out = validation.to_matrix().toarray() != 0
    measures = ndcg_by_hand(validation), ndcg_by_hand(test)
    model = RecVAE(torch.tensor(seen, dtype=torch.float32), args.gamma, args.rate)
    rounds: list[dict[str, float]] = []
    best = 0
    for index in range(args.rounds):
        start = time.perf_counter()
        model.run_round()
        seconds = time.perf_counter() - start
        scores = np.where(seen, -np.inf, model.scores())
        found = {
            "seconds": seconds,
            "validation": measures[0](scores),
            "test": measures[1](np.where(held_out, -np.inf, scores)),
        }
        rounds.append(found)
        print(f"round {index + 1}: {found}", flush=True)
        if found["validation"] > rounds[best]["validation"]:
            best = index
        if index - best >= PATIENCE:
            break
    row = rounds[best]
    print_table(
        ("gamma", "rate", "rounds", "validation NDCG@10", "test NDCG@10"),
        [(args.gamma, args.rate, best + 1, f"{row['validation']:.4f}", f"{row['test']:.4f}")],
    )
    write_results("recvae_torch", {"arguments": vars(args), "rounds": rounds})


if __name__ == "__main__":
    main()
