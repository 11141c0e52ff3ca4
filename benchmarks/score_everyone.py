"""Top-10 lists of a million users among 100,000 items, from factors that are made up (k = 128).

    python -m benchmarks.score_everyone

`isthmus recommend --all` reads the model from a file and writes Parquet; it is run as a program,
and the memory is the most that it had. Before each run, on the same factors: implicit's blocked
`recommend`, which keeps its lists in memory; a loop in NumPy (multiply, `argpartition`, sort) over
blocks of users; and the matrix product alone, which is the limit. These take `--sample` users, as
their rates do not depend on how many there are. All leave out what the users have had, ten items
each.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for: it has threads itself

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.common import parser, print_table, write_results
from isthmus import BiasedMF, Ratings
from isthmus.data.ratings import CSR
from isthmus.lists import Lister

N = 10
HAD = 10
BLOCK = 512
Floats = NDArray[np.float32]


def made_up(n_users: int, n_items: int, factors: int) -> BiasedMF:
    """Return a model whose factors were drawn, and whose users have had ten items each."""
    random = np.random.default_rng(0)
    step = n_items // HAD
    first = random.integers(0, step, (n_users, 1), np.int32)
    indices = (first + np.arange(HAD, dtype=np.int32) * step).ravel()
    indptr = np.arange(n_users + 1, dtype=np.int64) * HAD
    values = np.tile(np.float32([1, 2, 3, 4, 5]), n_users * HAD // 5)
    ratings = Ratings(CSR(indptr, indices, values, (n_users, n_items)))
    model = BiasedMF(factors=factors, epochs=1, learning_rate=1e-6, random_state=0).fit(ratings)
    weights = model._weights()
    for name in ("user_factors", "item_factors"):
        random.standard_normal(out=(drawn := np.empty(weights[name].shape, np.float32)), dtype="f4")
        weights[name][...] = drawn / np.float32(factors**0.25)
    return model


PROGRAM = """
from pathlib import Path
from isthmus.cli import app
try:
    app()
finally:
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


class Rate(NamedTuple):
    """Users a second, and a second of the processor, which other programs change little."""

    wall: float
    processor: float


def by_isthmus(
    path: Path, output: Path, threads: int, order: str, users: int
) -> tuple[Rate, float]:
    """Return the rate of the whole program, and the most memory that it had, in GiB."""
    shutil.rmtree(output, ignore_errors=True)
    arguments = ["recommend", path, "--all", "-o", output, "--order", order, "-n", N]
    program = [sys.executable, "-c", PROGRAM, *arguments, "--num-threads", threads]
    start, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    # which says itself what it had, as what the system says is at least what this process has
    said = subprocess.run(list(map(str, program)), check=True, capture_output=True, text=True)
    wall, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Rate(users / wall, users / taken), int(said.stdout.split()[-1]) / 2**20


def by_implicit(users: Floats, items: Floats, seen: sparse.csr_matrix, threads: int) -> NDArray:
    """Return implicit's lists, on factors that are given."""
    model = AlternatingLeastSquares(factors=users.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = users, items
    found: NDArray = model.recommend(np.arange(len(users)), seen, N=N)[0]
    return found


def by_numpy(users: Floats, items: Floats, seen: sparse.csr_matrix) -> NDArray:
    """Return the lists of a plain loop over blocks of users."""
    best = []
    for begin in range(0, len(users), BLOCK):
        scores = users[begin : begin + BLOCK] @ items.T
        rows = seen[begin : begin + BLOCK].tocoo()
        scores[rows.row, rows.col] = -np.inf
        top = np.argpartition(scores, -N, axis=1)[:, -N:]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
        best.append(np.take_along_axis(top, order, 1))
    return np.concatenate(best)


def product(users: Floats, items: Floats) -> None:
    """Multiply, and do no more: of the scores, only those in the cache are ever there."""
    parts = [items[begin : begin + 4 * BLOCK].T for begin in range(0, len(items), 4 * BLOCK)]
    for begin in range(0, len(users) - BLOCK + 1, BLOCK):
        for part in parts:
            _ = users[begin : begin + BLOCK] @ part


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--users", type=int, default=1_000_000)
    p.add_argument("--items", type=int, default=100_000)
    p.add_argument("--factors", type=int, default=128)
    p.add_argument("--sample", type=int, default=10_240)
    p.add_argument("--rounds", type=int, default=2)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure in a folder for temporary files."""
    path = folder / "model.safetensors"
    made_up(args.users, args.items, args.factors).save(path)
    model = BiasedMF.load(path, mmap=True).set_params(num_threads=args.threads)
    vectors = model._vectors()
    sample = slice(args.sample)
    # the biases as two factors more, so that the scores are the model's
    factors = (np.ascontiguousarray(vectors.users[sample]), np.asarray(vectors.items))
    users = np.column_stack([vectors.users[sample], np.ones(args.sample, np.float32)])
    items = np.column_stack([vectors.items, vectors.item_bias])
    seen = sparse.csr_matrix(
        (
            np.ones(HAD * args.sample, np.float32),
            model._seen.indices[: HAD * args.sample],
            model._seen.indptr[: args.sample + 1],
        ),
        shape=(args.sample, args.items),
    )
    lister = Lister(model, N, order="rating")
    expected = np.array(lister.of_known(np.arange(512))["items"].to_pylist())
    with threadpool_limits(args.threads, "blas"):
        for lists in (
            by_implicit(users[:512], items, seen[:512], args.threads),
            by_numpy(users[:512], items, seen[:512]),
        ):
            if np.mean(lists == expected) < 0.999:  # rounding may order near ties otherwise
                raise SystemExit("the lists are others")

    def sampled(work: Callable[[], object], blas_threads: int) -> Rate:
        with threadpool_limits(blas_threads, "blas"):
            start, before = perf_counter(), process_time()
            work()
            wall, taken = perf_counter() - start, process_time() - before
        return Rate(args.sample / wall, args.sample / taken)

    rates: dict[str, list[Rate]] = {}
    memory = 0.0
    for _ in range(args.rounds):
        for order in ("rating", "likely"):
            for name, work, blas in (
                ("implicit", lambda: by_implicit(users, items, seen, args.threads), 1),
                ("NumPy loop", lambda: by_numpy(users, items, seen), args.threads),
                ("matrix product alone, one thread", lambda: product(*factors), 1),
            ):
                rates.setdefault(name, []).append(sampled(work, blas))
            lists = folder / "lists"
            rate, most = by_isthmus(path, lists, args.threads, order, args.users)
            rates.setdefault(f"isthmus recommend --all --order {order}", []).append(rate)
            memory = max(memory, most)
    report(args, rates, memory, path.stat().st_size / 2**30)


def report(
    args: argparse.Namespace, rates: dict[str, list[Rate]], memory: float, size: float
) -> None:
    """Print the table, and write the figures."""
    medians = {name: Rate(*np.median(each, axis=0)) for name, each in rates.items()}
    limit = medians["matrix product alone, one thread"]
    print(
        f"{args.users:,} users x {args.items:,} items, k = {args.factors}, top {N}, "
        f"{args.threads} threads"
    )
    print_table(
        ("", "users a second", "users a processor's second", "of the product's rate"),
        [
            (
                *(name, f"{rate.wall:,.0f}", f"{rate.processor:,.0f}"),
                f"{rate.processor / limit.processor:.2f}",
            )
            for name, rate in medians.items()
        ],
    )
    print(
        f"isthmus had at most {memory:.2f} GiB in memory, of which {size:.2f} GiB are the map of "
        f"the model file"
    )
    figures = {"users_a_second": rates, "memory_gib": memory, "model_gib": size}
    write_results("score_everyone", {"arguments": vars(args), **figures})


if __name__ == "__main__":
    main()
