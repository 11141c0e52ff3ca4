"""EASE: the linear item-item model in closed form."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.arrays import read_only
from isthmus._util.checks import check_bool, check_real
from isthmus._util.memory import available_memory, format_bytes
from isthmus.data._csr import CSR, transpose, with_ones
from isthmus.data.ratings import as_ratings
from isthmus.evaluation.scores import Floats, Products
from isthmus.exceptions import ConvergenceError
from isthmus.models._tensors import Layout, Tensors, single
from isthmus.models.base import Recommender

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EASE"]


class EASE(Recommender):
    r"""EASE, the linear autoencoder without a hidden layer, for implicit feedback.

    A user's row of ones is reconstructed from itself by item-item weights with a zero diagonal:

    .. math::
        \min_B \lVert X - X B \rVert_F^2 + \lambda \lVert B \rVert_F^2, \quad
        B_{ij} = -P_{ij} / P_{jj}, \quad P = (X^T X + \lambda I)^{-1}

    Every stored cell counts 1, whatever its value: `Ratings.binarize` keeps those of a value.

    Parameters
    ----------
    regularization : float, default 500.0
        lambda, above 0.
    num_threads : int, default 0
        0: all that this process may use. The weights are the same to the bit at any number.
    verbose : bool, default False
        Whether to say what is computed and how long it took.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    item_weights_ : ndarray of float32, shape (n_items, n_items)
        B.

    Notes
    -----
    H. Steck: Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, eq. 8. Memory: 4 bytes
    for each pair of items; `fit` checks that there is as much before it starts. Saving, loading and
    pickling hold the weights twice for a while.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings, train_test_split
    >>> train, test = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model = EASE(regularization=100).fit(train)
    >>> sorted(model.evaluate(test))
    ['ndcg@10', 'precision@10', 'recall@10']
    """

    _in_core = ("_weights",)
    _default_metrics = Recommender._default_ranking
    _split_by = "user"

    def __init__(
        self, *, regularization: float = 500.0, num_threads: int = 0, verbose: bool = False
    ) -> None:
        self.regularization = regularization
        self.num_threads = num_threads
        self.verbose = verbose

    def fit(self, X: Any, *, validation: Any = None) -> Self:
        """Compute the weights.

        Parameters
        ----------
        X : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
            Every stored cell counts 1. A matrix's positions become the ids.
        validation : ignored
            Nothing is iterated. Here because other models have it.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data is invalid.
        MemoryError
            If there is less memory than items x items floats.
        ConvergenceError
            If `regularization` is too small for the matrix to be inverted in float32.
        """
        self._check_parameters()
        ratings = as_ratings(X)
        _check_memory(ratings.n_items)
        rows = with_ones(ratings.rows("user"))
        columns = transpose(rows, self._num_threads())
        start = perf_counter()
        self._fitted = False
        self.__dict__.pop("_weights", None)  # before there is room for others
        try:
            self._weights = _core.ease(
                *(rows.indptr, rows.indices, rows.values),
                *(columns.indptr, columns.indices, columns.values),
                float(self.regularization),
                num_threads=self._num_threads(),
            )
        except _core.NotPositiveDefinite as error:
            raise ConvergenceError(
                f"{error}. Raise regularization (it is {self.regularization:g})."
            ) from None
        if self.verbose:
            print(f"EASE: {ratings.n_items:,} items in {perf_counter() - start:.2f} s", flush=True)
        self._remember(ratings)
        self._fitted = True
        return self

    def _check_parameters(self) -> None:
        check_real("regularization", self.regularization, low=0, open_low=True)
        check_bool("verbose", self.verbose)
        self._num_threads()

    @property
    def item_weights_(self) -> Floats:
        """B: row i holds what having item i adds to the scores of all items."""
        self._check_fitted()
        return read_only(self._weights.array)

    def _vectors(self) -> Products:
        return Products(self._seen, self._weights.array)

    def _fold_users(self, ratings: CSR) -> Products:
        return Products(ratings, self._weights.array)

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        if axis == "item":
            raise ValueError(
                'axis must be "user" for EASE, whose weights for a new item depend on all others; '
                "fit it anew to add items."
            )
        return super()._fold_in(ratings, axis)

    def _similarity(self, items: NDArray[np.int64]) -> Products:
        """Return how much each item would be recommended to who has one item alone."""
        n = len(items)
        ones = np.ones(n, np.float32)
        rows = CSR(np.arange(n + 1), items.astype(np.int32), ones, (n, len(self._items)))
        return Products(rows, self._weights.array)

    def _tensors(self) -> Tensors:
        return {"weights": self._weights.array}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        return {"weights": single(shape[1], shape[1])}

    def _restore(self, tensors: Tensors) -> None:
        self._weights = _core.Matrix(tensors["weights"])


def _check_memory(n_items: int) -> None:
    needed = 4 * n_items * (n_items + 2 * 256 + 32)
    available = available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"EASE needs {format_bytes(needed)} for weights between {n_items:,} items, but "
            f"{format_bytes(available)} are available; keep fewer items (Ratings.k_core drops "
            f"rare ones), or choose a model whose size is linear in them."
        )
