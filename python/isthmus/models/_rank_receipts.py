"""Receipts of models that ranks train: the same as those of one machine, and what ranks add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import blocks
from isthmus.data._csr import column_counts
from isthmus.data._fingerprint import fingerprint, fingerprint_of_cells
from isthmus.data._pieces import Piece, merged
from isthmus.data.ratings import Ratings
from isthmus.models._parts import Share
from isthmus.models._receipts import Receipt, fingerprint_of, started

__all__ = ["shared_fingerprint", "started_over_ranks"]

CELLS_AT_ONCE = 1 << 19
"""Brought to rank 0."""


def started_over_ranks(
    share: Share,
    ratings: Ratings,
    axis: str,
    validation: Ratings | None,
    *,
    seed: int,
    ranks: int,
    buckets: int | None,
) -> Callable[[], Receipt]:
    """Return what makes the receipt of a job, the same on all ranks, when it is over.

    `ratings` are a rank's, with all rows; `ranks` is the most that have trained the model.
    """
    comm = share.comm
    n = int(share.total_counts(np.array([ratings.nnz]))[0])
    so_far = started(
        data=shared_fingerprint(share, ratings, axis),
        users=share.n_columns if axis == "user" else ratings.n_users,
        items=share.n_columns if axis == "item" else ratings.n_items,
        ratings=n,
        validation=fingerprint_of(validation) if comm.rank == 0 else None,
        seed=seed,
    )

    def finish() -> Receipt:
        told: list[Receipt] = comm.allgather(so_far())
        return replace(
            told[0],
            steps=("fit",),
            processor_seconds=round(sum(receipt.processor_seconds for receipt in told), 6),
            ranks=ranks,
            slices=share.slices * comm.size if share.fixed else None,
            buckets=buckets,
        )

    return finish


def shared_fingerprint(share: Share, ratings: Ratings, axis: str) -> str:
    """Return the fingerprint of all ranks' ratings together, which rank 0 computes.

    It sees them all, in the order of sorted ids, half a million at a time.
    """
    comm = share.comm
    if comm.size == 1:
        return fingerprint(ratings)
    every = _Every(share, ratings, axis)
    found = None
    if comm.rank == 0:
        found = fingerprint_of_cells(
            every.user_ids, every.item_ids, every.indptr, every.item_counts, every.cells()
        )
    else:
        for _ in every.cells():
            pass
    return str(comm.allgather(found)[0])


class _Every:
    """All ranks' ratings by users, on rank 0; the others send theirs."""

    def __init__(self, share: Share, ratings: Ratings, axis: str) -> None:
        self._share, self._ratings, self._by_user = share, ratings, axis == "user"
        counts = [np.diff(ratings.indptr), column_counts(ratings.indices, ratings.n_items)]
        ids = [ratings.user_ids, ratings.item_ids]
        own, other = (0, 1) if self._by_user else (1, 0)
        counts[other] = share.total_counts(counts[other])
        self._nnz = int(counts[other].sum())
        told = share.comm.gather((share.numbers, ids[own], counts[own]))
        if told is not None:
            order = np.argsort(np.concatenate([numbers for numbers, _, _ in told]))
            ids[own] = np.concatenate([theirs for _, theirs, _ in told])[order]
            counts[own] = np.concatenate([theirs for _, _, theirs in told])[order]
        self.user_ids, self.item_ids = ids
        self.item_counts = counts[1]
        self.indptr = np.concatenate(([0], np.cumsum(counts[0])))

    def cells(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Gather items and values of all users, in blocks; nothing comes on the other ranks."""
        comm = self._share.comm
        for block in blocks(self._nnz):
            n = block.stop - block.start
            items, values = np.empty(n, np.int32), np.empty(n, np.float32)
            for some in blocks(n, CELLS_AT_ONCE):
                found = self._gather(block.start + some.start, block.start + some.stop)
                if found is not None:
                    items[some], values[some] = found
            if comm.rank == 0:
                yield items, values

    def _gather(
        self, first: int, last: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
        """Gather the items and values of some cells."""
        comm = self._share.comm
        begin = int(np.searchsorted(self.indptr, first, side="right")) - 1
        end = int(np.searchsorted(self.indptr, last))
        begin, end = comm.allgather((begin, end))[0]  # which rank 0 alone knows
        pieces = comm.gather(self._piece(begin, end))
        if pieces is None:
            return None
        lines = merged(pieces, len(self.item_ids), end - begin)
        own = slice(first - int(self.indptr[begin]), last - int(self.indptr[begin]))
        return lines.indices[own], lines.values[own]

    def _piece(self, begin: int, end: int) -> Piece:
        """Return this rank's ratings of some users."""
        ratings, numbers = self._ratings, self._share.numbers
        first, last = np.searchsorted(numbers, (begin, end)) if self._by_user else (begin, end)
        ends = ratings.indptr[first : last + 1]
        cells = slice(int(ends[0]), int(ends[-1]))
        users: Any = numbers[first:last] if self._by_user else np.arange(begin, end)
        items = ratings.indices[cells]
        return Piece(
            (users - begin).astype(np.int32),
            np.diff(ends),
            items if self._by_user else numbers[items],
            ratings.values[cells],
        )
