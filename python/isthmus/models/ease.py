"""EASE: the linear item-item model in closed form."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from isthmus import _core
from isthmus._util.arrays import read_only
from isthmus._util.checks import check_bool, check_real, is_auto
from isthmus._util.memory import available_memory, format_bytes
from isthmus.data._csr import (
    CSR,
    as_scipy,
    column_counts,
    row_numbers,
    select_rows,
    transpose,
    with_ones,
)
from isthmus.data.ratings import Ratings, as_ratings, in_memory
from isthmus.evaluation.scores import Floats, Products
from isthmus.exceptions import ConvergenceError
from isthmus.models._cell_weights import (
    check_rule,
    check_values,
    divided,
    mean_of,
    weights_by_rule,
)
from isthmus.models._ease_downdate import downdated
from isthmus.models._estimator import with_parameters
from isthmus.models._receipts import recorded
from isthmus.models._tensors import Layout, Tensor, Tensors, double, integer_in, single
from isthmus.models.base import Recommender

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EASE", "check_memory"]


@with_parameters
class EASE(Recommender):
    r"""EASE, the linear autoencoder without a hidden layer, for implicit feedback.

    A user's row of ones is reconstructed from itself by item-item weights with a zero diagonal:

    $$
    \min_B \lVert X - X B \rVert_F^2 + \lambda \lVert B \rVert_F^2, \quad
    B_{ij} = -P_{ij} / P_{jj}, \quad P = (X^T X + \lambda I)^{-1}
    $$

    Every stored cell counts 1, whatever its value, unless `weights` says otherwise;
    `Ratings.binarize` keeps those of a value.

    Parameters
    ----------
    regularization : float or "auto", default "auto"
        lambda, above 0. "auto" chooses it on held-out cells: see the notes.
    weights : {"values", "log1p"}, optional
        How often a cell counts, by its value, as of plays or seconds: as often as the value says,
        or its log(1 + value). All count 1 by default. See the notes.
    num_threads : int, default 0
        0: all that this process may use. The weights are the same to the bit at any number.
    verbose : bool, default False
        Whether to say what is computed and how long it took.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    regularization_ : float
        The lambda that the weights were computed with.
    item_weights_ : ndarray of float32, shape (n_items, n_items)
        B.

    Notes
    -----
    H. Steck: Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, eq. 8. Memory: 4 bytes
    for each pair of items; `fit` checks that there is as much before it starts. Saving, loading and
    pickling hold the weights twice for a while.

    With ``regularization="auto"``, `fit` holds out a fifth of the cells of the 1,000 items that
    have most, and computes weights between these items from the rest with 10, 40, 160, 640, 2,560
    and 10,240; up to five fifths, less where 10,000 rankings come together sooner. lambda is 0.8
    times where a parabola through the best of their mean NDCG@10 and its neighbours is highest, and
    the weights of all items are then computed from all cells. The cells held out are the same at
    every call. Where there are none to hold out, lambda is 3 times the mean number of cells of an
    item that has any, and at least 20.

    With `weights`, those of all cells are first divided by their mean, so that their unit does not
    matter and lambda keeps its meaning. Then x_ui is the root of a cell's weight w_ui instead of 1:
    X^T X counts a cell w_ui times where it counted it once, and a pair of a user's cells sqrt(w_ui
    w_uj) times. If all cells of each user have one weight, this is least squares with a weight for
    each user, and a user of weight 2 counts as two. Otherwise it is not least squares with a weight
    for each error (Y. Hu, Y. Koren, C. Volinsky, ICDM 2008), for which every item would need an
    inverse of its own: what is reconstructed, from each other, are the roots of the weights. A
    user's scores are these roots times B, for new users as well. A cell of weight 0 counts as if it
    were not there, but is seen.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings, train_test_split
    >>> train, test = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model = EASE(regularization=100).fit(train)
    >>> sorted(model.evaluate(test))
    ['ndcg@10', 'precision@10', 'recall@10']
    """

    regularization: float | Literal["auto"] = "auto"
    weights: str | None = None
    num_threads: int = 0
    verbose: bool = False

    _in_core = ("_weights", "_roots")
    _default_metrics = Recommender._default_ranking
    _split_by = "user"

    def fit(self, X: Any, y: Any = None, *, validation: Any = None) -> Self:
        """Compute the weights.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            Every stored cell counts 1, unless `weights` says otherwise. A matrix's positions become
            the ids.
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
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
        ratings = as_ratings(in_memory(X))
        check_values(ratings.values, self.weights)
        check_memory(ratings.n_items)
        with recorded(self, ratings, None, None):
            self._compute(ratings)
        return self

    def _compute(self, ratings: Ratings) -> None:
        start = perf_counter()
        self._fitted = False
        self.__dict__.pop("_weights", None)  # before there is room for others
        self._rule, self._mean_weight = self.weights, 1.0  # the mean before weights are divided
        if self._rule is not None:
            self._mean_weight = mean_of(weights_by_rule(ratings.values, self._rule, "X"))
        self._roots = self._roots_of(ratings.values, "X")
        rows = ratings.rows("user")._replace(values=self._roots)
        self._parameter = self.regularization
        self._regularization = (
            choose_regularization(rows, self._num_threads())
            if is_auto(self.regularization)
            else float(self.regularization)
        )
        self._weights = self._weights_of(rows)
        if self.verbose:
            print(
                f"EASE: {ratings.n_items:,} items in {perf_counter() - start:.2f} s, "
                f"regularization {self._regularization:g}",
                flush=True,
            )
        self._remember(ratings)
        self._trained = ratings.n_users  # of the weights; 0 if unknown
        self._fitted = True

    def _roots_of(self, values: Floats, name: str) -> Floats:
        """Return the roots of the weights of cells with these values."""
        if self._rule is None:
            return np.empty(0, np.float32)
        return np.sqrt(divided(weights_by_rule(values, self._rule, name), self._mean_weight))

    def _weights_of(self, rows: CSR) -> Floats:
        """Compute the weights from all rows, of roots; rows without values are of ones."""
        rows = rows if len(rows.values) else with_ones(rows)
        columns = transpose(rows, self._num_threads())
        try:
            weights: Floats = _core.ease(
                *(rows.indptr, rows.indices, rows.values),
                *(columns.indptr, columns.indices, columns.values),
                self._regularization,
                num_threads=self._num_threads(),
            ).array
        except _core.NotPositiveDefinite as error:
            raise ConvergenceError(
                f"{error}. Raise regularization (it is {self._regularization:g})."
            ) from None
        return weights

    def _check_parameters(self) -> None:
        check_real("regularization", self.regularization, low=0, open_low=True, others=("auto",))
        check_rule(self.weights)
        check_bool("verbose", self.verbose)
        self._num_threads()

    @property
    def regularization_(self) -> float:
        """The lambda that the weights were computed with."""
        self._check_fitted()
        return self._regularization

    @property
    def item_weights_(self) -> Floats:
        """B: row i holds what having item i adds to the scores of all items."""
        self._check_fitted()
        return read_only(self._weights)

    def _vectors(self) -> Products:
        return Products(self._seen._replace(values=self._roots), self._weights)

    def _fold_users(self, ratings: CSR) -> Products:
        roots = self._roots_of(ratings.values, "ratings")
        return Products(ratings._replace(values=roots), self._weights)

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        if axis == "item":
            raise ValueError(
                'axis must be "user" for EASE, whose weights for a new item depend on all others; '
                "fit it again to add items."
            )
        roots = np.concatenate([self._roots, self._roots_of(ratings.values, "X")])
        return {**super()._fold_in(ratings, axis), "_roots": roots}

    def forget(self, users: ArrayLike) -> Self:
        """Drop users, and compute the weights that a fit without them gives.

        They equal those of a new fit within rounding, with the same lambda also where
        `regularization` is "auto". For few users, the inverse of the items' matrix is downdated, in
        time of the users times the square of the items; for more than an eighth as many as there
        are items, the weights are computed from scratch. Meanwhile the weights are held twice.

        Parameters
        ----------
        users : int, str or array_like of either
            Ids. Of those who were folded in, the weights hold nothing.

        Returns
        -------
        self
            Which no longer knows them. Files that were saved before are not touched.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If an id is unknown, no user of training would be left, or the model is from a file of
            an older version, which does not say which users the weights are of.

        Examples
        --------
        >>> import numpy as np
        >>> from isthmus import EASE, synthetic_ratings
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> model = EASE(regularization=100).fit(ratings).forget(users=7)
        >>> others = ratings.select(np.repeat(ratings.user_ids, np.diff(ratings.indptr)) != 7)
        >>> new = EASE(regularization=100).fit(others)
        >>> bool(np.allclose(model.item_weights_, new.item_weights_, atol=1e-5))
        True
        """
        return super().forget(users)

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        if self._trained == 0:
            raise ValueError(
                "users cannot be forgotten by an EASE from a file of an older version, which does "
                "not say which users its weights are of; fit it again without them."
            )
        left = super()._without_users(kept)
        seen = self._seen._replace(values=self._roots)
        left["_roots"] = select_rows(seen, kept).values
        everyone = np.arange(self._trained)
        trained = kept[kept < self._trained]  # others have no part in the weights
        gone = np.setdiff1d(everyone, trained)
        if len(trained) == 0:
            raise ValueError("users must leave at least one user of training, but they do not.")
        if len(gone) == 0:
            return left
        check_memory(len(self._items))
        if self._rule is not None:
            mean = mean_of(np.square(select_rows(seen, trained).values))
            if mean == 0:
                raise ValueError("users must leave a cell of a weight above 0, but they do not.")
            left["_mean_weight"] = self._mean_weight * mean
            left["_roots"] = divided(left["_roots"], mean**0.5)
            seen = seen._replace(values=divided(seen.values, mean**0.5))
        if self._rule is not None or len(gone) > len(self._items) * FEW:
            weights = self._weights_of(select_rows(seen, trained))
        else:
            weights = downdated(
                self._weights,
                select_rows(self._seen, everyone),
                select_rows(self._seen, gone),
                self._regularization,
            )
        return {**left, "_weights": weights, "_trained": len(trained)}

    def _similarity(self, items: NDArray[np.int64]) -> Products:
        """Return how much each item would be recommended to who has one item alone."""
        n = len(items)
        ones = np.ones(n, np.float32)
        rows = CSR(np.arange(n + 1), items.astype(np.int32), ones, (n, len(self._items)))
        return Products(rows, self._weights)

    def _item_vectors(self) -> Floats:
        return self._weights

    def _saved_parameters(self) -> dict[str, Any]:
        own = {"regularization": self._parameter, "weights": self._rule}
        return {**super()._saved_parameters(), **own}

    def _tensors(self) -> Tensors:
        own = {"roots": self._roots, "mean_weight": np.array([self._mean_weight])}
        return {
            "weights": self._weights,
            **(own if self._rule is not None else {}),
            "regularization": np.array([self._regularization]),
            "trained": np.array([self._trained]),
        }

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        own = {"roots": single(len(self._seen.indices)), "mean_weight": double(1)}
        return {
            "weights": single(shape[1], shape[1]),
            **(own if self.weights is not None else {}),
            "regularization": double(1),
            "trained": Tensor(np.int64, (1,)),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        check_real("regularization", tensors["regularization"][0], low=0, open_low=True)
        integer_in(tensors, "trained", high=shape[0])
        if self.weights is not None:
            check_real("mean_weight", tensors["mean_weight"][0], low=0, open_low=True)
            if not (tensors["roots"] >= 0).all():
                raise ValueError("roots must be at least 0")

    def _restore(self, tensors: Tensors) -> None:
        self._weights = tensors["weights"]
        self._rule = self.weights
        self._roots = tensors.get("roots", np.empty(0, np.float32))
        self._mean_weight = float(tensors.get("mean_weight", [1.0])[0])
        self._trained = int(tensors["trained"][0])
        self._parameter = self.regularization
        self._regularization = float(tensors["regularization"][0])


def check_memory(n_items: int) -> None:
    """Refuse more items than memory has room for weights between them."""
    needed = 4 * n_items * (n_items + 2 * 256 + 32)
    available = available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"EASE needs {format_bytes(needed)} for weights between {n_items:,} items, but "
            f"{format_bytes(available)} are available; keep fewer items (Ratings.k_core drops "
            f"rare ones), or choose a model whose size is linear in them."
        )


FEW = 1 / 8
"""Users to forget, as a share of the items: up to this, downdating is faster than new weights."""

GRID = (10.0, 40.0, 160.0, 640.0, 2560.0, 10240.0)
ITEMS = 1000
USERS = 10_000
FOLDS = 5


def choose_regularization(rows: CSR, num_threads: int) -> float:
    """Return the lambda for rows of ones, or of roots, that ranks best what is held out of them.

    The folds are of the `ITEMS` items with most cells: what suits these suits all, and weights
    between so few take no time. Folds are measured until there are `USERS` rankings.
    """
    matrix = as_scipy(rows)
    if len(rows.values):
        matrix = sparse.csr_array(matrix, dtype=np.float32, copy=True)
        matrix.data[:] = np.square(rows.values)
        matrix.eliminate_zeros()
    count = column_counts(matrix.indices, rows.shape[1])
    n_items = int(np.count_nonzero(count))
    columns = np.sort(np.argsort(-count, kind="stable")[: min(ITEMS, n_items)])
    ratings = Ratings.from_matrix(matrix[:, columns])
    random = np.random.default_rng(0)
    fold = random.integers(FOLDS, size=ratings.nnz)
    chosen = random.permutation(ratings.n_users)[:USERS]
    measured = np.isin(row_numbers(ratings.indptr), chosen)
    users = int(np.count_nonzero(np.diff(ratings.indptr) > 1))
    values = [
        _measure(ratings.select(fold != number), ratings.select(held_out), num_threads)
        for number in range(min(FOLDS, -(-USERS // max(1, users))))
        if (held_out := measured & (fold == number)).any() and (fold != number).any()
    ]
    if not users or not values:  # no cells to hold out
        return max(20.0, 3 * float(count.sum()) / max(1, n_items))
    # with the cells that were held out, there is more evidence
    return _summit(np.mean(values, axis=0)) * (1 - 1 / FOLDS)


def _measure(train: Ratings, held_out: Ratings, num_threads: int) -> list[float]:
    """Return the NDCG@10 of each lambda of the grid."""
    values = []
    for regularization in GRID:
        # the values are ones, or weights
        model = EASE(regularization=regularization, weights="values", num_threads=num_threads)
        try:
            values.append(model.fit(train).evaluate(held_out, "ndcg@10")["ndcg@10"])
        except ConvergenceError:
            values.append(0.0)
    return values


def _summit(values: NDArray[np.float64]) -> float:
    """Return where a parabola through the best values is highest, on a logarithmic scale."""
    best = int(np.argmax(values))
    if not 0 < best < len(GRID) - 1:
        return GRID[best]
    before, here, after = values[best - 1 : best + 2]
    curvature = before - 2 * here + after
    shift = 0.0 if curvature == 0 else 0.5 * (before - after) / curvature
    return float(GRID[best] * (GRID[1] / GRID[0]) ** shift)
