"""Training over ranks: from each one's ratings to each one's model."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import is_finite
from isthmus._util.checks import check_bool, check_integer
from isthmus._util.random import seed_from
from isthmus.data.ratings import Ratings
from isthmus.data.shards import Shards
from isthmus.distributed import Communicator, aborting, agreed
from isthmus.exceptions import ConvergenceError
from isthmus.models._autoencoder import Autoencoder, Offsets, Reader, make_network, network_of
from isthmus.models._checkpoints import Checkpoint, Progress, check_every
from isthmus.models._epochs import diverged
from isthmus.models._parts import Part, Share, held_out_cells, placed, read_part, share_of
from isthmus.models._precision import precision_of
from isthmus.models._rank_learner import RankLearner
from isthmus.models._rank_receipts import started_over_ranks
from isthmus.models._rating_model import LEAST_DEVIATION, HeldOut
from isthmus.models._receipts import Receipt, went_on
from isthmus.models._tensors import MAX_WEIGHT, Tensors
from isthmus.training.loop import Callback, Epoch, as_callbacks, is_true, train
from isthmus.training.weights import load_weights

__all__ = ["AutoRecJob", "RankJob", "check_alone", "fit_over_ranks"]

OF_EACH_RANK = ("num_threads", "verbose", "random_state")
"""Parameters that ranks may differ in; rank 0's seed counts."""


def fit_over_ranks(
    model: Any,
    X: Any,
    comm: Communicator,
    *,
    slices: int | None,
    validation: Any,
    callbacks: Iterable[Callback],
    checkpoint: str | PathLike[str] | None = None,
    every: int | str = 1,
    resume: bool = False,
    epochs: int | None = None,
    further: bool = False,
) -> None:
    """Train a model's columns of a rank together with the other ranks.

    There are as many `epochs` as the parameter says, by default; with `further`, they go on from a
    whole model, which all ranks have.
    """
    progress = None
    with agreed(comm):
        _check(model, slices, checkpoint, every, resume, validation)
        if further:
            _check_further(model)
        structure = model._next_structure() if further else model._current_structure()
        callbacks = as_callbacks(callbacks)
        axis = model._rank_job.axis(structure)
        given = read_part(X, comm, axis, slices)
        own_seed = model._seed if further else seed_from(model.random_state)
        if checkpoint is not None:
            progress = Checkpoint.newest(checkpoint)
            if progress is not None and not resume:
                raise ValueError(
                    f"checkpoint must be a folder without checkpoints unless resume=True, but "
                    f"there is {progress.folder}."
                )
    with aborting(comm):
        same = {k: v for k, v in model.get_params().items() if k not in OF_EACH_RANK}
        before = _identity(model) if further else None
        options = f"{same}, {slices}, {checkpoint}, {every}, {epochs}, {before}"
        told = comm.allgather((own_seed, options, progress))
        share, ratings, wrong = share_of(given, comm, axis, slices)
    if len({text for _, text, _ in told}) > 1:
        what = "the same model, parameters" if further else "the same parameters"
        wrong = f"All ranks must be given {what} and options, but they differ."
    if wrong is not None:
        raise ValueError(wrong)
    if further:
        share, ratings = placed(share, ratings, model._users, model._items, axis)
    job = model._rank_job(model, share, axis, told[0][0], told[0][2], structure, further)
    _warn_of_binding(model, comm)
    with aborting(comm):
        part, held_out, wrong = job.split(ratings, validation)
    if wrong is not None:
        raise ValueError(wrong)
    with aborting(comm):
        saved = None if checkpoint is None else job.checkpoint(part, checkpoint, every)
        buckets = X.n_buckets if isinstance(X, Shards) else None
        receipt = job.receipt(ratings, validation, buckets)
        job.fit(part, ratings, held_out, callbacks, epochs, saved, receipt)


def _check_further(model: Any) -> None:
    model._check_whole()
    type(model)(**vars(model._next_structure()))._check_parameters()


def _identity(model: Any) -> str:
    """Return what tells a trained model from others."""
    history = [(epoch.loss, epoch.metrics) for epoch in model.history_]
    return f"{model._seed}, {len(model._users)}, {len(model._items)}, {history}"


def _check(
    model: Any, slices: Any, checkpoint: Any, every: Any, resume: Any, validation: Any
) -> None:
    model._check_parameters()
    model._rank_job.check(model)
    if slices is not None:
        check_integer("slices", slices, low=1)
    check_every(every)
    check_bool("resume", resume)
    if resume and checkpoint is None:
        raise ValueError("resume must come with checkpoint, the folder to resume from.")
    if validation is not None:
        model._rank_job.check_validation(model, validation)
    if model.patience is not None and validation is None and model.validation_fraction is None:
        raise ValueError(
            "patience needs validation data: pass validation=... to fit, or set "
            "validation_fraction."
        )


def check_alone(slices: Any, checkpoint: Any, resume: Any) -> None:
    """Refuse what a job takes where there is no communicator."""
    if slices is not None or checkpoint is not None or resume:
        raise ValueError(
            "slices, checkpoint and resume must come with comm; for a job of one rank, "
            "comm=isthmus.distributed.ThreadCommunicator()."
        )


class RankJob:
    """One rank's part of training a model; a subclass has what is particular to a kind of model."""

    def __init__(
        self,
        model: Any,
        share: Share,
        axis: str,
        seed: int,
        progress: Progress | None,
        structure: SimpleNamespace,
        further: bool,
    ) -> None:
        self._model = model
        self._structure = structure
        self._further = further
        self._share = share
        self._comm = share.comm
        self._axis = axis
        self._progress = progress
        self._seed = seed if progress is None else progress.seed
        drawn = isinstance(model.random_state, np.random.Generator | None)
        self._given_seed = self._seed if drawn else seed

    def split(self, ratings: Ratings, validation: Any) -> tuple[Part | None, Any, str | None]:
        """Hold ratings out, and measure the others; also return what is wrong on any rank."""
        model, share = self._model, self._share
        held_out, wrong = None, None
        known = ratings
        if validation is not None:
            held_out, wrong = self._validated(validation, ratings)
        elif model.validation_fraction is not None:
            mask = held_out_cells(ratings, share, self._axis, model.validation_fraction, self._seed)
            held_out = _cells_under(ratings, mask)
            n_out, n = share.total_counts(np.array([mask.sum(), ratings.nnz]))
            if not 0 < n_out < n:
                wrong = "validation_fraction must leave ratings in both parts, but it does not."
            else:
                known = ratings.select(~mask)
        if wrong is not None:
            return None, None, wrong
        rows = "item" if self._axis == "user" else "user"
        return Part.of(share, known, rows, num_threads=model._num_threads()), held_out, None

    def _validated(self, validation: Any, ratings: Ratings) -> tuple[Any, str | None]:
        """Return a rank's part of validation data, or what is wrong with it."""
        held_out = _cells_of(validation, ratings)
        return held_out, self._lacking("users and items", validation.nnz, len(held_out.values))

    def _lacking(self, what: str, n: int, found: int) -> str | None:
        """Return an error if some ratings of validation data are on no rank, or None."""
        n_found = self._share.total_counts(np.array([found]))[0]
        if n_found == n:
            return None
        return (
            f"validation must have {what} of X alone, but {n - n_found:,} of its {n:,} ratings are "
            f"of others."
        )

    def fit(
        self,
        part: Part | None,
        everything: Ratings,
        held_out: Any,
        callbacks: list[Callback],
        epochs: int | None,
        saved: Checkpoint | None,
        receipt: Callable[[], Receipt | None],
    ) -> None:
        assert part is not None
        model, comm = self._model, self._comm
        trained = model._trained if self._further else None
        model._forget()
        model._seed = self._seed
        model._structure = self._structure
        model.history_ = list(model.history_) if self._further else []
        model._receipt = None
        self._remember(part)
        learner = self._learner(part, trained)
        del trained  # of which the learner has a copy of the rank's columns
        if self._progress is not None:
            learner.go_on(self._progress.files(comm.rank, comm.size), self._progress.step)
            model.history_ = self._progress.history

        def after(epoch: Epoch) -> bool:
            if saved is not None and saved.is_due(epoch.index + 1):
                saved.save(
                    learner.state(),
                    seed=self._seed,
                    step=learner.step,
                    history=model.history_,
                    ranks=self._ranks,
                )
            # every callback is called, on every rank
            stops = [is_true(callback(epoch)) for callback in callbacks]
            return any(comm.allgather(any(stops)))

        first = len(model.history_)
        end = model.epochs if epochs is None else epochs + first * self._further
        model._copy_now = _refuse_snapshot
        try:
            train(
                learner,
                validate=dict if held_out is None else lambda: self._measure(learner, held_out),
                course=range(first, end),
                ratings=part.counts.cells,
                patience=model.patience,
                higher_is_better=model._higher_is_better,
                callbacks=[after],
                verbose=model.verbose and comm.rank == 0,
                history=model.history_,
                resumed=() if self._further else list(model.history_),
            )
            with np.errstate(over="ignore", invalid="ignore"):
                self._finish(learner)
            self._check_finite()
        except _core.Diverged as error:
            model._forget()
            raise ConvergenceError(f"{error}. {model._remedy()}") from None
        finally:
            model.__dict__.pop("_copy_now", None)
        model._see(everything)
        model._rank_columns = None if comm.size == 1 else self._share.numbers
        model._receipt = receipt()
        model._fitted = True

    def receipt(
        self, ratings: Ratings, validation: Ratings | None, buckets: int | None
    ) -> Callable[[], Receipt | None]:
        """Return what makes the model's receipt when training is over."""
        if self._further:
            earlier = went_on(self._model, "partial_fit")["_receipt"]
            return lambda: earlier
        return started_over_ranks(
            *(self._share, ratings, self._axis, validation),
            seed=self._seed,
            ranks=self._ranks,
            buckets=buckets,
        )

    @property
    def _ranks(self) -> int:
        """Return the most ranks that have trained the model."""
        return max(self._comm.size, 0 if self._progress is None else self._progress.ranks)

    def checkpoint(
        self, part: Part | None, folder: str | PathLike[str], every: int | str
    ) -> Checkpoint:
        """Return where training is saved, or refuse what does not fit what is saved there."""
        assert part is not None
        saved = Checkpoint(folder, self._comm, self._what(part), every)
        if self._progress is not None:
            saved.check(self._progress)
        return saved

    def _what(self, part: Part) -> dict[str, Any]:
        """Return what must be alike to go on from a checkpoint."""
        structure = self._model._current_structure()
        precision = precision_of(structure.precision, structure.optimizer)
        rows = hashlib.blake2b(part.totals.counts.astype("<i8").tobytes(), digest_size=16)
        own = {k: v for k, v in vars(structure).items() if k not in OF_EACH_RANK}
        return {
            **own,
            "precision": precision,
            # halves lie in another order in another core's rows
            "instruction set": _core.build_info()["isa"] if precision == "bfloat16" else "any",
            "random_state": self._given_seed,
            "slices": self._share.slices * self._comm.size if self._share.fixed else None,
            "columns": self._share.n_columns,
            "ratings of the rows": rows.hexdigest(),
        }

    def _check_finite(self) -> None:
        tensors = self._tensors().values()
        bad = any(a.dtype.kind == "f" and not is_finite(a, limit=MAX_WEIGHT) for a in tensors)
        if any(self._comm.allgather(bad)):
            raise diverged(self._model.history_)

    def _finish(self, learner: Any) -> None:
        """Keep what prediction needs of the learner, once training is over."""
        self._model._finish(learner)

    # What is particular to a kind of model

    @staticmethod
    def axis(model: Any) -> Literal["user", "item"]:
        """Return whose ids the columns are, of a model or its parameters."""
        raise NotImplementedError

    @staticmethod
    def check(model: Any) -> None:
        """Refuse parameters that ranks cannot train with."""

    @staticmethod
    def check_validation(model: Any, validation: Any) -> None:
        """Refuse validation data of another kind than ranks take."""
        if not isinstance(validation, Ratings):
            raise TypeError(
                f"validation must be Ratings, the same on all ranks, with comm, but it is a "
                f"{type(validation).__name__}."
            )

    def _remember(self, part: Part) -> None:
        """Keep what prediction needs of the ratings."""
        self._model._remember(part.ratings)
        self._model._range = (part.low, part.high)

    def _learner(self, part: Part, trained: Any) -> Any:
        """Make what trains a model, from the start or on from what has been trained."""
        raise NotImplementedError

    def _measure(self, learner: Any, held_out: Any) -> dict[str, float]:
        """Measure the model as it stands on all ranks' held-out ratings."""
        raise NotImplementedError

    def _tensors(self) -> Tensors:
        """Return what has been trained."""
        raise NotImplementedError

    @staticmethod
    def by_column(model: Any) -> Tensors:
        """Return what a model has of its columns beside the network's weights."""
        return {}

    @staticmethod
    def complete(whole: Any, weights: Tensors, columns: Tensors) -> None:
        """Make a model of some columns one of all."""
        raise NotImplementedError


class AutoRecJob(RankJob):
    """The same for AutoRec."""

    @staticmethod
    def axis(model: Any) -> Literal["user", "item"]:
        return "user" if model.orientation == "item" else "item"

    @staticmethod
    def check(model: Any) -> None:
        if model.optimizer == "lbfgs":
            raise ValueError("optimizer must be any but lbfgs with comm, but it was 'lbfgs'.")
        if model.pretraining_epochs:
            raise ValueError(
                f"pretraining_epochs must be 0 with comm, but it was {model.pretraining_epochs!r}."
            )

    def _tensors(self) -> Tensors:
        tensors: Tensors = self._model._trained.tensors()
        return tensors

    @staticmethod
    def by_column(model: Any) -> Tensors:
        by_item = model._structure.orientation == "item"
        known = model._users_trained if by_item else model._items_trained
        offset = model._trained.offsets.column
        return {"known": known, **({} if offset is None else {"offset": offset})}

    @staticmethod
    def complete(whole: Any, weights: Tensors, columns: Tensors) -> None:
        structure, known = whole._structure, columns["known"]
        network = make_network(len(known), structure, seed=0, num_threads=whole._num_threads())
        load_weights(network.weights(), weights)
        offsets = Offsets(whole._trained.offsets.row, columns.get("offset"))
        whole._keep(replace(whole._trained, network=network, offsets=offsets))
        if structure.orientation == "item":
            whole._users_trained = known
        else:
            whole._items_trained = known

    def _remember(self, part: Part) -> None:
        super()._remember(part)
        setattr(self._model, f"_{part.orientation}s_trained", part.totals.counts > 0)

    def _learner(self, part: Part, trained: Autoencoder | None) -> RankLearner:
        model, numbers, settings = self._model, self._share.numbers, self._structure
        threads = model._num_threads()
        if trained is None:
            network, reader = self._untrained(part)
        else:
            network = network_of(trained.network, numbers, settings, num_threads=threads)
            reader = replace(
                trained.reader, settings=settings, mean=part.mean, low=part.low, high=part.high
            )
        model._mean = part.mean
        return RankLearner(network, reader, part, seed=self._seed, num_threads=threads)

    def _untrained(self, part: Part) -> tuple[_core.Autoencoder, Reader]:
        model, share = self._model, self._share

        def deviation() -> float:
            found = part.deviation()
            return found if found > LEAST_DEVIATION else 1.0

        reader = Reader.measured(
            *(model._structure, part.totals.counts, part.mean, (part.low, part.high)), deviation
        )
        model._set_up(reader, share.n_columns, share.numbers)
        return model._network, reader

    def _measure(self, learner: RankLearner, held_out: HeldOut) -> dict[str, float]:
        """Return the error on all ranks' held-out ratings."""
        model, share = self._model, self._share
        vectors = learner.reader.vectors(*learner.arrays(), learner.offsets)
        scores = vectors.scorer().score_pairs(
            held_out.users.astype(np.int32),
            held_out.items.astype(np.int32),
            num_threads=model._num_threads(),
        )
        predicted = model._finish_predictions(scores, held_out.users, held_out.items)
        with np.errstate(all="ignore"):
            squares = np.square(held_out.values - predicted, dtype=np.float64)
            if not is_finite(scores):
                squares[:1] = np.nan
        columns = held_out.users if self._axis == "user" else held_out.items
        n = int(share.total_counts(np.array([len(squares)]))[0])
        total = share.total_of_columns(
            np.bincount(columns, weights=squares, minlength=len(share.numbers)).astype(np.float64)
        )
        if not np.isfinite(total):
            raise _core.Diverged(
                f"training diverged in epoch {len(model.history_) + 1}: a prediction is no longer "
                f"finite"
            )
        return {"rmse": float(np.sqrt(total / n))}


def _refuse_snapshot() -> Any:
    raise ValueError(
        "snapshot must not be called while ranks train, each of which has a part of the model: "
        "checkpoint=... saves the training."
    )


def _warn_of_binding(model: Any, comm: Communicator) -> None:
    """Warn of ranks that are bound to one core each, as Open MPI binds two of them."""
    bound = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1
    if model.num_threads == 0 and bound and comm.rank == 0 and comm.size < (os.cpu_count() or 1):
        warnings.warn(
            "num_threads=0 means 1 here, as this process is bound to one CPU of "
            f"{os.cpu_count()}; with Open MPI, mpiexec --bind-to none lifts that.",
            UserWarning,
            stacklevel=4,
        )


def _cells_under(ratings: Ratings, mask: NDArray[np.bool_]) -> HeldOut:
    at = np.flatnonzero(mask)
    users = np.searchsorted(ratings.indptr, at, side="right") - 1
    return HeldOut(users, ratings.indices[at].astype(np.int64), ratings.values[at])


def _cells_of(validation: Ratings, ratings: Ratings) -> HeldOut:
    """Return the ratings to validate on that are of a rank's columns."""
    users = ratings._users.find(validation.user_ids, "users of validation")
    items = ratings._items.find(validation.item_ids, "items of validation")
    rows = np.repeat(users, np.diff(validation.indptr))
    columns = items[validation.indices]
    own = (rows >= 0) & (columns >= 0)
    return HeldOut(rows[own], columns[own], validation.values[own])
