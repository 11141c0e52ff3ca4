"""A map from score to rating that all cells share, learned on validation data: what it would bring.

    python -m benchmarks.output_map

AEMC-NE puts a small network, shared by all output cells, behind the autoencoder. Here a polynomial
takes its place, fitted by least squares to one half of the validation ratings (a tenth of ml-1m's
training part) and measured on the other, and the other way round. No test rating is used.
"""

import numpy as np

from benchmarks.common import load, parser, print_table
from isthmus import AutoRec, train_test_split
from isthmus.metrics import rmse


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    train, _ = train_test_split(ratings, test_size=0.1, random_state=args.seed)
    train, held_out = train_test_split(train, test_size=0.1, random_state=args.seed)
    model = AutoRec(random_state=args.seed, num_threads=args.threads).fit(train)
    users, items, values, _ = held_out.to_arrays()
    truth = values.astype(np.float64)
    scores = model.predict(users, items).astype(np.float64) - train.mean
    half = np.random.default_rng(args.seed).random(len(truth)) < 0.5

    rows = [("none", f"{rmse(truth, scores + train.mean):.5f}")]
    for degree in (1, 2, 3, 5):
        powers = np.vander(scores, degree + 1)
        mapped = np.empty_like(truth)
        for part in (half, ~half):
            weights = np.linalg.lstsq(powers[part], truth[part], rcond=None)[0]
            mapped[~part] = powers[~part] @ weights
        error = rmse(truth, np.clip(mapped, train.min, train.max))
        rows.append((f"polynomial of degree {degree}", f"{error:.5f}"))
    print_table(("map", "validation RMSE"), rows)


if __name__ == "__main__":
    main()
