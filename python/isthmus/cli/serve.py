"""`isthmus serve`."""

import logging
from typing import Annotated

import typer

from isthmus import serving
from isthmus.cli._data import file_of_items
from isthmus.cli.predict import Items, ModelFile

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(serve)


def serve(
    model: ModelFile,
    items: Items = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at. One that others can reach needs --token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: one that is free.", min=0, max=65_535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ISTHMUS_TOKEN",
            help="Secret that every request must send: at least 16 characters.",
        ),
    ] = None,
    num_threads: Annotated[
        int,
        typer.Option(
            help="Requests to compute at once; 0: as many as this process may use threads.", min=0
        ),
    ] = 0,
) -> None:
    """Explore a model in a browser: a page, and an API for programs.

    `isthmus serve model.safetensors --items movies.csv`
    """

    def started(address: str) -> None:
        print(f"serving {model} at {address}; Ctrl-C ends it", flush=True)

    logging.basicConfig(level=logging.INFO, format="isthmus: %(message)s")
    serving.serve(
        model,
        items=None if items is None else file_of_items(items),
        host=host,
        port=port,
        token=token,
        num_threads=num_threads,
        started=started,
    )
