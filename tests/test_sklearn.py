"""Cross-validation and searches by scikit-learn, over ratings."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

from isthmus import EASE, AutoRec, RatingKFold, kfold, synthetic_ratings

RATINGS = synthetic_ratings(50, 30, 600, random_state=3)


def test_the_splits_are_those_of_kfold():
    parts = list(RatingKFold(3, random_state=1).split(RATINGS))
    assert RatingKFold(3).get_n_splits() == len(parts) == 3
    for (train, test), expected in zip(parts, kfold(RATINGS, 3, random_state=1), strict=True):
        for at, part in zip((train, test), expected, strict=True):
            got = RATINGS[at]
            assert got.shape == RATINGS.shape
            np.testing.assert_array_equal(got.indptr, part.indptr)
            np.testing.assert_array_equal(got.values, part.values)


@pytest.mark.parametrize(
    ("model", "metric", "sign"),
    [
        (AutoRec(hidden_units=(4,), epochs=3, random_state=0), "rmse", -1),
        (EASE(regularization=20.0), "ndcg@10", 1),
    ],
)
def test_scores_are_those_of_evaluate(model, metric, sign):
    expected = [
        sign * model.fit(train).evaluate(test, metric)[metric]
        for train, test in kfold(RATINGS, 4, random_state=2)
    ]
    scores = cross_val_score(model, RATINGS, cv=RatingKFold(4, random_state=2))
    np.testing.assert_array_equal(scores, expected)
    found = cross_validate(model, RATINGS, cv=RatingKFold(4, random_state=2))
    np.testing.assert_array_equal(found["test_score"], expected)


def test_a_search_refits_the_best():
    grid = {"regularization": [0.1, 20.0]}
    search = GridSearchCV(EASE(), grid, cv=RatingKFold(3, random_state=0)).fit(RATINGS)
    means = [
        np.mean(cross_val_score(EASE(regularization=x), RATINGS, cv=RatingKFold(3, random_state=0)))
        for x in grid["regularization"]
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], means)
    best = grid["regularization"][int(np.argmax(means))]
    assert search.best_params_ == {"regularization": best}
    expected = EASE(regularization=best).fit(RATINGS).recommend(n=5)
    np.testing.assert_array_equal(search.best_estimator_.recommend(n=5)[0], expected[0])


def test_a_matrix_is_refused_since_its_rows_would_be_taken():
    with pytest.raises(TypeError, match=r"X must be Ratings, of which RatingKFold takes some rat"):
        next(RatingKFold(2).split(RATINGS.to_matrix()))
    with pytest.raises(ValueError, match=r"n_splits must be an integer from 2 to 600"):
        next(RatingKFold(1).split(RATINGS))


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([600], ValueError, r"index must lie between 0 and 599, but it goes from 600 to 600"),
        ([-1, 3], ValueError, r"index must lie between 0 and 599"),
        ([0.5], TypeError, r"index must hold positions of ratings, or a mask"),
        (3, TypeError, r"index must hold positions of ratings, or a mask"),
        ([True], ValueError, r"mask must have shape \(600,\)"),
    ],
)
def test_bad_positions_are_refused(index, error, message):
    with pytest.raises(error, match=message):
        RATINGS[index]
