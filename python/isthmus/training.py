"""The loop around a model's epochs: history, validation, early stopping, callbacks, progress."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from tqdm.auto import tqdm

__all__ = ["Callback", "Epoch", "Learner", "by_rows", "train"]


@dataclass(frozen=True)
class Epoch:
    """What is known of one epoch once it is over.

    Attributes
    ----------
    index : int
        0 for the first epoch of the model's life.
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
    """What the loop drives."""

    def run_epoch(self, index: int, progress: Callable[[int], None] | None) -> float:
        """Train on all the data once and return the mean loss; report ratings done so far."""

    def validate(self) -> dict[str, float]:
        """Measure the model as it stands; the first metric is what early stopping watches."""

    def keep_best(self) -> None:
        """Keep a copy of the weights."""

    def restore_best(self) -> None:
        """Go back to that copy."""


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
    first: int,
    epochs: int,
    ratings: int,
    patience: int | None,
    higher_is_better: bool = False,
    callbacks: Iterable[Callback] = (),
    verbose: bool = False,
    history: list[Epoch],
) -> None:
    """Run epochs until their number, the patience or a callback ends it.

    With `patience`, training ends after so many epochs without a better first metric, and the
    weights of the best epoch are restored, however training ends. The epochs are appended to
    `history`, which is complete also where an exception ends it.
    """
    sign = -1.0 if higher_is_better else 1.0
    best, waited = float("inf"), 0
    with _progress_bar(epochs, ratings, verbose) as bar:
        try:
            for index in range(first, first + epochs):
                start = perf_counter()
                loss = learner.run_epoch(index, bar.within(index - first) if bar else None)
                seconds = perf_counter() - start
                epoch = Epoch(index, seconds, loss, learner.validate())
                history.append(epoch)
                if bar:
                    bar.finish_epoch(epoch, index - first)
                if patience is not None:
                    value = sign * next(iter(epoch.metrics.values()))
                    if value < best:
                        best, waited = value, 0
                        learner.keep_best()
                    else:
                        waited += 1
                # every callback is called, whatever an earlier one returned
                stops = [callback(epoch) is True for callback in callbacks]
                if any(stops) or (patience is not None and waited >= patience):
                    break
        finally:
            if patience is not None:
                learner.restore_best()


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
