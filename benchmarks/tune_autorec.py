"""Search for I-AutoRec's parameters on a tenth of a training part: those of the "best" tables.

    python -m benchmarks.tune_autorec best-ml-100k-u1
    python -m benchmarks.tune_autorec best-ml-100k
    python -m benchmarks.tune_autorec best-monti-douban

What is not searched is as in AutoRec's earlier defaults. No test rating is used. Where a search
ends by its seconds, another machine may find another best.
"""

from typing import Any

from benchmarks.common import data_folder, earlier_autorec, parser, print_table
from benchmarks.reproduce.experiments import EXPERIMENTS
from benchmarks.reproduce.runs import make_split
from isthmus import tune


def space(trial: Any) -> dict[str, Any]:
    """What is searched."""
    return {
        "regularization": trial.suggest_float("regularization", 20, 300, log=True),
        "corruption": trial.suggest_float("corruption", 0.2, 0.9),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 3e-3, log=True),
        "learning_rate_decay": trial.suggest_categorical("learning_rate_decay", [0.95, 0.97, 0.99]),
        "hidden_units": (trial.suggest_categorical("hidden_units", [250, 500, 1000]),),
    }


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("experiment", choices=[name for name in EXPERIMENTS if name.startswith("best")])
    p.add_argument("--trials", type=int, default=60)
    p.add_argument("--seconds", type=float, default=40.0)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    experiment = EXPERIMENTS[args.experiment]
    train, _ = make_split(experiment, data_folder() / experiment.data, args.seed)
    found = tune(
        earlier_autorec(epochs=80, random_state=0, num_threads=args.threads),
        *(train, space),
        trials=args.trials,
        seconds=args.seconds,
        random_state=args.seed,
    )
    trials = [t for t in found.study.trials if t.state.name == "COMPLETE"]
    rows = [
        (f"{trial.value:.4f}", trial.user_attrs["epochs"], trial.user_attrs["parameters"])
        for trial in sorted(trials, key=lambda trial: trial.value)[:5]
    ]
    print(f"{len(found.study.trials)} trials, {len(trials)} of them to the end; the best:")
    print_table(("validation RMSE", "epochs", "parameters"), rows)


if __name__ == "__main__":
    main()
