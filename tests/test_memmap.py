"""Training from memory-mapped files: the same bits, and no copy of the cells in memory."""

import numpy as np
import pytest
from scipy import sparse

from isthmus import CDAE, AutoRec, Ratings, synthetic_ratings
from isthmus.data.ratings import CSR

MODELS = [
    AutoRec(hidden_units=(6,), epochs=2, batch_size=16, random_state=0),
    AutoRec(orientation="user", hidden_units=(6,), epochs=2, batch_size=16, random_state=0),
    CDAE(hidden_units=6, epochs=2, batch_size=16, random_state=0),
]


@pytest.fixture
def ratings():
    return synthetic_ratings(60, 40, 900, random_state=0)


@pytest.fixture
def maps(ratings, tmp_path):
    """The arrays of the ratings as read-only maps of files."""
    arrays = {"indptr": ratings.indptr, "indices": ratings.indices, "values": ratings.values}
    for name, array in arrays.items():
        np.save(tmp_path / name, array)
    return {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays}


def as_scipy(maps, shape):
    indptr = maps["indptr"].astype(np.int32)
    return sparse.csr_array((maps["values"], maps["indices"], indptr), shape=shape)


def as_own(maps, shape):
    return Ratings(CSR(maps["indptr"], maps["indices"], maps["values"], shape))


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("make", [as_scipy, as_own])
def test_training_from_maps_gives_the_same_bits_and_copies_no_cells(ratings, maps, make, model):
    mapped = type(model)(**model.get_params()).fit(make(maps, ratings.shape))
    held = type(model)(**model.get_params()).fit(ratings)
    assert np.shares_memory(mapped._seen.indices, maps["indices"])
    users, items = np.arange(60)[:, np.newaxis], np.arange(40)
    np.testing.assert_array_equal(mapped.predict(users, items), held.predict(users, items))
    for left, right in zip(mapped.recommend(n=5), held.recommend(n=5), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("make", [as_scipy, as_own])
def test_ratings_are_the_maps_themselves(ratings, maps, make):
    X = make(maps, ratings.shape)
    mapped = X if isinstance(X, Ratings) else Ratings.from_matrix(X)
    assert np.shares_memory(mapped.values, maps["values"])
    assert np.shares_memory(mapped.indices, maps["indices"])
