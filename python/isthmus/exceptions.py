"""The exceptions of isthmus that are not Python's own."""

__all__ = ["ConvergenceError", "NotFittedError"]


class ConvergenceError(RuntimeError):
    """Training diverged: the loss is no longer a finite number."""


class NotFittedError(ValueError, AttributeError):
    """A model was asked for what only a fitted model can do.

    Both a ValueError and an AttributeError, as scikit-learn's exception of this name.
    """
