"""DualAutoRec: an autoencoder of items and one of users, fitted together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus._util.arrays import read_only
from isthmus._util.checks import check_integer, check_layers, check_real
from isthmus.data._csr import CSR, count_filled
from isthmus.data.ratings import Ratings
from isthmus.evaluation.explanation import without_each
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._autoencoder import Autoencoder, Reader, make_network
from isthmus.models._autorec_learners import Counts, imbalance, regularization_of
from isthmus.models._dual_learner import SIDES, DualLearner, dual_vectors
from isthmus.models._estimator import with_parameters
from isthmus.models._precision import check_precision
from isthmus.models._rating_model import HeldOut, RatingModel
from isthmus.models._tensors import Layout, Tensors, part_of
from isthmus.models.autorec import AutoRec

__all__ = ["DualAutoRec"]

USER_PART = 2.0
"""Times the item part's lambda: more than an autoencoder of users alone has, as there is less to
learn from what the item part leaves."""


@with_parameters
class DualAutoRec(RatingModel):
    r"""An autoencoder of items and one of users, fitted together: the lowest error of one model.

    The item part encodes an item's ratings and has a weight vector for each user, the user part
    the other way round, and a rating is predicted by their sum:

    $$
    \hat r_{ui} = m + b_u + b_i
    + [a_u + W_u s(f_i V x_i + h)] + [c_i + W'_i s(f'_u V' x_u + h')]
    $$

    with a mean m and damped biases b that are fitted first, s the logistic function less 1/2, and
    f = (n / n*)^-1/2 for a row of n ratings (see `AutoRec`, whose defaults both parts have).
    Both are trained on one objective, the squared error on observed ratings with a penalty of
    :math:`\frac{\lambda}{2}` on the squares of V and W and of :math:`\lambda` or more on those of
    V' and W', in turn: an epoch of the item part on what the user part leaves, then the other way
    round. The same cells are masked in the inputs of both.

    It takes some twice the time and memory of `AutoRec`, which is the item part alone, and is the
    better of the two where users and items have many ratings. With a few hundred users, it is not.

    Parameters
    ----------
    hidden_units : tuple of int, default (500,)
        Units of each part's hidden layers.
    regularization : float or "auto", default "auto"
        lambda of the item part, at least 0, on ratings scaled to a standard deviation of 1.117. The
        user part has twice that, times the cube root of items / users or of users / items,
        whichever is above 1. "auto" is .45 times the root of the number of ratings.
    learning_rate : float, default 0.0015
        Of Adam. It rises over the first epoch and falls to 0 at the end of the last.
    batch_size : int or "auto", default "auto"
        Items or users in a mini-batch; "auto" chooses it by the number of ratings.
    epochs : int, default 15
        Each is a pass of both parts over the ratings.
    corruption : float, default 0.4
        Probability that a cell is masked in the input, in [0, 1).
    precision : {"auto", "float32", "bfloat16"}, default "auto"
        What training reads and multiplies: weights, codes and errors as they are, or rounded to
        bfloat16. Either way weights are kept, and sums added up, in float32; with "bfloat16" the
        optimizer's state is in 16 bits too, rounded at random. "auto" is "bfloat16" with the
        core for AVX-512 BF16, the default on AMD's processors that have it.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Loss (mean squared error on masked inputs), seconds and validation RMSE of each epoch.
    item_codes_, user_codes_ : ndarray of float32, shape (n_items or n_users, hidden_units[-1])
        Last hidden layer of each item in the item part, and of each user in the user part.

    Notes
    -----
    Each part is that of S. Sedhain et al.: AutoRec: Autoencoders Meet Collaborative Filtering, WWW
    2015, I-AutoRec and U-AutoRec.

    A new user (`fold_in`, ``recommend(ratings=...)``) is encoded by the user part; her weights in
    the item part are regressed on what that leaves, around those of the trained users (see
    `AutoRec`). A new item is taken in the other way round.

    Examples
    --------
    >>> from isthmus import DualAutoRec, train_test_split
    >>> from isthmus.data.synthetic import synthetic_ratings
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> train, test = train_test_split(ratings, test_size=0.1, random_state=0)
    >>> model = DualAutoRec(hidden_units=(20,), random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['mae', 'rmse']
    """

    hidden_units: tuple[int, ...] = (500,)
    regularization: float | Literal["auto"] = "auto"
    learning_rate: float = 0.0015
    batch_size: int | Literal["auto"] = "auto"
    epochs: int = 15
    corruption: float = 0.4
    precision: str = "auto"
    clip: bool = True

    _in_core = ("_networks", "_readers", "_parts")
    _structural = ("hidden_units",)
    _of_layers = ("hidden_units",)
    _course_depends_on_epochs = True

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layers("hidden_units", self.hidden_units)
        check_real("regularization", self.regularization, low=0, others=("auto",))
        check_integer("batch_size", self.batch_size, low=1, others=("auto",))
        check_real("corruption", self.corruption, low=0, high=1, open_high=True)
        check_precision(self.precision)

    # Training

    def _initialize(self, ratings: Ratings) -> None:
        settings = self._settings(self._structure)
        columns = {"item": ratings.n_users, "user": ratings.n_items}
        self._readers: dict[str, Reader] = {
            side: Reader.of(ratings, settings[side]) for side in SIDES
        }
        self._networks = {
            side: make_network(
                columns[side],
                settings[side],
                seed=(self._seed + number) % 2**64,
                num_threads=self._num_threads(),
            )
            for number, side in enumerate(SIDES)
        }

    @staticmethod
    def _settings(structure: SimpleNamespace) -> dict[str, SimpleNamespace]:
        """Return AutoRec's parameters for each part."""
        own = vars(structure)
        shared = {name: own[name] for name in AutoRec._parameter_names() if name in own}
        return {side: AutoRec(**shared, orientation=side)._current_structure() for side in SIDES}

    def _learner(self, ratings: Ratings) -> DualLearner:
        matrices: dict[str, CSR] = {
            side: ratings.rows(side, num_threads=self._num_threads()) for side in SIDES
        }
        settings = self._settings(self._structure)
        counts = Counts(ratings.nnz, count_filled(matrices["item"]), count_filled(matrices["user"]))
        own = regularization_of(self._structure.regularization, counts)
        settings["item"].regularization = own
        settings["user"].regularization = own * USER_PART * imbalance(counts.rows, counts.columns)
        readers: dict[str, Reader] = {
            side: self._readers[side].renewed(ratings, settings[side]) for side in SIDES
        }
        return DualLearner(
            self._networks,
            readers,
            matrices,
            seed=self._seed,
            num_threads=self._num_threads(),
        )

    def _validate(self, learner: DualLearner, held_out: HeldOut) -> dict[str, float]:
        return self._measure(learner.vectors(), held_out)

    def _show(self, learner: DualLearner) -> None:
        self._keep(learner.snapshot())

    def _finish(self, learner: DualLearner) -> None:
        self._keep(learner.finish())

    def _keep(self, parts: dict[str, Autoencoder]) -> None:
        self._parts = parts
        self._mean = parts["item"].reader.mean
        self._networks = {side: part.network for side, part in parts.items()}
        self._readers = {side: part.reader for side, part in parts.items()}

    # Prediction

    def _vectors(self) -> Vectors:
        return self._vectors_of(self._parts)

    def _vectors_of(self, parts: dict[str, Autoencoder]) -> Vectors:
        item, user = parts["item"], parts["user"]
        return dual_vectors(item.arrays(), user.arrays(), item.reader, item.offsets)

    # New users and items

    def _fold_users(self, ratings: CSR) -> Vectors:
        known = len(self._users)
        vectors = self._vectors_of(self._grown(ratings, "user"))
        return vectors.take(users=np.arange(known, known + ratings.shape[0]))

    def _fold_items(self, ratings: CSR) -> Vectors:
        known = len(self._items)
        vectors = self._vectors_of(self._grown(ratings, "item"))
        return vectors.take(items=np.arange(known, known + ratings.shape[0]))

    def _scores_without(
        self, row: CSR, which: NDArray[np.int64], other: int, axis: str
    ) -> NDArray[Any]:
        if len(row.indices) < 2:
            return super()._scores_without(row, which, other, axis)
        num_threads = self._num_threads()
        encoding = self._parts[axis]
        regressing = self._parts["user" if axis == "item" else "item"]
        rows = without_each(row, which)
        codes, offset = encoding.encode(rows, num_threads=num_threads)
        encoded = encoding.outputs(codes.array, rows, num_threads=num_threads)
        regressed, column_offset = regressing.regress_without(
            *(row, which, other), outputs=encoded, num_threads=num_threads
        )
        _, weights, bias = encoding.arrays()
        outputs = codes.array @ weights[other].astype(np.float64) + bias[other] + regressed
        if axis == "item":
            return encoding.reader.scores(outputs, offset, _at(encoding.offsets.column, other))
        return regressing.reader.scores(outputs, _at(regressing.offsets.row, other), column_offset)

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        parts = self._grown(ratings, axis)
        networks = {side: part.network for side, part in parts.items()}
        return {**super()._fold_in(ratings, axis), "_parts": parts, "_networks": networks}

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        parts = {
            "item": self._parts["item"].take_columns(kept, num_threads=self._num_threads()),
            "user": self._parts["user"].take_rows(kept),
        }
        networks = {side: part.network for side, part in parts.items()}
        return {**super()._without_users(kept), "_parts": parts, "_networks": networks}

    def _grown(self, ratings: CSR, axis: str) -> dict[str, Autoencoder]:
        """Return the parts with new rows of one and, on what it leaves, new columns of the other.

        Rows of `ratings` are what is new, users or items.
        """
        num_threads = self._num_threads()
        other = "user" if axis == "item" else "item"
        encoding, regressing = self._parts[axis], self._parts[other]
        codes, offset = encoding.encode(ratings, num_threads=num_threads)
        outputs = encoding.outputs(codes.array, ratings, num_threads=num_threads)
        fitted = regressing.regress(ratings, outputs=outputs, num_threads=num_threads)
        return {
            axis: encoding.with_rows(codes.array, offset),
            other: regressing.with_columns(*fitted, num_threads=num_threads),
        }

    # Fitted arrays

    @property
    def item_codes_(self) -> Floats:
        """Last hidden layer of every item, in the item part."""
        self._check_fitted()
        return read_only(self._parts["item"].codes.array)

    @property
    def user_codes_(self) -> Floats:
        """Last hidden layer of every user, in the user part."""
        self._check_fitted()
        return read_only(self._parts["user"].codes.array)

    # Files

    def _tensors(self) -> Tensors:
        own = {
            f"{side}.{name}": array
            for side, part in self._parts.items()
            for name, array in part.tensors().items()
        }
        return {**own, **self._training_tensors()}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        settings = self._settings(self._current_structure())
        users, items = shape
        sizes = {"item": (items, users), "user": (users, items)}
        own = {
            f"{side}.{name}": tensor
            for side in SIDES
            for name, tensor in Autoencoder.layout(settings[side], *sizes[side]).items()
        }
        return {**own, **super()._layout(shape, tensors)}

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        for side in SIDES:
            Autoencoder.check_values(part_of(tensors, f"{side}."))

    def _restore(self, tensors: Tensors) -> None:
        self._restore_training(tensors)
        settings = self._settings(self._structure)
        self._keep(
            {
                side: Autoencoder.from_tensors(
                    part_of(tensors, f"{side}."),
                    settings[side],
                    mean=self._mean,
                    limits=self._range,
                    num_threads=self._num_threads(),
                )
                for side in SIDES
            }
        )


def _at(offsets: Floats | None, place: int) -> np.float32 | None:
    return None if offsets is None else offsets[place]
