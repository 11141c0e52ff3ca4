"""The subject of a report: a model and the data that it is measured on, in the model's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import shown
from isthmus.data._alignment import ratings_among
from isthmus.data._csr import CSR, as_pattern, column_counts, without
from isthmus.data._reading import printable
from isthmus.data.ratings import Ratings
from isthmus.models.base import Recommender
from isthmus.reporting.bootstrap import Interval

__all__ = ["Bins", "Row", "Subject", "bins_of", "shown_metric", "subject_of"]


_ABBREVIATED = ("rmse", "mae", "ndcg", "map", "mrr", "auc")


class Subject(NamedTuple):
    """What a report is about.

    Attributes
    ----------
    model : Recommender
    test : Ratings
        Of the model's users and items.
    train : Ratings or None
        Likewise.
    positives : CSR
        The test's cells that are not in training: what should rank high.
    per_user, per_item : ndarray of int64
        Training ratings of each.
    titles : mapping
        Of items, by their ids.
    random_state : int
    """

    model: Recommender
    test: Ratings
    train: Ratings | None
    positives: CSR
    per_user: NDArray[np.int64]
    per_item: NDArray[np.int64]
    titles: Mapping[Any, str]
    random_state: int

    @property
    def rates(self) -> bool:
        """Return whether the model predicts ratings."""
        return self.model._rates

    def title(self, position: int) -> str:
        """Return what an item is called."""
        one = self.model.item_ids_[position].item()
        return printable(self.titles.get(one, one if isinstance(one, str) else f"item {one}"))


def subject_of(model: Any, test: Any, train: Any, items: Any, random_state: int) -> Subject:
    """Check the model and the data of a report, and put the data in the model's order."""
    if not isinstance(model, Recommender):
        raise TypeError(f"model must be a model of isthmus, but it was {shown(model)}.")
    model._check_fitted()
    if items is not None and not isinstance(items, Mapping):
        raise TypeError(
            f"items must be titles by item id, as read_items returns them, but it was "
            f"{shown(items)}."
        )
    own = (model._users, model._items)
    measured = ratings_among(*own, test, "test")
    trained = None if train is None else ratings_among(*own, train, "train")
    seen = model._seen
    positives = without(as_pattern(measured.to_matrix()), seen)
    if len(positives.indices) == 0:
        raise ValueError(
            f"test must have ratings that the model was not trained on, but it was trained on all "
            f"{measured.nnz:,} of them."
        )
    return Subject(
        model=model,
        test=measured,
        train=trained,
        positives=positives,
        per_user=np.diff(seen.indptr),
        per_item=column_counts(seen.indices, seen.shape[1]),
        titles={} if items is None else items,
        random_state=random_state,
    )


class Row(NamedTuple):
    """A line of the table of figures: a model, or what it is compared with."""

    name: str
    figures: dict[str, Interval]


class Bins(NamedTuple):
    """Figures by what users or items are like."""

    labels: list[str]
    series: dict[str, list[Interval]]


def bins_of(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
    """Put counts into bins of half a decade each: 0, 1-3, 4-10, 11-30, 31-100 and so on.

    Returns
    -------
    bins : ndarray of int64
        Of each count; there are none that are empty.
    labels : list of str
    """
    most = int(counts.max())
    ends = [0, 3]
    while ends[-1] < most:
        ends.append(ends[-1] // 3 * 10 if str(ends[-1])[0] == "3" else ends[-1] * 3)
    bins = np.searchsorted(ends, counts)
    there, numbers = np.unique(bins, return_inverse=True)
    starts = [0, *(end + 1 for end in ends)]
    labels = [
        "0" if ends[at] == 0 else f"{_short(starts[at])}–{_short(ends[at])}"
        for at in there.tolist()
    ]
    return numbers.reshape(-1), labels


def _short(count: int) -> str:
    return f"{count // 1000}k" if count >= 1000 else str(count)


def shown_metric(label: str) -> str:
    """Write the abbreviations of metrics in capitals."""
    name, at, cut = label.partition("@")
    return f"{name.upper() if name in _ABBREVIATED else name}{at}{cut}"
