from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from isthmus._util import arrays as _arrays
from isthmus.data import _csr


@pytest.fixture(params=[1, 3, 7, 1000])
def small_blocks(request, monkeypatch):
    """Sums and counts work through blocks of cells: here of a few."""
    monkeypatch.setattr(_csr, "blocks", lambda n: _arrays.blocks(n, request.param))


@pytest.mark.parametrize("counts", [[0], [0, 0], [5], [0, 3, 0, 2, 0], [1] * 8, [20, 0, 1]])
def test_row_sums_whatever_the_blocks(small_blocks, counts):
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = np.random.default_rng(0).random(indptr[-1]).astype(np.float32)
    columns = np.zeros(indptr[-1], np.int32)
    sums = _csr.row_sums(_csr.CSR(indptr, columns, values, (len(counts), 1)))
    expected = [values[a:b].sum(dtype=np.float64) for a, b in pairwise(indptr)]
    assert sums.dtype == np.float64
    assert_allclose(sums, expected, rtol=1e-12)


def test_column_counts_whatever_the_blocks(small_blocks):
    columns = np.array([0, 2, 2, 5, 2, 0, 5, 5], np.int32)
    assert_array_equal(_csr.column_counts(columns, 7), [2, 0, 3, 0, 0, 3, 0])
    assert_array_equal(_csr.column_counts(columns[:0], 2), [0, 0])
