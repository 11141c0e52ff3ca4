"""Each kernel's share of what this machine can do, measured in the same run.

    python -m benchmarks.roofline            # ml-1m, k = 500

The limits are the rate of NumPy's single-precision matrix product on the same threads, and the
rate at which memory is read. A whole epoch does 10 x ratings x k floating-point operations: encode,
masked decode, hidden error, and the two weight gradients.
"""

import statistics
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.common import load, parser, print_table, seconds, write_results
from isthmus import AutoRec, Ratings


def sgemm_rate(threads: int, size: int = 2048) -> float:
    """Best GFLOP/s of a square single-precision matrix product."""
    generator = np.random.default_rng(0)
    a = generator.random((size, size), np.float32)
    b = generator.random((size, size), np.float32)
    with threadpool_limits(threads):
        return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(8)) / 1e9


def read_rate(megabytes: int) -> float:
    """Best GB/s at which one thread sums an array of this size."""
    array = np.ones(megabytes * (1 << 20) // 4, np.float32)
    return array.nbytes / min(seconds(array.sum) for _ in range(8)) / 1e9


def epoch_rate(ratings: Ratings, epochs: int, **parameters: Any) -> float:
    """Median GFLOP/s of whole epochs."""
    model = AutoRec(**parameters, epochs=epochs, random_state=0).fit(ratings)
    median = statistics.median(epoch.seconds for epoch in model.history_[1:])
    units = parameters.get("hidden_units", (500,))[0]
    return 10 * ratings.nnz * units / median / 1e9


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--hidden-units", type=int, default=500)
    p.add_argument("--epochs", type=int, default=12)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    common = {
        "hidden_units": (args.hidden_units,),
        "num_threads": args.threads,
        # nothing masked, so that every rating does all its operations
        "corruption": 0.0,
    }
    runs: list[tuple[str, dict[str, Any]]] = [
        ("SGD, batch 512", {"optimizer": "sgd", "learning_rate": 1e-5, "batch_size": 512}),
        ("SGD, batch 256", {"optimizer": "sgd", "learning_rate": 1e-5, "batch_size": 256}),
        ("momentum, batch 256", {"optimizer": "momentum", "learning_rate": 1e-6}),
        ("Adagrad, batch 256", {"optimizer": "adagrad", "learning_rate": 1e-2}),
        ("Adam, batch 256", {"optimizer": "adam"}),
        ("Adam, batch 512", {"optimizer": "adam", "batch_size": 512}),
    ]
    limits, rows = [], []
    for name, parameters in runs:
        limit = sgemm_rate(args.threads)  # beside each, as the machine's own speed drifts
        rate = epoch_rate(ratings, args.epochs, **common, **parameters)
        limits.append(limit)
        rows.append((name, rate, limit, rate / limit))
    memory = {size: read_rate(size) for size in (1, 16, 512)}
    print(
        f"{ratings!r}, k = {args.hidden_units}, {args.threads} threads; sgemm "
        f"{statistics.median(limits):.0f} GFLOP/s; one thread reads "
        + ", ".join(f"{rate:.0f} GB/s of {size} MiB" for size, rate in memory.items())
    )
    print_table(
        ("whole epochs", "GFLOP/s", "sgemm GFLOP/s", "share"),
        [
            (name, f"{rate:.0f}", f"{limit:.0f}", f"{share:.0%}")
            for name, rate, limit, share in rows
        ],
    )
    write_results("roofline", {"epochs": rows, "memory": {str(k): v for k, v in memory.items()}})


if __name__ == "__main__":
    main()
