"""Which models to blend, on validation data of ml-1m: each alone, then the best to add each time.

    python -m benchmarks.choose_blend

Models are fitted to nine tenths of a training part, and blended, by least squares, on one half of
the rest and measured on the other, and the other way round. No test rating is used.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import load, parser, print_table
from benchmarks.reproduce.experiments import DEEP
from isthmus import AutoRec, BiasedMF, train_test_split
from isthmus.metrics import rmse

USER: dict[str, Any] = {"orientation": "user", "corruption": 0.5}
CANDIDATES: dict[str, Any] = {
    "I-AutoRec": AutoRec(),
    "I-AutoRec, batches of 128": AutoRec(batch_size=128),
    "I-AutoRec, 1000 units": AutoRec(hidden_units=(1000,)),
    "I-AutoRec, identity code": AutoRec(encoder_activation="identity", corruption=0.5),
    "I-AutoRec, centred input": AutoRec(input_centering="row"),
    "I-AutoRec, deep": AutoRec(**DEEP),
    "U-AutoRec": AutoRec(**USER),
    "U-AutoRec, lambda 150": AutoRec(**USER, regularization=150.0),
    "BiasedMF": BiasedMF(),
    "BiasedMF by ALS": BiasedMF.als(),
}


def blended_error(predicted: list[NDArray[Any]], truth: NDArray[Any], half: NDArray[Any]) -> float:
    """RMSE of the least-squares blend, fitted on each half and measured on the other."""
    design = np.column_stack([*predicted, np.ones(len(truth))]).astype(np.float64)
    blend = np.empty(len(truth))
    for part in (half, ~half):
        weights = np.linalg.lstsq(design[part], truth[part], rcond=None)[0]
        blend[~part] = design[~part] @ weights
    return rmse(truth, np.clip(blend, truth.min(), truth.max()))


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    train, _ = train_test_split(ratings, test_size=0.1, random_state=args.seed)
    train, held_out = train_test_split(train, test_size=0.1, random_state=args.seed)
    users, items, truth, _ = held_out.to_arrays()
    half = np.random.default_rng(args.seed).random(len(truth)) < 0.5

    predicted = {}
    for name, model in CANDIDATES.items():
        model.set_params(random_state=args.seed, num_threads=args.threads).fit(train)
        predicted[name] = model.predict(users, items)
        print(f"{name}: {blended_error([predicted[name]], truth, half):.4f}", flush=True)

    chosen: list[str] = []
    rows = []
    while len(chosen) < len(CANDIDATES):
        left = [name for name in CANDIDATES if name not in chosen]
        errors = {
            name: blended_error([predicted[n] for n in (*chosen, name)], truth, half)
            for name in left
        }
        chosen.append(min(errors, key=errors.__getitem__))
        rows.append((chosen[-1], f"{errors[chosen[-1]]:.4f}"))
    print_table(("added", "validation RMSE of the blend"), rows)


if __name__ == "__main__":
    main()
