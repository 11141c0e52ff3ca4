"""What Ctrl-C and errors leave behind, wherever they come."""

import itertools
import signal
import sys
import threading
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pytest
from scipy import sparse
from test_models import CASES, EPOCHAL, maker, predict_all, rates

import isthmus
from isthmus import AutoRec, BiasedMF, Blend, DualAutoRec, NotFittedError, synthetic_ratings
from isthmus._util.interrupts import uninterrupted
from isthmus.models._autorec_learners import Learner

FOLDER = isthmus.__path__[0]
EPOCHS = 2
PLACES = 6
"""Lines at which each case is stopped, of all that it runs."""


class Stop(Exception):
    """An error in the midst of something."""


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def error():
    raise Stop


STOPS = [pytest.param(ctrl_c, id="Ctrl-C"), pytest.param(error, id="error")]


@contextmanager
def at_line(number, act):
    """Act once, before the line of isthmus with this number is run; gives the lines run so far."""
    lines = []

    def trace(frame, event, arg):
        name = frame.f_code.co_filename
        if not name.startswith(FOLDER) or name.endswith("interrupts.py"):  # which no signal cuts
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == number:
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


def stopped(model, call, act, seed=0):
    """Call a function with a copy of the model again and again, stopped somewhere; give each."""
    with at_line(0, act) as lines:
        call(deepcopy(model))
    places = np.random.default_rng(seed).integers(1, len(lines), PLACES)
    for place in [*places.tolist(), *range(len(lines) - 40, len(lines), 10)]:
        subject, was_stopped = deepcopy(model), False
        try:
            with at_line(place, act):
                call(subject)
        except (KeyboardInterrupt, Stop):
            was_stopped = True
        if was_stopped:
            yield subject


def one_of(model, outcomes):
    """Whether a model predicts as one of the outcomes does, and still does from a file."""
    found = predict_all(model)
    # L-BFGS scales weights there and back, which rounds them
    return any(
        found.shape == outcome.shape and np.allclose(found, outcome, rtol=1e-6, atol=1e-6)
        for outcome in outcomes
    )


def after_halves(model, call):
    """What DualAutoRec predicts where only one of its parts has been through the last epoch."""
    if not isinstance(model, DualAutoRec):
        return
    run_epoch = Learner.run_epoch
    for number in range(EPOCHS):
        done = itertools.count()

        def stop(learner, *args, number=number, done=done):
            if learner.reader.settings.orientation == "user" and next(done) == number:
                raise Stop
            return run_epoch(learner, *args)

        subject = deepcopy(model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Learner, "run_epoch", stop)
            with pytest.raises(Stop):
                call(subject)
        yield predict_all(subject)


def assert_whole(model, outcomes, path):
    assert one_of(model, outcomes)
    model.save(path)
    np.testing.assert_array_equal(predict_all(type(model).load(path)), predict_all(model))
    model.recommend(n=3)


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(25, 20, 150, random_state=0)


@pytest.mark.parametrize("act", STOPS)
@pytest.mark.parametrize("case", EPOCHAL)
class TestTraining:
    def make(self, case):
        """Make models each of whose epochs is one batch: whole batches are whole epochs."""
        make = maker(*case)
        batches = {"batch_size": 25} if make().get_params().get("batch_size") else {}
        return lambda **course: make(**{"epochs": EPOCHS, **batches, **course})

    def test_that_is_stopped_leaves_whole_epochs_or_nothing(self, case, act, ratings, tmp_path):
        make = self.make(case)
        outcomes = [predict_all(make(epochs=n).fit(ratings)) for n in range(1, EPOCHS + 1)]
        outcomes.extend(after_halves(make(), lambda model: model.fit(ratings)))
        for model in stopped(make(), lambda model: model.fit(ratings), act):
            if not model._fitted:
                with pytest.raises(NotFittedError):
                    model.predict(0, 0)
            elif model.history_ or one_of(model, outcomes):
                assert_whole(model, outcomes, tmp_path / "model")
            else:
                assert np.isfinite(predict_all(model)).all()

    def test_further_leaves_the_earlier_model_or_whole_epochs(self, case, act, ratings, tmp_path):
        fitted = self.make(case)().fit(ratings)
        outcomes = [predict_all(fitted)]
        for epochs in range(1, EPOCHS + 1):
            outcomes.append(predict_all(deepcopy(fitted).partial_fit(ratings, epochs=epochs)))

        def call(model):
            model.partial_fit(ratings, epochs=EPOCHS)

        outcomes.extend(after_halves(fitted, call))
        for model in stopped(fitted, call, act):
            assert_whole(model, outcomes, tmp_path / "model")


@pytest.mark.parametrize("act", STOPS)
@pytest.mark.parametrize("axis", ["user", "item"])
@pytest.mark.parametrize("case", CASES)
def test_folding_in_that_is_stopped_changes_all_or_nothing(case, axis, act, ratings, tmp_path):
    fitted = maker(*case)().fit(ratings)
    if axis == "item" and not rates(fitted):
        pytest.skip("which adds no items")
    new = sparse.csr_array(
        ratings.to_matrix()[:2] if axis == "user" else ratings.to_matrix()[:, :2]
    )
    outcomes = [predict_all(fitted), predict_all(deepcopy(fitted).fold_in(new, axis=axis))]
    for model in stopped(fitted, lambda model: model.fold_in(new, axis=axis), act):
        assert_whole(model, outcomes, tmp_path / "model")


@pytest.mark.parametrize("act", STOPS)
def test_a_blend_is_the_earlier_one_until_all_of_it_is_fitted(act, ratings, tmp_path):
    other = synthetic_ratings(25, 20, 150, random_state=1)
    members = [
        AutoRec(hidden_units=(3,), epochs=1, random_state=0),
        BiasedMF(factors=3, epochs=1, random_state=0),
    ]

    fitted = Blend(members, random_state=0).fit(ratings)
    outcomes = [predict_all(fitted), predict_all(deepcopy(fitted).fit(other))]
    for model in stopped(fitted, lambda model: model.fit(other), act):
        assert_whole(model, outcomes, tmp_path / "model")


class TestUninterrupted:
    def test_lets_ctrl_c_wait(self):
        done = []
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            with uninterrupted():
                ctrl_c()
                ctrl_c()
                done.append("block")
            done.append("after")
        assert done == ["block"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_passes_errors_on(self):
        with pytest.raises(Stop), uninterrupted():
            error()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    @pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
    def test_leaves_a_process_as_it_is_that_does_not_heed_ctrl_c(self, handler):
        before = signal.signal(signal.SIGINT, handler)
        try:
            with uninterrupted():
                assert signal.getsignal(signal.SIGINT) is handler
        finally:
            signal.signal(signal.SIGINT, before)

    def test_does_nothing_in_other_threads(self):
        found = []
        thread = threading.Thread(target=lambda: found.append(inside()))

        def inside():
            with uninterrupted():
                return signal.getsignal(signal.SIGINT)

        thread.start()
        thread.join()
        assert found == [signal.default_int_handler]
