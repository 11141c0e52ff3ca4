"""What each of AutoRec's defaults is worth: the validation RMSE with one of them changed at a time.

    python -m benchmarks.autorec_defaults
    python -m benchmarks.autorec_defaults --sets ml-100k --splits 1
    python -m benchmarks.autorec_defaults --users 150 300 600 --splits 6

A tenth of the training parts of `benchmarks.densities` is held out at random, three times; the
test parts are not used. With --users, AutoRec is compared with DualAutoRec on ratings of so many
users of ml-1m, drawn anew each time, a tenth of them held out.
"""

import statistics
from typing import Any

import numpy as np

from benchmarks.common import EARLIER_DEFAULTS, load, parser, print_table, write_results
from benchmarks.densities import SETS
from isthmus import AutoRec, DualAutoRec, Ratings, train_test_split

DATA = ["ml-1m", "ml-100k", "ml-latest-small", "monti-douban", "ml-1m-26000"]

CHANGES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    'rating_scale="raw"': {"rating_scale": "raw"},
    "row_scaling=0": {"row_scaling": 0.0},
    'target_centering="row"': {"target_centering": "row"},
    'encoder_activation="sigmoid"': {"encoder_activation": "sigmoid"},
    'learning_rate_schedule="exponential", epochs=40': {
        "learning_rate_schedule": "exponential",
        "epochs": 40,
    },
    "corruption=0": {"corruption": 0.0},
    "batch_size=256": {"batch_size": 256},
}
FACTORS = (0.5, 2.0)
"""On lambda."""


def errors(name: str, seed: int, threads: int) -> dict[str, float]:
    """Validation RMSE of each change."""
    train, validation = train_test_split(SETS[name]()[0], test_size=0.1, random_state=seed)
    common = {"random_state": seed, "num_threads": threads}
    result = {}
    for label, changed in CHANGES.items():
        model = AutoRec(**changed, **common).fit(train)
        result[label] = model.evaluate(validation)["rmse"]
        if not changed:
            chosen = model.regularization_
    for factor in FACTORS:
        model = AutoRec(regularization=factor * chosen, **common).fit(train)
        result[f"lambda x {factor:g}"] = model.evaluate(validation)["rmse"]
    for label, model in (
        ("the earlier recipe", AutoRec(**EARLIER_DEFAULTS, **common)),
        ("DualAutoRec", DualAutoRec(**common)),
    ):
        result[label] = model.fit(train).evaluate(validation)["rmse"]
    return result


def drawn(ratings: Ratings, n_users: int, seed: int) -> Ratings:
    """All ratings of some users."""
    rows = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    rng = np.random.default_rng(100 + seed)
    chosen = rng.choice(ratings.n_users, n_users, replace=False)
    return ratings.select(np.isin(rows, chosen)).k_core(1, 1)


def compare_few_users(counts: list[int], draws: int, threads: int) -> None:
    """AutoRec beside DualAutoRec where users are few."""
    rows = []
    for n_users in counts:
        found = []
        for seed in range(draws):
            ratings = drawn(load("ml-1m")[0], n_users, seed)
            train, test = train_test_split(ratings, test_size=0.1, random_state=seed)
            found.append(
                [
                    kind(random_state=seed, num_threads=threads).fit(train).evaluate(test)["rmse"]
                    for kind in (AutoRec, DualAutoRec)
                ]
            )
        one, two = np.array(found).T
        differences = ", ".join(f"{d:+.4f}" for d in two - one)
        rows.append((n_users, f"{one.mean():.4f}", f"{two.mean():.4f}", differences))
    print_table(("users", "AutoRec", "DualAutoRec", "differences"), rows)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--sets", nargs="+", default=DATA)
    p.add_argument("--splits", type=int, default=3)
    p.add_argument("--users", nargs="+", type=int)
    args = p.parse_args()
    if args.users:
        compare_few_users(args.users, args.splits, args.threads)
        return
    measured = {
        name: [errors(name, seed, args.threads) for seed in range(args.splits)]
        for name in args.sets
    }
    means = {
        name: {label: statistics.mean(run[label] for run in runs) for label in runs[0]}
        for name, runs in measured.items()
    }
    labels = next(iter(means.values()))
    print_table(
        ("changed", *means),
        [(label, *(f"{of[label]:.4f}" for of in means.values())) for label in labels],
    )
    write_results("autorec_defaults", {"rmse": measured, "mean": means})


if __name__ == "__main__":
    main()
