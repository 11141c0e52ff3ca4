"""Mult-DAE and Mult-VAE: autoencoders with a likelihood over all items."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np

from isthmus import _core
from isthmus._util.checks import (
    ACTIVATIONS,
    check_choice,
    check_integer,
    check_layers,
    check_real,
    check_units,
    is_auto,
)
from isthmus.data._csr import CSR, count_filled
from isthmus.data.ratings import Ratings
from isthmus.evaluation.scores import Floats
from isthmus.models._cell_weights import weights_by_rule
from isthmus.models._estimator import with_parameters
from isthmus.models._implicit import ImplicitRecommender, RowLearner
from isthmus.models._precision import check_precision, precision_of
from isthmus.models._tensors import Layout, Tensor, Tensors, integer_in, network, single

__all__ = ["MultDAE", "MultVAE"]

OPTIMIZERS = ("adam", "adagrad", "sgd")
LIKELIHOODS = ("multinomial", "bernoulli", "gaussian")


def _batch_size(settings: SimpleNamespace, rows: int) -> int:
    """Return the users in a batch: a tenth of those who have cells, from 50 to 500, for "auto"."""
    if is_auto(settings.batch_size):
        return min(max(50, rows // 10), 500)
    return int(settings.batch_size)


class _Learner(RowLearner):
    """Train an autoencoder with a likelihood over all items."""

    def __init__(
        self,
        network: _core.MultinomialAutoencoder,
        rows: CSR,
        settings: SimpleNamespace,
        *,
        divergence: tuple[float, float],
        first_step: int,
        seed: int,
        num_threads: int,
    ) -> None:
        trainer = _core.MultinomialTrainer(
            network,
            count_filled(rows),
            optimizer=settings.optimizer,
            regularization=float(settings.regularization),
            batch_size=_batch_size(settings, count_filled(rows)),
            dropout=float(settings.dropout),
            likelihood=settings.likelihood,
            sampled_items=int(settings.sampled_items or 0),
            noise=1.0,
            seed=seed,
            num_threads=num_threads,
            precision=precision_of(settings.precision),
        )
        super().__init__(rows, settings, trainer)
        self._beta, self._annealing = divergence
        self._first_step = first_step

    @property
    def steps(self) -> int:
        """Batches that the network was trained on, by this learner and those before."""
        steps: int = self._first_step + self._trainer.steps
        return steps

    def run_rows(self, index: int, progress: Callable[[int], None] | None) -> float:
        likelihood, divergence, n_rows = self._trainer.run_epoch(
            *(self.rows.indptr, self.rows.indices, self.rows.shape[1], index),
            float(self._settings.learning_rate),
            beta=self._beta,
            annealing=self._annealing,
            first_step=self._first_step,
            weights=self.weights,
            progress=progress,
        )
        return float((likelihood + self._beta * divergence) / n_rows)


@with_parameters
class _Multinomial(ImplicitRecommender, abstract=True):
    """What the two share: everything but the code.

    Parameters
    ----------
    activation : str, default "tanh"
        Of every hidden layer: "tanh", "identity", "sigmoid", "relu", "elu", "selu" or "swish".
    regularization : float, default 0.0
        lambda of + (lambda / 2) ||weights||^2, added to the loss of each batch; biases are free.
    dropout : float, default 0.5
        Probability that a cell of the input is dropped in training; the others are scaled up.
    likelihood : {"multinomial", "bernoulli", "gaussian"}, default "multinomial"
        What a user's items are drawn from, with the decoder's output f: a softmax of f, one sigmoid
        an item, or a normal distribution around f with variance 1. The loss is its negative
        logarithm (the paper's eq. 2 to 4; Gaussian: without the constant, every weight 1).
    sampled_items : int, optional
        Train on a sample of the items, for catalogues of a million: a batch's softmax is over the
        items that its users have and so many drawn uniformly from all others, each of which stands
        for its share of these. Only for the multinomial likelihood; all items by default. See the
        notes of `MultDAE` for its bias.
    weights : {"values", "log1p"}, optional
        How often a cell counts, by its value, as of plays or seconds: as often as the value says,
        or its log(1 + value). All count 1 by default. See the notes of `MultDAE`.
    optimizer : {"adam", "adagrad", "sgd"}, default "adam"
    learning_rate : float, default 0.001
    batch_size : int or "auto", default "auto"
        Users in a mini-batch. "auto" is a tenth of the users who have cells, and from 50 to 500.
    precision : {"auto", "float32", "bfloat16"}, default "auto"
        Of what the products of dense layers, all but the sparse first one, multiply: nearly all of
        an epoch. Weights, sums and the optimizer's state are in float32 either way. "auto" is
        "bfloat16" with the core for AVX-512 BF16, the default on AMD's processors that have it.
    """

    hidden_units: tuple[int, ...]
    activation: str = "tanh"
    regularization: float = 0.0
    dropout: float = 0.5
    likelihood: str = "multinomial"
    sampled_items: int | None = None
    weights: str | None = None
    optimizer: str = "adam"
    learning_rate: float = 0.001
    batch_size: int | Literal["auto"] = "auto"
    precision: str = "auto"

    _structural: ClassVar[tuple[str, ...]] = ("hidden_units", "activation")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layers("hidden_units", self.hidden_units)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_real("regularization", self.regularization, low=0)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_real("dropout", self.dropout, low=0, high=1, open_high=True)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_precision(self.precision)
        check_integer("sampled_items", self.sampled_items, low=1, others=(None,))
        if self.sampled_items is not None and self.likelihood != "multinomial":
            raise ValueError(
                f'sampled_items must be None unless likelihood is "multinomial", but it was '
                f"{self.sampled_items} with {self.likelihood!r}."
            )

    def _check_batch_size(self) -> None:
        check_integer("batch_size", self.batch_size, low=1, others=("auto",))

    def _layers(self, structure: SimpleNamespace) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """Return the units before the code, in it, and after it."""
        return check_layers("hidden_units", structure.hidden_units), 0, ()

    def _annealing(self) -> tuple[float, float]:
        """Return the KL divergence's greatest weight, and the steps that would take it to 1."""
        return 0.0, 0.0

    def _make_network(self, n_users: int, n_items: int, seed: int) -> _core.MultinomialAutoencoder:
        return _core.MultinomialAutoencoder(
            n_items,
            *self._layers(self._structure),
            activation=self._structure.activation,
            seed=seed,
            num_threads=self._num_threads(),
        )

    def _initialize(self, ratings: Ratings) -> None:
        super()._initialize(ratings)
        self._steps = 0  # batches trained on so far, by which the KL divergence's weight grows

    def _learner(self, ratings: Ratings) -> _Learner:
        return _Learner(
            self._network,
            self._rows(ratings),
            self._structure,
            divergence=self._annealing(),
            first_step=self._steps,
            seed=self._seed,
            num_threads=self._num_threads(),
        )

    def _finish(self, learner: Any) -> None:
        self._steps = learner.steps
        super()._finish(learner)

    def _encode(self, rows: CSR, *, known: bool) -> Floats:
        weights, rule = None, self._structure.weights
        if rule is not None:
            weights = rows.values if known else weights_by_rule(rows.values, rule, "ratings")
        codes: Floats = self._network.encode(
            rows.indptr, rows.indices, weights=weights, num_threads=self._num_threads()
        )
        return codes

    def _decoder(self) -> tuple[Floats, Floats]:
        weights = self._network.weights()
        return weights["decoder.weights"], weights["decoder.bias"][0]

    def _tensors(self) -> Tensors:
        return {**super()._tensors(), "steps": np.array([self._steps], np.int64)}

    def _layout(self, shape: tuple[int, int], tensors: Tensors) -> Layout:
        encoder, latent, decoder = self._layers(self._current_structure())
        hidden = [*pairwise(encoder)]
        if latent:  # means and deviations
            hidden += [(encoder[-1], 2 * latent), *pairwise((latent, *decoder))]
        last = (*encoder, *((latent,) if latent else ()), *decoder)[-1]
        n_users, n_items = shape
        return {
            **network(n_items, encoder[0], hidden, last),
            "codes": single(n_users, last),
            "steps": Tensor(np.int64, (1,)),
            **super()._layout(shape, tensors),
        }

    def _check_values(self, shape: tuple[int, int], tensors: Tensors) -> None:
        super()._check_values(shape, tensors)
        integer_in(tensors, "steps", high=np.iinfo(np.int64).max)

    def _restore(self, tensors: Tensors) -> None:
        super()._restore(tensors)
        self._steps = int(tensors["steps"][0])


@with_parameters
class MultDAE(_Multinomial):
    r"""Mult-DAE: a denoising autoencoder with a multinomial likelihood over all items.

    A user's row of ones x, normalised to length 1 and with cells dropped, is encoded and decoded to
    a distribution over all items:

    $$
    \pi = \mathrm{softmax}(W h_L + c), \qquad \min - \sum_i x_i \log \pi_i
    $$

    as a mean over the users of a batch. Every stored cell counts 1, whatever its value, unless
    `weights` says otherwise; `Ratings.binarize` keeps those of a value.

    Parameters
    ----------
    hidden_units : tuple of int, default (200,)
        Units of each hidden layer, from the input to the output: ``(600, 200, 600)`` is a deep one.
    epochs : int, default 60

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Mean loss of a user, seconds and the validation metric of each epoch.

    Notes
    -----
    D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara: Variational Autoencoders for Collaborative
    Filtering, WWW 2018, section 2. Scores are logits.

    With `sampled_items`, the softmax's denominator is an unbiased estimate of that over all items.
    The loss has its logarithm, and is too small by half the estimate's relative variance on average
    (Jensen's inequality); the gradient is biased likewise, towards the items that were drawn. Both
    fall as 1 / `sampled_items`, and are 0 once all items are drawn. Items that are not in a batch's
    sample keep weights and optimizer's state in its step, as with PyTorch's SparseAdam.

    With `weights`, those of all cells are first divided by their mean, so that their unit does not
    matter and the loss keeps its size. Then x_i in the loss is the weight w_i of the user's item
    i; with the other likelihoods, what an item of the user's adds to the loss is multiplied by it.
    The input is the roots of the user's weights, normalised to length 1, for new users as well. A
    cell of weight 0 counts as if it were not there, but is seen.

    Examples
    --------
    >>> from isthmus import MultDAE, synthetic_ratings, train_test_split
    >>> train, test = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model = MultDAE(hidden_units=(20,), epochs=3, random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['ndcg@10', 'precision@10', 'recall@10']
    """

    hidden_units: tuple[int, ...] = (200,)
    epochs: int = 60


@with_parameters
class MultVAE(_Multinomial):
    r"""Mult-VAE: a variational autoencoder with a multinomial likelihood over all items.

    As `MultDAE`, with a Gaussian code between encoder and decoder, whose divergence from a standard
    normal is part of the loss:

    $$
    z \sim N(\mu(x), \sigma^2(x)), \quad \pi = \mathrm{softmax}(f(z)), \qquad
    \min - \sum_i x_i \log \pi_i + \beta \, KL(N(\mu, \sigma^2) \,\Vert\, N(0, I))
    $$

    beta grows linearly from 0 by 1 / `annealing_steps` a step, up to `beta`. Outside of training, z
    is its mean.

    Parameters
    ----------
    hidden_units : tuple of int, default (600,)
        Units of each layer of the encoder.
    decoder_units : tuple of int or None, default ()
        Units of each layer of the decoder. ``()`` is a linear decoder, as RecVAE has; None is the
        paper's, with those of the encoder in reverse.
    latent_units : int, default 200
        Units of the code.
    beta : float, default 0.2
        Greatest weight of the KL divergence.
    annealing_steps : int, default 1000
        Steps after which beta would be 1; 0 starts with `beta`. The paper's 200000, for sets of
        hundreds of thousands of users, hardly leave a small one any KL divergence.
    epochs : int, default 50

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        Ids that the model knows, in the order of its rows and columns.
    history_ : list of Epoch
        Mean loss of a user (with the KL divergence weighed by `beta`), seconds and the validation
        metric of each epoch.

    Notes
    -----
    D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara: Variational Autoencoders for Collaborative
    Filtering, WWW 2018, section 2. Scores are logits.

    Examples
    --------
    >>> from isthmus import MultVAE, synthetic_ratings, train_test_split
    >>> train, test = train_test_split(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model = MultVAE(hidden_units=(20,), latent_units=8, epochs=3, random_state=0).fit(train)
    >>> sorted(model.evaluate(test))
    ['ndcg@10', 'precision@10', 'recall@10']
    """

    hidden_units: tuple[int, ...] = (600,)
    decoder_units: tuple[int, ...] | None = ()
    latent_units: int = 200
    beta: float = 0.2
    annealing_steps: int = 1000
    epochs: int = 50

    _structural = ("hidden_units", "decoder_units", "latent_units", "activation")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._layers(self._current_structure())
        check_real("beta", self.beta, low=0)
        check_integer("annealing_steps", self.annealing_steps, low=0)

    def _layers(self, structure: SimpleNamespace) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        layers = check_layers("hidden_units", structure.hidden_units)
        latent = check_units("latent_units", structure.latent_units)
        decoder = structure.decoder_units
        if decoder is None:
            return layers, latent, layers[::-1]
        linear = isinstance(decoder, tuple | list) and not decoder
        return layers, latent, () if linear else check_layers("decoder_units", decoder)

    def _annealing(self) -> tuple[float, float]:
        return float(self._structure.beta), float(self._structure.annealing_steps)
