"""The models' test error by the papers' protocols, beside the published figures.

    python -m benchmarks.accuracy ml-1m          # random 90/10, defaults, 5 seeds
    python -m benchmarks.accuracy dual           # DualAutoRec, likewise
    python -m benchmarks.accuracy ml-100k-u1     # the official first split, five seeds
    python -m benchmarks.accuracy ml-100k-u1-dual
    python -m benchmarks.accuracy douban         # Monti's split, five seeds
    python -m benchmarks.accuracy douban-dual
    python -m benchmarks.accuracy user           # U-AutoRec, ml-1m, random 90/10
    python -m benchmarks.accuracy deep           # 500-250-500 I-AutoRec, the earlier recipe
    python -m benchmarks.accuracy biased-mf      # the baselines of the AutoRec paper, likewise:
    python -m benchmarks.accuracy biased-mf-als
    python -m benchmarks.accuracy i-rbm
    python -m benchmarks.accuracy u-rbm

Models have their defaults, but for "deep". These, and its parameters, were chosen on validation
data (`--validate` shows how such a part of the training data fares); nothing is chosen on the test
part.
"""

import statistics
from typing import Any

from benchmarks.common import (
    earlier_autorec,
    load,
    parse_settings,
    parser,
    print_table,
    published_split,
    write_results,
)
from isthmus import RBM, AutoRec, BiasedMF, DualAutoRec, train_test_split

DEEP: dict[str, Any] = {
    "hidden_units": (500, 250, 500),
    "encoder_activation": "tanh",
    "regularization": 20.0,
    "corruption": 0.5,
    "learning_rate": 3e-4,
    "epochs": 30,
}
"""A deep model beside AutoRec's earlier defaults."""

SPLITS = {"ml-100k": "u1_test", "monti-douban": "test"}
"""Published splits: the masks of test ratings in the data's files."""
PROTOCOLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # name: data, what the paper reports, parameters that differ from the defaults
    "ml-1m": ("ml-1m", "I-AutoRec .831", {}),
    "dual": ("ml-1m", "GLocal-K .8227", {}),
    "ml-100k-u1": ("ml-100k", "GC-MC .905-.910, GLocal-K .889", {}),
    "ml-100k-u1-dual": ("ml-100k", "GC-MC .905-.910, GLocal-K .889", {}),
    "douban": ("monti-douban", "GLocal-K .7208", {}),
    "douban-dual": ("monti-douban", "GLocal-K .7208", {}),
    "user": ("ml-1m", "U-AutoRec .874", {"orientation": "user"}),
    "deep": ("ml-1m", "I-AutoRec 500-250-500 .827", DEEP),
    "biased-mf": ("ml-1m", "BiasedMF .845", {}),
    "biased-mf-als": ("ml-1m", "BiasedMF .845", {}),
    "i-rbm": ("ml-1m", "I-RBM .854", {}),
    "u-rbm": ("ml-1m", "U-RBM .881", {"orientation": "user"}),
}
MODELS: dict[str, Any] = {  # the others are AutoRec's
    "deep": earlier_autorec,
    "dual": DualAutoRec,
    "ml-100k-u1-dual": DualAutoRec,
    "douban-dual": DualAutoRec,
    "biased-mf": BiasedMF,
    "biased-mf-als": BiasedMF.als,
    "i-rbm": RBM,
    "u-rbm": RBM,
}


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("protocol", choices=list(PROTOCOLS))
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--validate", action="store_true", help="hold out a tenth of the training part")
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other parameters")
    args = p.parse_args()
    data, published, parameters = PROTOCOLS[args.protocol]
    changed = parse_settings(args.set)
    ratings, arrays = load(data)

    rows, errors = [], []
    for seed in range(args.seeds):
        if data in SPLITS:
            train, test = published_split(ratings, arrays, arrays[SPLITS[data]])
        else:
            train, test = train_test_split(ratings, test_size=0.1, random_state=seed)
        if args.validate:
            train, test = train_test_split(train, test_size=0.1, random_state=seed)
        make = MODELS.get(args.protocol, AutoRec)
        model = make(**{**parameters, **changed}, random_state=seed, num_threads=args.threads)
        model.fit(train, validation=test if args.validate else None)
        metrics = model.evaluate(test)
        took = sum(epoch.seconds for epoch in model.history_)
        errors.append(metrics["rmse"])
        best = ""
        if args.validate:
            epoch = min(model.history_, key=lambda e: e.metrics["rmse"])
            best = f"{epoch.metrics['rmse']:.4f} in epoch {epoch.index + 1}"
        rows.append((seed, f"{metrics['rmse']:.4f}", f"{metrics['mae']:.4f}", f"{took:.1f}", best))
    print(f"{args.protocol}: {model!r}; published: {published}")
    print_table(
        ("seed", "validation RMSE" if args.validate else "test RMSE", "MAE", "seconds", "best"),
        rows,
    )
    spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
    print(f"mean RMSE {statistics.mean(errors):.4f} +- {spread:.4f} (standard deviation)")
    if not args.validate and not changed:
        write_results(
            f"accuracy_{args.protocol}",
            {
                "rmse": errors,
                "mean": statistics.mean(errors),
                "deviation": spread,
                "published": published,
                "parameters": {k: str(v) for k, v in parameters.items()},
            },
        )


if __name__ == "__main__":
    main()
