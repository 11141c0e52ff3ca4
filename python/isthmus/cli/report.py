"""`isthmus report` and `isthmus lint`."""

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli._data import (
    check_output,
    load,
    preparing_options,
    read_for,
    read_prepared,
    read_titles,
    reading_options,
    with_ids_like,
)
from isthmus.cli._errors import sentence
from isthmus.cli._options import command_with, file_argument
from isthmus.cli.predict import Items, ModelFile, Threads
from isthmus.data.lint import lint as look
from isthmus.data.ratings import Ratings
from isthmus.reporting import write_report

__all__ = ["register"]

FOUND = 1


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(cls=command_with(reading_options, preparing_options))(report)
    app.command(cls=command_with(reading_options, preparing_options))(lint)


def report(
    context: typer.Context,
    model: ModelFile,
    test: Annotated[
        Path, typer.Option(help="File of held-out ratings to measure on.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="HTML file to write.", show_default=False)
    ],
    train: Annotated[
        Path | None,
        typer.Option(
            help="File of the ratings that the model was trained on, for baselines, reasons and a "
            "look at the data."
        ),
    ] = None,
    items: Items = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Items of a list that count.")] = 10,
    title: Annotated[
        str | None, typer.Option(help="The page's heading; by default the model's name.")
    ] = None,
    random_state: Annotated[
        int, typer.Option(help="Seed of resamples, and of users who are drawn.", min=0)
    ] = 0,
    num_threads: Threads = 0,
) -> None:
    """Write a page about a model: how good it is, for whom, why, and how it was made.

    `isthmus report model.safetensors --train train.csv --test test.csv --output report.html`
    """
    check_output(output, model, test, train, items)
    recommender = load(model, num_threads)

    def read(path: Path) -> Ratings:
        return read_for(recommender, path, *context.obj)

    write_report(
        recommender,
        output,
        test=read(test),
        train=None if train is None else read(train),
        items=None if items is None else read_titles(items, recommender.item_ids_),
        k=k,
        title=title,
        random_state=random_state,
    )
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


def lint(
    context: typer.Context,
    ratings: Annotated[Path, file_argument("RATINGS", "File of ratings.")],
    test: Annotated[
        Path | None, typer.Option(help="File of the ratings that a model is to be tested on.")
    ] = None,
) -> None:
    """Look for faults in ratings before you train on them.

    The exit status is 0 if nothing was found, and 1 if something was.

    `isthmus lint ratings.csv`
    """
    reading, preparing = context.obj
    known, found = _read(ratings, reading, preparing)
    other = None
    if test is not None:
        other, of_test = _read(test, reading, preparing)
        found += of_test
        other = with_ids_like(other, known.user_ids, known.item_ids)
    wanted = reading.get("implicit") or "threshold" in preparing  # all ratings are 1, as asked for
    found += [
        sentence(one) for one in look(known, test=other) if not (wanted and one.kind == "constant")
    ]
    print("\n".join(found or ["nothing was found"]))
    if found:
        raise typer.Exit(FOUND)


def _read(
    path: Path, reading: dict[str, Any], preparing: dict[str, Any]
) -> tuple[Ratings, list[str]]:
    """Read ratings, and say what they repeat, of which the last is kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lint says the same
        try:
            return read_prepared(path, reading, preparing), []
        except ValueError as error:
            if "duplicates" in reading:
                raise
            # duplicates were what was wrong, if this works
            merged = read_prepared(path, {**reading, "duplicates": "last"}, preparing)
            return merged, [sentence(error)]
