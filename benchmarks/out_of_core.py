"""Training from shards, out of core, against a fit of the same ratings in memory: memory and time.

    python -m benchmarks.out_of_core

Writes ratings of Netflix's shape, 100 million and made up, to ten Parquet files in a temporary
folder (--folder names another, and keeps what is in it: 1.5 GB, and 1.6 more while a model is
trained), and shards them.
Each fit is a program of its own: of shards, and of the same ratings read into memory. Memory is the
most that the program had at once, in pages that no file backs (RssAnon, looked at 100 times a
second) and in all (VmHWM), which counts pages of the system's cache of files that are mapped.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import parser, print_table, write_results
from benchmarks.shard_netflix import WRITE
from isthmus._util.arrays import blocks

SHARD = """
import sys
from isthmus import shard
print(shard(sys.argv[2:], sys.argv[1]))
"""
FIT = """
import sys
from benchmarks.out_of_core import fit
fit(*sys.argv[1:])
"""


class Configuration(NamedTuple):
    """What to fit."""

    orientation: str
    units: int
    optimizer: str = "adam"


CONFIGURATIONS = (
    Configuration("item", 16),
    Configuration("item", 50),
    Configuration("user", 50),
    Configuration("user", 500),
    Configuration("item", 500, "sgd"),
    Configuration("item", 500),
)


def fit(how: str, folder: str, orientation: str, units: str, optimizer: str, threads: str) -> None:
    """Fit two epochs to a folder of shards, and print figures as JSON."""
    import hashlib

    from isthmus import AutoRec, Shards

    shards = Shards(folder)
    start = time.perf_counter(), time.process_time()
    marks: list[float] = []
    X: Any = shards if how == "files" else shards.to_ratings()
    model = AutoRec(
        orientation=orientation,
        hidden_units=(int(units),),
        optimizer=optimizer,
        learning_rate=1e-6 if optimizer == "sgd" else 0.0015,
        epochs=2,
        random_state=0,
        num_threads=int(threads),
    )
    model.fit(X, callbacks=[lambda _: marks.append(time.process_time())])
    seconds, work = time.perf_counter() - start[0], time.process_time() - start[1]
    tensors = model._tensors()
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors.keys() - {"history"}):  # which has seconds
        for block in blocks(len(tensors[name]), 1 << 12):  # as rows are padded
            digest.update(np.ascontiguousarray(tensors[name][block]).data)
    weights = sum(array.nbytes for name, array in tensors.items() if name.endswith("weights"))
    figures = {
        "seconds": seconds,
        "processor_seconds": work,
        "epoch_seconds": model.history_[1].seconds,
        "epoch_processor_seconds": marks[1] - marks[0],
        "weights_gib": weights / 2**30,
        "codes_gib": model.codes_.nbytes / 2**30,
        "digest": digest.hexdigest(),
        "receipt": model.receipt_.data,
    }
    print(json.dumps(figures))


def watched(program: str, *arguments: object) -> tuple[str, dict[str, float]]:
    """Run a program, and return the last line it printed and the most memory it had, in GiB."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    most = {"RssAnon": 0, "VmHWM": 0}
    while child.poll() is None:
        lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        for name, _, value in (line.partition(":") for line in lines):
            if name in most:
                most[name] = max(most[name], int(value.split()[0]))
        time.sleep(0.01)
    assert child.stdout is not None
    said = child.stdout.read().splitlines()
    if child.returncode:
        raise SystemExit(f"the program ended with {child.returncode}: {said}")
    return said[-1], {name: kib / 2**20 for name, kib in most.items()}


def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure in a folder, which may have the files already."""
    source, shards = folder / "ratings", folder / "shards"
    if not source.is_dir():
        source.mkdir()
        subprocess.run([sys.executable, "-c", WRITE, source, str(args.ratings)], check=True)
    if not shards.is_dir():
        said, most = watched(SHARD, shards, *sorted(source.iterdir()))
        print(f"{said}: {most}", flush=True)
    figures: dict[str, Any] = {}
    for number in args.configurations:
        configuration = CONFIGURATIONS[number]
        pair = {}
        for how in ("memory", "files"):
            said, most = watched(FIT, how, shards, *configuration, args.threads)
            pair[how] = {**json.loads(said), **most}
            print(configuration, how, pair[how], flush=True)
        same = all(pair["memory"][name] == pair["files"][name] for name in ("digest", "receipt"))
        if not same:
            raise SystemExit("the two fits differ")
        figures[" ".join(map(str, configuration))] = pair
    print_table(
        (
            *("orientation, units, optimizer", "ratings", "RssAnon", "of the other's", "VmHWM"),
            *("seconds of the processor", "of these, an epoch"),
        ),
        [
            (
                *(name, how, f"{own['RssAnon']:.2f} GiB"),
                f"{own['RssAnon'] / pair['memory']['RssAnon']:.0%}",
                *(f"{own['VmHWM']:.2f} GiB", f"{own['processor_seconds']:.0f}"),
                f"{own['epoch_processor_seconds']:.1f}",
            )
            for name, pair in figures.items()
            for how, own in pair.items()
        ],
    )
    write_results("out_of_core", {"arguments": vars(args), "figures": figures})


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--ratings", type=int, default=100_480_507)
    p.add_argument("--folder", help="where the ratings and shards are, or are to be left")
    p.add_argument(
        "--configurations",
        type=int,
        nargs="*",
        default=list(range(len(CONFIGURATIONS))),
        help="which of them to fit, by number",
    )
    args = p.parse_args()
    if args.folder:
        run(args, Path(args.folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


if __name__ == "__main__":
    main()
