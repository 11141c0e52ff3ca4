"""What every model promises, whatever it is."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import sklearn.exceptions
from model_registry import SETTINGS
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

import isthmus
from isthmus import (
    AutoRec,
    ConvergenceError,
    NotFittedError,
    Ratings,
    Recommender,
    leave_one_out,
    synthetic_ratings,
    train_test_split,
)
from isthmus._util.docstrings import parameter_entries
from isthmus.data.splits import HeldOutUsers
from isthmus.evaluation.scores import dot_vectors
from isthmus.metrics import mae, rmse
from isthmus.models._epochs import EpochModel

MODELS = {
    name: model
    for name, model in Recommender._models.items()
    if model.__module__.startswith("isthmus.")
}
CASES = [
    pytest.param((model, settings), id=f"{name}-{number}")
    for name, model in MODELS.items()
    for number, settings in enumerate(SETTINGS.get(name, ()))
]


EPOCHAL = [case for case in CASES if issubclass(case.values[0][0], EpochModel)]
"""Those that are trained in epochs."""


def maker(model, settings):
    seed = {"random_state": 0} if is_random(model) else {}
    return lambda **params: model(**{**seed, "num_threads": 1, **settings, **params})


@pytest.fixture(params=CASES)
def make(request):
    """Make a model with the settings of one case and, if wanted, others."""
    return maker(*request.param)


@pytest.fixture(params=EPOCHAL)
def make_epochal(request):
    """The same of models that are trained in epochs."""
    return maker(*request.param)


def is_random(model):
    return "random_state" in inspect.signature(model).parameters


def rates(model):
    """Whether its scores are ratings; the others rank, and cannot add items."""
    return type(model)._default_metrics == ("rmse", "mae")


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(50, 40, 700, random_state=1)


@pytest.fixture(scope="module")
def parts(ratings):
    return train_test_split(ratings, test_size=0.2, random_state=0)


@pytest.fixture
def fitted(make, parts):
    return make().fit(parts[0])


def named(ratings):
    """The same ratings, with strings for ids."""
    return Ratings.from_matrix(
        ratings.to_matrix(),
        user_ids=[f"u{user:03}" for user in ratings.user_ids],
        item_ids=[f"film {item:03}" for item in ratings.item_ids],
    )


def parameters(model):
    """A model's parameters to compare: models among them are equal if theirs are."""
    return {
        name: [(type(member), parameters(member)) for member in value]
        if name == "models"
        else value
        for name, value in model.get_params().items()
    }


def predict_all(model):
    return model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)


def assert_same_bits(one, other):
    left, right = one._tensors(), other._tensors()
    assert left.keys() == right.keys()
    for name in left:
        if name.endswith("history"):  # which holds seconds
            continue
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    np.testing.assert_array_equal(predict_all(one), predict_all(other))


def test_every_model_is_tested_and_exported():
    assert MODELS.keys() == SETTINGS.keys()
    assert MODELS.keys() <= set(isthmus.__all__)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (model, name)
        for model in MODELS.values()
        for name, parameter in inspect.signature(model).parameters.items()
        if isinstance(parameter.default, bool) and name != "weighted_regularization"
    ],
)
def test_what_is_true_or_false_is_a_truth_value_of_python_or_numpy(model, name):
    for value in (np.True_, np.False_):
        model(**{name: value})._check_parameters()
    for value in ("no", 1, None):
        with pytest.raises(TypeError, match=f"{name} must be True or False, but it was {value!r}"):
            model(**{name: value})._check_parameters()


OTHERS = {
    "orientation": {"item": "user", "user": "item"},
    "tied": {False: True, True: False},
    "loss": {"logistic": "square"},
}
"""Another value of a parameter, by the one it has."""


def other_value(name, value):
    """Return a valid value of a structural parameter that is not the given one."""
    if name in OTHERS:
        return OTHERS[name].get(value, "logistic")
    if name.endswith("activation"):
        return "identity" if value != "identity" else "sigmoid"
    if name.endswith("centering"):
        return "global" if value != "global" else "none"
    return 11 if isinstance(value, int) else (11, 3)


@pytest.mark.parametrize("way", ["pickle", "file"])
def test_a_fitted_model_is_what_it_was_in_fit_whatever_parameters_are_set(
    make, ratings, tmp_path, way
):
    model = make().fit(ratings)
    users, items = model.user_ids_[:, np.newaxis], model.item_ids_
    before = model.predict(users, items)
    fitted = {name: getattr(model, name) for name in getattr(model, "_structural", ())}
    model.set_params(**{name: other_value(name, value) for name, value in fitted.items()})
    np.testing.assert_array_equal(model.predict(users, items), before)
    if way == "pickle":
        again = pickle.loads(pickle.dumps(model))
    else:
        model.save(tmp_path / "model")
        again = type(model).load(tmp_path / "model")
        assert {name: getattr(again, name) for name in fitted} == fitted
    np.testing.assert_array_equal(again.predict(users, items), before)


class TestParameters:
    def test_are_keywords_stored_untouched_and_documented(self, make):
        model = make()
        signature = inspect.signature(type(model).__init__).parameters
        documented = parameter_entries(type(model).__doc__)
        assert documented.keys() == model.get_params().keys()
        for name, entry in documented.items():
            parameter = signature[name]
            if name != "models":  # what a blend is made of
                assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
                kind = entry.partition("\n")[0]
                default = None if kind.endswith(", optional") else kind.partition(", default ")[2]
                assert (default and eval(default)) == parameter.default
        unusual = {name: object() for name in model.get_params()}
        assert type(model)(**unusual).get_params() == unusual

    def test_can_be_set_and_cloned(self, make):
        model = make()
        assert model.set_params(num_threads=3) is model
        assert model.get_params()["num_threads"] == 3
        copied = clone(model)
        assert copied is not model
        assert parameters(copied) == parameters(model)
        with pytest.raises(ValueError, match=r"has no parameter 'colour'; it has .*num_threads"):
            model.set_params(colour=1)

    def test_that_differ_from_the_defaults_are_shown(self, make):
        model = make()
        assert parameters(eval(repr(model), vars(isthmus).copy())) == parameters(model)

    def test_that_are_arrays_are_shown(self):
        model = AutoRec(hidden_units=np.array([4, 2, 4]), epochs=3)
        assert repr(model) == "AutoRec(hidden_units=array([4, 2, 4]), epochs=3)"


class TestFit:
    def test_returns_the_model_with_finite_predictions(self, make, parts):
        model = make()
        assert model.fit(parts[0]) is model
        assert np.isfinite(predict_all(model)).all()
        assert predict_all(model).dtype == np.float32
        np.testing.assert_array_equal(model.user_ids_, parts[0].user_ids)
        np.testing.assert_array_equal(model.item_ids_, parts[0].item_ids)

    def test_is_needed_first(self, make, parts, tmp_path):
        model = make()
        for use in (
            lambda: model.predict(0, 0),
            lambda: model.evaluate(parts[1]),
            lambda: model.recommend(0),
            lambda: model.fold_in(parts[1]),
            lambda: model.save(tmp_path / "model"),
            lambda: model.user_ids_,
            lambda: model.item_ids_,
        ):
            with pytest.raises(NotFittedError, match=r"is not fitted yet; call fit first\.$"):
                use()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("num_threads", [2, 3, 5])
    def test_gives_the_same_bits_at_any_number_of_threads(self, make, parts, num_threads):
        one = make(num_threads=1).fit(parts[0])
        assert_same_bits(one, make(num_threads=num_threads).fit(parts[0]))

    def test_gives_the_same_bits_again_and_other_bits_for_another_seed(self, make, parts):
        model = make().fit(parts[0])
        assert_same_bits(model, make().fit(parts[0]))
        before = predict_all(model)
        model.fit(parts[0])
        np.testing.assert_array_equal(before, predict_all(model))
        if is_random(type(model)):
            assert not np.array_equal(before, predict_all(make(random_state=1).fit(parts[0])))

    @pytest.mark.parametrize("form", ["csr", "csc", "coo", "int64", "matrix"])
    def test_takes_any_sparse_matrix_and_leaves_it_as_it_is(self, make, parts, form):
        matrix = parts[0].to_matrix()
        if form == "int64":
            matrix.indices = matrix.indices.astype(np.int64)
            matrix.indptr = matrix.indptr.astype(np.int64)
        elif form == "matrix":
            matrix = sparse.csr_matrix(matrix)
        else:
            matrix = matrix.asformat(form)
        before = matrix.copy()
        assert_same_bits(make().fit(matrix), make().fit(parts[0]))
        np.testing.assert_array_equal(before.data, matrix.data)

    def test_changes_nothing_about_the_ids(self, make, parts):
        numbers, strings = make().fit(parts[0]), make().fit(named(parts[0]))
        np.testing.assert_array_equal(predict_all(numbers), predict_all(strings))
        assert strings.predict("u003", "film 007") == numbers.predict(3, 7)

    def test_sees_no_test_rating(self, make, parts):
        train, test = parts
        other = Ratings.from_matrix(test.to_matrix().multiply(-3))
        models = [make().fit(train) for _ in range(2)]
        measured = [
            model.evaluate(held_out) for model, held_out in zip(models, (test, other), strict=True)
        ]
        assert (measured[0] != measured[1]) == rates(models[0])  # rankings count cells alone
        assert_same_bits(*models)


# Matrices at the edge of what is one: each is fitted, predicted from and recommended from.
EDGES = {
    "one user": (1, 6, {(0, 1): 3, (0, 4): 5}),
    "one item": (6, 1, {(1, 0): 3, (4, 0): 5}),
    "one rating": (1, 1, {(0, 0): 2}),
    "all equal": (4, 4, {(u, i): 4 for u in range(4) for i in range(4) if u != i}),
    "all zero": (4, 4, {(u, i): 0 for u in range(4) for i in range(4) if u != i}),
    "empty rows and columns": (9, 9, {(2, 3): 1, (2, 7): 5, (6, 3): 2, (6, 1): 4}),
    "one user rated everything": (
        5,
        6,
        {**{(2, i): 1 + i % 5 for i in range(6)}, (0, 0): 3, (4, 5): 4},
    ),
    "negative and large": (3, 3, {(0, 0): -1000, (0, 1): 0, (1, 1): 1000, (2, 2): 1e-3}),
}


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
def test_edges(make, edge):
    n_users, n_items, cells = edge
    (users, items), values = np.transpose(list(cells)), list(cells.values())
    X = sparse.coo_array((np.array(values, np.float32), (users, items)), shape=(n_users, n_items))
    model = make(num_threads=2).fit(X)
    predictions = predict_all(model)
    assert predictions.shape == (n_users, n_items)
    assert np.isfinite(predictions).all()
    if rates(model):
        assert (predictions >= min(values)).all()
        assert (predictions <= max(values)).all()
    ids, scores = model.recommend(n=n_items)
    for user in range(n_users):
        expected = set(range(n_items)) - set(items[users == user])
        listed = ids[user][: len(expected)].tolist()
        assert set(listed) == expected
        assert (ids[user][len(expected) :] == -1).all()
        assert np.isfinite(scores[user][: len(expected)]).all()
        assert np.isnan(scores[user][len(expected) :]).all()
    assert np.isfinite(list(model.evaluate(X, exclude_seen=False).values())).all()


class TestPredict:
    def test_broadcasts_and_keeps_shapes(self, fitted):
        table = predict_all(fitted)
        assert fitted.predict(3, 5).shape == ()
        assert fitted.predict(3, 5) == table[3, 5]
        np.testing.assert_array_equal(fitted.predict([3, 4], 5), table[3:5, 5])
        np.testing.assert_array_equal(fitted.predict([[3], [4]], [5, 6]), table[3:5, 5:7])
        assert fitted.predict([], []).shape == (0,)

    def test_evaluates_over_all_ratings_alike_if_it_predicts_ratings(self, fitted, parts):
        if not rates(fitted):
            name = type(fitted).__name__
            for metrics in ("rmse", ["ndcg@10", "MAE"]):
                with pytest.raises(
                    ValueError, match=rf"^metrics must be of rankings for {name}, whose scores are"
                ):
                    fitted.evaluate(parts[1], metrics)
            with pytest.raises(ValueError, match=r"^metrics must be one of precision, recall"):
                fitted.evaluate(parts[1], "rmsle")
            return
        users, items, values, _ = parts[1].to_arrays()
        predictions = fitted.predict(users, items)
        assert fitted.evaluate(parts[1], ["rmse", "MAE"]) == {
            "rmse": rmse(values, predictions),
            "MAE": mae(values, predictions),
        }
        with pytest.raises(ValueError, match=r"^metrics must be one of rmse, mae, precision, "):
            fitted.evaluate(parts[1], "rmsle")

    def test_evaluates_ratings_whose_ids_come_in_another_order(self, fitted, parts):
        users, items, values, _ = parts[1].to_arrays()
        shuffled = Ratings.from_arrays(
            *(users, items, values),
            user_ids=parts[1].user_ids[::-1],
            item_ids=np.roll(parts[1].item_ids, 7),
        )
        assert fitted.evaluate(shuffled) == pytest.approx(fitted.evaluate(parts[1]), rel=1e-12)


def by_score(model):
    """The order of a model's scores."""
    return "rating" if rates(model) else "likely"


class TestRecommend:
    def test_lists_the_best_of_what_a_user_has_not_seen(self, fitted, parts):
        ids, scores = fitted.recommend(n=5, order=by_score(fitted))
        assert ids.shape == scores.shape == (50, 5)
        table, seen = predict_all(fitted), parts[0].to_matrix()
        for user in range(50):
            assert not set(ids[user]) & set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]])
            rest = np.setdiff1d(
                np.arange(40), [*ids[user], *seen.indices[slice(*seen.indptr[user : user + 2])]]
            )
            assert (np.diff(scores[user]) <= 0).all()
            assert scores[user].min() >= table[user, rest].max() - 1e-5
            np.testing.assert_allclose(scores[user], table[user, ids[user]], rtol=1e-5)

    def test_can_include_what_a_user_has_seen(self, fitted):
        ids, scores = fitted.recommend(n=40, exclude_seen=False)
        assert (np.sort(ids, axis=1) == np.arange(40)).all()
        assert np.isfinite(scores).all()

    def test_takes_users_in_any_order_and_repeated(self, fitted):
        ids, scores = fitted.recommend(n=6)
        chosen = [7, 2, 7]
        for got, whole in zip(fitted.recommend(chosen, n=6), (ids, scores), strict=True):
            np.testing.assert_array_equal(got, whole[chosen])
        assert fitted.recommend(7, n=6)[0].shape == (6,)
        np.testing.assert_array_equal(fitted.recommend(7, n=6)[0], ids[7])

    def test_chooses_among_candidates(self, fitted, parts):
        pool = [31, 4, 4, 18, 22]
        ids, scores = fitted.recommend(n=4, candidates=pool)
        seen = parts[0].to_matrix().toarray() != 0
        for user in range(50):
            allowed = [item for item in sorted(set(pool)) if not seen[user, item]]
            listed = ids[user][ids[user] >= 0]
            assert sorted(listed) == allowed
            assert np.isnan(scores[user][len(allowed) :]).all()

    def test_ends_short_lists_in_no_id_and_nan(self, make, parts):
        model = make().fit(named(parts[0]))
        ids, scores = model.recommend("u000", n=100)
        known = np.count_nonzero(np.isfinite(scores))
        assert known == 40 - parts[0].to_matrix()[[0]].nnz
        assert (ids[:known] != "").all()
        assert (ids[known:] == "").all()

    def test_takes_ratings_of_users_it_does_not_know(self, fitted, parts):
        new = parts[1].select(np.arange(parts[1].nnz) < 60)
        ids, scores = fitted.recommend(ratings=new, n=8)
        before = predict_all(fitted)
        assert len(ids) == new.n_users
        for user in range(new.n_users):
            rated = new.indices[new.indptr[user] : new.indptr[user + 1]]
            assert not set(ids[user]) & set(rated)
        np.testing.assert_array_equal(before, predict_all(fitted))
        for got, matrix in zip(
            fitted.recommend(ratings=new.to_matrix(), n=8), (ids, scores), strict=True
        ):
            np.testing.assert_array_equal(got, matrix)

    def test_gives_the_same_at_any_number_of_threads(self, fitted):
        one = fitted.set_params(num_threads=1).recommend(n=7)
        for num_threads in (2, 3, 5):
            many = fitted.set_params(num_threads=num_threads).recommend(n=7)
            for left, right in zip(one, many, strict=True):
                np.testing.assert_array_equal(left, right)


class TestFoldIn:
    def test_adds_users(self, fitted, parts):
        new = Ratings.from_arrays([70, 70, 90], [3, 5, 3], [1, 5, 4])
        # the other order would count the new users among those who have rated
        order = by_score(fitted)
        expected, scores = fitted.recommend(ratings=new, n=5, order=order)
        before = predict_all(fitted)
        assert fitted.fold_in(new) is fitted
        assert fitted.user_ids_.tolist() == [*range(50), 70, 90]
        np.testing.assert_array_equal(predict_all(fitted)[:50], before)
        ids, again = fitted.recommend([70, 90], n=5, order=order)
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_allclose(again, scores, rtol=1e-6)
        assert np.isfinite(fitted.predict(70, fitted.item_ids_)).all()

    def test_adds_items(self, fitted):
        new = Ratings.from_arrays([3, 5, 3], [70, 70, 90], [1, 5, 4])
        before = predict_all(fitted)
        if not rates(fitted):
            with pytest.raises(ValueError, match='axis must be "user" for'):
                fitted.fold_in(new, axis="item")
            return
        fitted.fold_in(new, axis="item")
        assert fitted.item_ids_.tolist() == [*range(40), 70, 90]
        np.testing.assert_array_equal(predict_all(fitted)[:, :40], before)
        assert np.isfinite(predict_all(fitted)).all()
        assert not {70, 90} & set(fitted.recommend(3, n=42)[0].tolist())
        assert 90 in fitted.recommend(5, n=42)[0]

    def test_numbers_what_a_matrix_adds(self, fitted, parts):
        fitted.fold_in(parts[1].to_matrix()[:2])
        assert fitted.user_ids_.tolist() == list(range(52))

    def test_is_half_as_large_in_a_file_of_bfloat16(self, fitted, tmp_path):
        fitted.save(tmp_path / "whole")
        fitted.save(tmp_path / "half", precision="bfloat16")
        again = type(fitted).load(tmp_path / "half")
        before, after = predict_all(fitted), predict_all(again)
        np.testing.assert_allclose(after, before, rtol=0, atol=0.02 * np.ptp(before) + 1e-6)
        again.save(tmp_path / "again", precision="bfloat16")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "half").read_bytes()
        mapped = type(fitted).load(tmp_path / "half", mmap=True)
        np.testing.assert_array_equal(predict_all(mapped), after)

    def test_survives_a_file(self, fitted, tmp_path):
        fitted.fold_in(Ratings.from_arrays([70], [3], [1]))
        if rates(fitted):
            fitted.fold_in(Ratings.from_arrays([70], [80], [5]), axis="item")
        fitted.save(tmp_path / "model")
        assert_same_bits(fitted, type(fitted).load(tmp_path / "model"))

    def test_needs_strings_where_ids_are_strings(self, make, parts):
        model = make().fit(named(parts[0]))
        with pytest.raises(ValueError, match="X must come with user ids, since the model's are"):
            model.fold_in(parts[1].to_matrix())
        with pytest.raises(ValueError, match="must be of the type of the model's"):
            model.fold_in(Ratings.from_arrays([1], ["film 000"], [5]))
        model.fold_in(Ratings.from_arrays(["new"], ["film 000"], [5]))
        assert model.user_ids_[-1] == "new"
        assert np.isfinite(model.predict("new", "film 001"))

    def test_leaves_the_default_rating_to_items_without_training_ratings(
        self, make, parts, tmp_path
    ):
        model = make()
        if "default_rating" not in model.get_params():
            pytest.skip("which has no default rating")
        some = parts[0].to_matrix()
        some = some.multiply(np.arange(40) != 7).tocsr()  # nobody has rated item 7
        some.eliminate_zeros()
        model = make(default_rating=2.25).fit(some)
        model.fold_in(Ratings.from_arrays([70, 70], [7, 3], [5, 4]))
        model.fold_in(Ratings.from_arrays([70], [80], [5]), axis="item")
        model.fold_in(sparse.csr_array((1, 41), dtype=np.float32))
        model.save(tmp_path / "model")
        for one in (model, type(model).load(tmp_path / "model"), copy.deepcopy(model)):
            assert (one.predict(one.user_ids_, 7) == 2.25).all()
            assert (one.predict(one.user_ids_[-1], one.item_ids_) == 2.25).all()
            assert not (one.predict(70, [3, 80]) == 2.25).any()


class TestIdsInAnyOrder:
    """The model's ids and those of new users' ratings come in orders of their own."""

    @pytest.fixture(params=["strings", "integers"])
    def kinds(self, request, parts):
        """Training ratings and others with ids in a strange order, and the plain training ones."""
        rng = np.random.default_rng(2)
        items = rng.permutation(40)
        names = items if request.param == "integers" else np.array([f"i{n}" for n in items])
        users = rng.permutation(50) + 300

        def shuffled(ratings, user_ids, item_order):
            users, items, values, _ = ratings.to_arrays()
            return Ratings.from_arrays(
                *(user_ids[users], names[items], values),
                user_ids=user_ids[rng.permutation(50)],
                item_ids=names[item_order],
            )

        train = Ratings.from_matrix(parts[0].to_matrix(), user_ids=users, item_ids=names)
        new = {
            order_name: shuffled(parts[1], users + 1000, order)
            for order_name, order in {
                "sorted": np.argsort(names),
                "shuffled": rng.permutation(40),
            }.items()
        }
        return train, new

    @pytest.mark.parametrize("order", ["sorted", "shuffled"])
    def test_new_users_are_served_as_by_a_matrix(self, make, parts, kinds, order):
        train, new = kinds[0], kinds[1][order]
        model = make().fit(train)
        places = np.argsort(model.item_ids_)[
            np.searchsorted(np.sort(model.item_ids_), new.item_ids)
        ]
        dense = np.zeros(new.shape, np.float32)
        dense[:, places] = new.to_matrix().toarray()
        matrix = sparse.csr_array(dense)
        before = new.values.copy(), new.indices.copy()
        for got, wanted in zip(
            model.recommend(ratings=new, n=5), model.recommend(ratings=matrix, n=5), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)
        one = copy.deepcopy(model).fold_in(new)
        other = copy.deepcopy(model).fold_in(matrix)
        np.testing.assert_array_equal(predict_all(one), predict_all(other))
        np.testing.assert_array_equal(one._seen.indices, other._seen.indices)
        for array, old in zip((new.values, new.indices), before, strict=True):
            np.testing.assert_array_equal(array, old)

    @pytest.mark.parametrize("order", ["sorted", "shuffled"])
    def test_new_items_are_served_as_by_a_matrix(self, make, kinds, order):
        train, new = kinds[0], kinds[1][order]
        model = make().fit(train)
        if not rates(model):
            pytest.skip("which adds no items")
        users, items, values, _ = new.to_arrays()
        named = items.dtype.kind == "U"
        added = Ratings.from_arrays(
            *(users - 1000, np.char.add("new ", items) if named else items + 500, values),
            user_ids=new.user_ids - 1000,
        )
        whole = copy.deepcopy(model).fold_in(added, axis="item")
        again = copy.deepcopy(model).fold_in(
            Ratings.from_arrays(*added.to_arrays()[:3], user_ids=train.user_ids), axis="item"
        )
        np.testing.assert_array_equal(predict_all(whole), predict_all(again))

    def test_new_users_are_evaluated_and_validated_on(self, make, kinds):
        train, new = kinds[0], kinds[1]["shuffled"]
        split = leave_one_out(new, random_state=0)
        test = Ratings.from_arrays(*split[1].to_arrays()[:3], user_ids=split[0].user_ids)
        model = make().fit(train)
        found = model.evaluate(test, "ndcg@10", ratings=split[0])
        assert 0 <= found["ndcg@10"] <= 1
        if "validation_metric" in model.get_params():
            held_out = HeldOutUsers(split[0], test)
            model = make(epochs=1).fit(train, validation=held_out)
            label = model.validation_metric
            assert model.history_[0].metrics[label] == pytest.approx(
                model.evaluate(test, label, ratings=split[0])[label]
            )


class TestCopies:
    def test_pickles(self, fitted):
        assert_same_bits(fitted, pickle.loads(pickle.dumps(fitted)))
        again = pickle.loads(pickle.dumps(fitted))
        assert vars(again).keys() == vars(fitted).keys()

    def test_pickles_before_it_is_fitted(self, make):
        assert parameters(pickle.loads(pickle.dumps(make()))) == parameters(make())

    def test_copies_are_apart(self, fitted, parts):
        copied = copy.deepcopy(fitted)
        before = predict_all(copied)
        fitted.fit(parts[1])
        np.testing.assert_array_equal(before, predict_all(copied))

    @pytest.mark.parametrize("strings", [False, True])
    def test_files_hold_all_of_it(self, make, parts, tmp_path, strings):
        model = make().fit(named(parts[0]) if strings else parts[0])
        model.save(tmp_path / "model.safetensors")
        again = Recommender.load(tmp_path / "model.safetensors")
        assert type(again) is type(model)
        assert parameters(again) == parameters(model)
        assert_same_bits(model, again)
        np.testing.assert_array_equal(again.user_ids_, model.user_ids_)
        np.testing.assert_array_equal(again.item_ids_, model.item_ids_)
        for left, right in zip(again.recommend(n=7), model.recommend(n=7), strict=True):
            np.testing.assert_array_equal(left, right)
        assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


class TestFitThatIsRefused:
    @pytest.mark.parametrize(
        ("arguments", "parameters", "error", "message"),
        [
            ({"validation": sparse.csr_array(np.ones((2, 2)))}, {}, ValueError, "^validation must"),
            ({"callbacks": None}, {}, TypeError, "^callbacks must be a list of functions"),
            ({"callbacks": print}, {}, TypeError, "^callbacks must be a list of functions"),
            ({"callbacks": [3]}, {}, TypeError, "^callbacks must be a list of functions"),
            ({}, {"patience": 2}, ValueError, "^patience needs validation data"),
            ({}, {"validation_fraction": 1e-9}, ValueError, "^validation_fraction must"),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_leaves_the_model_as_it_was(
        self, make_epochal, parts, method, arguments, parameters, error, message
    ):
        fitted = make_epochal().fit(parts[0])
        before = predict_all(fitted)
        fitted.set_params(**parameters)
        with pytest.raises(error, match=message):
            getattr(fitted, method)(parts[1], **arguments)
        np.testing.assert_array_equal(predict_all(fitted), before)
        assert len(fitted.history_) == fitted.epochs


class TestValidationFraction:
    def test_goes_on_in_partial_fit(self, make_epochal, parts):
        model = make_epochal(validation_fraction=0.2, patience=2).fit(parts[0])
        epochs = len(model.history_)
        model.partial_fit(parts[0])
        assert len(model.history_) == epochs + 1
        assert model.history_[-1].metrics.keys() == model.history_[0].metrics.keys() != set()

    def test_recommends_nothing_that_was_held_out(self, make_epochal, parts):
        model = make_epochal(validation_fraction=0.2).fit(parts[0])
        ids, _ = model.recommend(n=len(model.item_ids_))
        had = parts[0].to_matrix().toarray() > 0
        for user, listed in enumerate(ids):
            assert not np.isin(listed, model.item_ids_[had[user]]).any()


def test_a_model_that_fit_returns_is_finite(make_epochal, parts):
    # the last step's, which no loss shows
    model = make_epochal(epochs=1, learning_rate=3e38)
    if model.get_params().get("optimizer") in ("adam", "adagrad"):
        model.set_params(optimizer="sgd")
    try:
        model.fit(parts[0])
    except ConvergenceError:
        with pytest.raises(NotFittedError):
            model.recommend()
    else:
        assert all(np.isfinite(array).all() for array in model._tensors().values())


def test_fitted_arrays_cannot_be_written_to(fitted):
    for name in dir(type(fitted)):
        if name.endswith("_") and not name.startswith("_"):
            array = getattr(fitted, name)
            assert not isinstance(array, np.ndarray) or not array.flags.writeable, name


def test_files_whose_tensors_do_not_fit_are_refused(fitted, tmp_path):
    path = tmp_path / "model"
    fitted.save(path)
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, array in tensors.items():
        # a network may have fewer users than the model, which others were folded into
        if name.endswith(("history", "losses", "seed", "model.users")) or array.size == 0:
            continue
        broken = [array[:-1]]
        if array.dtype.kind == "f":
            broken.append(np.full_like(array, np.nan))
        for other in broken:
            save_file({**tensors, name: np.ascontiguousarray(other)}, path, metadata=about)
            with pytest.raises(ValueError, match="is damaged"):
                Recommender.load(path)


def test_scikit_learn_knows_what_is_fitted(make, parts):
    model = make()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(model)
    check_is_fitted(model.fit(parts[0]))


def test_users_without_ratings_are_served_alone_as_in_company(fitted):
    n_items = len(fitted.item_ids_)
    alone = sparse.csr_array((1, n_items), dtype=np.float32)
    company = sparse.csr_array(([4.0], ([0], [2])), shape=(2, n_items), dtype=np.float32)
    one, both = (fitted.recommend(ratings=X, n=5) for X in (alone, company))
    for left, right in zip(one, both, strict=True):
        np.testing.assert_array_equal(left[0], right[1])
    n_users = len(fitted.user_ids_)
    fitted.fold_in(alone)
    assert len(fitted.user_ids_) == n_users + 1
    assert np.isfinite(predict_all(fitted)).all()


def test_each_user_has_candidates_and_exclusions_of_its_own(fitted):
    candidates, exclude = [[31, 4, 18, 22, 4], list(range(40)), []], [[4], [0, 1, 2], [5]]
    ids, scores = fitted.recommend([7, 2, 7], n=6, candidates=candidates, exclude=exclude)
    for row, user in enumerate([7, 2, 7]):
        own = np.setdiff1d(candidates[row], exclude[row]).astype(int)
        one = fitted.recommend(user, n=6, candidates=own)
        np.testing.assert_array_equal(ids[row], one[0])
        np.testing.assert_allclose(scores[row], one[1], rtol=1e-5)


def test_vectors_rank_as_recommend_does(fitted, parts):
    orders = ("likely", "rating") if fitted._rates else ("likely",)
    for order in orders:
        if dot_vectors(fitted._ranked_by(fitted._vectors(), fitted._seen, order)) is None:
            for vectors in (fitted.user_vectors, fitted.item_vectors):
                with pytest.raises(
                    ValueError, match=r"^\w+ must rank by dot products to have vect"
                ):
                    vectors(order=order)
            continue
        users, items = fitted.user_vectors(order=order), fitted.item_vectors(order=order)
        assert users.dtype == items.dtype == np.float32
        products = users.astype(np.float64) @ items.T.astype(np.float64)
        ids, _ = fitted.recommend(n=40, exclude_seen=False, order=order)
        along = np.take_along_axis(products, ids, axis=1)
        assert (np.diff(along, axis=1) <= 1e-4 * np.abs(products).max()).all()
        new = fitted.user_vectors(ratings=parts[0], order=order)
        assert new.shape == users.shape
        ids, _ = fitted.recommend(ratings=parts[0], n=40, exclude_seen=False, order=order)
        along = np.take_along_axis(new.astype(np.float64) @ items.T, ids, axis=1)
        assert (np.diff(along, axis=1) <= 1e-4 * np.abs(products).max()).all()


def test_no_candidates_leave_empty_lists(fitted):
    ids, scores = fitted.recommend(fitted.user_ids_[:2], n=3, candidates=[])
    np.testing.assert_array_equal(ids, -np.ones((2, 3)))
    assert np.isnan(scores).all()


def test_errors_name_the_argument(fitted):
    dense = np.ones((len(fitted.user_ids_), len(fitted.item_ids_)), np.float32)
    with pytest.raises(TypeError, match=r"^ratings must be sparse"):
        fitted.recommend(ratings=dense[:1])
    with pytest.raises(TypeError, match=r"^test must be sparse"):
        fitted.evaluate(dense)
