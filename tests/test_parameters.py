"""Parameters that are annotated attributes of a class: the constructor and the docstring."""

import inspect
import pickle
from dataclasses import field
from typing import ClassVar

import pytest
from sklearn.base import clone

from isthmus import EASE, Recommender, synthetic_ratings
from isthmus._util.docstrings import add_entries, parameter_entries
from isthmus.models._estimator import with_parameters


@with_parameters
class Base(Recommender, abstract=True):
    """Shares parameters.

    Parameters
    ----------
    epochs : int
        How often.
    seed : int, optional
        Of what is random,
        if anything is.
    """

    _kind: ClassVar[str] = "base"

    epochs: int
    seed: int | None = None
    clip: bool = field(init=False, default=True)


@with_parameters
class Derived(Base, abstract=True):
    """Adds one.

    Parameters
    ----------
    units : tuple of int, default (5,)

    Notes
    -----
    None.
    """

    units: tuple[int, ...] = (5,)
    epochs: int = 3


class Own(EASE, abstract=True):
    """Has a constructor of its own."""

    def __init__(self, *, strength=5.0):
        super().__init__(regularization=strength, num_threads=1)
        self.strength = strength


class TestConstructors:
    def test_take_a_class_s_own_parameters_first(self):
        assert list(inspect.signature(Derived).parameters) == ["units", "epochs", "seed"]
        assert Derived().get_params() == {"units": (5,), "epochs": 3, "seed": None}
        assert Derived.epochs == 3

    def test_want_what_has_no_default(self):
        with pytest.raises(TypeError, match="'epochs'"):
            Base()
        assert Base(epochs=1).clip

    def test_refuse_what_is_no_parameter(self):
        with pytest.raises(TypeError, match="'clip'"):
            Derived(clip=False)
        with pytest.raises(TypeError, match="positional"):
            Derived((5,))

    def test_are_not_replaced(self):
        model = Own(strength=7.0).fit(synthetic_ratings(50, 40, 900, random_state=0))
        assert model.get_params() == {"strength": 7.0}
        assert repr(model) == "Own(strength=7.0)"
        assert clone(model).regularization == 7.0
        assert pickle.loads(pickle.dumps(model)).regularization_ == 7.0

    def test_have_no_default_that_can_change(self):
        with pytest.raises(ValueError, match="mutable default"):

            @with_parameters
            class Shared(Base, abstract=True):
                units: list[int] = []  # noqa: RUF012


class TestDocstrings:
    def test_have_what_the_bases_say(self):
        assert inspect.getdoc(Derived).split("\n") == [
            *("Adds one.", "", "Parameters", "----------", "units : tuple of int, default (5,)"),
            *("epochs : int", "    How often.", "seed : int, optional", "    Of what is random,"),
            *("    if anything is.", "", "Notes", "-----", "None."),
        ]

    def test_are_left_without_a_section(self):
        assert add_entries("Do.\n\n    Again.\n", ["one : int"]) == "Do.\n\nAgain."
        assert parameter_entries("Do.") == {}

    def test_may_end_in_the_section(self):
        text = "Do.\n\n    Parameters\n    ----------\n    one, two : int\n        Some.\n    "
        assert parameter_entries(text) == dict.fromkeys(("one", "two"), "one, two : int\n    Some.")
        assert add_entries(text, ["three : str"]).endswith("    Some.\nthree : str")
