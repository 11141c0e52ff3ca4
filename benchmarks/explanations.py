"""Explanations against refolding: their greatest difference, and the time that one takes.

    python -m benchmarks.explanations --data ml-1m --cases 1000

Each case is a user, an item and one of the user's ratings, drawn at random: the effect in the
explanation is compared with the difference of two scores that are each folded in on their own.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import load
from isthmus import (
    CDAE,
    EASE,
    AutoRec,
    BiasedMF,
    DualAutoRec,
    MultDAE,
    MultVAE,
    Ratings,
)
from isthmus.data._csr import select_rows
from isthmus.models._explaining import score_folded

MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "AutoRec, user": (lambda: AutoRec(orientation="user", epochs=3, random_state=0), "user"),
    "AutoRec, item": (lambda: AutoRec(epochs=3, random_state=0), "item"),
    "AutoRec, item; user's ratings": (lambda: AutoRec(epochs=3, random_state=0), "user"),
    "DualAutoRec": (lambda: DualAutoRec(epochs=3, random_state=0), "user"),
    "BiasedMF": (lambda: BiasedMF(epochs=5, random_state=0), "user"),
    "MultVAE": (lambda: MultVAE(epochs=2, random_state=0), "user"),
    "MultDAE": (lambda: MultDAE(epochs=2, random_state=0), "user"),
    "CDAE": (lambda: CDAE(epochs=2, random_state=0), "user"),
    "EASE": (lambda: EASE(regularization=300), "user"),
}


def compare(model: Any, ratings: Ratings, axis: str, cases: int) -> tuple[float, list[float]]:
    """Return the greatest difference from refolding, and the seconds of each explanation."""
    random = np.random.default_rng(0)
    rows = ratings.rows("user" if axis == "user" else "item")
    n_other = ratings.n_items if axis == "user" else ratings.n_users
    worst, seconds = 0.0, []
    for _ in range(cases):
        own, other = random.integers(rows.shape[0]), random.integers(n_other)
        row = select_rows(rows, np.array([own]))
        if len(row.indices) < 2:
            continue
        user, item = (own, other) if axis == "user" else (other, own)
        start = time.perf_counter()
        explanation = model.explain(
            ratings.user_ids[user], ratings.item_ids[item], None, ratings=ratings, axis=axis
        )
        seconds.append(time.perf_counter() - start)
        place = random.integers(len(row.indices))
        rest = row._replace(
            indptr=np.array([0, len(row.indices) - 1]),
            indices=np.delete(row.indices, place),
            values=np.delete(row.values, place),
        )
        ids = ratings.item_ids if axis == "user" else ratings.user_ids
        effect = explanation.effects[explanation.ids == ids[row.indices[place]]][0]
        whole, without = (score_folded(model, part, other, axis)[0] for part in (row, rest))
        worst = max(worst, abs(float(whole) - float(without) - float(effect)))
    return worst, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--models", nargs="*", default=[*MODELS])
    arguments = parser.parse_args()
    ratings, _ = load(arguments.data)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'model':30}  greatest difference  median ms  99th percentile ms")
    for name in arguments.models:
        make, axis = MODELS[name]
        worst, seconds = compare(make().fit(ratings), ratings, axis, arguments.cases)
        middle, high = 1000 * np.quantile(seconds, [0.5, 0.99])
        print(f"{name:30}  {worst:19.1e}  {middle:9.1f}  {high:18.1f}", flush=True)


if __name__ == "__main__":
    main()
