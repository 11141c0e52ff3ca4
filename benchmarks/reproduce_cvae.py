"""CVAE on the published splits of citeulike-a and citeulike-t, beside the published figures.

    python -m benchmarks.reproduce_cvae citeulike-t P10         # bags of words
    python -m benchmarks.reproduce_cvae citeulike-t P1
    python -m benchmarks.reproduce_cvae citeulike-a P10         # tags: the words are not available
    python -m benchmarks.reproduce_cvae citeulike-t cold        # a tenth of the items is unknown
    python -m benchmarks.reproduce_cvae citeulike-t P10 --models popularity EASE MF

P10 and P1 have ten ratings, or one, of each user's in training and all others in testing. Recall is
given in both forms, as means over the users with a test rating: *paper* is the share of all of a
user's items, of training and testing, that is among the first of all items; *masked* leaves the
items of training out, of the list and of the share.
CVAE has the published parameters; the regularization of EASE and of the matrix factorisation (MF:
CVAE without content) is what did best on a fifth of each user's training part, held out. With one
rating a user there is nothing to hold out, and they keep the first value of their lists.

cold: all ratings of a tenth of the items, drawn at random, are held out, and their content with
them; they are then ranked by content alone, among themselves and among all items, for the users who
have one of them. Popularity knows no order among them.
"""

import resource
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.common import data_folder, load, parser, print_table, published_split, write_results
from isthmus import CVAE, EASE, Content, Ratings, _core, train_test_split
from isthmus.data._csr import CSR, as_pattern
from isthmus.evaluation.ranking import parse_metrics, rank, with_training
from isthmus.evaluation.scores import Vectors

CUTS = (50, 100, 150, 200, 250, 300)
METRICS = [f"recall@{k}" for k in CUTS]
LEAST_TAGGED = 5
"""Tags that fewer items have are left out, as H. Wang, B. Chen and W.-J. Li do (IJCAI 2013)."""

PUBLISHED = {
    ("citeulike-a", "P1", "paper"): (0.149, 0.202, 0.242, 0.274, 0.301, 0.324),
    ("citeulike-a", "P1", "masked"): (0.107, 0.163, 0.205, 0.239, 0.267, 0.291),
    ("citeulike-a", "P10", "paper"): (0.427, 0.526, 0.578, 0.612, 0.639, 0.662),
    ("citeulike-t", "P1", "paper"): (0.196, 0.233, 0.259, 0.280, 0.298, 0.313),
    ("citeulike-t", "P10", "paper"): (0.433, 0.535, 0.585, 0.616, 0.637, 0.653),
}
GRIDS = {"EASE": (100.0, 10.0, 1000.0), "MF": (0.1, 0.01, 1.0)}

Recalls = dict[str, tuple[float, ...]]


def content_of(name: str) -> Content:
    """Bags of words, or tags."""
    folder = data_folder() / name
    if (folder / "bow.npz").exists():
        return Content(sparse.load_npz(folder / "bow.npz"))
    tags = sparse.csr_array(sparse.load_npz(folder / "item_tags.npz"))
    often = np.bincount(tags.indices, minlength=tags.shape[1]) >= LEAST_TAGGED
    return Content(tags[:, often])


def measure(scores: _core.Scores, train: Ratings, test: Ratings, threads: int) -> Recalls:
    """Recalls in both forms, means over the users with a test rating."""
    held_out, known = (as_pattern(part.to_matrix()) for part in (test, train))
    recalls = {}
    for form, positives, seen in (
        ("paper", with_training(held_out, known), None),
        ("masked", held_out, known),
    ):
        values = rank(scores, parse_metrics(METRICS), positives, seen=seen, num_threads=threads)
        recalls[form] = tuple(float(np.nanmean(values[metric])) for metric in METRICS)
    return recalls


def popularity_scores(train: Ratings) -> _core.Scores:
    """Scores of all users alike: how many have an item."""
    counts = np.bincount(train.indices, minlength=train.n_items).astype(np.float32)
    return _core.Scorer(np.ones((train.n_users, 1), np.float32), counts[:, np.newaxis])


def ease_scores(train: Ratings, regularization: float, threads: int) -> _core.Scores:
    """Scores of EASE: of items that have a rating, since those of all others are 0."""
    rated = np.flatnonzero(np.bincount(train.indices, minlength=train.n_items))
    X = train.to_matrix()[:, rated]
    model = EASE(regularization=regularization, num_threads=threads).fit(X)
    weights = np.zeros((len(rated), train.n_items), np.float32)
    weights[:, rated] = model.item_weights_
    rows = as_pattern(X)
    ones = np.ones(len(rows.indices), np.float32)
    return _core.ProductScorer(rows.indptr, rows.indices, ones, weights)


def mf_scores(train: Ratings, regularization: float, threads: int) -> _core.Scores:
    """Scores of matrix factorisation with the same weights and length as CVAE."""
    model = CVAE(
        user_regularization=regularization,
        item_regularization=regularization,
        epochs=20,
        random_state=0,
        num_threads=threads,
    )
    return model.fit(train)._vectors().scorer()


def choose(
    name: str, scores: Callable[[Ratings, float, int], _core.Scores], train: Ratings, threads: int
) -> float:
    """Regularization that ranks a held-out fifth of each user's training part best."""
    grid = GRIDS[name]
    if np.diff(train.indptr).max() < 2:
        return grid[0]
    known, held_out = train_test_split(train, test_size=0.2, random_state=0, by="user")
    recalls = [
        measure(scores(known, value, threads), known, held_out, threads)["masked"][0]
        for value in grid
    ]
    for value, recall in zip(grid, recalls, strict=True):
        print(f"{name}: regularization {value:g}: validation recall@50 {recall:.4f}", flush=True)
    return grid[int(np.argmax(recalls))]


def cvae(train: Ratings, content: Content, args: Any) -> CVAE:
    """CVAE with the published parameters, trained."""
    model = CVAE(random_state=args.seed, num_threads=args.threads, verbose=args.verbose)
    return model.fit(train, content=content)


def report_training(model: CVAE, seconds: float) -> dict[str, Any]:
    """How training went: seconds, memory, and the parts of the loss, first and last."""
    losses = {name: [values[0], values[-1]] for name, values in model.losses_.items()}
    layers = [[values[0], values[-1]] for values in model.pretraining_losses_]
    rounds = sum(epoch.seconds for epoch in model.history_)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"CVAE: {seconds:.0f} s, of them {rounds:.0f} s in {len(model.history_)} rounds")
    print(f"peak memory {peak:.2f} GiB")
    for number, (first, last) in enumerate(layers):
        print(f"pretraining loss of layer {number + 1}: {first:.2f} -> {last:.2f}")
    for name, (first, last) in losses.items():
        print(f"{name}: {first:.4f} -> {last:.4f}", flush=True)
    return {"seconds": seconds, "GiB": peak, "losses": losses, "pretraining": layers}


def run_split(args: Any) -> dict[str, Any]:
    """Recall on one of the published splits."""
    ratings, arrays = load(args.data)
    train, test = published_split(ratings, arrays, ~arrays[f"train_{args.split}"])
    recalls: dict[str, Recalls] = {}
    about: dict[str, Any] = {}
    for name in args.models:
        start = perf_counter()
        if name == "CVAE":
            model = cvae(train, content_of(args.data), args)
            about[name] = report_training(model, perf_counter() - start)
            scores = model._vectors().scorer()
        elif name == "popularity":
            scores = popularity_scores(train)
        else:
            make = {"EASE": ease_scores, "MF": mf_scores}[name]
            about[name] = {"regularization": choose(name, make, train, args.threads)}
            scores = make(train, about[name]["regularization"], args.threads)
        recalls[name] = measure(scores, train, test, args.threads)
    rows = []
    for form in ("paper", "masked"):
        for name, found in recalls.items():
            rows.append((name, form, *(f"{value:.3f}" for value in found[form])))
        published = PUBLISHED.get((args.data, args.split, form))
        if published:
            rows.append(("CVAE, published", form, *(f"{value:.3f}" for value in published)))
    print_table(("", "form", *METRICS), rows)
    return {"recalls": recalls, "about": about}


def shifted(matrix: Any, by: int, n_items: int) -> CSR:
    """A matrix's pattern as columns of a wider one, from column `by` on."""
    pattern = as_pattern(matrix)
    indices = (pattern.indices + by).astype(np.int32)
    return CSR(pattern.indptr, indices, pattern.values, (pattern.shape[0], n_items))


def run_cold(args: Any) -> dict[str, Any]:
    """Recall of items without any rating, among themselves and among all items."""
    ratings, _ = load(args.data)
    n_users, n_items = ratings.shape
    rng = np.random.default_rng(args.seed)
    new = np.sort(rng.permutation(n_items)[: n_items // 10])
    old = np.setdiff1d(np.arange(n_items), new)
    matrix, words = ratings.to_matrix(), content_of(args.data).to_matrix()
    known, held_out = matrix[:, old], matrix[:, new]
    start = perf_counter()
    # the new items' content is no part of training either
    train = Ratings.from_matrix(known, item_ids=old)
    model = cvae(train, Content(words[old], item_ids=old), args)
    about = report_training(model, perf_counter() - start)
    model.fold_in_items(Content(words[new], item_ids=new))

    popularity = np.concatenate(
        [np.bincount(known.indices, minlength=len(old)), np.zeros(len(new))]
    )
    random = (rng.standard_normal((n, 8)).astype(np.float32) for n in (n_users, n_items))
    vectors = {
        "CVAE": model._vectors(),
        "popularity": Vectors(
            np.ones((n_users, 1), np.float32), popularity[:, None].astype(np.float32)
        ),
        "random": Vectors(*random),
    }
    # after fold_in_items, the new items come last
    last = np.arange(len(old), n_items)
    recalls: dict[str, dict[str, list[float]]] = {"new items": {}, "all items (masked)": {}}
    for name, both in vectors.items():
        for among, found in recalls.items():
            alone = among == "new items"
            values = rank(
                (both.take(items=last) if alone else both).scorer(),
                parse_metrics(METRICS),
                as_pattern(held_out) if alone else shifted(held_out, len(old), n_items),
                seen=None if alone else shifted(known, 0, n_items),
                num_threads=args.threads,
            )
            found[name] = [float(np.nanmean(values[metric])) for metric in METRICS]
    print(f"{len(new):,} new items, {held_out.nnz:,} ratings of them")
    rows = [
        (name, among, *(f"{value:.3f}" for value in values))
        for among, found in recalls.items()
        for name, values in found.items()
    ]
    print_table(("", "ranked among", *METRICS), rows)
    return {"recalls": recalls, "about": about}


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    models = ("popularity", "EASE", "MF", "CVAE")
    p.add_argument("data", choices=["citeulike-a", "citeulike-t"])
    p.add_argument("split", choices=["P1", "P10", "cold"])
    p.add_argument("--models", nargs="*", choices=models, default=models)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--verbose", action="store_true")
    args = p.parse_args()
    results = run_cold(args) if args.split == "cold" else run_split(args)
    chosen = "" if len(args.models) == len(models) else "_" + "_".join(args.models)
    write_results(f"reproduce_cvae_{args.data}_{args.split}{chosen}", results)


if __name__ == "__main__":
    main()
