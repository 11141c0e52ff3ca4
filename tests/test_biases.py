"""A mean and biases, which models of ratings start from."""

import numpy as np
import pytest
import reference
from scipy import sparse

from isthmus import Ratings, synthetic_ratings
from isthmus.models._biases import Biases, fit_biases


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return synthetic_ratings(60, 45, 900, random_state=3)


def fitted(ratings: Ratings, **options) -> Biases:
    """Rows are users."""
    return fit_biases(ratings.rows("user"), ratings.mean, **options)


def test_are_those_of_the_reference(ratings):
    found, table = fitted(ratings), reference.table_of(ratings)
    dampings = reference.dampings(table)
    assert found.dampings == dampings
    assert found.dampings.row != found.dampings.column
    mean, row, column = reference.biases(table, *dampings)
    assert found.mean == pytest.approx(mean, abs=1e-4)
    np.testing.assert_allclose(found.row, row, atol=1e-4)
    np.testing.assert_allclose(found.column, column, atol=1e-4)


def test_have_the_damping_that_is_given(ratings):
    found = fitted(ratings, damping=3.0)
    assert found.dampings == (3, 3)
    mean, row, column = reference.biases(reference.table_of(ratings), 3, 3)
    assert found.mean == pytest.approx(mean, abs=1e-4)
    np.testing.assert_allclose(found.row, row, atol=1e-4)
    np.testing.assert_allclose(found.column, column, atol=1e-4)


class TestDampings:
    def test_are_about_the_ratios_of_variances(self, additive):
        assert fitted(additive).dampings == pytest.approx((4, 2), rel=0.2)

    def test_are_those_that_predict_best_times_a_factor(self, additive):
        row, column = fitted(additive).dampings
        assert fitted(additive, times=(2.0, 1.5)).dampings == (2 * row, 1.5 * column)

    def test_are_the_usual_ones_where_ratings_do_not_tell(self):
        rng = np.random.default_rng(0)
        users, items = np.arange(300), rng.integers(0, 20, 300)
        one_each = Ratings.from_matrix(sparse.coo_array((rng.normal(size=300) + 9, (users, items))))
        assert fitted(one_each).dampings.row == pytest.approx(5, rel=0.1)
        alike = fitted(Ratings.from_matrix(sparse.csr_array(np.full((9, 8), 3.0))))
        assert alike.dampings == pytest.approx((5, 5), rel=0.1)
        assert alike.mean == 3
        assert not np.concatenate([alike.row, alike.column]).any()


def test_depend_on_scale_and_offset_as_ratings_do(ratings):
    users, items, values, _ = ratings.to_arrays()
    moved = fitted(Ratings.from_arrays(users, items, values.astype(np.float64) * 20 - 300))
    found = fitted(ratings)
    assert moved.mean == pytest.approx(found.mean * 20 - 300, rel=1e-5)
    np.testing.assert_allclose(moved.row, found.row * 20, atol=1e-4)
    assert moved.dampings == found.dampings


def test_of_the_transposed_matrix_are_the_same(ratings):
    found = fitted(ratings)
    other = fit_biases(ratings.rows("item"), ratings.mean).transposed
    assert other.dampings == found.dampings
    np.testing.assert_allclose(other.row, found.row, atol=1e-4)
    np.testing.assert_allclose(other.column, found.column, atol=1e-4)
