"""What the models that are trained in epochs share, of ratings and of implicit feedback alike."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._alignment import ratings_among
from isthmus._checks import check_integer, check_share, seed_from
from isthmus.base import Recommender
from isthmus.exceptions import ConvergenceError
from isthmus.ratings import Ratings, as_ratings
from isthmus.splits import train_test_split
from isthmus.training import Callback, Epoch, Learner, train

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EpochModel", "load_weights"]


class EpochModel(Recommender, abstract=True):
    """Base of the models that are trained in epochs.

    Beside what `Recommender` asks for, a subclass implements `_initialize`, `_train`, which makes a
    `Learner` and hands it to `_run`, and `_finish`; and it takes the parameters annotated here.
    """

    _structural: ClassVar[tuple[str, ...]] = ()
    """Parameters that the fitted arrays depend on: `_structure` has them as they were in `fit`.

    `set_params` may change the parameters at any time, for the next `fit`.
    """

    _split_by: ClassVar[Literal["rating", "user"]] = "rating"
    """How `validation_fraction` is split off."""

    _higher_is_better: ClassVar[bool] = False
    """Of the metric that early stopping watches."""

    epochs: int
    learning_rate: float
    validation_fraction: float | None
    patience: int | None
    random_state: int | np.random.Generator | None
    num_threads: int
    verbose: bool

    history_: list[Epoch]
    _seed: int
    _structure: SimpleNamespace

    # Training

    def _start(
        self, X: Any, epochs: int, validation: Any, callbacks: Iterable[Callback], **data: Any
    ) -> Self:
        """Train from the start; `data` is what `_initialize` takes beside the ratings."""
        self._check_parameters()
        ratings = as_ratings(X)
        seed = seed_from(self.random_state)
        if validation is None and self.validation_fraction is not None:
            try:
                ratings, validation = train_test_split(
                    ratings,
                    test_size=self.validation_fraction,
                    random_state=seed,
                    by=self._split_by,
                )
            except ValueError as error:
                message = str(error).replace("test_size", "validation_fraction")
                raise ValueError(message) from None
        self._forget()
        self._seed = seed
        self._structure = self._current_structure()
        self.history_ = []
        self._initialize(ratings, **data)
        self._train(ratings, epochs, validation, callbacks)
        return self

    def partial_fit(
        self,
        X: Any,
        *,
        epochs: int = 1,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
    ) -> Self:
        """Train on, from where `fit` or an earlier `partial_fit` stopped.

        Epochs, and with them the learning rate's decay, are counted on; the optimizer's averages
        start anew.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            All ratings as they are now, old and new: the model is trained on them alone, and they
            become the seen items. Users and items must be known to the model (see `fold_in`);
            those of a matrix are in the model's order.
        epochs : int, default 1
        validation, callbacks
            As for `fit`.

        Returns
        -------
        self
        """
        self._check_parameters()
        check_integer("epochs", epochs, low=1)
        if not self._is_fitted():
            return self._start(X, epochs, validation, callbacks)
        ratings = ratings_among(self._users, self._items, X, "X")
        self._train(ratings, epochs, validation, callbacks)
        return self

    def _check_patience(self, validation: Any) -> None:
        if validation is None and self.patience is not None:
            raise ValueError(
                "patience needs validation data: pass validation=... to fit, "
                "or set validation_fraction."
            )

    def _run(
        self, learner: Learner, ratings: Ratings, epochs: int, callbacks: Iterable[Callback]
    ) -> None:
        """Train, and take what prediction needs, also where an exception ends it."""
        try:
            train(
                learner,
                first=len(self.history_),
                epochs=epochs,
                ratings=ratings.nnz,
                patience=self.patience,
                higher_is_better=self._higher_is_better,
                callbacks=callbacks,
                verbose=self.verbose,
                history=self.history_,
            )
        except _core.Diverged as error:
            self._forget()
            raise ConvergenceError(f"{error}. {self._remedy()}") from None
        except BaseException:
            # Ctrl-C, or a callback's own exception: the model is as after the last whole batch
            self._finish(learner, ratings)
            raise
        self._finish(learner, ratings)

    def _forget(self) -> None:
        for name in ("_seen", *self._in_core):
            self.__dict__.pop(name, None)

    # To be implemented by a model

    def _initialize(self, ratings: Ratings) -> None:
        """Make an untrained model; the seed and the structure are set."""
        raise NotImplementedError

    def _train(
        self, ratings: Ratings, epochs: int, validation: Any, callbacks: Iterable[Callback]
    ) -> None:
        """Make a learner, and `_run` it."""
        raise NotImplementedError

    def _finish(self, learner: Any, ratings: Ratings) -> None:
        """Take what prediction needs from the learner, once training is over."""
        raise NotImplementedError

    def _remedy(self) -> str:
        """Say what to change where training diverges."""
        return f"Lower learning_rate (it is {self.learning_rate:g}) or raise regularization."

    # Parameters

    def _check_course(self) -> None:
        """Check the parameters that are annotated here."""
        check_integer("epochs", self.epochs, low=1)
        if self.validation_fraction is not None:
            check_share("validation_fraction", self.validation_fraction)
        if self.patience is not None:
            check_integer("patience", self.patience, low=1)
        self._num_threads()

    def _current_structure(self) -> SimpleNamespace:
        return SimpleNamespace(**{name: getattr(self, name) for name in self._structural})

    def _saved_parameters(self) -> dict[str, Any]:
        return {**self.get_params(), **vars(self._structure)}

    # Files

    def _course_tensors(self) -> dict[str, NDArray[Any]]:
        return {
            "history": np.array([[e.seconds, e.loss] for e in self.history_]).reshape(-1, 2),
            "seed": np.array([self._seed], np.uint64),
        }

    def _restore_course(self, tensors: dict[str, NDArray[Any]]) -> None:
        self._seed = int(tensors["seed"][0])
        epochs = enumerate(tensors["history"].tolist())
        self.history_ = [Epoch(index, seconds, loss) for index, (seconds, loss) in epochs]
        if "_structure" not in self.__dict__:  # a pickle has it, a file its parameters
            self._structure = self._current_structure()


def load_weights(weights: dict[str, NDArray[np.float32]], tensors: dict[str, NDArray[Any]]) -> None:
    """Copy tensors into views of a model's weights; a file may be damaged."""
    for name, array in weights.items():
        if tensors[name].shape != array.shape:
            raise ValueError(
                f"{name} has shape {tensors[name].shape}, but the parameters ask for {array.shape}"
            )
        array[...] = tensors[name]
