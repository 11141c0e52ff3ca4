"""What the benchmarks share: data, the machine's description, tables and JSON."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import isthmus
from isthmus import AutoRec, Ratings, mask_split
from isthmus._util.files import atomic_write

RESULTS = Path(__file__).parent / "results"

EARLIER_DEFAULTS: dict[str, Any] = {
    "encoder_activation": "sigmoid",
    "regularization": 300.0,
    "learning_rate": 0.001,
    "learning_rate_schedule": "exponential",
    "batch_size": 256,
    "epochs": 40,
    "rating_scale": "raw",
    "row_scaling": 0.0,
    "target_centering": "row",
}
"""AutoRec's where they differ from those of now. Many tables' parameters were chosen with them."""


def earlier_autorec(**parameters: Any) -> AutoRec:
    """Make an AutoRec whose defaults are the earlier ones."""
    return AutoRec(**{**EARLIER_DEFAULTS, **parameters})


def data_folder() -> Path:
    """Where the real data lies: $ISTHMUS_DATA, or ../shared/data beside the project."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ISTHMUS_DATA", default))
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}: set ISTHMUS_DATA to where the data is")
    return folder


def load(name: str) -> tuple[Ratings, dict[str, NDArray[Any]]]:
    """A data set by its name, as `load_folder` gives it."""
    return load_folder(data_folder() / name)


def load_folder(folder: Path) -> tuple[Ratings, dict[str, NDArray[Any]]]:
    """Ratings of a folder (positions are the ids), and the arrays beside them.

    They have timestamps where the folder has any; -1 is an unknown one.
    """
    with np.load(folder / "ratings.npz") as file:
        arrays = {key: file[key] for key in file.files}
    n_users, n_items = arrays["shape"]
    ratings = Ratings.from_arrays(
        *(arrays["user"], arrays["item"], arrays["rating"], arrays.get("timestamp_partial")),
        user_ids=np.arange(n_users),
        item_ids=np.arange(n_items),
    )
    return ratings, arrays


def published_split(
    ratings: Ratings, arrays: dict[str, NDArray[Any]], test: NDArray[np.bool_]
) -> tuple[Ratings, Ratings]:
    """Train and test parts of a fixed split, given by a mask over the file's rows."""
    return mask_split(ratings, test, users=arrays["user"], items=arrays["item"])


def seconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def interleaved(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of two pieces of work done in turn, so that a drift of the machine hits both."""
    a, b = [], []
    for _ in range(rounds):
        a.append(ours())
        b.append(theirs())
    return a, b


def median_ratio(numerators: Iterable[float], denominators: Iterable[float]) -> float:
    """Median of the ratios, pair by pair."""
    return statistics.median(n / d for n, d in zip(numerators, denominators, strict=True))


def print_turns(
    header: Sequence[str], turns: Mapping[str, list[float]], ratio: Callable[[list[float]], float]
) -> None:
    """Seconds of several pieces of work done in turn: a row each, with its median and a ratio."""
    print_table(
        header,
        [
            (name, f"{statistics.median(taken):.4f}", f"{ratio(taken):.2f}")
            for name, taken in turns.items()
        ],
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    info = isthmus.build_info()
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        model = next((v.strip() for k, _, v in lines if k.strip() == "model name"), model)
    return {
        "cpu": model,
        "threads": info["num_threads"],
        "isa": info["isa"],
        "isthmus": info["version"],
        "compiler": info["compiler"],
        "numpy": np.__version__,
    }


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a Markdown table."""
    print(markdown_table(header, rows), flush=True)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, aligned for reading in a terminal."""
    cells = [list(map(str, header)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def write_results(name: str, figures: dict[str, Any]) -> None:
    """Keep the figures, with the machine, as benchmarks/results/NAME.json."""
    path = RESULTS / f"{name}.json"
    write_json(path, {"machine": machine(), **figures})
    print(
        f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Parameters from NAME=VALUE: numbers, None, tuples of integers as 500,250 or text."""
    return {name: _value(text) for name, text in (pair.split("=", 1) for pair in pairs)}


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    if text == "None":
        return None
    if "," in text:
        return tuple(int(part) for part in text.split(",") if part)
    return text


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with what every benchmark takes."""
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--threads", type=int, default=isthmus.build_info()["num_threads"])
    return p
