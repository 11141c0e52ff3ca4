"""Users who are forgotten."""

import copy
import pickle

import numpy as np
import pytest
from test_models import CASES, maker, predict_all
from test_persistence import DATA

from isthmus import (
    CDAE,
    EASE,
    AutoRec,
    NotFittedError,
    Ratings,
    Recommender,
    synthetic_ratings,
)
from isthmus.models import ease
from isthmus.models._epochs import EpochModel

GONE = [3, 17, 49]


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(50, 40, 700, random_state=1)


@pytest.fixture(params=CASES)
def fitted(request, ratings):
    return maker(*request.param)().fit(ratings)


def without(ratings, users):
    """The ratings of the others, who keep their ids, of all items."""
    own, items, values, _ = ratings.to_arrays()
    kept = ~np.isin(own, users)
    return Ratings.from_arrays(
        *(own[kept], items[kept], values[kept]),
        user_ids=np.setdiff1d(ratings.user_ids, users),
        item_ids=ratings.item_ids,
    )


def test_nothing_of_them_alone_is_left(fitted, ratings):
    everyone = {name: array.shape for name, array in fitted._tensors().items()}
    fitted.recommend(n=2)  # which computes odds of all users
    assert fitted.forget(users=GONE) is fitted
    assert fitted.user_ids_.tolist() == np.setdiff1d(ratings.user_ids, GONE).tolist()
    assert fitted._seen.shape == (47, 40)
    np.testing.assert_array_equal(fitted._seen.indices, without(ratings, GONE).indices)
    assert fitted._known_odds is None
    left = {name: array.shape for name, array in fitted._tensors().items()}
    for name, shape in everyone.items():
        # items are 40, no layer has 50 units, and an RBM has rows for the 5 levels of each user
        fewer = {50: 47, 250: 235}
        assert left[name] == tuple(fewer.get(size, size) for size in shape), name
    with pytest.raises(ValueError, match=r"^users must be among the 47 user ids"):
        fitted.predict(3, 1)


def test_others_keep_their_scores(fitted, ratings):
    before = predict_all(fitted)
    fitted.forget(GONE)
    if isinstance(fitted, EASE):
        fresh = EASE(regularization=5.0).fit(without(ratings, GONE))
        np.testing.assert_allclose(predict_all(fitted), predict_all(fresh), atol=1e-5)
    else:
        np.testing.assert_array_equal(predict_all(fitted), np.delete(before, GONE, axis=0))
    assert fitted.receipt_.steps == ("fit", "forget")


def test_the_model_goes_on(fitted, ratings, tmp_path):
    fitted.forget(GONE)
    fitted.save(tmp_path / "model.st")
    loaded = Recommender.load(tmp_path / "model.st")
    for again in (loaded, pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(predict_all(again), predict_all(fitted))
    loaded.fold_in(Ratings.from_arrays([3, 3], [1, 5], [2.0, 4.0]))
    assert loaded.user_ids_[-1] == 3
    items, _ = loaded.recommend([3, 5], n=3)
    assert items.shape == (2, 3)
    loaded.forget(3)
    np.testing.assert_array_equal(predict_all(loaded), predict_all(fitted))
    if isinstance(fitted, EpochModel):
        loaded.partial_fit(without(ratings, GONE))
        assert np.isfinite(predict_all(loaded)).all()


def test_nobody_and_everybody(fitted):
    before = predict_all(fitted)
    fitted.forget([])
    np.testing.assert_array_equal(predict_all(fitted), before)
    assert fitted.receipt_.steps == ("fit",)
    with pytest.raises(ValueError, match=r"^users must leave at least one user"):
        fitted.forget(fitted.user_ids_)
    with pytest.raises(ValueError, match=r"^users must be among the 50 user ids .* 99 is not"):
        fitted.forget([4, 99])
    np.testing.assert_array_equal(predict_all(fitted), before)


class TestEASE:
    @pytest.mark.parametrize("regularization", [0.5, 5.0, 300.0])
    @pytest.mark.parametrize("n", [1, 4, 30])
    def test_weights_are_those_of_a_new_fit(self, ratings, regularization, n, monkeypatch):
        monkeypatch.setattr(ease, "FEW", 1.0)  # no number is too large for a downdate
        gone = np.random.default_rng(0).choice(50, n, replace=False)
        model = EASE(regularization=regularization).fit(ratings)
        before, earlier = model.item_weights_.copy(), model.item_weights_
        model.forget(gone)
        fresh = EASE(regularization=regularization).fit(without(ratings, gone))
        np.testing.assert_allclose(model.item_weights_, fresh.item_weights_, atol=1e-5)
        assert np.abs(model.item_weights_ - before).max() > 1e-4
        assert (np.diag(model.item_weights_) == 0).all()
        np.testing.assert_array_equal(earlier, before)  # which a caller may still hold

    def test_one_after_the_other(self, ratings):
        model = EASE(regularization=5.0).fit(ratings)
        for user in range(40):
            model.forget(user)
        fresh = EASE(regularization=5.0).fit(without(ratings, range(40)))
        np.testing.assert_allclose(model.item_weights_, fresh.item_weights_, atol=1e-5)

    def test_many_are_left_out_by_new_weights(self, ratings):
        model = EASE(regularization=5.0).fit(ratings).forget(np.arange(20))
        fresh = EASE(regularization=5.0).fit(without(ratings, range(20)))
        np.testing.assert_array_equal(model.item_weights_, fresh.item_weights_)

    def test_who_was_folded_in_has_no_part_in_the_weights(self, ratings, tmp_path):
        model = EASE(regularization=5.0).fit(ratings)
        before = model.item_weights_.copy()
        model.fold_in(Ratings.from_arrays([90, 90, 91], [1, 5, 2], [1, 1, 1]))
        model.save(tmp_path / "model.st")
        model = EASE.load(tmp_path / "model.st").forget([90])
        np.testing.assert_array_equal(model.item_weights_, before)
        model.forget(3)
        fresh = EASE(regularization=5.0).fit(without(ratings, [3]))
        np.testing.assert_allclose(model.item_weights_, fresh.item_weights_, atol=1e-5)
        with pytest.raises(ValueError, match=r"^users must leave at least one user of training"):
            model.forget(model.user_ids_[:-1])

    def test_a_file_of_an_older_version_does_not_say_enough(self):
        model = Recommender.load(DATA / "format_4" / "EASE.safetensors")
        with pytest.raises(ValueError, match="fit it again without them"):
            model.forget(model.user_ids_[0])


def test_all_who_were_in_training_of_cdae(ratings):
    model = CDAE(hidden_units=3, epochs=1, random_state=0).fit(ratings)
    model.fold_in(Ratings.from_arrays([90], [1], [1.0]))
    with pytest.raises(ValueError, match=r"^users must leave at least one user of training"):
        model.forget(model.user_ids_[:-1])


def test_before_fit():
    with pytest.raises(NotFittedError):
        AutoRec().forget(1)
