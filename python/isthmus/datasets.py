"""Public data sets by name, downloaded once."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np

from isthmus._util.files import atomic_write
from isthmus.data._reading import check_unpacked, name_file, refuse_damage
from isthmus.data.io import read_ratings
from isthmus.data.items import read_items
from isthmus.data.ratings import Ratings

__all__ = ["NAMES", "fetch", "fetch_items", "folder", "items_file", "licence"]


class _DataSet(NamedTuple):
    """Where to download an archive, and which file of it to read."""

    url: str
    hash: str | None
    """A hash for pooch: SHA-256, or MD5 where only that is published, or none."""
    ratings: str
    items: str | None
    licence: str

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return self.url.rpartition("/")[2]


def _movielens(name: str, known_hash: str, ratings: str, items: str) -> _DataSet:
    site = f"https://files.grouplens.org/datasets/movielens/{name}"
    readme = "README.txt" if name in ("ml-100k", "ml-1m") else "README.html"
    return _DataSet(
        *(f"{site}.zip", known_hash, ratings, items),
        f"for research; commercial use needs permission; cite Harper & Konstan, ACM TiiS 5(4), "
        f"2015; all terms, as of passing it on: {site}-{readme}",
    )


def _jester(number: int) -> _DataSet:
    site = "https://goldberg.berkeley.edu/jester-data/"
    return _DataSet(
        *(f"{site}jester-data-{number}.zip", None, f"jester-data-{number}.xls", None),
        f"for research; cite Goldberg, Roeder, Gupta & Perkins, Information Retrieval 4(2), 2001: "
        f"{site}",
    )


# The SHA-256 are of archives whose MD5 is the one that GroupLens publishes.
_SETS = {
    "ml-100k": _movielens(
        "ml-100k",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        *("ml-100k/u.data", "ml-100k/u.item"),
    ),
    "ml-1m": _movielens(
        "ml-1m",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        *("ml-1m/ratings.dat", "ml-1m/movies.dat"),
    ),
    "ml-10m": _movielens(
        "ml-10m",
        "813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
        *("ml-10M100K/ratings.dat", "ml-10M100K/movies.dat"),
    ),
    "ml-20m": _movielens(
        "ml-20m",
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        *("ml-20m/ratings.csv", "ml-20m/movies.csv"),
    ),
    "ml-25m": _movielens(
        "ml-25m",
        "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        *("ml-25m/ratings.csv", "ml-25m/movies.csv"),
    ),
    "ml-32m": _movielens(
        "ml-32m",
        "md5:d472be332d4daa821edc399621853b57",
        *("ml-32m/ratings.csv", "ml-32m/movies.csv"),
    ),
    "ml-latest-small": _movielens(
        "ml-latest-small",
        "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        *("ml-latest-small/ratings.csv", "ml-latest-small/movies.csv"),
    ),
    "jester-1": _jester(1),
    "jester-2": _jester(2),
    "jester-3": _jester(3),
}

NAMES = tuple(_SETS)
"""What `fetch` takes."""


def fetch(name: str) -> Ratings:
    """Download a data set, unless it was before, and read its ratings.

    Parameters
    ----------
    name : str
        One of `NAMES`: "ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m",
        "ml-latest-small" (MovieLens), "jester-1", "jester-2", "jester-3".

    Returns
    -------
    Ratings
        With the ids and the timestamps of the original. Jester's users are numbered by their rows
        and its jokes by their columns, from 1.

    Raises
    ------
    ConnectionError
        If the archive cannot be downloaded; the message says where to put it.
    ImportError
        Without pooch, or xlrd for Jester: ``pip install 'isthmus[datasets]'``.
    ValueError
        If the name is unknown, or the download is not the expected archive.

    Notes
    -----
    Archives are kept in `folder`, and checked at every use: MovieLens' by a known SHA-256 (ml-32m's
    by the MD5 that GroupLens publishes). Jester's are not checked, as no hash of them is published.
    A download shows the licence.
    """
    found = _find(name)
    if found.ratings.endswith(".xls"):
        return _read_jester(_file_of(name, found.ratings))
    return read_ratings(_file_of(name, found.ratings))


def fetch_items(name: str) -> dict[Any, str]:
    """Download a data set, unless it was before, and read the titles of its items.

    Parameters
    ----------
    name : str
        One of MovieLens'.

    Returns
    -------
    dict of int to str

    Raises
    ------
    ConnectionError, ImportError, ValueError
        As `fetch` does; ValueError as well for a data set without titles.
    """
    return read_items(items_file(name))


def items_file(name: str) -> Path:
    """Download a data set, unless it was before, and return the file that `fetch_items` reads."""
    found = _find(name)
    if found.items is None:
        raise ValueError(f"name must be of a data set with titles, but {name} has none.")
    return _file_of(name, found.items)


def licence(name: str) -> str:
    """Return what a data set may be used for, whom to cite, and where to find its terms.

    Examples
    --------
    >>> licence("jester-1").partition(";")[0]
    'for research'
    """
    return _find(name).licence


def folder() -> Path:
    """Return where archives are kept: $ISTHMUS_DATASETS, or a cache of the user's."""
    given = os.environ.get("ISTHMUS_DATASETS")
    return Path(given) if given else Path(_pooch().os_cache("isthmus"))


def _find(name: Any) -> _DataSet:
    if not isinstance(name, str) or name not in _SETS:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, but it was {name!r}.")
    return _SETS[name]


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ImportError("data sets need pooch: pip install 'isthmus[datasets]'") from error
    return pooch


def _file_of(name: str, member: str) -> Path:
    """Return a file of a data set's archive, which is downloaded first if it is not there."""
    pooch, found, target = _pooch(), _find(name), folder()
    import requests  # which pooch needs

    if not (target / found.archive).exists():
        print(f"downloading {name}: {found.licence}", file=sys.stderr)
    try:
        with _quiet(pooch.get_logger()):
            archive = pooch.retrieve(
                found.url,
                known_hash=found.hash,
                fname=found.archive,
                path=target,
                downloader=pooch.HTTPDownloader(timeout=30, progressbar=sys.stderr.isatty()),
            )
    except requests.RequestException as error:
        raise ConnectionError(
            f"{name} cannot be downloaded from {found.url} ({type(error).__name__}): put that "
            f"file into {target}, as {found.archive}, or let ISTHMUS_DATASETS name the folder "
            f"where it is."
        ) from None
    except ValueError:
        raise ValueError(
            f"{found.url} is not the archive of {name} that is known, or was cut off: its hash is "
            f"another one. Nothing was kept."
        ) from None
    return _unpacked(Path(archive), member)


def _unpacked(archive: Path, member: str) -> Path:
    """Return a file of an archive, unpacked next to it unless that was done before."""
    target = archive.with_name(f"{archive.stem}-{member.rpartition('/')[2]}")
    if not target.exists() or target.stat().st_mtime < archive.stat().st_mtime:
        with refuse_damage(archive, "an archive of a data set"), ZipFile(archive) as packed:
            check_unpacked(archive, packed.getinfo(member).file_size)
            with (
                packed.open(member) as source,
                atomic_write(target) as temporary,
                temporary.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)
    return target


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Silence a logger whose messages `fetch` prints itself."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _read_jester(path: Path) -> Ratings:
    """Read a sheet with a row a user: how many ratings it has, then those of jokes, 99 for none."""
    try:
        import xlrd
    except ImportError as error:
        raise ImportError("Jester needs xlrd: pip install 'isthmus[datasets]'") from error
    with refuse_damage(path, "an Excel file of numbers"):
        sheet = xlrd.open_workbook(path).sheet_by_index(0)
        table = np.array([sheet.row_values(row) for row in range(sheet.nrows)], np.float64)[:, 1:]
    with name_file(path):
        users, jokes = np.nonzero(table != 99)
        return Ratings.from_arrays(users + 1, jokes + 1, table[users, jokes])
