"""`auto_fit` in a minute or two, beside our single models and peers with their defaults.

    pip install scikit-surprise cornac implicit pandas
    python -m benchmarks.auto
    python -m benchmarks.auto --minutes 2 --sets ml-1m

The splits are those of `benchmarks.densities` (ratings) and `benchmarks.topn_defaults` (lists; a
fifth of each user's cells is held out). Beside it is what the documentation publishes for the set:
AutoRec, DualAutoRec and BiasedMF with their defaults, which were tuned, or EASE with the lambda of
a grid that is best on the test part. auto_fit sees the training part alone, once. Peers have their
defaults and need less than the minutes.
"""

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import densities, topn_defaults
from benchmarks.common import parser, print_table, write_results
from isthmus import EASE, AutoRec, BiasedMF, DualAutoRec, Ratings, auto_fit
from isthmus.data._csr import row_numbers
from isthmus.evaluation.ranking import parse_metrics, rank
from isthmus.evaluation.scores import Vectors
from isthmus.metrics import rmse

OF_RATINGS = ("ml-100k", "monti-douban", "ml-1m", "jester-1")
OF_LISTS = ("citeulike-a, 10-core",)
LAMBDAS = (10, 20, 40, 80, 160)
METRIC = "ndcg@10"

Row = tuple[str, float, float]
"""A model, its test metric and its seconds."""


def timed(name: str, work: Callable[[], float]) -> Row:
    """Fit and measure; the seconds are of both."""
    start = perf_counter()
    return name, work(), perf_counter() - start


def coordinates(part: Ratings) -> tuple[Any, Any]:
    """Positions of users and items of each rating."""
    return row_numbers(part.indptr), part.indices.astype(np.int64)


def surprise_svd(train: Ratings, test: Ratings) -> float:
    from pandas import DataFrame
    from surprise import SVD, Dataset, Reader

    users, items = coordinates(train)
    frame = DataFrame({"user": users, "item": items, "rating": train.values})
    data = Dataset.load_from_df(frame, Reader(rating_scale=(train.min, train.max)))
    model = SVD(random_state=0).fit(data.build_full_trainset())
    pairs = zip(*coordinates(test), strict=True)
    return rmse(test.values, np.array([model.predict(u, i).est for u, i in pairs]))


def cornac_mf(train: Ratings, test: Ratings, threads: int) -> float:
    from cornac.data import Dataset
    from cornac.models import MF

    users, items = coordinates(train)
    data = Dataset.build(
        list(zip(users.tolist(), items.tolist(), train.values.tolist(), strict=True)), seed=0
    )
    model = MF(seed=0, num_threads=threads).fit(data)
    known = {user: row for row, user in enumerate(data.uid_map)}, dict(data.iid_map)
    u = np.array([data.uid_map.get(user, -1) for user in coordinates(test)[0]])
    i = np.array([known[1].get(item, -1) for item in coordinates(test)[1]])
    scores = np.full(len(u), model.global_mean, np.float64)
    scores += np.where(u >= 0, model.u_biases[u], 0) + np.where(i >= 0, model.i_biases[i], 0)
    both = (u >= 0) & (i >= 0)
    scores[both] += np.einsum("nk,nk->n", model.u_factors[u[both]], model.i_factors[i[both]])
    return rmse(test.values, scores.clip(train.min, train.max))


def implicit_als(train: Ratings, test: Ratings, threads: int) -> float:
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(random_state=0, num_threads=threads)
    # which writes to what it is given
    model.fit(csr_matrix(train.to_matrix(), copy=True), show_progress=False)
    scores = Vectors(
        np.ascontiguousarray(model.user_factors), np.ascontiguousarray(model.item_factors)
    )
    values = rank(
        scores.scorer(),
        parse_metrics(METRIC),
        test.rows("user"),
        seen=train.rows("user"),
        num_threads=threads,
    )
    return float(np.nanmean(values[METRIC]))


def automatic(train: Ratings, test: Ratings, minutes: float, threads: int) -> tuple[float, str]:
    found = auto_fit(
        train, minutes=minutes, random_state=0, num_threads=threads, trials=1000, verbose=True
    )
    return found.model.evaluate(test, found.metric)[found.metric], found.choice


def compare_ratings(name: str, minutes: float, threads: int) -> tuple[list[Row], str]:
    """RMSE of all on one set."""
    train, test = densities.SETS[name]()
    chosen: list[str] = []

    def ours() -> float:
        value, choice = automatic(train, test, minutes, threads)
        chosen.append(choice)
        return value

    rows = [timed("auto_fit", ours)]
    for model in (AutoRec, DualAutoRec, BiasedMF):
        fresh: Any = model(random_state=0, num_threads=threads)
        rows.append(
            timed(model.__name__, lambda fresh=fresh: fresh.fit(train).evaluate(test)["rmse"])
        )
    rows.append(timed("Surprise SVD", lambda: surprise_svd(train, test)))
    rows.append(timed("Cornac MF", lambda: cornac_mf(train, test, threads)))
    return rows, chosen[0]


def compare_lists(name: str, minutes: float, threads: int) -> tuple[list[Row], str]:
    """NDCG@10 of all on one set."""
    ratings = topn_defaults.SETS[name]()
    _, train, test, _ = topn_defaults.split(ratings, 0)
    chosen: list[str] = []

    def ours() -> float:
        value, choice = automatic(train, test, minutes, threads)
        chosen.append(choice)
        return value

    def grid() -> float:
        models = (EASE(regularization=x, num_threads=threads) for x in LAMBDAS)
        return max(model.fit(train).evaluate(test, METRIC)[METRIC] for model in models)

    return [
        timed("auto_fit", ours),
        timed("EASE, best lambda", grid),
        timed("implicit ALS", lambda: implicit_als(train, test, threads)),
    ], chosen[0]


def main() -> None:
    """Print a table for each set."""
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", default=[*OF_RATINGS, *OF_LISTS])
    arguments.add_argument("--minutes", type=float, default=1.0)
    options = arguments.parse_args()
    results: dict[str, Any] = {}
    for name in options.sets:
        load = os.getloadavg()[0]
        compare = compare_lists if name in OF_LISTS else compare_ratings
        rows, choice = compare(name, options.minutes, options.threads)
        print(f"\n{name}, load {load:.1f} before: {choice}\n")
        print_table(
            ["", METRIC if name in OF_LISTS else "RMSE", "seconds"],
            [(model, f"{value:.4f}", f"{seconds:.1f}") for model, value, seconds in rows],
        )
        results[name] = {"load": load, "choice": choice, "rows": rows}
        write_results("auto", {"minutes": options.minutes, "sets": results})


if __name__ == "__main__":
    main()
