"""Places of items in a plane."""

import numpy as np
from numpy.typing import NDArray

from isthmus.evaluation.scores import Floats, unit_rows

__all__ = ["plane_of"]

_PASSES = 30
_WIDTH = 8  # of the subspace, of which two directions are kept
_NOTHING = 1e-6


def plane_of(vectors: Floats) -> NDArray[np.float32]:
    """Find the two principal components of some vectors' directions.

    Lengths do not count, as they do not for similar items. By subspace iteration.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)

    Returns
    -------
    ndarray of float32, shape (n, 2)
        From -1 to 1 along each axis, on a scale on which the few far ones leave room for the many;
        0 where there is nothing to show.
    """
    centred = unit_rows(vectors)
    centred -= centred.mean(axis=0)
    width = min(_WIDTH, *centred.shape)
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], width), np.float32)
    for _ in range(_PASSES):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    left, values, _ = np.linalg.svd(centred @ basis, full_matrices=False)
    axes = (left * values)[:, :2]
    # the sign with which the farthest item is on the positive side
    far = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    axes *= np.where(far < 0, -1, 1)
    axes -= np.median(axes, axis=0)
    usual = np.quantile(np.abs(axes), 0.9, axis=0)
    found = np.zeros((len(vectors), 2), np.float32)
    found[:, : axes.shape[1]] = np.where(
        usual > _NOTHING, np.tanh(axes / np.maximum(usual, _NOTHING)), 0
    )
    return found
