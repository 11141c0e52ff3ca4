"""`isthmus info`."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from isthmus._util.build import build_info
from isthmus.cli._options import file_argument
from isthmus.data._reading import printable
from isthmus.models.base import Recommender

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(info)


def info(
    model: Annotated[
        Path | None,
        file_argument("MODEL", "File that `isthmus train` wrote."),
    ] = None,
) -> None:
    """Show what is installed and in use or, of a model, what it is."""
    if model is None:
        _print(build_info())
        return
    recommender = Recommender.load(model)
    tensors = recommender._tensors()
    _print(
        {
            "model": type(recommender).__name__,
            "users": f"{len(recommender.user_ids_):,} ({_example(recommender.user_ids_)})",
            "items": f"{len(recommender.item_ids_):,} ({_example(recommender.item_ids_)})",
            "ratings": f"{len(recommender._seen.indices):,}",
            "scale": "{:g} to {:g}".format(*recommender._range),
            "weights": f"{sum(a.size for a in tensors.values() if a.dtype == np.float32):,}",
            "bytes": f"{model.stat().st_size:,}",
            **_receipt(recommender),
            **{f"parameter {name}": value for name, value in recommender.get_params().items()},
        }
    )


def _receipt(model: Recommender) -> dict[str, Any]:
    """Return how a model was trained, if its file says so."""
    if model.receipt_ is None:
        return {}
    told = model.receipt_.to_json()
    for name in ("wall_seconds", "processor_seconds"):
        told[name] = f"{told[name]:.3f}"
    known = {name: value for name, value in told.items() if value is not None}
    return {f"receipt {name.replace('_', ' ')}": value for name, value in known.items()}


def _example(ids: Any) -> str:
    return f"{'integers' if ids.dtype.kind == 'i' else 'strings'}, as {ids[0].item()!r}"


def _print(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple | list) else value
        print(f"{name:<{width}}  {printable(shown)}")
