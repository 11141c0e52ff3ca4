"""Attributes that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["cached_property"]

_Value = TypeVar("_Value")


class cached_property(Generic[_Value]):
    """Compute an attribute at its first use, and keep it.

    Until Python 3.12 the standard library's holds a lock meanwhile, one for all objects: a process
    forked by another thread would wait for it for ever. Here two threads may both compute it.
    """

    def __init__(self, compute: Callable[[Any], _Value]) -> None:
        self._compute = compute

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> _Value:
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
