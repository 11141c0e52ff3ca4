"""auto_fit: what it chooses, and that it keeps to its time, by a clock that the tests turn."""

import numpy as np
import pytest

import isthmus
from isthmus import (
    EASE,
    AutoFit,
    AutoRec,
    Ratings,
    synthetic_ratings,
    train_test_split,
    verify,
)
from isthmus.automatic import fit, search
from isthmus.automatic.budget import Budget
from isthmus.automatic.families import RATING, Range
from isthmus.automatic.search import Search
from isthmus.automatic.splits import has_times, hold_out
from isthmus.automatic.trials import Task


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return synthetic_ratings(120, 80, 3000, random_state=0)


def run(ratings: Ratings, budget: Budget, **options) -> AutoFit:
    return fit.run(ratings, budget, **{"random_state": 0, "num_threads": 1, **options})


def auto_fit(ratings: Ratings, **options) -> AutoFit:
    return isthmus.auto_fit(ratings, **{"random_state": 0, "num_threads": 1, **options})


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """Let the autoencoders of ratings be quick."""

    def smaller(family):
        def parameters(settings, ratings):
            return {**family.parameters(settings, ratings), "hidden_units": (20,)}

        return family if family.name == "BiasedMF" else family._replace(parameters=parameters)

    monkeypatch.setattr(fit, "RATING", tuple(map(smaller, RATING)))


def with_times(ratings: Ratings, times) -> Ratings:
    users, items, values, _ = ratings.to_arrays()
    return Ratings.from_arrays(users, items, values, times)


class Clock:
    """Each epoch, and each fit in closed form, takes as many seconds as it is told."""

    def __init__(self, monkeypatch, seconds=1.0, slower=()) -> None:
        self.time, self.fits = 0.0, []
        clock, train = self, search.Search._fit

        def tick(watch, epoch):
            clock.time += slower[len(clock.fits)] if len(clock.fits) < len(slower) else seconds
            return watched(watch, epoch)

        watched = search._Watch.__call__
        monkeypatch.setattr(search._Watch, "__call__", tick)
        monkeypatch.setattr(search.Search, "_timed", lambda self, family: seconds)

        def count(self, *arguments, **options):
            start = clock.time
            done = train(self, *arguments, **options)
            clock.fits.append(clock.time - start)
            return done

        monkeypatch.setattr(search.Search, "_fit", count)
        again = fit._Ending._retrained

        def retrain(ending, choice):
            clock.time += sum(one.seconds for one in choice.members)
            return again(ending, choice)

        monkeypatch.setattr(fit._Ending, "_retrained", retrain)

    def __call__(self) -> float:
        return self.time


class TestBudget:
    @pytest.mark.parametrize("seconds", [20, 100, 200, 500])
    def test_holds(self, monkeypatch, ratings, seconds):
        clock = Clock(monkeypatch)
        lines = []
        found = run(ratings, Budget(seconds, clock), say=lines.append)
        assert 0 < clock.time <= seconds
        assert found.seconds == clock.time
        assert len([trial for trial in found.trials if not np.isnan(trial.value)]) >= 1

    def test_is_used(self, monkeypatch, ratings):
        clock = Clock(monkeypatch)
        found = run(ratings, Budget(600, clock), say=str)
        assert found.retrained
        assert clock.time > 400

    def test_is_kept_for_training_the_best_again(self, monkeypatch, ratings):
        # of 100 s, BiasedMF takes 40, and 44 or more to be trained again
        clock = Clock(monkeypatch)
        found = run(ratings, Budget(111, clock), say=str)
        assert found.retrained
        assert [trial.model for trial in found.trials if trial.epochs] == ["BiasedMF"]

    def test_leaves_time_for_what_follows(self, monkeypatch, ratings):
        clock = Clock(monkeypatch)
        run(ratings, Budget(400, clock), closing=150.0, say=str)
        assert clock.time <= 250

    def test_trains_for_fewer_epochs_where_all_would_take_too_long(self, monkeypatch, ratings):
        clock = Clock(monkeypatch, seconds=10.0)
        found = run(ratings, Budget(300, clock), say=str)
        epochs = {trial.model: trial.epochs for trial in found.trials if trial.epochs}
        assert clock.time <= 300
        assert min(epochs.values()) < 15

    def test_gives_up_what_takes_longer_than_its_first_epochs_promised(self, monkeypatch, ratings):
        # BiasedMF is thought to take 40 s, and takes 7 s an epoch
        clock = Clock(monkeypatch, slower=(7.0,))
        found = run(ratings, Budget(150, clock), say=str)
        assert found.trials[0].note == "given up: an epoch takes 7.0 s"
        assert clock.fits[0] == 7.0
        assert found.trials[1].epochs == 15
        assert clock.time <= 150

    def test_of_nothing_still_gives_a_model(self, monkeypatch, ratings):
        clock = Clock(monkeypatch)
        found = run(ratings, Budget(0.5, clock), say=str)
        assert found.trials[-1].epochs == 1
        assert not found.retrained
        assert "as it was trained" in found.summary() or "left as it was" in found.summary()

    def test_ends_a_trial_that_takes_longer_than_the_time_left(self, monkeypatch, ratings):
        # the first four fits are the defaults: what comes then takes 30 times as long
        clock = Clock(monkeypatch, slower=(1, 1, 1, 1, 30))
        found = run(ratings, Budget(420, clock), say=str)
        stopped = [trial.note for trial in found.trials if trial.note]
        assert any(note.startswith("stopped after") for note in stopped)
        assert clock.time <= 420 + 30


class TestResult:
    @pytest.fixture
    def found(self, ratings) -> AutoFit:
        return auto_fit(ratings, minutes=60, trials=12)

    def test_is_the_same_for_the_same_trials(self, ratings, found):
        again = auto_fit(ratings, minutes=120, trials=12)
        users, items, *_ = ratings.to_arrays()
        np.testing.assert_array_equal(
            again.model.predict(users, items), found.model.predict(users, items)
        )
        for one, other in zip(again.trials, found.trials, strict=True):
            assert (one.model, one.parameters, one.value) == (
                *(other.model, other.parameters, other.value),
            )

    def test_names_every_trial(self, found):
        assert len(found.trials) == 12
        assert [trial.model for trial in found.trials[:4]] == [one.name for one in RATING]
        assert len(found.table().splitlines()) == 13
        assert found.metric == "rmse"
        assert found.value <= min(trial.value for trial in found.trials)
        assert f"RMSE {found.value:.4f}" in found.summary()

    def test_has_been_trained_on_all_ratings(self, ratings, found, tmp_path):
        assert found.retrained
        found.model.save(tmp_path / "model")
        assert verify(tmp_path / "model", ratings)

    def test_beats_or_matches_each_default(self):
        made = synthetic_ratings(300, 200, 12_000, random_state=1)
        train, test = train_test_split(made, test_size=0.2, random_state=0)
        found = auto_fit(train, minutes=60, trials=8)
        alone = [AutoRec(random_state=0), AutoRec(orientation="user", random_state=0)]
        best = min(model.fit(train).evaluate(test)["rmse"] for model in alone)
        assert found.model.evaluate(test)["rmse"] < 1.01 * best

    def test_holds_out_a_test_that_the_model_has_not_seen(self, ratings):
        found = auto_fit(ratings, minutes=60, trials=2, hold_out_test=True)
        assert found.test.nnz == 300
        assert found.train.nnz == 2700
        assert found.model.receipt_.ratings == 2700
        found.model.evaluate(found.test, "ndcg@10")  # which refuses what was in training


class TestChoice:
    def test_of_values_that_are_all_alike_is_a_top_n_model(self, ratings):
        found = auto_fit(ratings.binarize(3), minutes=60, trials=1)
        assert found.metric == "ndcg@10"
        assert isinstance(found.model, EASE)
        assert found.trials[0].model == "EASE"

    def test_of_counts_is_a_top_n_model(self, ratings):
        users, items, *_ = ratings.to_arrays()
        counts = np.random.default_rng(0).pareto(1.2, len(users)).round() + 1
        found = auto_fit(Ratings.from_arrays(users, items, counts), trials=1)
        assert found.metric == "ndcg@10"

    def test_can_be_told(self, ratings):
        assert auto_fit(ratings, implicit=True, trials=1).metric == "ndcg@10"

    def test_tries_settings_of_a_model_without_epochs(self, ratings):
        found = auto_fit(ratings, implicit=True, trials=8, minutes=60)
        names = {trial.model for trial in found.trials[4:]}
        settings = [tuple(trial.parameters.items()) for trial in found.trials[4:]]
        assert names <= {"EASE", "MultDAE", "MultVAE"}
        assert all(settings)

    def test_notes_what_looks_wrong(self, ratings):
        lines = []
        run(ratings.binarize(1), Budget(60), trials=1, say=lines.append)
        assert any(line.startswith("note: All 3,000 ratings are 1") for line in lines)


class TestSplits:
    def test_hold_out_the_latest_of_each_user(self, ratings):
        timed = with_times(ratings, np.random.default_rng(0).permutation(ratings.nnz))
        assert has_times(timed)
        train, rest = hold_out(timed, name="test", seed=0, by_time=True)
        for row in range(timed.n_users):
            early = train.timestamps[train.indptr[row] : train.indptr[row + 1]]
            late = rest.timestamps[rest.indptr[row] : rest.indptr[row + 1]]
            assert len(late) == 0 or early.max() < late.min()

    def test_hold_out_one_of_each_where_users_have_few(self):
        made = synthetic_ratings(200, 300, 1000, random_state=0)
        timed = with_times(made, np.arange(made.nnz))
        _, rest = hold_out(timed, name="test", seed=0, by_time=True)
        assert np.diff(rest.indptr).max() == 1
        assert rest.nnz > 100

    @pytest.mark.parametrize("times", ["none", "all the same", "one for each user", "few"])
    def test_do_not_go_by_times_that_tell_nothing(self, ratings, times):
        users, *_ = ratings.to_arrays()
        few = np.where(np.arange(ratings.nnz) % 10 == 0, np.arange(ratings.nnz), -1)
        stamps = {"none": None, "all the same": np.full(ratings.nnz, 9), "few": few}
        assert not has_times(with_times(ratings, stamps.get(times, users)))

    def test_go_by_times_of_days(self, ratings):
        assert has_times(with_times(ratings, np.arange(ratings.nnz) // 3 * 86_400))


class TestInterruption:
    def test_gives_the_best_so_far(self, monkeypatch, ratings):
        done, whole = [], Search._fit

        def interrupt(self, *arguments, **options):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(1)
            return whole(self, *arguments, **options)

        monkeypatch.setattr(Search, "_fit", interrupt)
        lines = []
        found = run(ratings, Budget(600), say=lines.append)
        assert len(found.trials) == 2
        assert not found.retrained
        assert found.value == min(trial.value for trial in found.trials)
        assert "interrupted: this is the best model so far" in lines
        # not even what was held out is recommended
        listed, _ = found.model.recommend(n=80)
        for row, items in enumerate(listed):
            own = ratings.indices[ratings.indptr[row] : ratings.indptr[row + 1]]
            assert not np.isin(ratings.item_ids[own], items).any()

    def test_before_any_model_is_passed_on(self, monkeypatch, ratings):
        def interrupt(self, *arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(Search, "_fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            auto_fit(ratings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes must be a finite number above 0, but it was 0"),
        ({"minutes": "5"}, "minutes must be a finite number above 0"),
        ({"trials": 0}, "trials must be an integer of at least 1"),
        ({"implicit": 1}, "implicit must be True or False"),
        ({"hold_out_test": None}, "hold_out_test must be True or False"),
        ({"random_state": -1}, "random_state must lie in"),
        ({"num_threads": -1}, "num_threads must be"),
    ],
    ids=str,
)
def test_refuses_bad_arguments(ratings, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        auto_fit(ratings, **options)


def test_refuses_too_few_ratings():
    with pytest.raises(ValueError, match=r"ratings must be at least 50, .* but there are 20"):
        auto_fit(synthetic_ratings(10, 10, 20))


def test_no_memory_for_any_model_is_an_error(monkeypatch, ratings):
    def refuse(self, family):
        raise MemoryError("no room")

    monkeypatch.setattr(Search, "_timed", refuse)
    with pytest.raises(MemoryError, match="none of the models"):
        auto_fit(ratings)


def test_a_model_that_diverges_is_noted(monkeypatch, ratings):
    train, validation = train_test_split(ratings, random_state=0)
    made = Search(
        Task(train, validation, False),
        RATING[:1],
        Budget(60),
        growth=1.1,
        closing=0.0,
        trials=5,
        seed=0,
        num_threads=1,
        note=lambda trial: None,
    )
    assert made._fit(RATING[0], {"learning_rate": 1e6}, 3, limit=0.0) is None
    assert made.trials[0].note == "diverged"
    assert np.isnan(made.trials[0].value)


def test_draws_stay_within_bounds():
    random = np.random.default_rng(0)
    drawn = [Range(1.0, 0.5, 2.0).near(1.0, 3.0, random) for _ in range(100)]
    assert min(drawn) == 0.5
    assert max(drawn) == 2.0
