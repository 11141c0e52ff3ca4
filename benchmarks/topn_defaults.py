"""What the defaults of the models of lists are worth, on data sets of all densities.

    python -m benchmarks.topn_defaults lists               # by model, beside models of ratings
    python -m benchmarks.topn_defaults ease                # EASE's lambda beside the best of a grid
    python -m benchmarks.topn_defaults epochs              # MultDAE and MultVAE, before and now
    python -m benchmarks.topn_defaults ease --sets ml-100k "ml-100k, .4"

A fifth of each user's ratings is held out, at random; of these, ratings of 4 and more should rank
high. Models of lists are trained on the training part's ratings of 4 and more (of citeulike and
gowalla, which have no others, on all); whatever the user rated in training is left out of the
ranking. Nothing is chosen by what is measured here: the defaults come from validation parts, of
other random splits.
"""

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.common import load, parser, print_table, write_results
from isthmus import (
    CDAE,
    EASE,
    AutoRec,
    BiasedMF,
    DualAutoRec,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    train_test_split,
)
from isthmus.evaluation.ranking import parse_metrics, rank
from isthmus.evaluation.scores import Vectors

POSITIVE = 4
METRIC = "ndcg@10"
GRID = (10, 20, 40, 80, 160, 320, 640, 1280, 2000)
BEFORE: dict[type[MultDAE] | type[MultVAE], dict[str, Any]] = {
    MultDAE: {"epochs": 100, "batch_size": 500},
    MultVAE: {
        "epochs": 100,
        "batch_size": 500,
        "decoder_units": None,
        "annealing_steps": 200_000,
    },
}
"""What MultDAE and MultVAE had for defaults, which are the paper's."""


def thinned(name: str, share: float) -> Ratings:
    """Keep a share of the ratings, drawn at random."""
    ratings = load(name)[0]
    return ratings.select(np.random.default_rng(0).random(ratings.nnz) < share)


def some_users(name: str, n: int) -> Ratings:
    """Keep all ratings of some users, drawn at random."""
    ratings = load(name)[0]
    chosen = np.random.default_rng(0).permutation(ratings.n_users)[:n]
    rows = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    return ratings.select(np.isin(rows, chosen)).k_core(1, 1)


SETS: dict[str, Callable[[], Ratings]] = {
    "ml-1m": lambda: load("ml-1m")[0],
    "ml-1m, .3": lambda: thinned("ml-1m", 0.3),
    "ml-1m, 600 users": lambda: some_users("ml-1m", 600),
    "ml-100k": lambda: load("ml-100k")[0],
    "ml-100k, .4": lambda: thinned("ml-100k", 0.4),
    "ml-latest-small": lambda: load("ml-latest-small")[0],
    "monti-douban": lambda: load("monti-douban")[0],
    "citeulike-a, 10-core": lambda: load("citeulike-a")[0].k_core(10, 10),
    "citeulike-t, 5-core": lambda: load("citeulike-t")[0].k_core(5, 5),
    "gowalla, 20-core": lambda: load("gowalla")[0].k_core(20, 20),
}
SMALL = 100_000
"""Sets with fewer ratings are split three times, and the others once."""


def split(ratings: Ratings, seed: int) -> tuple[Ratings, Ratings, Ratings, Ratings | None]:
    """Training ratings, those of them and of the test part that are positive, and the others."""
    train, test = train_test_split(ratings, test_size=0.2, by="user", random_state=seed)
    if ratings.values.max() <= 1:
        return train, train, test, None
    high = train.values >= POSITIVE
    return train, train.binarize(POSITIVE), test.binarize(POSITIVE), train.select(~high)


def measure(model: Recommender, test: Ratings, others: Ratings | None) -> float:
    """NDCG@10 of a fitted model."""
    return model.evaluate(test, METRIC, exclude=others)[METRIC]


def popularity(train: Ratings, positive: Ratings, test: Ratings, threads: int) -> float:
    """NDCG@10 of ranking items by how many have rated them highly."""
    count = np.bincount(positive.indices, minlength=positive.n_items).astype(np.float32)
    scores = Vectors(np.ones((test.n_users, 1), np.float32), count[:, np.newaxis])
    values = rank(
        scores.scorer(),
        parse_metrics([METRIC], "metric"),
        test.rows("user"),
        seen=train.rows("user"),
        num_threads=threads,
    )
    return float(np.nanmean(values[METRIC]))


def seeds_of(ratings: Ratings) -> range:
    return range(3 if ratings.nnz <= SMALL else 1)


def compare_lists(names: list[str], threads: int) -> dict[str, Any]:
    """Lists of all kinds of models, each with its defaults."""
    of_lists: dict[str, Callable[[], Recommender]] = {
        "EASE": lambda: EASE(num_threads=threads),
        "MultDAE": lambda: MultDAE(random_state=0, num_threads=threads),
        "MultVAE": lambda: MultVAE(random_state=0, num_threads=threads),
        "CDAE": lambda: CDAE(random_state=0, num_threads=threads),
    }
    of_ratings: dict[str, Callable[[], Recommender]] = {
        "AutoRec": lambda: AutoRec(random_state=0, num_threads=threads),
        "U-AutoRec": lambda: AutoRec(orientation="user", random_state=0, num_threads=threads),
        "DualAutoRec": lambda: DualAutoRec(random_state=0, num_threads=threads),
        "BiasedMF": lambda: BiasedMF(random_state=0, num_threads=threads),
    }
    kinds = [*of_lists, "popularity", *of_ratings]
    results: dict[str, Any] = {}
    for name in names:
        ratings = SETS[name]()
        values: dict[str, list[float]] = {kind: [] for kind in kinds}
        for seed in seeds_of(ratings):
            train, positive, test, others = split(ratings, seed)
            for kind, make in of_lists.items():
                values[kind].append(measure(make().fit(positive), test, others))
            values["popularity"].append(popularity(train, positive, test, threads))
            for kind, make in of_ratings.items() if others is not None else ():
                values[kind].append(measure(make().fit(train), test, None))
        results[name] = values
        print(name, values, flush=True)
    print_table(
        ("NDCG@10", *kinds),
        [
            (name, *(f"{statistics.mean(v):.3f}" if v else "" for v in values.values()))
            for name, values in results.items()
        ],
    )
    return results


def compare_ease(names: list[str], threads: int) -> dict[str, Any]:
    """EASE by its own lambda, and by those of a grid."""
    results: dict[str, Any] = {}
    rows = []
    for name in names:
        ratings = SETS[name]()
        grid: dict[int, list[float]] = {value: [] for value in GRID}
        auto, chosen, old, seconds = [], [], [], []
        for seed in seeds_of(ratings):
            _, positive, test, others = split(ratings, seed)
            start = perf_counter()
            model = EASE(num_threads=threads).fit(positive)
            seconds.append(perf_counter() - start)
            auto.append(measure(model, test, others))
            chosen.append(model.regularization_)
            fixed = EASE(regularization=500, num_threads=threads).fit(positive)
            old.append(measure(fixed, test, others))
            for value in GRID:
                start = perf_counter()
                model = EASE(regularization=value, num_threads=threads).fit(positive)
                grid[value].append(measure(model, test, others))
        means = {value: statistics.mean(values) for value, values in grid.items()}
        best = max(means, key=lambda value: means[value])
        results[name] = {"auto": auto, "chosen": chosen, "grid": grid, "500": old}
        row = (
            name,
            f"{positive.nnz:,}",
            ", ".join(f"{value:.0f}" for value in chosen),
            f"{statistics.mean(auto):.4f}",
            f"{best}: {means[best]:.4f}",
            f"{100 * (statistics.mean(auto) / means[best] - 1):+.1f} %",
            f"{statistics.mean(old):.4f}",
            f"{statistics.mean(seconds):.1f}",
        )
        rows.append(row)
        print(*row, sep=" | ", flush=True)
    head = ("", "cells", "lambda chosen", "NDCG@10", "best of the grid", "difference", "500")
    print_table((*head, "seconds to fit"), rows)
    return results


def compare_epochs(names: list[str], threads: int) -> dict[str, Any]:
    """MultDAE and MultVAE by their defaults, and by those they had before."""
    results: dict[str, Any] = {}
    rows = []
    for name in names:
        ratings = SETS[name]()
        for kind in BEFORE:
            found: dict[str, list[tuple[float, float, int]]] = {"before": [], "now": []}
            for seed in seeds_of(ratings):
                _, positive, test, others = split(ratings, seed)
                for label, settings in (("before", BEFORE[kind]), ("now", {})):
                    model = kind(**settings, random_state=seed, num_threads=threads)
                    start = perf_counter()
                    model.fit(positive)
                    taken = perf_counter() - start
                    value = measure(model, test, others)
                    found[label].append((value, taken, len(model.history_)))
            results[f"{name}, {kind.__name__}"] = found
            means = {key: np.mean([v[:2] for v in runs], axis=0) for key, runs in found.items()}
            row = (
                name,
                kind.__name__,
                *(f"{means[label][0]:.4f}" for label in found),
                *(f"{means[label][1]:.1f}" for label in found),
                ", ".join(str(epochs) for *_, epochs in found["now"]),
            )
            rows.append(row)
            print(*row, sep=" | ", flush=True)
    print_table(("", "", "NDCG@10 before", "now", "seconds before", "now", "epochs now"), rows)
    return results


PARTS: dict[str, Callable[[list[str], int], dict[str, Any]]] = {
    "lists": compare_lists,
    "ease": compare_ease,
    "epochs": compare_epochs,
}


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("part", choices=list(PARTS))
    p.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    args = p.parse_args()
    results = PARTS[args.part](args.sets, args.threads)
    write_results(f"topn_defaults_{args.part}", {"arguments": vars(args), "results": results})


if __name__ == "__main__":
    main()
