"""Parameters by scikit-learn's conventions."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from isthmus._util.checks import shown
from isthmus._util.docstrings import add_entries, parameter_entries
from isthmus._util.threads import resolve_num_threads

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:  # it is for type checkers

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        return lambda decorator: decorator


__all__ = ["Estimator", "with_parameters"]

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def with_parameters(cls: type[T]) -> type[T]:
    """Make the annotated attributes of a class the keyword arguments of its constructor.

    Those of its bases follow its own. A parameter that the class does not document is documented as
    in the nearest base. Class variables and ``field(init=False)`` are no parameters, and what `fit`
    leaves is annotated where it is set.
    """
    dataclass(kw_only=True, eq=False, repr=False)(cls)
    # which puts the parameters of the bases first
    signature = inspect.signature(cls.__init__)
    order = ["self", *(name for base in cls.__mro__ for name in inspect.get_annotations(base))]
    parameters = sorted(signature.parameters.values(), key=lambda p: (p.kind, order.index(p.name)))
    cls.__init__.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    own, *bases = (parameter_entries(base.__doc__ or "") for base in cls.__mro__)
    inherited = ChainMap(*bases)
    missing = [p.name for p in parameters if p.name not in own and p.name in inherited]
    cls.__doc__ = add_entries(cls.__doc__ or "", [inherited[name] for name in missing])
    return cls


class Estimator:
    """An object whose constructor's arguments are its parameters, stored untouched."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name.

        Parameters
        ----------
        deep : bool, default True
            Without effect; here for scikit-learn. A blend's models list their own.
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor's arguments; they are checked, and used, by the next `fit`.

        Of a fitted model, `default_rating`, `clip` and `num_threads` are used from now on.

        Raises
        ------
        ValueError
            If the model has no parameter of a name.
        """
        names = self._parameter_names()
        for name in params:
            if name not in names:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {shown(name)}; "
                    f"it has {', '.join(names)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not np.array_equal(value, defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def _num_threads(self) -> int:
        return resolve_num_threads(getattr(self, "num_threads", 0))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags  # imported by now: it asks for them

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(sparse=True),
        )
