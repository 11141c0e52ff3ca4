"""Lists for all users, from tables of histories to tables of lists, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from isthmus._util.checks import check_bool, check_choice, check_integer
from isthmus._util.files import atomic_folder
from isthmus.data._cells import DUPLICATES, Duplicates, csr_from_cells
from isthmus.data._csr import CSR, empty, row_numbers, select_rows, union
from isthmus.data._grouping import grouped
from isthmus.data._histories import Histories, Ragged, as_histories
from isthmus.data._ids import IdArray, IdIndex
from isthmus.data._parquet import parquet_files
from isthmus.data._reading import name_file
from isthmus.evaluation.choice import allow, pool_of
from isthmus.evaluation.scores import Scorable
from isthmus.models.base import Recommender

__all__ = ["Lister", "write_lists"]

USERS_AT_ONCE = 1 << 14
"""Users whose lists are made, and written, at once."""

USERS_A_FILE = 1 << 18

UNKNOWN_ITEMS = ("error", "skip")


class Lister:
    """Make tables of lists out of tables of histories.

    Parameters
    ----------
    model : Recommender
        Fitted.
    n : int, default 10
        Items to recommend to a user.
    exclude_seen : bool, default True
        Whether to leave out what a user has a rating of, in training or in the history.
    candidates : array_like of int or str, optional
        Ids of the items that all users choose from; all by default.
    exclude : array_like of int or str, optional
        Ids of items to recommend to nobody.
    order : {"likely", "rating"}, default "likely"
        As for `Recommender.recommend`.
    unknown_items : {"error", "skip"}, default "error"
        What to do about items that the model does not know, which it can neither score nor learn
        from: refuse them, or go on without them.
    duplicates : {"error", "mean", "sum", "last"}, default "error"
        What to do if an unknown user's history has an item more than once.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError, ValueError
        If an argument is not as above.
    """

    def __init__(
        self,
        model: Recommender,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        order: str = "likely",
        unknown_items: str = "error",
        duplicates: Duplicates = "error",
    ) -> None:
        model._check_fitted()
        model._check_order(order)
        check_bool("exclude_seen", exclude_seen)
        self._model = model
        self._n = min(check_integer("n", n, low=1), len(model._items))
        self._exclude_seen = exclude_seen
        self._order = order
        self._skips = check_choice("unknown_items", unknown_items, UNKNOWN_ITEMS) == "skip"
        self._duplicates: Duplicates = duplicates
        check_choice("duplicates", duplicates, DUPLICATES)
        self._pool = pool_of(candidates, exclude, model._items)
        self._known = model._vectors()

    def of_known(self, users: NDArray[np.int64]) -> pa.Table:
        """Return the lists of users at positions among those that the model knows.

        Returns
        -------
        pyarrow.Table
            As a call of this object returns.
        """
        ids = self._model._users.ids[users]
        nothing = empty((len(users), len(self._model._items)))
        found = self._lists(self._known.take(users=users), self._seen(users), nothing, None)
        return self._table(ids, *found)

    def __call__(self, histories: pa.Table) -> pa.Table:
        """Return the lists of some users.

        Parameters
        ----------
        histories : pyarrow.Table
            With a row a user: the columns ``user`` (id) and, where wanted, ``items`` and
            ``ratings`` (lists of the same lengths), ``exclude`` and ``candidates`` (lists of items;
            null for none). Or with a row a rating: a user, an item and, where there are ratings, a
            rating column, with the usual names; users come in the order of their first rows.

        Returns
        -------
        pyarrow.Table
            A row a user, in their order: ``user`` as it came, ``items`` and ``scores``, lists of at
            most `n`, best first. Users that the model knows get those of `Recommender.recommend`,
            less what their history and `exclude` have; others are folded in.

        Raises
        ------
        TypeError, ValueError
            If the table cannot be read, or an id is of another type than the model's.
        """
        told = as_histories(histories)
        n_users = len(told.users)
        positions = np.full((n_users, self._n), -1, np.int32)
        scores = np.full(positions.shape, np.nan, np.float32)
        at = self._model._users.find(told.users, "users")
        new = self._ratings(told, at < 0)
        more = self._pattern(told.exclude, n_users, "exclude")
        if self._exclude_seen:
            more = union(more, self._pattern(told.items, n_users, "items"))
        own = self._pattern(told.candidates, n_users, "candidates")
        chooses = np.zeros(n_users, np.bool_) if told.candidates is None else told.candidates.given
        for known in (True, False):
            for chosen in (False, True):
                rows = np.flatnonzero(((at >= 0) == known) & (chooses == chosen))
                if len(rows) == 0:
                    continue
                had = self._seen(at[rows]) if known else select_rows(new, rows)
                positions[rows], scores[rows] = self._lists(
                    self._known.take(users=at[rows]) if known else self._model._fold_users(had),
                    had,
                    select_rows(more, rows),
                    select_rows(own, rows) if chosen else None,
                )
        return self._table(told.users, positions, scores)

    def _lists(
        self, of: Scorable, seen: CSR, more: CSR, own: CSR | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        left_out = union(seen, more) if self._exclude_seen else more
        allowed = allow(left_out, self._pool, own)
        return self._model._lists(of, self._n, self._order, had=seen, allowed=allowed)

    def _seen(self, users: NDArray[np.int64]) -> CSR:
        return select_rows(self._model._seen, users)

    def _ratings(self, told: Histories, unknown: NDArray[np.bool_]) -> CSR:
        """Return the ratings of users unknown to the model, of the table's users x its items."""
        if told.items is None or not unknown.any():
            return empty((len(told.users), len(self._model._items)))
        rows, columns, kept = self._cells(told.items, "items")
        new = unknown[rows]
        if told.ratings is not None:
            values = told.ratings[kept][new]
        elif self._model._rates and new.any():
            raise ValueError(
                f"histories must have ratings, for {type(self._model).__name__} to fold unknown "
                f"users in, such as {told.users[unknown][0].item()!r}."
            )
        else:
            values = np.ones(np.count_nonzero(new), np.float32)
        cells, _ = csr_from_cells(
            *(rows[new], columns[new], values, None),
            duplicates=self._duplicates,
            user_ids=told.users,
            item_ids=self._model._items.ids,
        )
        return cells

    def _pattern(self, lists: Ragged | None, n_users: int, name: str) -> CSR:
        shape = (n_users, len(self._model._items))
        if lists is None:
            return empty(shape)
        rows, columns, _ = self._cells(lists, name)
        cells = np.unique(rows.astype(np.int64) * shape[1] + columns)
        indptr = np.searchsorted(cells, np.arange(n_users + 1) * shape[1]).astype(np.int64)
        return CSR(indptr, (cells % shape[1]).astype(np.int32), np.empty(0, np.float32), shape)

    def _cells(
        self, lists: Ragged, name: str
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
        """Return rows and columns of the items that the model knows, and which those are."""
        items: IdIndex = self._model._items
        find = items.find if self._skips else items.positions
        columns = find(lists.ids, name)[lists.codes]
        kept = columns >= 0
        rows = row_numbers(lists.indptr)
        return rows[kept], columns[kept].astype(np.int32), kept

    def _table(
        self, users: IdArray, positions: NDArray[np.int32], scores: NDArray[np.float32]
    ) -> pa.Table:
        listed = positions >= 0
        ends = np.concatenate(([0], np.cumsum(listed.sum(axis=1)))).astype(np.int32)
        items = pa.array(self._model._items.ids[positions[listed]])
        return pa.table(
            {
                "user": pa.array(users),
                "items": pa.ListArray.from_arrays(ends, items),
                "scores": pa.ListArray.from_arrays(ends, pa.array(scores[listed])),
            }
        )


def write_lists(
    lister: Lister, output: str | PathLike[str], histories: str | PathLike[str] | None = None
) -> tuple[int, int]:
    """Write the lists of all users to a folder of Parquet files.

    The folder appears under its name once it is complete.

    Parameters
    ----------
    lister : Lister
    output : str or os.PathLike
        A folder, which must not exist yet or be empty.
    histories : str or os.PathLike, optional
        A Parquet file, or a folder of them, of tables that `lister` takes; those with a row a
        rating may be in any order. By default, the lists are those of all users that the model
        knows.

    Returns
    -------
    (int, int)
        Numbers of users and of files.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there are no histories, or the output exists.
    TypeError, ValueError
        If a file of histories cannot be read; it is named.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(atomic_folder(output))
        if histories is None:
            tables: Iterable[pa.Table] = _known(lister)
        else:
            files = parquet_files(histories)
            tables_of = stack.enter_context(grouped(files, folder, USERS_AT_ONCE))
            tables = _told(lister, tables_of)
        return _write_parts(tables, folder)


def _known(lister: Lister) -> Iterator[pa.Table]:
    n_users = len(lister._model._users)
    for begin in range(0, n_users, USERS_AT_ONCE):
        yield lister.of_known(np.arange(begin, min(begin + USERS_AT_ONCE, n_users)))


def _told(lister: Lister, histories: Iterator[tuple[Path, pa.Table]]) -> Iterator[pa.Table]:
    for path, table in histories:
        with name_file(path):
            lists = lister(table)
        yield lists


def _write_parts(tables: Iterable[pa.Table], folder: Path) -> tuple[int, int]:
    n_users, n_files, writer = 0, 0, None
    try:
        for table in tables:
            if writer is None:
                path = folder / f"part-{n_files:05}.parquet"
                writer, n_files = pq.ParquetWriter(path, table.schema), n_files + 1
            writer.write_table(table)
            n_users += len(table)
            if n_users >= n_files * USERS_A_FILE:
                writer.close()
                writer = None
    finally:
        if writer is not None:
            writer.close()
    if n_users == 0:
        raise ValueError("histories must be of at least one user, but they have no rows.")
    return n_users, n_files
