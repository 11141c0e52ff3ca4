"""A new day: the old model, `update` with what has come since, and a new fit, on what comes next.

python -m benchmarks.updates --data ml-1m
python -m benchmarks.updates --data ml-1m --validation --epochs 1 2 4 8    # how many epochs do
"""

import copy
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, parser, print_table, seconds
from isthmus import (
    CDAE,
    CVAE,
    EASE,
    RBM,
    AutoRec,
    BiasedMF,
    Blend,
    DualAutoRec,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
)

MODELS = {
    "AutoRec": lambda **own: AutoRec(**own),
    "AutoRec, user": lambda **own: AutoRec(orientation="user", **own),
    "DualAutoRec": lambda **own: DualAutoRec(**own),
    "BiasedMF": lambda **own: BiasedMF(**own),
    "BiasedMF, ALS": lambda **own: BiasedMF.als(**own),
    "RBM": lambda **own: RBM(**own),
    "Blend": lambda **own: Blend([AutoRec(**own), AutoRec(orientation="user", **own)], **own),
    "EASE": lambda random_state, **own: EASE(**own),
    "MultDAE": lambda **own: MultDAE(**own),
    "MultVAE": lambda **own: MultVAE(**own),
    "CDAE": lambda **own: CDAE(**own),
    "CVAE": lambda **own: CVAE(**own),
}
"""By name, of a seed and a number of threads."""


def parts_by_time(ratings: Ratings, ends: tuple[float, float, float]) -> list[Ratings]:
    """The ratings before each of three shares of the time order, of all users and items then."""
    users, items, values, stamps = ratings.to_arrays()
    assert stamps is not None
    order = np.argsort(stamps, kind="stable")

    def of(cells: NDArray[np.int64]) -> Ratings:
        return Ratings.from_arrays(users[cells], items[cells], values[cells])

    old, now, end = (int(share * len(order)) for share in ends)
    known, later = order[:now], order[now:end]
    # nobody can be told anything of those who are unknown to all three
    later = later[np.isin(users[later], users[known]) & np.isin(items[later], items[known])]
    return [of(order[:old]), of(known), of(later)]


def with_times(name: str) -> Ratings:
    """The ratings of a data set whose time is known: of ml-1m, those of half of the users."""
    _, arrays = load(name)
    stamps = arrays["timestamp" if "timestamp" in arrays else "timestamp_partial"]
    known = stamps >= 0
    columns = (arrays[column][known] for column in ("user", "item", "rating"))
    return Ratings.from_arrays(*columns, stamps[known])


def measure(model: Recommender, test: Ratings) -> float:
    """Its error on ratings, or its ranking of them, of the users and items that it knows."""
    metric = "rmse" if "rmse" in model._default_metrics else "ndcg@10"
    return model.evaluate(test, metric)[metric]


def known_to(model: Recommender, test: Ratings) -> Ratings:
    """The part of the test that an old model can say anything of."""
    users, items, values, _ = test.to_arrays()
    kept = np.isin(users, model.user_ids_) & np.isin(items, model.item_ids_)
    return Ratings.from_arrays(users[kept], items[kept], values[kept])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", default="ml-1m")
    arguments.add_argument("--models", nargs="*", default=list(MODELS))
    arguments.add_argument("--epochs", type=int, nargs="*", default=[None])
    arguments.add_argument(
        "--validation", action="store_true", help="leave the last tenth of the time aside"
    )
    options = arguments.parse_args()
    ratings = with_times(options.data)
    ends = (0.729, 0.81, 0.9) if options.validation else (0.81, 0.9, 1.0)
    old, now, test = parts_by_time(ratings, ends)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.data}:")
    for name, part in (("old", old), ("now", now), ("test", test)):
        print(f"{name:5}{part}")
    header = ("model", "old", "update", "new fit", "update, all", "new fit, all")
    header += ("old s", "update s", "new fit s", "new fit / update")
    rows = []
    for name in options.models:
        own: dict[str, Any] = {"random_state": 0, "num_threads": options.threads}
        model = MODELS[name](**own)
        first = seconds(lambda model=model: model.fit(old))
        shared = known_to(model, test)
        fresh = MODELS[name](**own)
        anew = seconds(lambda fresh=fresh: fresh.fit(now))
        for epochs in options.epochs:
            updated = copy.deepcopy(model)
            later = seconds(lambda u=updated, epochs=epochs: u.update(now, epochs=epochs))
            known = (measure(one, shared) for one in (model, updated, fresh))
            everyone = (measure(one, test) for one in (updated, fresh))
            label = name if epochs is None else f"{name}, {epochs} epochs"
            rows.append(
                (
                    label,
                    *(f"{value:.4f}" for value in known),
                    *(f"{value:.4f}" for value in everyone),
                    *(f"{taken:.2f}" for taken in (first, later, anew)),
                    f"{anew / later:.1f}",
                )
            )
            print(rows[-1], flush=True)
    print_table(header, rows)


if __name__ == "__main__":
    main()
