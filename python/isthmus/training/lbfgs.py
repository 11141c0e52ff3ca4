"""SciPy's L-BFGS-B over weights that live in the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from isthmus._util.interrupts import uninterrupted
from isthmus.evaluation.scores import Floats

__all__ = ["minimize"]

Doubles = np.ndarray[tuple[int], np.dtype[np.float64]]

PAIRS = 10
"""Steps and changes of the gradient that stand for the inverse Hessian."""


class _Stop(Exception):
    """Raised in the callback to end the minimization."""


def minimize(
    evaluate: Callable[[], float],
    weights: Mapping[str, Floats],
    gradients: Mapping[str, Floats],
    *,
    scales: Mapping[str, Floats],
    iterations: int,
    finish_iteration: Callable[[], bool],
) -> None:
    """Lower a loss by changing weights in place, by L-BFGS-B without bounds.

    Ends before `iterations` if the line search finds no lower loss, which in single precision means
    convergence. At the end, the weights are always those of the last whole iteration.

    Parameters
    ----------
    evaluate : callable
        Returns the loss of the current weights, and fills `gradients`.
    weights, gradients : mapping of str to ndarray of float32
        By name; the gradients in the weights' shapes.
    scales : mapping of str to ndarray of float32
        What L-BFGS moves is each weight divided by its scale. It takes fewer iterations where these
        variables have alike second derivatives. In shapes that broadcast to the weights', all
        above 0.
    iterations : int
        Most iterations; each is one evaluation or a few.
    finish_iteration : callable
        Called after each iteration, with the weights at its result; True ends the minimization.

    Notes
    -----
    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu: A limited memory algorithm for bound constrained
    optimization, SIAM Journal on Scientific Computing 1995. Memory is that of some
    ``2 * PAIRS + 5`` copies of the weights in double precision.
    """
    from scipy import optimize  # half of isthmus's import time, for one optimizer

    reached = _join(weights[name] / scales[name] for name in weights)

    def loss_and_gradient(x: Doubles) -> tuple[float, Doubles]:
        _assign(weights, scales, x)
        loss = evaluate()
        return loss, _join(gradients[name] * scales[name] for name in weights)

    def after(xk: Doubles) -> None:
        reached[:] = xk
        _assign(weights, scales, xk)
        if finish_iteration():
            raise _Stop

    options: Any = {
        "maxcor": PAIRS,
        "maxiter": iterations,
        "maxfun": 100 * iterations,
        "ftol": 0.0,
        "gtol": 0.0,
    }
    try:
        optimize.minimize(
            loss_and_gradient,
            reached.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=after,
            options=options,
        )
    except _Stop:
        pass
    finally:
        with uninterrupted():
            _assign(weights, scales, reached)


def _join(arrays: Iterable[Floats]) -> Doubles:
    return np.concatenate([array.ravel() for array in arrays], dtype=np.float64)


def _assign(weights: Mapping[str, Floats], scales: Mapping[str, Floats], x: Doubles) -> None:
    start = 0
    for name, array in weights.items():
        moved = x[start : start + array.size].reshape(array.shape)
        np.multiply(moved, scales[name], out=array, casting="same_kind")
        start += array.size
