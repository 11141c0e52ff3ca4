"""`isthmus evaluate` and `isthmus predict`."""

import enum
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer
from numpy.typing import NDArray

from isthmus._util.files import atomic_write
from isthmus.cli._data import (
    check_output,
    ids_from_text,
    load,
    of_users,
    parse_metric_names,
    preparing_options,
    read_for,
    read_pairs,
    reading_options,
)
from isthmus.cli._options import command_with, file_argument
from isthmus.cli._output import write_csv
from isthmus.data._ids import IdArray
from isthmus.data.ratings import Ratings

__all__ = ["Items", "Metrics", "ModelFile", "Order", "Ordering", "Threads", "register"]


class Order(str, enum.Enum):
    """What models of ratings rank by."""

    likely = "likely"
    rating = "rating"


ModelFile = Annotated[Path, file_argument("MODEL", "File that `isthmus train` wrote.")]
Threads = Annotated[int, typer.Option(help="0: all that this process may use.", min=0)]
Ordering = Annotated[
    Order,
    typer.Option(
        help="What a model of ratings puts first: what a user is likely to rate, and to rate high, "
        "or the highest predicted ratings."
    ),
]
Items = Annotated[
    Path | None,
    typer.Option(help="File with the items' titles, such as movies.csv, or a data set's name."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        parser=parse_metric_names,
        metavar="NAME,NAME,...",
        help="What to measure: rmse, mae, or rankings, as ndcg@10,recall@20; by default what fits "
        "the model.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(cls=command_with(reading_options, preparing_options))(evaluate)
    app.command(cls=command_with(reading_options))(predict)


def evaluate(
    context: typer.Context,
    model: ModelFile,
    ratings: Annotated[Path, file_argument("RATINGS", "File of ratings to test on.")],
    metrics: Metrics = None,
    known: Annotated[
        Path | None,
        typer.Option(
            "--ratings",
            help="Rank for users that the model need not know, from their ratings in this file.",
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(help="File of further ratings to leave out of rankings, as of validation."),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Rank what a user has rated as well.")
    ] = False,
    order: Ordering = Order.likely,
    num_threads: Threads = 0,
) -> None:
    """Measure a model's errors, or its rankings, on ratings that it was not trained on.

    `isthmus evaluate model.safetensors held-out.csv --metrics ndcg@10,recall@20`
    """
    recommender = load(model, num_threads)

    def read(path: Path) -> Ratings:
        return read_for(recommender, path, *context.obj)

    test = read(ratings)
    options: dict[str, Any] = {"exclude_seen": not include_seen, "order": order.value}
    if known is not None:
        options["ratings"] = of_users(read(known), test.user_ids, "--ratings")
    if exclude is not None:
        excluded = read(exclude)
        options["exclude"] = (
            excluded if known is None else of_users(excluded, test.user_ids, "--exclude")
        )
    for name, value in recommender.evaluate(test, metrics, **options).items():
        print(f"{name} {value:.6f}")


def predict(
    context: typer.Context,
    model: ModelFile,
    pairs: Annotated[
        Path | None,
        file_argument("PAIRS", "File with a user and an item in each line, and maybe more."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Id of a user.")] = None,
    item: Annotated[str | None, typer.Option(help="Id of an item.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV file to write; by default to the terminal."),
    ] = None,
    num_threads: Threads = 0,
) -> None:
    """Predict the rating of a user for an item, or of all pairs in a file.

    `isthmus predict model.safetensors --user 196 --item 242`
    """
    if (pairs is None) == (user is None and item is None) or (user is None) != (item is None):
        raise typer.BadParameter("there must be either a file of pairs, or --user and --item.")
    if output is not None:
        check_output(output, model, pairs)
    recommender = load(model, num_threads)
    if pairs is None:
        users = ids_from_text([user or ""], recommender.user_ids_, "--user")
        items = ids_from_text([item or ""], recommender.item_ids_, "--item")
    else:
        users, items = read_pairs(pairs, recommender, context.obj[0])
    written = np.char.mod("%.4f", recommender.predict(users, items))
    if output is not None:
        with atomic_write(output) as temporary, temporary.open("w", newline="") as file:
            _write(file, users, items, written)
    elif pairs is None:
        print(written[0])
    else:
        _write(sys.stdout, users, items, written)


def _write(file: TextIO, users: IdArray, items: IdArray, written: NDArray[np.str_]) -> None:
    rows = zip(users.tolist(), items.tolist(), written.tolist(), strict=True)
    write_csv(file, chain([("user", "item", "prediction")], rows))
