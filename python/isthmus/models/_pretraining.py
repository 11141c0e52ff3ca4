"""Greedy layer-wise pretraining of a deep autoencoder's inner layers."""

from __future__ import annotations

import numpy as np

from isthmus import _core
from isthmus.data._csr import from_dense
from isthmus.evaluation.scores import Floats

__all__ = ["inner_layers"]

EPOCHS = 100
LEARNING_RATE = 0.002
LEARNING_RATE_DECAY = 0.97
"""Factor on the rate after each epoch."""
BATCH_ROWS = 256
"""Rows of codes in a mini-batch."""


def inner_layers(
    codes: Floats,
    units: tuple[int, ...],
    *,
    activation: str,
    seed: int,
    num_threads: int,
    epochs: int = EPOCHS,
) -> list[tuple[Floats, Floats]]:
    """Train autoencoders of codes, each on the codes of the one before, and unroll them.

    Parameters
    ----------
    codes : ndarray of float32, shape (n_rows, n_codes)
    units : tuple of int
        Of the layers between the codes and their reconstruction; the same in both directions.
    activation : str
        Of every layer, the reconstruction too.
    seed, num_threads : int
    epochs : int, default 100
        Of Adam, for each autoencoder.

    Returns
    -------
    list of (weights, bias)
        From the codes inwards and back out to them, ``len(units) + 1`` layers; weights are inputs
        x outputs.

    Notes
    -----
    G. Hinton, R. Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks, Science
    2006; with autoencoders instead of Boltzmann machines (Y. Bengio et al.: Greedy Layer-Wise
    Training of Deep Networks, NIPS 2006).
    """
    n_rows, n_codes = codes.shape
    network = _core.Autoencoder(
        n_codes,
        units[:1],
        hidden_activation=activation,
        output_activation=activation,
        seed=seed,
        num_threads=num_threads,
    )
    cells = from_dense(codes)
    rows = _core.Rows(cells.indptr, cells.indices, cells.values, n_codes)
    trainer = _core.Trainer(
        network,
        np.full(n_codes, n_rows, np.int64),
        n_rows,
        optimizer="adam",
        momentum=0.9,
        regularization=0.0,
        batch_size=BATCH_ROWS,
        corruption="none",
        corruption_level=0.0,
        dropout=0.0,
        seed=seed,
        num_threads=num_threads,
    )
    for epoch in range(epochs):
        trainer.run_epoch(rows, epoch, LEARNING_RATE * LEARNING_RATE_DECAY**epoch)
    trainer.finish()
    between = []
    if len(units) > 1:
        between = inner_layers(
            network.encode(rows, num_threads=num_threads).array,
            units[1:-1],
            activation=activation,
            seed=seed,
            num_threads=num_threads,
            epochs=epochs,
        )
    weights = network.weights()
    into = (weights["encoder.weights"], weights["encoder.bias"])
    out_of = (weights["decoder.weights"].T, weights["decoder.bias"])
    return [into, *between, out_of]
