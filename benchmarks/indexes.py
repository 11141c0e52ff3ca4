"""Recall and speed of indexes of a model's vectors, against exact search.

python -m benchmarks.indexes    # needs usearch and faiss-cpu
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from benchmarks.common import load, parser, print_table, seconds
from isthmus import CDAE, BiasedMF

N = 10
Lists = NDArray[np.int64]
Floats = NDArray[np.float32]


Search = Callable[[Floats], Lists]


def exact(items: Floats) -> Search:
    """The items with the highest inner products, by faiss's exact index."""
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return lambda users: index.search(users, N)[1]


def of_one_length(make: Callable[[Floats], Search], items: Floats) -> Search:
    """The same with a column that makes items equally long, which graphs are at home with."""
    squares = np.sum(np.square(items), axis=1)
    rest = np.sqrt(np.maximum(squares.max() - squares, 0))
    search = make(np.column_stack([items, rest]))
    return lambda users: search(np.pad(users, ((0, 0), (0, 1))))


def usearch_index(items: Floats, **options: Any) -> Search:
    """A graph of neighbours, by usearch."""
    index = Index(ndim=items.shape[1], metric="ip", dtype="f32", **options)
    index.add(np.arange(len(items)), items)
    return lambda users: index.search(users, N).keys.astype(np.int64)


def faiss_graph(items: Floats, *, links: int, search: int) -> Search:
    """A graph of neighbours, by faiss."""
    index = faiss.IndexHNSWFlat(items.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 200, search
    index.add(items)
    return lambda users: index.search(users, N)[1]


def faiss_cells(items: Floats, *, cells: int, probes: int) -> Search:
    """Cells of a clustering, of which a few are searched, by faiss."""
    flat = faiss.IndexFlatIP(items.shape[1])
    index = faiss.IndexIVFFlat(flat, items.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.train(items)
    index.add(items)
    index.nprobe = probes
    return lambda users: index.search(users, N)[1]


def recall(found: Lists, wanted: Lists) -> float:
    """Share of the exact lists' items that were found."""
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([len(np.intersect1d(one, other)) / N for one, other in pairs]))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--queries", type=int, default=1000)
    options = arguments.parse_args()
    faiss.omp_set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; one thread")
    own: dict[str, Any] = {"random_state": 0, "num_threads": options.threads}
    for name, model in (("ml-1m", BiasedMF(**own)), ("gowalla", CDAE(epochs=10, **own))):
        model.fit(load(name)[0])
        items = model.item_vectors()
        users = model.user_vectors()
        users = users[np.random.default_rng(0).permutation(len(users))[: options.queries]]
        print(f"{name}, {type(model).__name__}: {len(items):,} items of {items.shape[1]} numbers")
        wanted = exact(items)(users)
        graph, wide = usearch_index, partial(usearch_index, expansion_add=256, expansion_search=256)
        links = partial(faiss_graph, links=32, search=64)
        rows = []
        for label, make in (
            ("faiss IndexFlatIP, exact", exact),
            ("usearch, expansion_search=64", graph),
            ("usearch, 256", wide),
            ("usearch, 64, items of one length", partial(of_one_length, graph)),
            ("usearch, 256, items of one length", partial(of_one_length, wide)),
            ("faiss HNSW32, efSearch=64", links),
            ("faiss HNSW32, 64, items of one length", partial(of_one_length, links)),
            ("faiss IVF128, nprobe=8", partial(faiss_cells, cells=128, probes=8)),
            ("faiss IVF128, 32", partial(faiss_cells, cells=128, probes=32)),
        ):
            search = make(items)
            found = search(users)
            taken = seconds(lambda search=search, u=users: [search(user[None]) for user in u])
            rows.append((label, f"{recall(found, wanted):.3f}", f"{1e6 * taken / len(users):.0f}"))
        print_table(("", f"recall@{N}", "microseconds a user"), rows)


if __name__ == "__main__":
    main()
