import numpy as np
import pytest
from numpy.testing import assert_array_equal
from reference import DROPOUT, Philox, shuffled

# From the known-answer tests of the Random123 distribution: counter, key, output
ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],  # digits of pi
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
GOLDEN_UNIFORM = [6112684, 7540390, 15521852, 2476328]  # in units of 2^-24
GOLDEN_SHUFFLE = [2, 6, 0, 3, 1, 7, 5, 8, 9, 4]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(core, counter, key, expected):
    position, row, epoch, stream = counter
    low, high = key
    seed = low | high << 32
    drawn = core.random_words(seed, stream, epoch, row, np.array([position], np.uint32))
    assert_array_equal(drawn, [expected])
    assert_array_equal(Philox(seed, stream, epoch).words(row, [position]), [expected])


def test_the_seed_decides_the_draws_for_good(core):
    positions = np.arange(4, dtype=np.uint32)
    uniform = core.random_uniform(2024, DROPOUT + 1, 3, 7, positions)
    assert_array_equal(uniform * 2.0**24, GOLDEN_UNIFORM)
    assert_array_equal(core.shuffle(10, 2024, 3), GOLDEN_SHUFFLE)


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_draws_are_those_of_the_reference(core, seed):
    positions = np.r_[0:500, 2**31, 2**32 - 1].astype(np.uint32)
    philox = Philox(seed, DROPOUT, epoch=5)
    for row in (0, 3, 2**31 - 1):
        where = seed, DROPOUT, 5, row, positions
        assert_array_equal(core.random_words(*where), philox.words(row, positions))
        assert_array_equal(core.random_uniform(*where), philox.uniform(row, positions))
        normal = core.random_normal(*where)
        np.testing.assert_allclose(normal, philox.normal(row, positions), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 5000])
def test_shuffles_are_permutations_and_those_of_the_reference(core, size):
    for epoch in range(3):
        order = core.shuffle(size, 42, epoch)
        assert_array_equal(np.sort(order), np.arange(size))
        assert_array_equal(order, shuffled(np.arange(size), 42, epoch))


def test_every_order_of_three_rows_is_as_likely(core):
    orders = [tuple(core.shuffle(3, seed, 0)) for seed in range(6000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    # chi-square with 5 degrees of freedom: 20.5 is exceeded once in a thousand
    assert np.sum((counts - 1000.0) ** 2) / 1000 < 20.5


def test_draws_have_the_moments_of_their_distributions(core):
    where = 7, DROPOUT, 0, 0, np.arange(200_000, dtype=np.uint32)
    uniform = core.random_uniform(*where).astype(np.float64)
    normal = core.random_normal(*where).astype(np.float64)
    # five standard errors
    assert abs(uniform.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / 200_000)
    assert abs(uniform.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / 200_000)
    assert abs(normal.mean()) < 5 * np.sqrt(1 / 200_000)
    assert abs(normal.var() - 1) < 5 * np.sqrt(2 / 200_000)
    assert 0 <= uniform.min() < uniform.max() < 1
    assert np.isfinite(normal).all()
