"""Show the manual what `with_parameters` makes of a class, which it reads without running it."""

import inspect
from typing import Any

import griffe


class Parameters(griffe.Extension):
    """Read a class's docstring and constructor from the running class, not from its source."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Look at a class and its decorators."""
        if not any(d.callable_path.endswith(".with_parameters") for d in cls.decorators):
            return
        made = griffe.dynamic_import(cls.path)
        cls.docstring.value = made.__doc__
        parameters = (
            griffe.Parameter(
                parameter.name,
                annotation=parameter.annotation,
                kind=griffe.ParameterKind(parameter.kind.description),
                default=None if parameter.default is parameter.empty else repr(parameter.default),
            )
            for parameter in inspect.signature(made).parameters.values()
        )
        cls.set_member(
            "__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters))
        )
