"""EASE without some users: the time of a downdate against a new fit, and how far both are apart.

python -m benchmarks.forgetting --data ml-1m
"""

import copy
import os
import time

import numpy as np

from benchmarks.common import load, parser
from isthmus import EASE, Ratings
from isthmus.data._csr import select_rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", default="ml-1m")
    arguments.add_argument("--regularization", type=float, default=300.0)
    arguments.add_argument("--users", type=int, nargs="*", default=[1, 10, 100])
    options = arguments.parse_args()
    ratings, _ = load(options.data)
    settings = {"regularization": options.regularization, "num_threads": options.threads}
    model = EASE(**settings).fit(ratings)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("users forgotten   forget s   fit s   ratio   greatest difference of a weight")
    for n in options.users:
        gone = np.random.default_rng(0).choice(ratings.n_users, n, replace=False)
        left = np.delete(np.arange(ratings.n_users), gone)
        others = Ratings(
            select_rows(ratings.rows("user"), left),
            user_ids=ratings.user_ids[left],
            item_ids=ratings.item_ids,
        )
        own = copy.copy(model)
        start = time.perf_counter()
        own.forget(ratings.user_ids[gone])
        middle = time.perf_counter()
        fresh = EASE(**settings).fit(others)
        forget, fit = middle - start, time.perf_counter() - middle
        apart = np.abs(own.item_weights_ - fresh.item_weights_).max()
        print(f"{n:15}   {forget:8.2f}   {fit:5.2f}   {fit / forget:5.1f}   {apart:.1e}")


if __name__ == "__main__":
    main()
