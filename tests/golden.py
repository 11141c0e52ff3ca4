"""Fit every model to a small data set, and print a digest of all that each has learnt.

Whatever rearranges code may not change a bit of it. `tests/data/golden.json` holds the digests of
every instruction set with the compiler and libraries that they were recorded with:

    python tests/golden.py --record      # after a change that is meant to change weights
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from model_registry import SETTINGS
from safetensors.numpy import load_file
from scipy import sparse

import isthmus
from isthmus import (
    CVAE,
    AutoRec,
    Ratings,
    Recommender,
    build_info,
    synthetic_ratings,
)

PATH = Path(__file__).parent / "data" / "golden.json"
SMALL: dict[str, Any] = {"epochs": 3, "random_state": 1, "batch_size": 16, "num_threads": 2}
# AutoRec's defaults when the digests were recorded
OLDER: dict[str, Any] = {
    "regularization": 300.0,
    "learning_rate": 0.001,
    "learning_rate_schedule": "exponential",
    "rating_scale": "raw",
    "row_scaling": 0.0,
    "batch_size": 256,
    "encoder_activation": "sigmoid",
    "target_centering": "row",
}


def models() -> dict[str, Recommender]:
    """Make the models, one for each way through the core."""
    made: dict[str, Recommender] = {}

    def small(**others: Any) -> AutoRec:
        return AutoRec(**{**OLDER, **SMALL, "hidden_units": (20,), **others})

    for optimizer in ("sgd", "momentum", "adagrad", "adam"):
        made[f"AutoRec {optimizer}"] = small(optimizer=optimizer, learning_rate=0.01)
    made["AutoRec user"] = small(orientation="user")
    made["AutoRec centred"] = small(input_centering="row", target_centering="global")
    made["AutoRec sigmoid"] = small(
        orientation="user", decoder_activation="sigmoid", target_centering="none"
    )
    for orientation in ("item", "user"):
        made[f"AutoRec by its defaults, {orientation}"] = AutoRec(
            hidden_units=(20,), orientation=orientation, random_state=1, num_threads=2
        )
    made["AutoRec rprop"] = AutoRec.paper(hidden_units=(20,), epochs=3, random_state=1)
    for name, cases in SETTINGS.items():
        for number, settings in enumerate(cases):
            model = getattr(isthmus, name)(**settings)
            for part in [model, *getattr(model, "models", ())]:
                if isinstance(part, AutoRec):
                    part.set_params(**{k: v for k, v in OLDER.items() if _is_default(part, k)})
            model.set_params(
                **{key: 1 for key in ("random_state", "num_threads") if key in model.get_params()}
            )
            made[f"{name} {number}"] = model
    return made


def _is_default(model: Recommender, name: str) -> bool:
    return bool(getattr(model, name) == getattr(type(model)(), name))


def digest(model: Recommender, ratings: Ratings, folder: Path) -> str:
    """Return a digest of a fitted model's tensors, predictions, lists and a new user's scores."""
    sums = hashlib.blake2b(digest_size=12)
    model.save(folder / "model")
    for name, tensor in sorted(load_file(folder / "model").items()):
        if "history" not in name:  # seconds
            sums.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
    sums.update(model.predict(ratings.user_ids[:, np.newaxis], ratings.item_ids).tobytes())
    newcomer = sparse.csr_array(([5.0, 1, 3], ([0, 0, 0], [2, 5, 30])), shape=(1, ratings.n_items))
    # what models of ratings rank by beside them has a test of its own
    order = "rating" if model._rates else "likely"
    lists = model.recommend(n=5, order=order), model.recommend(ratings=newcomer, n=5, order=order)
    for result in (*lists[0], *lists[1]):
        sums.update(np.ascontiguousarray(result).tobytes())
    model.fold_in(newcomer)
    sums.update(model.predict(model.user_ids_[-1:], ratings.item_ids).tobytes())
    return sums.hexdigest()


def digests() -> dict[str, str]:
    """Return the digest of every model, in the instruction set that is in use."""
    ratings = synthetic_ratings(90, 61, 1_400, random_state=0)
    words = sparse.random(61, 40, 0.1, random_state=np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: digest(
                model.fit(ratings, **({"content": words} if isinstance(model, CVAE) else {})),
                ratings,
                Path(folder),
            )
            for name, model in models().items()
        }


def digests_of(isa: str) -> dict[str, str]:
    """Return the digests in one instruction set, by another process."""
    output = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "ISTHMUS_ISA": isa},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[str, str] = json.loads(output)
    return found


def tools() -> dict[str, str]:
    """Return the versions of all that rounding may depend on, beside isthmus."""
    info = build_info()
    return {
        "compiler": info["compiler"],
        "eigen": info["eigen"],
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def main() -> None:
    """Print or record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    if not parser.parse_args().record:
        print(json.dumps(digests()))
        return
    recorded = {isa: digests_of(isa) for isa in isthmus.build_info()["available_isas"]}
    PATH.write_text(json.dumps({"tools": tools(), **recorded}, indent=1) + "\n")


if __name__ == "__main__":
    main()
