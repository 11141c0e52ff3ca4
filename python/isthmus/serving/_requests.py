"""What requests may ask, and the checks of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from isthmus._util.checks import check_bool, check_integer, check_real, shown

__all__ = ["MAX_BODY", "Asked", "History", "asked_in_body", "asked_in_query", "read_query"]

MAX_BODY = 1 << 18
"""Bytes of a request's body."""

MAX_HISTORY = 1_000
"""Items that a history may have."""

MAX_IDS = 10_000
"""Items that candidates, or exclude, may have."""

MAX_N = 1_000
"""Items that a list may have."""

MAX_QUERY = 200
"""Characters of words to search for."""


class History(NamedTuple):
    """What someone has had, with the ratings if they were given."""

    items: list[Any]
    ratings: list[float] | None


class Asked(NamedTuple):
    """What a request asks: about a user, or about someone with a history."""

    user: Any = None
    history: History | None = None
    item: Any = None
    n: int = 10
    candidates: list[Any] | None = None
    exclude: list[Any] | None = None
    exclude_seen: bool = True
    order: str = "likely"


def asked_in_body(body: bytes, required: Collection[str], allowed: Collection[str]) -> Asked:
    """Read a JSON object with some of the fields of `Asked`.

    Raises
    ------
    ValueError, TypeError
        If it is no such object, or a field is missing, unknown or invalid.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("The body must be JSON, but it cannot be read as such.") from None
    if not isinstance(given, dict):
        raise ValueError("The body must be a JSON object.")
    _check_names(given, required, allowed, "field")
    fields = dict(given)
    if "history" in fields:
        fields["history"] = _history(fields["history"])
    return _checked(fields)


def asked_in_query(
    pairs: list[tuple[str, str]], required: Collection[str], allowed: Collection[str]
) -> Asked:
    """Read the parameters of an address, of which candidates and exclude may be repeated.

    Raises
    ------
    ValueError, TypeError
        As `asked_in_body` does.
    """
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in ("candidates", "exclude"):
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise ValueError(f"{name} must be there once, but it is repeated.")
        else:
            fields[name] = value
    _check_names(fields, required, allowed, "parameter")
    if "n" in fields:
        fields["n"] = _number(fields["n"])
    if "exclude_seen" in fields:
        if fields["exclude_seen"] not in ("true", "false"):
            raise ValueError(
                f"exclude_seen must be true or false, but it was {shown(fields['exclude_seen'])}."
            )
        fields["exclude_seen"] = fields["exclude_seen"] == "true"
    return _checked(fields)


def read_query(pairs: list[tuple[str, str]]) -> tuple[str, int]:
    """Read the words to search for, and how many items to list."""
    given = dict(pairs)
    _check_names(given, (), ("query", "n"), "parameter")
    query = given.get("query", "")
    if len(query) > MAX_QUERY:
        raise ValueError(
            f"query must have at most {MAX_QUERY} characters, but it has {len(query):,}."
        )
    return query, _checked({"n": _number(given.get("n", "20"))}).n


def _check_names(
    given: Mapping[str, Any], required: Collection[str], allowed: Collection[str], kind: str
) -> None:
    for name in required:
        if name not in given:
            raise ValueError(f"There must be a {kind} {name}, but there is none.")
    for name in given:
        if name not in (*required, *allowed):
            raise ValueError(
                f"Every {kind} must be one of {', '.join((*required, *allowed))}, "
                f"but one is {shown(name)}."
            )


def _checked(fields: dict[str, Any]) -> Asked:
    asked = Asked(**fields)
    check_integer("n", asked.n, low=1, high=MAX_N)
    check_bool("exclude_seen", asked.exclude_seen)
    for name in ("candidates", "exclude"):
        if getattr(asked, name) is not None:
            _check_list(getattr(asked, name), name, "ids of items", MAX_IDS)
    return asked


def _history(given: Any) -> History:
    """Read a list of objects with an item and, where there are ratings, a rating each."""
    _check_list(given, "history", "objects, each with an item", MAX_HISTORY)
    for one in given:
        if not isinstance(one, dict) or "item" not in one or one.keys() - {"item", "rating"}:
            raise ValueError(
                f'Every entry of history must be an object as {{"item": 1, "rating": 5}}, '
                f"but one is {shown(one)}."
            )
    rated = sum("rating" in one for one in given)
    if 0 < rated < len(given):
        raise ValueError(
            f"Either all entries of history must have a rating or none, but {rated:,} of "
            f"{len(given):,} have one."
        )
    items = [one["item"] for one in given]
    if not rated:
        return History(items, None)
    return History(items, [check_real("every rating", one["rating"]) for one in given])


def _check_list(given: Any, name: str, of: str, most: int) -> None:
    if not isinstance(given, list):
        raise ValueError(f"{name} must be a list of {of}, but it was {shown(given)}.")
    if len(given) > most:
        raise ValueError(f"{name} must have at most {most:,} entries, but it has {len(given):,}.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"n must be an integer from 1 to {MAX_N:,}, but it was {shown(text)}.")
    return int(text)
