"""RBM against NumPy: exact enumeration, steps with the same random numbers, scores, new columns."""

import itertools
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse
from scipy.special import log_softmax, softmax

from isthmus import RBM, Ratings, _core, train_test_split
from isthmus.data.synthetic import synthetic_ratings
from isthmus.models._rbm_learner import cd_steps_in

HIDDEN_UNITS, VISIBLE_UNITS = 1 << 16, 1 << 17  # streams of random.hpp


@pytest.fixture(params=_core.available())
def core(request: pytest.FixtureRequest) -> ModuleType:
    return _core.load_core(request.param)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return synthetic_ratings(60, 45, 900, random_state=3)


@pytest.fixture(scope="module")
def parts() -> tuple[Ratings, Ratings]:
    everything = synthetic_ratings(200, 150, 9000, random_state=1)
    return train_test_split(everything, test_size=0.1, random_state=0)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


class Reference:
    """The model in float64, a row at a time. A row is its columns and their levels."""

    def __init__(self, model: Any, levels: int) -> None:
        arrays = {name: array.astype(np.float64) for name, array in model.weights().items()}
        self.hidden = arrays["hidden_bias"].shape[1]
        self.w = arrays["weights"].reshape(-1, levels, self.hidden)
        self.b = arrays["visible_bias"]
        self.c = arrays["hidden_bias"][0]

    def hidden_given(self, columns: np.ndarray, levels: np.ndarray) -> np.ndarray:
        return sigmoid(self.c + self.w[columns, levels].sum(0))

    def visible_given(self, columns: np.ndarray, h: np.ndarray) -> np.ndarray:
        return softmax(self.b[columns] + self.w[columns] @ h, axis=1)

    def statistics(self, columns: np.ndarray, levels: np.ndarray, h: np.ndarray) -> "Statistics":
        return Statistics(self).add(columns, levels, h)


class Statistics:
    """What a gradient is the difference of: on the data, and on the model's own samples."""

    def __init__(self, model: Reference) -> None:
        self.w, self.b, self.c = (np.zeros_like(a) for a in (model.w, model.b, model.c))

    def add(
        self, columns: np.ndarray, levels: np.ndarray, h: np.ndarray, share: float = 1.0
    ) -> "Statistics":
        self.w[columns, levels] += share * h
        self.b[columns, levels] += share
        self.c += share * h
        return self


def exact_expectation(model: Reference, columns: np.ndarray, n_levels: int) -> Statistics:
    """Over all visible and hidden states of a row with these columns."""
    total = Statistics(model)
    partition = 0.0
    for levels in itertools.product(range(n_levels), repeat=len(columns)):
        chosen = np.array(levels)
        z = model.c + model.w[columns, chosen].sum(0)
        weight = np.exp(model.b[columns, chosen].sum()) * np.prod(1 + np.exp(z))
        partition += weight
        total.add(columns, chosen, sigmoid(z), weight)
    for array in (total.w, total.b, total.c):
        array /= partition
    return total


def log_likelihood(
    model: Reference, columns: np.ndarray, levels: np.ndarray, n_levels: int
) -> float:
    def unnormalised(chosen: np.ndarray) -> float:
        z = model.c + model.w[columns, chosen].sum(0)
        return float(model.b[columns, chosen].sum() + np.log1p(np.exp(z)).sum())

    states = itertools.product(range(n_levels), repeat=len(columns))
    partition = np.logaddexp.reduce([unnormalised(np.array(state)) for state in states])
    return unnormalised(levels) - float(partition)


def random_model(core: ModuleType, cols: int, levels: int, hidden: int, **kwargs: Any) -> Any:
    settings = {"deviation": 0.5, "seed": 3, **kwargs}
    model = core.Rbm(cols, levels, hidden, **settings)
    rng = np.random.default_rng(0)
    for name, array in model.weights().items():
        if name != "weights":
            array[...] = rng.normal(scale=0.5, size=array.shape)
    return model


class TestExactly:
    """Three columns of three levels and four hidden units: 27 x 16 states."""

    @pytest.fixture
    def model(self, core: ModuleType) -> Any:
        return random_model(core, 3, 3, 4)

    def test_the_exact_gradient_is_that_of_the_log_likelihood(self, model):
        reference = Reference(model, 3)
        columns, levels = np.arange(3), np.array([0, 2, 1])
        h = reference.hidden_given(columns, levels)
        positive = reference.statistics(columns, levels, h)
        negative = exact_expectation(reference, columns, 3)
        for name in ("w", "b", "c"):
            array = getattr(reference, name)
            gradient = getattr(positive, name) - getattr(negative, name)
            for place in np.ndindex(array.shape):
                ends = []
                for sign in (1, -1):
                    array[place] += sign * 1e-5
                    ends.append(log_likelihood(reference, columns, levels, 3))
                    array[place] -= sign * 1e-5
                assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)

    def test_many_steps_of_sampling_follow_the_exact_gradient(self, core, model):
        # every state of the visible units in many rows, so that the data's part is exact as well
        states = np.array(list(itertools.product(range(3), repeat=3)), np.uint8)
        rows = np.repeat(states, 2000, axis=0)
        n = len(rows)
        cells = core.LevelCells(
            np.arange(n + 1) * 3, np.tile(np.arange(3, dtype=np.int32), n), rows.ravel(), 3, 3
        )
        reference = Reference(model, 3)
        columns = np.arange(3)
        positive = Statistics(reference)
        for state in states:
            h = reference.hidden_given(columns, state)
            positive.add(columns, state, h, 1 / len(states))
        negative = exact_expectation(reference, columns, 3)
        rate = 0.01
        trainer = core.RbmTrainer(
            model, values=[1, 2, 3], momentum=0, decay=0, batch_size=n, seed=1, num_threads=2
        )
        trainer.run_epoch(cells, 0, steps=30, learning_rate=rate)
        after = Reference(model, 3)
        for name in ("w", "b", "c"):
            got = (getattr(after, name) - getattr(reference, name)) / rate
            want = getattr(positive, name) - getattr(negative, name)
            # a mean of 54,000 rows: five of its standard deviations, which are at most .5 / sqrt(n)
            np.testing.assert_allclose(got, want, atol=2.5 / np.sqrt(n), err_msg=name)
            assert np.abs(want).max() > 8 / np.sqrt(n)


def one_epoch(
    core: ModuleType,
    model: Reference,
    rows: Any,
    batches: list[np.ndarray],
    *,
    steps: int,
    rate: float,
    momentum: float,
    decay: float,
    seed: int,
    epoch: int,
    values: np.ndarray,
) -> float:
    """Contrastive divergence with the core's own random numbers."""

    def uniform(stream: int, row: int, positions: np.ndarray) -> np.ndarray:
        return core.random_uniform(seed, stream, epoch, int(row), positions.astype(np.uint32))

    velocity = Statistics(model)
    loss = 0.0
    for batch in batches:
        gradient = Statistics(model)
        for row in batch:
            columns, levels = rows(row)
            h = positive = model.hidden_given(columns, levels)
            for step in range(steps):
                on = uniform(HIDDEN_UNITS + step, row, np.arange(model.hidden)) < h
                p = model.visible_given(columns, on.astype(float))
                u = uniform(VISIBLE_UNITS + step, row, columns)
                sampled = (u[:, np.newaxis] >= p.cumsum(1)[:, :-1]).sum(1)
                if step == 0:
                    loss += ((p @ values - values[levels]) ** 2).sum()
                h = model.hidden_given(columns, sampled)
            gradient.add(columns, levels, positive)
            gradient.add(columns, sampled, h, -1.0)
        touched = np.unique(np.concatenate([rows(row)[0] for row in batch]))
        n = len(batch)
        step_w = momentum * velocity.w[touched] + rate * (
            gradient.w[touched] / n - decay * model.w[touched]
        )
        velocity.w[touched] = step_w
        model.w[touched] += step_w
        velocity.b[touched] = momentum * velocity.b[touched] + rate * gradient.b[touched] / n
        model.b[touched] += velocity.b[touched]
        velocity.c = momentum * velocity.c + rate * gradient.c / n
        model.c += velocity.c
    return loss


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize(("hidden", "steps"), [(5, 1), (16, 3), (150, 2)])
def test_an_epoch_equals_the_reference(core, ratings, hidden, steps, num_threads):
    matrix = ratings.rows("user")
    values = np.unique(matrix.values)
    levels = np.searchsorted(values, matrix.values).astype(np.uint8)
    cells = core.LevelCells(matrix.indptr, matrix.indices, levels, matrix.shape[1], len(values))
    model = random_model(core, matrix.shape[1], len(values), hidden, deviation=0.2)
    reference = Reference(model, len(values))
    options = {"momentum": 0.9, "decay": 0.01, "seed": 7}
    trainer = core.RbmTrainer(
        model, values=values.tolist(), batch_size=16, num_threads=num_threads, **options
    )
    loss = trainer.run_epoch(cells, 4, steps=steps, learning_rate=0.05)

    order = core.shuffle(int((np.diff(matrix.indptr) > 0).sum()), 7, 4)
    order = np.flatnonzero(np.diff(matrix.indptr) > 0)[order]
    batches = [order[i : i + 16] for i in range(0, len(order), 16)]

    def rows(row: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        return matrix.indices[part], levels[part]

    want = one_epoch(
        core,
        reference,
        rows,
        batches,
        steps=steps,
        rate=0.05,
        epoch=4,
        values=values,
        **options,
    )
    after = Reference(model, len(values))
    for name in ("w", "b", "c"):
        np.testing.assert_allclose(
            getattr(after, name), getattr(reference, name), atol=2e-5, err_msg=name
        )
    assert loss == pytest.approx(want, rel=1e-5)


def test_refuses_what_does_not_fit(core, ratings):
    matrix = ratings.rows("user")
    levels = np.zeros(len(matrix.indices), np.uint8)
    with pytest.raises(ValueError, match=r"levels must lie in \[0, 2\)"):
        core.LevelCells(matrix.indptr, matrix.indices, levels + 2, matrix.shape[1], 2)
    with pytest.raises(ValueError, match=r"levels must lie in \[1, 100\]"):
        core.Rbm(3, 101, 4, deviation=0.1, seed=0)
    cells = core.LevelCells(matrix.indptr, matrix.indices, levels, matrix.shape[1], 2)
    with pytest.raises(ValueError, match="must have the model's columns and levels"):
        core.Rbm(3, 2, 4, deviation=0.1, seed=0).encode(cells)


class TestNewColumns:
    def test_are_the_solution_of_a_softmax_regression(self, core):
        rng = np.random.default_rng(0)
        codes = rng.random((40, 6)).astype(np.float32)
        levels = rng.integers(0, 3, 25).astype(np.uint8)
        columns = np.sort(rng.choice(40, 25, replace=False)).astype(np.int32)
        cells = core.LevelCells(np.array([0, 25]), columns, levels, 40, 3)
        known = [rng.normal(size=shape) for shape in ((3, 6), (1, 3), (1, 6))]
        prior = core.ColumnPrior(*(array.astype(np.float32) for array in known), 0.3)
        weights, bias = core.fit_softmax(codes, cells, 0.5, prior, num_threads=1)
        x = codes[columns].astype(np.float64)
        mean_weights, (mean_bias,), (center,) = known

        def objective(theta: np.ndarray) -> float:
            w, b = theta[:18].reshape(3, 6), theta[18:]
            fit = log_softmax(x @ w.T + b, axis=1)[np.arange(25), levels].sum()
            away = w - mean_weights
            level = b - mean_bias + away @ center
            return float(0.25 * (away**2).sum() + 0.15 * (level**2).sum() - fit)

        best = optimize.minimize(objective, np.zeros(21), method="BFGS")
        got = objective(np.concatenate([weights.ravel(), bias.ravel()]).astype(np.float64))
        assert got == pytest.approx(best.fun, abs=1e-5)
        np.testing.assert_allclose(weights.ravel(), best.x[:18], atol=5e-3)

    def test_without_ratings_are_the_mean_column(self, core):
        cells = core.LevelCells(
            np.array([0, 0]), np.empty(0, np.int32), np.empty(0, np.uint8), 4, 3
        )
        codes = np.ones((4, 2), np.float32)
        mean = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((1, 3), np.float32)
        prior = core.ColumnPrior(*mean, np.ones((1, 2), np.float32), 1.0)
        weights, bias = core.fit_softmax(codes, cells, 1.0, prior, num_threads=1)
        np.testing.assert_array_equal(weights, mean[0])
        np.testing.assert_array_equal(bias, mean[1])


@pytest.mark.parametrize("orientation", ["item", "user"])
class TestModel:
    @pytest.fixture
    def params(self, orientation) -> dict[str, Any]:
        return {
            "orientation": orientation,
            "hidden_units": 12,
            "epochs": 6,
            "batch_size": 25,
            "learning_rate": 0.1,
            "random_state": 0,
            "num_threads": 1,
        }

    def test_predicts_the_expected_rating(self, params, parts):
        model = RBM(**params).fit(parts[0])
        z = np.einsum("rj,ckj->rck", model.codes_, model.weights_) + model.visible_bias_
        expected = softmax(z.astype(np.float64), axis=2) @ model.levels_
        expected = expected.T if params["orientation"] == "item" else expected
        got = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)
        np.testing.assert_allclose(got, expected, atol=2e-5)
        items, scores = model.recommend(n=7, exclude_seen=False, order="rating")
        np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :7], atol=2e-5)
        rows = np.arange(len(items))[:, np.newaxis]
        np.testing.assert_allclose(expected[rows, items], scores, atol=2e-5)

    def test_codes_are_those_of_the_training_rows(self, params, parts):
        model = RBM(**params).fit(parts[0])
        rows = parts[0].rows(params["orientation"])
        levels = np.searchsorted(model.levels_, rows.values)
        z = np.tile(model.hidden_bias_.astype(np.float64), (rows.shape[0], 1))
        owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        np.add.at(z, owner, model.weights_[rows.indices, levels])
        np.testing.assert_allclose(model.codes_, sigmoid(z), atol=1e-5)

    def test_learns_more_than_frequencies(self, params):
        # two tastes: each user likes the one half of the items or the other
        rng = np.random.default_rng(0)
        users, items = rng.integers(0, 2, 300), rng.integers(0, 2, 200)
        likes = users[:, np.newaxis] == items
        values = np.where(rng.random(likes.shape) < 0.9, likes, ~likes) * 3 + 1
        values = values + rng.integers(0, 2, likes.shape)
        observed = rng.random(likes.shape) < 0.2
        matrix = sparse.csr_array(
            sparse.coo_array((values[observed].astype(np.float32), np.nonzero(observed)))
        )
        train, test = train_test_split(matrix, test_size=0.2, random_state=0)
        model = RBM(**{**params, "epochs": 30}).fit(train)
        # knowing the tastes: .9^2 x .1 + .1^2 x .9 of 3 squared, and 1/4 for the level within
        best = np.sqrt(0.09 * 9 + 0.25)
        assert model.evaluate(test)["rmse"] < 1.15 * best

    @pytest.mark.parametrize("num_threads", [2, 3, 5])
    def test_gives_the_same_bits_at_any_number_of_threads(self, params, parts, num_threads):
        one = RBM(**params).fit(parts[0])
        other = RBM(**{**params, "num_threads": num_threads}).fit(parts[0])
        left, right = one._tensors(), other._tensors()
        for name in left.keys() - {"history"}:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)
        a = one.recommend(n=3)
        b = other.recommend(n=3)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])

    def test_folds_in_a_row_as_it_was_trained(self, params, parts):
        model = RBM(**params).fit(parts[0])
        before = model.codes_[3].copy()
        if params["orientation"] == "user":
            copy = parts[0].to_matrix().tocsr()[[3]]
        else:
            copy = parts[0].to_matrix().tocsc()[:, [3]]
        model.fold_in(copy, axis=params["orientation"])
        np.testing.assert_array_equal(model.codes_[-1], before)

    def test_folds_in_columns_close_to_what_training_finds(self, params, parts):
        model = RBM(**params).fit(parts[0])
        matrix = parts[0].to_matrix()
        axis = "user" if params["orientation"] == "item" else "item"
        counts = np.diff(matrix.tocsr().indptr if axis == "user" else matrix.tocsc().indptr)
        most = int(counts.argmax())
        known = matrix.tocsr()[[most]] if axis == "user" else matrix.tocsc()[:, [most]]
        everyone = model.item_ids_ if axis == "user" else model.user_ids_
        model.fold_in(known, axis=axis)

        def predicted(column: Any) -> np.ndarray:
            pair = (column, everyone) if axis == "user" else (everyone, column)
            return model.predict(*pair)

        ids = model.user_ids_ if axis == "user" else model.item_ids_
        difference = predicted(ids[-1]) - predicted(ids[most])
        assert np.sqrt(np.mean(difference**2)) < 0.35

    def test_recommends_to_users_who_were_not_in_training(self, params, parts):
        model = RBM(**params).fit(parts[0])
        items, scores = model.recommend(ratings=parts[0].to_matrix().tocsr()[:4], n=5)
        assert items.shape == scores.shape == (4, 5)
        assert np.isfinite(scores).all()

    def test_loads_what_it_saved(self, params, parts, tmp_path):
        model = RBM(**params).fit(parts[0])
        model.save(tmp_path / "model")
        loaded = RBM.load(tmp_path / "model")
        users, items = model.user_ids_[:, np.newaxis], model.item_ids_
        np.testing.assert_array_equal(model.predict(users, items), loaded.predict(users, items))
        a = model.partial_fit(parts[0]).predict(users, items)
        b = loaded.partial_fit(parts[0]).predict(users, items)
        np.testing.assert_array_equal(a, b)

    def test_goes_back_to_the_best_epoch(self, params, parts):
        model = RBM(**{**params, "learning_rate": 2.0, "epochs": 30, "patience": 2})
        model.fit(parts[0], validation=parts[1])
        errors = [epoch.metrics["rmse"] for epoch in model.history_]
        assert len(errors) < 30
        assert np.argmin(errors) == len(errors) - 3
        assert model.evaluate(parts[1])["rmse"] == pytest.approx(min(errors), abs=1e-6)

    def test_columns_without_ratings_get_the_frequencies_of_all(self, params, parts):
        matrix = parts[0].to_matrix().tocsr()
        wider = sparse.csr_array(
            (matrix.data, matrix.indices, np.append(matrix.indptr, matrix.indptr[-1])),
            shape=(matrix.shape[0] + 1, matrix.shape[1] + 1),
        )
        model = RBM(**params).fit(wider)
        columns_are_users = params["orientation"] == "item"
        got = (
            model.predict(matrix.shape[0], np.arange(matrix.shape[1]))
            if columns_are_users
            else model.predict(np.arange(matrix.shape[0]), matrix.shape[1])
        )
        np.testing.assert_allclose(got, wider.data.mean(), atol=1e-4)
        model.set_params(default_rating=2.5)
        assert (model.predict(matrix.shape[0], np.arange(matrix.shape[1])) == 2.5).all()
        assert (model.predict(np.arange(matrix.shape[0]), matrix.shape[1]) == 2.5).all()


def test_steps_grow_in_equal_shares_of_the_epochs():
    settings = SimpleNamespace(epochs=8, cd_steps=(1, 3, 5, 9))
    steps = [cd_steps_in(epoch, settings) for epoch in range(10)]
    assert steps == [1, 1, 3, 3, 5, 5, 9, 9, 9, 9]


def test_takes_any_scale(parts):
    matrix = parts[0].to_matrix()
    matrix.data = matrix.data * np.float32(0.5) - np.float32(1.5)
    halves = Ratings.from_matrix(matrix)
    model = RBM(hidden_units=4, epochs=2, random_state=0).fit(halves)
    np.testing.assert_allclose(model.levels_, np.arange(5) * 0.5 - 1.0)
    assert model.predict(0, np.arange(5)).min() >= -1


def test_takes_ratings_that_differ_by_rounding_for_one_level(parts):
    matrix = parts[0].to_matrix()
    thirds = matrix.copy()
    thirds.data = (matrix.data / 3).astype(np.float32)
    rounded = thirds.copy()
    rounded.data[::2] = (matrix.data[::2].astype(np.float32) * np.float32(1 / 3)).astype(np.float32)
    rounded.data[::3] = np.nextafter(rounded.data[::3], np.float32(9))
    assert len(np.unique(rounded.data)) > 5
    model = RBM(hidden_units=4, epochs=2, random_state=0)
    expected = model.fit(thirds).predict(0, np.arange(9))
    for X in (rounded, thirds):
        model.fit(rounded)
        assert len(model.levels_) == 5
        np.testing.assert_allclose(model.predict(0, np.arange(9)), expected, rtol=1e-5)
        model.fold_in(X.tocsr()[:2])
    with pytest.raises(ValueError, match=r"levels that the model was fitted to"):
        model.fold_in(sparse.csr_array(([0.3335], ([0], [0])), shape=(1, parts[0].n_items)))


def test_refuses_ratings_that_are_no_levels(parts):
    rng = np.random.default_rng(0)
    matrix = parts[0].to_matrix()
    matrix.data = rng.random(len(matrix.data)).astype(np.float32)
    with pytest.raises(ValueError, match=r"at most 100 distinct ratings.*; round them first\.$"):
        RBM().fit(matrix)
    model = RBM(hidden_units=4, epochs=1, random_state=0).fit(parts[0])
    new = parts[0].to_matrix().tocsr()[:1] * 0.3
    with pytest.raises(ValueError, match=r"levels that the model was fitted to \(1, 2, 3, 4, 5\)"):
        model.fold_in(new)
    before = model._tensors(), model._seen
    with pytest.raises(ValueError, match="levels that the model was fitted to"):
        model.partial_fit(Ratings.from_matrix(parts[0].to_matrix() * 0.3))
    assert model._seen is before[1]
    np.testing.assert_array_equal(model.codes_, before[0]["codes"])


@pytest.mark.parametrize("orientation", ["item", "user"])
def test_ranks(parts, orientation):
    model = RBM(orientation=orientation, hidden_units=8, epochs=2, random_state=0).fit(parts[0])
    scores = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_).astype(np.float64)
    scores[parts[0].to_matrix().toarray() > 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    hits = np.take_along_axis(parts[1].to_matrix().toarray() > 0, best, axis=1).sum(1)
    tested = np.diff(parts[1].indptr) > 0
    expected = (hits[tested] / 5).mean()
    got = model.evaluate(parts[1], "precision@5", order="rating")
    assert got["precision@5"] == pytest.approx(expected)


@pytest.mark.parametrize("orientation", ["item", "user"])
def test_finds_items_of_the_same_taste(orientation):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 2, 120), rng.integers(0, 2, 80)
    likes = users[:, np.newaxis] == items
    values = np.where(rng.random(likes.shape) < 0.5, likes * 4 + 1, 0).astype(np.float32)
    model = RBM(
        orientation=orientation, hidden_units=8, epochs=20, learning_rate=0.1, random_state=0
    ).fit(sparse.csr_array(values))
    similar, _ = model.similar_items(model.item_ids_, n=5)
    assert (items[similar] == items[:, np.newaxis]).mean() > 0.95


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"orientation": "both"}, "orientation must be one of 'item', 'user'"),
        ({"hidden_units": 0}, "hidden_units must be an integer from 1 to 1,000,000"),
        ({"momentum": 1.0}, "momentum must be .* below 1"),
        ({"cd_steps": ()}, "cd_steps must be"),
        ({"cd_steps": (1, 0)}, "every entry of cd_steps must be an integer from 1 to 1,000,000"),
        ({"regularization": -1.0}, "regularization must be a finite number of at least 0"),
    ],
)
def test_refuses_bad_parameters(ratings, params, message):
    with pytest.raises(ValueError, match=message):
        RBM(**params).fit(ratings)
