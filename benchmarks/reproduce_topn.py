"""Top-N models by published protocols on ml-1m, beside the published figures.

    python -m benchmarks.reproduce_topn recbole              # mean and spread over 3 splits
    python -m benchmarks.reproduce_topn ncf                  # the published leave-one-out
    python -m benchmarks.reproduce_topn recbole --models EASE --splits 1

recbole: ratings of 3 and more, users and items with 10 of them, 8:1:1 at random of each user's, all
items ranked, training and validation items left out in testing. ncf: a rating of each user's among
99 sampled items. Parameters were chosen, and the number of epochs is, on validation data: for ncf
another rating of each user's, after which the model is trained on all of the training part.
"""

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.common import data_folder, load, parser, print_table, published_split, write_results
from isthmus import CDAE, EASE, MultDAE, MultVAE, Ratings, Recommender, leave_one_out

MODELS: dict[str, Callable[..., Recommender]] = {
    "EASE": lambda **_: EASE(regularization=800.0),
    "MultDAE": lambda **params: MultDAE(
        **{"hidden_units": (600,), "learning_rate": 0.002, "epochs": 100, **params}
    ),
    "MultVAE": lambda **params: MultVAE(
        **{"decoder_units": (), "learning_rate": 0.003, "annealing_steps": 1000, "epochs": 100}
        | params
    ),
    "CDAE": lambda **params: CDAE(
        **{"hidden_units": 200, "learning_rate": 0.05, "epochs": 100, **params}
    ),
}

METRICS = {
    "recbole": ("recall@10", "mrr@10", "ndcg@10"),
    "ncf": ("hr@10", "ndcg@10"),
}
PUBLISHED = {
    "recbole": {
        "EASE": (0.2139, 0.4808, 0.2865),
        "MultDAE": (0.1972, 0.4125, 0.2425),
        "MultVAE": (0.1995, 0.4292, 0.2523),
        "CDAE": (0.1936, 0.4359, 0.2500),
    },
    "ncf": {"EASE": (0.7192, 0.4494), "MultDAE": (0.722, 0.446)},
}

PATIENCE = 10


def recbole_parts(ratings: Ratings, seed: int) -> tuple[Ratings, Ratings, Ratings]:
    """Train, validation and test: a tenth of each user's, rounded down, for the latter two."""
    data = ratings.binarize(3).k_core(10, 10)
    count = np.diff(data.indptr)
    rows = np.repeat(np.arange(data.n_users), count)
    order = np.lexsort((np.random.default_rng(seed).random(data.nnz), rows))
    place = np.arange(data.nnz) - np.repeat(data.indptr[:-1], count)
    tenth = np.repeat(count // 10, count)
    part = np.empty(data.nnz, np.int64)
    part[order] = np.where(place < tenth, 2, np.where(place < 2 * tenth, 1, 0))
    train, validation, test = (data.select(part == number) for number in range(3))
    return train, validation, test


def run_recbole(name: str, seed: int, threads: int) -> dict[str, float]:
    """Metrics on one split."""
    ratings, _ = load("ml-1m")
    train, validation, test = recbole_parts(ratings, seed)
    model = MODELS[name](patience=PATIENCE, random_state=seed)
    model.set_params(num_threads=threads).fit(train, validation=validation)
    return model.evaluate(test, METRICS["recbole"], exclude=validation)


def run_ncf(name: str, seed: int, threads: int) -> dict[str, float]:
    """Metrics on the published split, with the number of epochs chosen on another like it."""
    ratings, arrays = load("ml-1m")
    train, test = published_split(ratings, arrays, arrays["ncf_loo_test"])
    with np.load(data_folder() / "ml-1m" / "ncf_leave_one_out.npz") as file:
        negatives = file["negatives"]
    pairs = (np.repeat(np.arange(len(negatives)), negatives.shape[1]), negatives.ravel())
    ones = np.ones(negatives.size, np.float32)
    candidates = sparse.csr_array((ones, pairs), shape=ratings.shape)
    model = MODELS[name](random_state=seed).set_params(num_threads=threads)
    if "epochs" in model.get_params():
        shorter, held_out = leave_one_out(train, random_state=seed)
        model.set_params(patience=PATIENCE).fit(shorter, validation=held_out)
        history: list[Any] = model.history_  # type: ignore[attr-defined]
        best = max(history, key=lambda epoch: epoch.metrics["ndcg@10"])
        model.set_params(patience=None, epochs=best.index + 1)
    return model.fit(train).evaluate(test, METRICS["ncf"], candidates=candidates)


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("protocol", choices=list(METRICS))
    p.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    p.add_argument("--splits", type=int, default=3, help="of recbole; seeds of ncf")
    args = p.parse_args()
    run = {"recbole": run_recbole, "ncf": run_ncf}[args.protocol]
    metrics = METRICS[args.protocol]
    rows, results = [], {}
    for name in args.models:
        start = perf_counter()
        seeds = range(1 if args.protocol == "ncf" and name == "EASE" else args.splits)
        values = [run(name, seed, args.threads) for seed in seeds]
        cells = []
        for i, metric in enumerate(metrics):
            one = [value[metric] for value in values]
            spread = f" +- {statistics.stdev(one):.4f}" if len(one) > 1 else ""
            published = PUBLISHED[args.protocol].get(name)
            beside = f" ({published[i]:.4f})" if published else ""
            cells.append(f"{statistics.mean(one):.4f}{spread}{beside}")
        rows.append((name, *cells, f"{(perf_counter() - start) / len(values):.0f}"))
        results[name] = values
        print(name, *cells, flush=True)
    print_table(("", *(f"{metric} (published)" for metric in metrics), "seconds a run"), rows)
    chosen = "" if args.models == list(MODELS) else "_" + "_".join(args.models)
    write_results(
        f"reproduce_topn_{args.protocol}{chosen}", {"values": results, "splits": args.splits}
    )


if __name__ == "__main__":
    main()
