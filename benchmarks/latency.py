"""Milliseconds of one call for one user: known, and new with her ratings, beside implicit's.

python -m benchmarks.latency
"""

import os
import statistics
import warnings
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for: it has threads itself

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse

from benchmarks.common import load, parser, print_table, seconds
from isthmus import EASE, AutoRec, BiasedMF, MultVAE, Ratings

N = 10


def median_ms(call: Callable[[Any], Any], arguments: Iterable[Any]) -> tuple[float, float]:
    """Median and 95th percentile of a call's milliseconds, one for each argument."""
    taken = [1000 * seconds(lambda argument=argument: call(argument)) for argument in arguments]
    return statistics.median(taken), float(np.percentile(taken, 95))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", default="ml-1m")
    arguments.add_argument("--users", type=int, default=300)
    arguments.add_argument("--epochs", type=int, default=2, help="which times do not depend on")
    options = arguments.parse_args()
    ratings, _ = load(options.data)
    matrix = ratings.to_matrix()
    users = np.random.default_rng(0).choice(ratings.n_users, options.users, replace=False)
    rows = [matrix[[user]] for user in users]
    news = [Ratings.from_matrix(row, item_ids=ratings.item_ids) for row in rows]
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.data}: {ratings}")
    own: dict[str, Any] = {"epochs": options.epochs, "random_state": 0}
    own["num_threads"] = options.threads
    table = []
    for model in (
        AutoRec(**own),
        AutoRec(orientation="user", **own),
        BiasedMF(**own),
        EASE(regularization=300.0, num_threads=options.threads),
        MultVAE(**own),
    ):
        model.fit(ratings).recommend(0, N)  # and the odds, which the first list computes
        known = median_ms(lambda user, model=model: model.recommend(user, N), users)
        new = median_ms(lambda row, model=model: model.recommend(ratings=row, n=N), news)
        name = f"{type(model).__name__}{', user' if 'user' in repr(model) else ''}"
        table.append((f"isthmus {name}", *known, *new))
    binary = sparse.csr_matrix(matrix.astype(np.float32))
    binary.data[:] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for peer in (
            AlternatingLeastSquares(128, iterations=2, num_threads=options.threads),
            CosineRecommender(K=100, num_threads=options.threads),
        ):
            peer.fit(binary, show_progress=False)
            name, als = type(peer).__name__, hasattr(peer, "factors")
            pairs = list(zip(users, (binary[[user]] for user in users), strict=True))
            known = median_ms(lambda pair, p=peer: p.recommend(*pair, N=N), pairs)
            new = median_ms(
                lambda pair, p=peer, als=als: p.recommend(*pair, N=N, recalculate_user=als), pairs
            )
            table.append((f"implicit {name}", *known, *new))
    print_table(
        ("", "known, ms", "95 %", "new, ms", "95 %"),
        [(name, *(f"{value:.2f}" for value in values)) for name, *values in table],
    )


if __name__ == "__main__":
    main()
