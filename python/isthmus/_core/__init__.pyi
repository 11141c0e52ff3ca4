from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int32]
_Positions = NDArray[np.int64]
_Doubles = NDArray[np.float64]

__version__: str

def available() -> tuple[str, ...]: ...
def load_core(isa: str) -> ModuleType: ...
def choose() -> ModuleType: ...

class _BuildInfo(TypedDict):
    version: str
    isa: str
    compiler: str
    compiler_flags: str
    threads_backend: str
    max_threads: int
    eigen: str
    pybind11: str

def build_info() -> _BuildInfo: ...

class _PybindType(type): ...

class Matrix(metaclass=_PybindType):
    def __init__(self, array: _Floats) -> None: ...
    @property
    def array(self) -> _Floats: ...

def transpose(
    indptr: _Positions,
    indices: _Ints,
    values: _Floats,
    cols: int,
    *,
    num_threads: int,
) -> tuple[_Positions, _Ints, _Floats]: ...
def fit_biases(
    cells: Cells,
    mean: float,
    row_bias: _Doubles,
    column_bias: _Doubles,
    *,
    row_damping: float,
    column_damping: float,
    sweeps: int,
) -> tuple[float, _Doubles, _Doubles]: ...
def fit_row_biases(
    cells: Cells, mean: float, column_bias: _Doubles, *, damping: float, num_threads: int
) -> _Doubles: ...
def sum_residuals(
    cells: Cells,
    mean: float,
    column_bias: _Doubles,
    slice_of: _Ints,
    *,
    slices: int,
    num_threads: int,
) -> _Doubles: ...
def sum_left_out(
    cells: Cells,
    mean: float,
    row_bias: _Doubles,
    column_bias: _Doubles,
    row_factor: _Doubles,
    column_factor: _Doubles,
    slice_of: _Ints,
    *,
    slices: int,
) -> tuple[_Doubles, _Doubles]: ...

class ColumnPrior(metaclass=_PybindType):
    def __init__(
        self, weights: _Floats, bias: _Floats, center: _Floats, level_penalty: float
    ) -> None: ...

def fit_ridge(
    codes: _Floats,
    indptr: _Positions,
    indices: _Ints,
    values: _Floats,
    penalty: float,
    prior: ColumnPrior,
    *,
    num_threads: int,
) -> tuple[_Floats, _Floats]: ...

class Scores(metaclass=_PybindType):
    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def score_pairs(self, queries: _Ints, candidates: _Ints, *, num_threads: int) -> _Floats: ...
    def top_k(
        self,
        n: int,
        *,
        seen_indptr: _Positions | None = None,
        seen_indices: _Ints | None = None,
        num_threads: int,
    ) -> tuple[_Ints, _Floats]: ...

class Scorer(Scores):
    def __init__(
        self,
        queries: _Floats,
        candidates: _Floats,
        *,
        activation: str = "identity",
        scale: float = 1.0,
        query_bias: _Floats | None = None,
        candidate_bias: _Floats | None = None,
        query_offset: _Floats | None = None,
        candidate_offset: _Floats | None = None,
    ) -> None: ...

class ProductScorer(Scores):
    def __init__(
        self, indptr: _Positions, indices: _Ints, values: _Floats, weights: _Floats
    ) -> None: ...

class WeightedScorer(Scores):
    def __init__(
        self, scores: tuple[Scores, ...], weights: Sequence[float], constant: float
    ) -> None: ...

def rank(
    scores: Scores,
    metrics: Sequence[tuple[str, int]],
    positives_indptr: _Positions,
    positives_indices: _Ints,
    *,
    seen_indptr: _Positions | None = None,
    seen_indices: _Ints | None = None,
    lists_indptr: _Positions | None = None,
    lists_indices: _Ints | None = None,
    coverage: int = 0,
    num_threads: int,
) -> tuple[NDArray[np.float64], _Ints]: ...

class NotPositiveDefinite(ArithmeticError): ...
class Singular(ValueError): ...

def ease(
    row_indptr: _Positions,
    row_indices: _Ints,
    row_values: _Floats,
    column_indptr: _Positions,
    column_indices: _Ints,
    column_values: _Floats,
    regularization: float,
    *,
    num_threads: int,
) -> Matrix: ...

class Diverged(RuntimeError): ...

class Rows(metaclass=_PybindType):
    def __init__(
        self,
        indptr: _Positions,
        indices: _Ints,
        values: _Floats,
        cols: int,
        *,
        input_offset: _Floats | None = None,
        target_offset: _Floats | None = None,
        input_scale: float = 1.0,
        target_scale: float = 1.0,
        input_factor: _Floats | None = None,
        column_offset: _Floats | None = None,
        cell_offset: _Floats | None = None,
        cell_weight: _Floats | None = None,
    ) -> None: ...

class Autoencoder(metaclass=_PybindType):
    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        *,
        hidden_activation: str,
        output_activation: str,
        seed: int,
        num_threads: int = 1,
        columns: _Ints | None = None,
        all_columns: int = 0,
    ) -> None: ...
    def weights(self) -> dict[str, _Floats]: ...
    def encode(self, rows: Rows, *, num_threads: int = 1) -> Matrix: ...

_Reduce = Callable[[_Floats, list[_Floats]], object]

def column_order(popularity: _Positions) -> _Ints: ...

class Trainer(metaclass=_PybindType):
    def __init__(
        self,
        model: Autoencoder,
        popularity: _Positions,
        rows: int,
        *,
        optimizer: str,
        momentum: float,
        regularization: float,
        batch_size: int,
        corruption: str,
        corruption_level: float,
        dropout: float,
        seed: int,
        num_threads: int,
        hidden_regularization: float | None = None,
        transposed: bool = False,
        bias_regularization: float = 0.0,
        precision: str = "float32",
        columns: _Ints | None = None,
        rounding: _Ints | None = None,
        slice_of: _Ints | None = None,
    ) -> None: ...
    def run_epoch(
        self,
        rows: Rows,
        epoch: int,
        learning_rate: float | _Floats,
        *,
        progress: Callable[[int], object] | None = None,
        reduce: _Reduce | None = None,
        filled: _Ints | None = None,
        predictions: _Floats | None = None,
    ) -> tuple[float, int]: ...
    def evaluate(
        self, rows: Rows, *, epoch: int = 0, progress: Callable[[int], object] | None = None
    ) -> tuple[float, float, int]: ...
    def gradients(self) -> dict[str, _Floats]: ...
    def encode(self, rows: Rows, codes: Matrix, *, reduce: _Reduce | None = None) -> None: ...
    def state(self) -> dict[str, _Floats]: ...
    def best(self) -> dict[str, _Floats]: ...
    step: int
    @property
    def slice_errors(self) -> list[float]: ...
    @property
    def phase_seconds(self) -> dict[str, float]: ...
    @property
    def column_rows(self) -> _Ints: ...
    def keep_best(self) -> None: ...
    def restore_best(self) -> None: ...
    def finish(self) -> None: ...

class MultinomialAutoencoder(metaclass=_PybindType):
    def __init__(
        self,
        inputs: int,
        encoder: Sequence[int],
        latent: int,
        decoder: Sequence[int],
        *,
        activation: str,
        seed: int,
        num_threads: int = 1,
        columns: _Ints | None = None,
        all_columns: int = 0,
    ) -> None: ...
    def weights(self) -> dict[str, _Floats]: ...
    def encode(
        self,
        indptr: _Positions,
        indices: _Ints,
        *,
        weights: _Floats | None = None,
        num_threads: int = 1,
    ) -> _Floats: ...

class MultinomialTrainer(metaclass=_PybindType):
    def __init__(
        self,
        model: MultinomialAutoencoder,
        rows: int,
        *,
        optimizer: str,
        regularization: float,
        batch_size: int,
        dropout: float,
        likelihood: str = "multinomial",
        sampled_items: int = 0,
        noise: float = 1.0,
        seed: int,
        num_threads: int,
        precision: str = "float32",
        columns: _Ints | None = None,
        slices: Sequence[tuple[int, int]] = ...,
        machine: int = 0,
        machines: int = 1,
    ) -> None: ...
    def run_epoch(
        self,
        indptr: _Positions,
        indices: _Ints,
        cols: int,
        epoch: int,
        learning_rate: float,
        *,
        beta: float,
        annealing: float,
        first_step: int = 0,
        weights: _Floats | None = None,
        progress: Callable[[int], object] | None = None,
        reduce: _Reduce | None = None,
        filled: _Ints | None = None,
        row_ones: _Doubles | None = None,
    ) -> tuple[float, float, int]: ...
    def encode(
        self,
        indptr: _Positions,
        indices: _Ints,
        *,
        reduce: _Reduce,
        row_ones: _Doubles,
        weights: _Floats | None = None,
    ) -> _Floats: ...
    def state(self) -> dict[str, _Floats]: ...
    def best(self) -> dict[str, _Floats]: ...
    step: int
    def keep_best(self) -> None: ...
    def restore_best(self) -> None: ...

class Cdae(metaclass=_PybindType):
    def __init__(
        self,
        users: int,
        items: int,
        units: int,
        *,
        activation: str,
        logistic: bool,
        tied: bool,
        seed: int,
        num_threads: int = 1,
    ) -> None: ...
    def weights(self) -> dict[str, _Floats]: ...
    def encode(
        self,
        indptr: _Positions,
        indices: _Ints,
        values: _Floats,
        *,
        known: bool,
        num_threads: int = 1,
    ) -> _Floats: ...

class CdaeTrainer(metaclass=_PybindType):
    def __init__(
        self,
        model: Cdae,
        *,
        optimizer: str,
        regularization: float,
        batch_size: int,
        cells: int,
        negatives: int,
        corruption: float,
        seed: int,
        num_threads: int,
    ) -> None: ...
    def run_epoch(
        self,
        indptr: _Positions,
        indices: _Ints,
        epoch: int,
        learning_rate: float,
        *,
        weights: _Floats | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> tuple[float, int]: ...
    def keep_best(self) -> None: ...
    def restore_best(self) -> None: ...

class Cells(metaclass=_PybindType):
    def __init__(self, indptr: _Positions, indices: _Ints, values: _Floats, cols: int) -> None: ...

class BiasedMF(metaclass=_PybindType):
    def __init__(
        self,
        users: int,
        items: int,
        factors: int,
        *,
        mean: float,
        scale: float,
        seed: int,
        num_threads: int = 1,
    ) -> None: ...
    mean: float
    def weights(self) -> dict[str, _Floats]: ...
    def als_sweep(
        self,
        by_user: Cells,
        by_item: Cells,
        *,
        regularization: float,
        bias_regularization: tuple[float, float],
        weighting: float,
        num_threads: int,
        progress: Callable[[int], object] | None = None,
    ) -> float: ...

def solve_rows(
    cells: Cells,
    factors: _Floats,
    bias: _Floats,
    *,
    mean: float,
    regularization: float,
    bias_regularization: float,
    weighting: float,
    num_threads: int,
) -> tuple[_Floats, _Floats]: ...

class ContentNetwork(metaclass=_PybindType):
    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        latent: int,
        *,
        seed: int,
        num_threads: int = 1,
    ) -> None: ...
    def weights(self) -> dict[str, _Floats]: ...
    def encode(self, rows: Cells, *, num_threads: int = 1) -> _Floats: ...

class ContentTrainer(metaclass=_PybindType):
    def __init__(
        self,
        model: ContentNetwork,
        rows: Cells,
        *,
        optimizer: str,
        regularization: float,
        batch_size: int,
        corruption: float,
        seed: int,
        num_threads: int,
    ) -> None: ...
    def run_epoch(
        self,
        epoch: int,
        learning_rate: float,
        *,
        target: _Floats | None = None,
        target_weight: float = 0.0,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[float, float, float, int]: ...
    def keep_best(self) -> None: ...
    def restore_best(self) -> None: ...

def factor_gram(factors: _Floats, *, num_threads: int = 1) -> _Floats: ...
def solve_implicit_rows(
    cells: Cells,
    factors: _Floats,
    gram: _Floats,
    *,
    positive: float,
    other: float,
    regularization: float,
    prior: _Floats | None = None,
    num_threads: int = 1,
) -> tuple[_Floats, float]: ...

class FactorSgd(metaclass=_PybindType):
    def __init__(self, by_user: Cells, *, seed: int, num_threads: int = 1) -> None: ...
    def run_epoch(
        self,
        model: BiasedMF,
        *,
        regularization: float,
        bias_regularization: tuple[float, float],
        weighting: float,
        learning_rate: float,
        epoch: int,
        num_threads: int,
        progress: Callable[[int], object] | None = None,
    ) -> float: ...
    def order(self, epoch: int) -> tuple[_Ints, _Ints, _Floats]: ...

class LevelCells(metaclass=_PybindType):
    def __init__(
        self,
        indptr: _Positions,
        indices: _Ints,
        levels: NDArray[np.uint8],
        cols: int,
        n_levels: int,
    ) -> None: ...

class Rbm(metaclass=_PybindType):
    def __init__(
        self,
        cols: int,
        levels: int,
        hidden: int,
        *,
        deviation: float,
        seed: int,
        num_threads: int = 1,
    ) -> None: ...
    def weights(self) -> dict[str, _Floats]: ...
    def encode(self, cells: LevelCells, *, num_threads: int = 1) -> Matrix: ...

class RbmTrainer(metaclass=_PybindType):
    def __init__(
        self,
        model: Rbm,
        *,
        values: Sequence[float],
        momentum: float,
        decay: float,
        batch_size: int,
        seed: int,
        num_threads: int,
    ) -> None: ...
    def run_epoch(
        self,
        cells: LevelCells,
        epoch: int,
        *,
        steps: int,
        learning_rate: float,
        progress: Callable[[int], object] | None = None,
    ) -> float: ...

class ExpectedScorer(Scores):
    def __init__(
        self,
        codes: _Floats,
        weights: _Floats,
        bias: _Floats,
        *,
        values: Sequence[float],
        queries_are_rows: bool,
    ) -> None: ...

def fit_softmax(
    codes: _Floats, cells: LevelCells, penalty: float, prior: ColumnPrior, *, num_threads: int
) -> tuple[_Floats, _Floats]: ...

# For tests and documentation

def sample_negatives(
    seed: int, epoch: int, row: int, positives: _Ints, items: int, count: int
) -> _Ints: ...
def random_words(
    seed: int, stream: int, epoch: int, row: int, positions: NDArray[np.uint32]
) -> NDArray[np.uint32]: ...
def random_uniform(
    seed: int, stream: int, epoch: int, row: int, positions: NDArray[np.uint32]
) -> _Floats: ...
def random_normal(
    seed: int, stream: int, epoch: int, row: int, positions: NDArray[np.uint32]
) -> _Floats: ...
def shuffle(size: int, seed: int, epoch: int) -> _Ints: ...
def activate(name: str, z: _Floats) -> _Floats: ...
def derivative(name: str, z: _Floats) -> _Floats: ...
def exp(z: _Floats) -> _Floats: ...
def cross_entropy(z: _Floats) -> tuple[_Floats, _Floats]: ...
