"""AutoRec against the same recipe in dense PyTorch: epochs in turn, median of pairwise ratios.

python -m benchmarks.compare_autorec                    # ml-1m, Adam, batches of 128
python -m benchmarks.compare_autorec --shape ml-20m     # synthetic; PyTorch on a few batches

The defaults' batches are of 128 rows on ml-1m, and of 418 at ml-20m's shape.
"""

import statistics

import numpy as np

from benchmarks.common import (
    interleaved,
    load,
    median_ratio,
    parser,
    print_table,
    write_results,
)
from benchmarks.dense_torch import DenseAutoRec
from isthmus import AutoRec, Ratings, synthetic_ratings

RATES = {"adam": 0.0015, "sgd": 1e-5}
"""Neither diverges; a rate has no influence on the time of an epoch."""
BATCH_SIZES = {"ml-1m": 128, "ml-20m": 418}
"""What "auto" is."""


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--shape", choices=["ml-1m", "ml-20m"], default="ml-1m")
    p.add_argument("--optimizer", choices=list(RATES), default="adam")
    p.add_argument("--batch-size", type=int, help="by default the defaults'")
    p.add_argument("--hidden-units", type=int, default=500)
    p.add_argument("--corruption", type=float, default=0.4)
    p.add_argument("--fused", action="store_true", help="PyTorch's fused optimizer")
    p.add_argument("--autocast", action="store_true", help="PyTorch in bfloat16")
    p.add_argument("--rounds", type=int, default=7)
    args = p.parse_args()

    ratings: Ratings
    batch_size = args.batch_size or BATCH_SIZES[args.shape]
    if args.shape == "ml-1m":
        ratings, _ = load("ml-1m")
        batches = None
    else:
        ratings = synthetic_ratings(shape="ml-20m", random_state=0)
        batches = 2  # a whole epoch takes minutes, and every batch costs the same
    recipe = {
        "optimizer": args.optimizer,
        "learning_rate": RATES[args.optimizer],
        "batch_size": batch_size,
        "corruption": args.corruption,
    }
    ours = AutoRec(
        hidden_units=(args.hidden_units,),
        num_threads=args.threads,
        random_state=0,
        epochs=2,
        **recipe,
    )
    theirs = DenseAutoRec(
        ratings,
        hidden_units=args.hidden_units,
        keep_dense=batches is None,
        fused=args.fused,
        autocast=args.autocast,
        threads=args.threads,
        **recipe,
    )
    generator = np.random.default_rng(0)
    theirs.run_epoch(generator, 1)  # warm up

    def our_epoch() -> float:
        return ours.fit(ratings).history_[-1].seconds  # the first has warmed up

    a, b = interleaved(our_epoch, lambda: theirs.run_epoch(generator, batches), args.rounds)
    ratio = median_ratio(b, a)
    print(
        f"{ratings!r}, k = {args.hidden_units}, {args.optimizer}, batch {batch_size}, "
        f"{args.threads} threads, {args.rounds} rounds"
    )
    if batches is not None:
        print(f"PyTorch is timed on {batches} batches of {batch_size} rows and scaled.")
    print_table(
        ("", "seconds an epoch (median)", "ratings a second", "ratio (median of pairs)"),
        [
            (
                "isthmus",
                f"{statistics.median(a):.4f}",
                f"{ratings.nnz / statistics.median(a):,.0f}",
                f"{ratio:.1f}",
            ),
            (
                "PyTorch, dense",
                f"{statistics.median(b):.4f}",
                f"{ratings.nnz / statistics.median(b):,.0f}",
                "1",
            ),
        ],
    )
    write_results(
        f"compare_autorec_{args.shape}_{args.optimizer}_{batch_size}",
        {"arguments": vars(args), "isthmus": a, "torch": b, "ratio": ratio},
    )


if __name__ == "__main__":
    main()
