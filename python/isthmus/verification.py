"""Check that a model file is what training on some data gives, and compare two files."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from isthmus import _core
from isthmus.data._alignment import ratings_among
from isthmus.data._fingerprint import fingerprint
from isthmus.data.ratings import Ratings, as_ratings, in_memory
from isthmus.data.shards import Shards
from isthmus.models import _files
from isthmus.models._cell_weights import aligned_weights
from isthmus.models._receipts import Receipt, fingerprint_of
from isthmus.models.base import Recommender

__all__ = ["Verification", "differences", "verify"]


@dataclass(frozen=True)
class Verification:
    """What `verify` found. Printed, it is one or more sentences; it is true if the bits are equal.

    Attributes
    ----------
    same_data : bool or None
        Whether the ratings are those that the model was trained on; None if the file does not say.
    same_bits : bool or None
        Whether training again gave the same weights to the bit; None if that cannot be told.
    findings : tuple of str
        What was found, and what could not be checked, a sentence each.
    """

    same_data: bool | None
    same_bits: bool | None
    findings: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.same_bits)

    def __str__(self) -> str:
        return "\n".join(self.findings)


def verify(
    path: str | PathLike[str],
    ratings: Any,
    *,
    validation: Any = None,
    weights: Any = None,
    num_threads: int = 0,
) -> Verification:
    """Check that a model file comes from some ratings: compare their fingerprint, and train again.

    Parameters
    ----------
    path : str or os.PathLike
        File that `Recommender.save` wrote.
    ratings : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
        The data that `fit` was given, in any order; after training over ranks, those of all.
    validation : optional
        The validation data that `fit` was given, if the weights depend on it, as after early
        stopping.
    weights : optional
        The weights of the ratings that `fit` was given.
    num_threads : int, default 0
        To train with; 0: all that this process may use. Bits do not depend on it.

    Returns
    -------
    Verification

    Raises
    ------
    FileNotFoundError, ValueError
        If the file cannot be read.

    Notes
    -----
    Bits are those of a version and of an instruction set (`isthmus.build_info`). Training again
    with others proves the file right if the bits are equal, and proves nothing otherwise. Only the
    data can be checked of a model that went on after `fit` (`partial_fit`, `fold_in`, `forget`), or
    that several ranks have trained, unless they took sums by ``slices``. The fingerprint finds
    every change of a rating. Anyone can write any fingerprint into a file, so only training again
    proves the model's origin.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings, verify
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> EASE(regularization=100).fit(ratings).save("ease.safetensors")
    >>> print(verify("ease.safetensors", ratings))
    The ratings are those that the model was trained on.
    Training again gave the same bits.
    """
    model = Recommender.load(path)
    receipt = model._receipt
    if receipt is None:
        return Verification(
            None,
            None,
            ("Nothing can be checked: the file has no receipt, as those of older versions.",),
        )
    given = as_ratings(in_memory(ratings))
    found = fingerprint(given)
    if found != receipt.data:
        other = (
            f"The ratings are not those that the model was trained on: these are {given.nnz:,}, "
            f"with the fingerprint {found}, and those were {receipt.ratings:,}, with "
            f"{receipt.data}."
        )
        return Verification(False, False, (other, *_later(receipt)))
    known = "The ratings are those that the model was trained on."
    counted = None if weights is None else aligned_weights(weights, given)
    why_not = _obstacle(model, receipt, validation, counted) or _rank_obstacle(receipt, ratings)
    if why_not is not None:
        return Verification(True, None, (known, why_not))
    try:
        shards = receipt.buckets is not None and isinstance(ratings, Shards)
        X = ratings if shards else given
        again = _trained_again(model, receipt, X, validation, counted, num_threads)
    except RuntimeError as error:  # as where it diverges
        return Verification(True, False, (known, f"Training again failed: {error}"))
    changed = _changed(model._tensors(), _files.as_saved(again._tensors(), path))
    if not changed:
        return Verification(True, True, (known, "Training again gave the same bits."))
    reason = _other_program(receipt)
    if reason is not None:
        return Verification(True, None, (known, reason))
    names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
    return Verification(True, False, (known, f"Training again gave other bits, in {names}."))


def _later(receipt: Receipt) -> tuple[str, ...]:
    """Return what the receipt does not cover, if the model was changed after `fit`."""
    if receipt.steps == ("fit",):
        return ()
    then = ", ".join(receipt.steps[1:])
    return (f"The file records the ratings of fit, and not those of what came later: {then}.",)


def _obstacle(model: Any, receipt: Receipt, validation: Any, weights: Ratings | None) -> str | None:
    """Return why the bits cannot be checked, if they cannot."""
    if receipt.steps != ("fit",):
        then = ", ".join(receipt.steps[1:])
        return (
            f"The weights cannot be checked: after fit there was {then}, and the file does not "
            f"hold what that was given."
        )
    if validation is None and receipt.validation is not None and _stops_early(model):
        return (
            "The weights cannot be checked without the validation data by which training was to "
            "stop early."
        )
    if validation is not None and fingerprint_of(validation) != receipt.validation:
        return "The weights were not checked: the validation data are not those of training."
    if weights is None and receipt.weights is not None:
        return "The model cannot be checked without the weights of the ratings that fit was given."
    if weights is not None and fingerprint(weights) != receipt.weights:
        return "The model was not checked: the weights of the ratings are not those of training."
    for member in getattr(model, "models", ()):
        if getattr(member, "random_state", 0) is None:
            return (
                f"The weights cannot be checked: the blend's {type(member).__name__} was trained "
                f"without a seed."
            )
    return None


def _rank_obstacle(receipt: Receipt, X: Any) -> str | None:
    """Return why one process cannot have the bits of ranks, if it cannot."""
    if receipt.ranks is not None and receipt.ranks > 1 and receipt.slices is None:
        return (
            f"The weights cannot be checked: {receipt.ranks} ranks added up in an order of their "
            f"own, which fit(..., slices=...) would have fixed."
        )
    buckets = X.n_buckets if isinstance(X, Shards) else None
    if receipt.slices is not None and receipt.buckets not in (None, buckets):
        return (
            f"The weights cannot be checked without the shards that the model was trained on, of "
            f"{receipt.buckets} buckets, which slices are made of."
        )
    return None


def _stops_early(model: Any) -> bool:
    """Return whether validation data had a part in the weights."""
    return getattr(model, "patience", None) is not None or hasattr(model, "models")


def _trained_again(
    model: Any,
    receipt: Receipt,
    ratings: Ratings | Shards,
    validation: Any,
    weights: Ratings | None,
    num_threads: int,
) -> Recommender:
    again = _files.unfitted(**_files.description(model), kinds=Recommender._models)
    if receipt.seed is not None:
        again.set_params(random_state=receipt.seed)
    again.set_params(num_threads=num_threads)
    # in the order of the file, with all of its users and items, also those without ratings
    own = ratings
    if isinstance(ratings, Ratings):
        own = ratings_among(model._users, model._items, ratings, "ratings")
    trained: Recommender = again._fit_again(own, validation, model, weights)
    return trained


def _other_program(receipt: Receipt) -> str | None:
    """Return a sentence if bits may differ although training was the same."""
    build = _core.build_info()
    here = (build["version"], build["isa"])
    if here == (receipt.version, receipt.isa):
        return None
    able = receipt.isa in _core.available() and receipt.version == build["version"]
    how = f" (set ISTHMUS_ISA={receipt.isa})" if able else ""
    return (
        f"Training again gave other bits, which says nothing: this is isthmus {here[0]} with "
        f"{here[1]}, and the model was trained by {receipt.version} with {receipt.isa}, which "
        f"alone can tell{how}."
    )


def _changed(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return which of a model's arrays differ in a bit; seconds of epochs do not count."""
    return [
        name
        for name in sorted(left.keys() | right.keys())
        if not _is_history(name)
        and not (name in left and name in right and _same(left[name], right[name]))
    ]


def _is_history(name: str) -> bool:
    return any(part == "history" for part in name.split("."))


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def differences(one: Recommender, other: Recommender) -> list[str]:
    """Return how two models differ in parameters, data, ids and weights, a line each.

    Parameters
    ----------
    one, other : Recommender
        Fitted.

    Returns
    -------
    list of str
    """
    if type(one) is not type(other):
        return [f"model: {type(one).__name__} and {type(other).__name__}"]
    lines = []
    left, right = _files.description(one)["parameters"], _files.description(other)["parameters"]
    for name in sorted(left.keys() | right.keys()):
        if not np.array_equal(left.get(name), right.get(name)):
            lines.append(f"parameter {name}: {left.get(name)!r} and {right.get(name)!r}")
    lines += _receipt_differences(one._receipt, other._receipt)
    for name, mine, its in (
        ("users", one._users, other._users),
        ("items", one._items, other._items),
    ):
        if not mine.matches(its):
            same_kind = mine.ids.dtype.kind == its.ids.dtype.kind
            common = len(np.intersect1d(mine.ids, its.ids)) if same_kind else 0
            lines.append(f"{name}: {len(mine):,} and {len(its):,}, of which {common:,} are in both")
    return lines + _weight_differences(one._tensors(), other._tensors())


def _receipt_differences(one: Receipt | None, other: Receipt | None) -> list[str]:
    if one is None or other is None:
        named = [name for name, receipt in (("first", one), ("second", other)) if receipt is None]
        return [f"receipt: the {' and the '.join(named)} has none"] if one is not other else []
    left, right = one.to_json(), other.to_json()
    return [
        f"receipt {name}: {left[name]} and {right[name]}"
        for name in left
        if left[name] != right[name] and not name.endswith("seconds")
    ]


def _weight_differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    lines = []
    for name in sorted(left.keys() | right.keys()):
        if _is_history(name):
            continue
        if name not in left or name not in right:
            lines.append(f"array {name}: only in the {'first' if name in left else 'second'}")
            continue
        one, other = left[name], right[name]
        if one.shape != other.shape:
            lines.append(f"array {name}: shapes {one.shape} and {other.shape}")
        elif not _same(one, other):
            apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
            count = int(np.count_nonzero(apart))
            lines.append(
                f"array {name}: {count:,} of {one.size:,} differ, by at most {apart.max():.3g}"
            )
    return lines
