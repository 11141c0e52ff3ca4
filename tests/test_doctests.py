"""The examples in the docstrings, run on the installed package."""

import doctest
import importlib
import pkgutil

import pytest

import isthmus

# The compiled modules have no Python docstrings; running __main__ is running the program.
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(isthmus.__path__, "isthmus.")
    if not name.startswith("isthmus._core.") and not name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["isthmus", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(
        importlib.import_module(name),
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert results.failed == 0
