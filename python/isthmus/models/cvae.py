"""Collaborative variational autoencoder: items' content and users' feedback, together."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from tqdm import tqdm

from isthmus import _core
from isthmus._util.arrays import read_only
from isthmus._util.checks import check_integer, check_layers, check_real, check_units
from isthmus.data._csr import (
    CSR,
    append,
    as_matrix,
    check_structure,
    empty,
    from_dense,
    has_increasing_rows,
    select_rows,
)
from isthmus.data._id_tensors import id_layout, id_tensors, ids_from
from isthmus.data.content import (
    MAX_FEATURES,
    Content,
    as_content,
    as_rows,
    checked_content,
    is_sparse,
)
from isthmus.data.ratings import Ratings, as_ratings, in_memory
from isthmus.evaluation.scores import Floats
from isthmus.exceptions import ConvergenceError
from isthmus.models._cvae_rounds import (
    LOSSES,
    Rounds,
    as_cells,
    content_trainer,
    encode_content,
    solve,
)
from isthmus.models._estimator import with_parameters
from isthmus.models._implicit import ImplicitRecommender
from isthmus.models._receipts import went_on
from isthmus.models._tensors import Layout, Tensor, Tensors, double, integer_in, length_of, single
from isthmus.training.loop import Callback
from isthmus.training.weights import load_weights

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CVAE"]

LEAST_PENALTY = 1e-12
"""Below, items without content would start so far from 0 that float32 overflows."""


@with_parameters
class CVAE(ImplicitRecommender):
    r"""CVAE: matrix factorisation of implicit feedback, with items' content for a prior.

    A variational autoencoder makes a Gaussian code z of an item's content x; the item's vector is
    near that code, and meets the users' vectors in a weighted factorisation of all cells:

    $$
    z_j \sim q(z \mid x_j) = N(\mu(x_j), \sigma^2(x_j)), \quad
    v_j \sim N(z_j, \lambda_v^{-1} I), \quad u_i \sim N(0, \lambda_u^{-1} I), \quad
    R_{ij} \sim N(u_i \cdot v_j, C_{ij}^{-1})
    $$

    with C = a for a stored cell, a 1, and b for any other, a 0. After a layerwise pretraining, each
    round is a pass of Adam over the content, whose loss for an item is the cross-entropy of x and
    its reconstruction + KL(q || N(0, I)) + (lambda_v / lambda_r) ||v - z||^2, and then a sweep of
    alternating least squares, which solves exactly for all users and then for all items:

    $$
    u_i = (V C_i V^T + \lambda_u I)^{-1} V C_i R_i, \qquad
    v_j = (U C_j U^T + \lambda_v I)^{-1} (U C_j R_j + \lambda_v \mu(x_j))
    $$

    in O(cells k^2 + (users + items) k^3). Every stored cell counts 1, whatever its value. Items
    without users, and users without items, have no part in the loss.

    Parameters
    ----------
    hidden_units : tuple of int, default (200, 100)
        Units of each layer of the content's encoder, sigmoid; the decoder has them in reverse, and
        shares the weights.
    latent_units : int, default 50
        k, the length of z, u and v.
    user_regularization : float, default 0.1
        lambda_u, at least 1e-12.
    item_regularization : float, default 10.0
        lambda_v, at least 1e-12.
    content_weight : float, default 1.0
        lambda_r, at least 1e-12: the more, the less v has to say about z.
    positive_weight : float, default 1.0
        a, the weight of a stored cell.
    other_weight : float, default 0.01
        b, the weight of any other cell: at least 0, and below `positive_weight`.
    regularization : float, default 0.0002
        lambda of + (lambda / 2) ||weights||^2 of the content network, added to the mean loss of
        each batch; biases are free.
    corruption : float, default 0.3
        Probability that a feature is masked in pretraining; the others are scaled up.
    pretraining_epochs : int, default 50
        Passes over the content for each layer; 0 does without pretraining.
    pretraining_learning_rate : float, default 0.01
    learning_rate : float, default 0.001
        Of Adam in the rounds.
    batch_size : int, default 128
        Items in a mini-batch.
    epochs : int, default 100
        Rounds.
    validation_metric : str, default "recall@50"
        Measured on validation data after each round: one of `isthmus.evaluation.ranking.METRICS`.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    user_factors_, item_factors_ : ndarray of float32, shape (n_users or n_items, latent_units)
        u and v.
    history_ : list of Epoch
        Loss, seconds and the validation metric of each round. The loss is the mean over items of
        the parts below, the distance times lambda_v / lambda_r.
    losses_ : dict of str to ndarray of float64, shape (rounds,)
        Its parts: of the content, "reconstruction" (cross-entropy), "divergence" (KL) and
        "distance" (||v - z||^2), means over the items that have any; of the sweep, "ratings" (the
        squared error, weighted) and "penalty" (lambda_u ||u||^2 + lambda_v ||v - mu(x)||^2), by the
        number of items.
    pretraining_losses_ : ndarray of float64, shape (layers, pretraining_epochs)
        Mean loss of an item in each pass.

    Notes
    -----
    X. Li, J. She: Collaborative Variational Autoencoder for Recommender Systems, KDD 2017. The
    weights of cells: Y. Hu, Y. Koren, C. Volinsky: Collaborative Filtering for Implicit Feedback
    Datasets, ICDM 2008. As in the authors' code, the code's own decoder weights are not tied, and
    the sums over all columns leave out those without a cell.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import CVAE, synthetic_ratings
    >>> from scipy import sparse
    >>> ratings = synthetic_ratings(80, 60, 900, random_state=0)
    >>> words = sparse.random(60, 40, 0.1, random_state=0)
    >>> model = CVAE(hidden_units=(8,), latent_units=4, pretraining_epochs=2, epochs=3)
    >>> model = model.fit(ratings, content=words)
    >>> model.fold_in_items(words.tocsr()[:1], item_ids=[60]).recommend(ratings.user_ids[:2], n=3)[
    ...     0
    ... ].shape
    (2, 3)
    """

    hidden_units: tuple[int, ...] = (200, 100)
    latent_units: int = 50
    user_regularization: float = 0.1
    item_regularization: float = 10.0
    content_weight: float = 1.0
    positive_weight: float = 1.0
    other_weight: float = 0.01
    regularization: float = 0.0002
    corruption: float = 0.3
    pretraining_epochs: int = 50
    pretraining_learning_rate: float = 0.01
    learning_rate: float = 0.001
    batch_size: int = 128
    epochs: int = 100
    validation_metric: str = "recall@50"

    _structural = ("hidden_units", "latent_units")
    _of_layers = ("hidden_units",)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layers("hidden_units", self.hidden_units)
        check_units("latent_units", self.latent_units)
        for name in ("user_regularization", "item_regularization", "content_weight"):
            check_real(name, getattr(self, name), low=LEAST_PENALTY)
        check_real("positive_weight", self.positive_weight, low=0, open_low=True)
        high = float(self.positive_weight)
        check_real("other_weight", self.other_weight, low=0, high=high, open_high=True)
        check_real("regularization", self.regularization, low=0)
        check_real("corruption", self.corruption, low=0, high=1, open_high=True)
        check_integer("pretraining_epochs", self.pretraining_epochs, low=0)
        check_real(
            "pretraining_learning_rate", self.pretraining_learning_rate, low=0, open_low=True
        )

    # Training

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        content: Any = None,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
    ) -> Self:
        """Train on implicit feedback and on the items' content.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            Every stored cell counts 1, whatever its value. A matrix's positions become the ids.
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
        content : Content, scipy.sparse array or matrix, or data frame, optional
            What is known of the items. A sparse matrix has a row for each item, in the order of X;
            a data frame has the columns "item" and "tokens", lists of strings (see
            `Content.from_frame` for other names). Items without content have a prior of mean 0;
            without any content, this is a weighted matrix factorisation. Content of items that are
            not in X is left aside: `fold_in_items` takes it.
        validation, callbacks
            As for the other models of implicit feedback.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data is invalid.
        ConvergenceError
            If the loss is no longer finite; the model is then not fitted.
        KeyboardInterrupt
            On Ctrl-C. Between batches of a round, the model is fitted, as it then is; in
            pretraining, it is not.
        """
        self._check_parameters()
        ratings = as_ratings(in_memory(X))
        given = None
        if content is not None:
            given = as_content(content, ratings.n_items, item_ids=ratings.item_ids)
        return self._start(ratings, self.epochs, validation, callbacks, content=given)

    def partial_fit(
        self,
        X: Any,
        *,
        epochs: int = 1,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
    ) -> Self:
        """Train on, from where `fit` or an earlier `partial_fit` stopped, with its content.

        Parameters
        ----------
        X, epochs, validation, callbacks
            As for the other models.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`, which alone takes content.
        """
        self._check_fitted()
        return super().partial_fit(X, epochs=epochs, validation=validation, callbacks=callbacks)

    def _initialize(self, ratings: Ratings, content: Content | None = None) -> None:
        n_items, latent = ratings.n_items, self._structure.latent_units
        self._vocabulary = None if content is None else content.vocabulary
        self._content = empty((n_items, 0)) if content is None else content.of_items(ratings._items)
        self._network = self._make_content_network(self._content.shape[1], self._seed)
        self._losses: list[list[float]] = []
        try:
            self.pretraining_losses_ = self._pretrain()
        except _core.Diverged as error:
            self._forget()
            raise ConvergenceError(
                f"In pretraining, {error}. Lower pretraining_learning_rate "
                f"(it is {self.pretraining_learning_rate:g})."
            ) from None
        # an item without content starts at a draw from its prior: at 0, it would never move
        rng = np.random.default_rng(self._seed)
        draws = rng.standard_normal((n_items, latent)) / np.sqrt(float(self.item_regularization))
        known = self._has_content()[:, np.newaxis]
        factors: Floats = np.where(known, self._encode_content(self._content), draws)
        self._item_factors = factors.astype(np.float32)
        # the sum of the products of the items that had a cell in training
        self._item_gram: Floats = np.zeros((latent, latent), np.float32)
        self._codes = np.zeros((ratings.n_users, latent), np.float32)

    def _grow(self, ratings: Ratings) -> None:
        # as at the start, an item without content begins at a draw from its prior; users are solved
        # for
        n_users, n_items = ratings.shape[0] - len(self._users), ratings.shape[1] - len(self._items)
        rng = np.random.default_rng((self._seed, len(self._items)))
        draws = rng.standard_normal((n_items, self._structure.latent_units))
        draws /= np.sqrt(float(self._structure.item_regularization))
        self._item_factors = np.vstack([self._item_factors, draws.astype(np.float32)])
        rows = self._content
        ends = np.pad(rows.indptr, (0, n_items), mode="edge")
        self._content = rows._replace(indptr=ends, shape=(ratings.n_items, rows.shape[1]))
        self._codes = np.pad(self._codes, ((0, n_users), (0, 0)))
        self._users, self._items = ratings._users, ratings._items

    def _own_data(self) -> dict[str, Any]:
        if self._content.shape[1] == 0:
            return {}
        rows = as_matrix(self._content)
        content = Content(rows, item_ids=self._items.ids, vocabulary=self._vocabulary)
        content.rows = self._content  # which are scaled already
        return {"content": content}

    def _make_content_network(self, n_features: int, seed: int) -> _core.ContentNetwork | None:
        if n_features == 0:
            return None
        return _core.ContentNetwork(
            *(n_features, self._structure.hidden_units, self._structure.latent_units),
            seed=seed,
            num_threads=self._num_threads(),
        )

    def _pretrain(self) -> NDArray[np.float64]:
        """Train each layer to reconstruct the output of the layer before."""
        layers = [*self._structure.hidden_units, None]  # the last is the code
        rows = select_rows(self._content, np.flatnonzero(self._has_content()))
        if self._network is None or not self.pretraining_epochs or not len(rows.indices):
            return np.empty((0, 0))
        weights = self._network.weights()
        losses = np.empty((len(layers), self.pretraining_epochs))
        steps = len(layers) * self.pretraining_epochs
        with tqdm(total=steps, unit=" passes", desc="pretrain", disable=not self.verbose) as bar:
            for number, units in enumerate(layers):
                layer, losses[number] = self._pretrain_layer(number, units, rows, bar)
                for name, array in layer.weights().items():
                    weights[name.replace("layer.0", f"layer.{number}")][...] = array
                if units is not None:
                    rows = from_dense(layer.encode(as_cells(rows), num_threads=self._num_threads()))
        return losses

    def _pretrain_layer(
        self, number: int, units: int | None, rows: CSR, bar: Any
    ) -> tuple[_core.ContentNetwork, list[float]]:
        seed = (self._seed + 1 + number) % 2**64  # each layer counts its epochs from 0
        hidden, latent = ([], self._structure.latent_units) if units is None else ([units], 0)
        layer = _core.ContentNetwork(rows.shape[1], hidden, latent, seed=seed)
        corruption = 0.0 if units is None else float(self.corruption)
        trainer = content_trainer(
            *(layer, rows, self._structure),
            corruption=corruption,
            seed=seed,
            num_threads=self._num_threads(),
        )
        losses = []
        for epoch in range(self.pretraining_epochs):
            reconstruction, divergence, _, n = trainer.run_epoch(
                epoch, float(self.pretraining_learning_rate)
            )
            losses.append((reconstruction + divergence) / n)
            bar.update()
        return layer, losses

    def _learner(self, ratings: Ratings) -> Rounds:
        return Rounds(
            *(self._seen, self._network, self._content, self._structure),
            users=self._codes,
            items=self._item_factors,
            gram=self._item_gram,
            losses=[*self._losses],
            seed=self._seed,
            num_threads=self._num_threads(),
        )

    def _take_over(self, rounds: Rounds) -> None:
        self._codes, self._item_factors, self._item_gram = rounds.users, rounds.items, rounds.gram

    def _validate(self, learner: Any, held_out: Any) -> dict[str, float]:
        self._take_over(learner)
        return super()._validate(learner, held_out)

    def _finish(self, learner: Any) -> None:
        self._take_over(learner)
        self._losses = learner.losses

    def _has_content(self) -> NDArray[np.bool_]:
        return np.diff(self._content.indptr) > 0

    def _encode_content(self, rows: CSR) -> Floats:
        return encode_content(self._network, rows, self._structure, self._num_threads())

    def _encode(self, rows: CSR, *, known: bool) -> Floats:
        if known:
            return self._codes
        factors, _ = solve(
            *(as_cells(rows), self._item_factors, self._item_gram, self._structure),
            regularization=self._structure.user_regularization,
            num_threads=self._num_threads(),
        )
        return factors

    def _decoder(self) -> tuple[Floats, None]:
        return self._item_factors, None

    # Attributes

    @property
    def user_factors_(self) -> Floats:
        """u, one row a user."""
        self._check_fitted()
        return read_only(self._codes)

    @property
    def item_factors_(self) -> Floats:
        """v, one row an item."""
        self._check_fitted()
        return read_only(self._item_factors)

    @property
    def losses_(self) -> dict[str, NDArray[np.float64]]:
        """Parts of the loss, by name, one number a round."""
        self._check_fitted()
        table = np.array(self._losses).reshape(-1, len(LOSSES))
        return {name: table[:, column] for column, name in enumerate(LOSSES)}

    # New items

    def fold_in_items(self, content: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Add items that nobody has had yet, from their content alone.

        An item's vector is the mean of its code: all that there is to know. Content that shares no
        feature with that of training gives 0, and scores of 0.

        Parameters
        ----------
        content : Content, scipy.sparse array or matrix, or data frame
            Of new items alone, as for `fit`: the features of training, or, if both have a
            vocabulary, any words, of which those of training count.
        item_ids : array_like of int or str, optional
            Ids of a sparse matrix's rows; by default the next integers. Not for content that has
            ids itself.

        Returns
        -------
        self
            Which now knows the new items.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If the content is invalid, the model was fitted without content, or an id is
            already known.
        """
        self._check_fitted()
        if self._network is None:
            raise ValueError(
                "content needs a model that was fitted with content, but this one was not."
            )
        new = self._new_content(content, item_ids)
        self._items.check_new(new.item_ids, "content")
        new = new.with_vocabulary(self._vocabulary, self._content.shape[1])
        n_new = new.rows.shape[0]
        content_rows = [as_matrix(self._content), as_matrix(new.rows)]
        grown = {
            "_item_factors": np.vstack([self._item_factors, self._encode_content(new.rows)]),
            "_content": as_rows(sparse.vstack(content_rows, format="csr")),
            "_seen": append(self._seen, empty((n_new, len(self._users))), "item"),
            "_items": self._items.extended(new.item_ids),
        }
        # all at once, as in `fold_in`
        self.__dict__.update({**grown, **went_on(self, "fold_in")})
        return self

    def _new_content(self, content: Any, item_ids: ArrayLike | None) -> Content:
        if not is_sparse(content):
            if item_ids is not None:
                raise ValueError("item_ids must not be given where content has ids itself.")
            return as_content(content, 0, item_ids=None)
        if item_ids is None:
            checked_content(content, named=False)
            item_ids = self._items.next_ids(content.shape[0], "content")
        return Content(content, item_ids=item_ids)

    def _fold_in(self, ratings: CSR, axis: str) -> dict[str, Any]:
        if axis == "item":
            raise ValueError(
                'axis must be "user" for CVAE, which takes new items from their content: '
                "fold_in_items adds them."
            )
        return super()._fold_in(ratings, axis)

    # Files

    def _tensors(self) -> Tensors:
        vocabulary = {} if self._vocabulary is None else id_tensors("vocabulary", self._vocabulary)
        return {
            **({} if self._network is None else self._network.weights()),
            **vocabulary,
            "codes": self._codes,
            "item_factors": self._item_factors,
            "item_gram": self._item_gram,
            "content.indptr": self._content.indptr,
            "content.indices": self._content.indices,
            "content.values": self._content.values,
            "content.features": np.array([self._content.shape[1]]),
            "losses": np.array(self._losses).reshape(-1, len(LOSSES)),
            "pretraining_losses": self.pretraining_losses_,
            **self._course_tensors(),
        }

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        latent = int(self.latent_units)
        n_users, n_items = shape
        n_features = integer_in(tensors, "content.features", high=MAX_FEATURES)
        vocabulary = id_layout({}, "vocabulary") if _has_vocabulary(tensors) else {}
        return {
            **(self._network_layout(n_features) if n_features else {}),
            **vocabulary,
            "codes": single(n_users, latent),
            "item_factors": single(n_items, latent),
            "item_gram": single(latent, latent),
            "content.indptr": Tensor(np.int64, (n_items + 1,)),
            "content.indices": Tensor(np.int32, (None,)),
            "content.values": single(length_of(tensors, "content.indices")),
            "content.features": Tensor(np.int64, (1,)),
            "losses": double(None, len(LOSSES), limit=np.inf),
            "pretraining_losses": double(None, None, limit=np.inf),
            **super()._layout(shape, tensors),
        }

    def _network_layout(self, n_features: int) -> Layout:
        """Describe the content network's layers, of which the last makes the code."""
        latent = int(self.latent_units)
        units = (n_features, *check_layers("hidden_units", self.hidden_units), 2 * latent)
        layout = {}
        for number, (inputs, outputs) in enumerate(pairwise(units)):
            layout[f"layer.{number}.weights"] = single(inputs, outputs)
            layout[f"layer.{number}.bias"] = single(1, outputs)
            layout[f"layer.{number}.decoder_bias"] = single(1, inputs)
        layout[f"layer.{number}.decoder_weights"] = single(inputs, latent)
        return layout

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        indptr, indices = tensors["content.indptr"], tensors["content.indices"]
        n_features = int(tensors["content.features"][0])
        check_structure(indptr, indices, (shape[1], n_features), "content")
        if not has_increasing_rows(indptr, indices):
            raise ValueError("content.indices must increase in every row, but they do not")
        values = tensors["content.values"]
        if len(values) and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError("content.values must lie between 0 and 1")
        if _has_vocabulary(tensors):
            words = ids_from(tensors, "vocabulary")
            if len(words) != n_features or len(np.unique(words)) < n_features:
                raise ValueError(f"vocabulary must be {n_features:,} different words")

    def _restore(self, tensors: Tensors) -> None:
        self._restore_course(tensors)
        for name in ("codes", "item_factors", "item_gram"):
            setattr(self, f"_{name}", np.ascontiguousarray(tensors[name]))
        n_features = int(tensors["content.features"][0])
        self._content = CSR(
            tensors["content.indptr"],
            tensors["content.indices"],
            tensors["content.values"],
            (len(self._item_factors), n_features),
        )
        stored = _has_vocabulary(tensors)
        self._vocabulary = ids_from(tensors, "vocabulary") if stored else None  # type: ignore[assignment]
        self._losses = tensors["losses"].tolist()
        self.pretraining_losses_ = tensors["pretraining_losses"]
        self._network = self._make_content_network(n_features, 0)
        if self._network is not None:
            load_weights(self._network.weights(), tensors)


def _has_vocabulary(tensors: Tensors) -> bool:
    return any(name.startswith("vocabulary.") for name in tensors)
