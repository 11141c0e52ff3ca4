"""What to ask newcomers: `informative_items` beside popularity, entropy and their product.

    python -m benchmarks.informative
    python -m benchmarks.informative ml-100k --seeds 5 --models BiasedMF

300 users with 40 ratings or more, or a tenth of all if that is less, are newcomers. Half of each
one's ratings, drawn at random, are to be predicted; of the other half, the newcomer can answer.
Each list is made from the other users alone, on whom the model is trained. Everybody is asked down
the same list: n questions, of which an item that is not in the answerable half has no answer, or
until there are k answers. What is answered is folded in.

RMSE is of all ratings to be predicted, NDCG@10 of those of 4 and more, ranked among all items but
those of the answerable half, answered or not: otherwise a list of popular items would do well for
taking these out of the ranking.
"""

import copy
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, parser, print_table, write_results
from isthmus import AutoRec, BiasedMF, DualAutoRec, Ratings
from isthmus.data._csr import row_numbers
from isthmus.metrics import rmse

LEAST = 40
"""Ratings of a newcomer."""
NEWCOMERS = 300
LONGEST = 100
"""Of a list of questions."""
QUESTIONS = (10, 30)
ANSWERS = (5, 10)
POSITIVE = 4

MODELS: dict[str, Callable[[], Any]] = {
    "BiasedMF": lambda: BiasedMF(random_state=0),
    "AutoRec": lambda: AutoRec(random_state=0),
    "DualAutoRec": lambda: DualAutoRec(random_state=0),
}


class Split(NamedTuple):
    """Ratings of users of training; of newcomers, those they may answer with, and the rest."""

    train: Ratings
    answerable: Ratings
    test: Ratings


def split(ratings: Ratings, seed: int) -> Split:
    """Draw newcomers, and halve their ratings. All parts have all users and items."""
    rng = np.random.default_rng(seed)
    often = np.flatnonzero(np.diff(ratings.indptr) >= LEAST)
    new = np.zeros(ratings.n_users, np.bool_)
    new[rng.choice(often, min(NEWCOMERS, ratings.n_users // 10), replace=False)] = True
    of_new = new[row_numbers(ratings.indptr)]
    known = np.bincount(ratings.indices[~of_new], minlength=ratings.n_items)[ratings.indices] > 0
    half = rng.random(ratings.nnz) < 0.5
    return Split(
        ratings.select(~of_new),
        ratings.select(of_new & known & half),
        ratings.select(of_new & known & ~half),
    )


def lists(train: Ratings, model: Any) -> dict[str, NDArray[np.int64]]:
    """Questions of each kind, best first."""
    counts = np.bincount(train.indices, minlength=train.n_items).astype(float)
    levels, which = np.unique(train.values, return_inverse=True)
    table = np.zeros((train.n_items, len(levels)))
    np.add.at(table, (train.indices, which), 1)
    shares = table / np.maximum(counts, 1)[:, np.newaxis]
    entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-12)), axis=1)
    scores = {
        "popularity": counts,
        "entropy": entropy,
        "log popularity x entropy": np.log(np.maximum(counts, 1)) * entropy,
    }
    found = {name: np.argsort(-score, kind="stable") for name, score in scores.items()}
    start = perf_counter()
    found["informative_items"] = np.asarray(model.informative_items(LONGEST))
    print(f"{LONGEST} of informative_items in {perf_counter() - start:.1f} s", flush=True)
    return {name: order[:LONGEST] for name, order in found.items()}


def answers(part: Ratings, order: NDArray[np.int64], questions: int, most: int) -> Ratings:
    """What newcomers answer to so many questions, and no more than `most` answers each."""
    place = np.full(part.n_items, LONGEST)
    place[order[:questions]] = np.arange(len(order[:questions]))
    asked = place[part.indices]
    rows = row_numbers(part.indptr)
    in_order = np.lexsort((asked, rows))
    nth = np.empty(part.nnz, np.int64)
    nth[in_order] = np.arange(part.nnz) - part.indptr[rows[in_order]]
    return part.select((asked < LONGEST) & (nth < most))


def users_of(part: Ratings, users: NDArray[np.int64], prefix: int = 0) -> Ratings:
    """Some users' ratings, with new ids."""
    matrix = part.to_matrix()[users]
    return Ratings.from_matrix(matrix, user_ids=prefix + users, item_ids=part.item_ids)


def of_item_means(parts: Split) -> float:
    """RMSE of what can be said of somebody who has answered nothing."""
    items, values = parts.train.indices, parts.train.values
    sums, counts = (np.bincount(items, w, parts.train.n_items) for w in (values, None))
    means = sums / np.maximum(counts, 1)
    return rmse(parts.test.values, means[parts.test.indices])


def measure(model: Any, parts: Split, given: Ratings) -> tuple[float, float, float]:
    """RMSE, NDCG@10 and mean answers."""
    users = np.flatnonzero(np.diff(parts.test.indptr))
    test = users_of(parts.test, users, parts.train.n_users)
    rows = users_of(given, users, parts.train.n_users)
    grown = copy.copy(model).fold_in(rows)
    who, what, truth, _ = test.to_arrays()
    error = rmse(truth, grown.predict(who, what))
    had = users_of(parts.answerable, users, parts.train.n_users)
    found = model.evaluate(test.binarize(POSITIVE), "ndcg@10", ratings=rows, exclude=had)
    return error, found["ndcg@10"], rows.nnz / len(users)


def compare(ratings: Ratings, make: Callable[[], Any], seed: int, threads: int) -> dict[str, Any]:
    """Metrics by list and protocol."""
    parts = split(ratings, seed)
    model = make().set_params(num_threads=threads).fit(parts.train)
    results: dict[str, Any] = {"item means": of_item_means(parts)}
    for name, order in lists(parts.train, model).items():
        results[name] = {
            **{
                f"{n} questions": measure(
                    model, parts, answers(parts.answerable, order, n, LONGEST)
                )
                for n in QUESTIONS
            },
            **{
                f"{k} answers": measure(model, parts, answers(parts.answerable, order, LONGEST, k))
                for k in ANSWERS
            },
        }
    return results


def main() -> None:
    """Print a table for each model."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="?", default="ml-1m")
    arguments.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    ratings = load(options.data)[0]
    everything: dict[str, Any] = {}
    for name in options.models:
        runs = [
            compare(ratings, MODELS[name], seed, options.threads) for seed in range(options.seeds)
        ]
        everything[name] = runs
        protocols = [*(f"{n} questions" for n in QUESTIONS), *(f"{k} answers" for k in ANSWERS)]
        start = np.mean([run["item means"] for run in runs])
        print(f"\n{name}; without answers, item means: RMSE {start:.4f}\n")
        rows = []
        for order in list(runs[0])[1:]:
            cells = []
            for protocol in protocols:
                values = np.array([run[order][protocol] for run in runs])
                mean = values.mean(axis=0)
                cells.append(f"{mean[0]:.4f}, {mean[1]:.4f} ({mean[2]:.1f})")
            rows.append((order, *cells))
        print_table(["RMSE, NDCG@10 (answers)", *protocols], rows)
    write_results(f"informative_{options.data}", everything)


if __name__ == "__main__":
    main()
