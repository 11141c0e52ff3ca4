"""Neither the unit of ratings nor their zero matters: models of ratings are the same in any."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import (
    RBM,
    AutoRec,
    BiasedMF,
    Blend,
    DualAutoRec,
    Ratings,
    synthetic_ratings,
    train_test_split,
)
from isthmus.data.splits import mask_split

SAME: dict[str, Any] = {"random_state": 0, "num_threads": 1}
MODELS: dict[str, Callable[..., Any]] = {
    "I-AutoRec": lambda **more: AutoRec(**SAME, **more),
    "U-AutoRec": lambda **more: AutoRec(orientation="user", **SAME, **more),
    "DualAutoRec": lambda **more: DualAutoRec(**SAME, **more),
    "BiasedMF": lambda **more: BiasedMF(**SAME, **more),
    "BiasedMF.als": lambda **more: BiasedMF.als(**SAME, **more),
    "I-RBM": lambda **more: RBM(**SAME, **more),
    "U-RBM": lambda **more: RBM(orientation="user", **SAME, **more),
}
QUICK: dict[str, dict[str, Any]] = {
    "I-AutoRec": {"hidden_units": (20,)},
    "U-AutoRec": {"hidden_units": (20,)},
    "DualAutoRec": {"hidden_units": (20,)},
    "BiasedMF": {"factors": 5, "epochs": 10},
    "BiasedMF.als": {"factors": 5},
    "I-RBM": {"hidden_units": 6, "epochs": 5},
    "U-RBM": {"hidden_units": 6, "epochs": 5},
}
SCALES = {
    "x 20 + 3": (20.0, 3.0),
    "x .01": (0.01, 0.0),
    "- 3": (1.0, -3.0),
    "+ 1,000": (1.0, 1000.0),
    "x 1e-6": (1e-6, 0.0),
    "x 1e9": (1e9, 0.0),
    "0 to 1": (0.25, -0.25),
    "-10 to 10": (5.0, -15.0),
    "1 to 100": (24.75, -23.75),
}


def rescaled(ratings: Ratings, factor: float, offset: float) -> Ratings:
    """The same ratings in another unit, with another zero."""
    users = np.repeat(ratings.user_ids, np.diff(ratings.indptr))
    values = ratings.values.astype(np.float64) * factor + offset
    return Ratings.from_arrays(
        *(users, ratings.item_ids[ratings.indices], values.astype(np.float32)),
        user_ids=ratings.user_ids,
        item_ids=ratings.item_ids,
    )


def quick(name: str) -> Any:
    """A small model, or a blend of two."""
    if name == "Blend":
        members = [quick("BiasedMF"), quick("I-RBM")]
        return Blend(members, **SAME)
    return MODELS[name](**QUICK[name])


@pytest.fixture(scope="module")
def parts():
    return train_test_split(synthetic_ratings(120, 80, 4_000, random_state=0), random_state=0)


@pytest.fixture(scope="module")
def plain(parts):
    """Every model, fitted to ratings of 1 to 5."""
    return {name: quick(name).fit(parts[0]) for name in [*MODELS, "Blend"]}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [*MODELS, "Blend"])
class TestScales:
    def test_do_not_change_predictions(self, name, scale, parts, plain):
        factor, offset = SCALES[scale]
        model = quick(name).fit(rescaled(parts[0], factor, offset))
        users, items = model.user_ids_[:, np.newaxis], model.item_ids_
        got = (model.predict(users, items).astype(np.float64) - offset) / factor
        # float32 has seven digits, of which the offset takes some
        np.testing.assert_allclose(got, plain[name].predict(users, items), atol=1e-3)
        error = model.evaluate(rescaled(parts[1], factor, offset))["rmse"] / factor
        assert error == pytest.approx(plain[name].evaluate(parts[1])["rmse"], abs=1e-4)

    def test_do_not_change_lists(self, name, scale, parts, plain):
        factor, offset = SCALES[scale]
        if offset > 100:  # predictions in float32 are then equal that are not otherwise
            return
        model = quick(name).fit(rescaled(parts[0], factor, offset))
        newcomer = parts[0].to_matrix().tocsr()[:3]
        moved = newcomer.copy()
        moved.data = (moved.data * factor + offset).astype(np.float32)
        for options in ({}, {"order": "rating"}):
            for one, other in (
                (model.recommend(n=5, **options), plain[name].recommend(n=5, **options)),
                (
                    model.recommend(ratings=moved, n=5, **options),
                    plain[name].recommend(ratings=newcomer, n=5, **options),
                ),
            ):
                assert (one[0] == other[0]).mean() > 0.99  # but for rounding
        measured = model.evaluate(parts[1], "ndcg@10")["ndcg@10"]
        assert measured == pytest.approx(
            plain[name].evaluate(parts[1], "ndcg@10")["ndcg@10"], abs=0.002
        )

    def test_do_not_change_new_items(self, name, scale, parts, plain):
        factor, offset = SCALES[scale]
        new = Ratings.from_arrays([0, 1, 2, 5], [900, 900, 900, 901], [5, 4, 5, 1])
        model = quick(name).fit(rescaled(parts[0], factor, offset))
        model.fold_in(rescaled(new, factor, offset), axis="item")
        expected = copy.deepcopy(plain[name]).fold_in(new, axis="item")
        users, items = model.user_ids_[:, np.newaxis], [900, 901]
        got = (model.predict(users, items).astype(np.float64) - offset) / factor
        np.testing.assert_allclose(got, expected.predict(users, items), atol=2e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", [*MODELS, "Blend"])
def test_defaults_are_as_good_on_any_scale_of_ml_100k(name, data_dir):
    with np.load(data_dir / "ml-100k" / "ratings.npz") as file:
        users, items, values, test = (file[key] for key in ("user", "item", "rating", "u1_test"))
    errors = []
    for factor, offset in ((1, 0), (20, 3), (0.01, 0), (1, -3)):
        ratings = Ratings.from_arrays(
            users, items, values * np.float32(factor) + np.float32(offset)
        )
        train, held_out = mask_split(ratings, test, users=users, items=items)
        if name == "Blend":
            model = Blend([BiasedMF(**SAME), BiasedMF.als(**SAME)], **SAME)
        else:
            model = MODELS[name]()
        errors.append(model.fit(train).evaluate(held_out)["rmse"] / factor)
    assert errors[1:] == pytest.approx(errors[:1] * 3, abs=0.001)
    assert errors[0] < 0.975
