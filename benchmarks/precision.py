"""Training in bfloat16 beside float32: errors, and seconds an epoch.

    python -m benchmarks.precision accuracy     # five splits or seeds of each protocol
    python -m benchmarks.precision speed        # epochs on ml-1m, by turns
    python -m benchmarks.precision speed --only Mult    # of these names alone

Models have their defaults but for what `speed` names. RecBole's protocol is that of
`benchmarks.topn_protocols`.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator
from time import process_time
from typing import Any

import numpy as np

from benchmarks.accuracy import SPLITS
from benchmarks.common import load, parser, print_table, published_split, write_results
from benchmarks.topn_protocols import recbole_parts
from isthmus import (
    AutoRec,
    DualAutoRec,
    Epoch,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    train_test_split,
)

PRECISIONS = ("float32", "bfloat16")
SEEDS = range(5)

Parts = tuple[Ratings, Ratings]
PAPER = {"hidden_units": (600,), "latent_units": 200, "decoder_units": (600,), "batch_size": 500}
"""Mult-VAE's network in its paper."""

EPOCHS: dict[str, tuple[type[Recommender], dict[str, Any]]] = {
    "I-AutoRec, SGD, batch 512": (
        AutoRec,
        {"optimizer": "sgd", "batch_size": 512, "learning_rate": 1e-4},
    ),
    "I-AutoRec, Adam, batch 256": (AutoRec, {"batch_size": 256}),
    "I-AutoRec, defaults": (AutoRec, {}),
    "DualAutoRec, defaults": (DualAutoRec, {}),
    "Mult-VAE 600-200-600": (MultVAE, PAPER),
}


def random_splits() -> Iterator[Parts]:
    """Random 90/10 splits of ml-1m."""
    for seed in SEEDS:
        yield train_test_split(load("ml-1m")[0], test_size=0.1, random_state=seed)


def published(name: str) -> Iterator[Parts]:
    """The published split, once for each seed."""
    ratings, arrays = load(name)
    for _ in SEEDS:
        yield published_split(ratings, arrays, arrays[SPLITS[name]])


def recbole() -> Iterator[Parts]:
    """Splits of ml-1m by users' ratings, those of 4 and 5 alone."""
    for seed in SEEDS:
        train, _, test = recbole_parts(load("ml-1m")[0], seed)
        yield train, test


def compare_errors(threads: int, only: str) -> list[tuple[str, ...]]:
    """Test metrics of each model, by its precision."""
    explicit: list[tuple[str, Callable[[], Iterable[Parts]]]] = [
        ("ml-1m", random_splits),
        ("ml-100k u1", lambda: published("ml-100k")),
        ("Douban", lambda: published("monti-douban")),
    ]
    cases: list[tuple[str, Callable[[], Iterable[Parts]], str, Callable[..., Recommender]]] = []
    for name, parts in explicit:
        cases += [
            (f"{name}, I-AutoRec", parts, "rmse", AutoRec),
            (f"{name}, DualAutoRec", parts, "rmse", DualAutoRec),
        ]
    cases += [
        ("ml-1m, RecBole's, Mult-DAE", recbole, "ndcg@10", MultDAE),
        ("ml-1m, RecBole's, Mult-VAE", recbole, "ndcg@10", MultVAE),
    ]
    rows = []
    for name, parts, metric, make in cases:
        if only not in name:
            continue
        found: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for seed, (train, test) in enumerate(parts()):
            for precision, values in found.items():
                model = make(precision=precision, random_state=seed, num_threads=threads)
                values.append(model.fit(train).evaluate(test, [metric])[metric])
        means = [statistics.mean(found[precision]) for precision in PRECISIONS]
        spread = statistics.stdev(found["float32"])
        moved = (means[1] - means[0]) / spread
        rows.append((name, metric, *(f"{m:.5f}" for m in means), f"{spread:.4f}", f"{moved:+.3f}"))
        print(*rows[-1], flush=True)
    return rows


def epoch_seconds(model: Any, train: Ratings) -> list[float]:
    """Processor seconds of each epoch of a fit but the first."""
    at: list[float] = []

    def note(_: Epoch) -> None:
        at.append(process_time())

    model.fit(train, callbacks=[note])
    return list(np.diff(at))


def compare_seconds(threads: int, rounds: int, only: str) -> list[tuple[str, ...]]:
    """Processor seconds of an epoch, the median over all rounds."""
    train, _ = train_test_split(load("ml-1m")[0], test_size=0.1, random_state=0)
    rows = []
    for name, (kind, settings) in EPOCHS.items():
        if only not in name:
            continue
        taken: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for _ in range(rounds):
            for precision, seconds in taken.items():
                model = kind(
                    **{"epochs": 5, **settings},
                    precision=precision,
                    random_state=0,
                    num_threads=threads,
                )
                seconds += epoch_seconds(model, train)
        medians = [statistics.median(taken[precision]) for precision in PRECISIONS]
        rows.append((name, *(f"{m:.3f}" for m in medians), f"{medians[0] / medians[1]:.2f}"))
        print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("part", choices=["accuracy", "speed"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="", metavar="NAME", help="part of a row's name (default: all)")
    args = p.parse_args()
    if args.part == "accuracy":
        rows = compare_errors(args.threads, args.only)
        header = ("data, model", "metric", *PRECISIONS, "spread", "moved by, spreads")
    else:
        rows = compare_seconds(args.threads, args.rounds, args.only)
        header = ("epochs", *(f"{p}, s" for p in PRECISIONS), "times as fast")
    print_table(header, rows)
    write_results(f"precision_{args.part}", {"threads": args.threads, "rows": rows})


if __name__ == "__main__":
    main()
