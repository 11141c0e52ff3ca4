"""Explain scores: compute them without each of the ratings behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus._util.checks import check_choice, check_integer, shown
from isthmus._util.linear import solve_positive_definite
from isthmus.data._csr import CSR, select_rows, with_ones
from isthmus.data.ratings import Ratings
from isthmus.evaluation.explanation import Explanation, without_each
from isthmus.evaluation.scores import Floats
from isthmus.models._column_prior import ColumnPrior

__all__ = ["explain", "ridge_without_each", "score_folded", "scores_without"]

CELLS = 1 << 22
"""Cells of the copies of a row that are scored at once, which bounds the memory."""


def explain(
    model: Any, user: Any, item: Any, n: int | None, *, ratings: Any, axis: str
) -> Explanation:
    """Fold the user's ratings, or the item's, in without each of them; see `Recommender.explain`.

    `model` is a fitted Recommender.
    """
    check_choice("axis", axis, ("user", "item"))
    check_integer("n", n, low=1, others=(None,))
    names = {"user": user, "item": item}
    for name, value in names.items():
        if np.ndim(value) > 0:
            raise TypeError(f"{name} must be one id, but it was {shown(value)}.")
    own, of = (model._users, model._items) if axis == "user" else (model._items, model._users)
    scored = "item" if axis == "user" else "user"
    other = int(of.positions(names[scored], scored))
    row = _rated(model, names[axis], own, ratings, axis)
    score = float(score_folded(model, row, other, axis)[0])
    step = max(1, CELLS // len(row.indices))
    places = np.arange(len(row.indices))
    without = [
        model._scores_without(row, places[first : first + step], other, axis)
        for first in range(0, len(places), step)
    ]
    effects = (score - np.concatenate(without).astype(np.float64)).astype(np.float32)
    listed = np.argsort(-np.abs(effects), kind="stable")[:n]
    return Explanation(
        user=_plain(user),
        item=_plain(item),
        axis=axis,
        score=score,
        ids=of_ids(model, axis)[row.indices[listed]],
        ratings=row.values[listed],
        effects=effects[listed],
        remainder=score - float(effects[listed].sum(dtype=np.float64)),
    )


def of_ids(model: Any, axis: str) -> Any:
    """Return the ids of the items of a user's ratings, or the users of an item's."""
    return model.item_ids_ if axis == "user" else model.user_ids_


def _plain(value: Any) -> int | str:
    plain: int | str = np.asarray(value).item()
    return plain


def _rated(model: Any, who: Any, known: Any, ratings: Any, axis: str) -> CSR:
    """Return a user's ratings, or an item's, as a row of what the model knows."""
    if ratings is None:
        place = known.positions(who, axis).reshape(1)
        if model._rates:
            raise ValueError(
                f"ratings must be given to explain scores of {type(model).__name__}, which keeps "
                f"what was rated, but not how high."
            )
        if model._reads_values:
            raise ValueError(
                f"ratings must be given to explain scores of {type(model).__name__} with "
                f"weights={model.weights!r}, which keeps what a user had, but not how often."
            )
        rows = with_ones(model._seen)
    else:
        if isinstance(ratings, Ratings):
            place = (ratings._users if axis == "user" else ratings._items).positions(who, axis)
            ratings = _cells_of(ratings, int(place), axis)
        rows = model._rows_among(ratings, "ratings", axis=axis)
        if not isinstance(ratings, Ratings):
            check_integer(axis, who, low=0)
            if who >= rows.shape[0]:
                raise ValueError(
                    f"{axis} must be one of the {rows.shape[0]:,} {axis}s of ratings by its "
                    f"position, but it was {who}."
                )
            place = np.asarray(who)
    row = select_rows(rows, place.reshape(1))
    if len(row.indices) == 0:
        raise ValueError(
            f"{axis} must have a rating for a score to be explained by, but {shown(who)} has none."
        )
    return row


def _cells_of(ratings: Ratings, place: int, axis: str) -> Ratings:
    """Keep the ratings of one user, or of one item, if there are any."""
    if axis == "user":
        mask = np.zeros(ratings.nnz, np.bool_)
        mask[ratings.indptr[place] : ratings.indptr[place + 1]] = True
    else:
        mask = ratings.indices == place
    if not mask.any():
        ids = ratings.user_ids if axis == "user" else ratings.item_ids
        raise ValueError(
            f"{axis} must have a rating for a score to be explained by, "
            f"but {shown(ids[place].item())} has none."
        )
    return ratings.select(mask)


def score_folded(model: Any, rows: CSR, other: int, axis: str) -> Floats:
    """Return the scores of new users for one item, or of new items for one user."""
    one, all_rows = np.array([other]), np.arange(rows.shape[0], dtype=np.int32)
    zeros = np.zeros(len(all_rows), np.int32)
    if axis == "user":
        scores, pairs = model._fold_users(rows).take(items=one), (all_rows, zeros)
    else:
        scores, pairs = model._fold_items(rows).take(users=one), (zeros, all_rows)
    found: Floats = scores.scorer().score_pairs(*pairs, num_threads=model._num_threads())
    return found


def scores_without(model: Any, row: CSR, which: NDArray[np.int64], other: int, axis: str) -> Floats:
    """Return the scores without each of some cells of a row, by folding the others in."""
    return score_folded(model, without_each(row, which), other, axis)


def ridge_without_each(
    codes: Floats,
    code: Floats,
    targets: NDArray[Any],
    which: NDArray[np.int64],
    penalty: float,
    prior: ColumnPrior,
) -> NDArray[np.float64]:
    """Return what regressions on all codes but one each give at another code.

    They are those of the core's `fit_ridge`, which factorises a matrix for each. Here there is one
    factorisation, and each regression differs from it by a product (J. Sherman, W. J. Morrison,
    Annals of Mathematical Statistics 21, 1950).

    Parameters
    ----------
    codes : ndarray of float32, shape (n, k)
        Of the n cells of a column, at least two.
    code : ndarray of float32, shape (k,)
        Where the regressions are evaluated.
    targets : ndarray, shape (len(which), n - 1)
        Of each regression's own, as those may differ.
    which : ndarray of int64
        Positions of the codes that are left out.
    penalty : float
    prior : ColumnPrior

    Returns
    -------
    ndarray of float64, shape (len(which),)
    """
    n, k = codes.shape
    center, mean = prior.center[0].astype(np.float64), prior.weights[0].astype(np.float64)
    inputs = np.ones((n, k + 1))
    inputs[:, :k] = codes - center
    at = np.append(code - center, 1.0)
    gram = inputs.T @ inputs
    gram[np.diag_indices(k + 1)] += [*np.full(k, penalty), prior.level_penalty]
    solved = solve_positive_definite(gram, np.vstack([at, inputs[which]]).T)
    whole, *_ = (inputs @ solved[:, :1]).T
    hat = solved[:, 1:].T @ inputs.T
    own = hat[np.arange(len(which)), which]
    hat *= (whole[which] / (1 - own))[:, np.newaxis]
    hat += whole
    # the mean column's outputs, from which the regressions are taken
    expected = np.broadcast_to(codes.astype(np.float64) @ mean + prior.bias[0, 0], hat.shape)
    kept = np.ones(hat.shape, np.bool_)
    kept[np.arange(len(which)), which] = False
    rest = targets - expected[kept].reshape(targets.shape)
    found: NDArray[np.float64] = np.einsum("bi,bi->b", hat[kept].reshape(rest.shape), rest)
    found += code.astype(np.float64) @ mean + prior.bias[0, 0]
    return found
