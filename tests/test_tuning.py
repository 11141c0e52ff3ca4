import builtins

import numpy as np
import pytest
from sklearn.base import clone

from isthmus import (
    EASE,
    AutoRec,
    BiasedMF,
    ConvergenceError,
    MultDAE,
    synthetic_ratings,
    train_test_split,
    tune,
)

MODEL = AutoRec(
    hidden_units=(8,),
    epochs=6,
    batch_size=16,
    learning_rate=0.01,
    learning_rate_schedule="exponential",
    random_state=0,
    num_threads=1,
)


def regularization(trial):
    return {"regularization": trial.suggest_float("regularization", 0.1, 1000, log=True)}


@pytest.fixture(scope="module")
def parts():
    ratings = synthetic_ratings(80, 60, 1500, random_state=1)
    return train_test_split(ratings, test_size=0.2, random_state=0)


@pytest.fixture(scope="module")
def tuned(parts):
    return tune(MODEL, parts[0], regularization, validation=parts[1], trials=8, random_state=0)


class TestTune:
    def test_finds_the_best_of_its_trials(self, parts, tuned):
        done = [t for t in tuned.study.trials if t.state.name == "COMPLETE"]
        assert tuned.value == min(t.value for t in done)
        assert tuned.model.get_params()["regularization"] == tuned.parameters["regularization"]

    def test_gives_a_model_that_does_as_well_as_it_says(self, parts, tuned):
        found = tuned.model.fit(parts[0]).evaluate(parts[1])["rmse"]
        assert found == pytest.approx(tuned.value, rel=1e-6)
        assert len(tuned.model.history_) == tuned.parameters["epochs"]

    def test_leaves_the_given_model_as_it_was(self, tuned):
        assert MODEL.get_params()["regularization"] == "auto"
        assert not hasattr(MODEL, "history_")

    def test_counts_the_last_epoch_of_a_rate_that_falls_to_0(self, parts):
        model = clone(MODEL).set_params(learning_rate_schedule="linear")
        found = tune(model, parts[0], regularization, validation=parts[1], trials=3, random_state=0)
        assert found.parameters.keys() == {"regularization"}
        fitted = found.model.fit(parts[0])
        assert len(fitted.history_) == 6
        assert fitted.evaluate(parts[1])["rmse"] == pytest.approx(found.value, rel=1e-6)

    def test_gives_the_same_again(self, parts, tuned):
        again = tune(MODEL, parts[0], regularization, validation=parts[1], trials=8, random_state=0)
        assert again.parameters == tuned.parameters
        assert again.value == tuned.value

    def test_gives_up_what_is_worse_than_the_median(self, parts):
        rates = [0.01, 0.011, 0.012, 0.013, 0.014, 0.015, 1.0, 2.0]
        counted = []
        for prune in (True, False):
            study = tune(
                *(MODEL, parts[0], lambda trial: {"learning_rate": rates[trial.number]}),
                validation=parts[1],
                trials=8,
                prune=prune,
                random_state=0,
            ).study
            counted.append([len(trial.intermediate_values) for trial in study.trials])
        assert counted[1] == [6] * 8
        assert counted[0][:5] == [6] * 5
        assert max(counted[0][6:]) < 6

    def test_holds_out_a_part_of_the_training_data(self, parts):
        found = tune(MODEL, parts[0], regularization, trials=2, random_state=3)
        rest, held_out = train_test_split(parts[0], test_size=0.1, random_state=3)
        again = found.model.fit(rest).evaluate(held_out)["rmse"]
        assert again == pytest.approx(found.value, rel=1e-6)

    def test_drops_the_patience_that_would_need_validation_data(self, parts):
        model = AutoRec(**{**MODEL.get_params(), "patience": 2, "epochs": 30})
        found = tune(model, parts[0], regularization, trials=2, random_state=0)
        assert found.model.fit(parts[0]).get_params()["patience"] is None

    def test_ends_when_the_time_is_over(self, parts):
        found = tune(MODEL, parts[0], regularization, trials=10_000, seconds=0.5, random_state=0)
        assert 1 <= len(found.study.trials) < 10_000


class TestModels:
    def test_of_rankings_are_tuned_upwards(self, parts):
        model = MultDAE(hidden_units=(6,), epochs=3, batch_size=16, random_state=0)
        found = tune(
            *(model, parts[0]),
            lambda trial: {"dropout": trial.suggest_float("dropout", 0, 0.9)},
            validation=parts[1],
            trials=3,
            prune=False,
            random_state=0,
        )
        assert found.value == max(t.value for t in found.study.trials)
        assert found.study.direction.name == "MAXIMIZE"

    @pytest.mark.parametrize(("metric", "label"), [(None, "ndcg@10"), ("recall@5", "recall@5")])
    def test_without_epochs_are_measured_once(self, parts, metric, label):
        found = tune(
            *(EASE(), parts[0], regularization),
            validation=parts[1],
            metric=metric,
            trials=4,
            random_state=0,
        )
        measured = found.model.fit(parts[0]).evaluate(parts[1], label)[label]
        assert measured == found.value == max(t.value for t in found.study.trials)
        assert "epochs" not in found.parameters

    def test_give_a_model_that_holds_nothing_out(self, parts):
        model = AutoRec(**{**MODEL.get_params(), "validation_fraction": 0.3, "patience": 1})
        found = tune(model, parts[0], regularization, trials=2, random_state=0)
        assert found.model.validation_fraction is found.model.patience is None

    def test_that_diverge_are_passed_over(self, parts):
        def rate(trial):
            return {"learning_rate": trial.suggest_categorical("learning_rate", [0.01, 1e9])}

        model = AutoRec(
            **{**MODEL.get_params(), "optimizer": "sgd", "encoder_activation": "identity"}
        )
        found = tune(
            *(model.set_params(learning_rate=1e-5), parts[0]),
            lambda trial: {"learning_rate": [1e-5, 1e9][trial.number % 2]},
            trials=4,
            random_state=0,
        )
        assert found.parameters["learning_rate"] == 1e-5
        with pytest.raises(ConvergenceError, match="none of 2 trials came to an end"):
            tune(model, parts[0], lambda trial: {"learning_rate": 1e9}, trials=2, random_state=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "AutoRec"}, TypeError, r"model must be a model of isthmus, but it was 'Auto"),
        ({"space": {"epochs": 3}}, TypeError, r"space must be a function .* but it was \{"),
        ({"trials": 0}, ValueError, r"trials must be an integer of at least 1, but it was 0"),
        ({"seconds": -1}, ValueError, r"seconds must be a finite number above 0"),
        ({"metric": "mae"}, ValueError, r"metric must be None for AutoRec"),
        ({"model": EASE(), "metric": "RMSE"}, ValueError, r"metric must be of rankings for EASE"),
        ({"model": EASE(), "metric": "ndcg"}, ValueError, r"ndcg must be given with a cut-off"),
        ({"validation_fraction": 0}, ValueError, r"validation_fraction must be a finite number"),
        ({"space": lambda trial: {"colour": 1}}, ValueError, r"has no parameter 'colour'"),
    ],
    ids=str,
)
def test_refuses_what_it_cannot_search(parts, arguments, error, message):
    given = {"model": MODEL, "space": regularization, "trials": 1, **arguments}
    with pytest.raises(error, match=message):
        tune(given.pop("model"), parts[0], given.pop("space"), random_state=0, **given)


def test_says_how_to_install_optuna(parts, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "optuna":
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'isthmus\[tune\]'"):
        tune(BiasedMF(), parts[0], regularization)


def test_values_are_finite_numbers(tuned):
    assert np.isfinite(tuned.value)
