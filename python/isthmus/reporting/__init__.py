"""A page about a model: how good it is, for whom, what its lists owe, and how it was made."""

from isthmus.reporting.report import write_report

__all__ = ["write_report"]
