"""The core's models again, slow and obvious: NumPy, float64, dense.

What is exact in the core is exact here (random words, shuffles, which cells are masked); the rest
is what the core would give if it did not round.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Weights = dict[str, Floats]

# Random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011)

SHUFFLE, CORRUPTION, NOISE, DROPOUT, INITIALIZATION = 0, 1, 2, 16, 64  # streams; + layer


@dataclass
class Philox:
    """Draws that are a function of (seed, stream, epoch, row, position)."""

    seed: int
    stream: int
    epoch: int = 0

    def words(self, row: ArrayLike, position: ArrayLike) -> NDArray[np.uint64]:
        """Return the four words at each (row, position), along a last axis."""
        low = np.uint64(0xFFFFFFFF)
        half = np.uint64(32)
        row, position = np.broadcast_arrays(*(np.asarray(a, np.uint64) for a in (row, position)))
        c0, c1 = position, row
        c2, c3 = np.uint64(self.epoch), np.uint64(self.stream)
        k0, k1 = np.uint64(self.seed) & low, np.uint64(self.seed) >> half
        for _ in range(10):
            p0 = np.uint64(0xD2511F53) * c0
            p1 = np.uint64(0xCD9E8D57) * c2
            c0, c1 = (p1 >> half) ^ c1 ^ k0, p1 & low
            c2, c3 = (p0 >> half) ^ c3 ^ k1, p0 & low
            k0 = (k0 + np.uint64(0x9E3779B9)) & low
            k1 = (k1 + np.uint64(0xBB67AE85)) & low
        return np.stack(np.broadcast_arrays(c0, c1, c2, c3), axis=-1)

    def uniform(self, row: ArrayLike, position: ArrayLike) -> Floats:
        """Return draws in [0, 1), multiples of 2^-24."""
        draws: Floats = (self.words(row, position)[..., 0] >> np.uint64(8)) * 2.0**-24
        return draws

    def normal(self, row: ArrayLike, position: ArrayLike) -> Floats:
        """Return standard normal draws, by Box and Muller."""
        words = self.words(row, position) >> np.uint64(8)
        u, v = (words[..., 0] + 1.0) * 2.0**-24, words[..., 1] * 2.0**-24
        draws: Floats = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
        return draws


def shuffled(items: ArrayLike, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return items in the order of an epoch (Fisher and Yates)."""
    items = np.array(items, dtype=np.int64)
    words = Philox(seed, SHUFFLE, epoch).words(0, np.arange(len(items)))[:, 0]
    for i in range(len(items) - 1, 0, -1):
        j = int(words[i]) * (i + 1) >> 32
        items[i], items[j] = items[j], items[i]
    return items


# Activations

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def sigmoid(z: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -z))


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "centered_sigmoid": lambda z: np.tanh(z / 2) / 2,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
    "swish": lambda z: z * sigmoid(z),
}

DERIVATIVES: dict[str, Callable[[Floats], Floats]] = {
    "identity": np.ones_like,
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "centered_sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "tanh": lambda z: 4 * sigmoid(2 * z) * sigmoid(-2 * z),
    "relu": lambda z: np.where(z > 0, 1.0, 0.0),
    "elu": lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0))),
    "swish": lambda z: sigmoid(z) + z * sigmoid(z) * sigmoid(-z),
}

# Optimizers: how far a weight moves along its gradient. Formulas and defaults are PyTorch's.


@dataclass
class Optimizer:
    """One array's optimizer, with its state."""

    kind: str
    momentum: float = 0.9
    steps: int = 0
    first: Floats | float = 0.0
    second: Floats | float = 0.0

    def move(self, gradient: Floats, rate: float) -> Floats:
        self.steps += 1
        if self.kind == "sgd":
            return -rate * gradient
        if self.kind == "momentum":
            self.first = self.momentum * self.first + gradient
            return -rate * self.first
        if self.kind == "adagrad":
            self.second = self.second + gradient**2
            return -rate * gradient / (np.sqrt(self.second) + 1e-10)
        if self.kind == "rprop":
            agreement = np.sign(gradient * self.first)
            length = np.where(self.steps == 1, rate, self.second)
            length = np.where(agreement > 0, np.minimum(1.2 * length, 50), length)
            self.second = np.where(agreement < 0, np.maximum(0.5 * length, 1e-6), length)
            self.first = np.where(agreement < 0, 0.0, gradient)
            return -np.sign(self.first) * self.second
        assert self.kind == "adam"
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first = self.first / (1 - 0.9**self.steps)
        second = self.second / (1 - 0.999**self.steps)
        return -rate * first / (np.sqrt(second) + 1e-8)


# Autoencoders on observed cells (Sedhain, Menon, Sanner, Xie, WWW 2015, eq. 1-2)


@dataclass
class Rows:
    """CSR rows, and what turns a row's stored values into inputs and targets.

    A stored cell is observed, whatever its value.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    cols: int
    input_offset: NDArray[np.float32] | None = None
    target_offset: NDArray[np.float32] | None = None
    input_scale: float = 1.0
    target_scale: float = 1.0
    input_factor: NDArray[np.float32] | None = None
    column_offset: NDArray[np.float32] | None = None
    cell_offset: NDArray[np.float32] | None = None
    cell_weight: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def dense(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the values, 0 where nothing is stored, and where something is."""
        observed = np.zeros((len(self), self.cols), dtype=bool)
        observed[self.cells()] = True
        return self.spread(self.values), observed

    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return row and column of every stored cell."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices

    def spread(self, values: Floats) -> Floats:
        """Return a table of a value for each stored cell, 0 where nothing is stored."""
        table = np.zeros((len(self), self.cols))
        table[self.cells()] = values
        return table

    def inputs_and_targets(self) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return inputs and targets, 0 where nothing is stored, and where something is."""
        values, observed = self.dense()
        none = np.zeros(len(self))
        input_offset = none if self.input_offset is None else self.input_offset
        target_offset = none if self.target_offset is None else self.target_offset
        inputs = (values - input_offset[:, None]) * self.input_scale
        if self.input_factor is not None:
            inputs = inputs * self.input_factor[:, None]
        column_offset = 0 if self.column_offset is None else self.column_offset
        targets = (values - target_offset[:, None] - column_offset) * self.target_scale
        if self.cell_offset is not None:
            targets -= self.spread(self.cell_offset)
        return np.where(observed, inputs, 0), np.where(observed, targets, 0), observed

    def weights(self) -> Floats:
        """Return how often each cell's loss counts, 0 where nothing is stored."""
        none = np.ones(len(self.values))
        return self.spread(none if self.cell_weight is None else self.cell_weight)


def table_of(ratings: Any) -> Floats:
    """Return ratings as users x items; NaN is where nothing is stored."""
    table = np.full(ratings.shape, np.nan)
    rows = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    table[rows, ratings.indices] = ratings.values
    return table


def biases(
    table: Floats, row_damping: float, column_damping: float
) -> tuple[float, Floats, Floats]:
    """Return a mean, and damped biases of rows and columns; NaN is where nothing is stored.

    By least squares: unknowns are mean, rows, columns; a penalty is a cell of 0 for its bias alone.
    """
    rows, columns = np.nonzero(np.isfinite(table))
    n_rows, n_columns = table.shape
    design = np.zeros((len(rows), 1 + n_rows + n_columns))
    design[:, 0] = 1
    design[np.arange(len(rows)), 1 + rows] = 1
    design[np.arange(len(rows)), 1 + n_rows + columns] = 1
    penalties = np.diag([0.0] + n_rows * [row_damping] + n_columns * [column_damping])
    solved = np.linalg.solve(design.T @ design + penalties, design.T @ table[rows, columns])
    return solved[0], solved[1 : 1 + n_rows], solved[1 + n_rows :]


def dampings(table: Floats) -> tuple[float, float]:
    """Return the dampings of rows and of columns whose biases predict best what is left out."""
    mean, row, column = biases(table, 5, 5)
    return _damping(table - mean, row), _damping((table - mean).T, column)


def _damping(table: Floats, row: Floats) -> float:
    """Return the damping of rows, by leaving out every cell in turn."""
    candidates = 2.0 ** np.arange(-3, 8.01, 0.25)
    errors, cells = np.zeros(len(candidates)), np.isfinite(table).sum()
    values = np.nan_to_num(table)
    for r, known in enumerate(np.isfinite(table)):
        others = np.isfinite(table) & (np.arange(len(table)) != r)[:, np.newaxis]
        column = np.where(others, values - row[:, np.newaxis], 0).sum(axis=0) / (others.sum(0) + 5)
        left = (values[r] - column)[known]
        for cell, x in enumerate(left):
            errors += (x - np.delete(left, cell).sum() / (len(left) - 1 + candidates)) ** 2
    return float(candidates[np.argmin(cells * np.log(errors) + np.log2(candidates / 5) ** 2)])


@dataclass
class Autoencoder:
    """h_1 = g(X V + mu), h_l = g(h_{l-1} A_l + a_l), reconstruction = f(h_L W^T + b)."""

    inputs: int
    hidden: tuple[int, ...]
    hidden_activation: str = "sigmoid"
    output_activation: str = "identity"
    seed: int = 0
    weights: Weights = field(init=False)

    def __post_init__(self) -> None:
        first, last = self.hidden[0], self.hidden[-1]
        self.weights = {
            "encoder.weights": glorot(self.inputs, first, self.seed, 0),
            "encoder.bias": np.zeros((1, first)),
        }
        for layer in range(1, len(self.hidden)):
            shape = self.hidden[layer - 1], self.hidden[layer]
            self.weights[f"hidden.{layer}.weights"] = glorot(*shape, self.seed, layer)
            self.weights[f"hidden.{layer}.bias"] = np.zeros((1, shape[1]))
        layers = len(self.hidden)
        self.weights["decoder.weights"] = glorot(self.inputs, last, self.seed, layers)
        self.weights["decoder.bias"] = np.zeros((1, self.inputs))

    def layer_names(self) -> list[str]:
        return ["encoder", *(f"hidden.{layer}" for layer in range(1, len(self.hidden)))]

    def encode(self, inputs: Floats, kept: list[Floats] | None = None) -> list[Floats]:
        """Return the hidden units of every layer; `kept` multiplies them (dropout)."""
        codes = [inputs]
        for layer, name in enumerate(self.layer_names()):
            z = codes[-1] @ self.weights[f"{name}.weights"] + self.weights[f"{name}.bias"]
            h = ACTIVATIONS[self.hidden_activation](z)
            codes.append(h if kept is None else h * kept[layer])
        return codes[1:]

    def reconstruct(self, codes: Floats) -> Floats:
        """Return the output for the last hidden layer's units."""
        z = codes @ self.weights["decoder.weights"].T + self.weights["decoder.bias"]
        return ACTIVATIONS[self.output_activation](z)

    def squared_error(
        self,
        inputs: Floats,
        targets: Floats,
        weights: Floats | NDArray[np.bool_],
        kept: list[Floats] | None = None,
    ) -> float:
        """Return the weighted sum of squared errors; cells that are not observed have weight 0."""
        errors = self.reconstruct(self.encode(inputs, kept)[-1]) - targets
        return float(np.sum(weights * errors**2))

    def loss(
        self,
        inputs: Floats,
        targets: Floats,
        weights: Floats | NDArray[np.bool_],
        decay: float,
        kept: list[Floats] | None = None,
    ) -> float:
        """Return the squared error plus (decay / 2) ||weights||^2; biases are not decayed."""
        penalty = sum(np.sum(w**2) for name, w in self.weights.items() if "weights" in name)
        return self.squared_error(inputs, targets, weights, kept) + decay / 2 * float(penalty)

    def gradients(
        self,
        inputs: Floats,
        targets: Floats,
        weights: Floats | NDArray[np.bool_],
        decay: float,
        kept: list[Floats] | None = None,
    ) -> Weights:
        """Return the gradient of `loss` for every array of weights."""
        slope = DERIVATIVES[self.hidden_activation]
        codes = [inputs, *self.encode(inputs, kept)]
        w = self.weights["decoder.weights"]
        z = codes[-1] @ w.T + self.weights["decoder.bias"]
        errors = ACTIVATIONS[self.output_activation](z) - targets
        errors = 2 * errors * DERIVATIVES[self.output_activation](z) * weights
        gradients = {
            "decoder.weights": errors.T @ codes[-1] + decay * w,
            "decoder.bias": errors.sum(axis=0, keepdims=True),
        }
        back = errors @ w
        for layer in reversed(range(len(self.hidden))):
            name = self.layer_names()[layer]
            w = self.weights[f"{name}.weights"]
            z = codes[layer] @ w + self.weights[f"{name}.bias"]
            back = back * slope(z) if kept is None else back * kept[layer] * slope(z)
            gradients[f"{name}.weights"] = codes[layer].T @ back + decay * w
            gradients[f"{name}.bias"] = back.sum(axis=0, keepdims=True)
            back = back @ w.T
        return gradients


def glorot(rows: int, cols: int, seed: int, layer: int) -> Floats:
    """Return weights uniform in +-sqrt(6 / (rows + cols))."""
    uniform = Philox(seed, INITIALIZATION + layer).uniform(np.arange(rows)[:, None], range(cols))
    return float(np.sqrt(6 / (rows + cols))) * (2 * uniform - 1)


@dataclass
class Trainer:
    """Trains an Autoencoder by mini-batches of rows, each with its share of the decay."""

    model: Autoencoder
    optimizer: str = "sgd"
    momentum: float = 0.9
    regularization: float = 0.0
    hidden_regularization: float | None = None
    batch_size: int = 256
    corruption: str = "none"
    corruption_level: float = 0.0
    dropout: float = 0.0
    seed: int = 0
    bias_regularization: float = 0.0
    transposed: bool = False

    def __post_init__(self) -> None:
        self.optimizers = {
            name: Optimizer(self.optimizer, self.momentum) for name in self.model.weights
        }

    def run_epoch(
        self,
        rows: Rows,
        epoch: int,
        rate: ArrayLike,
        batches: int | None = None,
        predictions: Floats | None = None,
    ) -> tuple[float, int]:
        """Return the summed squared error before each batch's step, and the cells it is over.

        After so many batches, if given, it stops. `rate` is one, or one for each batch;
        `predictions` is filled with the output for each stored cell.
        """
        inputs, targets, observed = rows.inputs_and_targets()
        weights = rows.weights()
        order = shuffled(np.flatnonzero(observed.any(axis=1)), self.seed, epoch)
        total = 0.0
        outputs = np.zeros(inputs.shape)
        starts = range(0, len(order), self.batch_size)[:batches]
        for start, own_rate in zip(starts, np.broadcast_to(rate, len(starts)), strict=True):
            ids = order[start : start + self.batch_size]
            factor = 1 if rows.input_factor is None else rows.input_factor[ids, None]
            x = factor * self.corrupted(inputs[ids] / factor, observed[ids], ids, epoch)
            kept = self.kept(ids, epoch)
            share = len(ids) / len(order)
            decay = self.regularization * share
            total += self.model.squared_error(x, targets[ids], weights[ids], kept)
            outputs[ids] = self.model.reconstruct(self.model.encode(x, kept)[-1])
            gradients = self.model.gradients(x, targets[ids], weights[ids], decay, kept)
            for name, gradient in gradients.items():
                if (
                    "hidden" in name
                    and "weights" in name
                    and self.hidden_regularization is not None
                ):
                    own = self.hidden_regularization - self.regularization
                    gradient = gradient + own * share * self.model.weights[name]
                if name == "decoder.bias":
                    gradient = (
                        gradient + self.bias_regularization * share * (self.model.weights[name])
                    )
                self.model.weights[name] += self.optimizers[name].move(gradient, float(own_rate))
        if predictions is not None:
            predictions[:] = outputs[rows.cells()]
        return total, int(observed.sum())

    def corrupted(
        self, inputs: Floats, observed: NDArray[np.bool_], ids: NDArray[np.int64], epoch: int
    ) -> Floats:
        """Return the input with cells masked, and the rest scaled up, or with noise added."""
        rows, columns = ids[:, None], np.arange(inputs.shape[1])
        cells = (columns, rows) if self.transposed else (rows, columns)
        level = np.float32(self.corruption_level)
        if self.corruption == "mask":
            masked = Philox(self.seed, CORRUPTION, epoch).uniform(*cells) < level
            scale = 1 / (1 - level) if level < 1 else 1
            return np.where(masked, 0, inputs * scale)
        if self.corruption == "gaussian":
            noise = Philox(self.seed, NOISE, epoch).normal(*cells)
            noisy: Floats = inputs + level * noise * observed
            return noisy
        return inputs

    def kept(self, ids: NDArray[np.int64], epoch: int) -> list[Floats] | None:
        """Return what multiplies each layer's hidden units: 0, or 1 / (1 - rate)."""
        if self.dropout == 0:
            return None
        rate = np.float32(self.dropout)
        draws = [
            Philox(self.seed, DROPOUT + layer, epoch).uniform(ids[:, None], np.arange(units))
            for layer, units in enumerate(self.model.hidden)
        ]
        return [np.where(draw < rate, 0, 1 / (1 - np.float64(rate))) for draw in draws]


# Mult-DAE with one hidden layer (Liang, Krishnan, Hoffman, Jebara, WWW 2018), with weights of cells


def multinomial_gradients(
    parameters: Weights, weights: Floats, observed: NDArray[np.bool_], kept: Floats, likelihood: str
) -> tuple[float, Weights]:
    """Return a batch's negative log likelihood, and the gradient of its mean over the rows.

    `kept` multiplies the inputs (dropout).
    """
    x = np.sqrt(weights)
    x = kept * x / np.linalg.norm(x, axis=1, keepdims=True)
    h = np.tanh(x @ parameters["encoder.weights"] + parameters["encoder.bias"])
    z = h @ parameters["decoder.weights"].T + parameters["decoder.bias"]
    counts = np.where(observed, weights, 1)  # of each term, also of items that a row has not
    ones = observed.astype(np.float64)
    if likelihood == "multinomial":
        logs = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        loss = -np.sum(weights * logs)
        errors = weights.sum(axis=1, keepdims=True) * np.exp(logs) - weights
    elif likelihood == "bernoulli":
        loss = np.sum(counts * (np.logaddexp(0, z) - ones * z))
        errors = counts * (sigmoid(z) - ones)
    else:
        loss = np.sum(counts * (ones - z) ** 2) / 2
        errors = counts * (z - ones)
    errors = errors / len(x)
    back = (errors @ parameters["decoder.weights"]) * (1 - h**2)
    return float(loss), {
        "encoder.weights": x.T @ back,
        "encoder.bias": back.sum(axis=0, keepdims=True),
        "decoder.weights": errors.T @ h,
        "decoder.bias": errors.sum(axis=0, keepdims=True),
    }


# What follows a training run


def ridge(
    codes: Floats,
    targets: Floats,
    penalty: float,
    *,
    mean_weights: Floats,
    mean_bias: float,
    center: Floats,
    level_penalty: float,
) -> tuple[Floats, float]:
    """Return w, b of a new column, by least squares.

    They minimise  ||targets - codes w - b||^2 + penalty ||w - mean_weights||^2
    + level_penalty (w center + b - mean_weights center - mean_bias)^2.
    """
    k = codes.shape[1]
    design = np.block(
        [
            [codes, np.ones((len(codes), 1))],
            [np.sqrt(penalty) * np.eye(k), np.zeros((k, 1))],
            [np.sqrt(level_penalty) * np.append(center, 1)],
        ]
    )
    level = mean_weights @ center + mean_bias
    wanted = [targets, np.sqrt(penalty) * mean_weights, [np.sqrt(level_penalty) * level]]
    solution = np.linalg.lstsq(design, np.concatenate(wanted), rcond=None)[0]
    return solution[:-1], float(solution[-1])


def top_k(
    scores: ArrayLike, n: int, seen: list[set[int]] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the n best columns of each row, best first and equal ones by index, and their scores.

    Short lists end in -1 and NaN.
    """
    scores = np.asarray(scores, dtype=np.float64)
    items = np.full((len(scores), n), -1, dtype=np.int32)
    best = np.full((len(scores), n), np.nan)
    for q, row in enumerate(scores):
        allowed = [c for c in range(len(row)) if seen is None or c not in seen[q]]
        ranked = sorted(allowed, key=lambda c: (-row[c], c))[:n]
        items[q, : len(ranked)] = ranked
        best[q, : len(ranked)] = row[ranked]
    return items, best


# Collaborative variational autoencoder (Li, She, KDD 2017) and its weighted least squares


def implicit_factors(
    observed: ArrayLike,
    factors: ArrayLike,
    *,
    positive: float,
    other: float,
    regularization: float,
    prior: ArrayLike | None = None,
    counted: ArrayLike | None = None,
) -> tuple[Floats, float]:
    """Solve (V C_i V^T + lambda I) u_i = V C_i R_i + lambda prior_i for every row i of R.

    Only columns that are `counted` weigh where they are not observed. Returns the solutions and
    the weighted squared error.
    """
    rows = np.asarray(observed, bool)
    v = np.asarray(factors, np.float64)
    k = v.shape[1]
    means = np.zeros((len(rows), k)) if prior is None else np.asarray(prior, np.float64)
    weighs = np.ones(len(v), bool) if counted is None else np.asarray(counted, bool)
    solved, error = np.empty((len(rows), k)), 0.0
    for i, row in enumerate(rows):
        weight = np.where(row, positive, np.where(weighs, other, 0.0))
        left = (v.T * weight) @ v + regularization * np.eye(k)
        solved[i] = np.linalg.solve(left, v.T @ (weight * row) + regularization * means[i])
        error += float(weight @ (row - v @ solved[i]) ** 2)
    return solved, error


def content_code(
    x: ArrayLike, weights: dict[str, NDArray[np.float32]], n_hidden: int
) -> tuple[Floats, Floats]:
    """Return the mean and the log-variance of the code of rows of content."""
    h = np.asarray(x, np.float64)
    for layer in range(n_hidden):
        h = sigmoid(h @ weights[f"layer.{layer}.weights"] + weights[f"layer.{layer}.bias"])
    z = h @ weights[f"layer.{n_hidden}.weights"] + weights[f"layer.{n_hidden}.bias"]
    mean, log_variance = np.split(z, 2, axis=1)
    return mean, log_variance
