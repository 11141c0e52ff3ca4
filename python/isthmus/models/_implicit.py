"""What the models of implicit feedback that are trained in epochs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_integer
from isthmus.data._alignment import check_apart, check_same_users, pattern_among, rows_among
from isthmus.data._csr import CSR, count_filled
from isthmus.data.ratings import Ratings
from isthmus.data.splits import HeldOutUsers
from isthmus.evaluation.ranking import RankingMetric, parse_metrics, rank
from isthmus.evaluation.scores import Floats, Vectors
from isthmus.models._cell_weights import (
    check_rule,
    check_values,
    normalized,
    weights_by_rule,
)
from isthmus.models._epochs import EpochModel
from isthmus.models._estimator import with_parameters
from isthmus.models._tensors import Tensors
from isthmus.models.base import Recommender
from isthmus.training.loop import Callback, by_rows
from isthmus.training.weights import load_weights

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ImplicitRecommender", "RowLearner"]


class RowLearner:
    """Train a network of the core on rows, whose values are weights; none stands for ones.

    A subclass implements `run_rows`.
    """

    def __init__(self, rows: CSR, settings: SimpleNamespace, trainer: Any) -> None:
        self.rows = rows
        self._settings = settings
        self._trainer = trainer
        self._cells = len(rows.indices)
        self._filled = count_filled(rows)

    @property
    def weights(self) -> Floats | None:
        """Return the weights of the cells; None where all count 1."""
        return self.rows.values if len(self.rows.values) else None

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        return self.run_rows(index, by_rows(progress, self._cells, self._filled))

    def run_rows(self, index: int, progress: Callable[[int], None] | None) -> float:
        """Train on all rows once and return the mean loss; report rows done so far."""
        raise NotImplementedError

    def keep_best(self) -> None:
        self._trainer.keep_best()

    def restore_best(self) -> None:
        self._trainer.restore_best()


class HeldOut(NamedTuple):
    """Validation data: what should rank high, and what users who are not in training had before.

    Without the latter, the rows are the users of training.
    """

    positives: CSR
    fold_in: CSR | None


@with_parameters
class ImplicitRecommender(EpochModel, abstract=True):
    """A model of rows of ones that is trained in epochs and scores by users' codes.

    A subclass implements `_make_network`, `_learner`, `_encode` and `_decoder`, gives `batch_size`
    a default, and may have `weights` for a parameter.

    Parameters
    ----------
    validation_fraction : float, optional
        Share of each user's cells that `fit` holds out as validation data, unless it is given some.
    validation_metric : str, default "ndcg@10"
        Measured on validation data after each epoch: one of `isthmus.evaluation.ranking.METRICS`.
    """

    batch_size: int | Literal["auto"]
    weights: str | None = field(init=False, default=None)
    validation_metric: str = "ndcg@10"

    _in_core = ("_network",)
    _default_metrics = Recommender._default_ranking

    _split_by = "user"
    _update_share = 0.1  # as learning rates do not fall, more epochs would unlearn what is known
    _higher_is_better = True

    # What a model is

    def _make_network(self, n_users: int, n_items: int, seed: int) -> Any:
        """Make an untrained network of the core."""
        raise NotImplementedError

    def _encode(self, rows: CSR, *, known: bool) -> Floats:
        """Return codes of rows: of those of training, in its order, or of new users."""
        raise NotImplementedError

    def _decoder(self) -> tuple[Floats, Floats | None]:
        """Return the items' vectors and biases, if there are any."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_batch_size()
        check_rule(self.weights)
        if self._validation_metric().name == "coverage":
            raise ValueError("validation_metric must be a metric of users, not coverage.")

    def _check_batch_size(self) -> None:
        check_integer("batch_size", self.batch_size, low=1)

    # Training

    def _check_ratings(self, ratings: Ratings, *, anew: bool) -> None:
        super()._check_ratings(ratings, anew=anew)
        check_values(ratings.values, self.weights)

    def _rows(self, ratings: Ratings) -> CSR:
        """Return the seen cells with their weights, for training; without values, all count 1."""
        rule = self._structure.weights
        if rule is None:
            return self._seen
        weights = weights_by_rule(ratings.values, rule, "X")
        return self._seen._replace(values=normalized(weights))

    def fit(
        self, X: Any, y: Any = None, *, validation: Any = None, callbacks: Iterable[Callback] = ()
    ) -> Self:
        """Train on implicit feedback.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            Every stored cell counts 1, whatever its value, unless `weights` says otherwise. A
            matrix's positions become the ids. Shards are mapped into memory from temporary files,
            and need `validation` instead of `validation_fraction`.
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
        validation : Ratings, scipy.sparse array or matrix, or HeldOutUsers, optional
            What should rank high after each epoch: further cells of the users of `X`, or users who
            are not in it, as `hold_out_users` gives them.
        callbacks : iterable of callable, optional
            Each is called with an `Epoch` after it; training ends if one returns True.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data is invalid.
        ConvergenceError
            If the loss is no longer finite; the model is then not fitted.
        KeyboardInterrupt
            On Ctrl-C, between batches; the model is fitted, with the weights of the last batch.
        """
        return self._start(X, self.epochs, validation, callbacks)

    def _initialize(self, ratings: Ratings) -> None:
        self._network = self._make_network(ratings.n_users, ratings.n_items, self._seed)

    def _grow(self, ratings: Ratings) -> None:
        old = self._network.weights()
        self._network = self._make_network(ratings.n_users, ratings.n_items, self._seed)
        for name, array in self._network.weights().items():
            array[tuple(map(slice, old[name].shape))] = old[name]
        self._users, self._items = ratings._users, ratings._items

    def _prepare(self, ratings: Ratings, validation: Any) -> HeldOut:
        users, items = ratings._users, ratings._items
        if isinstance(validation, HeldOutUsers):
            threads = self._num_threads()
            fold_in, test = (
                rows_among(
                    *(users, items, part, f"validation.{name}"), axis="user", num_threads=threads
                )
                for part, name in zip(validation, HeldOutUsers._fields, strict=True)
            )
            check_same_users(
                validation.test, test, validation.fold_in, fold_in, "validation.fold_in"
            )
            check_apart(test, fold_in, "validation.test", "in validation.fold_in")
            self._check_measurable(test, fold_in, "validation.test")
            return HeldOut(test, fold_in)
        positives = pattern_among(users, items, validation, "validation")
        check_apart(positives, ratings.rows("user"), "validation", "in X")
        self._check_measurable(positives, ratings.rows("user"), "validation")
        return HeldOut(positives, None)

    def _check_measurable(self, positives: CSR, had: CSR, name: str) -> None:
        """Refuse validation data that leaves the metric no user to average over."""
        wanted = np.diff(positives.indptr)
        if not wanted.any():
            raise ValueError(f"{name} must have a rating, but it has none.")
        if self._validation_metric().name != "auc":
            return
        others = had.shape[1] - np.diff(had.indptr) - wanted
        if not others[wanted > 0].any():
            raise ValueError(
                f"{name} must leave items that some user has not had for auc, which compares "
                f"them with the user's own, but its users have all {had.shape[1]:,} items."
            )

    def _validation_metric(self) -> RankingMetric:
        return parse_metrics([self.validation_metric], "validation_metric")[0]

    def _validate(self, learner: RowLearner, held_out: HeldOut) -> dict[str, float]:
        positives, fold_in = held_out
        rows = learner.rows if fold_in is None else fold_in
        values = rank(
            self._assemble(self._encode(rows, known=fold_in is None)).scorer(),
            [self._validation_metric()],
            positives,
            seen=rows,
            num_threads=self._num_threads(),
        )
        return {label: float(np.nanmean(value)) for label, value in values.items()}

    def _finish(self, learner: RowLearner) -> None:
        self._codes = self._encode(learner.rows, known=True)

    def _remedy(self) -> str:
        return f"Lower learning_rate (it is {self.learning_rate:g})."

    def _forget(self) -> None:
        super()._forget()
        self.__dict__.pop("_codes", None)

    # Prediction, and users who come after training

    def _vectors(self) -> Vectors:
        return self._assemble(self._codes)

    def _assemble(self, codes: Floats) -> Vectors:
        weights, bias = self._decoder()
        return Vectors(codes, weights, item_bias=bias)

    def _fold_users(self, ratings: CSR) -> Vectors:
        return self._assemble(self._encode(ratings, known=False))

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        name = type(self).__name__
        if axis == "item":
            raise ValueError(
                f'axis must be "user" for {name}, whose loss for an item weighs it against all '
                f"others; fit it again with the new items."
            )
        codes = np.vstack([self._codes, self._encode(ratings, known=False)])
        return {**super()._fold_in(ratings, axis), "_codes": codes}

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        return {**super()._without_users(kept), "_codes": self._codes[kept]}

    # Files

    def _tensors(self) -> Tensors:
        return {
            **self._network.weights(),
            "codes": self._codes,
            **self._course_tensors(),
        }

    def _restore(self, tensors: Tensors) -> None:
        self._restore_course(tensors)
        self._codes = np.ascontiguousarray(tensors["codes"])
        self._network = self._make_network(*self._sizes(tensors), 0)
        load_weights(self._network.weights(), tensors)

    def _sizes(self, tensors: Tensors) -> tuple[int, int]:
        """Return how many users and items a file's network was made for."""
        return len(tensors["codes"]), len(tensors["decoder.weights"])
