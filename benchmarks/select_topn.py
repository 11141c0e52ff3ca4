"""Choose parameters of the top-N models on validation data alone.

    python -m benchmarks.select_topn recbole                    # all models
    python -m benchmarks.select_topn ncf --models MultDAE --trials 8
    python -m benchmarks.select_topn ncf --models MultDAE --set dropout=0.5 batch_size=250

Each model is tried with some of its settings in GRIDS, drawn at random without repeats, and
measured on the validation part of the first split of the protocol: for ncf on the latest rating of
each user's in training among 99 sampled items, as in the test. No model is tested here. What comes
out first is what benchmarks.reproduce_topn uses, which is the one to run on test data, and once.
"""

from itertools import product
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.common import load, parse_settings, parser, print_table, write_results
from benchmarks.topn_protocols import METRICS, Parts, ncf_parts, ncf_validation, recbole_parts
from isthmus import CDAE, EASE, MultDAE, MultVAE, Recommender

KINDS: dict[str, type[Recommender]] = {
    "EASE": EASE,
    "MultDAE": MultDAE,
    "MultVAE": MultVAE,
    "CDAE": CDAE,
}
GRIDS: dict[str, dict[str, list[Any]]] = {
    "EASE": {"regularization": [100, 200, 300, 400, 500, 600, 800, 1000, 1200, 1500, 2000, 3000]},
    "MultDAE": {
        "hidden_units": [(200,), (600,), (1000,)],
        "learning_rate": [0.001, 0.002],
        "dropout": [0.3, 0.5, 0.7],
        "regularization": [0.0, 1e-4, 3e-4, 1e-3],
        "batch_size": [250, 500],
    },
    "MultVAE": {
        "decoder_units": [None, ()],
        "latent_units": [64, 200],
        "annealing_steps": [1000, 200_000],
        "learning_rate": [0.001, 0.003],
        "batch_size": [500],
    },
    "CDAE": {
        "hidden_units": [50, 200],
        "encoder_activation": ["sigmoid", "identity"],
        "corruption": [0.5, 0.7],
        "negatives": [5, 10],
        "learning_rate": [0.05, 0.1],
    },
}
VALIDATION_METRICS = {"recbole": "ndcg@10", "ncf": "ndcg@100"}
"""What stops training: of a ranking of all items, deeper where the protocol ranks a sample."""
PATIENCE = 10
EPOCHS = 100


def validation_parts(protocol: str) -> Parts:
    """Training and validation part of the protocol's first split."""
    if protocol == "ncf":
        return ncf_validation(ncf_parts().train, seed=0)
    train, validation, _ = recbole_parts(load("ml-1m")[0], seed=0)
    return Parts(train, validation)


def settings_of(name: str, trials: int, seed: int, fixed: dict[str, Any]) -> list[dict[str, Any]]:
    """Some of a model's settings: all of a small grid."""
    grid = {**GRIDS[name], **{key: [value] for key, value in fixed.items()}}
    every = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    chosen = np.random.default_rng(seed).permutation(len(every))
    return every if len(grid) == 1 else [every[i] for i in chosen[:trials]]


def measure(
    name: str, settings: dict[str, Any], parts: Parts, protocol: str, threads: int
) -> dict[str, Any]:
    """Train with early stopping, and give the validation metrics."""
    model = KINDS[name](**settings, num_threads=threads)
    start = perf_counter()
    if name != "EASE":
        model.set_params(
            epochs=EPOCHS,
            patience=PATIENCE,
            validation_metric=VALIDATION_METRICS[protocol],
            random_state=0,
        )
    model.fit(parts.train, validation=parts.held_out)
    epochs = len(getattr(model, "history_", []))
    values = model.evaluate(parts.held_out, METRICS[protocol], candidates=parts.candidates)
    return {
        "settings": settings,
        "epochs": epochs - PATIENCE if 0 < epochs < EPOCHS else epochs,
        "seconds": perf_counter() - start,
        **values,
    }


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("protocol", choices=list(METRICS))
    p.add_argument("--models", nargs="*", choices=list(KINDS), default=list(KINDS))
    p.add_argument("--trials", type=int, default=8, help="settings of each model but EASE")
    p.add_argument("--seed", type=int, default=0, help="of the settings that are drawn")
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="what is not varied")
    args = p.parse_args()
    fixed = parse_settings(args.set)
    parts = validation_parts(args.protocol)
    metrics = METRICS[args.protocol]
    for name in args.models:
        trials = []
        for settings in settings_of(name, args.trials, args.seed, fixed):
            trials.append(measure(name, settings, parts, args.protocol, args.threads))
            print(name, trials[-1], flush=True)
        trials.sort(key=lambda trial: -trial["ndcg@10"])
        rows = [
            (
                ", ".join(f"{key} {value}" for key, value in trial["settings"].items()),
                trial["epochs"],
                *(f"{trial[metric]:.4f}" for metric in metrics),
                f"{trial['seconds']:.0f}",
            )
            for trial in trials
        ]
        print_table((name, "epochs", *(f"validation {m}" for m in metrics), "seconds"), rows)
        write_results(
            f"select_topn_{args.protocol}_{name}", {"arguments": vars(args), "trials": trials}
        )


if __name__ == "__main__":
    main()
