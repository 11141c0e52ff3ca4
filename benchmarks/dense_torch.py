"""AutoRec as a dense framework does it: the same recipe on masked dense batches in PyTorch."""

from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus import Ratings
from isthmus.data._csr import row_numbers
from isthmus.models._autoencoder import BESIDE_OUTPUTS
from isthmus.models._biases import fit_biases

SPREAD, INPUT_MEAN = 1.117, 4.3
"""Standard deviation of the ratings, and mean of the inputs, once standardised."""
FIRST_STEP = 0.02
"""Share of the learning rate in the first step."""


class DenseAutoRec:
    """I-AutoRec with one hidden layer and the recipe that is isthmus.AutoRec's default.

    Parameters
    ----------
    ratings : Ratings
        Rows are its items.
    optimizer : {"adam", "sgd"}
    epochs : int
        After which the learning rate is 0.
    keep_dense : bool
        Whether all rows are made dense once (the fastest way, if they fit the memory) or each
        batch anew.
    fused : bool
        Whether PyTorch moves all weights in one pass over each, which it does not by itself.
    autocast : bool
        Whether PyTorch multiplies in bfloat16.
    """

    def __init__(
        self,
        ratings: Ratings,
        *,
        hidden_units: int = 500,
        optimizer: str = "adam",
        learning_rate: float = 0.0015,
        batch_size: int,
        epochs: int = 15,
        corruption: float = 0.4,
        keep_dense: bool,
        fused: bool = False,
        autocast: bool = False,
        threads: int,
        seed: int = 0,
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.rows = ratings.rows("item")
        self.learning_rate, self.epochs = learning_rate, epochs
        self.batch_size, self.corruption = batch_size, corruption
        self.autocast = autocast
        self.regularization = 0.45 * ratings.nnz**0.5
        self._read(ratings)
        n = self.rows.shape[1]
        self.encoder = torch.nn.Linear(n, hidden_units)
        self.decoder = torch.nn.Linear(hidden_units, n)
        torch.nn.init.xavier_uniform_(self.encoder.weight)
        for zero in (self.encoder.bias, self.decoder.weight, self.decoder.bias):
            torch.nn.init.zeros_(zero)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        self.optimizer = kinds[optimizer](parameters, lr=learning_rate, fused=fused)
        self.dense = self._dense(np.arange(self.rows.shape[0])) if keep_dense else None
        self.filled = np.flatnonzero(np.diff(self.rows.indptr))
        self.steps = 0

    def _read(self, ratings: Ratings) -> None:
        """Set biases, and the input and target of each stored cell."""
        values = self.rows.values.astype(np.float64)
        of, by = row_numbers(self.rows.indptr), self.rows.indices
        items = np.diff(self.rows.indptr)
        fitted = fit_biases(self.rows, ratings.mean, times=BESIDE_OUTPUTS["item"])
        self.mean, self.item_bias, self.user_bias, self.dampings = fitted
        self.factor = SPREAD / values.std()
        typical = np.square(items).sum() / items.sum()
        row_factor = np.sqrt(typical / np.maximum(items, 1))
        inputs = ((values - ratings.mean) * self.factor + INPUT_MEAN) * row_factor[of]
        targets = (values - self.mean - self.item_bias[of] - self.user_bias[by]) * self.factor
        self.inputs = torch.from_numpy(inputs.astype(np.float32))
        self.targets = torch.from_numpy(targets.astype(np.float32))

    def _dense(self, ids: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs, targets and mask of some rows; a stored 0 is observed."""
        inputs, targets, mask = torch.zeros(3, len(ids), self.rows.shape[1])
        for at, row in enumerate(ids):
            cells = slice(self.rows.indptr[row], self.rows.indptr[row + 1])
            columns = torch.from_numpy(self.rows.indices[cells].astype(np.int64))
            inputs[at, columns] = self.inputs[cells]
            targets[at, columns] = self.targets[cells]
            mask[at, columns] = 1.0
        return inputs, targets, mask

    def _output(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.decoder(torch.sigmoid(self.encoder(inputs)) - 0.5)
        return output

    def step(self, ids: NDArray[np.int64]) -> None:
        """One mini-batch."""
        if self.dense is None:
            inputs, targets, mask = self._dense(ids)
        else:
            inputs, targets, mask = (array[torch.from_numpy(ids)] for array in self.dense)
        if self.corruption:
            inputs = torch.nn.functional.dropout(inputs, self.corruption)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            output = self._output(inputs)
        errors = output.float() * mask - targets
        decay = self.encoder.weight.square().sum() + self.decoder.weight.square().sum()
        penalty = self.regularization / 2 * decay
        penalty = penalty + self.dampings.column * self.decoder.bias.square().sum()
        loss = errors.square().sum() + len(ids) / len(self.filled) * penalty
        done = self.steps / -(-len(self.filled) // self.batch_size)  # epochs
        rate = self.learning_rate * max(1 - done / self.epochs, 0) * min(done + FIRST_STEP, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1

    def run_epoch(self, generator: np.random.Generator, batches: int | None = None) -> float:
        """Seconds of an epoch; with `batches`, of that many, scaled to the epoch."""
        order = generator.permutation(self.filled)
        starts = range(0, len(order), self.batch_size)
        done = starts if batches is None else starts[:batches]
        begin = perf_counter()
        rows = 0
        for start in done:
            ids = order[start : start + self.batch_size]
            self.step(ids)
            rows += len(ids)
        return (perf_counter() - begin) * len(order) / rows

    @torch.no_grad()
    def predict(self, items: NDArray[np.int64], users: NDArray[np.int64]) -> NDArray[np.float64]:
        """Ratings of single cells."""
        assert self.dense is not None
        output = self._output(self.dense[0]).numpy()[items, users] / self.factor
        predicted: NDArray[np.float64] = (
            output + self.mean + self.item_bias[items] + self.user_bias[users]
        )
        return predicted
