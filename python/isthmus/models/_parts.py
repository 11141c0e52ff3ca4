"""A rank's part of ratings whose columns are split over ranks, and sums over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import blocks
from isthmus._util.random import mix_bits
from isthmus.data._csr import (
    CSR,
    RowTotals,
    column_counts,
    has_increasing_rows,
    row_numbers,
    row_sums,
    select_rows,
    transpose,
)
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data.ratings import Ratings
from isthmus.data.shards import Bucket, Shards
from isthmus.distributed import Communicator, agreed
from isthmus.evaluation.scores import Floats
from isthmus.models._autorec_learners import Counts
from isthmus.models._biases import (
    SWEEPS,
    USUAL,
    Biases,
    Dampings,
    as_kept,
    best_damping,
    cells_of,
    left_out_errors,
    without_one,
)

__all__ = ["Part", "Share", "held_out_cells", "placed", "read_part", "share_of"]

Doubles = NDArray[np.float64]

MOST_HASH = 2.0**64


@dataclass(frozen=True)
class Share:
    """Which columns a rank has, and how their sums are added up.

    Parameters
    ----------
    comm : Communicator
    numbers : ndarray of int32
        Of its columns among those of all ranks, increasing.
    n_columns : int
        Of all ranks.
    slice_of : ndarray of int32
        The slice of each of its columns, counted from 0 on this rank. Slices are the same whatever
        the number of ranks if they are `fixed`; otherwise a rank's columns are one.
    slices : int
        How many of them the rank has.
    fixed : bool
    """

    comm: Communicator
    numbers: NDArray[np.int32]
    n_columns: int
    slice_of: NDArray[np.int32]
    slices: int
    fixed: bool

    def total(self, parts: Doubles) -> Doubles:
        """Add up the sums of each of the rank's slices (slices x n), over all ranks' slices."""
        if not self.fixed:
            sums: Doubles = np.ascontiguousarray(parts.sum(axis=0))
            self.comm.allreduce(sums)
            return sums
        sums = np.empty((parts.shape[1], 1))
        self._add_in_order(sums, [part[:, np.newaxis] for part in parts])
        return sums[:, 0]

    def total_of_columns(self, values: Doubles) -> float:
        """Add up a value of every column."""
        parts = np.bincount(self.slice_of, values, self.slices).astype(np.float64)
        return float(self.total(parts[:, np.newaxis])[0])

    def total_counts(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add up counts over all ranks; they are exact in any order."""
        sums = counts.astype(np.float64)
        self.comm.allreduce(sums)
        return sums.astype(np.int64)

    def reduce(self, sums: Floats, parts: Sequence[Floats]) -> None:
        """Add up a block of the core's over all ranks; see its `Trainer.run_epoch`."""
        with np.errstate(all="ignore"):  # the core reports what is not finite
            if parts:
                self._add_in_order(sums, parts)
            else:
                self.comm.allreduce(sums)

    def _add_in_order(self, sums: NDArray[Any], parts: Sequence[NDArray[Any]]) -> None:
        """Fill `sums` with the sum of all ranks' parts, in the order of their slices.

        Slice s is the one number ``s // size`` of rank ``s % size``. Each rank adds up some of the
        rows, so that all together send no more than an allreduce does, if each has one slice.
        """
        size = self.comm.size
        rows, width = parts[0].shape
        share = -(-rows // size)
        sent = np.zeros((size, len(parts), share, width), sums.dtype)
        for rank in range(size):
            own = slice(rank * share, min((rank + 1) * share, rows))
            for at, part in enumerate(parts):
                taken = part[own]
                sent[rank, at, : len(taken)] = taken
        received = self.comm.alltoall(sent)
        total = received[0, 0]
        for at in range(len(parts)):
            for rank in range(size):
                if at or rank:
                    total += received[rank, at]
        everything = self.comm.alltoall(
            np.ascontiguousarray(np.broadcast_to(total, (size, share, width)))
        )
        sums[:, :width] = everything.reshape(size * share, width)[:rows]


@dataclass(frozen=True)
class Part:
    """A rank's columns of the ratings, with all their rows, and what all ranks' come to.

    Parameters
    ----------
    share : Share
    ratings : Ratings
        Of the rank's columns; the ids of the rows are those of all ranks, sorted.
    matrix, columns : CSR
        The ratings by rows and by columns of the model.
    orientation : {"item", "user"}
        Whose ratings are the rows.
    """

    share: Share
    ratings: Ratings
    matrix: CSR
    columns: CSR
    orientation: str
    totals: RowTotals
    counts: Counts
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, share: Share, ratings: Ratings, orientation: str, *, num_threads: int) -> Part:
        """Measure all ranks' ratings."""
        by_user = CSR(ratings.indptr, ratings.indices, ratings.values, ratings.shape)
        by_item = transpose(by_user, num_threads)
        matrix, columns = (by_item, by_user) if orientation == "item" else (by_user, by_item)
        n = matrix.shape[1]
        counts = share.total_counts(np.diff(matrix.indptr))
        sums = share.total(
            _core.sum_residuals(
                *(cells_of(matrix), 0.0, np.zeros(n), share.slice_of),
                slices=share.slices,
                num_threads=num_threads,
            )
        )
        filled = int(share.total_counts(np.array([np.count_nonzero(np.diff(columns.indptr))]))[0])
        cells = int(counts.sum())
        mean = share.total_of_columns(row_sums(columns)) / cells
        ends = share.comm.allgather((ratings.min, ratings.max))
        return cls(
            *(share, ratings, matrix, columns, orientation),
            RowTotals(counts, sums),
            Counts(cells, int(np.count_nonzero(counts)), filled),
            mean,
            min(low for low, _ in ends),
            max(high for _, high in ends),
        )

    def deviation(self) -> float:
        """Return the standard deviation of all ratings."""
        values = self.columns.values

        def squares(cells: slice, _: Any) -> Doubles:
            squared: Doubles = np.square(values[cells] - self.mean, dtype=np.float64)
            return squared

        total = self.share.total_of_columns(row_sums(self.columns, squares))
        return float(np.sqrt(total / self.counts.cells))

    def biases(self, times: tuple[float, float], *, num_threads: int) -> Biases:
        """Fit a mean, and biases of rows and columns, as `fit_biases` does on one machine."""
        rows, columns = self.matrix.shape
        biases = Biases(self.mean, np.zeros(rows), np.zeros(columns), USUAL)
        biases = self._swept(biases, num_threads)
        dampings = self._best_dampings(biases).times(times)
        biases = self._swept(biases._replace(dampings=dampings), num_threads)
        biases = biases._replace(column=as_kept(biases.column))
        return biases._replace(row=self._fitted_rows(biases, num_threads))

    def _swept(self, biases: Biases, num_threads: int) -> Biases:
        """Go on fitting biases."""
        share, by_column = self.share, cells_of(self.columns)
        filled_rows, filled_columns = self.totals.counts > 0, np.diff(self.columns.indptr) > 0
        for _ in range(SWEEPS):
            mean, rows, columns, dampings = biases
            average = float(np.sum(rows) / self.counts.rows)
            rows[filled_rows] -= average
            mean += average
            average = share.total_of_columns(columns) / self.counts.columns
            columns[filled_columns] -= average
            mean += average
            rows = self._fitted_rows(biases._replace(mean=mean), num_threads)
            columns = _core.fit_row_biases(
                by_column, mean, rows, damping=dampings.column, num_threads=num_threads
            )
            biases = Biases(mean, rows, columns, dampings)
        return biases

    def _fitted_rows(self, biases: Biases, num_threads: int) -> Doubles:
        """Return biases of rows, given the mean and those of columns."""
        share = self.share
        left = _core.sum_residuals(
            *(cells_of(self.matrix), biases.mean, biases.column, share.slice_of),
            slices=share.slices,
            num_threads=num_threads,
        )
        fitted: Doubles = share.total(left) / (self.totals.counts + biases.dampings.row)
        return fitted

    def _best_dampings(self, biases: Biases) -> Dampings:
        """Choose that of rows with the biases of columns held, and the other way round."""
        share, cells = self.share, self.counts.cells
        mean, rows, columns, dampings = biases
        counts = np.diff(self.columns.indptr)
        row_parts, column_moments = _core.sum_left_out(
            *(cells_of(self.matrix), mean, rows, columns),
            without_one(self.totals.counts, dampings.row),
            without_one(counts, dampings.column),
            share.slice_of,
            slices=share.slices,
        )
        row_moments = share.total(row_parts.reshape(share.slices, -1)).reshape(-1, 2)
        of_slices = [np.flatnonzero(share.slice_of == s) for s in range(share.slices)]
        errors = [left_out_errors(counts[at], column_moments[at]) for at in of_slices]
        return Dampings(
            best_damping(left_out_errors(self.totals.counts, row_moments), cells),
            best_damping(share.total(np.array(errors)), cells),
        )

    def filled_rows(self) -> NDArray[np.int32]:
        """Return the rows that have a rating on any rank."""
        return np.flatnonzero(self.totals.counts).astype(np.int32)

    def rounding(self) -> NDArray[np.int32]:
        """Return where one machine would keep each column, by which it would round its state."""
        share = self.share
        own = np.diff(self.columns.indptr)
        counts = np.zeros(share.n_columns, np.int64)
        for numbers, others in share.comm.allgather((share.numbers, own)):
            counts[numbers] = others
        return _core.column_order(counts)[share.numbers]


def held_out_cells(
    ratings: Ratings, share: Share, axis: str, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose ratings by a hash of seed, user and item, on any rank."""
    own = share.numbers.astype(np.uint64)
    mask = np.empty(ratings.nnz, np.bool_)
    users = row_numbers(ratings.indptr)
    for cells in blocks(ratings.nnz):
        user, item = users[cells].astype(np.uint64), ratings.indices[cells].astype(np.uint64)
        if axis == "user":
            user = own[user]
        else:
            item = own[item]
        mask[cells] = _hash(np.uint64(seed), user, item) < fraction * MOST_HASH
    return mask


def _hash(seed: np.uint64, user: NDArray[np.uint64], item: NDArray[np.uint64]) -> Doubles:
    """Mix 64 bits of each three (Steele, Lea, Flood, OOPSLA 2014), and return them as floats."""
    mixed = _mix(_mix(_mix(np.array([seed])) + user) + item)
    return mixed.astype(np.float64)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return mix_bits(z + np.uint64(0x9E3779B97F4A7C15))


# What a rank is given


@dataclass(frozen=True)
class Given:
    """A rank's ratings as given, and what the ranks must tell each other about them."""

    ratings: Ratings
    numbers: NDArray[np.int32] | None
    """Of the columns among those of all ranks, if they are known: those of shards are."""
    n_columns: int
    slice_of: NDArray[np.int64] | None
    """Of all slices, if their number is fixed, so that the ranks need not exchange it."""


def read_part(X: Any, comm: Communicator, axis: str, slices: int | None) -> Given:
    """Read a rank's ratings, and refuse invalid ones."""
    if slices is not None and slices % comm.size:
        raise ValueError(
            f"slices must be a multiple of the number of ranks, {comm.size}, but it was {slices}."
        )
    if isinstance(X, Shards):
        return _read_shards(X, comm, axis, slices)
    if not isinstance(X, Ratings):
        raise TypeError(
            f"X must be Shards, or the Ratings of this rank's {axis}s, with comm, but it is a "
            f"{type(X).__name__}."
        )
    return Given(X, None, 0, None)


def _read_shards(shards: Shards, comm: Communicator, axis: str, slices: int | None) -> Given:
    """Read every ``size``-th bucket."""
    if shards.axis != axis:
        raise ValueError(
            f"X must be shards of {axis}s, which are the columns of this model, but they are of "
            f"{shards.axis}s: isthmus shard --axis {axis} makes such."
        )
    if shards.n_buckets < comm.size:
        raise ValueError(
            f"X must have a bucket for each of {comm.size} ranks, but it has {shards.n_buckets}."
        )
    if slices is not None and slices > shards.n_buckets:
        raise ValueError(
            f"slices must be at most as many as buckets, {shards.n_buckets}, but it was {slices}."
        )
    by_user = axis == "user"
    n_rows = shards.shape[1 if by_user else 0]
    own_buckets = range(comm.rank, shards.n_buckets, comm.size)
    buckets = [shards.bucket(number) for number in own_buckets]  # mapped into memory
    numbers = np.concatenate([bucket.columns for bucket in buckets])
    lengths = [len(bucket.columns) for bucket in buckets]
    slice_of = np.repeat(np.array(own_buckets) % (slices or 1), lengths)
    order = np.argsort(numbers)
    numbers = numbers[order]
    by_column = _joined(buckets, numbers, n_rows)
    ids = (shards.user_ids, shards.item_ids)
    own: IdArray = ids[0 if by_user else 1][numbers]
    csr = by_column if by_user else transpose(by_column, num_threads=1)
    ratings = Ratings(
        csr,
        user_ids=own if by_user else ids[0],
        item_ids=ids[1] if by_user else own,
    )
    n_columns = shards.shape[0 if by_user else 1]
    return Given(ratings, numbers, n_columns, slice_of[order] if slices else None)


def _joined(buckets: list[Bucket], numbers: NDArray[np.int32], n_rows: int) -> CSR:
    """Return the buckets' columns, whose numbers are sorted, by columns.

    Beside them and the result there is one bucket in memory: many pieces would leave holes there.
    """
    counts = np.empty(len(numbers), np.int64)
    for bucket in buckets:
        own = np.searchsorted(numbers, bucket.columns)
        counts[own] = column_counts(bucket.cells.indices, len(own))
    indptr = np.concatenate(([0], np.cumsum(counts)))
    indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    for bucket in buckets:
        lines = transpose(bucket.cells, num_threads=1)
        begins = indptr[np.searchsorted(numbers, bucket.columns)]
        places = np.repeat(begins - lines.indptr[:-1], np.diff(lines.indptr))
        places += np.arange(len(places))
        indices[places], values[places] = bucket.rows[lines.indices], lines.values
    return CSR(indptr, indices, values, (len(numbers), n_rows))


def share_of(
    given: Given, comm: Communicator, axis: str, slices: int | None
) -> tuple[Share, Ratings, str | None]:
    """Let the ranks agree on the numbers of rows and columns.

    Returns
    -------
    Share, Ratings
        The latter with all ranks' rows.
    str or None
        What is wrong with all ranks' ratings together: the same on all of them.
    """
    ratings, numbers, n_columns, slice_of = (
        given.ratings,
        given.numbers,
        given.n_columns,
        given.slice_of,
    )
    wrong = None
    if numbers is None:
        ratings, numbers, n_columns, wrong = _number(ratings, comm, axis)
        if slices is not None and wrong is None:
            slice_of, wrong = _deal(ratings, numbers, n_columns, comm, axis, slices)
    if slice_of is None:
        slice_of = np.zeros(len(numbers), np.int64)
    local = (slice_of // comm.size).astype(np.int32)
    own = 1 if slices is None else slices // comm.size
    return Share(comm, numbers, n_columns, local, own, slices is not None), ratings, wrong


def placed(
    share: Share, ratings: Ratings, users: IdIndex, items: IdIndex, axis: str
) -> tuple[Share, Ratings]:
    """Put a rank's ratings where a model has their users and items.

    Columns that no rank has are dealt to all of them.
    """
    comm = share.comm
    cells = CSR(ratings.indptr, ratings.indices, ratings.values, ratings.shape)
    with agreed(comm):
        to_users = _positions(users, ratings.user_ids, np.diff(ratings.indptr), "users of X")
        item_counts = column_counts(ratings.indices, ratings.n_items)
        to_items = _positions(items, ratings.item_ids, item_counts, "items of X")
    to, columns = (to_users, users) if axis == "user" else (to_items, items)
    known = to >= 0
    missing = np.ones(len(columns), np.bool_)
    for numbers in comm.allgather(to[known]):
        missing[numbers] = False
    slices = share.slices * comm.size
    dealt = np.arange(np.count_nonzero(missing)) % slices
    own = dealt % comm.size == comm.rank
    numbers = np.concatenate([to[known], np.flatnonzero(missing)[own]])
    slice_of = np.concatenate([share.slice_of[known], dealt[own] // comm.size])
    order = np.argsort(numbers)
    numbers = numbers[order]
    if axis == "user":
        to_users = np.where(known, np.searchsorted(numbers, to), -1)
        users = IdIndex(users.ids[numbers], "user")
    else:
        to_items = np.where(known, np.searchsorted(numbers, to), -1)
        items = IdIndex(items.ids[numbers], "item")
    moved = _moved(cells, to_users, to_items, (len(users), len(items)))
    return (
        replace(
            share,
            numbers=numbers.astype(np.int32),
            n_columns=len(columns),
            slice_of=slice_of[order].astype(np.int32),
        ),
        Ratings(moved, user_ids=users, item_ids=items),
    )


def _positions(
    index: IdIndex, ids: IdArray, counts: NDArray[np.int64], name: str
) -> NDArray[np.int64]:
    """Look up ids, of which those without ratings may be unknown: -1."""
    index.positions(ids[counts > 0], name)
    return index.find(ids, name)


def _moved(
    cells: CSR, rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
) -> CSR:
    """Return a matrix whose rows and columns have other places, or none (-1) if they are empty."""
    counts = np.diff(cells.indptr)
    filled = np.flatnonzero(counts)
    if (np.diff(rows[filled]) < 0).any():
        filled = filled[np.argsort(rows[filled])]
        cells = select_rows(cells, filled)
    lengths = np.zeros(shape[0], np.int64)
    lengths[rows[filled]] = counts[filled]
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    moved = CSR(indptr, columns.astype(np.int32)[cells.indices], cells.values, shape)
    if has_increasing_rows(indptr, moved.indices):
        return moved
    return transpose(transpose(moved, num_threads=1), num_threads=1)


def _number(
    ratings: Ratings, comm: Communicator, axis: str
) -> tuple[Ratings, NDArray[np.int32], int, str | None]:
    """Set the numbers of rows and columns, by the sorted ids of all ranks."""
    column_ids, row_ids = ratings.user_ids, ratings.item_ids
    if axis == "item":
        column_ids, row_ids = row_ids, column_ids
    told = comm.allgather((row_ids, column_ids))
    if len({ids.dtype.kind for both in told for ids in both[:1]}) > 1 or (
        len({both[1].dtype.kind for both in told}) > 1
    ):
        return ratings, np.zeros(0, np.int32), 0, "X must have ids of one type on all ranks."
    rows: Any = np.unique(np.concatenate([both[0] for both in told]))
    columns: Any = np.concatenate([both[1] for both in told])
    every, counts = np.unique(columns, return_counts=True)
    if len(every) < len(columns):
        twice = every[counts > 1][0].item()
        wrong = f"X must have each {axis} on one rank alone, but {axis} {twice!r} is on several."
        return ratings, np.zeros(0, np.int32), 0, wrong
    numbers = np.searchsorted(every, column_ids).astype(np.int32)
    return _on_rows(ratings, rows, numbers, axis), np.sort(numbers), len(every), None


def _on_rows(ratings: Ratings, rows: IdArray, numbers: NDArray[np.int32], axis: str) -> Ratings:
    """Return the ratings with all ranks' rows, and columns in order of their numbers."""
    order = np.argsort(numbers)
    by_user = axis == "user"
    users = ratings.user_ids[order] if by_user else rows
    items = rows if by_user else ratings.item_ids[order]
    if np.array_equal(users, ratings.user_ids) and np.array_equal(items, ratings.item_ids):
        return ratings
    cells_users = ratings.user_ids[row_numbers(ratings.indptr)]
    return Ratings.from_arrays(
        *(cells_users, ratings.item_ids[ratings.indices], ratings.values),
        user_ids=users,
        item_ids=items,
    )


def _deal(
    ratings: Ratings,
    numbers: NDArray[np.int32],
    n_columns: int,
    comm: Communicator,
    axis: str,
    slices: int,
) -> tuple[NDArray[np.int64], str | None]:
    """Deal columns to slices in order of their numbers of ratings, as `part_of` does to ranks."""
    if slices > n_columns:
        wrong = f"slices must be at most the number of {axis}s, {n_columns}, but it was {slices}."
        return np.zeros(len(numbers), np.int64), wrong
    if axis == "user":
        own = np.diff(ratings.indptr)
    else:
        own = column_counts(ratings.indices, ratings.n_items)
    counts = np.zeros(n_columns, np.int64)
    for theirs, count in comm.allgather((numbers, own)):
        counts[theirs] = count
    place = np.empty(n_columns, np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(n_columns)
    slice_of = place[numbers] % slices
    if any(comm.allgather(bool((slice_of % comm.size != comm.rank).any()))):
        return slice_of, (
            "X must be what part_of() gives each rank, or Shards, with slices: each rank needs "
            "whole ones."
        )
    return slice_of, None
