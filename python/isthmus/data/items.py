"""What items are called, from files."""

import codecs
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from isthmus._util.checks import shown
from isthmus.data._columns import field_of
from isthmus.data._ids import IdArray
from isthmus.data._layout import check_encoding, find_separator, read_lines, split_line
from isthmus.data._reading import Unpacked, refuse_damage
from isthmus.data.io import existing_file

__all__ = ["ItemText", "is_integer", "read_item_texts", "read_items", "with_keys_like"]

_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
_TITLE = re.compile(r"(item|movie|film|book|track|artist|product)?_?(title|name)(:\w+)?", re.I)

# The last columns of ml-100k's u.item, each 0 or 1; its README names them.
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)

_MOST_CHARACTERS = 120  # of a detail

Value = TypeVar("Value")


class ItemText(NamedTuple):
    """What a file says of an item."""

    title: str
    detail: str
    """The other columns, such as genres, in one line, without links and long numbers."""


def read_items(path: str | PathLike[str], *, encoding: str | None = None) -> dict[Any, str]:
    r"""Read the titles of items from a text file.

    Parameters
    ----------
    path : str or os.PathLike
        A file whose first field is the id and whose second is the title, such as MovieLens'
        ``movies.csv``, ``movies.dat`` and ``u.item``. The separator is found, and so is a header,
        in which a column named title or name is the title.
    encoding : str, optional
        By default UTF-8 or, where the bytes are not, Latin-1.

    Returns
    -------
    dict of int or str to str
        Titles by id; ids are integers under the same condition as in `read_ratings`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If a line has no title or repeats an id.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("movies.dat").write_text("1::Toy Story (1995)::Comedy\n2::Heat (1995)::Crime\n")
    >>> read_items("movies.dat")
    {1: 'Toy Story (1995)', 2: 'Heat (1995)'}
    """
    return {name: text.title for name, text in read_item_texts(path, encoding=encoding).items()}


def read_item_texts(
    path: str | PathLike[str], *, encoding: str | None = None
) -> dict[Any, ItemText]:
    """Read titles as `read_items` does, and the other columns."""
    path = existing_file(path)
    check_encoding(encoding or "utf-8")
    with refuse_damage(path, "a file of titles"):
        texts = _read_texts(path, encoding or _encoding_of(path))
    if not texts:
        raise ValueError(f"{path} must hold at least one item, but it is empty.")
    if all(_INTEGER.fullmatch(name) and int(name) < 2**63 for name in texts):
        return {int(name): text for name, text in texts.items()}
    return texts


def with_keys_like(table: dict[Any, Value], known: IdArray) -> dict[Any, Value]:
    """Convert the ids that are the keys of a table to the type of a model's ids."""
    if known.dtype.kind != "i":
        return {str(name): value for name, value in table.items()}
    return {int(name): value for name, value in table.items() if is_integer(str(name))}


def is_integer(text: str) -> bool:
    """Return whether a text is an integer id: digits alone."""
    return text.isascii() and text.isdecimal() and len(text) < 20


def _encoding_of(path: Path) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with Unpacked(path) as stream:
        try:
            while block := stream.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def _read_texts(path: Path, encoding: str) -> dict[str, ItemText]:
    separator, title_at = "", 1
    texts: dict[str, ItemText] = {}
    for number, line in read_lines(path, encoding):
        is_first = not separator
        separator = separator or find_separator(line, path)
        name, *rest = split_line(line, separator)
        if is_first and field_of(name, plainly=True) == "item":
            named = [at for at, one in enumerate(rest, 1) if _TITLE.fullmatch(one.strip())]
            title_at = named[0] if named else 1
            continue
        if len(rest) < title_at or not name.strip():
            raise ValueError(
                f"{path}, line {number}: there must be an id and a title separated by "
                f"{separator!r}, but there is {line[:80]!r}."
            )
        if name.strip() in texts:
            raise ValueError(
                f"{path}, line {number}: every id must have one line, but {shown(name)} has two."
            )
        if re.search("[\udc80-\udcff]", line):
            raise ValueError(f"{path}, line {number}: there must be {encoding} text.")
        title = rest.pop(title_at - 1)
        texts[name.strip()] = ItemText(title.strip(), _detail(rest))
    return texts


def _detail(fields: Sequence[str]) -> str:
    """Write an item's other columns in a line."""
    if len(fields) == 22 and set(fields[3:]) <= {"0", "1"}:  # of u.item
        flags = zip(_GENRES, fields[3:], strict=True)
        shown_fields = [genre for genre, flag in flags if flag == "1"]
    else:
        parts = (part.strip() for field in fields for part in field.split("|"))
        shown_fields = [part for part in parts if _tells(part)]
    text = " · ".join(shown_fields)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _tells(text: str) -> bool:
    """Return whether a field is worth showing: no link, and no number except a year."""
    is_number = text.replace(".", "").replace("-", "").isdecimal()
    return text != "" and "://" not in text and (not is_number or len(text) == 4)
