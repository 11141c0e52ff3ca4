"""pytest-benchmark suites: ``pytest benchmarks``. Times here are for watching, not for claims."""

from pathlib import Path
from typing import Any

import pytest

from isthmus import AutoRec, Ratings, read_ratings, write_ratings


@pytest.fixture(scope="module")
def model(ratings: Ratings) -> AutoRec:
    """A trained model."""
    return AutoRec(hidden_units=(200,), epochs=2, random_state=0).fit(ratings)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad", "adam"])
def test_epoch(benchmark: Any, ratings: Ratings, optimizer: str) -> None:
    """One epoch."""
    model = AutoRec(
        hidden_units=(200,), optimizer=optimizer, learning_rate=1e-5, epochs=1, random_state=0
    )
    benchmark(model.fit, ratings)


def test_deep_epoch(benchmark: Any, ratings: Ratings) -> None:
    """One epoch of three hidden layers."""
    model = AutoRec(hidden_units=(200, 100, 200), epochs=1, random_state=0)
    benchmark(model.fit, ratings)


def test_evaluate(benchmark: Any, model: AutoRec, ratings: Ratings) -> None:
    """RMSE of all cells."""
    benchmark(model.evaluate, ratings)


def test_recommend(benchmark: Any, model: AutoRec) -> None:
    """Ten items for every user."""
    benchmark(model.recommend, n=10)


def test_fold_in(benchmark: Any, model: AutoRec, ratings: Ratings) -> None:
    """Recommendations to users who were not in training."""
    benchmark(model.recommend, ratings=ratings.to_matrix()[:100], n=10)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npz"])
def test_read(benchmark: Any, ratings: Ratings, tmp_path: Path, suffix: str) -> None:
    """A file of 100,000 ratings."""
    path = tmp_path / f"ratings.{suffix}"
    write_ratings(ratings, path)
    benchmark(read_ratings, path)
