import numpy as np
import pytest

from isthmus.training.loop import Epoch, train


class Learner:
    """Keeps a record of what the loop asks of it; `errors` are its validation errors."""

    def __init__(self, errors=(), metric="rmse", fails_at=None):
        self.errors = dict(enumerate(errors))
        self.metric = metric
        self.fails_at = fails_at
        self.done = []

    def run_epoch(self, index, progress):
        if index == self.fails_at:
            raise KeyboardInterrupt
        if progress is not None:
            progress(50)
        self.done.append(index)
        return 1.0 / (index + 1)

    def validate(self):
        return {self.metric: self.errors[self.done[-1]]} if self.errors else {}

    def keep_best(self):
        self.done.append("keep")

    def restore_best(self):
        self.done.append("restore")


def run(learner, *, first=0, epochs=10, patience=None, **options):
    history = [Epoch(index, 0.1, 1.0) for index in range(first)]
    options = {
        "ratings": 100,
        "history": history,
        "course": range(first, first + epochs),
        **options,
    }
    train(learner, validate=learner.validate, patience=patience, **options)
    return history


def test_runs_all_epochs_and_keeps_their_history():
    learner = Learner()
    history = run(learner, epochs=3)
    assert learner.done == [0, 1, 2]
    assert [(epoch.index, epoch.loss, epoch.metrics) for epoch in history] == [
        (0, 1.0, {}),
        (1, 1 / 2, {}),
        (2, 1 / 3, {}),
    ]


def test_counts_epochs_on():
    assert [epoch.index for epoch in run(Learner(), first=5, epochs=2)] == [0, 1, 2, 3, 4, 5, 6]


def test_the_learner_counts_epochs_by_the_course():
    learner = Learner()
    history = run(learner, first=5, course=[0, 2, 4])
    assert learner.done == [0, 2, 4]
    assert [epoch.index for epoch in history[5:]] == [5, 6, 7]


@pytest.mark.parametrize(
    ("errors", "patience", "done"),
    [
        ([3, 2, 2, 2, 9], 2, [0, "keep", 1, "keep", 2, 3, "restore"]),
        ([3, 4, 2, 5, 6], 2, [0, "keep", 1, 2, "keep", 3, 4, "restore"]),
        ([3, 4, 2], 1, [0, "keep", 1, "restore"]),
        ([3, 2, 1], 1, [0, "keep", 1, "keep", 2, "keep", "restore"]),
        ([float("nan"), 2, 1], 2, [0, 1, "keep", 2, "keep", "restore"]),
    ],
)
def test_stops_after_a_while_without_a_better_value(errors, patience, done):
    learner = Learner(errors)
    run(learner, epochs=len(errors), patience=patience)
    assert learner.done == done


def test_knows_metrics_of_which_more_is_better():
    learner = Learner([0.1, 0.3, 0.2, 0.2], metric="ndcg")
    run(learner, epochs=4, patience=2, higher_is_better=True)
    assert learner.done == [0, "keep", 1, "keep", 2, 3, "restore"]


def test_stops_where_a_callback_returns_true_and_nothing_else():
    calls = []

    def first(epoch):
        calls.append(("first", epoch.index))
        return epoch.index == 1

    def second(epoch):
        calls.append(("second", epoch.index))
        return "not True"

    assert len(run(Learner(), callbacks=(first, second))) == 2
    assert calls == [("first", 0), ("second", 0), ("first", 1), ("second", 1)]


def test_numpys_true_is_true():
    assert len(run(Learner(), callbacks=(lambda epoch: np.bool_(epoch.index == 1),))) == 2


def test_restores_the_best_and_keeps_the_history_where_it_is_interrupted():
    learner, history = Learner([2, 1, 3, 4], fails_at=3), []
    with pytest.raises(KeyboardInterrupt):
        run(learner, patience=5, history=history)
    assert learner.done == [0, "keep", 1, "keep", 2, "restore"]
    assert len(history) == 3


@pytest.mark.parametrize("patience", [None, 10])
def test_bar_ends_full(capsys, patience):
    run(Learner([1, 2, 3]), epochs=3, verbose=True, patience=patience)
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.split("\r")[-1]
    assert "100%" in last
    assert "300/300" in last
    assert "epoch=3, loss=0.3333, rmse=3.0000" in last


def test_an_epoch_is_a_value():
    epoch = Epoch(0, 0.5, 1.0)
    assert epoch == Epoch(0, 0.5, 1.0, {})
    with pytest.raises(AttributeError):
        epoch.loss = 2
