"""How `isthmus train` trains: alone, or as one rank of a job."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from isthmus.cli._errors import FAILED, sentence
from isthmus.data.ratings import Ratings
from isthmus.data.shards import Shards, is_shards
from isthmus.distributed import (
    Communicator,
    MPICommunicator,
    ThreadCommunicator,
    agreed,
    part_of,
)
from isthmus.models._checkpoints import check_every
from isthmus.models._over_ranks import OverRanks
from isthmus.models.base import Recommender

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """What trains a model: this process alone, or with other ranks, of which the first prints.

    Parameters
    ----------
    comm : Communicator or None
        None for training as ever.
    options : dict
        What `fit` takes with it.
    """

    comm: Communicator | None
    options: dict[str, Any]

    @classmethod
    def of(
        cls, model: type[Recommender], *, mpi: bool, checkpoint: Path | None, **options: Any
    ) -> "Job":
        """Make it of the program's options, or refuse them."""
        alone = not mpi and options["slices"] is None and checkpoint is None
        options["every"] = _parse_every(options["every"])
        for option, given in ("--resume", options["resume"]), ("--every", options["every"] != 1):
            if given and checkpoint is None:
                raise typer.BadParameter(f"{option} must come with --checkpoint.")
        if alone:
            return cls(None, {})
        if not issubclass(model, OverRanks):
            raise typer.BadParameter(
                "--mpi, --slices and --checkpoint work with --model autorec, mult-dae and mult-vae."
            )
        comm = MPICommunicator() if mpi else ThreadCommunicator()
        return cls(comm, {**options, "checkpoint": checkpoint})

    @property
    def speaks(self) -> bool:
        """Return whether this process prints and writes."""
        return self.comm is None or self.comm.rank == 0

    def say(self, text: str) -> None:
        """Print a line, once a job."""
        if self.speaks:
            print(text, flush=True)

    def shards_at(self, path: Path, prepared: dict[str, Any]) -> Shards | None:
        """Return shards, of which each rank reads its own, where a path has them."""
        if self.comm is None or not is_shards(path):
            return None
        if prepared:
            raise ValueError(
                f"{path} holds shards, which ranks read as they are: there must be no options for "
                f"preparing ratings, but there is --{next(iter(prepared)).replace('_', '-')}."
            )
        return Shards(path)

    @contextmanager
    def failing_together(self, *, traceback: bool) -> Iterator[None]:
        """Print what went wrong once, and end all ranks."""
        try:
            yield
        except Exception as error:
            if self.comm is None or traceback or hasattr(error, "exit_code"):
                raise
            if self.speaks:
                print(f"isthmus: error: {sentence(error)}", file=sys.stderr, flush=True)
            self.comm.barrier()  # until then, another rank that ends could end this one
            raise typer.Exit(FAILED) from None

    def reading(self) -> Any:
        """Let all ranks fail where one cannot read its files."""
        return nullcontext() if self.comm is None else agreed(self.comm)

    def fit(
        self, model: Any, X: Ratings | Shards, *, validation: Ratings | None, **data: Any
    ) -> Any:
        """Train; return the whole model, or None on a rank that has only a part."""
        if self.comm is None:
            return model.fit(X, validation=validation, **data)
        if isinstance(X, Ratings):
            axis = model._rank_job.axis(model)
            X = part_of(X, self.comm.rank, self.comm.size, axis=axis)
        model.fit(X, validation=validation, comm=self.comm, **self.options)
        return model.gather(self.comm)


def _parse_every(text: str) -> int | str:
    """Read a number of epochs, or a time such as 10min."""
    try:
        every = int(text) if re.fullmatch("[0-9]+", text) else text
        check_every(every)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return every
