"""Mult-VAE as a dense framework does it: the same recipe on dense batches in PyTorch."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus import Ratings


def layers(units: list[int]) -> torch.nn.Sequential:
    """Linear layers with tanh between them, weights uniform by Glorot and Bengio, biases 0."""
    parts: list[torch.nn.Module] = []
    for wide, narrow in pairwise(units):
        linear = torch.nn.Linear(wide, narrow)
        torch.nn.init.xavier_uniform_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        parts += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*parts[:-1])


class DenseVAE:
    """Mult-VAE, its step the same as isthmus.MultVAE's; it takes what that takes.

    Parameters
    ----------
    train : Ratings
        Made dense once, which is the fastest way if it fits the memory.
    """

    def __init__(self, train: Ratings, settings: dict[str, Any], threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(settings["random_state"])
        self.settings = settings
        self.rows = torch.from_numpy((train.to_matrix().toarray() != 0).astype(np.float32))
        self.filled = np.flatnonzero(np.diff(train.indptr))
        self.random = np.random.default_rng(settings["random_state"])
        hidden, latent = list(settings["hidden_units"]), settings["latent_units"]
        after = settings["decoder_units"]
        after = hidden[::-1] if after is None else list(after)
        self.encoder = layers([train.n_items, *hidden, 2 * latent])
        self.decoder = layers([latent, *after, train.n_items])
        self.optimizer = torch.optim.Adam(
            [*self.encoder.parameters(), *self.decoder.parameters()], lr=settings["learning_rate"]
        )
        self.steps = 0

    def step(self, x: torch.Tensor) -> None:
        """One mini-batch."""
        s = self.settings
        h = torch.nn.functional.dropout(torch.nn.functional.normalize(x), s["dropout"])
        mean, log_variance = self.encoder(h).chunk(2, dim=1)
        noise = torch.randn_like(mean)
        logits = self.decoder(mean + noise * torch.exp(0.5 * log_variance))
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        beta = min(s["beta"], self.steps / s["annealing_steps"])
        loss = -(x * torch.log_softmax(logits, 1)).sum(1).mean() + beta * divergence
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1

    def run_epoch(self) -> None:
        """Train on all users once."""
        order = self.random.permutation(self.filled)
        for start in range(0, len(order), self.settings["batch_size"]):
            self.step(self.rows[order[start : start + self.settings["batch_size"]]])

    @torch.no_grad()
    def scores(self) -> NDArray[np.float32]:
        """Scores of all users for all items, what they have in training left out."""
        codes = self.encoder(torch.nn.functional.normalize(self.rows)).chunk(2, dim=1)[0]
        scores = self.decoder(codes)
        scores[self.rows > 0] = -torch.inf
        result: NDArray[np.float32] = scores.numpy()
        return result
