"""scikit-learn's checks of estimators, as far as they apply, and why the others do not."""

import pytest
import sklearn
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from isthmus import EASE, BiasedMF, MultVAE, synthetic_ratings

NO_ROWS = "a user is no sample: users and items are found by their ids, of which there may be more"
SENTENCE = "is refused, in a sentence of isthmus's own"
DIA = f"SciPy's format dia, which stores cells that are none, {SENTENCE}"
EXCLUDED = {
    "check_n_features_in": NO_ROWS,
    "check_n_features_in_after_fitting": NO_ROWS,
    "check_complex_data": SENTENCE,
    "check_dtype_object": f"an array of objects {SENTENCE}",
    "check_estimators_empty_data_messages": SENTENCE,
    "check_estimators_nan_inf": SENTENCE,
    "check_estimator_sparse_array": DIA,
    "check_estimator_sparse_matrix": DIA,
}
OF_EPOCHS = {"check_fit_score_takes_y": "partial_fit takes ratings alone"}


class OnRows:
    """Takes a dense array, as the checks give it, for one in which every cell is a rating.

    The models refuse it. And `predict` is of users and items, where the checks give it rows.
    """

    def fit(self, X, y=None):
        return super().fit(X if sparse.issparse(X) else sparse.csr_array(X))

    @property
    def predict(self):
        raise AttributeError("predict")

    @property
    def score(self):
        raise AttributeError("score")


class Factors(OnRows, BiasedMF, abstract=True):
    __init__ = BiasedMF.__init__


class Linear(OnRows, EASE, abstract=True):
    __init__ = EASE.__init__


class Variational(OnRows, MultVAE, abstract=True):
    __init__ = MultVAE.__init__


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 6), reason="needs scikit-learn 1.6"
)
@pytest.mark.filterwarnings("ignore")  # of scikit-learn, on checks that are left out
@pytest.mark.parametrize(
    ("model", "excluded"),
    [
        (Factors(factors=3, epochs=2, random_state=0, num_threads=1), EXCLUDED | OF_EPOCHS),
        (Linear(regularization=5.0, num_threads=1), EXCLUDED),
        (
            Variational(hidden_units=(4,), latent_units=2, epochs=2, random_state=0, num_threads=1),
            EXCLUDED | OF_EPOCHS,
        ),
    ],
)
def test_checks(model, excluded):
    results = check_estimator(model, expected_failed_checks=excluded, on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] == "failed"}
    assert failed == {}
    assert sum(one["status"] == "passed" for one in results) >= 25
    # each of those that are left out has its reason still
    assert {one["check_name"] for one in results if one["status"] == "xfail"} == set(excluded)


def test_pipelines_take_ratings():
    ratings = synthetic_ratings(50, 40, 900, random_state=0)
    liked = make_pipeline(FunctionTransformer(lambda it: it.binarize(3)), EASE(regularization=5.0))
    assert liked.fit(ratings)[-1]._seen.shape[1] == 40
    plain = EASE(regularization=5.0).fit(ratings.binarize(3))
    assert (liked[-1].item_weights_ == plain.item_weights_).all()
