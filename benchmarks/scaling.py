"""How an epoch's time and memory grow with threads, k, batch and ratings.

python -m benchmarks.scaling                 # ml-1m
python -m benchmarks.scaling --models --threads 16    # every model at 1, 2, 4, ... threads
python -m benchmarks.scaling --dual ml-20m    # DualAutoRec against AutoRec; or ml-1m
python -m benchmarks.scaling --netflix       # 100 million synthetic ratings; needs 8 GiB
python -m benchmarks.scaling --sparse        # few ratings of many users and items; needs 8 GiB
python -m benchmarks.scaling --sparse --chart docs/scaling-sparse.svg     # needs the extra `plot`
"""

import resource
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.common import load, median_ratio, parser, print_table, print_turns, write_results
from benchmarks.roofline import sgemm_rate
from isthmus import (
    CDAE,
    EASE,
    AutoRec,
    BiasedMF,
    DualAutoRec,
    MultVAE,
    Ratings,
    synthetic_ratings,
)

ROUNDS = 5  # each number of threads in turn, so that a drift of the machine hits all


def epoch_seconds(ratings: Ratings, epochs: int = 6, **parameters: Any) -> float:
    """Median seconds of an epoch of I-AutoRec."""
    model = AutoRec(**parameters, epochs=epochs, random_state=0).fit(ratings)
    return statistics.median(epoch.seconds for epoch in model.history_)


def peak_gib() -> float:
    """Most memory this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def small(threads: int) -> None:
    """Threads, hidden units and batch on ml-1m."""
    ratings, _ = load("ml-1m")
    common: dict[str, Any] = {"corruption": 0.0, "batch_size": 256}
    figures: dict[str, Any] = {}
    counts = sorted({1, 2, *(n for n in (4, 8, 16) if n <= threads)})
    times: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(ROUNDS):
        for n, taken in times.items():
            taken.append(epoch_seconds(ratings, num_threads=n, **common))
    figures["threads"] = times
    print_turns(
        ("threads", "seconds an epoch (median)", "speed against 1 (median of pairs)"),
        {str(n): taken for n, taken in times.items()},
        lambda taken: median_ratio(times[1], taken),
    )
    for name, values in (
        ("hidden_units", (50, 100, 250, 500, 1000)),
        ("batch_size", (64, 256, 1024)),
    ):
        rows = []
        for value in values:
            parameter = (value,) if name == "hidden_units" else value
            took = epoch_seconds(ratings, **{**common, "num_threads": threads, name: parameter})
            units = value if name == "hidden_units" else 500
            rows.append((value, took, 10 * ratings.nnz * units / took / 1e9))
        figures[name] = rows
        print()
        print_table(
            (name, "seconds an epoch", "GFLOP/s"), [(v, f"{t:.4f}", f"{r:.0f}") for v, t, r in rows]
        )
    print()
    figures["ratings"] = grow(threads)
    write_results("scaling", figures)


def grow(threads: int) -> list[tuple[str, int, float, float, float]]:
    """Time and memory against the number of ratings, by made-up sets of growing size."""
    rows = []
    for shape in ("ml-100k", "ml-1m", "ml-20m"):  # the peak of memory only ever grows
        ratings = synthetic_ratings(shape=shape, random_state=0)
        took = epoch_seconds(
            ratings,
            epochs=3,
            optimizer="sgd",
            learning_rate=1e-6,
            batch_size=256,
            num_threads=threads,
        )
        matrix = (8 * ratings.nnz + 8 * ratings.n_users) / (1 << 30)
        weights = 2 * ratings.n_users * 528 * 4 / (1 << 30)
        rows.append((str(shape), ratings.nnz, took, peak_gib(), 2 * matrix + weights))
    print_table(
        (
            "ratings",
            "seconds an epoch",
            "ns a rating",
            "peak GiB",
            "matrix + transpose + weights, GiB",
        ),
        [
            (f"{nnz:,}", f"{t:.4f}", f"{1e9 * t / nnz:.0f}", f"{peak:.2f}", f"{sum_:.2f}")
            for _, nnz, t, peak, sum_ in rows
        ],
    )
    return rows


def netflix(threads: int, batch_size: int, optimizer: str) -> None:
    """An epoch at Netflix's shape, its share of sgemm, and the peak of memory."""
    ratings = synthetic_ratings(shape="netflix", random_state=0)
    data = peak_gib()
    limit = sgemm_rate(threads)
    rate = {"sgd": 1e-6, "adam": 1e-3}[optimizer]
    took = epoch_seconds(
        ratings,
        epochs=2,
        optimizer=optimizer,
        learning_rate=rate,
        batch_size=batch_size,
        num_threads=threads,
        corruption=0.0,
    )
    peak = peak_gib()
    matrix = (8 * ratings.nnz + 8 * ratings.n_users) / (1 << 30)
    states = {"sgd": 0, "adam": 2}[optimizer]
    weights = 2 * ratings.n_users * 528 * 4 / (1 << 30)
    promised = 2 * matrix + weights * (1 + states)
    done = 10 * ratings.nnz * 500 / took / 1e9
    print(f"{ratings!r}: {optimizer}, batch {batch_size}, {threads} threads")
    print_table(
        (
            "seconds an epoch",
            "ns a rating",
            "GFLOP/s",
            "share of sgemm",
            "peak GiB",
            "matrix + transpose + weights + state, GiB",
            "peak over that",
        ),
        [
            (
                f"{took:.1f}",
                f"{1e9 * took / ratings.nnz:.0f}",
                f"{done:.0f}",
                f"{done / limit:.0%}",
                f"{peak:.2f}",
                f"{promised:.2f}",
                f"{peak / promised:.2f}",
            )
        ],
    )
    write_results(
        f"scaling_netflix_{optimizer}_{batch_size}",
        {
            "seconds": took,
            "gflops": done,
            "sgemm": limit,
            "peak_gib": peak,
            "promised_gib": promised,
            "after_data_gib": data,
        },
    )


def dual(shape: str, threads: int, rounds: int) -> None:
    """Epochs of both models in turn, and the peak of memory once each has been fitted."""
    ratings: Ratings
    if shape == "ml-1m":
        ratings, _ = load(shape)
    else:
        ratings = synthetic_ratings(shape="ml-20m", random_state=0)
    peaks = {"the data": peak_gib()}
    seconds: dict[str, list[float]] = {"AutoRec": [], "DualAutoRec": []}
    work: dict[str, list[float]] = {name: [] for name in seconds}
    ends: list[float] = []  # of epochs, in seconds of the processor
    for _ in range(rounds):
        for model in (AutoRec, DualAutoRec):  # the larger comes later, as a peak only ever grows
            fitted = model(epochs=2, random_state=0, num_threads=threads)
            fitted.fit(ratings, callbacks=[lambda _: ends.append(time.process_time())])
            work[model.__name__].append(ends[-1] - ends[-2])
            seconds[model.__name__].append(fitted.history_[-1].seconds)
            del fitted
            peaks.setdefault(model.__name__, peak_gib())
    print(f"{ratings!r}, {threads} threads, peak GiB: {peaks}")
    for what, figures in {"seconds": seconds, "processor seconds": work}.items():
        print_turns(
            ("", f"{what} an epoch (median)", "times AutoRec's (median of pairs)"),
            figures,
            partial(median_ratio, denominators=figures["AutoRec"]),
        )
    write_results(
        f"scaling_dual_{shape}",
        {"seconds": seconds, "processor_seconds": work, "peak_gib": peaks},
    )


def scattered(users: int, items: int, nnz: int) -> Ratings:
    """Ratings of pairs drawn evenly: next to no two of a user or an item where these are many."""
    draw = np.random.default_rng(0)
    pairs = np.unique(draw.integers(0, users * items, nnz))
    values = draw.integers(1, 6, len(pairs)).astype(np.float32)
    matrix = sparse.csr_array((values, (pairs // items, pairs % items)), shape=(users, items))
    return Ratings.from_matrix(matrix)


def models_by_threads(threads: int) -> None:
    """Time an epoch of every model, of ml-1m's shape, by the number of threads."""
    ratings = synthetic_ratings(shape="ml-1m", random_state=0)
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= threads]
    short: dict[str, Any] = {"epochs": 4, "random_state": 0}
    models: dict[str, Any] = {
        "I-AutoRec, Adam, batch 256": AutoRec(batch_size=256, **short),
        "I-AutoRec, SGD, batch 512": AutoRec(
            batch_size=512, optimizer="sgd", learning_rate=1e-5, **short
        ),
        "U-AutoRec": AutoRec(orientation="user", **short),
        "BiasedMF, SGD": BiasedMF(**short),
        "BiasedMF, ALS": BiasedMF.als(**short),
        "MultVAE": MultVAE(decoder_units=None, batch_size=500, **short),
        "CDAE": CDAE(**short),
        "EASE, a fit": EASE(regularization=500),
    }
    seconds: dict[str, dict[int, list[float]]] = {
        name: {n: [] for n in counts} for name in [*models, "top 10 for all users"]
    }
    for _ in range(ROUNDS):
        for n in counts:
            for name, model in models.items():
                start = time.perf_counter()
                model.set_params(num_threads=n).fit(ratings)
                whole = [time.perf_counter() - start]
                epochs = [epoch.seconds for epoch in getattr(model, "history_", [])]
                seconds[name][n] += epochs[1:] or whole
            start = time.perf_counter()
            models["U-AutoRec"].recommend(n=10, order="rating")
            seconds["top 10 for all users"][n].append(time.perf_counter() - start)
    medians = {
        name: {n: statistics.median(taken) for n, taken in by_threads.items()}
        for name, by_threads in seconds.items()
    }
    print_table(
        ("model", "seconds at 1 thread", *(f"{n} threads" for n in counts[1:])),
        [
            (name, f"{m[1]:.4f}", *(f"{m[1] / m[n]:.2f} times" for n in counts[1:]))
            for name, m in medians.items()
        ],
    )
    write_results("scaling_models", {"seconds": medians})


SQUARES = {f"{n:,} x {n:,}": n for n in (25_000, 50_000, 100_000, 400_000)}
"""Sets of n users, n items and 200,000 ratings, by name."""


def hyper_sparse(threads: int, chart: Path | None) -> None:
    """An epoch's time where users and items have few ratings each, with Adam."""
    sets: dict[str, tuple[Ratings, list[Any]]] = {}

    def add(name: str, ratings: Ratings, units: int, batches: tuple[Any, ...]) -> None:
        models = [AutoRec(hidden_units=(units,), batch_size=batch) for batch in batches]
        sets[name] = (ratings, models)

    for name, n in SQUARES.items():
        add(name, scattered(n, n, 200_000), 16, ("auto", 256))
    add("ml-1m's shape", synthetic_ratings(shape="ml-1m", random_state=0), 500, ("auto",))
    skewed = synthetic_ratings(22_000, 296_000, 800_000, random_state=0)
    add("22,000 x 296,000", skewed, 500, ("auto", 256))
    million = scattered(1_000_000, 1_000_000, 5_000_000)
    add("1,000,000 x 1,000,000", million, 64, ("auto", 256))
    sets["1,000,000 x 1,000,000"][1].append(BiasedMF(factors=64))
    rows = []
    for name, (ratings, models) in sets.items():
        for model in models:
            model.set_params(epochs=3, random_state=0, num_threads=threads).fit(ratings)
            took = min(epoch.seconds for epoch in model.history_)
            is_mf = isinstance(model, BiasedMF)
            batch = "" if is_mf else str(model.batch_size)
            rows.append((name, ratings.nnz, type(model).__name__, batch, took))
    print_table(
        (
            "users x items",
            "ratings",
            "model",
            "batch",
            "seconds an epoch",
            "million ratings a second",
        ),
        [
            (name, f"{nnz:,}", model, batch, f"{took:.3f}", f"{nnz / took / 1e6:.2f}")
            for name, nnz, model, batch, took in rows
        ],
    )
    if chart:
        draw_squares(chart, rows)
    write_results("scaling_sparse", {"rows": rows})


def draw_squares(path: Path, rows: list[tuple[str, int, str, str, float]]) -> None:
    """Draw an epoch's seconds against the number of users and items, at 200,000 ratings."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    sizes = list(SQUARES.values())
    for batch in ("auto", "256"):
        seconds = [took for name, _, _, of, took in rows if name in SQUARES and of == batch]
        axes.loglog(sizes, seconds, marker="o", label=f"batch_size={batch}")
    axes.set_xticks(sizes, [f"{n // 1000}" for n in sizes])
    axes.minorticks_off()
    axes.set_xlabel("thousands of users, and of items")
    axes.set_ylabel("seconds an epoch")
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--netflix", action="store_true")
    p.add_argument("--models", action="store_true")
    p.add_argument("--dual", choices=["ml-1m", "ml-20m"])
    p.add_argument("--rounds", type=int, default=5, help="with --dual")
    p.add_argument("--sparse", action="store_true")
    p.add_argument("--chart", type=Path, help="with --sparse: where to draw one, .svg or .png")
    p.add_argument("--batch-size", type=int, default=1024, help="with --netflix")
    p.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd", help="with --netflix")
    args = p.parse_args()
    if args.netflix:
        netflix(args.threads, args.batch_size, args.optimizer)
    elif args.dual:
        dual(args.dual, args.threads, args.rounds)
    elif args.models:
        models_by_threads(args.threads)
    elif args.sparse:
        hyper_sparse(args.threads, args.chart)
    else:
        small(args.threads)


if __name__ == "__main__":
    main()
