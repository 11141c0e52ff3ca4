"""A search for parameters on validation data, by Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isthmus._util.checks import check_integer, check_real, check_share, shown
from isthmus._util.random import seed_from
from isthmus.data.ratings import as_ratings, in_memory
from isthmus.data.splits import split_off
from isthmus.evaluation.evaluate import error_of
from isthmus.exceptions import ConvergenceError
from isthmus.models._epochs import EpochModel
from isthmus.models.base import Recommender
from isthmus.training.loop import Epoch

if TYPE_CHECKING:
    import optuna

__all__ = ["Tuned", "tune"]

Space = Callable[[Any], Mapping[str, Any]]


class Tuned(NamedTuple):
    """What a search found.

    Attributes
    ----------
    model : Recommender
        Not fitted, with the best parameters; of a model that is trained in epochs, with the number
        of epochs that was best, unless its learning rate falls to 0 at the end of the last one.
    parameters : dict
        Those of `model` that the search chose.
    value : float
        Their validation metric.
    study : optuna.study.Study
        Every trial, for Optuna's own plots and tables.
    """

    model: Recommender
    parameters: dict[str, Any]
    value: float
    study: optuna.study.Study


def tune(
    model: Recommender,
    X: Any,
    space: Space,
    *,
    validation: Any = None,
    validation_fraction: float = 0.1,
    metric: str | None = None,
    trials: int = 50,
    seconds: float | None = None,
    prune: bool = True,
    random_state: int | np.random.Generator | None = None,
) -> Tuned:
    """Search for a model's best parameters on validation data.

    Each trial fits a copy of the model. For a model that is trained in epochs, the best epoch
    counts (the last one, where the learning rate falls to 0 at its end), and a trial that does
    worse than the median of the earlier ones at the same epoch is given up. A trial that diverges
    is given up as well. Keep the test data out of this.

    Parameters
    ----------
    model : Recommender
        Any model; parameters that `space` does not name stay as they are.
    X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
        Training data.
    space : callable
        Called with an `optuna.Trial`; returns the parameters to try, as
        ``lambda trial: {"regularization": trial.suggest_float("lambda", 50, 500, log=True)}``.
    validation : optional
        Validation data as the model's `fit` takes it. By default, a part of `X` is held out.
    validation_fraction : float, default 0.1
        Share of `X` that is held out without `validation`, in (0, 1).
    metric : str, optional
        For models without epochs: the metric of `evaluate` that is best, by default the model's
        first. Models with epochs have their own (`validation_metric`, or the RMSE).
    trials : int, default 50
    seconds : float, optional
        Start no further trial after this time.
    prune : bool, default True
        Whether trials are given up early.
    random_state : int, numpy.random.Generator or None, default None
        Seed of the search, and of what is held out. With an int, the model's own `random_state`
        an int and no `seconds`, the result is the same every time.

    Returns
    -------
    Tuned
        The best model, to be fitted to all of `X`, its parameters, their value and the study.

    Raises
    ------
    ImportError
        Without Optuna: ``pip install 'isthmus[tune]'``.
    TypeError, ValueError
        If an argument is invalid.
    ConvergenceError
        If every trial diverged.

    Examples
    --------
    >>> from isthmus import AutoRec, synthetic_ratings, train_test_split, tune
    >>> train, test = train_test_split(synthetic_ratings(100, 80, 2000, random_state=0))
    >>> model = AutoRec(hidden_units=(10,), epochs=5, random_state=0)
    >>> def space(trial):
    ...     return {"regularization": trial.suggest_float("regularization", 1, 100, log=True)}
    >>> tuned = tune(model, train, space, trials=3, random_state=0)
    >>> sorted(tuned.parameters)
    ['regularization']
    >>> rmse = tuned.model.fit(train).evaluate(test)["rmse"]
    """
    optuna = _optuna()
    _check_arguments(model, space, trials, seconds, metric)
    seed = seed_from(random_state)
    train = X
    if validation is None:
        check_share("validation_fraction", validation_fraction)
        train, validation = split_off(
            as_ratings(in_memory(X)),
            validation_fraction,
            name="validation_fraction",
            random_state=seed,
            by=model._split_by,
        )
    with_epochs = isinstance(model, EpochModel)
    higher = model._higher_is_better if isinstance(model, EpochModel) else None
    wanted = metric or model._default_metrics[0]

    def objective(trial: Any) -> float:
        parameters = dict(space(trial))
        trial.set_user_attr("parameters", parameters)
        candidate = _copy(model, parameters)
        try:
            if with_epochs:
                return _best_epoch(candidate, train, validation, trial)
            fitted = candidate.fit(train)
        except ConvergenceError as error:
            raise optuna.TrialPruned(str(error)) from error
        return next(iter(fitted.evaluate(validation, wanted).values()))

    maximize = not error_of(wanted) if higher is None else higher
    study = optuna.create_study(
        direction="maximize" if maximize else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed % 2**32),
        pruner=optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner(),
    )
    study.optimize(objective, n_trials=trials, timeout=seconds)
    return _result(model, study)


def _best_epoch(model: Any, train: Any, validation: Any, trial: Any) -> float:
    """Fit, report each epoch, and return the best epoch's metric; note which epoch it was."""
    sign = -1.0 if model._higher_is_better else 1.0
    values: list[float] = []
    given_up = False

    def report(epoch: Epoch) -> bool:
        nonlocal given_up
        values.append(next(iter(epoch.metrics.values())))
        trial.report(values[-1], epoch.index)
        given_up = len(values) < model.epochs and bool(trial.should_prune())
        return given_up

    model.fit(train, validation=validation, callbacks=[report])
    if given_up:
        raise _optuna().TrialPruned(f"worse than the median after {len(values)} epochs")
    if not values:
        raise ConvergenceError("training ended before its first epoch.")
    if model._course_depends_on_epochs:
        return values[-1]
    best = min(range(len(values)), key=lambda index: sign * values[index])
    trial.set_user_attr("epochs", best + 1)
    return values[best]


def _result(model: Recommender, study: Any) -> Tuned:
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not done:
        raise ConvergenceError(
            f"none of {len(study.trials)} trials came to an end: each diverged. Search lower "
            f"learning rates, or more regularization."
        )
    best = study.best_trial
    parameters = dict(best.user_attrs["parameters"])
    if "epochs" in best.user_attrs:
        parameters["epochs"] = best.user_attrs["epochs"]
    # the number of epochs is known now, so that all data is for training
    changes = parameters | {
        name: None for name in ("patience", "validation_fraction") if name in model.get_params()
    }
    return Tuned(_copy(model, changes), parameters, float(best.value), study)


def _copy(model: Recommender, changes: Mapping[str, Any]) -> Recommender:
    copy = type(model)(**model.get_params())
    return copy.set_params(**changes)


def _check_arguments(model: Any, space: Any, trials: Any, seconds: Any, metric: str | None) -> None:
    if not isinstance(model, Recommender):
        raise TypeError(f"model must be a model of isthmus, but it was {shown(model)}.")
    if not callable(space):
        raise TypeError(
            f"space must be a function that gives parameters for an optuna.Trial, "
            f"but it was {shown(space)}."
        )
    check_integer("trials", trials, low=1)
    check_real("seconds", seconds, low=0, open_low=True, others=(None,))
    if metric is not None and isinstance(model, EpochModel):
        raise ValueError(
            f"metric must be None for {type(model).__name__}, which is measured after each epoch "
            f"by its own, but it was {shown(metric)}."
        )
    if metric is not None:
        model._wanted_metrics(metric, "metric")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tune needs Optuna: pip install 'isthmus[tune]'") from error
    return optuna
