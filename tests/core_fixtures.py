"""What the tests of the core share: every variant of it, random matrices, and comparisons."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import reference
from numpy.typing import ArrayLike
from scipy import sparse

from isthmus import Ratings, _core


@pytest.fixture(params=_core.available())
def core(request: pytest.FixtureRequest) -> ModuleType:
    """The core of every instruction set that this CPU supports."""
    return _core.load_core(request.param)


@pytest.fixture(scope="session")
def additive() -> Ratings:
    """Biases of variances .25 and .5, of users and of items, and noise of 1."""
    rng = np.random.default_rng(0)
    seen = rng.random((600, 400)) < 0.1
    values = rng.normal(size=(600, 1)) / 2 + rng.normal(size=400) * 0.5**0.5
    values = values + rng.normal(size=seen.shape)
    return Ratings.from_matrix(sparse.coo_array((values[seen] + 9, np.nonzero(seen))))


def random_rows(
    rows: int,
    cols: int,
    *,
    density: float = 0.3,
    seed: int = 0,
    full_columns: Sequence[int] = (),
    **transform: Any,
) -> reference.Rows:
    """Ratings from 0 to 5, in which a 0 is a rating too; some rows and columns may be empty."""
    rng = np.random.default_rng(seed)
    # squared, so that some rows and columns are much fuller than others
    chance = rng.random((rows, 1)) ** 2 * rng.random(cols) ** 2 * density * 9
    observed = rng.random((rows, cols)) < chance
    observed[:, full_columns] = True
    row, col = np.nonzero(observed)
    return reference.Rows(
        np.searchsorted(row, np.arange(rows + 1)).astype(np.int64),
        col.astype(np.int32),
        rng.integers(0, 6, len(row)).astype(np.float32),
        cols,
        **transform,
    )


def core_rows(core: ModuleType, rows: reference.Rows) -> Any:
    return core.Rows(
        *(rows.indptr, rows.indices, rows.values, rows.cols),
        input_offset=rows.input_offset,
        target_offset=rows.target_offset,
        input_scale=rows.input_scale,
        target_scale=rows.target_scale,
        input_factor=rows.input_factor,
        column_offset=rows.column_offset,
        cell_offset=rows.cell_offset,
        cell_weight=rows.cell_weight,
    )


def core_model(core: ModuleType, model: reference.Autoencoder, num_threads: int = 1) -> Any:
    """A model of the core of the same shape and seed, with its own initial weights."""
    return core.Autoencoder(
        model.inputs,
        list(model.hidden),
        hidden_activation=model.hidden_activation,
        output_activation=model.output_activation,
        seed=model.seed,
        num_threads=num_threads,
    )


def core_trainer(
    core: ModuleType,
    model: Any,
    rows: reference.Rows,
    *,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    regularization: float = 0.0,
    hidden_regularization: float | None = None,
    batch_size: int = 256,
    corruption: str = "none",
    corruption_level: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    num_threads: int = 1,
    columns: Any = None,
    slice_of: Any = None,
    bias_regularization: float = 0.0,
    transposed: bool = False,
    precision: str = "float32",
) -> Any:
    return core.Trainer(
        model,
        np.bincount(rows.indices, minlength=rows.cols).astype(np.int64),
        int(np.count_nonzero(np.diff(rows.indptr))),
        optimizer=optimizer,
        momentum=momentum,
        regularization=regularization,
        batch_size=batch_size,
        corruption=corruption,
        corruption_level=corruption_level,
        dropout=dropout,
        seed=seed,
        num_threads=num_threads,
        columns=columns,
        slice_of=slice_of,
        hidden_regularization=hidden_regularization,
        bias_regularization=bias_regularization,
        transposed=transposed,
        precision=precision,
    )


def assert_close(actual: ArrayLike, expected: ArrayLike, tolerance: float, what: str = "") -> None:
    """Every difference is at most `tolerance` times the largest number expected."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, what
    scale = np.max(np.abs(expected), initial=0.0)
    difference = np.max(np.abs(actual - expected), initial=0.0)
    assert difference <= tolerance * scale, f"{what}: {difference / scale if scale else difference}"


def assert_weights_close(
    actual: Mapping[str, ArrayLike], expected: Mapping[str, ArrayLike], tolerance: float
) -> None:
    assert actual.keys() == expected.keys()
    for name in expected:
        assert_close(actual[name], expected[name], tolerance, name)
