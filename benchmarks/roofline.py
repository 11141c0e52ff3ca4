"""Each kernel's share of what this machine can do, measured in the same run.

    python -m benchmarks.roofline            # ml-1m, k = 500
    python -m benchmarks.roofline --chart docs/roofline.svg      # needs the extra `plot`

The limits are the rate of NumPy's single-precision matrix product on the same threads, and the
rate at which one core's matrix-vector product reads each level of memory. A whole epoch does 10 x
ratings x k floating-point operations: encode (2) with the encoder's gradient of the batch before
(2), and masked decode and hidden error (4) with the decoder's gradient (2).
"""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.common import load, parser, print_table, seconds, write_results
from isthmus import Ratings, _core
from isthmus.data._csr import column_counts

OPERATIONS = {"assemble": 0, "encode": 4, "decode": 6, "backward": 0, "settle": 0}
"""Of each part of an epoch, a rating and hidden unit."""

NAMES = {
    "assemble": "set up batches",
    "encode": "encoder's step, encode",
    "decode": "decode, hidden error, decoder's step",
    "backward": "add up the hidden errors",
    "settle": "late steps at the end",
}
MEMORY = {"second level": 1, "third level": 32, "memory": 1024}
"""MiB that lie in each."""


class Run(NamedTuple):
    """A recipe's epochs: medians of seconds, whole and by part, and the limit beside them."""

    name: str
    whole: float
    parts: dict[str, float]
    sgemm: float


def sgemm_rate(threads: int, size: int = 2048) -> float:
    """Best GFLOP/s of a square single-precision matrix product."""
    generator = np.random.default_rng(0)
    a = generator.random((size, size), np.float32)
    b = generator.random((size, size), np.float32)
    with threadpool_limits(threads):
        return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(8)) / 1e9


def read_rate(mebibytes: int) -> float:
    """Best GB/s at which one thread multiplies a matrix of this size with a vector."""
    matrix = np.ones((256 * mebibytes, 1024), np.float32)
    vector = np.ones(1024, np.float32)
    repeat = max(1, 64 // mebibytes)

    def read() -> None:
        for _ in range(repeat):
            matrix @ vector

    with threadpool_limits(1):
        return repeat * matrix.nbytes / min(seconds(read) for _ in range(8)) / 1e9


def measure(ratings: Ratings, units: int, epochs: int, threads: int, **recipe: Any) -> Run:
    """Train I-AutoRec in the core, nothing masked, so that every rating does all its operations."""
    limit = sgemm_rate(threads)  # beside each, as the machine's own speed drifts
    matrix = ratings.rows("item")
    network = _core.Autoencoder(
        matrix.shape[1],
        (units,),
        hidden_activation="sigmoid",
        output_activation="identity",
        seed=0,
        num_threads=threads,
    )
    rows = _core.Rows(matrix.indptr, matrix.indices, matrix.values, matrix.shape[1])
    rate = recipe.pop("learning_rate")
    trainer = _core.Trainer(
        network,
        column_counts(matrix.indices, matrix.shape[1]),
        matrix.shape[0],
        momentum=0.9,
        regularization=300.0,
        corruption="none",
        corruption_level=0.0,
        dropout=0.0,
        seed=0,
        num_threads=threads,
        **recipe,
    )
    whole, parts = [], []
    for epoch in range(epochs):
        before = trainer.phase_seconds
        whole.append(seconds(lambda epoch=epoch: trainer.run_epoch(rows, epoch, rate)))
        parts.append({name: after - before[name] for name, after in trainer.phase_seconds.items()})
    trainer.finish()
    medians = {name: statistics.median(part[name] for part in parts[1:]) for name in parts[0]}
    name = f"{recipe['optimizer']}, batch {recipe['batch_size']}"
    return Run(name, statistics.median(whole[1:]), medians, limit)


def rates(run: Run, work: float) -> dict[str, float]:
    """GFLOP/s of the parts that compute, and of the whole."""
    parts = {
        name: OPERATIONS[name] * work / taken / 1e9
        for name, taken in run.parts.items()
        if OPERATIONS[name]
    }
    return {**parts, "whole": 10 * work / run.whole / 1e9}


def draw(path: Path, runs: list[Run], work: float, memory: dict[str, float], threads: int) -> None:
    """Bars of the rates, under the lines that the machine sets."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    parts = [name for name, operations in OPERATIONS.items() if operations] + ["whole"]
    for i, part in enumerate(parts):
        heights = [rates(run, work)[part] for run in runs]
        label = NAMES.get(part, "whole epoch")
        axes.bar(np.arange(len(runs)) + 0.2 * (i - 1.5), heights, 0.2, label=label)
    axes.set_xticks(np.arange(len(runs)), [run.name.replace(", ", "\n") for run in runs])
    sgemm = statistics.median(run.sgemm for run in runs)
    axes.axhline(sgemm, color="black", label="matrix product")
    for level, style in (("second level", "--"), ("third level", ":")):
        # a multiply-add, two operations, for each float of four bytes read
        axes.axhline(
            threads * memory[level] / 2,
            color="grey",
            linestyle=style,
            label=f"an operand a multiply-add from the {level}",
        )
    axes.set_ylabel("GFLOP/s")
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--hidden-units", type=int, default=500)
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--chart", type=Path, help="where to draw a chart, .svg or .png")
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    work = float(ratings.nnz * args.hidden_units)
    recipes: list[tuple[str, int, float]] = [
        ("sgd", 512, 1e-5),
        ("sgd", 256, 1e-5),
        ("momentum", 256, 1e-6),
        ("adagrad", 256, 1e-2),
        ("adam", 256, 1e-3),
        ("adam", 512, 1e-3),
    ]
    runs = [
        measure(
            ratings,
            args.hidden_units,
            args.epochs,
            args.threads,
            optimizer=optimizer,
            batch_size=batch_size,
            learning_rate=rate,
            precision=args.precision,
        )
        for optimizer, batch_size, rate in recipes
    ]
    memory = {name: read_rate(size) for name, size in MEMORY.items()}
    print(
        f"{ratings!r}, k = {args.hidden_units}, {args.threads} threads; sgemm "
        f"{statistics.median(run.sgemm for run in runs):.0f} GFLOP/s; one thread reads "
        + ", ".join(f"{rate:.0f} GB/s from the {name}" for name, rate in memory.items())
    )
    print_table(
        ("whole epochs", "GFLOP/s", "sgemm GFLOP/s", "share"),
        [
            (
                run.name,
                f"{rates(run, work)['whole']:.0f}",
                f"{run.sgemm:.0f}",
                f"{rates(run, work)['whole'] / run.sgemm:.0%}",
            )
            for run in runs
        ],
    )
    print()
    print_table(
        ("parts", *NAMES.values()),
        [
            (
                run.name,
                *(
                    f"{taken / run.whole:.0%} of the time"
                    + (
                        f", {rates(run, work)[name]:.0f} GFLOP/s, "
                        f"{rates(run, work)[name] / run.sgemm:.0%} of sgemm"
                        if OPERATIONS[name]
                        else ""
                    )
                    for name, taken in run.parts.items()
                ),
            )
            for run in runs
        ],
    )
    if args.chart:
        draw(args.chart, runs, work, memory, args.threads)
    write_results("roofline", {"runs": [run._asdict() for run in runs], "memory": memory})


if __name__ == "__main__":
    main()
