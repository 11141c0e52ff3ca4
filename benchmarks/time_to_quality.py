"""Seconds from `fit` to a test RMSE, against the same recipe in dense PyTorch, in turn.

    python -m benchmarks.time_to_quality              # ml-1m, random 90/10, RMSE .825

Both train with the defaults of `AutoRec` on the same split, evaluate the test part after every
epoch, and stop at the first that is good enough. The test part tells when to stop the clock and
chooses nothing else. All is counted: preparing the data, training, evaluating.
"""

import statistics
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, median_ratio, parser, print_table, write_results
from benchmarks.dense_torch import DenseAutoRec
from isthmus import AutoRec, Epoch, Ratings, train_test_split
from isthmus.data._csr import row_numbers, row_sums
from isthmus.models.autorec import MEAN_DAMPING


def ours(
    train: Ratings, test: Ratings, target: float, most: int, seed: int, threads: int
) -> tuple[float, int, float]:
    """Seconds, epochs and RMSE of isthmus."""
    model = AutoRec(epochs=most, num_threads=threads, random_state=seed)

    def good_enough(epoch: Epoch) -> bool:
        return epoch.metrics["rmse"] <= target

    start = perf_counter()
    model.fit(train, validation=test, callbacks=[good_enough])
    taken = perf_counter() - start
    return taken, len(model.history_), model.history_[-1].metrics["rmse"]


def damped_means(train: Ratings) -> NDArray[np.float32]:
    """Each item's mean rating, drawn towards the global mean."""
    items = train.rows("item")
    counts = np.diff(items.indptr)
    means = (row_sums(items) + MEAN_DAMPING * train.mean) / (counts + MEAN_DAMPING)
    return means.astype(np.float32)


def theirs(
    train: Ratings, test: Ratings, target: float, most: int, seed: int, threads: int
) -> tuple[float, int, float]:
    """Seconds, epochs and RMSE of dense PyTorch."""
    recipe = AutoRec(batch_size=256)
    cells = test.rows("item")
    rows = row_numbers(cells.indptr)
    low, high = train.values.min(), train.values.max()
    start = perf_counter()
    model = DenseAutoRec(
        train.rows("item"),
        damped_means(train),
        hidden_units=recipe.hidden_units[0],
        regularization=recipe.regularization,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        corruption=recipe.corruption,
        keep_dense=True,
        threads=threads,
        seed=seed,
    )
    generator = np.random.default_rng(seed)
    epochs = 0
    rmse = np.inf
    while rmse > target and epochs < most:
        epochs += 1
        model.run_epoch(generator)
        for group in model.optimizer.param_groups:
            group["lr"] *= recipe.learning_rate_decay
        error = np.clip(model.predict(rows, cells.indices), low, high) - cells.values
        rmse = float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))
    return perf_counter() - start, epochs, rmse


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--rmse", type=float, default=0.825)
    p.add_argument("--most-epochs", type=int, default=60)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    runs: dict[str, list[tuple[float, int, float]]] = {"isthmus": [], "PyTorch, dense": []}
    for seed in range(args.rounds):
        train, test = train_test_split(ratings, test_size=0.1, random_state=seed)
        for name, train_until in (("isthmus", ours), ("PyTorch, dense", theirs)):
            run = train_until(train, test, args.rmse, args.most_epochs, seed, args.threads)
            print(f"{name}, split {seed}: {run[0]:.1f} s, {run[1]} epochs, RMSE {run[2]:.4f}")
            runs[name].append(run)
    seconds = {name: [run[0] for run in all_runs] for name, all_runs in runs.items()}
    ratio = median_ratio(seconds["PyTorch, dense"], seconds["isthmus"])
    print_table(
        (f"to RMSE {args.rmse}", "seconds (median)", "epochs", "ratio (median of pairs)"),
        [
            (
                name,
                f"{statistics.median(seconds[name]):.1f}",
                ", ".join(str(run[1]) for run in all_runs),
                f"{ratio:.1f}" if name == "isthmus" else "1",
            )
            for name, all_runs in runs.items()
        ],
    )
    write_results("time_to_quality", {"arguments": vars(args), "runs": runs, "ratio": ratio})


if __name__ == "__main__":
    main()
