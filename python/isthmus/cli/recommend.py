"""`isthmus recommend`."""

import csv
import enum
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from isthmus.cli._data import (
    ids_from_text,
    load,
    read_id_file,
    reading_options,
    titles_like,
    with_ids_like,
)
from isthmus.cli._options import command_with
from isthmus.cli.predict import ModelFile, Threads
from isthmus.io import read_items, read_ratings

__all__ = ["Recommended", "print_table", "register"]

Format = enum.Enum("Format", {name: name for name in ("table", "csv", "json")})


class Recommended(NamedTuple):
    """One item in a user's list."""

    item: int | str
    score: float
    title: str | None


Lists = Iterator[tuple[int | str, list[Recommended]]]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(reading_options))(recommend)


def recommend(
    context: typer.Context,
    model: ModelFile,
    user: Annotated[
        list[str] | None, typer.Option(help="Id of a user of the training data; may be repeated.")
    ] = None,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="Recommend to every user of the training data.")
    ] = False,
    ratings: Annotated[
        Path | None,
        typer.Option(help="Recommend to the users of this file, from their ratings in it."),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Items to recommend to each.")] = 10,
    items: Annotated[
        Path | None, typer.Option(help="File with the items' titles, such as movies.csv.")
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(help="File with the ids, one in a line, of the items to choose from."),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Do not leave out what a user has rated.")
    ] = False,
    output_format: Annotated[Format, typer.Option("--output-format", "-f")] = Format["table"],
    num_threads: Threads = 0,
) -> None:
    """Recommend items to users.

    `isthmus recommend model.safetensors --user 196 --items movies.csv`
    """
    if [bool(user), all_users, ratings is not None].count(True) != 1:
        raise typer.BadParameter("there must be --user, --all-users or --ratings, one of them.")
    recommender = load(model, num_threads)
    options: dict[str, Any] = {"n": n, "exclude_seen": not include_seen}
    if candidates is not None:
        options["candidates"] = read_id_file(candidates, recommender.item_ids_)
    if ratings is not None:
        new = read_ratings(ratings, **context.obj[0])
        new = with_ids_like(new, recommender.user_ids_, recommender.item_ids_)
        users, options["ratings"] = new.user_ids, new
    elif user:
        users = options["users"] = ids_from_text(user, recommender.user_ids_, "--user")
    else:
        users = recommender.user_ids_
    titles = {} if items is None else titles_like(read_items(items), recommender.item_ids_)
    ids, scores = recommender.recommend(**options)
    lists = (
        (
            one,
            [
                Recommended(item, score, titles.get(item, "") if items is not None else None)
                for item, score in zip(row.tolist(), values.tolist(), strict=True)
                if not np.isnan(score)  # the list has ended
            ],
        )
        for one, row, values in zip(users.tolist(), ids, scores, strict=True)
    )
    {"table": print_table, "csv": _print_csv, "json": _print_json}[output_format.value](lists)


def print_table(lists: Lists) -> None:
    """Print lists for people to read."""
    for number, (user, items) in enumerate(lists):
        print(f"{'' if number == 0 else chr(10)}user {user}")
        width = max((len(str(one.item)) for one in items), default=0)
        for rank, one in enumerate(items, 1):
            title = f"  {one.title}" if one.title else ""
            print(f"{rank:4}  {one.item!s:<{width}}  {one.score:8.4f}{title}")
        if not items:
            print("      no item is left to recommend")


def _print_csv(lists: Lists) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = ["user", "rank", "item", "score"]
    for number, (user, items) in enumerate(lists):
        titled = any(one.title is not None for one in items)
        if number == 0:
            writer.writerow([*header, "title"] if titled else header)
        for rank, one in enumerate(items, 1):
            row = [user, rank, one.item, f"{one.score:.4f}"]
            writer.writerow([*row, one.title] if titled else row)


def _print_json(lists: Lists) -> None:
    for user, items in lists:
        listed = [{k: v for k, v in one._asdict().items() if v is not None} for one in items]
        print(json.dumps({"user": user, "items": listed}, ensure_ascii=False))
