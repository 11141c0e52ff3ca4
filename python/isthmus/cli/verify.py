"""`isthmus verify` and `isthmus diff`."""

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli._data import preparing_options, read_for, reading_options
from isthmus.cli._options import command_with, file_argument
from isthmus.cli.predict import ModelFile, Threads
from isthmus.data._reading import printable
from isthmus.data.ratings import Ratings
from isthmus.data.shards import Shards, is_shards
from isthmus.models.base import Recommender
from isthmus.verification import differences
from isthmus.verification import verify as check

__all__ = ["register"]

DIFFERENT = 1


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(cls=command_with(reading_options, preparing_options))(verify)
    app.command()(diff)


def verify(
    context: typer.Context,
    model: ModelFile,
    ratings: Annotated[
        Path,
        file_argument(
            "RATINGS",
            "File of the ratings that the model was trained on, in any order, or folder of shards.",
        ),
    ],
    validation: Annotated[
        Path | None,
        typer.Option(help="File of the validation data, where training was to stop early by it."),
    ] = None,
    num_threads: Threads = 0,
) -> None:
    """Check that a model comes from some ratings: train again, and compare the bits.

    The exit status is 0 if they are equal, and 1 if not, or if that cannot be told.

    `isthmus verify model.safetensors ratings.csv`
    """
    known = Recommender.load(model)

    def read(path: Path) -> Ratings:
        return read_for(known, path, *context.obj)

    held_out = None if validation is None else read(validation)
    # shards as they are, where ranks have dealt them to slices
    given = Shards(ratings) if is_shards(ratings) and not any(context.obj) else read(ratings)
    found = check(model, given, validation=held_out, num_threads=num_threads)
    print(found)
    if not found:
        raise typer.Exit(DIFFERENT)


def diff(
    first: ModelFile,
    second: Annotated[Path, file_argument("OTHER", "Another such file.")],
) -> None:
    """Show how two models differ: in parameters, data, ids and weights.

    Times do not count. The exit status is 0 if they do not differ, and 1 if they do.

    `isthmus diff a.safetensors b.safetensors`
    """
    found = differences(Recommender.load(first), Recommender.load(second))
    for line in found:
        print(printable(line))
    if not found:
        print("the models are the same")
        return
    raise typer.Exit(DIFFERENT)
