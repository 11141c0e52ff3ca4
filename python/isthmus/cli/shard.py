"""`isthmus shard`."""

from pathlib import Path
from typing import Annotated

import typer

from isthmus._util.files import check_new_folder
from isthmus._util.memory import format_bytes
from isthmus.cli._options import Source, command_with, file_argument, parse_columns, parse_numbers
from isthmus.data.sharding import shard as write_shards

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(_sharding_options))(shard)


def _sharding_options(args: list[str]) -> Source:
    return Source(
        "Options for sharding and reading",
        write_shards,
        write_shards.__doc__ or "",
        parsers={"columns": parse_columns, "missing_values": parse_numbers},
    )


def shard(
    context: typer.Context,
    ratings: Annotated[
        list[Path], file_argument("RATINGS...", "Parquet or text files of ratings.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the shards.", show_default=False)
    ],
) -> None:
    """Turn ratings larger than memory into a folder that models are trained from.

    `isthmus shard ratings/*.parquet --buckets 64 --output shards/`
    """
    check_new_folder(output)
    shards = write_shards(ratings, output, **context.obj[0])
    size = sum(file.stat().st_size for file in output.iterdir())
    print(f"wrote {output} ({shards!r}, {format_bytes(size)})")
