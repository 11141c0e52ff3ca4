"""What was tried beyond the AutoRec paper and left out, with what it did on validation data.

    python -m benchmarks.ablations output-map     # one map from score to rating, for all cells
    python -m benchmarks.ablations refeeding      # a second step on the reconstruction

Both are on a tenth of the training part of ml-1m's random 90/10 splits; no test rating is used.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import load, parser, print_table
from isthmus import AutoRec, Ratings, _core, train_test_split
from isthmus.metrics import rmse
from isthmus.training import Epoch


def output_map(train: Ratings, held_out: Ratings, seed: int, threads: int) -> list[tuple[str, str]]:
    """Learn a polynomial that all cells share, as AEMC-NE's output network, by least squares.

    On one half of the validation ratings, measured on the other, and the other way round.
    """
    model = AutoRec(random_state=seed, num_threads=threads).fit(train)
    users, items, values, _ = held_out.to_arrays()
    scores = model.predict(users, items).astype(np.float64) - train.mean
    truth = values.astype(np.float64)
    half = np.random.default_rng(seed).random(len(truth)) < 0.5
    rows = [("none", f"{rmse(truth, scores + train.mean):.4f}")]
    for degree in (1, 2, 3, 5):
        mapped = np.empty_like(truth)
        powers = np.vander(scores, degree + 1)
        for part in (half, ~half):
            weights = np.linalg.lstsq(powers[part], truth[part], rcond=None)[0]
            mapped[~part] = powers[~part] @ weights
        error = rmse(truth, np.clip(mapped, train.min, train.max))
        rows.append((f"polynomial of degree {degree}", f"{error:.4f}"))
    return rows


class Refeeding:
    """Dense re-feeding (Kuchaiev, Ginsburg 2017): y = f(x), then a step with y as x and target.

    A share of the rows, drawn anew after each epoch, is re-fed with all of its columns; the share
    is such that these have about as many cells as there are ratings.
    """

    def __init__(self, model: AutoRec, share: float) -> None:
        self.model = model
        self.share = share
        self.learner: Any = None

    def __call__(self, epoch: Epoch) -> None:
        learner, model = self.learner, self.model
        rng = np.random.default_rng([epoch.index, model.random_state])  # type: ignore[list-item]
        codes = learner._encode().array
        chosen = np.sort(rng.choice(len(codes), int(self.share * len(codes)), replace=False))
        weights, bias = learner._decoder_in_training()
        place = learner._trainer.column_rows
        offset = model._row_offset[chosen]
        dense = codes[chosen] @ weights[place].T + bias[place] + offset[:, np.newaxis]
        n_columns = dense.shape[1]
        rows = _core.Rows(
            np.arange(len(chosen) + 1, dtype=np.int64) * n_columns,
            np.tile(np.arange(n_columns, dtype=np.int32), len(chosen)),
            dense.astype(np.float32).ravel(),
            n_columns,
            target_offset=offset,
        )
        rate = model.learning_rate * model.learning_rate_decay**epoch.index
        learner._trainer.run_epoch(rows, epoch.index, rate)


def refeeding(train: Ratings, held_out: Ratings, seed: int, threads: int) -> list[tuple[str, str]]:
    """Train with and without it; the best epoch counts."""
    rows = []
    for share in (0.0, 0.01, 0.05):
        model = AutoRec(random_state=seed, num_threads=threads)
        hook = Refeeding(model, share)
        make = model._learner

        def remember(*args: Any, make: Any = make, hook: Refeeding = hook) -> Any:
            hook.learner = make(*args)
            return hook.learner

        model._learner = remember  # type: ignore[method-assign]
        model.fit(train, validation=held_out, callbacks=[hook] if share else [])
        error = min(epoch.metrics["rmse"] for epoch in model.history_)
        rows.append((f"{share:.0%} of the rows re-fed after each epoch", f"{error:.4f}"))
    return rows


ABLATIONS: dict[str, Callable[[Ratings, Ratings, int, int], list[tuple[str, str]]]] = {
    "output-map": output_map,
    "refeeding": refeeding,
}


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("ablation", choices=list(ABLATIONS))
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    train, _ = train_test_split(ratings, test_size=0.1, random_state=args.seed)
    train, held_out = train_test_split(train, test_size=0.1, random_state=args.seed)
    rows = ABLATIONS[args.ablation](train, held_out, args.seed, args.threads)
    print_table((args.ablation, "validation RMSE"), rows)


if __name__ == "__main__":
    main()
