"""How AutoRec is trained where its columns are split over ranks, and what others share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.data._csr import row_sums
from isthmus.evaluation.scores import Floats
from isthmus.models._autoencoder import BESIDE_OUTPUTS, Reader
from isthmus.models._autorec_learners import Learner
from isthmus.models._column_prior import ColumnPrior, strength
from isthmus.models._parts import Part
from isthmus.models._precision import precision_of
from isthmus.models._tensors import Tensors

__all__ = ["BY_COLUMN", "RankLearner", "Resumable"]

BY_COLUMN = {"encoder.weights": 0, "decoder.weights": 0, "decoder.bias": 1}
"""The tensors of which each rank has some columns, and their axis; all ranks have the others."""


class Resumable:
    """What learners over ranks share: all that training continues from, for checkpoints.

    The places of a rank's columns among its weights are ``column_places``.
    """

    _part: Part
    _network: Any
    _trainer: Any

    @property
    def column_places(self) -> NDArray[np.integer[Any]]:
        """Return where each column's weights are while they are trained."""
        raise NotImplementedError

    def state(self) -> Tensors:
        """Return all that training goes on from, as views, with columns in an order of its own.

        ``numbers`` are those of the columns. Bits stand for the optimizer's state, which may be in
        halves.
        """
        n_places = len(self._network.weights()["decoder.weights"])
        numbers = np.full(n_places, -1, np.int32)  # where there is no column
        numbers[self.column_places] = self._part.share.numbers
        tensors: Tensors = {"numbers": numbers}
        for kind, name, array in self._kept():
            tensors[f"{kind}.{name}"] = array.view(np.int32) if kind == "state" else array
        return tensors

    @property
    def step(self) -> int:
        """Return how many steps have been taken."""
        step: int = self._trainer.step
        return step

    def go_on(self, files: Iterator[Tensors], step: int) -> None:
        """Continue from what `state` gave on all ranks, at any number of them.

        Raises
        ------
        ValueError
            If they lack a column, or anything else.
        """
        own, places = self._part.share.numbers, self.column_places
        missing = np.ones(len(own), np.bool_)
        for tensors in files:
            if any(name.startswith("best.") for name in tensors) and not self._trainer.best():
                self._trainer.keep_best()
            at = np.minimum(np.searchsorted(own, tensors["numbers"]), len(own) - 1)
            mine = np.flatnonzero(own[at] == tensors["numbers"])
            missing[at[mine]] = False
            to = places[at[mine]]
            for kind, name, array in self._kept():
                found = tensors[f"{kind}.{name}"]
                found = found.view(np.float32) if kind == "state" else found
                axis = BY_COLUMN.get(name.removesuffix(".0").removesuffix(".1"))
                if axis is None:
                    array[...] = found
                elif axis == 0:
                    array[to] = found[mine]
                else:
                    array[:, to] = found[:, mine]
        if missing.any():
            raise ValueError(f"it has no column {own[missing][0]:,}")
        self._trainer.step = step

    def _kept(self) -> Iterator[tuple[str, str, Floats]]:
        for kind, arrays in (
            ("weights", self._network.weights()),
            ("state", self._trainer.state()),
            ("best", self._trainer.best()),
        ):
            for name, array in arrays.items():
                yield kind, name, array


class RankLearner(Learner, Resumable):
    """Train the columns of a rank, together with the other ranks.

    Parameters
    ----------
    network : _core.Autoencoder
    reader : Reader
        Made of all ranks' ratings.
    part : Part
    seed, num_threads : int
    """

    def __init__(
        self,
        network: _core.Autoencoder,
        reader: Reader,
        part: Part,
        *,
        seed: int,
        num_threads: int,
    ) -> None:
        settings, share = reader.settings, part.share
        biases = None
        if settings.target_centering == "biases":
            biases = part.biases(BESIDE_OUTPUTS[settings.orientation], num_threads=num_threads)
        split: dict[str, Any] = {"columns": share.numbers}
        if precision_of(settings.precision, settings.optimizer) == "bfloat16":
            split["rounding"] = part.rounding()
        if share.fixed:
            split["slice_of"] = share.slice_of
        self._part = part
        self._filled_rows = part.filled_rows()
        super().__init__(
            *(network, reader, part.matrix),
            biases=biases,
            counts=part.counts,
            totals=part.totals,
            split=split,
            seed=seed,
            num_threads=num_threads,
        )

    def _pass(
        self, index: int, rates: Floats, report: Callable[[int], None] | None
    ) -> tuple[float, int]:
        share = self._part.share
        squared_error, _ = self._trainer.run_epoch(
            self._rows,
            index,
            rates,
            progress=report,
            reduce=share.reduce,
            filled=self._filled_rows,
        )
        errors = self._trainer.slice_errors if share.fixed else [squared_error]
        return float(share.total(np.array(errors)[:, np.newaxis])[0]), self._part.counts.cells

    def _encode_rows(self, codes: _core.Matrix) -> None:
        self._trainer.encode(self._rows, codes, reduce=self._part.share.reduce)

    def _prior(self, weights: dict[str, Floats], codes: Floats) -> ColumnPrior:
        """Estimate what `ColumnPrior.of` does, from all ranks' columns."""
        part, share = self._part, self._part.share
        counts = part.totals.counts.astype(np.float64)
        center = np.einsum("r,rk->k", counts / counts.sum(), codes)
        popularity = self._popularity / counts.sum()
        own = [np.flatnonzero(share.slice_of == s) for s in range(share.slices)]
        columns = weights["decoder.weights"]
        parts = [np.einsum("c,ck->k", popularity[at], columns[at]) for at in own]
        mean_weights = share.total(np.array(parts))
        levels = weights["decoder.bias"][0] + np.einsum("ck,k->c", columns, center)
        trained, n = self._popularity > 0, part.counts.columns
        mean_level = share.total_of_columns(np.where(trained, levels, 0.0)) / n
        spread = np.where(trained, np.square(levels - mean_level), 0.0)
        return ColumnPrior(
            mean_weights.astype(np.float32)[np.newaxis],
            np.array([[mean_level - mean_weights @ center]], np.float32),
            center.astype(np.float32)[np.newaxis],
            strength(self._noise(levels), share.total_of_columns(spread) / n),
        )

    def _noise(self, levels: NDArray[Any]) -> float:
        """Return the mean squared difference of targets from their columns' levels."""
        columns, scale = self._part.columns, self.reader.target_factor
        row, column = self.offsets
        expected = levels / scale
        if column is not None:
            expected = expected + column
        counts = np.diff(columns.indptr)

        def squares(cells: slice, at: NDArray[np.int64]) -> NDArray[Any]:
            left = columns.values[cells] - np.repeat(expected[at], counts[at])
            if row is not None:
                left -= row[columns.indices[cells]]
            return np.square(left, out=left)

        total = self._part.share.total_of_columns(row_sums(columns, squares))
        return scale**2 * total / self._part.counts.cells
