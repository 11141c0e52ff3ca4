"""How the program ends: one line for an error, no message for a closed pipe, at once on Ctrl-C."""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from typer.core import TyperGroup

from isthmus.data._reading import printable

__all__ = ["FAILED", "Group", "sentence"]

FAILED = 1
INTERRUPTED = 130  # what a shell says of a program that SIGINT ended
PIPE_CLOSED = 141  # and of one that SIGPIPE ended


class Group(TyperGroup):
    """The program's commands, around which errors turn into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            with _shown_warnings():
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
            print(f"isthmus: error: {sentence(error)}", file=sys.stderr)
            raise typer.Exit(FAILED) from None


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Print warnings in one line each, as errors are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)

        def show(message: Any, *_: Any) -> None:
            print(f"isthmus: warning: {sentence(message)}", file=sys.stderr)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


OPTIONS = {
    "exclude_seen=False": "--include-seen",
    'order must be "likely"': "--order must be likely",
    "ratings must be given to explain": "--ratings must be given to explain",
    "token must be": "--token must be",
    "implicit=True": "--implicit",
    'duplicates="mean", "sum" or "last" to Ratings.from_matrix, or to what else makes ratings,': (
        "--duplicates mean, sum or last"
    ),
    "log1p()": "--log1p",
    "binarize(threshold)": "--threshold",
    "missing_values=": "--missing-values ",
    'with by="user_time"': "with --split-by user_time",
    "encoding='latin-1'": "--encoding latin-1",
    "validation=... to fit, or set validation_fraction": "--validation or --validation-fraction",
}
"""Arguments of the API in messages, and the program's options for them."""


def sentence(error: Any) -> str:
    """Return what went wrong in one line."""
    text = " ".join(str(error).split())
    for argument, option in OPTIONS.items():
        text = text.replace(argument, option)
    text = re.sub(r"columns=\[([^]]*)\]", _columns_option, text)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        text = f"there is not enough memory{f': {text}' if text else '.'}"
    return printable(text or type(error).__name__)


def _columns_option(found: re.Match[str]) -> str:
    """Write ``columns=['userID', 'weight']`` as an option, if a shell takes it as it is."""
    names = [name.strip(" '\"") for name in found[1].split(",")]
    plain = all(re.fullmatch(r"[\w.:-]+", name) for name in names)
    return f"--columns {','.join(names)}" if plain else f'--columns "{",".join(names)}"'


def _discard_output() -> None:
    # Python flushes stdout once more at exit, and would complain
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
