import numpy as np
import pytest
from core_fixtures import random_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from isthmus import _core


def test_matrices_copy_any_strided_rows(core):
    array = np.arange(60, dtype=np.float32).reshape(6, 10)
    for view in (array, array[::2, 1:4], array[:, :1], array[:0]):
        matrix = core.Matrix(view)
        assert_array_equal(matrix.array, view)
        assert not np.shares_memory(matrix.array, array)
    with pytest.raises(ValueError, match="array must have contiguous rows"):
        core.Matrix(array[:, ::2])
    with pytest.raises(ValueError, match="array must have 2 dimensions"):
        core.Matrix(array[0])


def test_a_view_of_a_matrix_outlives_it_and_changes_it(core):
    matrix = core.Matrix(np.zeros((3, 5), np.float32))
    view = matrix.array
    view[1] = 7
    assert_array_equal(matrix.array[1], np.full(5, 7))
    del matrix
    assert_array_equal(view.sum(axis=1), [0, 35, 0])


@pytest.mark.parametrize("isa", _core.available())
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 60),
    cols=st.integers(1, 60),
    density=st.sampled_from([0.0, 0.02, 0.3, 3.0]),
    skipped=st.integers(0, 5),
    num_threads=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_a_transpose_holds_the_same_cells_in_order(
    isa, rows, cols, density, skipped, num_threads, seed
):
    core = _core.load_core(isa)
    data = random_rows(rows, cols, density=density, seed=seed)
    data.values[:] = np.arange(len(data.values)) % 7  # a stored 0 stays a cell
    indptr = data.indptr[min(skipped, rows) :]  # the rows after the first few
    transposed = core.transpose(
        indptr, data.indices, data.values, data.cols, num_threads=num_threads
    )
    cells = slice(indptr[0], indptr[-1])
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.argsort(data.indices[cells], kind="stable")
    counts = np.bincount(data.indices[cells], minlength=cols)
    assert_array_equal(transposed[0], np.concatenate([[0], np.cumsum(counts)]))
    assert_array_equal(transposed[1], row[order])
    assert_array_equal(transposed[2], data.values[cells][order])
    assert [array.dtype for array in transposed] == [np.int64, np.int32, np.float32]


def test_a_transpose_of_no_csr_is_refused(core):
    arrays = np.array([0, 2]), np.array([0, 3], np.int32), np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"indices must lie in \[0, 3\)"):
        core.transpose(*arrays, 3, num_threads=1)


def test_a_matrix_larger_than_memory_is_refused_before_it_is_asked_for(core):
    for size in (2**20, 2**31, 2**58, 2**61, 2**63 - 1):
        with pytest.raises(MemoryError, match=r"a matrix of \d+ x \d+ numbers needs .* GiB, and"):
            core.BiasedMF(2**40, size, size, mean=0.0, scale=0.0, seed=0)
