"""Recommend papers that nobody has read yet, on citeulike-t: train, add new papers, recommend.

    ISTHMUS_DATA=folder python examples/cvae_citeulike.py            # some minutes
    ISTHMUS_DATA=folder python examples/cvae_citeulike.py --quick    # less of everything

The folder holds `citeulike-t/ratings.npz` (arrays user and item) and `citeulike-t/bow.npz` (papers
x words, as `scipy.sparse.save_npz` writes it).
"""

import argparse
import os
from pathlib import Path

import numpy as np
from scipy import sparse

from isthmus import CVAE, Content, Ratings


def main() -> None:
    """Train on all papers but the last hundred, and recommend among those."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--quick", action="store_true", help="1000 words, 10 rounds")
    quick = p.parse_args().quick
    folder = Path(os.environ.get("ISTHMUS_DATA", "../shared/data")) / "citeulike-t"
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}: set ISTHMUS_DATA to where the data is")
    words = sparse.csr_array(sparse.load_npz(folder / "bow.npz"))
    with np.load(folder / "ratings.npz") as file:
        users, papers = file["user"], file["item"]
    if quick:
        frequent = np.argsort(-np.bincount(words.indices, minlength=words.shape[1]), kind="stable")
        words = words[:, np.sort(frequent[:1000])]

    n_old = words.shape[0] - 100
    old = papers < n_old
    ratings = Ratings.from_arrays(users[old], papers[old], np.ones(old.sum()))
    settings = {"pretraining_epochs": 5, "epochs": 10} if quick else {}
    model = CVAE(**settings, random_state=0, verbose=True)
    model.fit(ratings, content=Content(words))
    for name, values in model.losses_.items():
        print(f"{name}: {values[0]:.3f} -> {values[-1]:.3f}")

    new = np.arange(n_old, words.shape[0])
    model.fold_in_items(Content(words[new], item_ids=new))
    readers = np.unique(users[~old & np.isin(users, ratings.user_ids)])[:5]
    ids, _ = model.recommend(readers, n=5, candidates=new)
    for reader, listed in zip(readers, ids, strict=True):
        read = set(papers[(users == reader) & ~old].tolist())
        marked = (f"{paper}{'*' if paper in read else ''}" for paper in listed.tolist())
        print(f"reader {reader}, among the new papers (*: has read it): {' '.join(marked)}")


if __name__ == "__main__":
    main()
