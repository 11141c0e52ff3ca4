"""How good are lists from models of ratings, by either order, beside popularity and EASE?

    python -m benchmarks.rating_lists
    python -m benchmarks.rating_lists --validate

A fifth of each user's ratings is held out, and those of 4 and more are to be found: NDCG@10, the
mean over three splits. --validate tests nothing: it splits the training part of the first split
once more, and compares weights of the rating beside the odds, and what the odds are made of.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.common import load, parser, print_table, write_results
from isthmus import EASE, AutoRec, BiasedMF, DualAutoRec, Ratings, Recommender, train_test_split
from isthmus.evaluation import odds
from isthmus.evaluation.evaluate import mean_of_users
from isthmus.evaluation.odds import Odds, rated_odds
from isthmus.evaluation.ranking import parse_metrics, rank
from isthmus.evaluation.scores import Scorable, Weighted

DATA = ("ml-100k", "ml-latest-small", "monti-douban", "ml-1m")
LIKED = 4.0
METRIC = "ndcg@10"

MODELS: dict[str, Callable[[int], Any]] = {
    "I-AutoRec": lambda threads: AutoRec(random_state=0, num_threads=threads),
    "U-AutoRec": lambda threads: AutoRec(orientation="user", random_state=0, num_threads=threads),
    "DualAutoRec": lambda threads: DualAutoRec(random_state=0, num_threads=threads),
    "BiasedMF, SGD": lambda threads: BiasedMF(random_state=0, num_threads=threads),
    "BiasedMF, ALS": lambda threads: BiasedMF.als(random_state=0, num_threads=threads),
}


def parts(ratings: Ratings, seed: int) -> tuple[Ratings, Ratings]:
    """Return the training ratings, and the test items to be found."""
    train, test = train_test_split(ratings, test_size=0.2, random_state=seed, by="user")
    return train, test.binarize(LIKED)


def measured(model: Recommender, scores: Scorable, test: Ratings) -> float:
    """NDCG@10 of any scores of a model's users and items."""
    values = rank(
        *(scores.scorer(), parse_metrics(METRIC), model._known_pattern(test, "test")),
        seen=model._seen,
        num_threads=model._num_threads(),
    )
    return mean_of_users(values[METRIC])


def popularity(model: Recommender) -> Scorable:
    """Scores by how many have rated an item."""
    return by_item(model).of(model._seen)


def by_item(model: Recommender) -> Odds:
    """The odds of an item, whoever the user is."""
    found = model._odds()
    return found._replace(items=np.zeros((len(found.items), 1), np.float32))


@contextmanager
def changed(name: str, value: float) -> Iterator[None]:
    """Change a constant of the odds for a while."""
    before = getattr(odds, name)
    setattr(odds, name, value)
    try:
        yield
    finally:
        setattr(odds, name, before)


def candidates(model: Recommender) -> Iterator[tuple[str, Scorable]]:
    """Orders to choose from, with what they are called."""
    scores, seen = model._vectors(), model._seen
    low, high = model._range
    unit = (high - low) / 4

    def ranked(found: Odds, weight: float = 1.0) -> Scorable:
        return Weighted((scores, found.of(seen)), (weight, unit), 0.0)

    yield "popularity", popularity(model)
    yield "the rating alone", scores
    yield "rating and the item's odds", ranked(by_item(model))
    yield "the user's odds alone", model._odds().of(seen)
    for weight in (0.25, 0.5, 1.0, 2.0, 4.0):
        yield f"rating x {weight:g} and the user's odds", ranked(model._odds(), weight)
    for name, values in (
        ("FACTORS", (16, 32, 128)),
        ("DAMPING", (10.0, 100.0)),
        ("PASSES", (3, 12)),
    ):
        for value in values:
            with changed(name, value):
                yield f"the same with {name.lower()} {value:g}", ranked(rated_odds(seen))


def validate(threads: int) -> None:
    """Compare the orders on a part of each training part, for two models."""
    table: dict[str, list[str]] = {}
    header = ["order"]
    for name in DATA:
        train, _ = train_test_split(load(name)[0], test_size=0.2, random_state=0, by="user")
        part, held_out = parts(train, 1)
        for kind in ("I-AutoRec", "BiasedMF, SGD"):
            header.append(f"{name}, {kind}")
            model = MODELS[kind](threads).fit(part)
            for order, scores in candidates(model):
                table.setdefault(order, []).append(f"{measured(model, scores, held_out):.3f}")
    print_table(header, [[order, *figures] for order, figures in table.items()])


def test(threads: int, splits: int) -> None:
    """Measure both orders of every model."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in DATA}
    for name in DATA:
        ratings = load(name)[0]
        for seed in range(splits):
            train, held_out = parts(ratings, seed)
            figures: dict[str, float] = {}
            for kind, make in MODELS.items():
                model = make(threads).fit(train)
                for order in ("likely", "rating"):
                    value = model.evaluate(held_out, METRIC, order=order)[METRIC]
                    figures[f'{kind}, order="{order}"'] = value
            figures["popularity"] = measured(model, popularity(model), held_out)
            ease = EASE(num_threads=threads).fit(train)
            figures["EASE"] = ease.evaluate(held_out, METRIC)[METRIC]
            for label, value in figures.items():
                found[name].setdefault(label, []).append(value)
    print_table(
        [METRIC, *DATA],
        [
            [label, *(_mean_and_spread(found[name][label]) for name in DATA)]
            for label in found[DATA[0]]
        ],
    )
    write_results("rating_lists", found)


def _mean_and_spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} +- {spread:.3f}"


def main() -> None:
    """Measure, or validate."""
    p = parser(__doc__)
    p.add_argument("--validate", action="store_true", help="compare orders on validation data")
    p.add_argument("--splits", type=int, default=3)
    args = p.parse_args()
    if args.validate:
        validate(args.threads)
    else:
        test(args.threads, args.splits)


if __name__ == "__main__":
    main()
