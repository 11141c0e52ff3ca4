"""Which models to blend, on validation data: each alone, then the best to add each time.

    python -m benchmarks.choose_blend best-ml-1m

Models are fitted to nine tenths of a training part, and blended, by least squares, on one half of
the rest and measured on the other, and the other way round. No test rating is used.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import EARLIER_DEFAULTS, data_folder, earlier_autorec, parser, print_table
from benchmarks.reproduce.experiments import DEEP, EXPERIMENTS, Experiment
from benchmarks.reproduce.runs import make_split
from isthmus import BiasedMF, train_test_split
from isthmus.metrics import rmse


def candidates(experiment: Experiment) -> dict[str, Any]:
    """Models by name: the experiment's own AutoRec, others like it, and others."""
    own = next(case.parameters for case in experiment.cases if case.name == "autorec")
    penalty = own.get("regularization", EARLIER_DEFAULTS["regularization"])
    user = {**own, "orientation": "user", "corruption": 0.5}
    return {
        "I-AutoRec": earlier_autorec(**own),
        "I-AutoRec, 1000 units": earlier_autorec(**{**own, "hidden_units": (1000,)}),
        "I-AutoRec, identity code": earlier_autorec(**own, encoder_activation="identity"),
        "I-AutoRec, centred input": earlier_autorec(**own, input_centering="row"),
        "I-AutoRec, deep": earlier_autorec(**{**own, **DEEP}),
        "U-AutoRec": earlier_autorec(**user),
        "U-AutoRec, lambda / 2": earlier_autorec(**{**user, "regularization": penalty / 2}),
        "U-AutoRec, centred input": earlier_autorec(**user, input_centering="row"),
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
    p.add_argument("experiment", choices=[name for name in EXPERIMENTS if name.startswith("best")])
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    experiment = EXPERIMENTS[args.experiment]
    train, _ = make_split(experiment, data_folder() / experiment.data, args.seed)
    train, held_out = train_test_split(train, test_size=0.1, random_state=args.seed)
    users, items, truth, _ = held_out.to_arrays()
    half = np.random.default_rng(args.seed).random(len(truth)) < 0.5

    predicted = {}
    for name, model in candidates(experiment).items():
        model.set_params(random_state=args.seed, num_threads=args.threads).fit(train)
        predicted[name] = model.predict(users, items)
        print(f"{name}: {blended_error([predicted[name]], truth, half):.4f}", flush=True)

    chosen: list[str] = []
    rows = []
    while len(chosen) < len(predicted):
        errors = {
            name: blended_error([predicted[n] for n in (*chosen, name)], truth, half)
            for name in predicted
            if name not in chosen
        }
        chosen.append(min(errors, key=errors.__getitem__))
        rows.append((chosen[-1], f"{errors[chosen[-1]]:.4f}"))
    print_table(("added", "validation RMSE of the blend"), rows)


if __name__ == "__main__":
    main()
