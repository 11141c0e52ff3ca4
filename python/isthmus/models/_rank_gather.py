"""From the columns of all ranks to a whole model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.data._csr import CSR, transpose, with_ones
from isthmus.data._ids import IdIndex
from isthmus.distributed import Communicator, aborting, agreed
from isthmus.models._rank_learner import BY_COLUMN

__all__ = ["Sender", "gather"]

ROWS_AT_ONCE = 1 << 16
"""Sent to rank 0 by each of the others."""


def gather(model: Any, comm: Communicator) -> Any:
    """Make a whole model of all ranks' columns, on rank 0."""
    with agreed(comm):
        model._check_fitted()
    if comm.size == 1:
        return model
    with agreed(comm):
        if model._rank_columns is None:
            raise ValueError("gather must be called on a model that was fitted with this comm.")
    with aborting(comm):
        return _gather(model, comm)


def _gather(model: Any, comm: Communicator) -> Any:
    job, numbers = model._rank_job, model._rank_columns
    by_user = job.axis(model._structure) == "user"
    send = Sender.of(comm, numbers)
    weights = {
        name: send.columns(own, axis) if (axis := BY_COLUMN.get(name)) is not None else own
        for name, own in model._network.weights().items()
    }
    columns = {name: send.columns(own) for name, own in job.by_column(model).items()}
    ids = send.columns(model._users.ids if by_user else model._items.ids)
    seen = model._seen
    seen = send.rows(seen) if by_user else send.cells(seen, num_threads=model._num_threads())
    comm.barrier()  # no rank leaves before all has arrived
    if comm.rank > 0:
        return None
    whole = type(model)(**model.get_params())
    whole.__dict__.update({k: v for k, v in model.__dict__.items() if not k.startswith("_known")})
    job.complete(whole, weights, columns)
    index = IdIndex(ids, "user" if by_user else "item")
    if by_user:
        whole._users = index
    else:
        whole._items = index
    whole._seen = seen._replace(values=np.empty(0, np.float32))
    whole._rank_columns = None
    return whole


class Sender:
    """Brings what ranks have of columns to rank 0, some at a time."""

    def __init__(
        self, comm: Communicator, numbers: NDArray[np.int32], total: int, most: int
    ) -> None:
        self._comm = comm
        self._numbers = numbers
        self._total = total
        self._slices = [slice(at, at + ROWS_AT_ONCE) for at in range(0, most, ROWS_AT_ONCE)]

    @classmethod
    def of(cls, comm: Communicator, numbers: NDArray[np.int32]) -> Sender:
        """Make it of the numbers of this rank's columns among all."""
        sizes = comm.allgather(len(numbers))
        return cls(comm, numbers, sum(sizes), max(sizes))

    def columns(self, array: NDArray[Any], axis: int = 0) -> Any:
        """Return all ranks' columns of a tensor, in order, on rank 0; elsewhere nothing."""
        dtype = np.result_type(*self._comm.allgather(array.dtype))
        own = np.moveaxis(array, axis, 0)
        whole = None
        if self._comm.rank == 0:
            whole = np.empty((self._total, *own.shape[1:]), dtype)
        for at in self._slices:
            pieces = self._comm.gather((self._numbers[at], np.ascontiguousarray(own[at])))
            for numbers, piece in pieces or ():
                whole[numbers] = piece  # type: ignore[index]
        return None if whole is None else np.moveaxis(whole, 0, axis)

    def cells(self, pattern: CSR, *, num_threads: int) -> CSR:
        """Return the pattern of all ranks' columns, by rows."""
        by_column = self.rows(transpose(with_ones(pattern), num_threads))
        return transpose(with_ones(by_column), num_threads)

    def rows(self, pattern: CSR) -> CSR:
        """Return the pattern of all ranks' columns, which are rows here."""
        counts = self.columns(np.diff(pattern.indptr))
        whole = pattern
        if counts is not None:
            indptr = np.concatenate(([0], np.cumsum(counts)))
            shape = (self._total, pattern.shape[1])
            whole = CSR(indptr, np.empty(indptr[-1], np.int32), np.empty(0, np.float32), shape)
        for at in self._slices:
            ends = pattern.indptr[: len(self._numbers) + 1][at.start : at.stop + 1]
            own = slice(ends[0], ends[-1]) if len(ends) else slice(0, 0)
            pieces = self._comm.gather((self._numbers[at], np.diff(ends), pattern.indices[own]))
            for numbers, lengths, indices in pieces or ():
                starts = whole.indptr[numbers] - (np.cumsum(lengths) - lengths)
                whole.indices[np.repeat(starts, lengths) + np.arange(len(indices))] = indices
        return whole
