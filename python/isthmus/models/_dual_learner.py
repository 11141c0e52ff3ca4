"""How the two parts of DualAutoRec are trained: in turn, each on what the other leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus.data._csr import CSR, transpose
from isthmus.evaluation.scores import Vectors
from isthmus.models._autoencoder import (
    BESIDE_OUTPUTS,
    Autoencoder,
    Offsets,
    PartVectors,
    Reader,
    cell_outputs,
)
from isthmus.models._autorec_learners import Learner
from isthmus.models._biases import fit_biases

__all__ = ["SIDES", "DualLearner", "dual_vectors"]

SIDES: tuple[Literal["item"], Literal["user"]] = ("item", "user")


class DualLearner:
    """Train an autoencoder of items and one of users on the same ratings.

    In an epoch, the item part is trained on what the user part left of each rating when that was
    last trained on it, and the user part on what the item part has left just now. Both have the
    same cells masked. At first, the item part is trained on what a trained user part leaves, if
    there is one.

    Parameters
    ----------
    networks : dict of _core.Autoencoder
        By side, "item" and "user".
    readers : dict of Reader
    matrices : dict of CSR
        The ratings, items x users and users x items.
    seed, num_threads : int
    """

    def __init__(
        self,
        networks: Mapping[str, _core.Autoencoder],
        readers: Mapping[str, Reader],
        matrices: Mapping[str, CSR],
        *,
        seed: int,
        num_threads: int,
    ) -> None:
        cells = len(matrices["item"].indices)
        self._order = _cells_by_columns(matrices["item"], num_threads)
        self._outputs = np.zeros(cells, np.float32)
        self._offsets = {side: np.zeros(cells, np.float32) for side in SIDES}
        self._best = self._offsets
        own = fit_biases(matrices["item"], readers["item"].mean, times=BESIDE_OUTPUTS["item"])
        biases = {"item": own, "user": own.transposed}
        self._learners = {
            side: Learner(
                networks[side],
                readers[side],
                matrices[side],
                cell_offset=self._offsets[side],
                outputs=self._outputs,
                biases=biases[side],
                transposed=side == "user",
                seed=seed,
                num_threads=num_threads,
            )
            for side in SIDES
        }
        self._leave(matrices["user"], num_threads)

    def _leave(self, by_users: CSR, num_threads: int) -> None:
        """Subtract the outputs of a trained user part from the item part's targets."""
        user = self._learners["user"]
        if user.is_zero():
            return
        outputs = cell_outputs(user.arrays(), by_users, num_threads=num_threads)
        self._offsets["item"][self._order] = outputs

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        item, user = self._learners["item"], self._learners["user"]
        item.run_epoch(index, _half(progress, 0))
        np.take(self._outputs, self._order, out=self._offsets["user"], mode="clip")
        loss = user.run_epoch(index, _half(progress, len(self._order) // 2))
        self._offsets["item"][self._order] = self._outputs
        return loss

    def vectors(self) -> Vectors:
        """Return what users and items are scored by, with the weights as they are."""
        item, user = self._learners["item"], self._learners["user"]
        return dual_vectors(item.arrays(), user.arrays(), item.reader, item.offsets)

    def keep_best(self) -> None:
        for learner in self._learners.values():
            learner.keep_best()
        self._best = {side: offset.copy() for side, offset in self._offsets.items()}

    def restore_best(self) -> None:
        for learner in self._learners.values():
            learner.restore_best()
        for side, offset in self._best.items():
            self._offsets[side][...] = offset

    def finish(self) -> dict[str, Autoencoder]:
        """Encode every item and every user with the final weights, and end training.

        Called again after Ctrl-C or an error, it goes on where it stopped.
        """
        return {side: learner.finish() for side, learner in self._learners.items()}

    def snapshot(self) -> dict[str, Autoencoder]:
        """Return the model that training would give if it ended now, and go on."""
        return {side: learner.snapshot() for side, learner in self._learners.items()}


def dual_vectors(item: PartVectors, user: PartVectors, reader: Reader, offsets: Offsets) -> Vectors:
    """Return vectors whose product is the sum of both parts' outputs.

    Parameters
    ----------
    item, user : tuple of ndarray of float32
        A part's codes of its rows, and the weights and biases of its columns.
    reader : Reader
        Of either part.
    offsets : Offsets
        Of the item part.
    """
    item_codes, user_weights, user_bias = item
    user_codes, item_weights, item_bias = user
    return Vectors(
        np.hstack([user_weights, user_codes]),
        np.hstack([item_codes, item_weights]),
        user_bias=user_bias,
        item_bias=item_bias,
        item_offset=offsets.row,
        user_offset=offsets.column,
        scale=reader.target_factor,
    )


def _cells_by_columns(matrix: CSR, num_threads: int) -> NDArray[np.int32]:
    """Return where the cells of the transposed matrix are in this one."""
    places = np.arange(len(matrix.indices), dtype=np.int32)
    # the core only moves values, which may be integers
    positions = places.view(np.float32)
    moved = transpose(matrix._replace(values=positions), num_threads).values
    return moved.view(np.int32)


def _half(progress: Callable[[int], None] | None, before: int) -> Callable[[int], None] | None:
    """Report half of what a part reports, after what was done before."""
    if progress is None:
        return None
    report = progress
    return lambda ratings: report(before + ratings // 2)
