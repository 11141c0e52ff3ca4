"""`auto_fit`: look at the data, choose, search, blend, and train on everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_bool, check_integer, check_real
from isthmus._util.random import seed_from
from isthmus._util.threads import resolve_num_threads
from isthmus.automatic.budget import Budget
from isthmus.automatic.families import IMPLICIT, RATING
from isthmus.automatic.search import Search
from isthmus.automatic.splits import has_times, hold_out
from isthmus.automatic.trials import Fitted, Task, Trial
from isthmus.data.lint import Finding, lint
from isthmus.data.ratings import Ratings, as_ratings, in_memory
from isthmus.metrics import rmse
from isthmus.models.base import Recommender
from isthmus.models.blend import Blend, fit_weights

__all__ = ["AutoFit", "auto_fit", "run"]

FEWEST = 50
"""Fewer ratings are too few to hold some out and compare models on them."""

GAIN = 5e-4
"""The share of a blend's error that a further model must remove to be worth its time."""

FOLDS = 5
"""Parts of the validation ratings: a blend is measured on those that its weights are not of."""

CLOSING = 0.02
"""Share of the budget that is kept for what comes after training."""


@dataclass(frozen=True)
class AutoFit:
    """What `auto_fit` found.

    Attributes
    ----------
    model : Recommender
        Fitted: to all ratings but those of `test`, unless `retrained` is False.
    choice : str
        What it is, as "a blend of 0.61 DualAutoRec + 0.36 AutoRec".
    trials : list of Trial
        Every setting that was tried, in order.
    metric : str
        What models were compared by: "rmse", the lower the better, or "ndcg@10", the higher the
        better.
    value : float
        The model's metric on validation data, before it was trained on these as well. As the model
        was chosen by this value, it is a little better than on other ratings.
    retrained : bool
        Whether the model was trained on the validation data as well, in the end; if not, time ran
        out, or Ctrl-C ended the search.
    test, train : Ratings or None
        The ratings that `model` has not seen, and the others, if a test part was asked for.
    findings : list of Finding
        What `isthmus.data.lint` found in the ratings.
    seconds : float
        In all.
    """

    model: Recommender
    choice: str
    trials: list[Trial]
    metric: str
    value: float
    retrained: bool
    test: Ratings | None
    train: Ratings | None
    findings: list[Finding]
    seconds: float

    def table(self) -> str:
        """Return the trials as text, a line each."""
        return "\n".join([_line(None, self.metric), *map(_line, self.trials)])

    def summary(self) -> str:
        """Return how the model was chosen, in a sentence."""
        fits = sum(not np.isnan(trial.value) for trial in self.trials)
        trained = "and then trained on these as well" if self.retrained else "and left as it was"
        return (
            f"The model is {self.choice}, the best of {fits} fits and their blends by "
            f"{_shown(self.metric, self.value)} on ratings held out to choose by, {trained}."
        )


def auto_fit(
    ratings: Any,
    *,
    minutes: float = 5.0,
    implicit: bool | None = None,
    hold_out_test: bool = False,
    trials: int = 100,
    random_state: int | np.random.Generator | None = None,
    num_threads: int = 0,
    verbose: bool = False,
) -> AutoFit:
    """Find a good model for ratings within some minutes, and fit it.

    A tenth of the ratings is held out to choose by: each user's latest, where the ratings have
    times, or a random tenth. The defaults of each model are tried first, then settings around the
    best ones, by successive halving on epochs; what does best alone, or in a `Blend` whose weights
    come from the held-out ratings, is trained again on all of them.

    Parameters
    ----------
    ratings : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
    minutes : float, default 5.0
        Time for everything, above 0. It is an upper bound: a search of `trials` may need less.
    implicit : bool, optional
        Whether to learn which items users had, instead of the values. By default, if all values are
        equal or look like counts.
    hold_out_test : bool, default False
        Whether to hold out a further tenth, before anything else, that the model never sees: see
        `AutoFit.test`.
    trials : int, default 100
        Fits at most.
    random_state : int, numpy.random.Generator or None, default None
        Seed of what is held out, of the search and of the models. With an int, the result is the
        same every time *if* time did not run out before `trials` did: how far a search comes in a
        few minutes depends on the machine. Each fit is the same in any case.
    num_threads : int, default 0
        0: all that this process may use.
    verbose : bool, default False
        Whether to say what is done.

    Returns
    -------
    AutoFit
        The fitted model, and what was tried.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, or there are fewer than 50 ratings.
    KeyboardInterrupt
        On Ctrl-C before any model was fitted. Later, the search ends, and the best single model
        until then is returned as it is.

    Notes
    -----
    Successive halving: K. Jamieson, A. Talwalkar: Non-stochastic Best Arm Identification and
    Hyperparameter Optimization, AISTATS 2016. Seconds of an epoch are measured on a part of the
    ratings, and corrected by every fit; training stops after the epoch in which the time is up.

    Examples
    --------
    >>> from isthmus import auto_fit, synthetic_ratings
    >>> found = auto_fit(synthetic_ratings(200, 100, 5000, random_state=0), trials=4)
    >>> found.metric, len(found.trials)
    ('rmse', 4)
    """
    budget = Budget(60 * check_real("minutes", minutes, low=0, open_low=True))
    return run(
        ratings,
        budget,
        implicit=implicit,
        hold_out_test=hold_out_test,
        trials=trials,
        random_state=random_state,
        num_threads=num_threads,
        say=print if verbose else _say_nothing,
    )


def run(
    ratings: Any,
    budget: Budget,
    *,
    implicit: bool | None = None,
    hold_out_test: bool = False,
    trials: int = 100,
    random_state: int | np.random.Generator | None = None,
    num_threads: int = 0,
    closing: float = 0.0,
    say: Callable[[str], None],
) -> AutoFit:
    """Do what `auto_fit` does within a budget that may have begun, and keep `closing` seconds."""
    if implicit is not None:
        check_bool("implicit", implicit)
    check_bool("hold_out_test", hold_out_test)
    check_integer("trials", trials, low=1)
    resolve_num_threads(num_threads)
    everything = as_ratings(in_memory(ratings))
    if everything.nnz < FEWEST:
        raise ValueError(
            f"ratings must be at least {FEWEST}, so that some can be held out to choose by, but "
            f"there are {everything.nnz}."
        )
    seed = seed_from(random_state)
    findings = lint(everything)
    for finding in findings:
        say(f"note: {finding}")
    by_time = has_times(everything)
    known, test = everything, None
    if hold_out_test:
        known, test = hold_out(everything, name="the test part", seed=seed, by_time=by_time)
    train, validation = hold_out(known, name="the validation part", seed=seed + 1, by_time=by_time)
    if implicit is None:
        implicit = any(finding.kind in ("constant", "counts") for finding in findings)
    task = Task(train, validation, implicit)
    _say_plan(task, test, by_time, say)
    search = Search(
        task,
        IMPLICIT if implicit else RATING,
        budget,
        growth=known.nnz / train.nnz,
        closing=closing + CLOSING * budget.seconds,
        trials=trials,
        seed=seed,
        num_threads=num_threads,
        note=lambda trial: say(_line(trial)),
    )
    say(_line(None, task.metric))
    interrupted = _searched(search)
    if interrupted:
        say("interrupted: this is the best model so far")
    ending = _Ending(search, known, seed, num_threads, say)
    model, choice, retrained = ending.best_as_it_is() if interrupted else ending.best()
    return AutoFit(
        model,
        str(choice),
        search.trials,
        task.metric,
        choice.value,
        retrained,
        test,
        known if hold_out_test else None,
        findings,
        budget.spent,
    )


def _searched(search: Search) -> bool:
    """Search, and return whether Ctrl-C ended it."""
    try:
        search.run()
    except KeyboardInterrupt:
        if not search.best:
            raise
        return True
    return False


class _Choice(NamedTuple):
    """Models to end with: one, or several with weights."""

    members: list[Fitted]
    weights: NDArray[np.float64]
    value: float

    def __str__(self) -> str:
        if len(self.members) == 1:
            return f"{self.members[0].family.name} alone"
        parts = [
            f"{weight:.2f} {fit.family.name}"
            for fit, weight in zip(self.members, self.weights, strict=True)
        ]
        return f"a blend of {' + '.join(parts)}"


class _Ending(NamedTuple):
    """The outcome of a search: a blend or a single model, trained on everything if time allows."""

    search: Search
    ratings: Ratings
    seed: int
    num_threads: int
    say: Callable[[str], None]

    def best(self) -> tuple[Recommender, _Choice, bool]:
        """Return the best model, what it is, and whether it was trained again."""
        task, choices = self.search.task, [self._single()]
        if not task.implicit:
            blend = _blended(self.search.ranked(), task.validation.values, self.seed)
            choices = [blend, *choices] if len(blend.members) > 1 else choices
        for choice in choices:
            self.say(f"{choice}: {_shown(task.metric, choice.value)} on the held-out ratings")
            budget = self.search.budget
            if self.search.refit_seconds(choice.members) > budget.left - self.search.closing:
                self.say("there is no time to train that on all ratings")
                continue
            start = budget.spent
            try:
                model = self._retrained(choice)
            except KeyboardInterrupt:
                self.say("interrupted: this is the best model so far")
                break
            taken = budget.spent - start
            self.say(f"trained again on all {self.ratings.nnz:,} ratings in {taken:.1f} s")
            return model, choice, True
        return self.best_as_it_is()

    def best_as_it_is(self) -> tuple[Recommender, _Choice, bool]:
        """Return the best single model, as it was fitted to the training part."""
        choice, part = self._single(), self.search.task.train.nnz
        self.say(f"{choice}, as it was trained on {part:,} of the ratings")
        model = choice.members[0].model
        model._see(self.ratings)  # what was held out is not to be recommended either
        return model, choice, False

    def _single(self) -> _Choice:
        best = self.search.ranked()[0]
        return _Choice([best], np.ones(1), best.value)

    def _retrained(self, choice: _Choice) -> Recommender:
        models: list[Any] = [
            fit.again(self.ratings, seed=self.seed, num_threads=self.num_threads)
            for fit in choice.members
        ]
        if len(models) > 1:
            weights = choice.weights.tolist()
            models = [Blend(models, weights=weights, num_threads=self.num_threads)]
        fitted: Recommender = models[0].fit(self.ratings)
        return fitted


def _blended(ranked: Sequence[Fitted], truth: NDArray[np.float32], seed: int) -> _Choice:
    """Add models to the best one while each takes a little off the error of the whole."""
    folds = np.random.default_rng(seed).permutation(np.arange(len(truth)) % FOLDS)
    members, others = [ranked[0]], list(ranked[1:])
    error = rmse(truth, ranked[0].predicted)
    while others:
        errors = [_error_of([*members, other], truth, folds) for other in others]
        if min(errors) > (1 - GAIN) * error:
            break
        error = min(errors)
        members.append(others.pop(errors.index(error)))
    weights, _ = fit_weights(_columns(members), truth)
    return _Choice(members, weights, error)


def _error_of(
    members: Sequence[Fitted], truth: NDArray[np.float32], folds: NDArray[np.int64]
) -> float:
    """Return the error of a blend on ratings that its weights were not fitted to."""
    columns, predicted = _columns(members), np.empty(len(truth))
    for fold in range(FOLDS):
        out = folds == fold
        weights, constant = fit_weights(columns[~out], truth[~out])
        predicted[out] = constant + columns[out] @ weights
    return rmse(truth, np.clip(predicted, truth.min(), truth.max()))


def _columns(members: Sequence[Fitted]) -> NDArray[np.float32]:
    return np.column_stack([fit.predicted for fit in members])


# Messages


def _say_nothing(line: str) -> None: ...


def _say_plan(task: Task, test: Ratings | None, by_time: bool, say: Callable[[str], None]) -> None:
    what = "who had what, not the values" if task.implicit else "the values"
    say(f"learning {what}; models are compared by {task.metric.upper()}")
    how = "the latest of each user" if by_time else "drawn at random"
    if test is not None:
        say(f"held out to test on: {test.nnz:,} ratings, {how}")
    say(f"held out to choose by: {task.validation.nnz:,} ratings, {how}")


def _line(trial: Trial | None, metric: str = "") -> str:
    """Return a row of the table of trials, or its heading."""
    if trial is None:
        return f"{'model':<12}{'epochs':>7}{metric.upper():>9}{'seconds':>9}  parameters"
    shown = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.parameters.items()
        if name != "orientation"
    )
    epochs = "" if trial.epochs is None else str(trial.epochs)
    value = "" if np.isnan(trial.value) else f"{trial.value:.4f}"
    note = f"; {trial.note}" if trial.note and shown else trial.note
    return f"{trial.model:<12}{epochs:>7}{value:>9}{trial.seconds:>9.1f}  {shown}{note}".rstrip()


def _shown(metric: str, value: float) -> str:
    return f"{metric.upper()} {value:.4f}"
