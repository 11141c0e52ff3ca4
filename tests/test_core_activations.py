import numpy as np
import pytest
from reference import ACTIVATIONS, DERIVATIVES

NAMES = sorted(ACTIVATIONS)


def all_magnitudes():
    """Every sign, exponent and a random mantissa, what is near 0 and 1, and the extremes."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32)
    z = np.concatenate(
        [
            bits.view(np.float32),
            rng.uniform(-100, 100, 100_000).astype(np.float32),
            rng.normal(0, 1, 100_000).astype(np.float32),
            np.array([0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38], np.float32),
        ]
    )
    return z[np.isfinite(z)]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_right_to_8e_7_relative_over_the_whole_range(core, name):
    z = all_magnitudes()
    with np.errstate(over="ignore", under="ignore"):
        expected = ACTIVATIONS[name](z.astype(np.float64)).astype(np.float32).astype(np.float64)
    actual = core.activate(name, z).astype(np.float64)
    overflow = np.isinf(expected)  # selu alone, near the largest float
    np.testing.assert_array_equal(actual[overflow], expected[overflow])
    # a swish below 1e-36 may be 0: its exponential is no normal float
    np.testing.assert_allclose(actual[~overflow], expected[~overflow], rtol=8e-7, atol=1e-36)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_right_to_2e_6_over_the_whole_range(core, name):
    z = all_magnitudes()
    with np.errstate(over="ignore", under="ignore"):
        expected = DERIVATIVES[name](z.astype(np.float64))
    np.testing.assert_allclose(core.derivative(name, z), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_the_slopes_of_the_values(core, name):
    z = np.linspace(-6, 6, 1001).astype(np.float32)
    z = z[np.abs(z) > 1e-3]  # some have a corner at 0
    step = 1e-5
    above, below = (ACTIVATIONS[name](z.astype(np.float64) + d) for d in (step, -step))
    np.testing.assert_allclose(core.derivative(name, z), (above - below) / (2 * step), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_reached_at_infinity(core, name):
    infinity = np.array([np.inf, -np.inf], np.float32)
    limits = {
        "sigmoid": [1, 0],
        "centered_sigmoid": [0.5, -0.5],
        "tanh": [1, -1],
        "relu": [np.inf, 0],
        "elu": [np.inf, -1],
        "selu": [np.inf, -1.7580993],
        "identity": [np.inf, -np.inf],
        "swish": [np.inf, np.nan],  # -inf times 0: finite numbers give 0, as tested above
    }
    np.testing.assert_allclose(core.activate(name, infinity), limits[name], rtol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_stays_one(core, name):
    assert np.isnan(core.activate(name, np.full(3, np.nan, np.float32))).all()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_any_number_of_values_is_taken(core, size):
    z = np.arange(size, dtype=np.float32) - 3
    np.testing.assert_array_equal(core.activate("relu", z), np.maximum(z, 0))


def test_an_unknown_activation_is_refused_with_the_choices(core):
    message = "unknown activation 'gelu': choose identity, sigmoid, centered_sigmoid, tanh, relu"
    with pytest.raises(ValueError, match=message):
        core.activate("gelu", np.zeros(1, np.float32))


def test_exponentials_are_right_to_2_ulp(core):
    z = np.linspace(-87.3, 88.7, 2_000_001).astype(np.float32)
    expected = np.exp(z.astype(np.float64))
    ulp = np.spacing(expected.astype(np.float32)).astype(np.float64)
    assert (np.abs(core.exp(z) - expected) / ulp).max() < 2
    np.testing.assert_array_equal(core.exp(np.array([100, np.inf], np.float32)), np.inf)
    assert (core.exp(np.array([-100, -np.inf], np.float32)) < 1.2e-38).all()


def test_cross_entropies_and_their_slopes_are_right_to_8e_7_relative(core):
    z = np.concatenate([all_magnitudes(), np.linspace(-90, 90, 500_001).astype(np.float32)])
    loss, slope = core.cross_entropy(z)
    exact = z.astype(np.float64)
    # below 2e-38 both may be the exponential's least value: z is lower than -87 there
    np.testing.assert_allclose(loss, np.logaddexp(0, exact), rtol=8e-7, atol=2e-38)
    np.testing.assert_allclose(slope, ACTIVATIONS["sigmoid"](exact), rtol=8e-7, atol=2e-38)
