"""What isthmus raises beside Python's own exceptions."""

__all__ = ["ConvergenceError", "NotFittedError"]


class ConvergenceError(RuntimeError):
    """Training diverged: the loss is no longer a finite number."""


class NotFittedError(ValueError, AttributeError):
    """A model was asked for what only a fitted one can do.

    Both a ValueError and an AttributeError, as scikit-learn's exception of this name.
    """
