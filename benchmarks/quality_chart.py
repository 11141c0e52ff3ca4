"""Draw error and ranking against seconds of training: isthmus beside its peers, on ml-1m.

    pip install torch cornac scikit-surprise pandas implicit recbole   # those that install
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.quality_chart --chart docs/time-to-quality.svg

Left: test RMSE of a random tenth. `AutoRec` and `DualAutoRec` by their defaults, the recipe of
AutoRec in dense PyTorch, and matrix factorisation by the settings of benchmarks.compare_mf. Right:
NDCG@10 of the validation part of benchmarks.compare_topn, its recipe of Mult-VAE in all libraries.
Seconds are those of training, evaluation apart. A curve that depends on how many epochs there are
to be, as where the rate falls to 0, is that of a whole fit; Cornac, Surprise, implicit are fitted
anew for each of their points.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import compare_mf, compare_topn
from benchmarks.common import load, parser, print_table, write_results
from benchmarks.topn_protocols import recbole_parts
from isthmus import EASE, AutoRec, DualAutoRec, MultVAE, Ratings, train_test_split
from isthmus.data._csr import row_numbers
from isthmus.metrics import ndcg

Curve = list[tuple[float, float]]
"""Seconds of training, and the quality then."""

FITS = (1, 2, 4, 8, 16, 32)
"""Epochs of what is fitted anew for each point."""


def own_curve(model: Any, train: Ratings, validation: Ratings, metric: str) -> Curve:
    """Return the course of a fit of isthmus, preparations included and validation left out."""
    times = [perf_counter()]
    model.fit(train, validation=validation, callbacks=[lambda _: times.append(perf_counter())])
    trained = np.array([epoch.seconds for epoch in model.history_])
    passed = np.diff(times)
    validating = float(np.median((passed - trained)[1:]))
    passed[1:] = trained[1:]
    passed[0] -= validating
    qualities = [epoch.metrics[metric] for epoch in model.history_]
    return list(zip(np.cumsum(passed).tolist(), qualities, strict=True))


def paced_curve(
    run_epoch: Callable[[], Any], measure: Callable[[], float], epochs: int, prepared: float = 0.0
) -> Curve:
    """Return the course of a model that is driven epoch by epoch."""
    curve, spent = [], prepared
    for _ in range(epochs):
        start = perf_counter()
        run_epoch()
        spent += perf_counter() - start
        curve.append((spent, measure()))
    return curve


def rating_curves(threads: int) -> Iterator[tuple[str, Curve]]:
    """Yield test RMSE of models of ratings."""
    train, test = train_test_split(load("ml-1m")[0], test_size=0.1, random_state=0)
    own: dict[str, Any] = {"num_threads": threads, "random_state": 0}
    for model in (AutoRec(**own), DualAutoRec(**own)):
        yield f"isthmus {type(model).__name__}", own_curve(model, train, test, "rmse")

    cells = test.rows("item")
    items = row_numbers(cells.indptr)

    def rmse(predicted: Any, values: Any) -> float:
        return float(np.sqrt(np.mean((np.clip(predicted, 1, 5) - values) ** 2)))

    if is_installed("torch"):
        from benchmarks.dense_torch import DenseAutoRec

        start = perf_counter()
        dense = DenseAutoRec(train, batch_size=128, keep_dense=True, threads=threads)
        prepared = perf_counter() - start
        generator = np.random.default_rng(0)
        yield (
            "PyTorch, AutoRec",
            paced_curve(
                lambda: dense.run_epoch(generator),
                lambda: rmse(dense.predict(items, cells.indices), cells.values),
                dense.epochs,
                prepared,
            ),
        )
    users, columns, values = compare_mf.coordinates(test)
    for name in ("cornac", "surprise"):
        if not is_installed(name):
            continue
        entry = compare_mf.PEERS[name](train, threads)[0]
        curve = []
        for epochs in (n for n in FITS if n <= entry.epochs):
            start = perf_counter()
            predict = entry.fit(epochs)
            curve.append((perf_counter() - start, rmse(predict(users, columns), values)))
        yield f"{entry.name}, matrix factorisation", curve


def list_curves(threads: int) -> Iterator[tuple[str, Curve]]:
    """Yield NDCG@10 of models of lists."""
    train, held_out, _ = recbole_parts(load("ml-1m")[0], seed=0)
    start = perf_counter()
    ease = EASE(regularization=compare_topn.REGULARIZATION, num_threads=threads).fit(train)
    yield (
        "isthmus EASE",
        [(perf_counter() - start, ease.evaluate(held_out, "ndcg@10")["ndcg@10"])],
    )
    vae = MultVAE(
        **compare_topn.SETTINGS, epochs=60, num_threads=threads, validation_metric="ndcg@10"
    )
    yield "isthmus MultVAE", own_curve(vae, train, held_out, "ndcg@10")
    for name, label in (("torch", "PyTorch, Mult-VAE"), ("recbole", "RecBole, MultVAE")):
        if not is_installed(name):
            continue
        entries = compare_topn.PEERS[name](train, held_out, threads)
        entry = next(e for e in entries if "VAE" in e.model)
        yield label, paced_curve(entry.run_epoch, lambda e=entry: e.evaluate()[1], 15)
    if is_installed("implicit"):
        yield "implicit, ALS", implicit_curve(train, held_out, threads)


def implicit_curve(train: Ratings, held_out: Ratings, threads: int) -> Curve:
    """Return the course of implicit's ALS by its defaults, with 200 factors."""
    from implicit.als import AlternatingLeastSquares

    matrix = compare_topn.unit_matrix(train)
    curve = []
    for iterations in (1, 2, 4, 8, 15):
        model = AlternatingLeastSquares(
            factors=200, iterations=iterations, num_threads=threads, random_state=0
        )
        start = perf_counter()
        model.fit(matrix, show_progress=False)
        spent = perf_counter() - start
        lists, _ = model.recommend(np.arange(train.n_users), matrix, N=10)
        curve.append((spent, ndcg_of(train.item_ids[lists], train, held_out)))
    return curve


def ndcg_of(lists: Any, train: Ratings, held_out: Ratings) -> float:
    """Return the mean NDCG@10 of lists for all users."""
    return ndcg(lists, held_out, 10, users=train.user_ids)


def is_installed(package: str) -> bool:
    """Return whether a peer is there, and say so if it is not."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        print(f"{package} is left out: {error}")
        return False
    return True


def draw(path: Path, panels: list[tuple[str, dict[str, Curve]]]) -> None:
    """Draw a panel for each kind of models."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(10, 4), layout="constrained")
    for axes, (quality, curves) in zip(all_axes, panels, strict=True):
        for name, curve in curves.items():
            own = name.startswith("isthmus")
            axes.plot(
                *zip(*curve, strict=True),
                marker="o",
                markersize=4 if own else 3,
                linewidth=2.2 if own else 1.2,
                linestyle="-" if own else "--",
                label=name,
            )
        axes.set_xscale("log")
        axes.set_xlabel("seconds of training")
        axes.set_ylabel(quality)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    all_axes[0].set_ylim(0.81, 0.90)
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--chart", type=Path, required=True, help="where to draw, .svg or .png")
    args = p.parse_args()
    panels = [
        ("test RMSE", dict(rating_curves(args.threads))),
        ("validation NDCG@10", dict(list_curves(args.threads))),
    ]
    print_table(
        ("", "", "seconds", "in the end"),
        [
            (quality, name, f"{curve[-1][0]:.2f}", f"{curve[-1][1]:.4f}")
            for quality, curves in panels
            for name, curve in curves.items()
        ],
    )
    draw(args.chart, panels)
    write_results("quality_chart", {"threads": args.threads, "panels": panels})


if __name__ == "__main__":
    main()
