"""BiasedMF against NumPy in float64: exact sweeps, sequential SGD, new users, the same bits."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from isthmus import BiasedMF, ConvergenceError, Ratings, _core, train_test_split
from isthmus.data.synthetic import synthetic_ratings
from isthmus.models._biases import fit_biases


@pytest.fixture(params=_core.available())
def core(request: pytest.FixtureRequest) -> ModuleType:
    return _core.load_core(request.param)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return synthetic_ratings(60, 45, 900, random_state=3)


@pytest.fixture(scope="module")
def many() -> Ratings:
    return synthetic_ratings(300, 250, 40_000, random_state=1)  # a grid of 3 x 3


@pytest.fixture(scope="module")
def parts(many: Ratings) -> tuple[Ratings, Ratings]:
    return train_test_split(many, test_size=0.1, random_state=0)


def dense(ratings: Ratings) -> tuple[np.ndarray, np.ndarray]:
    """Values and where they are."""
    values = np.zeros(ratings.shape)
    seen = np.zeros(ratings.shape, bool)
    rows = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
    values[rows, ratings.indices] = ratings.values
    seen[rows, ratings.indices] = True
    return values, seen


def solve(
    values: np.ndarray,
    seen: np.ndarray,
    factors: np.ndarray,
    bias: np.ndarray,
    mean: float,
    penalty: dict[str, float],
) -> tuple[np.ndarray, np.ndarray, float]:
    """Ridge regression of every row, by its normal equations; and the squared error left."""
    k = factors.shape[1]
    design = np.hstack([factors, np.ones((len(factors), 1))]).astype(np.float64)
    solved = np.zeros((len(values), k + 1))
    squared_error = 0.0
    ridge = np.full(k + 1, penalty["regularization"])
    ridge[k] = penalty["bias_regularization"]
    for row, observed in enumerate(seen):
        if observed.any():
            z = design[observed]
            t = values[row, observed] - mean - bias[observed]
            scale = np.ones(k + 1)
            scale[:k] = observed.sum() ** penalty["weighting"]
            solved[row] = np.linalg.solve(z.T @ z + np.diag(ridge * scale), z.T @ t)
            squared_error += ((t - z @ solved[row]) ** 2).sum()
    return solved[:, :k], solved[:, k], squared_error


def cells(core: ModuleType, ratings: Ratings, orientation: Any = "user") -> Any:
    rows = ratings.rows(orientation)
    return core.Cells(rows.indptr, rows.indices, rows.values, rows.shape[1])


def penalties(regularization: float = 2.0, bias: Any = 0.5, weighting: float = 0.0) -> Any:
    return {
        "regularization": regularization,
        "bias_regularization": bias,
        "weighting": weighting,
    }


def for_sides(penalty: dict[str, Any]) -> list[Any]:
    """Penalties of users and of items, whose biases have a pair of them."""
    return [{**penalty, "bias_regularization": own} for own in penalty["bias_regularization"]]


class TestSolveRows:
    @pytest.mark.parametrize("weighting", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("k", [1, 7, 14, 15, 16, 23, 47, 64])
    def test_equals_the_normal_equations(self, core, ratings, k, weighting):
        rng = np.random.default_rng(k)
        factors = rng.normal(size=(ratings.n_items, k)).astype(np.float32)
        bias = rng.normal(size=ratings.n_items).astype(np.float32)
        penalty = penalties(0.7, 0.1, weighting)
        got = core.solve_rows(
            cells(core, ratings), factors, bias, mean=3.2, **penalty, num_threads=1
        )
        want = solve(*dense(ratings), factors, bias, 3.2, penalty)
        np.testing.assert_allclose(got[0], want[0], atol=2e-4)
        np.testing.assert_allclose(got[1], want[1], atol=2e-4)

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_equals_them_on_any_shape(self, data):
        core = _core.load_core(_core.available()[-1])
        n_rows, n_cols, k = (data.draw(st.integers(1, 30)) for _ in range(3))
        rng = np.random.default_rng(data.draw(st.integers(0, 100)))
        seen = rng.random((n_rows, n_cols)) < data.draw(st.sampled_from([0.1, 0.5, 1.0]))
        values = np.where(seen, rng.integers(0, 6, seen.shape), 0).astype(np.float32)
        row, col = np.nonzero(seen)
        matrix = core.Cells(
            np.searchsorted(row, np.arange(n_rows + 1)).astype(np.int64),
            col.astype(np.int32),
            values[seen],
            n_cols,
        )
        factors = rng.normal(size=(n_cols, k)).astype(np.float32)
        bias = rng.normal(size=n_cols).astype(np.float32)
        penalty = penalties(1.0, 1.0)
        got = core.solve_rows(matrix, factors, bias, mean=2.0, **penalty, num_threads=2)
        want = solve(values, seen, factors, bias, 2.0, penalty)
        np.testing.assert_allclose(got[0], want[0], atol=2e-4)
        np.testing.assert_allclose(got[1], want[1], atol=2e-4)

    def test_sums_many_ratings_of_a_row_exactly_enough(self, core):
        rng = np.random.default_rng(0)
        n = 50_000
        factors = rng.normal(size=(n, 10)).astype(np.float32)
        truth = rng.normal(size=10)
        values = (3 + factors @ truth + rng.normal(size=n)).astype(np.float32)
        matrix = core.Cells(np.array([0, n]), np.arange(n, dtype=np.int32), values, n)
        bias = np.zeros(n, np.float32)
        penalty = penalties(1.0, 1.0)
        got = core.solve_rows(matrix, factors, bias, mean=3.0, **penalty, num_threads=1)
        want = solve(values[np.newaxis], np.ones((1, n), bool), factors, bias, 3.0, penalty)
        np.testing.assert_allclose(got[0], want[0], atol=2e-5)

    def test_refuses_a_singular_problem(self, core, ratings):
        factors = np.ones((ratings.n_items, 4), np.float32)
        with pytest.raises(ValueError, match=r"is singular: raise regularization\.$"):
            core.solve_rows(
                cells(core, ratings),
                factors,
                np.zeros(ratings.n_items, np.float32),
                mean=0.0,
                **penalties(0.0, 0.0),
                num_threads=1,
            )

    def test_refuses_factors_of_other_columns(self, core, ratings):
        factors, bias = np.ones((3, 4), np.float32), np.zeros(3, np.float32)
        with pytest.raises(ValueError, match="must have a row per column"):
            core.solve_rows(
                cells(core, ratings), factors, bias, mean=0.0, **penalties(), num_threads=1
            )


class TestAls:
    @pytest.mark.parametrize("num_threads", [1, 3])
    def test_a_sweep_equals_two_halves_of_normal_equations(self, core, ratings, num_threads):
        model = core.BiasedMF(*ratings.shape, 6, mean=ratings.mean, scale=1.0, seed=5)
        start = {name: array.copy() for name, array in model.weights().items()}
        penalty = penalties(1.5, (3.0, 0.3), 0.5)
        of_users, of_items = for_sides(penalty)
        left = model.als_sweep(
            cells(core, ratings),
            cells(core, ratings, "item"),
            **penalty,
            num_threads=num_threads,
        )
        values, seen = dense(ratings)
        users = solve(
            values, seen, start["item_factors"], start["item_bias"][0], ratings.mean, of_users
        )
        items = solve(values.T, seen.T, users[0], users[1], ratings.mean, of_items)
        after = model.weights()
        np.testing.assert_allclose(after["user_factors"], users[0], atol=1e-4)
        np.testing.assert_allclose(after["user_bias"][0], users[1], atol=1e-4)
        np.testing.assert_allclose(after["item_factors"], items[0], atol=3e-4)
        np.testing.assert_allclose(after["item_bias"][0], items[1], atol=3e-4)
        assert left == pytest.approx(items[2], rel=1e-4)

    def test_refuses_matrices_that_are_not_transposed(self, core, ratings):
        model = core.BiasedMF(*ratings.shape, 6, mean=3.0, scale=1.0, seed=5)
        by_user = cells(core, ratings)
        with pytest.raises(ValueError, match="by_item must be by_user transposed"):
            model.als_sweep(by_user, by_user, **penalties(bias=(1, 1)), num_threads=1)

    def test_the_objective_never_rises(self, ratings):
        model = BiasedMF.als(
            factors=5, regularization=1.0, bias_regularization=2.5, random_state=0, epochs=1
        )
        values, seen = dense(ratings)

        def objective() -> float:
            scores = model._vectors()
            inner = scores.users @ scores.items.T + scores.user_bias[:, np.newaxis]
            error = ((inner + scores.item_bias) / scores.scale + model.mean_ - values)[seen]
            total = float((error.astype(np.float64) ** 2).sum())
            assert model.history_[-1].loss == pytest.approx(total / ratings.nnz, rel=1e-4)
            total /= model.scale_**2
            for factors, bias, counts in (
                (model.user_factors_, model.user_bias_, seen.sum(1)),
                (model.item_factors_, model.item_bias_, seen.sum(0)),
            ):
                total += float(((factors**2).sum(1) * 1.0 * counts**0.5 + bias**2 * 2.5).sum())
            return total

        seen_objectives = []
        for _ in range(6):
            model.partial_fit(ratings)
            seen_objectives.append(objective())
        assert (np.diff(seen_objectives) <= 0).all()


def sequential_sgd(
    weights: dict[str, np.ndarray],
    order: tuple[np.ndarray, np.ndarray, np.ndarray],
    mean: float,
    rate: float,
    penalty: dict[str, Any],
) -> float:
    """Rating by rating, in the order given: changes the weights, returns the squared errors."""
    p, q = weights["user_factors"], weights["item_factors"]
    b, c = weights["user_bias"][0], weights["item_bias"][0]
    n = np.bincount(order[0], minlength=len(p))
    m = np.bincount(order[1], minlength=len(q))
    decay = penalty["regularization"]
    alpha = penalty["weighting"]
    user_damping, item_damping = penalty["bias_regularization"]
    total = 0.0
    for u, i, value in zip(*order, strict=True):
        error = value - mean - b[u] - c[i] - p[u] @ q[i]
        total += error**2
        old = p[u].copy()
        p[u] += rate * (error * q[i] - decay * n[u] ** (alpha - 1) * p[u])
        q[i] += rate * (error * old - decay * m[i] ** (alpha - 1) * q[i])
        b[u] = (b[u] + rate * error) / (1 + rate * user_damping / n[u])
        c[i] = (c[i] + rate * error) / (1 + rate * item_damping / m[i])
    return total


class TestSgd:
    @pytest.mark.parametrize("weighting", [0.0, 0.5, 1.0])
    def test_an_epoch_equals_steps_one_by_one(self, core, many, weighting):
        model = core.BiasedMF(*many.shape, 9, mean=many.mean, scale=0.5, seed=5)
        want = {name: array.astype(np.float64) for name, array in model.weights().items()}
        sgd = core.FactorSgd(cells(core, many), seed=2)
        penalty = penalties(0.3, (5.0, 0.5), weighting)
        for epoch in range(2):
            loss = sgd.run_epoch(model, **penalty, learning_rate=0.02, epoch=epoch, num_threads=2)
            expected = sequential_sgd(want, sgd.order(epoch), many.mean, 0.02, penalty)
            assert loss == pytest.approx(expected, rel=1e-5)
        for name, array in model.weights().items():
            np.testing.assert_allclose(array, want[name], atol=1e-4, err_msg=name)

    def test_visits_every_rating_once_in_another_order_each_epoch(self, core, many):
        sgd = core.FactorSgd(cells(core, many), seed=2)
        orders = [np.array(sgd.order(epoch)[:2]).T for epoch in (0, 1)]
        rows = np.repeat(np.arange(many.n_users), np.diff(many.indptr))
        for order in orders:
            ranked = order[np.lexsort((order[:, 1], order[:, 0]))]
            np.testing.assert_array_equal(ranked, np.column_stack([rows, many.indices]))
        assert not np.array_equal(*orders)

    def test_keeps_values_with_their_cells(self, core, many):
        users, items, values = core.FactorSgd(cells(core, many), seed=2).order(0)
        lookup = {(u, i): v for u, i, v in zip(users, items, values, strict=True)}
        values_by_cell, seen = dense(many)
        assert len(lookup) == seen.sum()
        assert all(values_by_cell[cell] == value for cell, value in lookup.items())

    def test_stops_where_it_diverges(self, many):
        model = BiasedMF(learning_rate=50.0, random_state=0)
        with pytest.raises(
            ConvergenceError, match=r"epoch 1.*Lower learning_rate \(it is 50\) or raise reg"
        ):
            model.fit(many)
        assert not model._fitted

    def test_notices_a_divergence_in_the_last_steps(self):
        # the loss is of the weights before each step, and those of the only epoch are fine
        model = BiasedMF(learning_rate=3e38, epochs=1, random_state=0)
        extreme = sparse.csr_array(np.diag([*[1.0] * 30, 9.0]).astype(np.float32))
        with pytest.raises(ConvergenceError, match=r"epoch 1: a weight is no longer finite"):
            model.fit(extreme)
        assert not model._fitted


@pytest.mark.parametrize("optimizer", ["als", "sgd"])
class TestModel:
    @pytest.fixture
    def params(self, optimizer) -> dict[str, Any]:
        return {
            "optimizer": optimizer,
            "factors": 8,
            "regularization": 3.0,
            "weighted_regularization": 0.5,
            "epochs": {"als": 8, "sgd": 40}[optimizer],
            "learning_rate": 0.02,
            "learning_rate_decay": 0.97,
            "random_state": 0,
            "num_threads": 1,
        }

    def test_finds_the_factors_behind_the_ratings(self, params):
        rng = np.random.default_rng(0)
        n_users, n_items, noise = 300, 200, 0.3
        truth = rng.normal(size=(n_users, 4)) @ rng.normal(size=(4, n_items)) / 2
        truth += 3 + rng.normal(size=(n_users, 1)) + rng.normal(size=n_items) / 2
        observed = rng.random(truth.shape) < 0.4
        values = (truth + noise * rng.normal(size=truth.shape)).astype(np.float32)
        cells = sparse.csr_array(sparse.coo_array((values[observed], np.nonzero(observed))))
        train, test = train_test_split(cells, test_size=0.1, random_state=0)
        epochs = 3 * params["epochs"]
        model = BiasedMF(**{**params, "regularization": 0.05, "epochs": epochs}).fit(train)
        # with 4 factors and a bias each for 80 and 120 ratings, some of the noise is fitted
        assert model.evaluate(test)["rmse"] < 1.2 * noise

    @pytest.mark.parametrize("num_threads", [2, 3, 5])
    def test_gives_the_same_bits_at_any_number_of_threads(self, params, parts, num_threads):
        one = BiasedMF(**params).fit(parts[0])
        other = BiasedMF(**{**params, "num_threads": num_threads}).fit(parts[0])
        for name, array in one._weights().items():
            np.testing.assert_array_equal(array, other._weights()[name], err_msg=name)
        assert [e.loss for e in one.history_] == [e.loss for e in other.history_]

    def test_predicts_by_its_formula(self, params, parts):
        model = BiasedMF(**params, clip=False).fit(parts[0])
        by_hand = model.user_bias_[:, np.newaxis] + model.item_bias_
        by_hand = by_hand + model.user_factors_ @ model.item_factors_.T
        by_hand = model.mean_ + model.scale_ * by_hand
        got = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)
        np.testing.assert_allclose(got, by_hand, atol=1e-5)

    def test_folds_in_a_user_as_one_more_least_squares_solution(self, params, parts):
        model = BiasedMF(**params).fit(parts[0])
        chosen = parts[0].rows("user")
        row = slice(chosen.indptr[7], chosen.indptr[8])
        items, values = chosen.indices[row], chosen.values[row]
        new = sparse.csr_array(
            (values, (np.zeros(len(items), int), items)), shape=(1, parts[0].n_items)
        )
        observed = np.zeros((1, parts[0].n_items), bool)
        observed[0, items] = True
        # the bias is drawn as the users' are, and the factors bear the average user's penalty
        mean = model.user_bias_.mean(dtype=np.float64)
        around = model.mean_ / model.scale_ + model.user_bias_[:, np.newaxis] + model.item_bias_
        values, seen = dense(parts[0])
        noise = np.mean((values / model.scale_ - around)[seen] ** 2)
        penalty = penalties(
            3.0 * np.sqrt(seen.sum(axis=1)).mean(), noise / model.user_bias_.var(), 0.0
        )
        want = solve(
            (new.toarray() - model.mean_) / model.scale_,
            observed,
            model.item_factors_,
            model.item_bias_,
            mean,
            penalty,
        )
        before = model.predict(model.user_ids_[:5], model.item_ids_[:5])
        model.fold_in(new)
        np.testing.assert_allclose(model.user_factors_[-1], want[0][0], atol=1e-4)
        np.testing.assert_allclose(model.user_bias_[-1], want[1][0] + mean, atol=1e-4)
        np.testing.assert_array_equal(
            before, model.predict(model.user_ids_[:5], model.item_ids_[:5])
        )
        folded = model.predict(model.user_ids_[-1], model.item_ids_)
        known = model.predict(model.user_ids_[7], model.item_ids_)
        assert np.sqrt(np.mean((folded - known) ** 2)) < 0.15

    def test_folds_in_items(self, params, parts):
        model = BiasedMF(**params).fit(parts[0])
        new = sparse.csr_array(np.full((parts[0].n_users, 1), 5.0, np.float32))
        model.fold_in(new, axis="item")
        folded = model.predict(model.user_ids_, model.item_ids_[-1])
        assert folded.mean() > 4.7
        assert folded.min() > 3.5

    def test_users_and_items_without_ratings_get_what_is_known_of_the_other(self, params, parts):
        matrix = parts[0].to_matrix().tocsr()
        n_users, n_items = matrix.shape
        wider = sparse.csr_array(
            (matrix.data, matrix.indices, np.append(matrix.indptr, matrix.indptr[-1])),
            shape=(n_users + 1, n_items + 1),
        )
        model = BiasedMF(**params, clip=False).fit(wider)
        np.testing.assert_allclose(
            model.predict(n_users, np.arange(n_items)),
            model.mean_ + model.scale_ * model.item_bias_[:-1],
            rtol=1e-6,
        )
        assert model.predict(n_users, n_items) == pytest.approx(model.mean_)
        model.set_params(default_rating=3.0)
        assert (model.predict(n_users, np.arange(n_items)) == 3.0).all()
        assert (model.predict(np.arange(n_users), n_items) == 3.0).all()

    def test_does_not_depend_on_the_scale_of_the_ratings(self, params, parts):
        matrix = parts[0].to_matrix()
        model = BiasedMF(**params).fit(matrix)
        matrix.data = matrix.data * np.float32(200) - np.float32(1000)
        other = BiasedMF(**params).fit(matrix)
        users, items = model.user_ids_[:, np.newaxis], model.item_ids_
        np.testing.assert_allclose(
            model.predict(users, items), (other.predict(users, items) + 1000) / 200, atol=2e-3
        )

    def test_goes_on_where_fit_stopped(self, params, parts):
        whole = BiasedMF(**params).fit(parts[0])
        model = BiasedMF(**{**params, "epochs": 3}).fit(parts[0])
        model.partial_fit(parts[0], epochs=params["epochs"] - 3)
        for name, array in whole._weights().items():
            np.testing.assert_array_equal(array, model._weights()[name], err_msg=name)

    def test_goes_back_to_the_best_epoch(self, params, parts):
        train, validation = parts
        # far too little regularization: it overfits after a while
        model = BiasedMF(
            **{**params, "regularization": 0.01, "factors": 30, "epochs": 200, "patience": 2}
        )
        model.fit(train, validation=validation)
        errors = [epoch.metrics["rmse"] for epoch in model.history_]
        assert len(errors) < 200
        assert np.argmin(errors) == len(errors) - 3
        assert model.evaluate(validation)["rmse"] == pytest.approx(min(errors), abs=1e-6)

    def test_stays_fitted_when_interrupted(self, params, parts):
        def interrupt(epoch: Any) -> None:
            raise KeyboardInterrupt

        model = BiasedMF(**params)
        with pytest.raises(KeyboardInterrupt):
            model.fit(parts[0], callbacks=[interrupt])
        assert len(model.history_) == 1
        assert np.isfinite(model.predict(model.user_ids_[0], model.item_ids_)).all()

    def test_reports_progress_in_ratings(self, params, parts, monkeypatch):
        reported: list[int] = []

        class Bar:
            n = 0

            def __init__(self, **_: Any) -> None: ...
            def __enter__(self) -> "Bar":
                return self

            def __exit__(self, *_: Any) -> None: ...
            def update(self, n: int) -> None:
                self.n += n
                reported.append(self.n)

            def set_postfix(self, figures: Any) -> None: ...

        monkeypatch.setattr("isthmus.training.loop.tqdm", Bar)
        BiasedMF(**{**params, "epochs": 2, "verbose": True}).fit(parts[0])
        assert reported == sorted(reported)
        assert reported[-1] == 2 * parts[0].nnz

    def test_loads_what_it_saved(self, params, parts, tmp_path):
        model = BiasedMF(**params).fit(parts[0])
        model.save(tmp_path / "model")
        loaded = BiasedMF.load(tmp_path / "model")
        users, items = model.user_ids_[:, np.newaxis], model.item_ids_
        np.testing.assert_array_equal(model.predict(users, items), loaded.predict(users, items))
        assert loaded.mean_ == model.mean_
        a = model.partial_fit(parts[0]).predict(users, items)
        b = loaded.partial_fit(parts[0]).predict(users, items)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"factors": 0}, "factors must be an integer from 1 to 1,000,000"),
        ({"optimizer": "adam"}, "optimizer must be one of 'sgd', 'als'"),
        ({"regularization": -1.0}, "regularization must be a finite number of at least 0"),
        (
            {"optimizer": "als", "regularization": 0.0},
            "regularization must be a finite number above 0",
        ),
        ({"bias_regularization": -1}, 'bias_regularization must be .* at least 0 or "auto"'),
        ({"weighted_regularization": 1.5}, "weighted_regularization must be .* at most 1"),
        ({"init_scale": 0.0}, "init_scale must be a finite number above 0"),
        ({"learning_rate_decay": 1.1}, "learning_rate_decay must be .* at most 1"),
    ],
)
def test_refuses_bad_parameters(ratings, params, message):
    with pytest.raises(ValueError, match=message):
        BiasedMF(**params).fit(ratings)


@pytest.mark.parametrize(("given", "exponent"), [(True, 1.0), (False, 0.0), (0.25, 0.25)])
def test_weights_regularization_by_counts_if_asked_to(ratings, given, exponent):
    model = BiasedMF(weighted_regularization=given).fit(ratings)
    assert model._learner(ratings)._penalty["weighting"] == exponent


class TestBiasRegularization:
    @pytest.mark.parametrize("optimizer", ["als", "sgd"])
    @pytest.mark.parametrize("given", [7.0, "auto"])
    def test_damps_biases_by_as_many_ratings(self, additive, optimizer, given):
        model = BiasedMF(
            factors=1,
            regularization=1e3 if optimizer == "als" else 1.0,
            init_scale=1e-6,
            bias_regularization=given,
            optimizer=optimizer,
            epochs=60,
            learning_rate_decay=0.95,
            random_state=0,
            num_threads=1,
        ).fit(additive)
        damping = None if given == "auto" else given
        pair = fit_biases(additive.rows("user"), additive.mean, damping=damping).dampings
        values, seen = dense(additive)
        rest = np.where(seen, (values - model.mean_) / model.scale_, 0)
        by_users = (rest - seen * model.item_bias_).sum(1) / (seen.sum(1) + pair[0])
        by_items = (rest - seen * model.user_bias_[:, np.newaxis]).sum(0) / (seen.sum(0) + pair[1])
        np.testing.assert_allclose(model.user_bias_, by_users, atol=0.02)
        np.testing.assert_allclose(model.item_bias_, by_items, atol=0.02)

    @pytest.mark.parametrize("optimizer", ["als", "sgd"])
    @pytest.mark.parametrize("given", [3.0, "auto"])
    def test_is_of_the_biases_that_the_mean_is_fitted_with(self, ratings, optimizer, given):
        model = BiasedMF(optimizer=optimizer, epochs=1, bias_regularization=given).fit(ratings)
        values, seen = dense(ratings)
        table = np.where(seen, values, np.nan)
        pair = reference.dampings(table) if given == "auto" else (given, given)
        mean, *_ = reference.biases(table, *pair)
        assert model.mean_ == pytest.approx(mean, abs=1e-4)
        assert abs(mean - ratings.mean) > 0.03

    def test_may_be_more_than_a_row_bears_in_steps(self):
        one_each = sparse.csr_array(np.diag([1.0, 2.0, 5.0]).astype(np.float32))
        model = BiasedMF(bias_regularization=1e6, random_state=0).fit(one_each)
        assert np.abs(model.user_bias_).max() < 1e-5
