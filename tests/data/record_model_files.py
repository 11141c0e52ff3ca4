"""Record a model file of every class, with what it predicts: `tests/data/format_<version>`.

The files of a format are made once, by the last version before its release, and never again: they
show that later versions still read what the version that wrote them left behind. Raise the format
and run this script from the root of the repository to make those of the new one:

    python tests/data/record_model_files.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus import (
    CDAE,
    CVAE,
    EASE,
    RBM,
    AutoRec,
    BiasedMF,
    Blend,
    Content,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.models._files import FORMAT_VERSION

FOLDER = Path(__file__).parent / f"format_{FORMAT_VERSION}"
WORDS = ("ash", "birch", "cedar", "été", "fir", "木")
QUICK = {"epochs": 3, "random_state": 1, "num_threads": 1}
SMALL = {**QUICK, "batch_size": 8}


def ratings(*, users: str | None = None, items: str | None = None) -> Ratings:
    """Make ratings whose ids are integers, or strings of the formats given."""
    made = synthetic_ratings(24, 18, 200, random_state=7)
    user_ids = [users.format(n) if users else n for n in range(100, 124)]
    item_ids = [items.format(n) if items else 7 * n for n in range(18)]
    return Ratings.from_matrix(made.to_matrix(), user_ids=user_ids, item_ids=item_ids)


def newcomer(known: Ratings, user: int | str) -> Ratings:
    """Make a new user's ratings of a few known items."""
    items = known.item_ids[:5].tolist()
    return Ratings.from_arrays([user] * 5, items, [5.0, 4.0, 1.0, 2.0, 3.0])


def content(known: Ratings) -> Content:
    """Return each item but the last a few words."""
    rng = np.random.default_rng(3)
    items = known.item_ids[:-1].tolist()
    tokens = [rng.choice(WORDS, 3).tolist() for _ in items]
    return Content.from_frame(pa.table({"item": items, "tokens": tokens}))


def models() -> dict[str, Recommender]:
    """Fit what is recorded."""
    numbers, names = ratings(), ratings(users="user {}", items="füm {:02}")
    mixed = ratings(items="电影 {}")
    train, held_out = train_test_split(numbers, test_size=0.2, random_state=0)
    item = AutoRec(hidden_units=(4,), **SMALL)
    sigmoid = AutoRec(
        hidden_units=(3,), decoder_activation="sigmoid", target_centering="none", **SMALL
    )
    return {
        "AutoRec-item": AutoRec(hidden_units=(4,), **SMALL).fit(train, validation=held_out),
        "AutoRec-user": AutoRec(
            orientation="user", hidden_units=[4], default_rating=2.5, clip=False, **SMALL
        )
        .fit(names)
        .fold_in(newcomer(names, "user new")),
        "AutoRec-deep": AutoRec(
            hidden_units=(5, 3, 5), target_centering="none", input_centering="row", **SMALL
        ).fit(mixed),
        "BiasedMF": BiasedMF(factors=3, patience=2, **QUICK).fit(names, validation=names),
        "BiasedMF-als": BiasedMF.als(factors=3, random_state=1).fit(numbers),
        "RBM": RBM(hidden_units=4, **SMALL).fit(numbers),
        "EASE": EASE(regularization=5.0).fit(mixed),
        "CDAE": CDAE(hidden_units=4, **SMALL).fit(names).fold_in(newcomer(names, "user new")),
        "CDAE-tied": CDAE(hidden_units=4, tied=True, **SMALL).fit(numbers),
        "MultDAE": MultDAE(hidden_units=(5, 3, 5), validation_fraction=0.2, **SMALL).fit(mixed),
        "MultVAE": MultVAE(hidden_units=(5,), latent_units=3, **SMALL).fit(numbers),
        "CVAE": CVAE(hidden_units=(5,), latent_units=3, pretraining_epochs=2, **SMALL).fit(
            names, content=content(names)
        ),
        "CVAE-without-content": CVAE(latent_units=3, **SMALL).fit(numbers),
        "Blend": Blend([item, sigmoid, BiasedMF(factors=3, **QUICK)], random_state=0).fit(names),
    }


def expected(model: Recommender) -> dict[str, Any]:
    """Return what a model predicts for a few users, and which three items it gives them first."""
    users, items = model.user_ids_[[0, 3, -1]], model.item_ids_[[0, 5, -1]]
    lists, scores = model.recommend(users, n=4)
    # of scores that lie too close together, another machine may choose others
    clear = (np.diff(scores, axis=1) < -1e-4).all(axis=1)
    return {
        "users": users.tolist(),
        "items": items.tolist(),
        "predictions": model.predict(users[:, np.newaxis], items).tolist(),
        "recommended": [
            row[:3] if sure else None for row, sure in zip(lists.tolist(), clear, strict=True)
        ],
        "history": [epoch.metrics for epoch in getattr(model, "history_", [])],
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir()  # which is not there yet: these files are made once
    predictions = {}
    for name, model in models().items():
        path = FOLDER / f"{name}.safetensors"
        model.save(path)
        predictions[name] = expected(Recommender.load(path))
    (FOLDER / "expected.json").write_text(json.dumps(predictions, indent=1) + "\n")


if __name__ == "__main__":
    main()
