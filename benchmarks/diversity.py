"""What diverse lists cost: ndcg@10 beside how far apart a list's items are, on ml-1m.

    python -m benchmarks.diversity

A fifth of each user's ratings is held out, at random; of these, ratings of 4 and more should rank
high. EASE and MultVAE are trained with their defaults on the training part's ratings of 4 and more.
Of the 50 items that a model lists first, what the user rated in training left out, 10 are chosen:
the first, by maximal marginal relevance, or under a cap for each genre. Nothing is chosen by what
is measured here.
"""

from typing import Any

import numpy as np

from benchmarks.common import data_folder, load, parser, print_table, write_results
from isthmus import EASE, MultVAE, Recommender, train_test_split
from isthmus.evaluation.scores import Vectors
from isthmus.metrics import coverage, diversity, ndcg
from isthmus.reranking import cap_groups, diversify

POSITIVE = 4
LONG = 50
TRADE_OFFS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
CAPS = (5, 3, 2)


def genres() -> np.ndarray:
    """Return the genres of ml-1m's items, in the positions of its ratings."""
    folder = data_folder() / "ml-1m"
    with np.load(folder / "ratings.npz") as file:
        ids = file["item_id"]
    with np.load(folder / "features.npz") as file:
        place = np.searchsorted(file["item_id"], ids)
        assert (file["item_id"][place] == ids).all()
        return file["item_genres"][place].astype(np.float32)


def rows_of(model: Recommender, test: Any, seen: Any, vectors: np.ndarray) -> list[list[Any]]:
    """Measure a model's lists as they are, diversified, and capped."""
    ids, scores = model.recommend(n=LONG, exclude=seen)
    groups = {item: np.flatnonzero(row).tolist() for item, row in enumerate(vectors)}
    sources = {"genres": vectors}
    own = model._vectors()
    if isinstance(own, Vectors):
        sources["the model's vectors"] = own.items
    lists = {"the first 10": ids[:, :10]}
    for source, array in sources.items():
        for trade_off in TRADE_OFFS:
            chosen, _ = diversify(ids, scores, array, trade_off=trade_off, n=10)
            lists[f"{source}, {trade_off}"] = chosen
    for most in CAPS:
        lists[f"at most {most} of a genre"], _ = cap_groups(ids, scores, groups, most=most, n=10)
    return [
        [
            *(type(model).__name__, name),
            *(ndcg(one, test, 10), diversity(one, vectors), coverage(one, test, 10)),
            float((one < 0).mean()),
        ]
        for name, one in lists.items()
    ]


def main() -> None:
    """Print and write the table."""
    parser(__doc__).parse_args()
    ratings, _ = load("ml-1m")
    train, test = train_test_split(ratings, test_size=0.2, random_state=0, by="user")
    wanted = test.binarize(POSITIVE)
    vectors = genres()
    rows = []
    for model in (EASE(), MultVAE(random_state=0)):
        rows += rows_of(model.fit(train.binarize(POSITIVE)), wanted, train, vectors)
    header = ["model", "lists", "ndcg@10", "genre diversity", "coverage@10", "places left empty"]
    print_table(header, [[*row[:2], *(f"{value:.3f}" for value in row[2:])] for row in rows])
    write_results("diversity", {"rows": [dict(zip(header, row, strict=True)) for row in rows]})


if __name__ == "__main__":
    main()
