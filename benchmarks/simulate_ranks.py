"""What an epoch of AutoRec takes over ranks that share its columns: a model, and a replay of it.

    python -m benchmarks.simulate_ranks             # after measuring one rank here: a minute
    python -m benchmarks.simulate_ranks --given 90 20 .3 13 1.4   # rates instead of measuring
    python -m benchmarks.simulate_ranks --check 2 1097712 0.21 --users 6040 --items 3706 \\
        --ratings 1000209 --units 500 --batch 256   # against measured ranks

The model. A rank has columns/R of the columns, dealt by popularity, and with them ratings/R. In a
batch of n of its cells, of which `touched` columns have any, it

- sets up the batch (seconds a cell, measured);
- encodes 4 n k and decodes 6 n k floating-point operations, gradients included, moves the weights
  and the optimizer's state of touched columns to and from memory, and takes the optimizer's step,
  which all columns take at every batch, though late where they have no cell (rates, measured); the
  three add up, as if nothing of one were hidden behind another;
- adds up parts of rows x k floats, and takes them through the activation (seconds a float,
  measured): the one work that every rank does in full.

Twice a batch, once encoded and once decoded, all ranks wait for one another and sum rows x
padded k floats (and once a row more, which tells of a loss that is not finite). A rank sends

    ring:                  2 (R - 1) / R x floats x 4 bytes in 2 (R - 1) messages
    halves:                the same in 2 log2 R messages (halved and doubled again)
    doubling:              log2 R x floats x 4 bytes in log2 R messages

of which the fastest is taken, as MPI libraries do, and a message takes the network's latency and
its bytes by the rate. The replay draws every rank's cells in every batch, and goes through them.

With half-batches, one half's sum is under way while the other half is worked on; the weights step
once a batch all the same, so that they must be read once more for the second half, and the
decoder's once more for the step.
"""

import argparse
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.common import parser, print_table, write_results
from isthmus import _core, synthetic_ratings
from isthmus.data._csr import column_counts
from isthmus.models._precision import precision_of

LINE = 16  # floats
RANKS = (1, 2, 4, 8, 16, 32, 64)

BANDWIDTH = {2: 0.0, 16: 120e9, 64: 300e9}
"""Bytes a second of a machine's memory by its cores, unless what was measured is more: assumed."""
EFFICIENCY = 0.7
"""Of many cores' arithmetic against that of two: assumed."""


class Job(NamedTuple):
    """Rows, columns and ratings to train on, and how."""

    rows: float
    columns: float
    ratings: float
    units: int
    batch: int
    state_bytes: int = 4
    """Of the optimizer, a weight: 4 of Adam with bfloat16, 8 with float32, 0 of SGD."""
    skew: float = 1.0
    """Columns that a batch touches, by how many it would were all equally popular."""

    @property
    def batches(self) -> int:
        """In an epoch."""
        return math.ceil(self.rows / self.batch)

    @property
    def stride(self) -> int:
        """Floats from a row of a matrix to the next: an odd number of cache lines."""
        return (-(-self.units // LINE) | 1) * LINE

    @property
    def summed(self) -> tuple[float, float]:
        """Floats of the mean batch's two sums."""
        rows = self.rows / self.batches
        return rows * self.stride, (rows + 1) * self.stride

    def flops(self, cells: Any) -> tuple[Any, Any]:
        """Return operations to encode and to decode."""
        return 4 * cells * self.units, 6 * cells * self.units

    def touched(self, cells: Any, columns: float) -> Any:
        """Return how many columns have some of the cells."""
        return self.skew * columns * -np.expm1(-cells / columns)

    def traffic(self, cells: Any, columns: float) -> Any:
        """Return bytes of weights and state, read and written, to encode; as many to decode."""
        return self.touched(cells, columns) * self.stride * 2 * (4 + self.state_bytes)

    def steps(self, columns: float) -> float:
        """Return how many weights take a step a batch, to encode; as many to decode."""
        # more than 32 that are late are taken at once, at the cost of about 8
        gap = columns / self.touched(self.ratings / self.batches * columns / self.columns, columns)
        return columns * self.stride * (1.0 if gap <= 32 else 8 / gap)

    def reread(self, cells: Any, columns: float) -> Any:
        """Return bytes of one more pass over the weights of one matrix."""
        return self.touched(cells, columns) * self.stride * 4

    def memory(self, ranks: int) -> float:
        """Return bytes of a rank: ratings, weights, optimizer and the codes of all rows."""
        weights = 2 * self.columns * self.stride * (4 + self.state_bytes)
        return (8 * self.ratings + weights) / ranks + self.rows * self.stride * 4


class Machine(NamedTuple):
    """What a rank has to work with."""

    flops: float
    """A second, beside what it waits for memory."""
    bandwidth: float
    """Bytes of memory a second."""
    per_step: float
    """Seconds of the optimizer's step of a weight."""
    per_cell: float
    """Seconds to set up."""
    per_float: float
    """Seconds to take a float of a batch's rows back through the activation."""
    network: float
    """Bytes a second, each way."""
    latency: float
    """Seconds a message."""

    def work(self, flops: Any, traffic: Any, steps: float) -> Any:
        """Return seconds of operations, bytes of memory and steps of weights."""
        return flops / self.flops + traffic / self.bandwidth + steps * self.per_step

    def sum_seconds(self, floats: float, ranks: int) -> float:
        """Return how long the fastest sum over ranks takes."""
        if ranks == 1:
            return 0.0
        return min(
            messages * self.latency + sent / self.network + 3 * sent / self.bandwidth
            for messages, sent in sums(floats, ranks).values()
        )


def sums(floats: float, ranks: int) -> dict[str, tuple[int, float]]:
    """Return messages and bytes that a rank sends in a sum, by algorithm."""
    size, log = 4 * floats, math.ceil(math.log2(ranks))
    share = 2 * (ranks - 1) / ranks * size
    return {
        "ring": (2 * (ranks - 1), share),
        "halves": (2 * log, share),
        "doubling": (log, log * size),
    }


class Epoch(NamedTuple):
    """Seconds of an epoch: of the mean rank's own work, of sums, and in all."""

    work: float
    sums: float
    whole: float


def replay(
    job: Job, machine: Machine, cells: NDArray[np.float64], *, halves: bool = False
) -> Epoch:
    """Go through an epoch in which every rank has so many cells in every batch."""
    ranks = cells.shape[1]
    columns = job.columns / ranks
    steps = job.steps(columns)
    back = machine.per_float * job.batch * job.stride
    first, second = (machine.sum_seconds(floats / (1 + halves), ranks) for floats in job.summed)
    now = np.zeros(ranks)
    link = work = 0.0
    for own in cells:
        setup = machine.per_cell * own
        encode, decode = (
            machine.work(flops, job.traffic(own, columns), steps) for flops in job.flops(own)
        )
        work += float(np.mean(setup + encode + decode)) + back
        if not halves:
            now = np.max(now + setup + encode) + first + np.zeros(ranks)
            now = np.max(now + decode) + second + back + np.zeros(ranks)
            continue
        again = job.reread(own, columns) / machine.bandwidth
        now = np.maximum(now + setup, link) + back  # the batch before is through by now
        now = now + encode / 2
        link = encoded = max(link, float(now.max())) + first
        now = now + encode / 2 + again
        link = other = max(link, float(now.max())) + first
        now = np.maximum(now, encoded) + decode / 2
        link = max(link, float(now.max())) + second
        now = np.maximum(now, other) + decode / 2 + 2 * again
        link = max(link, float(now.max())) + second
    return Epoch(work, len(cells) * (first + second) * (1 + halves), max(float(now.max()), link))


def drawn(job: Job, ranks: int, spread: float) -> NDArray[np.float64]:
    """Draw every rank's cells in every batch: `spread` is their deviation, as a share."""
    mean = job.ratings / job.batches / ranks
    draw = np.random.default_rng(0).normal(1, spread, (job.batches, ranks))
    return mean * np.maximum(draw, 0)


# Measuring one rank


def measure(threads: int) -> tuple[Machine, list[dict[str, float]]]:
    """Measure the rates of this machine by epochs of one rank, and how well they explain them."""
    runs = [
        _phases(job, threads)
        for job in (
            Job(3_706, 6_040, 1_000_209, 500, 128),
            Job(3_706, 6_040, 1_000_209, 500, 1_024),
            Job(3_706, 6_040, 1_000_209, 64, 256),
            Job(20_000, 200_000, 1_000_000, 128, 512),
            Job(10_000, 100_000, 2_000_000, 64, 256),
            Job(5_000, 50_000, 4_000_000, 256, 256),
        )
    ]
    known = np.array([[run["flops"], run["traffic"], run["steps"]] for run in runs])
    taken = np.array([run["work"] for run in runs])
    # each run counts alike, however long it took
    (per_flop, per_byte, per_step), _ = nnls(known / taken[:, np.newaxis], np.ones(len(runs)))
    machine = Machine(
        1 / max(per_flop, 1e-15),
        1 / max(per_byte, 1e-15),
        per_step,
        float(np.median([run["setup"] / run["cells"] for run in runs])),
        float(np.median([run["back"] / run["floats"] for run in runs])),
        np.inf,
        0.0,
    )
    for run in runs:
        job = run.pop("job")
        run["model"] = replay(job, machine, drawn(job, 1, 0.0)).whole
    return machine, runs


def _phases(job: Job, threads: int) -> dict[str, Any]:
    """Train one rank for some epochs, and return the medians of its parts' seconds."""
    ratings = synthetic_ratings(int(job.columns), int(job.rows), int(job.ratings), random_state=0)
    matrix = ratings.rows("item")
    popularity = column_counts(matrix.indices, matrix.shape[1])
    network = _core.Autoencoder(
        matrix.shape[1],
        (job.units,),
        hidden_activation="centered_sigmoid",
        output_activation="identity",
        seed=0,
        num_threads=threads,
    )
    precision = precision_of("auto", "adam")
    trainer = _core.Trainer(
        network,
        popularity,
        matrix.shape[0],
        optimizer="adam",
        momentum=0.9,
        regularization=300.0,
        batch_size=job.batch,
        corruption="none",
        corruption_level=0.0,
        dropout=0.0,
        seed=0,
        num_threads=threads,
        precision=precision,
    )
    rows = _core.Rows(matrix.indptr, matrix.indices, matrix.values, matrix.shape[1])
    taken = []
    for epoch in range(4):
        before = trainer.phase_seconds
        trainer.run_epoch(rows, epoch, 1e-4)
        taken.append([after - before[name] for name, after in trainer.phase_seconds.items()])
    # the first touches memory that is new
    setup, encode, decode, back, settle = np.median(taken[1:], axis=0)
    job = job._replace(state_bytes=4 if precision == "bfloat16" else 8)
    cells = job.ratings / job.batches
    touched = -np.expm1(popularity * np.log1p(-min(job.batch / job.rows, 0.999))).sum()
    job = job._replace(skew=touched / job.touched(cells, job.columns))
    return {
        "job": job,
        "work": encode + decode + settle,
        "setup": setup,
        "back": back,
        "whole": setup + encode + decode + back + settle,
        "flops": job.batches * sum(job.flops(cells)),
        "traffic": job.batches * 2 * job.traffic(cells, job.columns),
        "steps": job.batches * 2 * job.steps(job.columns),
        "cells": job.ratings,
        "floats": job.rows * job.stride,
    }


# Tables


def table(name: str, job: Job, machine: Machine, ranks: Sequence[int], spread: float) -> Any:
    """Print an epoch by the number of ranks, and return it."""
    rows, figures = [], {}
    one = replay(job, machine, drawn(job, 1, 0.0)).whole
    for count in ranks:
        cells = drawn(job, count, spread)
        whole, halved = (replay(job, machine, cells, halves=halves) for halves in (False, True))
        sent = (
            sum(min(s for _, s in sums(f, count).values()) for f in job.summed) if count > 1 else 0
        )
        figures[count] = {"whole": whole, "halved": halved, "sent": sent}
        rows.append(
            (
                count,
                f"{whole.whole:.3g}",
                f"{one / whole.whole / count:.0%}",
                f"{whole.work:.3g}",
                f"{whole.sums:.3g}",
                f"{max(whole.whole - whole.work - whole.sums, 0):.2g}",
                f"{sent / 1e6:.3g}",
                f"{job.memory(count) / 2**30:.3g}",
                f"{whole.whole / halved.whole - 1:+.0%}" if count > 1 else "",
            )
        )
    print(
        f"\n{name}: {job.rows:,.0f} rows x {job.columns:,.0f} columns, {job.ratings:,.0f} ratings, "
        f"k {job.units}, {job.batches:,} batches of {job.batch:,} rows"
    )
    print_table(
        (
            *("ranks", "seconds an epoch", "of R times one's speed", "work", "sums", "waiting"),
            *("MB sent a batch", "GiB a rank", "speed by half-batches"),
        ),
        rows,
    )
    return figures


def one_machine(rank: Machine, threads: int) -> Any:
    """Print memory and seconds of one machine by its cores."""
    rows, figures = [], {}
    for name, job in (
        ("ml-1m, k 500", Job(3_706, 6_040, 1_000_209, 500, 128)),
        ("ml-20m's shape, k 500", Job(26_744, 138_493, 20_000_263, 500, 418)),
        ("Netflix's shape, k 500", Job(17_770, 480_189, 100_480_507, 500, 278)),
        ("a billion ratings, k 500", Job(100_000, 5_000_000, 1e9, 500, 1_563)),
        ("a billion ratings, k 64", Job(100_000, 5_000_000, 1e9, 64, 1_563)),
        ("ten billion ratings, k 64", Job(1_000_000, 50_000_000, 1e10, 64, 15_625)),
    ):
        seconds = {}
        for cores, bandwidth in BANDWIDTH.items():
            more = cores / threads * (EFFICIENCY if cores > threads else 1)
            machine = faster(rank, more, bandwidth)
            seconds[cores] = replay(job, machine, drawn(job, 1, 0.0)).whole
        figures[name] = {"seconds": seconds, "bytes": job.memory(1)}
        rows.append(
            (
                *(name, f"{job.columns:,.0f} x {job.rows:,.0f}", f"{job.memory(1) / 2**30:.3g}"),
                *(f"{taken:.3g}" for taken in seconds.values()),
            )
        )
    print()
    print_table(
        ("", "users x items", "GiB", *(f"seconds an epoch, {n} cores" for n in BANDWIDTH)), rows
    )
    return figures


def faster(rank: Machine, compute: float, bandwidth: float) -> Machine:
    """Return a machine of so many times a rank's compute, and of another bandwidth if more."""
    return rank._replace(
        flops=rank.flops * compute,
        bandwidth=max(rank.bandwidth, bandwidth),
        per_step=rank.per_step / compute,
        per_cell=rank.per_cell / compute,
        per_float=rank.per_float / compute,
    )


def check(job: Job, machine: Machine, measured: Sequence[Sequence[str]], spread: float) -> Any:
    """Print measured ranks beside the model."""
    figures = []
    for count, sent, seconds in ((int(r), float(b), float(s)) for r, b, s in measured):
        each = [sums(floats, count) for floats in job.summed]
        figures.append(
            {
                "ranks": count,
                "measured": sent,
                "summed": 4 * sum(job.summed),
                **{name: sum(one[name][1] for one in each) for name in each[0]},
                "seconds": seconds,
                "modelled": replay(job, machine, drawn(job, count, spread)).whole,
            }
        )
    print_table(
        (
            *("ranks", "bytes a batch, measured", "summed, by the model", "sent by a ring"),
            *("by doubling", "seconds an epoch, measured", "by the model"),
        ),
        [
            (
                row["ranks"],
                *(f"{row[name]:,.0f}" for name in ("measured", "summed", "ring", "doubling")),
                *(f"{row[name]:.3g}" for name in ("seconds", "modelled")),
            )
            for row in figures
        ],
    )
    return figures


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument(
        *("--given",),
        type=float,
        nargs=5,
        metavar=("GFLOP/S", "GB/S", "NS_A_STEP", "NS_A_CELL", "NS_A_FLOAT"),
        help="a rank's rates, instead of measuring them",
    )
    p.add_argument("--network", type=float, default=25.0, help="Gb/s of a machine (25)")
    p.add_argument("--latency", type=float, default=20.0, help="microseconds a message (20)")
    p.add_argument(
        "--times",
        type=float,
        default=22.4,
        help="a machine of 64 cores' compute, times two's (22.4)",
    )
    p.add_argument(
        "--bandwidth",
        type=float,
        default=300.0,
        help="and its memory's GB/s (300)",
    )
    p.add_argument("--spread", type=float, default=0.05, help="of a rank's cells in a batch (.05)")
    for name in ("users", "items", "ratings"):
        p.add_argument(f"--{name}", type=float, help="of a set of one's own, rows are items")
    p.add_argument("--units", type=int, default=500)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument(
        "--check",
        nargs=3,
        action="append",
        metavar=("RANKS", "BYTES_A_BATCH", "SECONDS"),
        help="measured ranks, to be compared with the model",
    )
    args = p.parse_args()
    figures: dict[str, Any] = {"arguments": vars(args)}
    if args.given:
        flops, bandwidth, *seconds = args.given
        rank = Machine(flops * 1e9, bandwidth * 1e9, *(s / 1e9 for s in seconds), np.inf, 0.0)
    else:
        rank, figures["runs"] = measure(args.threads)
        print("One rank, measured, and by the model with the rates that explain all best:")
        print_table(
            ("seconds an epoch", "by the model", "ratio"),
            [
                (f"{r['whole']:.3f}", f"{r['model']:.3f}", f"{r['model'] / r['whole']:.2f}")
                for r in figures["runs"]
            ],
        )
    rank = rank._replace(network=args.network / 8 * 1e9, latency=args.latency / 1e6)
    print(f"{args.threads} threads: {rank}")
    figures["rank"] = rank
    large = faster(rank, args.times, args.bandwidth * 1e9)
    if args.users:
        job = Job(args.items, args.users, args.ratings, args.units, args.batch)
        if args.check:
            figures["check"] = check(job, rank, args.check, args.spread)
        else:
            figures["own"] = table("a set of one's own", job, rank, RANKS, args.spread)
    else:
        figures["one machine"] = one_machine(rank, args.threads)
        billion, ten = 1e9, 1e7
        for name, job, machine, ranks in (
            ("ml-1m", Job(3_706, 6_040, 1_000_209, 500, 128), rank, RANKS[:4]),
            ("Netflix's shape", Job(17_770, 480_189, 100_480_507, 500, 278), rank, RANKS[:5]),
            ("a billion users, rows are items", Job(ten, billion, 1e11, 64, 16_384), large, RANKS),
            ("the same", Job(ten, billion, 1e11, 64, 2_048), large, RANKS[-3:]),
            ("the same, rows are users", Job(billion, ten, 1e11, 64, 262_144), large, RANKS),
        ):
            figures[name] = table(name, job, machine, ranks, args.spread)
    write_results("simulate_ranks", figures)


if __name__ == "__main__":
    main()
