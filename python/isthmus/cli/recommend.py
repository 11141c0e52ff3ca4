"""`isthmus recommend`."""

import enum
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from isthmus._util.files import check_new_folder
from isthmus.cli._data import (
    ids_from_text,
    load,
    preparing_options,
    read_choice,
    read_for,
    read_titles,
    reading_options,
)
from isthmus.cli._options import Source, command_with
from isthmus.cli._output import escape_json, write_csv
from isthmus.cli.predict import Items, ModelFile, Order, Ordering, Threads
from isthmus.data._reading import printable
from isthmus.lists import Lister, write_lists

__all__ = ["Recommended", "print_table", "register"]


class Format(str, enum.Enum):
    """How lists are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class Recommended(NamedTuple):
    """One item in a user's list."""

    item: int | str
    score: float
    title: str = ""


Lists = Iterator[tuple[int | str, list[Recommended]]]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(_reading_options, preparing_options))(recommend)


def _reading_options(args: list[str]) -> Source:
    source = reading_options(args)
    # --format is that of the output here; that of the file is found
    return source._replace(
        title="Options for reading --ratings, and pairs of a user and an item", skip=("format",)
    )


def recommend(
    context: typer.Context,
    model: ModelFile,
    user: Annotated[
        list[str] | None, typer.Option(help="Id of a user of the training data; may be repeated.")
    ] = None,
    all_users: Annotated[
        bool,
        typer.Option("--all", "--all-users", help="Recommend to every user of the training data."),
    ] = False,
    ratings: Annotated[
        Path | None,
        typer.Option(help="Recommend to the users of this file, from their ratings in it."),
    ] = None,
    histories: Annotated[
        Path | None,
        typer.Option(
            help="Recommend to the users of a Parquet file or a folder of them, however large, "
            "from what it says of them: a row a user (user, and lists of items, ratings, exclude "
            "and candidates) or a row a rating. Goes with --output.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="New folder for Parquet files with the lists, of --all or --histories, made some "
            "thousand users at a time; by default lists are printed.",
        ),
    ] = None,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown",
            help="Go on without those items of --histories that the model does not know.",
        ),
    ] = False,
    n: Annotated[int, typer.Option("--n", "-n", help="Items to recommend to each.")] = 10,
    items: Items = None,
    candidates: Annotated[
        Path | None,
        typer.Option(
            help="File of the items to choose from: an id in each line, for all users, or a user "
            "and an item in each line."
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(help="File of items to leave out, as that of --candidates."),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Do not leave out what a user has rated.")
    ] = False,
    order: Ordering = Order.likely,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="How to print the lists. CSV in a file or a pipe has titles as they are, so that "
            "a spreadsheet takes one that begins with = for a formula.",
        ),
    ] = Format.table,
    num_threads: Threads = 0,
) -> None:
    """Recommend items to users.

    `isthmus recommend model.safetensors --user 196 --items movies.csv`

    `isthmus recommend model.safetensors --all --output lists/`
    """
    given = [bool(user), all_users, ratings is not None, histories is not None]
    if given.count(True) != 1:
        raise typer.BadParameter("there must be one of --user, --all, --ratings and --histories.")
    if skip_unknown and histories is None:
        raise typer.BadParameter("--skip-unknown must come with --histories.")
    if histories is not None and output is None:
        raise typer.BadParameter("--histories must come with --output.")
    if output is not None:
        if not (all_users or histories is not None):
            raise typer.BadParameter("--output must come with --all or --histories.")
        if items is not None:
            raise typer.BadParameter("--items must not come with --output, whose lists are of ids.")
        if output_format is not Format.table:
            raise typer.BadParameter("--format must not come with --output, which writes Parquet.")
        _refuse_reading_options(*context.obj)
        check_new_folder(output)
    recommender = load(model, num_threads, mmap=output is not None)
    options: dict[str, Any] = {"n": n, "exclude_seen": not include_seen, "order": order.value}
    users: Any = None  # of each of whom lists are printed
    if output is not None:
        options["unknown_items"] = "skip" if skip_unknown else "error"
        options["duplicates"] = context.obj[0].get("duplicates", "error")
    elif ratings is not None:
        new = read_for(recommender, ratings, *context.obj)
        users, options["ratings"] = new.user_ids, new
    elif user:
        users = options["users"] = ids_from_text(user, recommender.user_ids_, "--user")
    else:
        users = recommender.user_ids_
    for name, path in (("candidates", candidates), ("exclude", exclude)):
        if path is not None:
            options[name] = read_choice(path, recommender, users, context.obj[0])
    if output is not None:
        n_users, n_files = write_lists(Lister(recommender, **options), output, histories)
        print(f"wrote {output} ({n_users:,} users in {n_files:,} file{'s' * (n_files > 1)})")
        return
    titles = {} if items is None else read_titles(items, recommender.item_ids_)
    ids, scores = recommender.recommend(**options)
    lists = (
        (
            one,
            [
                Recommended(item, score, titles.get(item, ""))
                for item, score in zip(row.tolist(), values.tolist(), strict=True)
                if not np.isnan(score)  # the list has ended
            ],
        )
        for one, row, values in zip(users.tolist(), ids, scores, strict=True)
    )
    if output_format is Format.table:
        print_table(lists)
    elif output_format is Format.csv:
        _print_csv(lists, titled=items is not None)
    else:
        _print_json(lists, titled=items is not None)


def _refuse_reading_options(reading: dict[str, Any], preparing: dict[str, Any]) -> None:
    for name in (*reading, *preparing):
        if name != "duplicates":
            raise typer.BadParameter(
                f"--{name.replace('_', '-')} must not come with --output: histories have columns "
                f"of known names."
            )


def print_table(lists: Lists) -> None:
    """Print lists for people to read."""
    for number, (user, items) in enumerate(lists):
        if number:
            print()
        print(f"user {printable(user)}")
        names = [printable(one.item) for one in items]
        width = max(map(len, names), default=0)
        for rank, (name, one) in enumerate(zip(names, items, strict=True), 1):
            print(f"{rank:4}  {name:<{width}}  {one.score:8.4f}  {printable(one.title)}".rstrip())
        if not items:
            print("      no item is left to recommend")


def _print_csv(lists: Lists, *, titled: bool) -> None:
    header = ["user", "rank", "item", "score", "title"]
    rows: Iterator[list[Any]] = (
        [user, rank, one.item, f"{one.score:.4f}", one.title]
        for user, items in lists
        for rank, one in enumerate(items, 1)
    )
    write_csv(sys.stdout, (row[: 5 if titled else 4] for row in chain([header], rows)))


def _print_json(lists: Lists, *, titled: bool) -> None:
    between = "["
    for user, items in lists:
        listed = [one._asdict() for one in items]
        for one in listed:
            one["score"] = round(one["score"], 4)
            if not titled:
                del one["title"]
        entry = json.dumps({"user": user, "items": listed}, ensure_ascii=False)
        print(f"{between}{escape_json(entry)}", end="")
        between = ",\n "
    print("]")
