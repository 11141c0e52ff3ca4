"""Models of ratings with their defaults beside tuned peers, on sets of all densities and scales.

    pip install scikit-surprise cornac pandas           # peers; one that is missing is left out
    python -m benchmarks.densities                      # peers from their file, if it has them
    python -m benchmarks.densities --ours               # nothing but ours is trained
    python -m benchmarks.densities --peers              # the peers' file anew
    python -m benchmarks.densities --sets ml-100k ml-1m-5000 --models AutoRec BiasedMF

Ours run untouched but for the seed. The peers and the biases have their parameters chosen on a
tenth of the training part, then train on all of it, and see ratings standardised by the training
part, so that one grid of rates and penalties suits every scale. What they gave is kept in
`benchmarks/results/densities_peers.json`. All predictions are clipped to the range of the training
ratings. Test pairs whose user or item has no training rating stay in the test: each model predicts
them in its own way.
"""

import importlib
import json
import zlib
from collections.abc import Callable
from functools import partial
from itertools import product
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import isthmus
from benchmarks.common import (
    RESULTS,
    load,
    parser,
    print_table,
    published_split,
    write_json,
    write_results,
)
from benchmarks.compare_mf import coordinates, positions
from isthmus import AutoRec, BiasedMF, Ratings, mask_split, train_test_split
from isthmus.metrics import rmse

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Split = tuple[Ratings, Ratings]
Settings = dict[str, float]
Predict = Callable[[Integers, Integers], Floats]
"""Predicts ratings of pairs of positions."""
Fit = Callable[[Ratings, Settings], Predict]
"""Trains with some settings; what it predicts is not clipped."""
Error = Callable[[Settings], float]
"""RMSE on validation data of what some settings train."""
Figures = dict[str, Any]
"""How a model did on a set: `rmse`, `seconds`, and of a peer what its search chose."""

CACHE = RESULTS / "densities_peers.json"


# Sets: their training and test parts


def fold(name: str, mask: str) -> Split:
    """Split as it was published."""
    ratings, arrays = load(name)
    return published_split(ratings, arrays, arrays[mask])


def tenth(ratings: Ratings) -> Split:
    """Draw a random tenth as the test part."""
    return train_test_split(ratings, test_size=0.1, random_state=0)


def thinned(ratings: Ratings, n_train: int, n_test: int) -> Split:
    """Draw both parts from all ratings: a small one to learn from, enough to test on."""
    order = np.random.default_rng(0).permutation(ratings.nnz)
    return parts(ratings, order[:n_train], order[n_train : n_train + n_test])


def few_each(ratings: Ratings, n: int) -> Split:
    """Draw n ratings of each user to learn from, and as many others to test on."""
    users, _, _ = coordinates(ratings)
    order = np.lexsort((np.random.default_rng(0).random(ratings.nnz), users))
    place = np.arange(ratings.nnz) - ratings.indptr[users]
    return parts(ratings, order[place < n], order[(place >= n) & (place < 2 * n)])


def parts(ratings: Ratings, train: Integers, test: Integers) -> Split:
    """Return the cells at some places."""
    taken = np.zeros((2, ratings.nnz), np.bool_)
    taken[0, train] = taken[1, test] = True
    kept = ratings.select(taken.any(axis=0))
    return mask_split(kept, taken[1, taken.any(axis=0)])


def sampled(ratings: Ratings, n_users: int, n_items: int | None = None) -> Ratings:
    """Draw some users, and some items or all."""
    rng = np.random.default_rng(1)
    users, items, values = coordinates(ratings)
    kept_users = rng.choice(ratings.n_users, n_users, replace=False)
    kept_items = rng.choice(ratings.n_items, n_items or ratings.n_items, replace=False)
    kept = np.isin(users, kept_users) & np.isin(items, kept_items)
    return Ratings.from_arrays(
        *(users[kept], items[kept], values[kept]), user_ids=kept_users, item_ids=kept_items
    )


def rescaled(split: Split, factor: float, offset: float) -> Split:
    """Return ratings on another scale."""
    return change_values(split[0], lambda values: values * factor + offset), change_values(
        split[1], lambda values: values * factor + offset
    )


def change_values(ratings: Ratings, change: Callable[[Floats], Floats]) -> Ratings:
    """Ratings of the same cells, with other values."""
    users, items, values = coordinates(ratings)
    return Ratings.from_arrays(
        *(users, items, change(values.astype(np.float64))),
        user_ids=np.arange(ratings.n_users),
        item_ids=np.arange(ratings.n_items),
    )


def ml_1m() -> Ratings:
    return load("ml-1m")[0]


def ml_1m_square() -> Ratings:
    """3,000 of the users and 3,000 of the items."""
    return sampled(ml_1m(), 3000, 3000)


def jester(n_users: int) -> Ratings:
    """Ratings from -10 to 10 of a hundred jokes."""
    return sampled(load("jester-1")[0], n_users)


SETS: dict[str, Callable[[], Split]] = {
    "ml-100k": lambda: fold("ml-100k", "u1_test"),
    "ml-100k-1-to-100": lambda: rescaled(fold("ml-100k", "u2_test"), 24.75, -23.75),
    "ml-latest-small": lambda: tenth(load("ml-latest-small")[0]),
    "monti-douban": lambda: fold("monti-douban", "test"),
    "jester-1": lambda: tenth(jester(2000)),
    "jester-1-5-a-user": lambda: few_each(jester(5000), 5),
    "ml-1m": lambda: tenth(ml_1m()),
    "ml-1m-100000": lambda: thinned(ml_1m(), 100_000, 50_000),
    "ml-1m-26000": lambda: thinned(ml_1m_square(), 26_000, 25_000),
    "ml-1m-5000": lambda: thinned(ml_1m_square(), 5_000, 25_000),
    "ml-1m-10-a-user": lambda: few_each(ml_1m(), 10),
    "ml-1m-300-users": lambda: tenth(sampled(ml_1m(), 300)),
}


# Ours: defaults, whatever they are


def ours() -> dict[str, Callable[..., Any]]:
    return {
        "AutoRec": AutoRec,
        "U-AutoRec": partial(AutoRec, orientation="user"),
        **({"DualAutoRec": isthmus.DualAutoRec} if hasattr(isthmus, "DualAutoRec") else {}),
        "BiasedMF": BiasedMF,
    }


# Peers: a fit by settings, and a search


class Peer(NamedTuple):
    """What trains with some settings, and what chooses these by an error."""

    fit: Fit
    search: Callable[[Error], Settings]


def biases_fit(train: Ratings, settings: Settings) -> Predict:
    """r_ui = m + b_u + b_i by ridge regression, all three parts solved for in turn."""
    users, items, values = coordinates(train)
    values = values.astype(np.float64)
    counts = (
        np.bincount(users, minlength=train.n_users) + settings["user_penalty"],
        np.bincount(items, minlength=train.n_items) + settings["item_penalty"],
    )
    mean, of_user, of_item = values.mean(), np.zeros(train.n_users), np.zeros(train.n_items)
    for _ in range(20):
        rest = values - mean - of_user[users]
        of_item = np.bincount(items, rest, train.n_items) / counts[1]
        rest = values - mean - of_item[items]
        of_user = np.bincount(users, rest, train.n_users) / counts[0]
        mean = np.mean(values - of_user[users] - of_item[items])
    return lambda u, i: mean + of_user[u] + of_item[i]


def biases_search(error: Error) -> Settings:
    penalties = (0.5, 1, 2, 4, 8, 16, 32)
    grid = [
        {"user_penalty": user, "item_penalty": item} for user, item in product(penalties, repeat=2)
    ]
    return min(grid, key=error)


def standardised(fit: Fit) -> Fit:
    """Train on ratings less their mean, divided by their standard deviation."""

    def run(train: Ratings, settings: Settings) -> Predict:
        mean, deviation = train.mean, float(train.values.std(dtype=np.float64))
        predict = fit(change_values(train, lambda v: (v - mean) / deviation), settings)
        return lambda u, i: mean + deviation * predict(u, i)

    return run


def surprise_fit(train: Ratings, settings: Settings) -> Predict:
    import pandas as pd
    from surprise import SVD, Dataset, Reader

    users, items, values = coordinates(train)
    frame = pd.DataFrame({"user": users, "item": items, "rating": values})
    data = Dataset.load_from_df(frame, Reader(rating_scale=(train.min, train.max)))
    model = SVD(
        n_factors=settings["factors"],
        n_epochs=settings["epochs"],
        lr_all=settings["rate"],
        reg_all=settings["penalty"],
        random_state=0,
    ).fit(data.build_full_trainset())
    return lambda u, i: np.array(
        [model.predict(a, b, clip=False).est for a, b in zip(u, i, strict=True)]
    )


def cornac_fit(train: Ratings, settings: Settings) -> Predict:
    from cornac.data import Dataset
    from cornac.models import MF

    data = Dataset.from_uir(list(zip(*(c.tolist() for c in coordinates(train)), strict=True)))
    model = MF(
        k=settings["factors"],
        max_iter=settings["epochs"],
        learning_rate=settings["rate"],
        lambda_reg=settings["penalty"],
        seed=0,
    ).fit(data)
    user_at = positions(data.uid_map, train.n_users)
    item_at = positions(data.iid_map, train.n_items)

    def predict(u: Integers, i: Integers) -> Floats:  # as its `rate`: the mean for unknown items
        u, i = user_at[u], item_at[i]
        products = np.einsum("ij,ij->i", model.u_factors[u], model.i_factors[i])
        scores = model.i_biases[i] + np.where(u < 0, 0, model.u_biases[u] + products)
        return np.asarray(model.global_mean + np.where(i < 0, 0, scores))

    return predict


def factors_search(courses: tuple[tuple[int, float], ...], error: Error) -> Settings:
    """Search epochs and rates by penalties; then factors; then penalties beyond those."""
    grid = [
        {"factors": 100, "epochs": epochs, "rate": rate, "penalty": penalty}
        for (epochs, rate), penalty in product(courses, (0.025, 0.05, 0.1, 0.2))
    ]
    best = min(grid, key=error)
    best = min((best, *({**best, "factors": factors} for factors in (20, 200))), key=error)
    for edge, beyond in ((0.025, (0.0125, 0.00625)), (0.2, (0.4, 0.8))):
        for penalty in beyond:
            if best["penalty"] == edge:
                further = {**best, "penalty": penalty}
                best, edge = min((best, further), key=error), penalty
    return best


PEERS: dict[str, Peer] = {
    "biases": Peer(biases_fit, biases_search),
    "Surprise SVD": Peer(
        standardised(surprise_fit),
        partial(factors_search, ((20, 0.005), (60, 0.005), (60, 0.02))),
    ),
    "Cornac MF": Peer(
        standardised(cornac_fit),
        partial(factors_search, ((20, 0.01), (60, 0.01), (60, 0.03))),
    ),
}


def tuned(peer: Peer, train: Ratings, test: Ratings) -> Figures:
    """Choose a peer's settings on a tenth of the training part, then train on all of it."""
    learn, validation = train_test_split(train, test_size=0.1, random_state=1)
    errors: dict[tuple[tuple[str, float], ...], float] = {}

    def error(settings: Settings) -> float:
        key = tuple(settings.items())
        if key not in errors:
            found = rmse_clipped(peer.fit(learn, settings), learn, validation)
            errors[key] = found if np.isfinite(found) else np.inf
        return errors[key]

    start = perf_counter()
    settings = peer.search(error)
    searched = perf_counter()
    predict = peer.fit(train, settings)
    fitted = perf_counter()
    return {
        "rmse": rmse_clipped(predict, train, test),
        "seconds": round(fitted - searched, 2),
        "settings": settings,
        "validation_rmse": error(settings),
        "tried": len(errors),
        "search_seconds": round(searched - start, 1),
    }


def rmse_clipped(predict: Predict, train: Ratings, test: Ratings) -> float:
    users, items, values = coordinates(test)
    with np.errstate(all="ignore"):  # a peer whose training diverged
        predicted = predict(users, items)
    return rmse(values, np.clip(predicted, train.min, train.max))


def untouched(make: Callable[..., Any], train: Ratings, test: Ratings, threads: int) -> Figures:
    """Train a model of ours with its defaults."""
    model = make(random_state=0, num_threads=threads)
    start = perf_counter()
    model.fit(train)
    fitted = perf_counter()
    return {"rmse": model.evaluate(test)["rmse"], "seconds": round(fitted - start, 2)}


# The file of the peers' figures


class Kept:
    """Peers' figures by set and model; those of a set that has changed since are not used."""

    def __init__(self) -> None:
        self.sets: dict[str, Any] = json.loads(CACHE.read_text()) if CACHE.exists() else {}

    def get(self, name: str, split: Split, model: str) -> Figures | None:
        kept = self.sets.get(name, {})
        return kept.get(model) if kept.get("fingerprint") == fingerprint(split) else None

    def put(self, name: str, split: Split, model: str, figures: Figures) -> None:
        mark = fingerprint(split)
        if self.sets.get(name, {}).get("fingerprint") != mark:
            self.sets[name] = {"fingerprint": mark}
        self.sets[name][model] = figures
        write_json(CACHE, self.sets)


def fingerprint(split: Split) -> str:
    mark = 0
    for part in split:
        for array in (part.indptr, part.indices, part.values):
            mark = zlib.crc32(array.tobytes(), mark)
    return f"{mark:08x}"


# The table


def describe(name: str, split: Split) -> Figures:
    train, test = split
    users, items, _ = coordinates(test)
    rated = np.bincount(train.indices, minlength=train.n_items) > 0
    known = (np.diff(train.indptr) > 0)[users] & rated[items]
    return {
        "set": name,
        "users": train.n_users,
        "items": train.n_items,
        "train": train.nnz,
        "test": test.nnz,
        "range": [train.min, train.max],
        "deviation": float(train.values.std(dtype=np.float64)),
        "unknown": float(1 - known.mean()),
    }


def installed(name: str) -> bool:
    package = {"Surprise SVD": "surprise", "Cornac MF": "cornac"}.get(name)
    try:
        if package is not None:
            importlib.import_module(package)
    except ImportError as error:
        print(f"{name} is left out where its file lacks it: {error}")
        return False
    return True


def is_behind(figures: Figures, model: str) -> bool:
    """Whether one of ours is worse on a set than the biases."""
    models = figures["models"]
    if model in PEERS or not {model, "biases"} <= models.keys():
        return False
    return bool(models[model]["rmse"] > models["biases"]["rmse"])


def print_figures(sets: list[Figures], models: list[str]) -> None:
    print_table(
        ("set", "users x items", "ratings", "test", "values", "sd", "unknown"),
        [
            (
                s["set"],
                f"{s['users']:,} x {s['items']:,}",
                f"{s['train']:,}",
                f"{s['test']:,}",
                f"{s['range'][0]:.3g} to {s['range'][1]:.3g}",
                f"{s['deviation']:.3f}",
                f"{100 * s['unknown']:.1f} %",
            )
            for s in sets
        ],
    )
    cells: dict[str, Callable[[Figures, Figures], str]] = {
        "RMSE": lambda s, m: f"{m['rmse']:.4f}",
        "RMSE / sd": lambda s, m: f"{m['rmse'] / s['deviation']:.4f}",
        "seconds to fit": lambda s, m: f"{m['seconds']:.2f}",
    }
    for heading, cell in cells.items():
        rows = []
        for s in sets:
            row = [cell(s, s["models"][m]) if m in s["models"] else "" for m in models]
            if heading != "seconds to fit":
                row = [f"{c} *" if is_behind(s, m) else c for c, m in zip(row, models, strict=True)]
            rows.append((s["set"], *row))
        print()
        print_table((heading, *models), rows)


def print_behind(sets: list[Figures]) -> None:
    """Name those of ours that lose to the biases, and by how much."""
    print("\n* behind the biases, in sd:")
    for s in sets:
        models = s["models"]
        lost = [
            f"{model} {(models[model]['rmse'] - models['biases']['rmse']) / s['deviation']:.4f}"
            for model in models
            if is_behind(s, model)
        ]
        if lost:
            print(f"{s['set']}: {', '.join(lost)}")
    if not any(is_behind(s, model) for s in sets for model in s["models"]):
        print("none of ours")


def main() -> None:
    """Run from the command line."""
    own = ours()
    p = parser(__doc__)
    p.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    p.add_argument("--models", nargs="*", choices=[*own, *PEERS], default=[*own, *PEERS])
    which = p.add_mutually_exclusive_group()
    which.add_argument("--ours", action="store_true", help="train no peer that its file lacks")
    which.add_argument("--peers", action="store_true", help="train peers that their file has, too")
    args = p.parse_args()

    kept = Kept()
    trained = [m for m in args.models if m in PEERS and not args.ours and installed(m)]
    sets = []
    for name in args.sets:
        split = SETS[name]()
        figures: dict[str, Figures] = {}
        for model in args.models:
            if model in own:
                figures[model] = untouched(own[model], *split, args.threads)
                continue
            found = None if args.peers else kept.get(name, split, model)
            if found is None and model in trained:
                found = tuned(PEERS[model], *split)
                kept.put(name, split, model, found)
            if found is not None:
                figures[model] = found
        print(name, {model: round(f["rmse"], 4) for model, f in figures.items()}, flush=True)
        sets.append({**describe(name, split), "models": figures})
    print()
    print_figures(sets, args.models)
    print_behind(sets)
    write_results("densities", {"arguments": vars(args), "sets": sets})


if __name__ == "__main__":
    main()
