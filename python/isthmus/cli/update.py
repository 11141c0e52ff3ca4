"""`isthmus update`."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from isthmus.cli._data import (
    check_output,
    describe,
    load,
    preparing_options,
    read_for,
    reading_options,
    refuse_values_of_one,
)
from isthmus.cli._options import command_with, file_argument
from isthmus.cli.predict import ModelFile, Threads

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(reading_options, preparing_options))(update)


def update(
    context: typer.Context,
    model: ModelFile,
    ratings: Annotated[
        Path, file_argument("RATINGS", "File of all ratings as they are now, old and new.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where to write the model; it may be the file that was read."
        ),
    ],
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs to train, of models that have them; by default two for each five that "
            "training had, and fewer of models of implicit feedback.",
            min=1,
            show_default=False,
        ),
    ] = None,
    num_threads: Threads = 0,
) -> None:
    """Bring a model up to date: train on with all ratings, old and new, of any users and items.

    `isthmus update model.safetensors ratings.csv --output model.safetensors`
    """
    check_output(output, ratings)
    known = load(model, num_threads)
    reading, preparing = context.obj
    if known._weighs_values:
        refuse_values_of_one("A model with weights", reading, preparing)
    now = read_for(known, ratings, reading, preparing)
    print(f"{ratings}: {describe(now)}", flush=True)
    had = known.user_ids_[np.diff(known._seen.indptr) > 0]
    lost = len(np.setdiff1d(had, now.user_ids[np.diff(now.indptr) > 0]))
    if lost:
        print(
            f"note: {lost:,} of {len(had):,} users of the model have no ratings in {ratings}, so "
            "the new model forgets what they had; the file should hold all ratings, old and new.",
            flush=True,
        )
    before = len(known.user_ids_), len(known.item_ids_)
    if hasattr(known, "verbose"):
        known.set_params(verbose=sys.stderr.isatty())
    known.update(now, epochs=epochs)
    if hasattr(known, "verbose"):
        known.set_params(verbose=False)  # whether progress was shown is no part of the model
    users, items = len(known.user_ids_) - before[0], len(known.item_ids_) - before[1]
    print(f"new: {users:,} users, {items:,} items", flush=True)
    known.save(output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")
