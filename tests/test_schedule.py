"""The learning rate's course, by hand."""

import numpy as np
import pytest

from isthmus.training.schedule import learning_rates


def rates(epoch, *, schedule="linear", rate=0.01, decay=0.9, epochs=5, batches=4):
    return learning_rates(schedule, rate, decay=decay, epochs=epochs, epoch=epoch, batches=batches)


class TestLinear:
    def test_is_the_line_to_0_but_for_a_warm_up(self):
        found = np.concatenate([rates(epoch) for epoch in range(5)])
        assert found.dtype == np.float32
        done = np.arange(20) / 4
        expected = 0.01 * (1 - done / 5)
        np.testing.assert_allclose(found[4:], expected[4:], rtol=1e-6)
        np.testing.assert_allclose(found[:4] / expected[:4], [0.02, 0.27, 0.52, 0.77], rtol=1e-6)

    def test_rises_over_the_first_epoch_and_falls_afterwards(self):
        assert (np.diff(rates(0, batches=50, epochs=20)) > 0).all()
        found = np.concatenate([rates(epoch, batches=50, epochs=20) for epoch in range(1, 20)])
        assert (np.diff(found) < 0).all()

    def test_is_above_0_to_the_end_and_near_0_there(self):
        last = rates(4, batches=100)
        assert (last > 0).all()
        assert last[-1] == pytest.approx(0.01 / 500, rel=1e-4)

    @pytest.mark.parametrize("epoch", [5, 6, 1000])
    def test_is_a_tenth_after_the_last_epoch(self, epoch):
        np.testing.assert_array_equal(rates(epoch), np.full(4, 0.001, np.float32))

    def test_may_have_one_epoch(self):
        expected = 0.01 * np.array([0.02, 0.75 * 0.27, 0.5 * 0.52, 0.25 * 0.77])
        np.testing.assert_allclose(rates(0, epochs=1), expected, rtol=1e-6)

    def test_does_not_depend_on_the_decay(self):
        np.testing.assert_array_equal(rates(2, decay=0.5), rates(2, decay=1.0))


class TestExponential:
    def test_is_constant_within_an_epoch(self):
        for epoch in range(8):  # and goes on after the last
            np.testing.assert_allclose(
                rates(epoch, schedule="exponential"), 0.01 * 0.9**epoch, rtol=1e-6
            )

    def test_of_a_decay_of_1_is_constant(self):
        assert (rates(100, schedule="exponential", decay=1.0) == np.float32(0.01)).all()


@pytest.mark.parametrize("schedule", ["linear", "exponential"])
@pytest.mark.parametrize("batches", [0, 1, 7])
def test_has_a_rate_for_each_batch(schedule, batches):
    for epoch in (0, 4, 9):
        assert rates(epoch, schedule=schedule, batches=batches).shape == (batches,)
