"""Top-10 lists for every user of ml-1m, seen items left out: against implicit and PyTorch, in turn.

    python -m benchmarks.compare_recommend

One fitted I-AutoRec gives the vectors of users and items (k = 500); all three score the same
products, drop what a user has rated, and keep the best ten. PyTorch multiplies, masks and calls
`topk` by blocks of users; implicit's `recommend` is given the vectors as its factors. Both are
checked to return the same lists.
"""

import os
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for: it has threads itself

import numpy as np
import torch
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.common import load, median_ratio, parser, print_turns, seconds, write_results
from isthmus import AutoRec, Ratings

N = 10
BLOCK = 512  # users that PyTorch scores at once
Floats = NDArray[np.float32]


def augmented_vectors(model: AutoRec) -> tuple[Floats, Floats]:
    """Vectors of users and items whose products are the model's scores, biases included."""
    parts = model._vectors()
    assert parts.user_bias is not None
    assert parts.item_offset is not None
    users = np.column_stack([parts.users, parts.user_bias, np.ones(len(parts.users))])
    items = np.column_stack([parts.items, np.ones(len(parts.items)), parts.item_offset])
    return users.astype(np.float32), items.astype(np.float32)


def torch_recommender(
    users: Floats, items: Floats, ratings: Ratings, threads: int
) -> Callable[[], NDArray[np.int64]]:
    """Block by block: product, minus infinity where seen, topk."""
    torch.set_num_threads(threads)
    user_vectors, item_vectors = torch.from_numpy(users), torch.from_numpy(items).T.contiguous()
    seen = ratings.to_matrix()
    columns = torch.from_numpy(seen.indices.astype(np.int64))
    rows = torch.from_numpy(np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)))

    @torch.no_grad()
    def recommend() -> NDArray[np.int64]:
        best = []
        for begin in range(0, len(users), BLOCK):
            end = min(begin + BLOCK, len(users))
            scores = user_vectors[begin:end] @ item_vectors
            cells = slice(seen.indptr[begin], seen.indptr[end])
            scores[rows[cells] - begin, columns[cells]] = -torch.inf
            best.append(scores.topk(N).indices)
        found: NDArray[np.int64] = torch.cat(best).numpy()
        return found

    return recommend


def implicit_recommender(
    users: Floats, items: Floats, ratings: Ratings, threads: int
) -> Callable[[], NDArray[np.int64]]:
    """implicit's own blocked top-k, on factors that are given."""
    model = AlternatingLeastSquares(factors=users.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = users, items
    seen = sparse.csr_matrix(ratings.to_matrix())
    everyone = np.arange(len(users))

    def recommend() -> NDArray[np.int64]:
        found: NDArray[np.int64] = model.recommend(everyone, seen, N=N)[0]
        return found

    return recommend


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--rounds", type=int, default=7)
    args = p.parse_args()
    ratings, _ = load("ml-1m")
    model = AutoRec(epochs=10, num_threads=args.threads, random_state=0).fit(ratings)
    users, items = augmented_vectors(model)
    recommenders: dict[str, Callable[[], NDArray[np.int64]]] = {
        "isthmus": lambda: model.recommend(n=N, order="rating")[0],
        "implicit": implicit_recommender(users, items, ratings, args.threads),
        "PyTorch matmul + topk": torch_recommender(users, items, ratings, args.threads),
    }
    expected = recommenders["isthmus"]()  # and all are warm
    for name, recommend in recommenders.items():
        agreement = float(np.mean(recommend() == expected))
        if agreement < 0.999:  # rounding may order near ties otherwise
            raise SystemExit(f"{name} gives other lists: {agreement:.1%} of places agree")
    taken: dict[str, list[float]] = {name: [] for name in recommenders}
    for _ in range(args.rounds):
        for name, recommend in recommenders.items():
            taken[name].append(seconds(recommend))
    print(f"{ratings!r}, k = {model.hidden_units[0]}, top {N}, {args.threads} threads")
    print_turns(
        ("", "seconds (median)", "times isthmus's (median of triples)"),
        taken,
        lambda times: median_ratio(times, taken["isthmus"]),
    )
    write_results("compare_recommend", {"arguments": vars(args), "seconds": taken})


if __name__ == "__main__":
    main()
