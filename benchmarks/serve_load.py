"""Does `isthmus serve` answer a thousand at once, all of them, in memory that does not grow?

    python -m benchmarks.serve_load

Needs the extra `serve`. The server is a process of its own, and so is this client, which holds its
connections open: each sends a request, waits for the answer, and sends the next. Histories are of 1
to 20 items drawn at random. Two limits are beside: /healthz, which computes nothing, is what
Starlette and uvicorn can do, and the model alone is called in a loop, without a server. Half-way
through the longest run the model file is replaced by another.
"""

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.common import load, parser, print_table, write_results
from isthmus import AutoRec, Ratings

AT_ONCE = 1_000


class Server:
    """The program in a process of its own."""

    def __init__(self, model: Path, log: Path, threads: int) -> None:
        arguments = [model, "--port", "0", "--num-threads", str(threads)]
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "isthmus", "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._log = log
        assert self._process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self._process.stdout.readline())
        assert found is not None, log.read_text()
        self.port = int(found[1])

    def memory(self) -> float:
        """Resident memory, in MiB."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) / 1024

    def reloads(self) -> int:
        """How often the model file was read again."""
        return len(re.findall(r"read .* again", self._log.read_text()))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def server(model: Path, threads: int) -> Iterator[Server]:
    """Serve a model file while the body runs."""
    running = Server(model, model.with_suffix(".log"), threads)
    try:
        yield running
    finally:
        running.stop()


class Requests:
    """Requests of one kind, each other than the one before."""

    def __init__(self, path: str, n_items: int) -> None:
        self._path = path
        self._n_items = n_items
        self._rng = np.random.default_rng(0)

    def __next__(self) -> bytes:
        if self._path == "/healthz":
            return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        size = int(self._rng.integers(1, 21))
        items = self._rng.choice(self._n_items, size, replace=False).tolist()
        history = [{"item": item, "rating": 1 + item % 5} for item in items]
        more = {"item": 0} if self._path == "/api/explain" else {}
        body = json.dumps({"history": history, **more}).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answered(reader: asyncio.StreamReader) -> bool:
    """Read an answer; return whether it is one that a request hoped for."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found is not None
    json.loads(await reader.readexactly(int(found[1])))
    return head.startswith(b"HTTP/1.1 200 ")


async def ask(port: int, requests: Requests, at_once: int, total: int) -> dict[str, Any]:
    """Send requests over so many connections; return latencies and how many were lost."""
    seconds: list[float] = []
    left = iter(range(total))
    ready = asyncio.Barrier(at_once)

    async def one() -> None:
        async with connection(port) as (reader, writer):
            await ready.wait()
            for _ in left:
                request = next(requests)
                start = time.perf_counter()
                writer.write(request)
                if await answered(reader):
                    seconds.append(time.perf_counter() - start)

    start = time.perf_counter()
    ends = await asyncio.gather(*(one() for _ in range(at_once)), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            print(f"a connection ended: {end!r}", file=sys.stderr)
    elapsed = time.perf_counter() - start
    return {
        "at_once": at_once,
        "requests": total,
        "lost": total - len(seconds),
        "per_second": len(seconds) / elapsed,
        **quantiles(seconds),
    }


def train(ratings: Ratings, path: Path, seed: int) -> None:
    """Write a model; how good it is does not matter here."""
    AutoRec(epochs=2, random_state=seed).fit(ratings).save(path)


async def replace_when_half(
    served: Server, model: Path, other: Path, requests: "Counted", total: int
) -> None:
    """Replace the model file once half of the requests were sent, and wait for the reload."""
    while requests.sent < total / 2:
        await asyncio.sleep(0.05)
    before = served.reloads()
    os.replace(other, model)
    while served.reloads() == before:
        await asyncio.sleep(0.05)


def alone(model: Path, n_items: int, calls: int = 1_000) -> dict[str, Any]:
    """Ask the model itself, one call after another in this process, by one thread."""
    recommender = AutoRec.load(model).set_params(num_threads=1)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(calls + 1):
        items = np.sort(rng.choice(n_items, int(rng.integers(1, 21)), replace=False))
        ends = np.array([0, len(items)])
        row = sparse.csr_array((1.0 + items % 5, items, ends), shape=(1, n_items))
        start = time.perf_counter()
        recommender.recommend(ratings=row)
        seconds.append(time.perf_counter() - start)
    del seconds[0]  # which computes what the others keep
    return {
        "path": "the model alone",
        "at_once": 1,
        "requests": calls,
        "lost": 0,
        "per_second": calls / sum(seconds),
        **quantiles(seconds),
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Latencies, in milliseconds."""
    found = np.quantile(seconds, (0.5, 0.95, 0.99, 1)) * 1e3
    return dict(zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), found.tolist(), strict=True))


class Counted(Requests):
    """Requests that are counted, with the server's memory at every tenth of them."""

    def __init__(self, path: str, n_items: int, served: Server, total: int) -> None:
        super().__init__(path, n_items)
        self.sent = 0
        self.memory: list[float] = []
        self._served, self._step = served, total // 10

    def __next__(self) -> bytes:
        if self.sent % self._step == 0:
            self.memory.append(self._served.memory())
        self.sent += 1
        return super().__next__()


async def measure(served: Server, model: Path, other: Path, n_items: int, total: int) -> Any:
    """Measure all that the table has."""
    rows = []
    for path in ("/healthz", "/api/recommend", "/api/explain"):
        for at_once, requests in ((1, 300), (16, 2_000), (AT_ONCE, 2_000)):
            found = await ask(served.port, Requests(path, n_items), at_once, requests)
            rows.append({"path": path, **found})
    counted = Counted("/api/recommend", n_items, served, total)
    reload = asyncio.create_task(replace_when_half(served, model, other, counted, total))
    found = await ask(served.port, counted, AT_ONCE, total)
    await reload
    rows.append({"path": "/api/recommend, model replaced", **found})
    return rows, counted.memory


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--data", default="ml-1m")
    p.add_argument("--requests", type=int, default=20_000, help="of the longest run")
    args = p.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a thousand connections are files
    ratings, _ = load(args.data)
    with tempfile.TemporaryDirectory() as folder:
        model, other = Path(folder, "m.safetensors"), Path(folder, "other.safetensors")
        train(ratings, model, 0)
        train(ratings, other, 1)
        rows = [alone(model, ratings.n_items)]
        with server(model, args.threads) as served:
            measured = measure(served, model, other, ratings.n_items, args.requests)
            found, memory = asyncio.run(measured)
            rows += found
            reloads = served.reloads()
    header = ["request", "at once", "requests", "lost", "a second", "p50", "p95", "p99", "max, ms"]
    cells = [
        [
            *(row["path"], row["at_once"], f"{row['requests']:,}", row["lost"]),
            f"{row['per_second']:,.0f}",
            *(f"{row[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
        ]
        for row in rows
    ]
    print_table(header, cells)
    print(
        f"memory at every tenth of the longest run: {', '.join(f'{m:.0f}' for m in memory)} MiB; "
        f"model read again: {reloads}"
    )
    write_results("serve_load", {"rows": rows, "memory_mib": memory, "reloads": reloads})


if __name__ == "__main__":
    main()
