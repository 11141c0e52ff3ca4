"""Errors of predicted ratings, baselines that any model must beat, and metrics of lists."""

from isthmus.metrics.errors import bias_baseline, mae, mean_baseline, rmse
from isthmus.metrics.lists import (
    coverage,
    diversity,
    hit_rate,
    map,
    mrr,
    ndcg,
    precision,
    recall,
    recall_capped,
)

__all__ = [
    "bias_baseline",
    "coverage",
    "diversity",
    "hit_rate",
    "mae",
    "map",
    "mean_baseline",
    "mrr",
    "ndcg",
    "precision",
    "recall",
    "recall_capped",
    "rmse",
]
