"""Workers and their watchdogs: what is drawn is checked in processes that may crash or hang."""

import faulthandler
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from .codec import dumps

TIME_LIMIT = 10.0
"""Seconds for an input."""
MEMORY_LIMIT = 2**30
"""Bytes by which resident memory may grow for an input."""
BATCH = 100
"""Inputs that a worker is given at a time."""
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
"""Whether the address sanitizer is at work, which takes time and memory of its own."""
SHARES = {"csv": 15, "lines": 7, "items": 4, "npz": 13, "parquet": 9, "model": 22, "shards": 4}
SHARES["train"] = 26
"""Inputs of each kind, of 100."""
KEPT = 3
"""Failures of one kind that are saved."""


class Outcome(NamedTuple):
    """What became of an input; `failure` tells failures apart, and `report` is for people."""

    kind: str
    label: str
    failure: str | None = None
    report: str = ""
    input: object = None


# In a worker


def _work(connection, folder, module):
    """Check inputs until there are none: those that come as numbers are drawn here."""
    # imported here, since the parent never loads what may crash
    kinds, draw = (
        import_module(module, __package__).KINDS,
        import_module(".kinds", __package__).draw,
    )
    _prepare(folder)
    in_flight = folder / "in-flight"
    connection.send(True)
    while (task := connection.recv()) is not None:
        kind, seed, numbers, given = task
        for number in numbers:
            try:
                drawn = draw(kinds, kind, seed, number) if given is None else given
            except Exception:
                report = f"{kind} {number} of seed {seed}:\n{traceback.format_exc()}"
                connection.send(Outcome(kind, "FAILED: drawing", "drawing", report, number))
                continue
            in_flight.write_bytes(pickle.dumps(drawn))
            connection.send(_outcome(kind, kinds[kind].check, drawn, folder))


def _prepare(folder):
    import pyarrow

    os.chdir(folder)
    warnings.simplefilter("error")
    pyarrow.set_cpu_count(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    crash = os.open(folder / "crash", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(crash, 2)  # for what ends the process to say why
    faulthandler.enable(crash)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not SANITIZED:
        limit = _status("VmSize") + 4 * MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def _outcome(kind, check, given, folder):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM starts anew
    before = _status("VmHWM")
    try:
        label = check(given, folder)
    except Exception as error:
        name = f"{type(error).__name__} {_place(error)}"
        report = "".join(traceback.format_exception(error, limit=-6))
        return Outcome(kind, f"FAILED: {type(error).__name__}", name, report, given)
    grown = _status("VmHWM") - before
    if grown > MEMORY_LIMIT and not SANITIZED:
        report = f"resident memory grew by {grown / 2**30:.1f} GiB ({label})"
        return Outcome(kind, "FAILED: memory", "memory", report, given)
    return Outcome(kind, label)


def _place(error):
    """Name the innermost function of isthmus that an exception came through, or the promise."""
    if isinstance(error, AssertionError) and error.args:
        cause = f" at {_innermost(error.__cause__)}" if error.__cause__ else ""
        return str(error).split(":")[0][:80] + cause
    return f"at {_innermost(error)}"


def _innermost(error):
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "isthmus" in Path(frame.filename).parts] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].name}"


# In the parent


class Worker:
    """A process, what it was given, and since when."""

    def __init__(self, kinds=".kinds"):
        self.kinds = kinds
        self.folder = Path(mkdtemp(prefix="isthmus-fuzz-", dir=_memory_folder()))
        self.numbers = []
        self.start()

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(theirs, self.folder, self.kinds), daemon=True
        )
        waits, os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY"), "passive"
        try:
            self.process.start()
        finally:
            if waits is None:
                del os.environ["OMP_WAIT_POLICY"]
        theirs.close()
        self.ready = False

    def give(self, kind, seed, numbers, given=None):
        if not self.ready:
            self.connection.recv()  # an EOFError here is of a worker that says why on stderr
            self.ready = True
        self.kind, self.seed, self.numbers = kind, seed, list(numbers)
        self.since = time.monotonic()
        self.connection.send((kind, seed, self.numbers, given))

    def take(self):
        """Take the outcome of the input in flight; that of a worker that died is a failure."""
        try:
            outcome = self.connection.recv()
        except (EOFError, OSError):
            return self.bury()
        self.numbers.pop(0)
        self.since = time.monotonic()
        return outcome

    def is_late(self):
        return time.monotonic() - self.since > TIME_LIMIT * (10 if SANITIZED else 1)

    def bury(self, late=False):
        """Return the failure that ended the process, or that it is ended for, and start another."""
        if late:
            os.kill(self.process.pid, signal.SIGABRT)  # faulthandler says where it hangs
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        why = "hang" if late else died
        crash = (self.folder / "crash").read_text(errors="replace")
        given = pickle.loads((self.folder / "in-flight").read_bytes())
        kind, self.numbers = self.kind, self.numbers[1:]
        self.connection.close()
        rest = self.numbers
        self.start()
        if rest:
            self.give(kind, self.seed, rest)
        return Outcome(kind, f"FAILED: {why}", f"{why} {_crashed_at(crash)}", crash[:4000], given)

    def stop(self):
        with suppress(OSError):
            self.connection.send(None)
        if self.numbers:
            self.process.kill()
        self.process.join()
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _crashed_at(crash):
    """Name the innermost function of isthmus that faulthandler saw, or what a sanitizer says."""
    lines = [line.strip() for line in crash.splitlines()]
    if summary := next((line for line in lines if line.startswith("SUMMARY: ")), None):
        return summary.removeprefix("SUMMARY: ")
    frames = [line for line in lines if line.startswith("File ")]
    if not frames:
        return ""
    frame = next((line for line in frames if "/isthmus/" in line), frames[0])
    _, path, place = frame.split('"')
    return f"at {Path(path).name}:{place.split(' in ')[-1]}"


def _memory_folder():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def schedule(seed, shares, inputs):
    """Yield batches (kind, seed, numbers) in which kinds come by their shares, without an end."""
    done = dict.fromkeys(shares, 0)
    total = sum(shares.values())
    left = inputs
    while left is None or left > 0:
        kind = min(done, key=lambda name: (done[name] + BATCH) / shares[name])
        size = BATCH if inputs is None else max(1, min(BATCH, left, inputs * shares[kind] // total))
        yield kind, seed, range(done[kind], done[kind] + size)
        done[kind] += size
        left = None if left is None else left - size


def campaign(tasks, *, kinds=".kinds", minutes=None, workers=1, failures=None, report=None):
    """Check inputs, given as (kind, seed, numbers), until there are no more or time is up.

    Give the counts by kind and outcome, and the failures by what tells them apart, each with how
    often it occurred and the files that the first of them were saved to.
    """
    counts, found = Counter(), {}
    end = None if minutes is None else time.monotonic() + 60 * minutes
    tasks = iter(tasks)
    crew = [Worker(kinds) for _ in range(workers)]
    busy = []
    try:
        for worker in crew:
            if task := next(tasks, None):
                worker.give(*task)
                busy.append(worker)
        while busy:
            ready = set(wait([worker.connection for worker in busy], timeout=1))
            for worker in list(busy):
                number, folder_seed = worker.numbers[0], worker.seed
                if worker.connection in ready:
                    outcome = worker.take()
                elif worker.is_late():
                    outcome = worker.bury(late=True)
                else:
                    continue
                counts[outcome.kind, outcome.label] += 1
                if outcome.failure:
                    _keep(outcome, found, failures, folder_seed, number)
                if worker.numbers:
                    continue
                busy.remove(worker)
                over = end is not None and time.monotonic() > end
                if not over and (task := next(tasks, None)):
                    worker.give(*task)
                    busy.append(worker)
            if report:
                report(counts, found)
    finally:
        for worker in crew:
            worker.stop()
    return counts, found


def _keep(outcome, found, folder, seed, number):
    key = f"{outcome.kind}: {outcome.failure}"
    entry = found.setdefault(key, {"count": 0, "files": [], "report": outcome.report})
    entry["count"] += 1
    if folder is None or entry["count"] > KEPT:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.kind}-{seed}-{number}.json"
    path.write_text(
        dumps(
            {
                "kind": outcome.kind,
                "drawn": {"seed": seed, "number": number},
                "failure": outcome.failure,
                "replay": f"python -m tests.fuzz --replay {path}",
                "input": outcome.input,
            }
        )
    )
    entry["files"].append(str(path))


def replay(cases):
    """Check saved inputs, each a case as `_keep` writes it, and yield their outcomes."""
    worker = Worker()
    try:
        for case in cases:
            worker.give(case["kind"], 0, [0], case["input"])
            while not worker.connection.poll(0.1) and not worker.is_late():
                pass
            late = worker.is_late() and not worker.connection.poll()
            yield worker.bury(late=True) if late else worker.take()
    finally:
        worker.stop()


def default_workers():
    """Return as many workers as there are CPUs for this process."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
