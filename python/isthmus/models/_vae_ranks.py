"""Mult-DAE and Mult-VAE over ranks, of which each has some of the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus import _core
from isthmus.data._alignment import check_apart, check_same_users
from isthmus.data._csr import CSR, as_pattern, row_numbers, row_sums, select_rows, sorting_order
from isthmus.data.ratings import Ratings
from isthmus.data.splits import HeldOutUsers
from isthmus.evaluation.ranking import rank
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._biases import cells_of
from isthmus.models._cell_weights import check_values, divided, weights_by_rule
from isthmus.models._parts import Part, Share
from isthmus.models._rank_fit import RankJob
from isthmus.models._rank_gather import Sender
from isthmus.models._rank_learner import BY_COLUMN, Resumable
from isthmus.models._tensors import Tensors
from isthmus.models._vae_learner import Learner
from isthmus.training.weights import load_weights

__all__ = ["MultinomialJob"]

LINE = 16
"""Floats of a cache line, on which the core begins each slice of the items."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Where the weights of a rank's items are while they are trained.

    They are in the items' order or, if slices are fixed, in that of the slices.

    Parameters
    ----------
    at : ndarray of int64
        The place of each item.
    slices : list of (int, int)
        Where each fixed slice begins and ends.
    size : int
        How many places there are, some of which may be empty.
    """

    at: NDArray[np.int64]
    slices: list[tuple[int, int]]
    size: int

    @classmethod
    def of(cls, share: Share) -> Places:
        """Lay a rank's items out."""
        n = len(share.numbers)
        if not share.fixed:
            return cls(np.arange(n), [], n)
        at = np.empty(n, np.int64)
        slices, end = [], 0
        for number in range(share.slices):
            begin = -(-end // LINE) * LINE
            own = np.flatnonzero(share.slice_of == number)
            end = begin + len(own)
            at[own] = np.arange(begin, end)
            slices.append((begin, end))
        return cls(at, slices, end)

    def rows(self, rows: CSR) -> CSR:
        """Return rows of items as rows of places."""
        if not self.slices:
            return rows
        indices = self.at[rows.indices].astype(np.int32)
        shape = (rows.shape[0], self.size)
        order = sorting_order(row_numbers(rows.indptr), indices, shape)
        values = rows.values[order] if len(rows.values) else rows.values
        return CSR(rows.indptr, indices[order], values, shape)

    def numbers(self, share: Share) -> NDArray[np.int32]:
        """Return the number among all ranks' items of what is at each place."""
        numbers = np.zeros(self.size, np.int32)
        numbers[self.at] = share.numbers
        return numbers


class RankLearner(Learner, Resumable):
    """Train the items of a rank, together with the other ranks.

    Parameters
    ----------
    network : _core.MultinomialAutoencoder
    part : Part
    places : Places
    settings : SimpleNamespace
    rows : CSR
        The part's rows with the weights of their cells, if these do not all count 1.
    ones : ndarray of float64
        What all ranks' cells of each row count together.
    **options
        As for `Learner`.
    """

    def __init__(
        self,
        network: _core.MultinomialAutoencoder,
        part: Part,
        places: Places,
        settings: Any,
        rows: CSR,
        ones: Doubles,
        **options: Any,
    ) -> None:
        share = part.share
        split = {
            "columns": places.numbers(share),
            "slices": places.slices,
            "machine": share.comm.rank,
            "machines": share.comm.size,
        }
        super().__init__(
            *(network, places.rows(rows), settings),
            first_step=0,
            filled=part.counts.rows,
            split=split,
            **options,
        )
        self._cells = part.counts.cells
        self._part, self._places, self._network, self._ones = part, places, network, ones
        self._of_all_ranks = {
            "reduce": share.reduce,
            "filled": part.filled_rows(),
            "row_ones": ones,
        }

    @property
    def column_places(self) -> NDArray[np.integer[Any]]:
        return self._places.at

    def codes(self) -> Floats:
        """Encode the rows that it trains on."""
        return self._encode(self.rows, self._ones)

    def encode(self, rows: CSR, ones: Doubles) -> Floats:
        """Encode rows of this rank's items, together with the other ranks."""
        return self._encode(self._places.rows(rows), ones)

    def _encode(self, rows: CSR, ones: Doubles) -> Floats:
        codes: Floats = self._trainer.encode(
            *(rows.indptr, rows.indices),
            reduce=self._part.share.reduce,
            row_ones=ones,
            weights=rows.values if len(rows.values) else None,
        )
        return codes

    def release(self) -> None:
        """Let go of the optimizer's state, after which there is no training."""
        self._trainer = None

    def in_order(self, name: str) -> Floats:
        """Return weights of the items in their order, not copied where they are kept in it."""
        weights: Floats = self._network.weights()[name]
        if not self._places.slices:
            return weights
        return weights.take(self._places.at, BY_COLUMN[name])


@dataclass(frozen=True)
class HeldOut:
    """Validation data of users, whom all ranks encode and rank 0 makes lists for.

    Parameters
    ----------
    rows : CSR
        What they had before of this rank's items, weighed.
    ones : ndarray of float64
        What all ranks' cells of each row count together.
    positives, had : CSR or None
        Of all items: what should rank high, and what is left out. On rank 0 alone.
    """

    rows: CSR
    ones: Doubles
    positives: CSR | None
    had: CSR | None


class MultinomialJob(RankJob):
    """One rank's part of training Mult-DAE or Mult-VAE."""

    @staticmethod
    def axis(model: Any) -> Literal["user", "item"]:
        return "item"

    @staticmethod
    def check(model: Any) -> None:
        if model.sampled_items is not None:
            raise ValueError(
                f"sampled_items must be None with comm, where each rank has some of the items, but "
                f"it was {model.sampled_items}."
            )

    @staticmethod
    def check_validation(model: Any, validation: Any) -> None:
        if not isinstance(validation, HeldOutUsers):
            RankJob.check_validation(model, validation)
            return
        for part, name in zip(validation, HeldOutUsers._fields, strict=True):
            if not isinstance(part, Ratings):
                raise TypeError(
                    f"validation.{name} must be Ratings, the same on all ranks, with comm, but it "
                    f"is a {type(part).__name__}."
                )
        test, fold_in = validation.test, validation.fold_in
        check_same_users(
            test, test.rows("user"), fold_in, fold_in.rows("user"), "validation.fold_in"
        )
        if model.weights is not None:
            weights_by_rule(fold_in.values, model.weights, "validation.fold_in")

    def split(
        self, ratings: Ratings, validation: Any
    ) -> tuple[Part | None, HeldOut | None, str | None]:
        part, held_out, wrong = super().split(ratings, validation)
        rule = self._model.weights
        if part is None or wrong is not None:
            return None, None, wrong
        try:
            check_values(np.array([part.low, part.high], np.float32), rule)
        except ValueError as error:  # alike on all ranks
            return None, None, str(error)
        if held_out is None:
            return part, None, None
        if isinstance(validation, HeldOutUsers):
            names = "validation.test", "in validation.fold_in"
            positives, rows = held_out
        else:
            names = "validation", "in X"
            positives, rows = self._of_known(held_out, part)
        brought, wrong = self._brought_together(positives, rows, *names)
        return part, brought, wrong

    def _validated(self, validation: Any, ratings: Ratings) -> tuple[Any, str | None]:
        if not isinstance(validation, HeldOutUsers):
            return super()._validated(validation, ratings)
        test, fold_in = (
            self._rows_of_own(part, ratings, name)
            for part, name in (
                (validation.test, "items of validation.test"),
                (validation.fold_in, "items of validation.fold_in"),
            )
        )
        n = validation.test.nnz + validation.fold_in.nnz
        found = len(test.indices) + len(fold_in.indices)
        return (test, fold_in), self._lacking("items", n, found)

    def _rows_of_own(self, part: Ratings, ratings: Ratings, name: str) -> CSR:
        """Return users' ratings of this rank's items."""
        items = ratings._items.find(part.item_ids, name)[part.indices]
        own = items >= 0
        users = row_numbers(part.indptr)[own]
        shape = (part.n_users, ratings.n_items)
        return _by_rows(users, items[own], part.values[own], shape)

    def _of_known(self, cells: Any, part: Part) -> tuple[CSR, CSR]:
        """Return the positives of users of training who have any, and what they had before."""
        n = part.matrix.shape[0]
        wanted = self._share.total_counts(np.bincount(cells.users, minlength=n)) > 0
        place = np.cumsum(wanted) - 1
        users = np.flatnonzero(wanted)
        shape = (len(users), part.matrix.shape[1])
        positives = _by_rows(place[cells.users], cells.items, cells.values, shape)
        return positives, select_rows(part.matrix, users)

    def _brought_together(
        self, positives: CSR, rows: CSR, name: str, what: str
    ) -> tuple[HeldOut | None, str | None]:
        """Bring the items of all ranks to rank 0, and refuse what cannot be measured."""
        model, comm = self._model, self._comm
        send = Sender.of(comm, self._share.numbers)
        threads = model._num_threads()
        wanted, had = (send.cells(part, num_threads=threads) for part in (positives, rows))
        wrong = None
        if comm.rank == 0:
            try:
                check_apart(wanted, had, name, what)
                model._check_measurable(wanted, had, name)
            except ValueError as error:
                wrong = str(error)
        wrong = comm.allgather(wrong)[0]
        if wrong is not None:
            return None, wrong
        weighed, ones = self._weighed(rows, 1.0)
        first = comm.rank == 0
        return HeldOut(weighed, ones, wanted if first else None, had if first else None), None

    def _weighed(self, rows: CSR, unit: float) -> tuple[CSR, Doubles]:
        """Return rows with their cells' weights, and what each counts on all ranks together."""
        rule, share = self._model.weights, self._share
        if rule is None:
            counts = share.total_counts(np.diff(rows.indptr))
            return rows._replace(values=np.empty(0, np.float32)), counts.astype(np.float64)
        rows = rows._replace(values=divided(weights_by_rule(rows.values, rule, "ratings"), unit))
        sums = _core.sum_residuals(
            *(cells_of(rows), 0.0, np.zeros(rows.shape[1]), share.slice_of),
            slices=share.slices,
            num_threads=self._model._num_threads(),
        )
        return rows, share.total(sums)

    def _mean_weight(self, part: Part) -> float:
        rule = self._model.weights
        if rule is None:
            return 1.0
        columns = part.columns
        weights = columns._replace(values=weights_by_rule(columns.values, rule, "X"))
        return part.share.total_of_columns(row_sums(weights)) / part.counts.cells

    def _learner(self, part: Part, trained: Any) -> RankLearner:
        model, share = self._model, self._share
        places = Places.of(share)
        model._network = model._make_network(
            *(part.matrix.shape[0], places.size, self._seed),
            columns=places.numbers(share),
            all_columns=share.n_columns,
        )
        rows, ones = self._weighed(part.matrix, self._mean_weight(part))
        return RankLearner(
            *(model._network, part, places, model._structure, rows, ones),
            divergence=model._annealing(),
            seed=self._seed,
            num_threads=model._num_threads(),
        )

    def _measure(self, learner: RankLearner, held_out: HeldOut) -> dict[str, float]:
        model, comm = self._model, self._comm
        codes = learner.encode(held_out.rows, held_out.ones)
        send = Sender.of(comm, self._share.numbers)
        weights = send.columns(learner.in_order("decoder.weights"))
        bias = send.columns(learner.in_order("decoder.bias"), 1)
        measured = None
        if held_out.positives is not None:
            values = rank(
                Vectors(codes, weights, item_bias=bias[0]).scorer(),
                [model._validation_metric()],
                held_out.positives,
                seen=held_out.had,
                num_threads=model._num_threads(),
            )
            measured = {label: float(np.nanmean(value)) for label, value in values.items()}
        told: dict[str, float] = comm.allgather(measured)[0]
        return told

    def _finish(self, learner: RankLearner) -> None:
        model = self._model
        model._steps = learner.steps
        model._codes = learner.codes()
        if not self._share.fixed:
            return
        learner.release()  # before weights are copied
        network = model._make_network(*model._seen.shape, 0)
        of_all = model._network.weights()
        in_order = {name: learner.in_order(name) for name in BY_COLUMN}
        load_weights(network.weights(), {**of_all, **in_order})
        model._network = network

    def _tensors(self) -> Tensors:
        return {**self._model._network.weights(), "codes": self._model._codes}

    @staticmethod
    def complete(whole: Any, weights: Tensors, columns: Tensors) -> None:
        n_items = len(weights["decoder.weights"])
        whole._network = whole._make_network(len(whole._codes), n_items, 0)
        load_weights(whole._network.weights(), weights)


def _by_rows(
    rows: NDArray[Any], columns: NDArray[Any], values: Floats, shape: tuple[int, int]
) -> CSR:
    """Return cells by rows, with their values."""
    matrix = sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
    matrix.sort_indices()
    return as_pattern(matrix)._replace(values=matrix.data)
