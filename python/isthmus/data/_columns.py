"""Which columns of a table are the user, the item, the rating and the timestamp."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from isthmus._util.checks import shown
from isthmus.data._reading import printable

__all__ = ["FIELDS", "Columns", "field_of", "knows_names", "named_columns", "resolve_columns"]

FIELDS = ("user", "item", "rating", "timestamp")

# Compared in lower case, without punctuation and what follows a colon ("user_id:token").
_NAMES = {
    "user": {"user", "userid", "uid", "customerid", "reviewerid", "visitorid"},
    "item": {
        *("item", "itemid", "iid", "movie", "movieid", "productid", "asin", "isbn"),
        *("bookid", "songid", "trackid", "artistid", "animeid", "gameid", "businessid"),
    },
    "rating": {"rating", "ratings", "userrating", "bookrating", "score", "stars", "overall"},
    "timestamp": {"timestamp", "time", "ts", "unixreviewtime", "date", "datetime"},
}

# Looked for where a table has none of the names above.
_OTHER_NAMES = {
    "user": {
        *("username", "session", "sessionid", "account", "accountid", "member", "memberid"),
        *("profile", "profileid", "customer", "client", "clientid", "visitor", "reviewer"),
        *("person", "personid", "author", "authorid", "steamid"),
    },
    "item": {
        *("track", "event", "eventid", "artist", "song", "book", "game", "product", "anime"),
        *("parentasin", "sku", "stockcode", "video", "videoid", "article", "articleid", "news"),
        *("newsid", "content", "contentid", "recipeid", "jokeid", "hotelid", "venueid", "placeid"),
        *("beerid", "film", "filmid", "appid", "title", "url"),
    },
    "rating": {
        *("weight", "plays", "playcount", "quantity", "qty", "count", "counts", "hours"),
        *("hoursplayed", "playtime", "listens", "listencount", "views", "clicks", "purchases"),
        *("frequency", "interactions", "watchratio", "duration", "dwelltime", "value"),
    },
    "timestamp": {
        *("accessed", "accessedat", "lastaccessed", "created", "createdat", "visited"),
        *("visitedat", "viewedat", "playedat", "watchedat", "ratedat", "eventtime", "unixtime"),
    },
}


class Columns(NamedTuple):
    """Positions of the columns; None for one that the table lacks."""

    user: int
    item: int
    rating: int | None
    timestamp: int | None


def field_of(name: Any, *, plainly: bool = False) -> str | None:
    """Return which field a column of this name usually is; data frames have names of any type.

    `plainly` leaves out names that may well be an id, as "news".
    """
    found = _field_among(_NAMES, name)
    return found if found or plainly else _field_among(_OTHER_NAMES, name)


def _field_among(known: dict[str, set[str]], name: Any) -> str | None:
    if not isinstance(name, str):
        return None
    plain = "".join(c for c in name.partition(":")[0].lower() if c.isalnum())
    return next((field for field, names in known.items() if plain in names), None)


def knows_names(names: Sequence[str]) -> bool:
    """Return whether both a user and an item column are among the names."""
    return {"user", "item"} <= set(map(field_of, names))


def resolve_columns(
    wanted: Sequence[str | int | None] | None,
    names: Sequence[Any] | None,
    n_columns: int,
    where: str,
    *,
    find: bool,
    implicit: bool,
) -> Columns:
    """Turn names and positions into positions; an integer that is a name is that name.

    Parameters
    ----------
    wanted : sequence of str, int or None, of up to four; or None for four times None
        User, item, rating and timestamp column.
    names : sequence or None
        The table's own names, if it has any: strings or, in a data frame, whatever they are.
    n_columns : int
    where : str
        What the table is, for messages.
    find : bool
        Whether a None in `wanted` means to look for the usual names (or, in a table without
        names, to take the usual position) rather than to do without.
    implicit : bool
        Whether to do without ratings.
    """
    wanted = [*(wanted or ()), None, None, None, None][: len(FIELDS)]
    found = [
        _locate(field, column, names, n_columns, where)
        if column is not None
        else (_usual(field, names, n_columns, where, implicit=implicit) if find else None)
        for field, column in zip(FIELDS, wanted, strict=True)
    ]
    if implicit:
        found[2] = None
    there = f"its columns are {_listed(names)}" if names else f"it has {n_columns} columns"
    for field, position in zip(FIELDS[:2], found[:2], strict=True):
        if position is None:
            raise ValueError(
                f"{where} has no column known to be the {field}; {there}: "
                f"name it{_example(found, names, n_columns, where, implicit=implicit)}."
            )
    if found[2] is None and find and not implicit:
        raise ValueError(
            f"{where} has no column known to be the rating; {there}: "
            f"name it{_example(found, names, n_columns, where, implicit=False)}, "
            f"or pass implicit=True for ratings that are all 1."
        )
    used = [position for position in found if position is not None]
    if len(set(used)) < len(used):
        raise ValueError(f"{where} needs a column for each field, but one was named twice.")
    user, item, rating, timestamp = found
    assert user is not None  # both were checked above
    assert item is not None
    return Columns(user, item, rating, timestamp)


def named_columns(
    wanted: Sequence[str | int | None] | None, names: Sequence[str], where: str, *, implicit: bool
) -> dict[str, str]:
    """Return the names of a table's columns by their fields: those wanted, or the usual ones."""
    found = resolve_columns(
        *(wanted, names, len(names), where), find=wanted is None, implicit=implicit
    )
    return {field: names[at] for field, at in found._asdict().items() if at is not None}


def _example(
    found: Sequence[int | None],
    names: Sequence[Any] | None,
    n_columns: int,
    where: str,
    *,
    implicit: bool,
) -> str:
    """Return how to name columns: those found, and for the others the first that are left."""
    left = iter(sorted(set(range(n_columns)) - set(found)))
    wanted = FIELDS[: 2 if implicit else 3]
    places = [next(left, None) if at is None else at for at, _ in zip(found, wanted, strict=False)]
    columns = [names[at] if names else at for at in places if at is not None]
    if len(columns) < len(wanted) or max(len(str(column)) for column in columns) > 40:
        return ""
    given = f"columns={columns!r}"
    if where == "df":
        given = ", ".join(f"{field}={name!r}" for field, name in zip(wanted, columns, strict=True))
    return (
        f", as {printable(given)} does if these are the {', '.join(wanted[:-1])} and {wanted[-1]}"
    )


def _locate(
    field: str, column: str | int, names: Sequence[Any] | None, n_columns: int, where: str
) -> int:
    if isinstance(column, bool) or not isinstance(column, str | int):
        raise TypeError(
            f"the {field} column must be a name or a position, but it was {shown(column)}."
        )
    if names is not None and column in names:
        return list(names).index(column)
    if isinstance(column, str):
        if names is None:
            raise ValueError(
                f"{where} has no header, so the {field} column must be a position, "
                f"but it was {shown(column)}."
            )
        raise ValueError(
            f"{where} has no column {shown(column)} for the {field}; "
            f"its columns are {_listed(names)}."
        )
    if not 0 <= column < n_columns:
        raise ValueError(
            f"the {field} column must lie between 0 and {n_columns - 1} in {where}, "
            f"but it was {column}."
        )
    return column


def _usual(
    field: str, names: Sequence[Any] | None, n_columns: int, where: str, *, implicit: bool
) -> int | None:
    if names is None:
        # Without ratings there is no telling whether the third column is a timestamp.
        position = FIELDS.index(field)
        return position if position < (min(2, n_columns) if implicit else n_columns) else None
    matches: list[int] = []
    for known in (_NAMES, _OTHER_NAMES):
        matches = matches or [
            position for position, name in enumerate(names) if _field_among(known, name) == field
        ]
    if len(matches) > 1:
        candidates = _listed([names[position] for position in matches])
        raise ValueError(
            f"{where} has several columns that may be the {field} ({candidates}): name one."
        )
    return matches[0] if matches else None


def _listed(names: Sequence[Any]) -> str:
    shown = [str(name)[:40] for name in names[:20]]
    listed = ", ".join(name if name.isprintable() else repr(name) for name in shown)
    return f"{listed}, ..." if len(names) > 20 else listed
