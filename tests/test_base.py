import numpy as np
import pytest
from scipy import sparse

from isthmus import Ratings, Recommender
from isthmus.data._alignment import cells_among, check_apart
from isthmus.data._csr import CSR
from isthmus.data._ids import IdIndex
from isthmus.evaluation.scores import Vectors


class Plain(Recommender):
    """A model whose users and items have given vectors."""

    def __init__(self, *, shift: float = 0.0, num_threads: int = 1) -> None:
        self.shift = shift
        self.num_threads = num_threads

    def fit(self, X, *, validation=None):
        generator = np.random.default_rng(0)
        ratings = X if isinstance(X, Ratings) else Ratings.from_matrix(X)
        self.users = generator.normal(size=(ratings.n_users, 5)).astype(np.float32)
        self.items = generator.normal(size=(ratings.n_items, 5)).astype(np.float32)
        self._remember(ratings)
        self._fitted = True
        return self

    def _vectors(self):
        bias = np.full(len(self.users), self.shift, np.float32)
        return Vectors(self.users, self.items, user_bias=bias)

    def _fold_users(self, ratings: CSR):
        folded = np.zeros((ratings.shape[0], 5), np.float32)
        for row in range(ratings.shape[0]):
            rated = ratings.indices[ratings.indptr[row] : ratings.indptr[row + 1]]
            folded[row] = self.items[rated].sum(axis=0)
        return Vectors(folded, self.items)


# not one of isthmus's: the registry test would ask for it
del Recommender._models["Plain"]


@pytest.fixture
def ratings():
    matrix = sparse.random_array((20, 30), density=0.2, rng=np.random.default_rng(0))
    return Ratings.from_matrix(
        matrix, user_ids=range(100, 120), item_ids=[f"i{item}" for item in range(30)]
    )


@pytest.fixture
def model(ratings):
    return Plain().fit(ratings)


class TestVectors:
    VECTORS = Vectors(
        *(np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32) for n in (3, 6)),
        user_bias=np.array([1, 2, 3], np.float32),
        item_bias=np.array([0, 1, 0, 1, 0, 1], np.float32),
        user_offset=np.array([10, 20, 30], np.float32),
        item_offset=np.array([0, 0, 0, 5, 5, 5], np.float32),
        activation="tanh",
        scale=2.0,
    )

    def score(self):
        v = self.VECTORS
        z = v.users @ v.items.T + v.user_bias[:, np.newaxis] + v.item_bias
        return np.tanh(z) / 2 + v.user_offset[:, np.newaxis] + v.item_offset

    def scored(self, vectors, n_users, n_items):
        users, items = np.indices((n_users, n_items), dtype=np.int32).reshape(2, -1)
        return vectors.scorer().score_pairs(users, items, num_threads=2).reshape(n_users, n_items)

    def test_score_as_they_say(self):
        np.testing.assert_allclose(self.scored(self.VECTORS, 3, 6), self.score(), rtol=1e-5)

    def test_take_some_users_and_items(self):
        taken = self.VECTORS.take(users=np.array([2, 0]), items=np.array([5, 1, 1]))
        np.testing.assert_allclose(
            self.scored(taken, 2, 3), self.score()[[2, 0]][:, [5, 1, 1]], rtol=1e-5
        )
        assert self.VECTORS.take().users is self.VECTORS.users


class TestRecommend:
    def test_breaks_ties_in_the_order_of_the_items(self, ratings):
        model = Plain().fit(ratings)
        model.items[:] = 0
        ids, scores = model.recommend(100, n=30, exclude_seen=False)
        assert ids.tolist() == [f"i{item}" for item in range(30)]
        assert (scores == 0).all()
        ids, _ = model.recommend(100, n=2, exclude_seen=False, candidates=["i9", "i3", "i5"])
        assert ids.tolist() == ["i3", "i5"]

    def test_matches_a_full_sort(self, model, ratings):
        scores = model.users @ model.items.T
        scores[ratings.to_matrix().toarray() != 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        ids, _ = model.recommend(n=12)
        np.testing.assert_array_equal(ids, model.item_ids_[order[:, :12]])

    def test_aligns_ratings_by_id_whatever_their_order(self, model, ratings):
        new = Ratings.from_arrays([1, 1, 2], ["i7", "i3", "i7"], [5, 4, 3])
        rows = np.zeros((2, 30), np.float32)
        rows[[0, 0, 1], [7, 3, 7]] = 1
        expected = np.argsort(-(rows @ model.items) @ model.items.T, axis=1, kind="stable")
        ids, _ = model.recommend(ratings=new, n=3, exclude_seen=False)
        np.testing.assert_array_equal(ids, model.item_ids_[expected[:, :3]])

    def test_ignores_items_without_ratings_that_it_does_not_know(self, model):
        new = Ratings.from_arrays([1], ["i7"], [5], item_ids=["new", "i7"])
        assert model.recommend(ratings=new, n=3)[0].shape == (1, 3)
        with pytest.raises(ValueError, match=r"items of ratings must be among the 30 item ids"):
            model.recommend(ratings=Ratings.from_arrays([1], ["new"], [5]))

    def test_no_users_get_no_lists(self, model):
        assert model.recommend([], n=3)[0].shape == (0, 3)


class TestCells:
    USERS, ITEMS = IdIndex(np.array([5, 7, 9]), "user"), IdIndex(np.array(["a", "b"]), "item")

    def test_of_ratings_are_found_by_id(self):
        X = Ratings.from_arrays([9, 5], ["b", "a"], [1, 2])
        users, items, values = cells_among(self.USERS, self.ITEMS, X, "X")
        assert sorted(zip(users, items, values, strict=True)) == [(0, 0, 2), (2, 1, 1)]

    def test_of_a_matrix_are_found_by_position(self):
        X = sparse.coo_array(([4.0], ([2], [0])), shape=(3, 2))
        assert [array.tolist() for array in cells_among(self.USERS, self.ITEMS, X, "X")] == [
            [2],
            [0],
            [4],
        ]

    def test_may_have_unknown_users_as_long_as_they_have_no_ratings(self):
        X = Ratings.from_arrays([9], ["b"], [1], user_ids=[3, 9])
        assert cells_among(self.USERS, self.ITEMS, X, "X")[0].tolist() == [2]


def test_parts_of_a_model_that_are_missing_say_so(ratings):
    class Unfinished(Recommender):
        pass

    del Recommender._models["Unfinished"]
    model = Unfinished()
    for call in (
        lambda: model.fit(ratings),
        model._vectors,
        model._tensors,
        model._check_parameters,
        lambda: model._restore({}),
        lambda: model._fold_users(None),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_what_is_to_be_found_must_not_be_among_what_is_known():
    def pattern(*items):
        cells = np.array(items, np.int32)
        return CSR(np.array([0, len(cells)]), cells, np.empty(0, np.float32), (1, 9))

    check_apart(pattern(1, 5), pattern(0, 7), "validation", "in training")
    with pytest.raises(
        ValueError,
        match=r"^validation must hold nothing that is in training, but 2 of its 3 cells are\.$",
    ):
        check_apart(pattern(1, 5, 6), pattern(1, 2, 6), "validation", "in training")
