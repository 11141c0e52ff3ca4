"""What is promised of every input, whatever it is."""

import re

import numpy as np

from isthmus import Blend, ConvergenceError, NotFittedError

FILE_ERRORS = (ValueError, TypeError, FileNotFoundError, IsADirectoryError, PermissionError)
MODEL_ERRORS = (ValueError, TypeError, NotFittedError, ConvergenceError)

LONGEST_MESSAGE = 600
ARGUMENTS = (
    *("columns", "encoding", "separator", "format", "header", "duplicates", "implicit", "path"),
    "missing_values",
    "the ",
)
"""What a refusal of a file may begin with, where it does not name the file."""

JARGON = re.compile(
    r"incompatible function arguments|invoked with|struct\.error|traceback|std::|numpy\.core|"
    r"bad_alloc|object has no|not subscriptable|not supported between|list index|<class|"
    r"unexpected keyword|positional argument|cannot reshape|could not broadcast|object at 0x|"
    r"is not iterable|base is read-only",
    re.IGNORECASE,
)
"""What a library says for itself, where isthmus promises a sentence of its own."""

REASONS = re.compile(r"\barrow|thrift|errno|invalid literal|allow_pickle", re.IGNORECASE)
"""What a library says, and isthmus may quote after a sentence of its own and a colon."""

UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
"""Characters that steer a terminal, or that nobody sees."""

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
"""What the input holds."""


class Failure(AssertionError):
    """A promise that did not hold."""


def require(condition, sentence):
    """Raise Failure unless a promise holds."""
    if not condition:
        raise Failure(sentence)


def refusal(error, allowed, *, path=None):
    """Return the outcome of a documented exception, and raise any other."""
    kind = type(error)
    if kind.__module__.startswith("isthmus."):  # which may tell apart what it raises for itself
        kind = next((base for base in kind.__mro__ if base in allowed), kind)
    if kind not in allowed:
        raise error
    fault = fault_of(str(error), path)
    if fault:
        raise Failure(f"{kind.__name__} {fault}: {str(error)[:1000]!r}") from error
    return f"refused: {kind.__name__}"


def fault_of(message, path=None):
    """Return what is wrong with a message that should be one clear sentence, or return None."""
    if not message:
        return "without a message"
    if len(message) > LONGEST_MESSAGE + len(str(path or "")):
        return "with too long a message"
    if UNSEEN.search(message):
        return "with control characters in its message"
    if not message.endswith("."):
        return "without a full stop"
    own = QUOTED.sub("", message.replace(str(path), ""))
    sentence, _, _ = own.partition("cannot be ")
    if match := JARGON.search(own) or REASONS.search(sentence):
        return f"with jargon ({match[0]})"
    if path is not None and str(path) not in message and not message.startswith(ARGUMENTS):
        return "that names neither the file nor an argument"
    return None


# What a fitted model gives


def predictions(model):
    """Predict every rating, and check what is promised of them."""
    grid = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)
    require(grid.dtype == np.float32, f"predictions are {grid.dtype}")
    require(np.isfinite(grid).all(), "a prediction is not finite")
    if getattr(model, "clip", isinstance(model, Blend)):
        low, high = np.float32(model._range)
        require(((grid >= low) & (grid <= high)).all(), "a prediction lies beyond the ratings")
    return grid


def check_lists(ids, scores, *, items, n, seen=None, candidates=None, by_score=True):
    """Check lists of items and scores, one row each; `seen` has the positions not to be listed.

    Of models of ratings, lists are not `by_score` unless they are asked for.
    """
    require(ids.shape == scores.shape, f"shapes {ids.shape} and {scores.shape} of a list")
    require(ids.ndim == 2 and ids.shape[1] == n, f"lists of shape {ids.shape} for n={n}")
    ended = np.isnan(scores)
    filler = -1 if items.dtype.kind == "i" else ""
    require(((ids == filler) == ended).all(), "a list's end has a score, or an item has none")
    require(np.isfinite(scores[~ended]).all(), "a score is infinite")
    require((np.diff(ended.astype(int), axis=1) >= 0).all(), "a list goes on after its end")
    falls = scores[:, :-1] >= scores[:, 1:]
    require(not by_score or (falls | ended[:, 1:]).all(), "a list's scores rise")
    known = items if candidates is None else candidates
    require(np.isin(ids[~ended], known).all(), "a list has an item that was not asked for")
    for row, listed in enumerate(ids):
        there = listed[~ended[row]]
        require(len(np.unique(there)) == len(there), "a list has an item twice")
        if seen is not None:
            require(not np.isin(there, items[seen[row]]).any(), "a list has a seen item")


def seen_rows(model):
    """Return the positions of each user's seen items."""
    return np.split(model._seen.indices, model._seen.indptr[1:-1])


def check_measures(values):
    """Check metrics by name."""
    for name, value in values.items():
        require(isinstance(value, float), f"{name} is a {type(value).__name__}")
        high = np.finfo(np.float32).max if name.strip().lower() in ("rmse", "mae") else 1 + 1e-6
        require(np.isnan(value) or 0 <= value <= high, f"{name} is {value}")


def check_saved(model, path):
    """Check that a file gives the same model, to the bit, and return it."""
    model.save(path)
    again = type(model).load(path)
    before, after = predictions(model), predictions(again)
    require(before.tobytes() == after.tobytes(), "a saved model predicts otherwise")
    for one, other in zip(model.recommend(n=3), again.recommend(n=3), strict=True):
        require(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), "other lists")
    return again
