"""Checkpoints of training over ranks: a folder with a file for each rank, or no folder."""

from __future__ import annotations

import json
import numbers
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from safetensors import safe_open

from isthmus._util.checks import shown
from isthmus._util.files import flush_folder, flush_to_disk
from isthmus.data._reading import refuse_damage
from isthmus.data._tensor_files import Tensors, map_tensors, write_tensors
from isthmus.data.shards import checksum_of, digest
from isthmus.distributed import Communicator
from isthmus.training.loop import Epoch

__all__ = ["Checkpoint", "Progress", "check_every"]

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
KIND = "a checkpoint"
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def check_every(every: Any) -> tuple[float, bool]:
    """Return how long it is from one checkpoint to the next, and whether in seconds, not epochs."""
    is_count = isinstance(every, numbers.Integral) and not isinstance(every, bool)
    if is_count and every >= 1:
        return int(every), False
    time = isinstance(every, str) and re.fullmatch("([0-9]+(?:[.][0-9]+)?)(s|min|h)", every)
    if not time or float(time[1]) == 0:
        kind = ValueError if is_count or isinstance(every, str) else TypeError
        raise kind(
            f"every must be a number of epochs, at least 1, or a time above 0 in s, min or h, such "
            f'as "10min", but it was {shown(every)}.'
        )
    return float(time[1]) * SECONDS[time[2]], True


class Progress(NamedTuple):
    """How far training had come."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def seed(self) -> int:
        """Return the seed it began with."""
        return int(self.manifest["seed"])

    @property
    def step(self) -> int:
        """Return how many steps had been taken."""
        return int(self.manifest["step"])

    @property
    def ranks(self) -> int:
        """Return the most ranks that had taken them."""
        return int(self.manifest.get("ranks", len(self.manifest["files"])))

    @property
    def history(self) -> list[Epoch]:
        """Return its epochs."""
        return [Epoch(**epoch) for epoch in self.manifest["history"]]

    def files(self, rank: int, size: int) -> Iterator[Tensors]:
        """Map the files that have the columns of a rank: its own, or all if ranks were others."""
        names = sorted(self.manifest["files"])
        for name in [names[rank]] if len(names) == size else names:
            path = self.folder / name
            with refuse_damage(path, KIND):
                if digest(path) != self.manifest["files"][name]:
                    raise ValueError("its checksum is not that of the manifest")
                with safe_open(os.fspath(path), framework="numpy"):
                    yield map_tensors(path)


class Checkpoint:
    """Where training over ranks is saved, in a folder that all ranks see.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it is not there.
    comm : Communicator
    what : dict
        What must be alike to go on: parameters and data. Values of JSON.
    every : int or str
        Epochs, or time, from one save to the next.
    """

    def __init__(
        self, folder: str | PathLike[str], comm: Communicator, what: Any, every: int | str
    ) -> None:
        self._folder = Path(folder)
        self._comm = comm
        # as it will be read; NumPy's numbers become Python's
        self._what = json.loads(json.dumps(what, default=lambda number: number.item()))
        self._every, self._timed = check_every(every)
        self._saved = monotonic()

    def is_due(self, epochs: int) -> bool:
        """Return whether to save after so many epochs: the same on all ranks, by rank 0's clock."""
        if not self._timed:
            return epochs % self._every == 0
        return bool(self._comm.allgather(monotonic() - self._saved >= self._every)[0])

    def save(
        self, tensors: Tensors, *, seed: int, step: int, history: list[Epoch], ranks: int
    ) -> None:
        """Write a checkpoint of all ranks, and remove the one before once it is complete."""
        comm = self._comm
        name = f"epoch-{len(history):06}"
        temporary = self._folder / f"{name}.partial"
        if comm.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        comm.barrier()
        file = temporary / f"rank-{comm.rank:05}.safetensors"
        write_tensors(file, tensors, {})
        flush_to_disk(file, os.O_RDWR)
        files = comm.gather((file.name, digest(file)))
        if files is not None:
            manifest = {
                "format": "isthmus checkpoint",
                "format_version": FORMAT_VERSION,
                "what": self._what,
                "seed": seed,
                "step": step,
                "history": [asdict(epoch) for epoch in history],
                "ranks": ranks,
                "files": dict(files),
            }
            manifest["checksum"] = checksum_of(manifest)
            self._complete(temporary, self._folder / name, manifest)
        comm.barrier()
        self._saved = monotonic()

    def _complete(self, temporary: Path, target: Path, manifest: dict[str, Any]) -> None:
        path = temporary / MANIFEST
        path.write_text(json.dumps(manifest, indent=1), "utf-8")
        flush_to_disk(path, os.O_RDWR)
        flush_folder(temporary)
        temporary.replace(target)
        flush_folder(self._folder)
        for old in self._folder.glob("epoch-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    @staticmethod
    def newest(folder: str | PathLike[str]) -> Progress | None:
        """Return the last checkpoint in a folder that is complete, if there is one."""
        complete = sorted(Path(folder).glob("epoch-*[0-9]"))
        if not complete:
            return None
        path = complete[-1] / MANIFEST
        with refuse_damage(path, KIND):
            manifest = json.loads(path.read_text("utf-8"))
            if not isinstance(manifest, dict) or manifest.get("format") != "isthmus checkpoint":
                raise ValueError("it is not that of a checkpoint")
            if manifest.get("format_version") != FORMAT_VERSION:
                raise ValueError(f"its format version must be {FORMAT_VERSION}")
            if manifest.get("checksum") != checksum_of(manifest):
                raise ValueError("its checksum does not match its content")
        return Progress(complete[-1], manifest)

    def check(self, progress: Progress) -> None:
        """Refuse to go on with other parameters or data than the checkpoint's."""
        before = progress.manifest["what"]
        for name in sorted(self._what.keys() | before.keys()):
            if self._what.get(name) != before.get(name):
                raise ValueError(
                    f"{name} must be as in the checkpoint {progress.folder}, "
                    f"{before.get(name)!r}, to go on from it, but it was {self._what.get(name)!r}."
                )
