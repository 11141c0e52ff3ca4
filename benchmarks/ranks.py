"""Models on several ranks of this machine beside one process: errors, weights, bytes and seconds.

    python -m benchmarks.ranks --data ml-1m --ranks 1 2 3 4 --slices 12
    python -m benchmarks.ranks --netflix 100480507 --ranks 2 --epochs 2
    python -m benchmarks.ranks --model mult-vae --data gowalla --ranks 1 2 3 4 --slices 12

Each rank has one thread, and is started by mpiexec (or, with --engine torch, by torchrun). The
bytes are those that a rank sends for a batch, by what it hands to its engine: an allreduce is taken
for a ring's. Beside them is what follows from the shapes. Memory is the most that a process had in
pages that no file backs (RssAnon, looked at 100 times a second), and what of it Python and the
libraries had taken before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from benchmarks.common import load, parser, print_table, write_results
from isthmus import AutoRec, MultVAE, read_ratings, shard, train_test_split, write_ratings
from isthmus.data.shards import Shards
from isthmus.distributed import MPICommunicator, TorchCommunicator

LINE = 16
"""Floats of a cache line, of which the core's rows have an odd number."""

MODELS: dict[str, Any] = {"autorec": AutoRec, "mult-vae": MultVAE}
COLUMNS: dict[str, Any] = {"autorec": "user", "mult-vae": "item"}
METRICS = {"autorec": "rmse", "mult-vae": "ndcg@10"}
DEFAULTS = {
    "autorec": {"units": 500, "epochs": 15, "batch_size": 128},
    "mult-vae": {"units": 600, "epochs": 5, "batch_size": 500},
}
LATENT = 200
TENSORS = ("encoder.weights", "encoder.bias", "decoder.weights", "decoder.bias", "codes")


class Counted:
    """A communicator that counts what is summed while it trains."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank, self.size = comm.rank, comm.size
        self.sent = self.seconds = 0.0
        self.last = 0.0, 0.0

    def allreduce(self, array: NDArray[Any]) -> None:
        """Add an array up, and count what a ring sends for it: each rank twice all but its part."""
        start = perf_counter()
        self._comm.allreduce(array)
        self._count(array, 2 * array.nbytes * (self.size - 1) / self.size, start)

    def alltoall(self, array: NDArray[Any]) -> NDArray[Any]:
        """Exchange, and count what is sent."""
        start = perf_counter()
        received: NDArray[Any] = self._comm.alltoall(array)
        self._count(array, array.nbytes * (self.size - 1) / self.size, start)
        return received

    def _count(self, array: NDArray[Any], sent: float, start: float) -> None:
        if array.dtype == np.float32:  # the core's blocks; statistics are in float64
            self.sent += sent
            self.seconds += perf_counter() - start

    def restart(self, epoch: Any) -> None:
        """Note what an epoch came to, and count anew."""
        self.last = self.sent, self.seconds
        self.sent = self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._comm, name)


def stride(units: int) -> int:
    """Floats from one of the core's rows to the next."""
    return (-(-units // LINE) | 1) * LINE


def modelled(model: str, rows: int, units: int, size: int, slices: int | None) -> float:
    """Bytes that a rank sends in a batch of so many rows."""
    if model == "autorec":
        blocks = [(rows, units), (rows + 1, units)]
    else:
        blocks = [(rows, units), (rows, LATENT)]
    sent = 0.0
    if slices is None:
        sent = sum(reduced(stride(width) * n, size) for n, width in blocks)
    else:
        for n, width in blocks:
            share = -(-n // size) * -(-width // LINE) * LINE
            sent += 4 * (size - 1) * share * (slices // size + 1)
    if model == "mult-vae" and (slices or size) > 1:
        sent += reduced(stride(3 * (slices or size)) * rows, size)
    return sent


def reduced(floats: int, size: int) -> float:
    """Bytes that a rank sends in a ring's allreduce."""
    return 4 * 2 * (size - 1) / size * floats


class Memory:
    """What memory this process has, from now on."""

    def __init__(self) -> None:
        self.first = self.most = self._now()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, self._now())
            sleep(0.01)

    @staticmethod
    def _now() -> float:
        """Return GiB in pages that no file backs."""
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) / 2**20


def work(config: dict[str, Any]) -> None:
    """Train as one rank, or as the only process, and say what it took."""
    comm: Any = None
    if config["engine"] != "none":
        comm = Counted(MPICommunicator() if config["engine"] == "mpi" else TorchCommunicator())
    model = MODELS[config["model"]](**config["parameters"])
    memory = Memory()
    start = perf_counter()
    marks: list[float] = []

    def mark(epoch: Any) -> None:
        marks.append(process_time())

    if comm is None:
        model.fit(read_ratings(config["shards"]), callbacks=[mark])
        whole: Any = model
        told = [(memory.first, memory.most, marks[-1] - marks[-2])]
    else:
        shards, callbacks = Shards(config["shards"]), [comm.restart, mark]
        model.fit(shards, comm=comm, slices=config["slices"], callbacks=callbacks)
        own = memory.first, memory.most, marks[-1] - marks[-2]
        whole = model.gather(comm) if config["gather"] else None
        told = comm.gather(own)
        if comm.rank > 0:
            return
    figures = {"whole": perf_counter() - start, "epoch": model.history_[-1].seconds}
    figures["loss"] = model.history_[-1].loss
    figures["memory"] = max(most for _, most, _ in told)
    figures["before"] = max(first for first, _, _ in told)
    figures["processor"] = sum(seconds for _, _, seconds in told)
    if comm is not None:
        figures |= {"bytes": comm.last[0], "waited": comm.last[1]}
    if config["gather"]:
        whole.save(config["output"])
    print(json.dumps(figures), flush=True)


def run(size: int, config: dict[str, Any]) -> dict[str, Any]:
    """Start the ranks, or with no engine one process."""
    command = [sys.executable, "-m", "benchmarks.ranks", "--worker", json.dumps(config)]
    if config["engine"] == "mpi":
        command = ["mpiexec", "-n", str(size), *command]
    elif config["engine"] == "torch":
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
        command = [sys.executable, *torchrun, *command[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    figures: dict[str, Any] = json.loads(found[-1])
    return figures


def differences(a: Any, b: Any) -> tuple[float, float]:
    """Return the median and the root of the mean square of what weights differ by.

    Both are beside the root mean square of their kind, and of the kind that differs most.
    """
    median, root = 0.0, 0.0
    for name in TENSORS:
        x, y = a[f"model.{name}"], b[f"model.{name}"]
        size = float(np.linalg.norm(y) / np.sqrt(y.size))
        median = max(median, float(np.median(np.abs(x - y))) / size)
        root = max(root, float(np.linalg.norm(x - y) / np.sqrt(y.size)) / size)
    return median, root


def prepare(args: argparse.Namespace, folder: Path) -> Any:
    """Write shards of the training ratings; return the test ratings, if there are any."""
    if args.netflix and (folder / "shards").exists():
        return None
    if args.netflix:
        from benchmarks.shard_netflix import write

        (folder / "ratings").mkdir(parents=True)
        write(str(folder / "ratings"), args.netflix)
        shard(sorted((folder / "ratings").iterdir()), folder / "shards", buckets=args.buckets)
        return None
    ratings, _ = load(args.data)
    by: Any = "rating" if args.model == "autorec" else "user"
    train, test = train_test_split(ratings, test_size=0.1, random_state=0, by=by)
    write_ratings(train, folder / "r.parquet")
    axis = COLUMNS[args.model]
    shard(folder / "r.parquet", folder / "shards", buckets=args.buckets, axis=axis)
    # shards have no items without ratings
    return test.select(np.isin(test.indices, np.unique(train.indices)))


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--worker", help=argparse.SUPPRESS)
    p.add_argument("--model", choices=list(MODELS), default="autorec")
    p.add_argument("--data", default="ml-1m")
    p.add_argument("--netflix", type=int, help="ratings of Netflix's shape, made up")
    p.add_argument("--folder", type=Path, help="to keep the shards in, or with them")
    p.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 3, 4])
    p.add_argument("--alone", type=int, nargs="*", default=[1, 2], help="threads of one process")
    p.add_argument("--slices", type=int, help="train with so many fixed slices as well")
    p.add_argument("--engine", choices=("mpi", "torch"), default="mpi")
    p.add_argument("--buckets", type=int, default=24)
    p.add_argument("--epochs", type=int, help="at least 2")
    p.add_argument("--units", type=int)
    p.add_argument("--precision", default="float32")
    p.add_argument("--batch-size", type=int)
    args = p.parse_args()
    for name, value in DEFAULTS[args.model].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.worker:
        work(json.loads(args.worker))
        return
    if args.folder is not None:
        compare(args, args.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(args, Path(folder))


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Train on one process and on ranks, and print what each gave."""
    test = prepare(args, folder)
    parameters = {
        "hidden_units": (args.units,),
        "epochs": args.epochs,
        "precision": args.precision,
        "batch_size": args.batch_size,
        "random_state": 0,
        "num_threads": 1,
    }
    if args.model == "mult-vae":
        parameters["latent_units"] = LATENT
    config = {
        "model": args.model,
        "shards": str(folder / "shards"),
        "output": str(folder / "m"),
        "slices": None,
    }
    config |= {"parameters": parameters, "engine": "none", "gather": test is not None}
    jobs: list[tuple[str, int, dict[str, Any]]] = []
    for threads in args.alone:
        alone = {**parameters, "num_threads": threads}
        jobs.append((f"1 process, {threads} threads", 1, {**config, "parameters": alone}))
    for slices in (None, args.slices) if args.slices else (None,):
        for size in args.ranks:
            name = f"{size} ranks" + (f", {slices} slices" if slices else "")
            jobs.append((name, size, {**config, "engine": args.engine, "slices": slices}))
    n_rows = Shards(config["shards"]).shape[1 if COLUMNS[args.model] == "user" else 0]
    rows: list[tuple[str, ...]] = []
    results: dict[str, Any] = {}
    models: dict[Any, Any] = {}
    for name, size, one in jobs:
        figures = run(size, one)
        if test is None:
            figures["differs"] = 0.0, 0.0
        else:
            judge(figures, args.model, folder / "m", test, models, one["slices"])
        batch = "", ""
        if one["engine"] != "none":
            rows_of = [args.batch_size] * (n_rows // args.batch_size)
            rows_of += [n_rows % args.batch_size] if n_rows % args.batch_size else []
            sent = [modelled(args.model, n, args.units, size, one["slices"]) for n in rows_of]
            figures["bytes"] /= len(rows_of)
            figures["modelled"] = sum(sent) / len(rows_of)
            batch = f"{figures['bytes'] / 1e3:,.1f}", f"{figures['modelled'] / 1e3:,.1f}"
        results[name] = figures
        rows.append(
            (
                name,
                f"{figures['metric']:.4f}" if test is not None else f"{figures['loss']:.5f}",
                " / ".join(f"{by:.0e}" for by in figures["differs"])
                if figures["differs"][1]
                else "0",
                "" if "sliced" not in figures else "other" if any(figures["sliced"]) else "same",
                f"{figures['epoch']:.3f}",
                f"{figures['processor']:.3f}",
                f"{figures['memory']:.2f}",
                f"{figures['before']:.2f}",
                *batch,
                f"{figures['waited']:.3f}" if "waited" in figures else "",
            )
        )
        print(*rows[-1], sep=" | ", flush=True)
    print_table(TITLES, rows)
    arguments = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    write_results("ranks", {"arguments": arguments, "figures": results})


def judge(
    figures: dict[str, Any], model: str, path: Path, test: Any, models: dict[Any, Any], slices: Any
) -> None:
    """Measure a model, and what it differs by from the first, and from the first sliced."""
    metric, tensors = METRICS[model], load_file(path)
    figures["metric"] = MODELS[model].load(path).evaluate(test, metric)[metric]
    figures["differs"] = differences(tensors, models.setdefault(None, tensors))
    if slices:
        figures["sliced"] = differences(tensors, models.setdefault(slices, tensors))


TITLES = (
    *("", "RMSE, NDCG@10 (or loss)", "weights differ by", "bits", "s an epoch"),
    *("of all processors", "GiB a rank", "before"),
    *("kB a batch", "modelled", "s in sums"),
)


if __name__ == "__main__":
    main()
