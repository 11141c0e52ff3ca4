"""What every model shares: prediction, evaluation, recommendation, new users and items, files."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from isthmus import persistence
from isthmus._checks import check_choice
from isthmus._csr import CSR, append
from isthmus._evaluation import Evaluation
from isthmus._recommendation import Recommendation
from isthmus._scorable import Floats
from isthmus._tensors import Tensors, check_layout
from isthmus.ratings import Ratings

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Recommender"]


class Recommender(Evaluation, Recommendation):
    """Base of all models; see `AutoRec` for what the methods do by example.

    A subclass stores its keyword-only constructor arguments untouched, checks them in `fit`, and
    implements `_vectors`, `_fold_users`, `_tensors`, `_layout` and `_restore`, and extends
    `_fold_in`.
    """

    _in_core: ClassVar[tuple[str, ...]] = ()
    """Attributes that live in the core: pickles hold what `_tensors` gives in their place."""

    _split_by: ClassVar[Literal["rating", "user"]] = "rating"
    """How ratings to validate on are split off."""

    _models: ClassVar[dict[str, type[Recommender]]] = {}
    """Every model by its name, for files that say which one they hold."""

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            Recommender._models[cls.__name__] = cls

    # Prediction

    def predict(self, users: ArrayLike, items: ArrayLike) -> Floats:
        """Predict the ratings of user and item pairs.

        Parameters
        ----------
        users, items : int, str or array_like of either
            Ids as in the training data; the two are broadcast against each other.

        Returns
        -------
        ndarray of float32
            In the broadcast shape of `users` and `items`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, or the shapes do not fit each other.
        """
        self._check_fitted()
        rows = self._users.positions(users, "users")
        columns = self._items.positions(items, "items")
        try:
            rows, columns = np.broadcast_arrays(rows, columns)
        except ValueError:
            raise ValueError(
                f"users and items must have shapes that fit each other, "
                f"but they are {rows.shape} and {columns.shape}."
            ) from None
        return self._predict_positions(rows.ravel(), columns.ravel()).reshape(rows.shape)

    # Users and items that come after training

    def fold_in(self, X: Any, *, axis: str = "user") -> Self:
        """Add users, or items, without training anew.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            Ratings of new users for items that the model knows or, with ``axis="item"``, ratings
            of new items by users that it knows. A matrix's new rows or columns get the next
            integers as ids, and its other axis is the model's own.
        axis : {"user", "item"}, default "user"
            What is new.

        Returns
        -------
        self
            Which now knows the new ids.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a new id is already known, or an old one is not.
        """
        self._check_fitted()
        check_choice("axis", axis, ("user", "item"))
        new = self._users if axis == "user" else self._items
        rows = self._rows_among(X, "X", axis=axis)
        if isinstance(X, Ratings):
            ids = X.user_ids if axis == "user" else X.item_ids
            new.check_new(ids, "X")
        else:
            ids = new.next_ids(rows.shape[0], "X")
        # all at once, so that whatever stops this leaves the model as it was
        self.__dict__.update({**self._fold_in(rows, axis), f"_{axis}s": new.extended(ids)})
        return self

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        """Return the attributes that adding users or items changes, and change nothing.

        Rows are the new users and columns the items, or rows the new items and columns the users.
        A subclass adds its own attributes.
        """
        return {"_seen": append(self._seen, ratings, axis)}

    # Files

    def _saved_parameters(self) -> dict[str, Any]:
        """Parameters for a file: those that the fitted arrays depend on, as they were in `fit`."""
        return self.get_params()

    @classmethod
    def _from_saved(cls, parameters: dict[str, Any]) -> Self:
        """Make a model, not fitted yet, from what `_saved_parameters` gave."""
        return cls(**parameters)

    def __getstate__(self) -> dict[str, Any]:
        state = {n: value for n, value in self.__dict__.items() if n not in self._in_core}
        if self._fitted:
            state["_tensors"] = self._tensors()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        tensors = state.pop("_tensors", None)
        self.__dict__.update(state)
        if tensors is not None:
            self._restore(tensors)
            self.__dict__.update(state)  # which is more than files hold

    def _check_tensors(self, tensors: Tensors) -> None:
        """Refuse a file's tensors that `_restore` could not take, with these parameters and ids."""
        shape = (len(self._users), len(self._items))
        check_layout(tensors, self._layout(shape, tensors))
        self._check_values(shape, tensors)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to a file: weights, ids, parameters and seen items.

        The file is in safetensors format, holds no code, and appears under its name only when it
        is complete.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the model could not be read again, as with a parameter that was set to a bad value.
        OSError
            If the file cannot be written, as on a full disk; what was there stays.
        """
        self._check_fitted()
        persistence.save_model(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        A fitted model of this class (of the class that was saved, for ``Recommender.load``).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no model of isthmus, is damaged, is of a newer format, or holds another model.
        """
        model = persistence.load_model(path)
        if not isinstance(model, cls):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a {cls.__name__}.")
        return model
