"""BiasedMF against LIBMF, cmfrec, Surprise and Cornac: one split of ml-1m, one run, in turn.

    pip install libmf cmfrec cornac scikit-surprise pandas      # those that install are compared
    python -m benchmarks.compare_mf
    python -m benchmarks.compare_mf --validate                  # how the settings were chosen

LIBMF's package is compiled without its vector code; to give it what its own Makefile does:

    CFLAGS="-O3 -march=native -DUSEAVX -DUSEOMP -fopenmp" LDFLAGS=-fopenmp \\
        pip install --no-binary :all: --no-build-isolation libmf

A fit is timed from the ratings in memory to a model that predicts. "An epoch" is the difference
between a fit with all epochs and one with half of them, per epoch: without what comes before.
"""

import importlib
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, parser, print_table, write_results
from isthmus import BiasedMF, Ratings, train_test_split

Array = NDArray[Any]
Predict = Callable[[Array, Array], Array]
Fit = Callable[[int], Predict]
"""Trains for so many epochs, and returns what predicts."""


class Entry(NamedTuple):
    name: str
    settings: str
    epochs: int
    fit: Fit


def isthmus_entries(train: Ratings, threads: int) -> list[Entry]:
    def fit(model: BiasedMF) -> Fit:
        def run(epochs: int) -> Predict:
            fitted = model.set_params(epochs=epochs).fit(train)
            return lambda users, items: fitted.predict(users, items)

        return run

    shared: dict[str, Any] = {"random_state": 0, "num_threads": threads}
    models = [BiasedMF(**shared), BiasedMF.als(**shared)]
    return [
        Entry(
            "isthmus",
            f"{m.optimizer}, k {m.factors}, "
            f"lambda {m.regularization} n^{m.weighted_regularization}",
            m.epochs,
            fit(m),
        )
        for m in models
    ]


def libmf_entries(train: Ratings, threads: int) -> list[Entry]:
    from libmf import mf

    users, items, values = coordinates(train)

    def entry(k: int, penalty: float, rate: float, epochs: int) -> Entry:
        def fit(n: int) -> Predict:
            model = mf.MF(
                k=k,
                nr_iters=n,
                eta=rate,
                nr_threads=threads,
                quiet=True,
                lambda_p1=0.0,
                lambda_q1=0.0,
                lambda_p2=penalty,
                lambda_q2=penalty,
            )
            model.fit(np.column_stack([users, items, values]))
            # its predict takes users, then items: columns, whatever its docstring says
            return lambda u, i: model.predict(np.asfortranarray(np.column_stack([u, i])))

        return Entry("LIBMF", f"sgd, k {k}, lambda {penalty}, eta {rate}", epochs, fit)

    return [entry(128, 0.06, 0.05, 60), entry(128, 0.06, 0.1, 30)]


def cmfrec_entries(train: Ratings, threads: int) -> list[Entry]:
    import cmfrec
    import pandas as pd

    users, items, values = coordinates(train)
    frame = pd.DataFrame({"UserId": users, "ItemId": items, "Rating": values})

    def entry(epochs: int, **settings: Any) -> Entry:
        def fit(n: int) -> Predict:
            model = cmfrec.CMF(method="als", niter=n, nthreads=threads, verbose=False, **settings)
            model.fit(frame)
            return lambda u, i: model.predict(u, i)

        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        return Entry("cmfrec", f"als, {shown}", epochs, fit)

    return [
        entry(10, k=50, lambda_=20.0),
        entry(10, k=200, lambda_=0.07, scale_lam=True),
    ]


def cornac_entries(train: Ratings, threads: int) -> list[Entry]:
    from cornac.data import Dataset
    from cornac.models import MF

    triples = list(zip(*(column.tolist() for column in coordinates(train)), strict=True))
    data = Dataset.from_uir(triples)
    user_at = positions(data.uid_map, train.n_users)
    item_at = positions(data.iid_map, train.n_items)

    def entry(k: int, epochs: int, penalty: float) -> Entry:
        def fit(n: int) -> Predict:
            model = MF(
                k=k, max_iter=n, learning_rate=0.01, lambda_reg=penalty, num_threads=threads, seed=0
            ).fit(data)

            def predict(u: Array, i: Array) -> Array:
                u, i = user_at[u], item_at[i]
                scores = data.global_mean + np.where(u < 0, 0, model.u_biases[u])
                scores = scores + np.where(i < 0, 0, model.i_biases[i])
                products = np.einsum("ij,ij->i", model.u_factors[u], model.i_factors[i])
                return scores + np.where((u < 0) | (i < 0), 0, products)

            return predict

        return Entry("Cornac", f"sgd, k {k}, lambda {penalty}", epochs, fit)

    return [entry(200, 40, 0.05), entry(200, 40, 0.02)]


def surprise_entries(train: Ratings, threads: int) -> list[Entry]:
    import pandas as pd
    from surprise import SVD, Dataset, Reader

    users, items, values = coordinates(train)
    frame = pd.DataFrame({"user": users, "item": items, "rating": values})
    data = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()

    def entry(k: int, epochs: int, **settings: float) -> Entry:
        def fit(n: int) -> Predict:
            model = SVD(n_factors=k, n_epochs=n, random_state=0, **settings).fit(data)

            def predict(u: Array, i: Array) -> Array:
                return np.array([model.predict(a, b).est for a, b in zip(u, i, strict=True)])

            return predict

        shown = "".join(f", {name} {value}" for name, value in settings.items())
        return Entry("Surprise", f"sgd, 1 thread, k {k}{shown}", epochs, fit)

    return [entry(100, 20), entry(200, 60, reg_all=0.06)]


PEERS: dict[str, Callable[[Ratings, int], list[Entry]]] = {
    "isthmus": isthmus_entries,
    "libmf": libmf_entries,
    "cmfrec": cmfrec_entries,
    "cornac": cornac_entries,
    "surprise": surprise_entries,
}


def coordinates(ratings: Ratings) -> tuple[Array, Array, Array]:
    users = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    return users, ratings.indices, ratings.values


def positions(known: dict[int, int], size: int) -> Array:
    """Where a peer keeps each id; -1 for one that it was not given."""
    return np.array([known.get(number, -1) for number in range(size)])


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seed", type=int, default=0, help="of the split")
    p.add_argument("--only", nargs="*", choices=list(PEERS), default=list(PEERS))
    p.add_argument("--validate", action="store_true", help="hold out a tenth of the training part")
    args = p.parse_args()

    ratings, _ = load("ml-1m")
    train, test = train_test_split(ratings, test_size=0.1, random_state=args.seed)
    if args.validate:
        train, test = train_test_split(train, test_size=0.1, random_state=args.seed)
    users, items, values = coordinates(test)

    entries: list[Entry] = []
    for name in args.only:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        entries += PEERS[name](train, args.threads)

    whole: list[list[float]] = [[] for _ in entries]
    half: list[list[float]] = [[] for _ in entries]
    errors = [float("nan")] * len(entries)
    for _ in range(args.rounds):
        for n, entry in enumerate(entries):
            start = perf_counter()
            entry.fit(entry.epochs // 2)
            half[n].append(perf_counter() - start)
            start = perf_counter()
            predict = entry.fit(entry.epochs)
            whole[n].append(perf_counter() - start)
            predicted = np.clip(predict(users, items), 1, 5)
            errors[n] = float(np.sqrt(np.mean((predicted - values) ** 2)))

    rows, figures = [], []
    for n, entry in enumerate(entries):
        epochs = entry.epochs - entry.epochs // 2
        epoch = statistics.median((a - b) / epochs for a, b in zip(whole[n], half[n], strict=True))
        seconds = statistics.median(whole[n])
        rows.append(
            (
                entry.name,
                entry.settings,
                entry.epochs,
                f"{errors[n]:.4f}",
                f"{seconds:.2f}",
                f"{epoch:.4f}",
            )
        )
        figures.append(
            {
                "name": entry.name,
                "settings": entry.settings,
                "epochs": entry.epochs,
                "rmse": errors[n],
                "whole": whole[n],
                "half": half[n],
            }
        )
    print(f"{train!r}, {args.threads} threads, {args.rounds} rounds, median")
    print_table(
        (
            "",
            "settings",
            "epochs",
            "validation RMSE" if args.validate else "test RMSE",
            "seconds to fit",
            "seconds an epoch",
        ),
        rows,
    )
    if not args.validate:
        write_results("compare_mf", {"arguments": vars(args), "entries": figures})


if __name__ == "__main__":
    main()
