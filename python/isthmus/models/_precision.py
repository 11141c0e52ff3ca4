"""The precision that models train in."""

from isthmus import _core
from isthmus._util.checks import check_choice, shown

__all__ = ["check_precision", "precision_of"]

PRECISIONS = ("auto", "float32", "bfloat16")
FLOAT32_ALONE = ("lbfgs", "rprop")
"""Optimizers whose state is a gradient, or steps that grow and shrink."""


def check_precision(precision: str, optimizer: str = "adam") -> None:
    """Raise ValueError unless models can train with it."""
    check_choice("precision", precision, PRECISIONS)
    if precision == "bfloat16" and optimizer in FLOAT32_ALONE:
        raise ValueError(
            f'precision must be "auto" or "float32" with optimizer={optimizer!r}, but it was '
            f"{shown(precision)}."
        )


def precision_of(precision: str, optimizer: str = "adam") -> str:
    """Return what "auto" stands for on this processor; other precisions as they are."""
    if precision != "auto":
        return precision
    multiplies_bfloat16 = _core.build_info()["isa"] == "avx512bf16"
    return "bfloat16" if multiplies_bfloat16 and optimizer not in FLOAT32_ALONE else "float32"
