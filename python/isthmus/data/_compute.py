"""The functions of pyarrow.compute, which is imported when the first of them is used.

It makes them from a table as it is imported, a tenth of the time that isthmus itself takes.
"""

import importlib
from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    return getattr(importlib.import_module("pyarrow.compute"), name)
