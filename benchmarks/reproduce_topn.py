"""Top-N models by published protocols on ml-1m, beside the published figures.

    python -m benchmarks.reproduce_topn recbole              # mean and spread over 3 splits
    python -m benchmarks.reproduce_topn ncf                  # the published leave-one-out
    python -m benchmarks.reproduce_topn recbole --models EASE --splits 1

recbole: ratings of 3 and more, users and items with 10 of them, 8:1:1 at random of each user's, all
items ranked, training and validation items left out in testing. ncf: a rating of each user's among
99 sampled items. Parameters are those that benchmarks.select_topn found on validation data, and the
number of epochs is chosen there as well: for ncf on the latest rating of each user's in training,
after which the model is trained on all of the training part.
"""

import statistics
from time import perf_counter
from typing import Any

from benchmarks.common import load, parser, print_table, write_results
from benchmarks.select_topn import KINDS, PATIENCE, VALIDATION_METRICS
from benchmarks.topn_protocols import METRICS, ncf_parts, ncf_validation, recbole_parts
from isthmus import Recommender

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "recbole": {
        "EASE": {"regularization": 800.0},
        "MultDAE": {"dropout": 0.7, "regularization": 3e-4, "batch_size": 500},
        "MultVAE": {
            "decoder_units": (),
            "learning_rate": 0.003,
            "annealing_steps": 1000,
            "batch_size": 500,
        },
        "CDAE": {"hidden_units": 200, "learning_rate": 0.05},
    },
    "ncf": {
        "EASE": {"regularization": 1200.0},
        "MultDAE": {
            "hidden_units": (600,),
            "dropout": 0.3,
            "regularization": 1e-3,
            "batch_size": 250,
        },
    },
}
PUBLISHED = {
    "recbole": {
        "EASE": (0.2139, 0.4808, 0.2865),
        "MultDAE": (0.1972, 0.4125, 0.2425),
        "MultVAE": (0.1995, 0.4292, 0.2523),
        "CDAE": (0.1936, 0.4359, 0.2500),
    },
    "ncf": {"EASE": (0.7192, 0.4494), "MultDAE": (0.722, 0.446)},
}
EPOCHS = 100


def make(name: str, protocol: str, seed: int, threads: int) -> Recommender:
    """An untrained model with the parameters chosen for a protocol."""
    model = KINDS[name](**SETTINGS[protocol][name], num_threads=threads)
    if name != "EASE":
        model.set_params(
            epochs=EPOCHS,
            patience=PATIENCE,
            validation_metric=VALIDATION_METRICS[protocol],
            random_state=seed,
        )
    return model


def run_recbole(name: str, seed: int, threads: int) -> dict[str, float]:
    """Metrics on one split."""
    train, validation, test = recbole_parts(load("ml-1m")[0], seed)
    model = make(name, "recbole", seed, threads).fit(train, validation=validation)
    return model.evaluate(test, METRICS["recbole"], exclude=validation)


def run_ncf(name: str, seed: int, threads: int) -> dict[str, float]:
    """Metrics on the published split, with the number of epochs chosen on the training part."""
    train, test, candidates = ncf_parts()
    model = make(name, "ncf", seed, threads)
    if name != "EASE":
        shorter, held_out, _ = ncf_validation(train, seed)
        model.fit(shorter, validation=held_out)
        history: list[Any] = model.history_  # type: ignore[attr-defined]
        best = max(history, key=lambda epoch: epoch.metrics[VALIDATION_METRICS["ncf"]])
        model.set_params(patience=None, epochs=best.index + 1)
    return model.fit(train).evaluate(test, METRICS["ncf"], candidates=candidates)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("protocol", choices=list(METRICS))
    p.add_argument("--models", nargs="*", choices=list(KINDS), help="by default all it has")
    p.add_argument("--splits", type=int, default=3, help="of recbole; seeds of ncf")
    args = p.parse_args()
    run = {"recbole": run_recbole, "ncf": run_ncf}[args.protocol]
    metrics = METRICS[args.protocol]
    known = list(SETTINGS[args.protocol])
    unknown = set(args.models or []) - set(known)
    if unknown:
        p.error(f"{args.protocol} has {', '.join(known)}, and not {', '.join(unknown)}")
    rows, results = [], {}
    for name in args.models or known:
        start = perf_counter()
        seeds = range(1 if args.protocol == "ncf" and name == "EASE" else args.splits)
        values = [run(name, seed, args.threads) for seed in seeds]
        cells = []
        for i, metric in enumerate(metrics):
            one = [value[metric] for value in values]
            spread = f" +- {statistics.stdev(one):.4f}" if len(one) > 1 else ""
            published = PUBLISHED[args.protocol].get(name)
            beside = f" ({published[i]:.4f})" if published else ""
            cells.append(f"{statistics.mean(one):.4f}{spread}{beside}")
        rows.append((name, *cells, f"{(perf_counter() - start) / len(values):.0f}"))
        results[name] = values
        print(name, *cells, flush=True)
    print_table(("", *(f"{metric} (published)" for metric in metrics), "seconds a run"), rows)
    chosen = "_".join(["", *(args.models or [])])
    write_results(
        f"reproduce_topn_{args.protocol}{chosen}", {"values": results, "splits": args.splits}
    )


if __name__ == "__main__":
    main()
