"""How the program ends: one line for an error, quietly for a closed pipe, at once for Ctrl-C."""

import os
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from isthmus.data._reading import printable

__all__ = ["Group"]

FAILED = 1
INTERRUPTED = 130  # what a shell says of a program that SIGINT ended
PIPE_CLOSED = 141  # and of one that SIGPIPE ended


class Group(TyperGroup):
    """The program's commands, around which errors turn into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, and not at exit, a closed pipe can still be dealt with
            return result
        except BrokenPipeError:
            _discard_output()
            raise typer.Exit(PIPE_CLOSED) from None
        except KeyboardInterrupt:
            if ctx.params["traceback"]:
                raise
            print("\nisthmus: interrupted; no file was written.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            # errors of usage and exits have a code and are Typer's own
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise
            if ctx.params["traceback"]:
                raise
            print(f"isthmus: error: {_sentence(error)}", file=sys.stderr)
            raise typer.Exit(FAILED) from None


OPTIONS = {
    "exclude_seen=False": "--include-seen",
    'order must be "likely"': "--order must be likely",
    "implicit=True": "--implicit",
    'duplicates="mean" or "last" to Ratings.from_matrix, or to what else makes ratings,': (
        "--duplicates mean or last"
    ),
    "validation=... to fit, or set validation_fraction": "--validation or --validation-fraction",
}
"""What messages call arguments of Python's, and the program's options for them."""


def _sentence(error: Exception) -> str:
    """Return what went wrong in one line."""
    text = " ".join(str(error).split())
    for argument, option in OPTIONS.items():
        text = text.replace(argument, option)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        text = f"there is not enough memory{f': {text}' if text else '.'}"
    return printable(text or type(error).__name__)


def _discard_output() -> None:
    # Python flushes stdout once more at exit, and would complain
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
