from types import ModuleType
from typing import Any

import numpy as np
import pytest
from core_fixtures import assert_close, random_rows
from reference import ridge


def flat_prior(core: ModuleType, k: int) -> Any:
    """Nothing is known of a column's level, and its weights are around 0."""
    zeros = np.zeros((1, k), np.float32)
    return core.ColumnPrior(zeros, np.zeros((1, 1), np.float32), zeros, 0.0)


@pytest.mark.parametrize("level_penalty", [0.0, 3.0])
@pytest.mark.parametrize("k", [1, 5, 40])  # 40 is more than any column's cells: the dual system
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_new_columns_get_the_weights_of_least_squares(core, k, penalty, level_penalty):
    cells = random_rows(25, 30, density=0.4, seed=k)
    rng = np.random.default_rng(k)
    codes, center = rng.random((30, k), np.float32), rng.random((1, k), np.float32)
    mean_weights, mean_bias = rng.random((1, k), np.float32), rng.random((1, 1), np.float32)
    prior = core.ColumnPrior(mean_weights, mean_bias, center, level_penalty)
    weights, intercepts = core.fit_ridge(
        *(codes, cells.indptr, cells.indices, cells.values, penalty, prior), num_threads=2
    )
    known = {
        "mean_weights": mean_weights[0].astype(np.float64),
        "mean_bias": float(mean_bias[0, 0]),
        "center": center[0].astype(np.float64),
        "level_penalty": level_penalty,
    }
    values, observed = cells.dense()
    sizes = observed.sum(axis=1)
    assert sizes.min() == 0
    assert sizes.max() > 5
    for column in np.flatnonzero(sizes):
        seen = observed[column]
        w, b = ridge(codes[seen].astype(np.float64), values[column, seen], penalty, **known)
        np.testing.assert_allclose(weights[column], w, atol=1e-5)
        np.testing.assert_allclose(intercepts[column], b, atol=1e-5)


def test_a_column_without_cells_gets_zeros(core):
    weights, intercepts = core.fit_ridge(
        np.ones((3, 2), np.float32),
        np.zeros(2, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.float32),
        1.0,
        flat_prior(core, 2),
        num_threads=1,
    )
    np.testing.assert_array_equal(weights, np.zeros((1, 2)))
    np.testing.assert_array_equal(intercepts, [0])


def test_the_penalty_of_the_weights_spares_the_intercept(core):
    cells = np.arange(4, dtype=np.int32)
    values = np.array([1, 2, 3, 6], np.float32)
    codes = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    weights, intercepts = core.fit_ridge(
        *(codes, np.array([0, 4]), cells, values, 1e12, flat_prior(core, 3)), num_threads=1
    )
    np.testing.assert_allclose(weights, 0, atol=1e-10)
    np.testing.assert_allclose(intercepts, [3])


def test_a_prior_of_the_level_counts_as_so_many_ratings(core):
    cells = np.arange(4, dtype=np.int32)
    values = np.array([1, 2, 3, 6], np.float32)
    codes = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    weights, bias, center = np.zeros((1, 3)), np.full((1, 1), 5), codes.mean(0, keepdims=True)
    prior = core.ColumnPrior(weights.astype(np.float32), bias.astype(np.float32), center, 2.0)
    got, intercepts = core.fit_ridge(
        *(codes, np.array([0, 4]), cells, values, 1e12, prior), num_threads=1
    )
    np.testing.assert_allclose(got, 0, atol=1e-10)
    np.testing.assert_allclose(intercepts, [(4 * 3 + 2 * 5) / 6], rtol=1e-6)


def test_the_number_of_threads_changes_no_bit(core):
    cells = random_rows(60, 80, density=0.5)
    codes = np.random.default_rng(0).random((80, 20)).astype(np.float32)
    prior = flat_prior(core, 20)
    expected, *others = (
        core.fit_ridge(
            *(codes, cells.indptr, cells.indices, cells.values, 0.5, prior), num_threads=num_threads
        )
        for num_threads in (1, 2, 3, 5)
    )
    for other in others:
        assert [a.tobytes() for a in other] == [a.tobytes() for a in expected]


def test_codes_may_be_a_padded_matrix(core):
    cells = random_rows(5, 9, density=1.0)
    codes = np.random.default_rng(0).random((9, 4)).astype(np.float32)
    prior = flat_prior(core, 4)
    plain, padded = (
        core.fit_ridge(*(h, cells.indptr, cells.indices, cells.values, 1.0, prior), num_threads=1)
        for h in (codes, core.Matrix(codes).array)
    )
    assert_close(padded[0], plain[0], 0)


def test_a_singular_regression_is_refused(core):
    one = np.zeros(1, np.int32), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="regularization must be greater than 0"):
        core.fit_ridge(
            *(np.ones((1, 2), np.float32), np.array([0, 1]), *one, 0.0, flat_prior(core, 2)),
            num_threads=1,
        )


def test_cells_outside_of_the_codes_are_refused(core):
    one = np.full(1, 3, np.int32), np.ones(1, np.float32)
    with pytest.raises(ValueError, match=r"indices must lie in \[0, 3\)"):
        core.fit_ridge(
            *(np.ones((3, 2), np.float32), np.array([0, 1]), *one, 1.0, flat_prior(core, 2)),
            num_threads=1,
        )


def test_a_prior_of_other_codes_is_refused(core):
    one = np.zeros(1, np.int32), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="prior must have the columns' outputs"):
        core.fit_ridge(
            *(np.ones((1, 2), np.float32), np.array([0, 1]), *one, 1.0, flat_prior(core, 3)),
            num_threads=1,
        )
    zeros = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match=r"bias must be 1 x outputs"):
        core.ColumnPrior(zeros, zeros, zeros, 1.0)
    with pytest.raises(ValueError, match="level_penalty must be finite"):
        core.ColumnPrior(zeros, zeros[:, :1], zeros, float("inf"))
