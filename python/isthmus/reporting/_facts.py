"""How a model was made: its parameters, its data, its receipt."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.data._fingerprint import fingerprint
from isthmus.data._reading import printable
from isthmus.data.ratings import Ratings
from isthmus.reporting._subject import Subject
from isthmus.training.loop import Epoch

__all__ = ["courses", "data_facts", "parameters", "receipt_facts"]

_OF_NO_MATTER = ("num_threads", "verbose")


def parameters(model: Any) -> dict[str, str]:
    """Return the parameters that bear on the model's weights."""
    return {
        name: printable(value)
        for name, value in model.get_params().items()
        if name not in _OF_NO_MATTER
    }


def data_facts(subject: Subject) -> dict[str, str]:
    """Return the shape of the data."""
    model, seen = subject.model, len(subject.model._seen.indices)
    users, items = len(model.user_ids_), len(model.item_ids_)
    facts = {
        "users": f"{users:,}",
        "items": f"{items:,}",
        "training ratings": f"{seen:,}",
        "density": f"{100 * seen / users / items:.3g} %",
        "ratings a user, median": f"{np.median(subject.per_user):,.0f}",
        "ratings an item, median": f"{np.median(subject.per_item):,.0f}",
        "test ratings": f"{subject.test.nnz:,}",
        "test users": f"{np.count_nonzero(np.diff(subject.test.indptr)):,}",
    }
    if subject.rates:
        facts["scale"] = "{:g} to {:g}".format(*model._range)
    return facts


def receipt_facts(model: Any, train: Ratings | None) -> dict[str, str]:
    """Return how the model was trained, as far as that is known."""
    receipt = model.receipt_
    if receipt is None:
        return {}
    seed = "none: nothing is drawn" if receipt.seed is None else str(receipt.seed)
    return {
        "data's fingerprint": f"{receipt.data}{_compared(receipt.data, train)}",
        "validation's fingerprint": receipt.validation or "none was given",
        **({} if receipt.weights is None else {"weights' fingerprint": receipt.weights}),
        "seed": seed,
        "isthmus": receipt.version,
        "instruction set": receipt.isa,
        "wall time": f"{receipt.wall_seconds:,.1f} s",
        "processor time": f"{receipt.processor_seconds:,.1f} s",
        "steps": ", ".join(receipt.steps),
    }


def _compared(data: str, train: Ratings | None) -> str:
    if train is None:
        return ""
    if fingerprint(train) == data:
        return " (that of the ratings given as train)"
    return " (the ratings given as train are others)"


def courses(model: Any) -> list[tuple[str, list[Epoch]]]:
    """Return the epochs of a model, or of each model of a blend."""
    parts = getattr(model, "models_", [model])
    named = [(type(part).__name__, getattr(part, "history_", [])) for part in parts]
    return [(name, history) for name, history in named if history]
