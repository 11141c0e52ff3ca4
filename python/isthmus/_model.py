"""What a model is to the methods that all of them share: parameters, and what training leaves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus._alignment import cells_among, pattern_among, rows_among
from isthmus._checks import shown
from isthmus._csr import CSR
from isthmus._ids import IdArray, IdIndex
from isthmus._scorable import Floats, Scorable
from isthmus._tensors import Layout, Tensors
from isthmus._threads import resolve_num_threads
from isthmus.exceptions import NotFittedError
from isthmus.ratings import Ratings

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Model"]


class Model:
    """Parameters by scikit-learn's conventions, fitted state, and the hooks of a model."""

    # Parameters, by scikit-learn's conventions

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name.

        Parameters
        ----------
        deep : bool, default True
            Without effect: a model's own parameters are not listed beside it. Here for
            scikit-learn.
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor's arguments; they are checked, and used, by the next `fit`.

        Of a fitted model, `default_rating`, `clip` and `num_threads` are used from now on.

        Raises
        ------
        ValueError
            If the model has no parameter of a name.
        """
        names = self._parameter_names()
        for name in params:
            if name not in names:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {shown(name)}; "
                    f"it has {', '.join(names)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not np.array_equal(value, defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    # What training leaves behind

    _fitted = False
    """Whether all that prediction needs is there."""
    _users: IdIndex
    _items: IdIndex
    _seen: CSR
    """Where each user has ratings; its values are empty."""
    _range: tuple[float, float]
    """Lowest and highest rating of training."""

    def _remember(self, ratings: Ratings) -> None:
        """Keep what prediction needs of the training data: ids, seen items, the scale's ends."""
        self._users = IdIndex(ratings.user_ids, "user")
        self._items = IdIndex(ratings.item_ids, "item")
        self._range = (ratings.min, ratings.max)
        self._see(ratings)

    def _see(self, ratings: Ratings) -> None:
        """Keep which items every user has had."""
        self._seen = CSR(ratings.indptr, ratings.indices, np.empty(0, np.float32), ratings.shape)

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags  # which is what asks for them

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(sparse=True),
        )

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet; call fit first.")

    @property
    def user_ids_(self) -> IdArray:
        """Ids of the users that the model knows, in its own order."""
        self._check_fitted()
        return self._users.ids

    @property
    def item_ids_(self) -> IdArray:
        """Ids of the items that the model knows, in its own order."""
        self._check_fitted()
        return self._items.ids

    # A caller's data in the positions of the users and items that it knows

    def _rows_among(self, X: Any, name: str, *, axis: str) -> CSR:
        return rows_among(
            *(self._users, self._items, X, name), axis=axis, num_threads=self._num_threads()
        )

    def _known_pattern(self, X: Any, name: str) -> CSR:
        self._check_fitted()
        return pattern_among(self._users, self._items, X, name)

    def _known_cells(
        self, X: Any, name: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        self._check_fitted()
        return cells_among(self._users, self._items, X, name)

    # To be implemented by a model

    def fit(self, X: Any, *, validation: Any = None) -> Self:
        """Train on ratings."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        """Refuse constructor arguments that are not what they may be."""
        raise NotImplementedError

    def _vectors(self) -> Scorable:
        """Vectors of all users and items, or what scores in their place."""
        raise NotImplementedError

    def _fold_users(self, ratings: CSR) -> Scorable:
        """Vectors of new users (rows: users; columns: all items), and of all items."""
        raise NotImplementedError

    def _tensors(self) -> Tensors:
        """Fitted arrays, for a file."""
        raise NotImplementedError

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        """Describe a file's tensors: what `_tensors` gives with these parameters.

        `shape` is (users, items); a size that only the file knows is taken from its tensors, of
        which nothing is known yet.
        """
        raise NotImplementedError

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        """Refuse values of a file's tensors, whose layout is right, that no model has."""

    def _restore(self, tensors: Tensors) -> None:
        """Take back what `_tensors` gave."""
        raise NotImplementedError

    def _finish_predictions(
        self, scores: Floats, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> Floats:
        """Turn scores into ratings; models of ratings clip them and fill in defaults."""
        return scores

    def _finish_scores(self, scores: Floats) -> Floats:
        return scores

    # What scores are made by

    def _predict_positions(self, users: NDArray[Any], items: NDArray[Any]) -> Floats:
        pairs = (users.astype(np.int32), items.astype(np.int32))
        scores = self._vectors().scorer().score_pairs(*pairs, num_threads=self._num_threads())
        return self._finish_predictions(scores, users, items)

    def _num_threads(self) -> int:
        return resolve_num_threads(getattr(self, "num_threads", 0))
