"""Top-N models and their evaluation: ``pytest benchmarks``; ``compare_topn.py`` has the peers."""

from typing import Any

import pytest

from isthmus import (
    CDAE,
    CVAE,
    EASE,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    train_test_split,
)

MODELS: dict[str, Recommender] = {
    "CDAE": CDAE(epochs=1, random_state=0),
    "CVAE": CVAE(epochs=1, random_state=0),
    "EASE": EASE(regularization=500),
    "MultDAE": MultDAE(epochs=1, batch_size=500, random_state=0),
    "MultDAE, sampled": MultDAE(epochs=1, batch_size=500, sampled_items=500, random_state=0),
    "MultVAE": MultVAE(decoder_units=None, epochs=1, batch_size=500, random_state=0),
}
METRICS = ["ndcg@10", "ndcg@100", "recall@20", "map@10", "mrr", "auc"]


@pytest.fixture(scope="module")
def parts(ratings: Ratings) -> tuple[Ratings, Ratings]:
    """Training and test part."""
    return train_test_split(ratings, test_size=0.2, random_state=0, by="user")


@pytest.mark.parametrize("name", MODELS)
def test_fit(benchmark: Any, parts: tuple[Ratings, Ratings], name: str) -> None:
    """One epoch, or all that there is to compute."""
    benchmark(MODELS[name].fit, parts[0])


def test_evaluate(benchmark: Any, parts: tuple[Ratings, Ratings]) -> None:
    """Six metrics of every user's ranking of all items, scores included."""
    model = EASE(regularization=500).fit(parts[0])
    benchmark(model.evaluate, parts[1], METRICS)


def test_similar_items(benchmark: Any, parts: tuple[Ratings, Ratings]) -> None:
    """Ten items for each."""
    model = EASE(regularization=500).fit(parts[0])
    benchmark(model.similar_items, model.item_ids_, n=10)
