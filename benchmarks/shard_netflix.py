"""Ratings of Netflix's shape, made up, from Parquet to shards and into memory: seconds and memory.

    python -m benchmarks.shard_netflix

Writes 100 million ratings, shuffled as a log would have them, to ten Parquet files in a temporary
folder (1 GB); each step is then a program of its own, and the memory is the most that it had.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import parser, print_table, write_results
from isthmus import synthetic_ratings

FILES = 10

# which say themselves what memory they had, as the system counts this process's as well
PEAK = """
from pathlib import Path
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
SHARD = """
import sys
from isthmus import shard
print(shard(sys.argv[3:], sys.argv[2], axis=sys.argv[1]))
"""
LOAD = "import sys; from isthmus import Shards; print(Shards(sys.argv[1]).to_ratings())"
WRITE = """
import sys
from benchmarks.shard_netflix import write
write(sys.argv[1], int(sys.argv[2]))
"""


def write(folder: str, n_ratings: int) -> None:
    """Write ratings to files, in no order."""
    share = n_ratings / 100_480_507
    sizes = (max(1, int(480_189 * share)), 17_770, n_ratings)
    users, items, values, _ = synthetic_ratings(*sizes, shape="netflix").to_arrays()
    order = np.random.default_rng(0).permutation(n_ratings)
    for number, some in enumerate(np.array_split(order, FILES)):
        table = pa.table(
            {
                "user": users[some].astype(np.int32),
                "item": items[some].astype(np.int32),
                "rating": values[some],
            }
        )
        pq.write_table(table, Path(folder) / f"{number}.parquet")


def measured(program: str, *arguments: object) -> tuple[float, float, float]:
    """Return seconds of a program, and of the processor, and the most memory it had, in GiB."""
    start, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(
        [sys.executable, "-c", f"{program}\n{PEAK}", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    print(said[0], flush=True)
    wall, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, taken, int(said[1]) / 2**20


def size_of(folder: Path) -> float:
    """Return the size of a folder's files in GB."""
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e9


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--ratings", type=int, default=100_480_507)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure in a folder for temporary files."""
    source = folder / "ratings"
    source.mkdir()
    subprocess.run([sys.executable, "-c", WRITE, source, str(args.ratings)], check=True)
    files = sorted(source.iterdir())
    figures = {}
    for axis in ("user", "item"):
        shards = folder / axis
        figures[f"shard, 64 buckets of {axis}s"] = (
            *measured(SHARD, axis, shards, *files),
            size_of(shards),
        )
        name = f"buckets of {axis}s into one matrix"
        figures[name] = (*measured(LOAD, shards), args.ratings * 8 / 1e9)
    print(f"{args.ratings:,} ratings, {size_of(source):.2f} GB of Parquet")
    print_table(
        ("", "seconds", "of the processor", "most memory", "result"),
        [
            (name, f"{wall:.0f}", f"{taken:.0f}", f"{memory:.2f} GiB", f"{size:.2f} GB")
            for name, (wall, taken, memory, size) in figures.items()
        ],
    )
    write_results("shard_netflix", {"arguments": vars(args), "figures": figures})


if __name__ == "__main__":
    main()
