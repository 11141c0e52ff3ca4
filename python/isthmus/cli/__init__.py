"""The program `isthmus`: train, evaluate, predict, recommend, explain and serve from a shell."""

from importlib.metadata import version
from typing import Annotated

import typer

from isthmus.cli import (
    auto,
    demo,
    explain,
    info,
    predict,
    recommend,
    report,
    serve,
    shard,
    train,
    update,
    verify,
)
from isthmus.cli._errors import Group

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    *(train, update, auto, predict, recommend, explain, report, serve),
    *(verify, shard, info, demo),
):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"isthmus {version('isthmus')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and end."
        ),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback",
            envvar="ISTHMUS_TRACEBACK",
            help="Show where in the code an error comes from.",
        ),
    ] = False,
) -> None:
    """Autoencoder recommenders that train on CPUs.

    `isthmus demo` shows what it does, on ratings that it makes up.
    """
