"""Defaults first, then settings around the best, by successive halving, while there is time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from isthmus.automatic.budget import Budget
from isthmus.automatic.families import Family, Settings
from isthmus.automatic.trials import Fitted, Task, Trial
from isthmus.data._csr import column_counts, row_numbers
from isthmus.data.ratings import Ratings
from isthmus.exceptions import ConvergenceError
from isthmus.models.ease import check_memory
from isthmus.training.loop import Epoch

__all__ = ["Search"]

BRACKETS = (8, 4, 2, 1)
"""Settings that a round may begin with; half of them go on for twice the epochs, twice at most."""

SAFETY = 1.5
"""Factor on the time of a fit, for one like it: machines do other things as well."""

SAMPLE = 100_000
"""Ratings that a first epoch is timed on."""

TIMINGS = 3
"""Fits that are timed at most."""

QUICK = 0.01
"""Share of the time that timings of a model may take before the next one."""

SAMPLED_ITEMS = 1_500
"""Items that a model in closed form is timed on; its time grows by the cube."""

WIDTH = 0.6
"""Length of the first steps around the best settings, on a log scale; later ones are shorter."""


class Search:
    """Fit models to a task until time, trials or ideas run out.

    Parameters
    ----------
    task : Task
    families : sequence of Family
    budget : Budget
    growth : float
        How many times the ratings of the task all ratings are, which the end may train on.
    closing : float
        Seconds to keep for what comes after the last fit.
    trials : int
        Fits at most.
    seed, num_threads : int
        Of all models.
    note : callable
        Called with each trial when it is over.
    """

    def __init__(
        self,
        task: Task,
        families: Sequence[Family],
        budget: Budget,
        *,
        growth: float,
        closing: float,
        trials: int,
        seed: int,
        num_threads: int,
        note: Callable[[Trial], None],
    ) -> None:
        self.task, self.families, self.budget = task, families, budget
        self.growth, self.closing = growth, closing
        self.trials: list[Trial] = []
        self.best: dict[str, Fitted] = {}
        """By the family's name."""
        self._most, self._seed, self._num_threads, self._note = trials, seed, num_threads, note
        self._pace: dict[str, float] = {}
        """Seconds of an epoch, or of a fit, by the family's name."""
        self._random = np.random.default_rng(seed)

    def run(self) -> None:
        """Try the defaults of each family, and then settings around the best."""
        for family in self.families:
            self._try_default(family)
        for family in self.families:
            # a machine that others use may have been slow for a moment
            if family.name not in self.best and self.budget.left > self.budget.seconds / 2:
                self._try_default(family)
        if not self.best:
            self._try_quickest()
        turn = 0
        while len(self.trials) < self._most and (chosen := self._next(turn)) is not None:
            self._halve(*chosen, width=WIDTH / (1 + turn / 8))
            turn += 1

    def ranked(self) -> list[Fitted]:
        """Return the best fit of each family, the best first."""
        return sorted(self.best.values(), key=lambda fit: fit.loss)

    def refit_seconds(self, fits: Sequence[Fitted]) -> float:
        """Return the time to keep for fitting some models to all ratings."""
        return SAFETY * self.growth * sum(fit.seconds for fit in fits)

    # Defaults

    def _try_default(self, family: Family) -> None:
        if len(self.trials) >= self._most:
            return
        try:
            self._pace[family.name] = self._timed(family)
        except MemoryError as error:
            self._skip(family, f"not tried: {error}")
            return
        epochs = self._affordable(family)
        if not epochs:
            pace = self._pace[family.name]
            least = f"{family.epochs // 3} epochs" if family.epochs else "a fit"
            self._skip(family, f"not tried: no time for {least} of about {pace:.2g} s")
            return
        self._fit(family, {}, epochs, limit=self._limit(), whole=True)

    def _affordable(self, family: Family) -> int:
        """Return how many epochs, or fits, there is time for.

        And for the best model so far on all ratings then, or for as many epochs of this one.
        """
        room, most = self.budget.left - self.closing, family.epochs or 1
        seconds = min(room / (1 + SAFETY * self.growth), self.budget.left - self._limit())
        epochs = min(most, int(seconds / self._pace[family.name]))
        return epochs if epochs >= max(1, most / 3) else 0

    def _limit(self) -> float:
        """Return the seconds to keep for the end, and to train the best model on all ratings."""
        return self.closing + self.refit_seconds(self.ranked()[:1])

    def _try_quickest(self) -> None:
        """Fit the fastest model for as long as there is time, so that there is a result."""
        there = [family for family in self.families if family.name in self._pace]
        if not there:
            raise MemoryError("none of the models fits into memory.")
        family = min(there, key=lambda family: self._pace[family.name])
        room = (self.budget.left - self.closing) / self._pace[family.name]
        epochs = max(1, min(family.epochs or 1, int(room)))
        self._fit(family, {}, epochs, limit=self.closing)

    def _timed(self, family: Family) -> float:
        """Return the seconds that an epoch, or a fit, takes, by one on a part of the ratings."""
        ratings = self.task.train
        if family.epochs is None:
            check_memory(ratings.n_items)
            part = _popular(ratings, SAMPLED_ITEMS)
            taken = self._seconds_of(family.make({"regularization": 100.0}, part), part)
            # choosing a penalty takes many a fit to a thousand items
            return taken * ((ratings.n_items / part.n_items) ** 3 + 10)
        part = _some_users(ratings, SAMPLE, self._seed)
        model = family.make({}, part, epochs=1, num_threads=self._num_threads, random_state=0)
        return self._seconds_of(model, part) * ratings.nnz / part.nnz

    def _seconds_of(self, model: Any, ratings: Ratings) -> float:
        """Return the seconds of a fit: the least of a few, as a short one is easily disturbed."""
        taken: list[float] = []
        while len(taken) < TIMINGS and sum(taken) < QUICK * self.budget.seconds:
            start = self.budget.spent
            model.fit(ratings)
            taken.append(self.budget.spent - start)
        return max(min(taken), 1e-6)

    def _skip(self, family: Family, note: str) -> None:
        self._record(Trial(family.name, note=note))

    # Settings around the best

    def _next(self, turn: int) -> tuple[Family, int] | None:
        """Return whose turn it is, and with how many settings, or None if there is no more time.

        The best family has every other turn, the next one every other of what is left, and so on.
        """
        ranked = self.ranked()
        room = self.budget.left - self.closing - self.refit_seconds(ranked)
        place = (turn + 1 & -(turn + 1)).bit_length() - 1  # 0, 1, 0, 2, 0, 1, 0, 3
        for fit in [*ranked[min(place, len(ranked) - 1) :], *ranked]:
            for settings in BRACKETS:
                if _fits_in(settings, fit.family) * self._full_seconds(fit.family) <= room:
                    return fit.family, settings
        return None

    def _full_seconds(self, family: Family) -> float:
        return self._pace[family.name] * (family.epochs or 1)

    def _halve(self, family: Family, settings: int, *, width: float) -> None:
        """Try some settings for few epochs, half of them for twice as many, and so on."""
        centre = self.best[family.name].settings
        running = [family.draw(centre, width, self._random) for _ in range(settings)]
        for epochs in _rungs(settings, family):
            limit = self.closing + self.refit_seconds(self.ranked())
            fits = []
            for one in running:
                if len(self.trials) >= self._most or self.budget.left <= limit:
                    return
                fit = self._fit(family, one, epochs, limit=limit)
                if fit is not None:
                    fits.append(fit)
            fits.sort(key=lambda fit: fit.loss)
            running = [fit.settings for fit in fits[: max(1, len(running) // 2)]]

    # One fit

    def _fit(
        self, family: Family, settings: Settings, epochs: int, *, limit: float, whole: bool = False
    ) -> Fitted | None:
        """Fit and measure a model; None where it has no value.

        Training ends where less than `limit` seconds of the budget are left. With `whole`, it is
        given up after an epoch if it would end so.
        """
        task, start = self.task, self.budget.spent
        model = family.make(settings, task.train, **self._course(family, epochs))
        watch = _Watch(self.budget, limit, epochs, whole)
        try:
            held_out = None if family.patience is None else task.validation
            training: dict[str, Any] = {"validation": held_out, "callbacks": [watch]}
            model.fit(task.train, **(training if family.epochs else {}))
            if watch.too_slow:
                pace = self._pace[family.name] = self.budget.spent - start
                self._skip(family, f"given up: an epoch takes {pace:.1f} s")
                return None
            value, predicted = task.measure(model)
        except (ConvergenceError, MemoryError) as error:
            seconds = self.budget.spent - start
            note = "diverged" if isinstance(error, ConvergenceError) else "too little memory"
            parameters = family.parameters(settings, task.train)
            self._record(Trial(family.name, parameters, epochs, seconds=seconds, note=note))
            return None
        seconds = self.budget.spent - start
        trained = len(getattr(model, "history_", [0]))
        if not watch.stopped:
            self._pace[family.name] = seconds / trained
        settings = {**settings, **{name: getattr(model, f"{name}_") for name in family.chosen}}
        fit = Fitted(
            *(family, settings, _best_epoch(model, family), model),
            *(value, task.loss(value), predicted, seconds),
        )
        self._record(
            Trial(
                *(family.name, family.parameters(settings, task.train), fit.epochs, value, seconds),
                note=f"stopped after {trained} of {epochs} epochs" if watch.stopped else "",
            )
        )
        if family.name not in self.best or fit.loss < self.best[family.name].loss:
            self.best[family.name] = fit
        return fit

    def _course(self, family: Family, epochs: int) -> dict[str, Any]:
        if family.epochs is None:
            return {"num_threads": self._num_threads}
        course = {"epochs": epochs, "random_state": self._seed, "num_threads": self._num_threads}
        return course if family.patience is None else {**course, "patience": family.patience}

    def _record(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._note(trial)


class _Watch:
    """A callback that ends training in time."""

    def __init__(self, budget: Budget, limit: float, epochs: int, whole: bool) -> None:
        self._budget, self._limit, self._epochs, self._whole = budget, limit, epochs, whole
        self._start = budget.spent
        self.stopped = self.too_slow = False

    def __call__(self, epoch: Epoch) -> bool:
        left, rest = self._budget.left, self._epochs - epoch.index - 1
        if self._whole and epoch.index == 0 and rest:
            self.too_slow = (self._budget.spent - self._start) * rest > left - self._limit
        self.stopped = bool(rest) and left <= self._limit
        return self.stopped or self.too_slow


def _rungs(settings: int, family: Family) -> list[int]:
    """Return the epochs of each round of halving, the last of them all."""
    if family.epochs is None:
        return [1]
    shares = {8: (4, 2, 1), 4: (4, 2, 1), 2: (2, 1), 1: (1,)}[settings]
    return [max(1, family.epochs // share) for share in shares]


def _fits_in(settings: int, family: Family) -> float:
    """Return how many whole fits a round costs."""
    if family.epochs is None:
        return settings
    return {8: 6.0, 4: 3.0, 2: 2.0, 1: 1.0}[settings]


def _best_epoch(model: Any, family: Family) -> int | None:
    if family.epochs is None:
        return None
    values = [next(iter(epoch.metrics.values())) for epoch in model.history_ if epoch.metrics]
    if family.patience is None or not values:
        return len(model.history_)
    choose = max if model._higher_is_better else min
    return values.index(choose(values)) + 1


def _some_users(ratings: Ratings, most: int, seed: int) -> Ratings:
    """Keep the ratings of users drawn at random, about `most` of them in all."""
    if ratings.nnz <= most:
        return ratings
    kept = np.random.default_rng(seed).random(ratings.n_users) < most / ratings.nnz
    kept[np.argmax(np.diff(ratings.indptr))] = True  # so that there are some
    return ratings.select(kept[row_numbers(ratings.indptr)])


def _popular(ratings: Ratings, most: int) -> Ratings:
    """Keep the ratings of the items that have most, and these items alone."""
    counts = column_counts(ratings.indices, ratings.n_items)
    items = np.sort(np.argsort(-counts, kind="stable")[:most])
    return Ratings.from_matrix(ratings.to_matrix()[:, items])
