"""How well are users predicted who come after training, by how many ratings they have?

    python -m benchmarks.newcomers
    python -m benchmarks.newcomers ml-1m --draws 1 --models I-AutoRec
    python -m benchmarks.newcomers --axis item
    python -m benchmarks.newcomers --in-training --draws 1

100 users at a time are held out. The model is trained on the others, k ratings of each newcomer
are folded in, and the rest predicted; "item mean" predicts each item's mean rating of training.
With --in-training, the k ratings are part of the training instead.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, parser, print_table
from isthmus import RBM, AutoRec, BiasedMF, DualAutoRec, Ratings
from isthmus.metrics import rmse

COUNTS = (1, 2, 3, 5, 10, 20, 50)
LEAST_TEST = 10
"""Ratings of a newcomer that are left to be predicted."""
LEAST_RATINGS = 20
"""Of a newcomer."""

MODELS: dict[str, Callable[[], Any]] = {
    "I-AutoRec": lambda: AutoRec(random_state=0),
    "U-AutoRec": lambda: AutoRec(orientation="user", random_state=0),
    "DualAutoRec": lambda: DualAutoRec(random_state=0),
    "BiasedMF, SGD": lambda: BiasedMF(random_state=0),
    "BiasedMF, ALS": lambda: BiasedMF.als(random_state=0),
    "I-RBM": lambda: RBM(random_state=0),
    "U-RBM": lambda: RBM(orientation="user", random_state=0),
}


class Cells(NamedTuple):
    """Ratings of newcomers and of what they rated."""

    new: NDArray[np.int64]
    known: NDArray[np.int64]
    values: NDArray[np.float32]

    def take(self, chosen: NDArray[Any]) -> "Cells":
        """Some of them."""
        return Cells(*(array[chosen] for array in self))

    def users_and_items(self, axis: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids, where `axis` says what is new."""
        return (self.new, self.known) if axis == "user" else (self.known, self.new)

    def ratings(self, axis: str) -> Ratings:
        """Return them as `fit` and `fold_in` take them."""
        return Ratings.from_arrays(*self.users_and_items(axis), self.values)


class Draw(NamedTuple):
    """Training ratings, and those of newcomers with each one's place in its random order."""

    train: Cells
    newcomers: Cells
    place: NDArray[np.int64]
    counts: NDArray[np.int64]

    def split(self, k: int) -> tuple[Cells, Cells]:
        """Ratings to fold in, k a newcomer, and to predict."""
        enough = self.counts >= k + LEAST_TEST
        return (
            self.newcomers.take(enough & (self.place < k)),
            self.newcomers.take(enough & (self.place >= k)),
        )


def draw(ratings: Ratings, axis: str, n: int, seed: int) -> Draw:
    """Hold out n users, or items, of those with ratings enough."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    items = ratings.indices.astype(np.int64)
    cells = Cells(*((users, items) if axis == "user" else (items, users)), ratings.values)
    cells = cells.take(rng.permutation(ratings.nnz))
    often = np.flatnonzero(np.bincount(cells.new) >= LEAST_RATINGS)
    held_out = np.isin(cells.new, rng.choice(often, n, replace=False))
    train = cells.take(~held_out)
    newcomers = cells.take(held_out)
    newcomers = newcomers.take(np.isin(newcomers.known, train.known))
    newcomers = newcomers.take(np.argsort(newcomers.new, kind="stable"))
    _, first, inverse, counts = np.unique(
        newcomers.new, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.arange(len(newcomers.new)) - first[inverse]
    return Draw(train, newcomers, place, counts[inverse])


def item_mean(split: Draw, test: Cells) -> float:
    """Error of the mean training rating of what is known: an item, to a new user."""
    known = split.train.known
    sums = np.bincount(known, weights=split.train.values)
    means = sums / np.maximum(np.bincount(known), 1)
    return rmse(test.values, means[test.known])


def folded(model: Any, few: Cells, test: Cells, axis: str) -> float:
    """Error on newcomers that a trained model learns of."""
    grown = copy.copy(model).fold_in(few.ratings(axis), axis=axis)
    return rmse(test.values, grown.predict(*test.users_and_items(axis)))


def trained(model: Any, train: Cells, few: Cells, test: Cells, axis: str) -> float:
    """Error on newcomers whose few ratings are part of the training."""
    both = Cells(*(np.concatenate(pair) for pair in zip(train, few, strict=True)))
    return rmse(test.values, model.fit(both.ratings(axis)).predict(*test.users_and_items(axis)))


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="?", default="ml-100k")
    arguments.add_argument("--axis", choices=("user", "item"), default="user")
    arguments.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    arguments.add_argument("--draws", type=int, default=3)
    arguments.add_argument("--newcomers", type=int, default=100)
    arguments.add_argument("--in-training", action="store_true")
    options = arguments.parse_args()
    ratings = load(options.data)[0]
    known = "item mean" if options.axis == "user" else "user mean"
    errors: dict[str, list[list[float]]] = {name: [] for name in [*options.models, known]}
    for seed in range(options.draws):
        split = draw(ratings, options.axis, options.newcomers, seed)
        parts = [split.split(k) for k in COUNTS]
        errors[known].append([item_mean(split, test) for _, test in parts])
        for name in options.models:
            model = MODELS[name]().set_params(num_threads=options.threads)
            if options.in_training:
                found = [
                    trained(model, split.train, few, test, options.axis) for few, test in parts
                ]
            else:
                model.fit(split.train.ratings(options.axis))
                found = [folded(model, few, test, options.axis) for few, test in parts]
            errors[name].append(found)
    print_table(
        ["", *(f"k = {k}" for k in COUNTS)],
        [(name, *(f"{e:.3f}" for e in np.mean(rows, axis=0))) for name, rows in errors.items()],
    )


if __name__ == "__main__":
    main()
