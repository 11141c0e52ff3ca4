"""`isthmus explain`."""

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli._data import (
    ids_from_text,
    load,
    preparing_options,
    read_for,
    read_titles,
    reading_options,
)
from isthmus.cli._options import command_with
from isthmus.cli.predict import Items, ModelFile, Threads
from isthmus.data._reading import printable

__all__ = ["register"]


class Axis(str, enum.Enum):
    """Whose ratings are taken away."""

    user = "user"
    item = "item"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(reading_options, preparing_options))(explain)


def explain(
    context: typer.Context,
    model: ModelFile,
    user: Annotated[str, typer.Option(help="Id of a user.", show_default=False)],
    item: Annotated[str, typer.Option(help="Id of an item.", show_default=False)],
    ratings: Annotated[
        Path | None,
        typer.Option(
            help="File with the user's ratings, which models of ratings need: they keep what was "
            "rated, but not how high. The user may be new."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Effects to list.")] = 10,
    axis: Annotated[
        Axis,
        typer.Option(help="Whose ratings are taken away: the user's, or those given to the item."),
    ] = Axis.user,
    items: Items = None,
    num_threads: Threads = 0,
) -> None:
    """Explain a score: which ratings it owes most to, by what it would be without each.

    `isthmus explain model.safetensors --user 196 --item 318 --ratings ratings.csv`
    """
    recommender = load(model, num_threads)
    options: dict[str, Any] = {"n": n, "axis": axis.value}
    if ratings is not None:
        options["ratings"] = read_for(recommender, ratings, *context.obj)
    titles = {} if items is None else read_titles(items, recommender.item_ids_)
    explanation = recommender.explain(
        ids_from_text([user], recommender.user_ids_, "--user")[0].item(),
        ids_from_text([item], recommender.item_ids_, "--item")[0].item(),
        **options,
    )
    text = str(explanation).splitlines()
    named = explanation.ids.tolist() if explanation.kind == "item" else []
    shown = [explanation.item, *named]
    for line, one in zip(text, [*shown, *[None] * (len(text) - len(shown))], strict=True):
        print(f"{line}  {printable(titles.get(one, ''))}".rstrip())
