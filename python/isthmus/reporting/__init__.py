"""A page about a model: how good it is, for whom, why it recommends what, and how it was made."""

from isthmus.reporting.report import write_report

__all__ = ["write_report"]
