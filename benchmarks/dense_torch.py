"""AutoRec as a dense framework does it: the same recipe on masked dense batches in PyTorch."""

from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.data._csr import CSR


class DenseAutoRec:
    """I- or U-AutoRec with one sigmoid layer, its step the same as isthmus.AutoRec's.

    Parameters
    ----------
    rows : CSR
        Rows to reconstruct.
    offset : ndarray of float32, shape (n_rows,)
        Subtracted from each row's targets.
    keep_dense : bool
        Whether all rows are made dense once (the fastest way, if they fit the memory) or each
        batch anew.
    """

    def __init__(
        self,
        rows: CSR,
        offset: NDArray[np.float32],
        *,
        hidden_units: int,
        regularization: float,
        optimizer: str,
        learning_rate: float,
        batch_size: int,
        corruption: float,
        keep_dense: bool,
        threads: int,
        seed: int = 0,
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.rows, self.offset = rows, torch.from_numpy(offset)
        self.batch_size, self.corruption = batch_size, corruption
        self.regularization = regularization
        n = rows.shape[1]
        self.encoder = torch.nn.Linear(n, hidden_units)
        self.decoder = torch.nn.Linear(hidden_units, n)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        self.optimizer = kinds[optimizer](parameters, lr=learning_rate)
        self.dense = self._dense(np.arange(rows.shape[0])) if keep_dense else None
        self.filled = np.flatnonzero(np.diff(rows.indptr))

    def _dense(self, ids: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and mask of some rows; a stored 0 is observed."""
        values = torch.zeros(len(ids), self.rows.shape[1])
        mask = torch.zeros(len(ids), self.rows.shape[1])
        for at, row in enumerate(ids):
            begin, end = self.rows.indptr[row], self.rows.indptr[row + 1]
            columns = torch.from_numpy(self.rows.indices[begin:end].astype(np.int64))
            values[at, columns] = torch.from_numpy(np.array(self.rows.values[begin:end]))
            mask[at, columns] = 1.0
        return values, mask

    def step(self, ids: NDArray[np.int64]) -> None:
        """One mini-batch."""
        if self.dense is None:
            values, mask = self._dense(ids)
        else:
            index = torch.from_numpy(ids)
            values, mask = self.dense[0][index], self.dense[1][index]
        target = (values - self.offset[torch.from_numpy(ids)][:, None]) * mask
        if self.corruption:
            values = torch.nn.functional.dropout(values, self.corruption)
        output = self.decoder(torch.sigmoid(self.encoder(values)))
        share = len(ids) / len(self.filled)
        decay = self.encoder.weight.square().sum() + self.decoder.weight.square().sum()
        loss = ((output * mask - target) ** 2).sum() + self.regularization / 2 * share * decay
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

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
    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """Reconstructions of single cells."""
        assert self.dense is not None
        output = self.decoder(torch.sigmoid(self.encoder(self.dense[0])))
        result: NDArray[np.float32] = (output + self.offset[:, None]).numpy()[rows, columns]
        return result
