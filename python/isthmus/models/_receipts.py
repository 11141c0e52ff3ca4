"""Receipts of training: the data, the seed, the program and the time."""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from time import perf_counter, process_time
from typing import Any

from isthmus import _core
from isthmus._util.checks import check_integer, check_real
from isthmus.data._fingerprint import fingerprint
from isthmus.data.ratings import Ratings, as_ratings
from isthmus.data.splits import HeldOutUsers

__all__ = ["Receipt", "fingerprint_of", "recorded", "started", "went_on"]

STEPS = ("fit", "interruption", "partial_fit", "fold_in", "forget")
"""What can change a model."""

LATER = ("weights", "ranks", "slices", "buckets")
"""What older files do not name."""


@dataclass(frozen=True)
class Receipt:
    """How a model was trained.

    Attributes
    ----------
    data : str
        Fingerprint of the ratings that `fit` was given, the same in any order of them.
    users, items, ratings : int
        How many those were.
    validation : str or None
        Fingerprint of the validation data that `fit` was given.
    weights : str or None
        Fingerprint of the weights of the ratings that `fit`, or `partial_fit` after it, was given.
    seed : int or None
        The seed that was used, also where `random_state` was None or a generator; None of a model
        that draws nothing.
    version : str
        Of isthmus.
    isa : str
        The instruction set of the core, on which bits depend.
    wall_seconds, processor_seconds : float
        Of `fit`; the latter is of all threads of the process, or of all ranks.
    steps : tuple of str
        "fit", and what came after it: "interruption", "partial_fit", "fold_in" or "forget".
    ranks : int or None
        The most that have trained it; None where `fit` had no `comm`.
    slices : int or None
        Fixed ones that the ranks' sums were taken by.
    buckets : int or None
        Of the shards that ranks read.
    """

    data: str
    users: int
    items: int
    ratings: int
    validation: str | None
    weights: str | None
    seed: int | None
    version: str
    isa: str
    wall_seconds: float
    processor_seconds: float
    steps: tuple[str, ...]
    ranks: int | None = None
    slices: int | None = None
    buckets: int | None = None

    def then(self, step: str) -> Receipt:
        """Return it with a further step; of several of a kind in a row, one is kept."""
        return self if self.steps[-1] == step else replace(self, steps=(*self.steps, step))

    def to_json(self) -> dict[str, Any]:
        """Return its content for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> Receipt:
        """Check what a file holds, and make it."""
        names = {field.name for field in fields(cls)}
        if isinstance(content, dict):
            content = {**dict.fromkeys(LATER), **content}
        if not isinstance(content, dict) or content.keys() != names:
            raise ValueError(f"its receipt must have {', '.join(sorted(names))}")
        for name in ("data", "validation", "weights"):
            if name != "data" and content[name] is None:
                continue
            if not (isinstance(content[name], str) and re.fullmatch("[0-9a-f]{32}", content[name])):
                raise ValueError(f"{name} of its receipt is {reprlib.repr(content[name])}")
        for name in ("users", "items", "ratings"):
            check_integer(f"{name} of its receipt", content[name], low=1, high=2**63)
        for name in ("ranks", "slices", "buckets"):
            if content[name] is not None:
                check_integer(f"{name} of its receipt", content[name], low=1)
        if content["seed"] is not None:
            check_integer("seed of its receipt", content["seed"], low=0, high=2**64 - 1)
        for name in ("wall_seconds", "processor_seconds"):
            check_real(f"{name} of its receipt", content[name], low=0)
        for name in ("version", "isa"):
            if not (isinstance(content[name], str) and len(content[name]) < 100):
                raise ValueError(f"{name} of its receipt is {reprlib.repr(content[name])}")
        steps = content["steps"]
        if not isinstance(steps, list) or steps[:1] != ["fit"] or not set(steps) <= set(STEPS):
            raise ValueError(f"steps of its receipt are {reprlib.repr(steps)}")
        return cls(**{**content, "steps": tuple(steps)})


def fingerprint_of(validation: Any) -> str | None:
    """Return the fingerprint of validation data, in whatever form `fit` takes it."""
    if validation is None:
        return None
    if isinstance(validation, HeldOutUsers):
        parts = [fingerprint(as_ratings(part, "validation")) for part in validation]
        return hashlib.blake2b("".join(parts).encode(), digest_size=16).hexdigest()
    return fingerprint(as_ratings(validation, "validation"))


@contextmanager
def recorded(
    model: Any, ratings: Ratings, validation: Any, seed: int | None, weights: Ratings | None = None
) -> Iterator[Callable[[], Receipt]]:
    """Write the receipt of a model for what the block does.

    What it yields returns the receipt of a fit that is broken off at that moment.
    """
    so_far = started(
        data=fingerprint(ratings),
        users=ratings.n_users,
        items=ratings.n_items,
        ratings=ratings.nnz,
        validation=fingerprint_of(validation),
        weights=None if weights is None else fingerprint(weights),
        seed=seed,
    )
    done = False
    try:
        yield so_far
        done = True
    finally:
        receipt = so_far()
        model._receipt = replace(receipt, steps=("fit",)) if done else receipt


def started(*, weights: str | None = None, **known: Any) -> Callable[[], Receipt]:
    """Return what makes the receipt of a fit that begins now, and is broken off when it is called.

    `known` is what a receipt says of the data and the seed.
    """
    start = perf_counter(), process_time()
    build = _core.build_info()

    def so_far() -> Receipt:
        return Receipt(
            weights=weights,
            version=build["version"],
            isa=build["isa"],
            wall_seconds=round(perf_counter() - start[0], 6),  # so few digits that each counts
            processor_seconds=round(process_time() - start[1], 6),
            steps=("fit", "interruption"),
            **known,
        )

    return so_far


def went_on(model: Any, step: str, weights: Ratings | None = None) -> dict[str, Any]:
    """Return an attribute: a model's receipt with a further step, or None if it has none.

    `weights` are those of the ratings in that step; without any, those before stay.
    """
    receipt = model._receipt
    if receipt is not None and weights is not None:
        receipt = replace(receipt, weights=fingerprint(weights))
    return {"_receipt": None if receipt is None else receipt.then(step)}
