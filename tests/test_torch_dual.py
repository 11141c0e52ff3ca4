"""DualAutoRec is trained as by PyTorch, as tests/data/record_torch_dual.py has recorded it."""

import json
from pathlib import Path

import numpy as np
from core_fixtures import assert_close

from isthmus import DualAutoRec, Ratings

RECORDING = json.loads((Path(__file__).parent / "data" / "torch_dual.json").read_text())


def test_two_epochs_are_those_of_pytorch():
    predicted = np.array(RECORDING["predictions"])
    everyone, everything = map(np.arange, predicted.shape)
    ratings = Ratings.from_arrays(
        *(RECORDING[name] for name in ("users", "items", "ratings")),
        user_ids=everyone,
        item_ids=everything,
    )
    model = DualAutoRec(**RECORDING["parameters"], clip=False, precision="float32").fit(ratings)
    assert_close(model.item_codes_, RECORDING["item_codes"], 1e-4, "item codes")
    rated = np.unique(RECORDING["users"])  # the others' codes are never asked for
    user_codes = np.array(RECORDING["user_codes"])
    assert_close(model.user_codes_[rated], user_codes[rated], 1e-4, "user codes")
    made = model.predict(rated[:, np.newaxis], everything)
    assert_close(made, predicted[rated], 1e-4, "predictions")
