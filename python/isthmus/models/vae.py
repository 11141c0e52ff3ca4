"""Mult-DAE and Mult-VAE: autoencoders with a likelihood over all items."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from os import PathLike
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from isthmus import _core
from isthmus._util.checks import (
    ACTIVATIONS,
    check_choice,
    check_integer,
    check_layers,
    check_real,
    check_units,
)
from isthmus.data._csr import CSR
from isthmus.data.ratings import Ratings
from isthmus.distributed import Communicator
from isthmus.evaluation.scores import Floats
from isthmus.models._cell_weights import weights_by_rule
from isthmus.models._estimator import with_parameters
from isthmus.models._implicit import ImplicitRecommender
from isthmus.models._over_ranks import OverRanks
from isthmus.models._precision import check_precision
from isthmus.models._rank_fit import check_alone, fit_over_ranks
from isthmus.models._tensors import Layout, Tensor, Tensors, integer_in, network, single
from isthmus.models._vae_learner import Learner
from isthmus.models._vae_ranks import MultinomialJob
from isthmus.training.loop import Callback

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MultDAE", "MultVAE"]

OPTIMIZERS = ("adam", "adagrad", "sgd")
LIKELIHOODS = ("multinomial", "bernoulli", "gaussian")


@with_parameters
class _Multinomial(OverRanks, ImplicitRecommender, abstract=True):
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
    _rank_job = MultinomialJob

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

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
        comm: Communicator | None = None,
        slices: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
        every: int | str = 1,
        resume: bool = False,
    ) -> Self:
        """Train on implicit feedback, on this machine or on the ranks of a job.

        Parameters
        ----------
        X : Ratings, Shards or scipy.sparse array or matrix, shape (n_users, n_items)
            Every stored cell counts 1, whatever its value, unless `weights` says otherwise. A
            matrix's positions become the ids. Shards are mapped into memory from temporary files,
            and need `validation` instead of `validation_fraction`. With `comm`, shards of items
            (``shard(..., axis="item")``) whose buckets the ranks share, or the ratings of this
            rank's items alone (``part_of(..., axis="item")``), as `Ratings`.
        y : ignored
            Here for scikit-learn's pipelines, which hand it on.
        validation : Ratings, scipy.sparse array or matrix, or HeldOutUsers, optional
            What should rank high after each epoch: further cells of the users of `X`, or users who
            are not in it, as `hold_out_users` gives them. With `comm`, `Ratings` or `HeldOutUsers`
            of them, the same on all ranks, with items of `X`.
        callbacks : iterable of callable, optional
            Each is called with an `Epoch` after it; training ends if one returns True. With
            `comm`, each is called on all ranks, and one that returns True on any ends training on
            all.
        comm : Communicator, optional
            Train together with other ranks, which all make this call with the same parameters;
            see `isthmus.distributed`. The items are split, hidden layers are on all ranks, and a
            step is that of one machine. Afterwards this model has this rank's items; `gather` makes
            a whole one. Not with `sampled_items`.
        slices : int, optional
            With `comm`: sum over so many fixed slices of the items, in their order, so that the
            weights are the same to the bit on any number of ranks that divides it.
        checkpoint : str or os.PathLike, optional
            With `comm`: a folder that all ranks see, to save the training in as it goes.
        every : int or str, default 1
            Epochs from one checkpoint to the next, or a time, as "90s", "10min" or "2h".
        resume : bool, default False
            Whether to continue from the checkpoint in the folder, if there is one.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data is invalid.
        ConvergenceError
            If the loss is no longer finite; the model is then not fitted.
        RuntimeError
            If another rank failed.
        KeyboardInterrupt
            On Ctrl-C, between batches; the model is fitted, with the weights of the last batch.
            With `comm`, the job ends.

        Examples
        --------
        Training over two ranks:

        >>> from isthmus import MultDAE, synthetic_ratings
        >>> from isthmus.distributed import part_of, run_in_threads
        >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
        >>> def train(comm):
        ...     model = MultDAE(hidden_units=(10,), epochs=2, num_threads=1, random_state=0)
        ...     model.fit(part_of(ratings, comm.rank, comm.size, axis="item"), comm=comm)
        ...     return model.gather(comm)
        >>> model, _ = run_in_threads(2, train)
        >>> model.recommend([0, 1], n=3)[0].shape
        (2, 3)
        """
        if comm is None:
            check_alone(slices, checkpoint, resume)
            return super().fit(X, validation=validation, callbacks=callbacks)
        fit_over_ranks(
            *(self, X, comm),
            slices=slices,
            validation=validation,
            callbacks=callbacks,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
        )
        return self

    def _make_network(
        self, n_users: int, n_items: int, seed: int, **share: Any
    ) -> _core.MultinomialAutoencoder:
        return _core.MultinomialAutoencoder(
            n_items,
            *self._layers(self._structure),
            activation=self._structure.activation,
            seed=seed,
            num_threads=self._num_threads(),
            **share,
        )

    def _initialize(self, ratings: Ratings) -> None:
        self._rank_columns = None
        super()._initialize(ratings)
        self._steps = 0  # batches trained on so far, by which the KL divergence's weight grows

    def _learner(self, ratings: Ratings) -> Learner:
        self._check_whole()
        return Learner(
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
        self._check_whole()
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
        self._check_whole()
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
