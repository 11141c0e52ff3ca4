"""Callbacks for `fit`: tracking, early stopping by any score, checkpoints.

A callback is any function of an `Epoch`; training ends if it returns True. These are some that most
projects come to write. Trackers write the loss, the seconds and the metrics of each epoch.
"""

from __future__ import annotations

import csv
import weakref
from collections.abc import Callable
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from isthmus._util.checks import check_integer
from isthmus._util.files import atomic_write, check_writable
from isthmus.training.loop import Epoch

__all__ = ["Checkpoint", "CsvLog", "EarlyStopping", "MLflow", "TensorBoard", "WandB"]


class CsvLog:
    """Write a csv file with a line for each epoch; it is whole after each.

    Parameters
    ----------
    path : str or os.PathLike
        An existing file is replaced after the first epoch. Later fits with the same callback append
        to it.

    Raises
    ------
    OSError
        If no file can be written there.

    Examples
    --------
    >>> import tempfile
    >>> from isthmus import BiasedMF, synthetic_ratings
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> model = BiasedMF(factors=8, epochs=2).fit(ratings, callbacks=[CsvLog(path)])
    >>> path.read_text().splitlines()[0]
    'epoch,loss,seconds'
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        check_writable(self.path)
        self._rows: list[dict[str, float]] = []

    def __call__(self, epoch: Epoch) -> None:
        """Write the file again, with one more line."""
        self._rows.append({"epoch": epoch.index, **_figures(epoch)})
        names = dict.fromkeys(name for row in self._rows for name in row)
        with atomic_write(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(names), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


class TensorBoard:
    """Write events for TensorBoard, by tensorboardX, which needs neither torch nor TensorFlow.

    Parameters
    ----------
    folder : str or os.PathLike
        Of this run, as ``"runs/1"``; `tensorboard --logdir runs` shows all of them.

    Raises
    ------
    ImportError
        Without tensorboardX.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        library = _needed("tensorboardX", "TensorBoard")
        self._writer = library.SummaryWriter(str(folder), flush_secs=1)
        weakref.finalize(self, self._writer.close)  # which waits until all is written

    def __call__(self, epoch: Epoch) -> None:
        """Write the epoch's figures, within a second."""
        for name, value in _figures(epoch).items():
            self._writer.add_scalar(name, value, epoch.index)


class MLflow:
    """Log to MLflow: to the active run, which MLflow starts if there is none.

    Parameters
    ----------
    model : Recommender, optional
        The model whose parameters are logged with the first epoch.

    Raises
    ------
    ImportError
        Without MLflow, of which mlflow-skinny is enough.

    Notes
    -----
    MLflow takes no "@" in names: ``ndcg@10`` is logged as ``ndcg_at_10``.
    """

    def __init__(self, model: Any = None) -> None:
        self._mlflow = _needed("mlflow", "MLflow", "mlflow-skinny")
        self._parameters = _Parameters(model)

    def __call__(self, epoch: Epoch) -> None:
        """Log the epoch's figures."""
        parameters = self._parameters.once()
        if parameters:
            self._mlflow.log_params(parameters)
        figures = {name.replace("@", "_at_"): value for name, value in _figures(epoch).items()}
        self._mlflow.log_metrics(figures, step=epoch.index)


class WandB:
    """Log to Weights & Biases: to the run that is active, or to a new one.

    Parameters
    ----------
    model : Recommender, optional
        The model whose parameters become the run's configuration.
    run : wandb.Run, optional
        What ``wandb.init(...)`` returned; by default the active run, or that of ``wandb.init()``.

    Raises
    ------
    ImportError
        Without wandb.
    """

    def __init__(self, model: Any = None, *, run: Any = None) -> None:
        self._wandb = _needed("wandb", "WandB")
        self._run = run
        self._parameters = _Parameters(model)

    def __call__(self, epoch: Epoch) -> None:
        """Log the epoch's figures."""
        run = self._run or self._wandb.run or self._wandb.init()
        parameters = self._parameters.once()
        if parameters:
            run.config.update(parameters)
        run.log(_figures(epoch), step=epoch.index, commit=True)


class EarlyStopping:
    """End training when a score that you define has not become better for some epochs.

    `patience`, which all models have, watches the first validation metric, and costs less.

    Parameters
    ----------
    model : Recommender
        That is trained.
    score : callable
        Called with a fitted copy of the model after each epoch; returns a float.
    patience : int, default 5
        Epochs without a better score.
    higher_is_better : bool, default True

    Attributes
    ----------
    best_ : Recommender or None
        The copy with the best score. The trained model itself keeps the last epoch's weights.
    scores_ : list of float
        One for each epoch.

    Examples
    --------
    >>> from isthmus import MultVAE, synthetic_ratings, train_test_split
    >>> train, held_out = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model = MultVAE(hidden_units=(20,), latent_units=8, epochs=6, random_state=0)
    >>> stopping = EarlyStopping(
    ...     model, lambda it: it.evaluate(held_out, "coverage@10")["coverage@10"], patience=2
    ... )
    >>> model = model.fit(train, callbacks=[stopping])
    >>> stopping.best_.evaluate(held_out, "coverage@10")["coverage@10"] == max(stopping.scores_)
    True
    """

    def __init__(
        self,
        model: Any,
        score: Callable[[Any], float],
        *,
        patience: int = 5,
        higher_is_better: bool = True,
    ) -> None:
        check_integer("patience", patience, low=1)
        self._model = model
        self._score = score
        self._patience = patience
        self._sign = 1.0 if higher_is_better else -1.0
        self.best_: Any = None
        self.scores_: list[float] = []

    def __call__(self, epoch: Epoch) -> bool:
        """Measure the model as it is, and say whether to stop."""
        current = self._model.snapshot()
        self.scores_.append(float(self._score(current)))
        signed = [self._sign * score for score in self.scores_]
        best = signed.index(max(signed))
        if best == len(signed) - 1:
            self.best_ = current
        return len(signed) - 1 - best >= self._patience


class Checkpoint:
    """Save the model during training; a file appears under its name once it is whole.

    Parameters
    ----------
    model : Recommender
        That is trained.
    path : str or os.PathLike
        Where to save it. ``{epoch}`` in it becomes the epoch's number, from 1, so that every
        checkpoint stays; otherwise the newest replaces the one before.
    every : int, default 1
        Epochs from one to the next.

    Raises
    ------
    OSError
        If no file can be written there.

    Notes
    -----
    A checkpoint is a fitted model, which predicts, and trains on by `partial_fit` or `update`. The
    optimizer's averages are not in it, so that training on from it is not the same to the bit.
    """

    def __init__(self, model: Any, path: str | PathLike[str], *, every: int = 1) -> None:
        check_integer("every", every, low=1)
        self._model = model
        self._path = str(path)
        self._every = every
        check_writable(self._at(1))

    def __call__(self, epoch: Epoch) -> None:
        """Save the model as it is, after each so many epochs."""
        if (epoch.index + 1) % self._every == 0:
            self._model.snapshot().save(self._at(epoch.index + 1))

    def _at(self, epoch: int) -> Path:
        return Path(self._path.replace("{epoch}", str(epoch)))


class _Parameters:
    """A model's parameters, to be logged once."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def once(self) -> dict[str, Any]:
        model, self._model = self._model, None
        return {} if model is None else model.get_params()


def _figures(epoch: Epoch) -> dict[str, float]:
    return {"loss": epoch.loss, "seconds": epoch.seconds, **epoch.metrics}


def _needed(module: str, user: str, package: str | None = None) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{user} needs {module}: pip install {package or module}") from error
