"""Seconds from `fit` to a test RMSE, against the same recipe in dense PyTorch, in turn.

    python -m benchmarks.time_to_quality              # ml-1m, random 90/10, RMSE .825
    python -m benchmarks.time_to_quality --rmse 0     # all epochs, to compare the errors

isthmus and PyTorch train with the defaults of `AutoRec` on the same split, evaluate the test part
after every epoch, and stop at the first that is good enough. So do `AutoRec` with its earlier
defaults, and `DualAutoRec`, which has an RMSE of its own to reach. The test part tells when to stop
the clock and chooses nothing else. All is counted: preparing the data, training, evaluating. Where
other programs use the processor too, `--threads 1` and its own seconds are what to compare.
"""

import statistics
from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import (
    earlier_autorec,
    load,
    median_ratio,
    parser,
    print_table,
    write_results,
)
from benchmarks.dense_torch import DenseAutoRec
from isthmus import AutoRec, DualAutoRec, Epoch, Ratings, train_test_split
from isthmus.data._csr import row_numbers

BATCH_SIZE = 128
"""What "auto" is on ml-1m."""


class Run(NamedTuple):
    """What it took, and the RMSE then, which is not what it aimed at if it never got there."""

    seconds: float
    processor_seconds: float
    epochs: int
    rmse: float


def since(start: tuple[float, float]) -> tuple[float, float]:
    """Seconds, and those of the processor."""
    return perf_counter() - start[0], process_time() - start[1]


def ours(
    make: Callable[..., Any], train: Ratings, test: Ratings, target: float, seed: int, threads: int
) -> Run:
    """Train isthmus."""
    model = make(num_threads=threads, random_state=seed)

    def good_enough(epoch: Epoch) -> bool:
        return epoch.metrics["rmse"] <= target

    start = perf_counter(), process_time()
    model.fit(train, validation=test, callbacks=[good_enough])
    return Run(*since(start), len(model.history_), model.history_[-1].metrics["rmse"])


def theirs(
    options: dict[str, bool],
    train: Ratings,
    test: Ratings,
    target: float,
    seed: int,
    threads: int,
) -> Run:
    """Train dense PyTorch."""
    cells = test.rows("item")
    items = row_numbers(cells.indptr)
    start = perf_counter(), process_time()
    model = DenseAutoRec(
        train,
        batch_size=BATCH_SIZE,
        keep_dense=True,
        **options,
        threads=threads,
        seed=seed,
    )
    generator = np.random.default_rng(seed)
    epochs = 0
    rmse = np.inf
    while rmse > target and epochs < model.epochs:
        epochs += 1
        model.run_epoch(generator)
        predicted = np.clip(model.predict(items, cells.indices), train.min, train.max)
        rmse = float(np.sqrt(np.mean(np.square(predicted - cells.values))))
    return Run(*since(start), epochs, rmse)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--rmse", type=float, default=0.825)
    p.add_argument("--dual-rmse", type=float, default=0.82)
    p.add_argument("--fused", action="store_true", help="PyTorch's fused optimizer")
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    dual_rmse = min(args.rmse, args.dual_rmse)
    turns: dict[str, tuple[Callable[..., Run], float]] = {
        "isthmus": (partial(ours, AutoRec), args.rmse),
        "PyTorch, dense": (partial(theirs, {"fused": args.fused}), args.rmse),
        "PyTorch, dense, bfloat16": (
            partial(theirs, {"fused": args.fused, "autocast": True}),
            args.rmse,
        ),
        "isthmus, earlier defaults": (partial(ours, earlier_autorec), args.rmse),
        f"DualAutoRec to {dual_rmse}": (partial(ours, DualAutoRec), dual_rmse),
    }
    runs: dict[str, list[Run]] = {name: [] for name in turns}
    for seed in range(args.rounds):
        train, test = train_test_split(ratings, test_size=0.1, random_state=seed)
        for name, (train_until, target) in turns.items():
            run = train_until(train, test, target, seed, args.threads)
            print(
                f"{name}, split {seed}: {run.seconds:.1f} s, {run.processor_seconds:.1f} of a "
                f"processor, {run.epochs} epochs, RMSE {run.rmse:.4f}",
                flush=True,
            )
            runs[name].append(run)
    header = [f"to RMSE {args.rmse}", "epochs", "RMSE"]
    rows = {
        name: [
            ", ".join(str(run.epochs) for run in all_runs),
            ", ".join(f"{run.rmse:.4f}" for run in all_runs),
        ]
        for name, all_runs in runs.items()
    }
    for of in ("seconds", "processor_seconds"):
        header += [f"{of.replace('_', ' ')} (median)", "times isthmus's (median of pairs)"]
        taken = {name: [getattr(run, of) for run in all_runs] for name, all_runs in runs.items()}
        for name, row in rows.items():
            ratio = median_ratio(taken[name], taken["isthmus"])
            row += [f"{statistics.median(taken[name]):.1f}", f"{ratio:.2f}"]
    print_table(header, [(name, *row) for name, row in rows.items()])
    write_results("time_to_quality", {"arguments": vars(args), "runs": runs})


if __name__ == "__main__":
    main()
