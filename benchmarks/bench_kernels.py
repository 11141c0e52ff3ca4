"""The core's kernels alone: ``pytest benchmarks``. Shares of the machine: ``roofline.py``."""

from typing import Any

import numpy as np
import pytest

from isthmus import Ratings, _core
from isthmus.data._csr import column_counts

UNITS = 200


@pytest.fixture(scope="module")
def rows(ratings: Ratings) -> _core.Rows:
    """Items, with users for columns."""
    matrix = ratings.rows("item")
    return _core.Rows(matrix.indptr, matrix.indices, matrix.values, matrix.shape[1])


@pytest.fixture
def network(ratings: Ratings) -> _core.Autoencoder:
    """An untrained autoencoder of the items."""
    return _core.Autoencoder(
        ratings.n_users,
        (UNITS,),
        hidden_activation="sigmoid",
        output_activation="identity",
        seed=0,
        num_threads=1,
    )


def test_encode(benchmark: Any, network: _core.Autoencoder, rows: _core.Rows) -> None:
    """Sparse rows times the encoder's weights."""
    benchmark(network.encode, rows, num_threads=1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_batches(
    benchmark: Any, network: _core.Autoencoder, rows: _core.Rows, ratings: Ratings, optimizer: str
) -> None:
    """Encode, masked decode, the way back and the fused steps of an epoch's batches."""
    popularity = column_counts(ratings.rows("item").indices, ratings.n_users)
    filled = int(np.count_nonzero(np.diff(ratings.rows("item").indptr)))
    trainer = _core.Trainer(
        *(network, popularity, filled),
        optimizer=optimizer,
        momentum=0.9,
        regularization=1.0,
        hidden_regularization=None,
        batch_size=256,
        corruption="none",
        corruption_level=0.0,
        dropout=0.0,
        seed=0,
        num_threads=1,
    )
    benchmark(trainer.run_epoch, rows, 0, 1e-5)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu"])
def test_activate(benchmark: Any, name: str) -> None:
    """A million values."""
    benchmark(_core.activate, name, np.linspace(-8, 8, 1_000_000, dtype=np.float32))


def test_random_words(benchmark: Any) -> None:
    """The words that a row's corruption takes."""
    positions = np.arange(100_000, dtype=np.uint32)
    benchmark(_core.random_words, 0, 0, 0, 0, positions)


def test_sample_negatives(benchmark: Any) -> None:
    """Five negatives for each of 100 positives, of 10,000 items."""
    positives = np.arange(0, 10_000, 100, dtype=np.int32)
    benchmark(_core.sample_negatives, 0, 0, 0, positives, 10_000, 500)


def test_ridge(benchmark: Any, ratings: Ratings) -> None:
    """A regression for every user on codes of the items."""
    matrix = ratings.rows("user")
    codes = np.random.default_rng(0).random((ratings.n_items, 50), np.float32)
    nothing = np.zeros((1, 50), np.float32)
    prior = _core.ColumnPrior(nothing, np.zeros((1, 1), np.float32), nothing, 0.0)
    cells = matrix.indptr, matrix.indices, matrix.values
    benchmark(_core.fit_ridge, codes, *cells, 10.0, prior, num_threads=1)
