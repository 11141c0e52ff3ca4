"""The loop around a model's epochs: history, validation, early stopping, callbacks, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np
from tqdm.auto import tqdm

from isthmus._util.checks import shown
from isthmus._util.interrupts import uninterrupted

__all__ = [
    "Callback",
    "Epoch",
    "Learner",
    "SelfPacedLearner",
    "as_callbacks",
    "by_rows",
    "is_true",
    "train",
]


@dataclass(frozen=True)
class Epoch:
    """One epoch of training, after its end.

    Attributes
    ----------
    index : int
        0 for the model's first epoch.
    seconds : float
        Time that its training took, without validation.
    loss : float
        Mean loss over the training cells while they were trained on.
    metrics : dict
        Validation metrics by name, as ``{"rmse": 0.83}``; empty without validation data.
    """

    index: int
    seconds: float
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)


Callback = Callable[[Epoch], Any]
"""Called after each epoch; training ends if it returns True."""


class Learner(Protocol):
    """What the loop runs. It is made from parameters and rows, and does not know the model."""

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        """Train on all the data once and return the mean loss; report ratings done so far."""

    def keep_best(self) -> None:
        """Keep a copy of the weights."""

    def restore_best(self) -> None:
        """Restore that copy."""


@runtime_checkable
class SelfPacedLearner(Learner, Protocol):
    """A learner whose optimizer runs the epochs itself, so that `run_epoch` is not used."""

    def run_epochs(self, first: int, epochs: int, finish_epoch: Callable[[float], bool]) -> None:
        """Train for at most `epochs`, and call `finish_epoch` with the loss after each.

        Training ends where that returns True.
        """


def as_callbacks(callbacks: Any) -> list[Callback]:
    """Return a caller's callbacks as a list, or refuse them."""
    listed: list[Callback] = list(callbacks) if isinstance(callbacks, Iterable) else []
    if not isinstance(callbacks, Iterable) or not all(map(callable, listed)):
        raise TypeError(
            f"callbacks must be a list of functions of an Epoch, but it was {shown(callbacks)}."
        )
    return listed


def by_rows(
    progress: Callable[[int], None] | None, ratings: int, rows: int
) -> Callable[[int], None] | None:
    """Turn a report of ratings done into one of rows done, for trainers that count rows."""
    if progress is None:
        return None
    report = progress
    return lambda rows_done: report(ratings * rows_done // rows)


def train(
    learner: Learner,
    *,
    validate: Callable[[], dict[str, float]],
    course: Sequence[int],
    ratings: int,
    patience: int | None,
    higher_is_better: bool = False,
    callbacks: Sequence[Callback] = (),
    verbose: bool = False,
    history: list[Epoch],
    resumed: Sequence[Epoch] = (),
) -> None:
    """Run epochs until their number, the patience or a callback ends it.

    `course` has the number of each epoch as the learner is to count them, by which its learning
    rate changes; in `history` they are numbered by their place. `validate` measures the current
    model; early stopping watches its first metric. With `patience`, training ends after so many
    epochs without a better first metric, and the weights of the best epoch are restored, however
    training ends. The epochs are appended to `history`, which is complete also where an exception
    ends it. `resumed` are the epochs before training was interrupted, if the learner continues from
    there.
    """
    with _progress_bar(len(course), ratings, verbose) as bar:
        run = _Run(learner, validate, patience, higher_is_better, callbacks, bar, history)
        try:
            if any(run.is_out_of_patience(epoch, keep=False) for epoch in resumed):
                return
            if isinstance(learner, SelfPacedLearner):
                learner.run_epochs(course[0], len(course), run.finish_epoch)
            else:
                run.run_epochs(course)
        finally:
            if patience is not None:
                with uninterrupted():
                    learner.restore_best()


@dataclass
class _Run:
    """The state from one epoch to the next."""

    learner: Learner
    validate: Callable[[], dict[str, float]]
    patience: int | None
    higher_is_better: bool
    callbacks: Sequence[Callback]
    bar: _Bar | None
    history: list[Epoch]
    done: int = 0
    best: float = float("inf")
    waited: int = 0
    started: float = field(default_factory=perf_counter)

    def run_epochs(self, course: Sequence[int]) -> None:
        for index in course:
            progress = self.bar.within(self.done) if self.bar else None
            if self.finish_epoch(self.learner.run_epoch(index, progress)):
                break

    def finish_epoch(self, loss: float) -> bool:
        """Validate, note and report the epoch that is over; return whether it was the last."""
        seconds = perf_counter() - self.started
        epoch = Epoch(len(self.history), seconds, loss, self.validate())
        self.history.append(epoch)
        if self.bar:
            self.bar.finish_epoch(epoch, self.done)
        self.done += 1
        out_of_patience = self.is_out_of_patience(epoch)
        # every callback is called, also after one that returned True
        stops = [is_true(callback(epoch)) for callback in self.callbacks]
        self.started = perf_counter()
        return any(stops) or out_of_patience

    def is_out_of_patience(self, epoch: Epoch, *, keep: bool = True) -> bool:
        """Keep the weights if they are the best so far, and count the epochs if not."""
        if self.patience is None:
            return False
        value = next(iter(epoch.metrics.values()))
        value = -value if self.higher_is_better else value
        if value < self.best:
            self.best, self.waited = value, 0
            if keep:
                self.learner.keep_best()
        else:
            self.waited += 1
        return self.waited >= self.patience


def is_true(value: Any) -> bool:
    """Return whether a callback returned True, Python's or NumPy's."""
    return isinstance(value, bool | np.bool_) and bool(value)


class _Bar:
    def __init__(self, bar: Any, ratings: int) -> None:
        self._bar = bar
        self._ratings = ratings

    def within(self, done: int) -> Callable[[int], None]:
        """Report of the ratings trained on in the epoch after `done` whole ones."""

        def report(ratings: int) -> None:
            self._bar.update(done * self._ratings + ratings - self._bar.n)

        return report

    def finish_epoch(self, epoch: Epoch, done: int) -> None:
        self.within(done)(self._ratings)
        figures = {"epoch": epoch.index + 1, "loss": epoch.loss, **epoch.metrics}
        self._bar.set_postfix({k: v if k == "epoch" else f"{v:.4f}" for k, v in figures.items()})


@contextmanager
def _progress_bar(epochs: int, ratings: int, verbose: bool) -> Iterator[_Bar | None]:
    if not verbose:
        yield None
        return
    with tqdm(total=epochs * ratings, unit=" ratings", unit_scale=True, desc="fit") as bar:
        yield _Bar(bar, ratings)
