"""CDAE: a denoising autoencoder of implicit feedback with a node of each user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import _core
from isthmus._util.checks import (
    ACTIVATIONS,
    check_bool,
    check_choice,
    check_integer,
    check_real,
    check_units,
)
from isthmus.data._csr import CSR, with_ones
from isthmus.data.ratings import Ratings
from isthmus.evaluation.scores import Floats
from isthmus.models._estimator import with_parameters
from isthmus.models._implicit import ImplicitRecommender, RowLearner
from isthmus.models._tensors import Layout, Tensors, network, single
from isthmus.training.weights import load_weights

__all__ = ["CDAE"]

OPTIMIZERS = ("adagrad", "adam", "momentum", "sgd")


class _Learner(RowLearner):
    """Train on each user's items and sampled negatives."""

    def run_rows(self, index: int, progress: Callable[[int], None] | None) -> float:
        loss, cells = self._trainer.run_epoch(
            *(self.rows.indptr, self.rows.indices, index),
            float(self._settings.learning_rate),
            weights=self.weights,
            progress=progress,
        )
        return float(loss / cells)


@with_parameters
class CDAE(ImplicitRecommender):
    r"""Collaborative denoising autoencoder.

    A user's row of ones, with cells masked, and a vector of the user's own are encoded and decoded:

    $$
    z_u = h(W^T \tilde x_u + V_u + b), \qquad y_{ui} = f(W'_i \cdot z_u + b'_i)
    $$

    The loss is on the user's items and on some that are drawn again for each epoch from all others,
    so that an epoch costs O(cells x (1 + negatives) x k). Every stored cell counts 1, whatever its
    value, unless `weights` says otherwise; `Ratings.binarize` keeps those of a value.

    Parameters
    ----------
    hidden_units : int, default 50
        k.
    encoder_activation : str, default "sigmoid"
        h: "sigmoid", "identity", "tanh", "relu", "elu", "selu" or "swish".
    loss : {"logistic", "square"}, default "logistic"
        Cross-entropy, with the sigmoid for f, or squares, with the identity. With
        `encoder_activation`, the paper's M1 is identity and square, M2 identity and logistic, M3
        sigmoid and square, M4 sigmoid and logistic.
    tied : bool, default False
        Whether the decoder's weights W' are the encoder's W.
    regularization : float, default 0.0
        lambda of + (lambda / 2) (||W||^2 + ||W'||^2 + ||V||^2), where the loss is summed over users
        and cells. Above 0, or with Adam or momentum, a batch steps the weights of all items, and
        not of its own alone. A user's vector decays in the user's own batch, once an epoch; Adam
        and momentum move it in the others as well, without decay.
    corruption : float, default 0.5
        Probability that a cell of the input is masked in training; the others are scaled up.
    negatives : int, default 5
        Items drawn for each of a user's; none is drawn twice.
    weights : {"values", "log1p"}, optional
        How often a user's item counts in the loss, by its value, as of plays or seconds: as often
        as the value says, or its log(1 + value), divided by the mean over all cells. Items drawn
        count 1, as all do by default. The input stays a row of ones.
    optimizer : {"adagrad", "adam", "momentum", "sgd"}, default "adagrad"
    learning_rate : float, default 0.1
    batch_size : int, default 256
        Users in a mini-batch.
    epochs : int, default 50

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Mean loss of a cell, seconds and the validation metric of each epoch.

    Notes
    -----
    Y. Wu, C. DuBois, A. X. Zheng, M. Ester: Collaborative Denoising Auto-Encoders for Top-N
    Recommender Systems, WSDM 2016, eq. 4-9. A user who comes after training has no vector V_u, and
    0 takes its place. Scores are W'_i . z_u + b'_i, also where f is the sigmoid.

    Examples
    --------
    >>> from isthmus import CDAE, synthetic_ratings, train_test_split
    >>> train, test = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model = CDAE(hidden_units=10, epochs=3, random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['ndcg@10', 'precision@10', 'recall@10']
    """

    hidden_units: int = 50
    encoder_activation: str = "sigmoid"
    loss: str = "logistic"
    tied: bool = False
    regularization: float = 0.0
    corruption: float = 0.5
    negatives: int = 5
    weights: str | None = None
    optimizer: str = "adagrad"
    learning_rate: float = 0.1
    batch_size: int = 256
    epochs: int = 50

    _update_share = 0.2

    _structural = ("hidden_units", "encoder_activation", "loss", "tied")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_units("hidden_units", self.hidden_units)
        check_choice("encoder_activation", self.encoder_activation, ACTIVATIONS)
        check_choice("loss", self.loss, ("logistic", "square"))
        check_bool("tied", self.tied)
        check_real("regularization", self.regularization, low=0)
        check_real("corruption", self.corruption, low=0, high=1, open_high=True)
        check_integer("negatives", self.negatives, low=0, high=np.inf)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)

    def _make_network(self, n_users: int, n_items: int, seed: int) -> _core.Cdae:
        return _core.Cdae(
            *(n_users, n_items, int(self._structure.hidden_units)),
            activation=self._structure.encoder_activation,
            logistic=self._structure.loss == "logistic",
            tied=bool(self._structure.tied),
            seed=seed,
            num_threads=self._num_threads(),
        )

    def _learner(self, ratings: Ratings) -> _Learner:
        rows = self._rows(ratings)
        known = len(self._network.weights()["users"])
        if known < rows.shape[0]:  # users were folded in, whose vectors are still 0
            old = self._network
            self._network = self._make_network(rows.shape[0], rows.shape[1], self._seed)
            for name, array in self._network.weights().items():
                if name == "users":
                    array[known:] = 0
                    array = array[:known]
                array[...] = old.weights()[name]
        settings = self._structure
        trainer = _core.CdaeTrainer(
            self._network,
            optimizer=settings.optimizer,
            regularization=float(settings.regularization),
            batch_size=int(settings.batch_size),
            cells=len(rows.indices),
            negatives=min(int(settings.negatives), rows.shape[1]),
            corruption=float(settings.corruption),
            seed=self._seed,
            num_threads=self._num_threads(),
        )
        return _Learner(rows, settings, trainer)

    def _encode(self, rows: CSR, *, known: bool) -> Floats:
        cells = with_ones(rows)
        codes: Floats = self._network.encode(
            *(cells.indptr, cells.indices, cells.values),
            known=known,
            num_threads=self._num_threads(),
        )
        return codes

    def _without_users(self, kept: NDArray[np.int64]) -> dict[str, Any]:
        own = dict(self._network.weights())
        trained = kept[kept < len(own["users"])]  # others have no node
        if len(trained) == 0:
            raise ValueError("users must leave at least one user of training, but they do not.")
        own["users"] = own["users"][trained]
        network = self._make_network(*self._sizes(own), 0)
        load_weights(network.weights(), own)
        return {**super()._without_users(kept), "_network": network}

    def _decoder(self) -> tuple[Floats, Floats]:
        weights = self._network.weights()
        name = "encoder.weights" if self._structure.tied else "decoder.weights"
        return weights[name], weights["decoder.bias"][0]

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        units = int(self.hidden_units)
        n_users, n_items = shape
        weights = dict(network(n_items, units, (), units))
        if self.tied:
            del weights["decoder.weights"]
        return {
            **weights,
            "users": single(None, units),
            "codes": single(n_users, units),
            **super()._layout(shape, tensors),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        known = len(tensors["users"])  # those who were folded in have no vectors of their own
        if not 1 <= known <= shape[0]:
            raise ValueError(f"users must have from 1 to {shape[0]:,} rows, but it has {known:,}")

    def _sizes(self, tensors: Tensors) -> tuple[int, int]:
        return len(tensors["users"]), len(tensors["encoder.weights"])
