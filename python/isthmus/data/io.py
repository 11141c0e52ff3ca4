"""Ratings from files, and to files."""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from isthmus._util.arrays import as_values, check_same_length
from isthmus._util.checks import check_bool, check_choice, shown
from isthmus._util.files import atomic_write
from isthmus.data._columns import FIELDS, named_columns
from isthmus.data._csr import row_numbers
from isthmus.data._ids import IdArray, as_ids
from isthmus.data._json_lines import read_json_lines
from isthmus.data._layout import TextFile
from isthmus.data._matrices import check_named
from isthmus.data._netflix import read_netflix
from isthmus.data._npz import as_shape, names_in_npz, read_arrays, read_matrix
from isthmus.data._parquet import names_in_parquet, read_parquet
from isthmus.data._reading import Unpacked, name_file, printable
from isthmus.data._text import read_text
from isthmus.data._values import as_missing, is_rating, warn_of_values
from isthmus.data.ratings import Duplicates, Ratings
from isthmus.data.shards import Shards, is_shards

__all__ = [
    "SEPARATORS",
    "existing_file",
    "format_of",
    "read_ratings",
    "write_ratings",
]

Format = Literal["csv", "tsv", "dat", "parquet", "npz", "jsonl", "netflix"]

SEPARATORS = {"csv": ",", "tsv": "\t", "dat": "::"}
_FORMATS = (*SEPARATORS, "parquet", "npz", "jsonl", "netflix")


def read_ratings(
    path: str | PathLike[str],
    *,
    format: Format | None = None,
    columns: Sequence[str | int | None] | None = None,
    header: bool | None = None,
    separator: str | None = None,
    duplicates: Duplicates = "error",
    encoding: str | None = None,
    implicit: bool = False,
    missing_values: float | Sequence[float] | None = None,
) -> Ratings:
    r"""Read ratings from a file.

    Parameters
    ----------
    path : str or os.PathLike
        A text file with one line a rating (MovieLens' ``ratings.dat``, ``u.data`` and
        ``ratings.csv``, and what resembles them), compressed or not (``.gz``, ``.bz2``, ``.zst``),
        a Parquet file, a file with a JSON object in each line, the Netflix Prize's blocks of
        ratings under a line with the movie's id, an npz file (that of `write_ratings` or of
        ``scipy.sparse.save_npz``), or a folder that `shard` wrote, with no other argument.
        Timestamps in text are whole seconds since 1970 or, with and without a zone (which is then
        UTC), as ``2020-01-31T12:30:00.5Z``, rounded down to seconds. A line has at most 1 MiB.
        A compressed file may unpack to 256 MiB or 100 times its size, whichever is more. In npz
        files, users and items without ratings have ids, or are at most 10 million.
    format : {"csv", "tsv", "dat", "parquet", "npz", "jsonl", "netflix"}, optional
        What the file is; "dat" separates by ``::``. Found from the file's name and content by
        default.
    columns : sequence of 2 to 4 str, int or None, optional
        Names or positions of the columns with user, item, rating and timestamp. With two of them,
        or None for the rating, every line is a rating of 1. By default columns are found by their
        names or, in a file without names, are the first three or four; if the third has no numbers,
        the rating is the first later one that has.
    header : bool, optional
        Whether the first line of a text file names the columns. Found by default.
    separator : str, optional
        One character, or ``"::"``. Found by default.
    duplicates : {"error", "mean", "sum", "last"}, default "error"
        What to do if a user rated an item more than once: refuse, keep the mean or the sum, or keep
        what comes last in the file.
    encoding : str, optional
        Of a text file, for example "latin-1"; "utf-8" by default.
    implicit : bool, default False
        Whether every line is a rating of 1, so that no rating column is needed. Lines that repeat
        are one, unless `duplicates` is "sum", which counts them.
    missing_values : float or sequence of float, optional
        Values that mean "no rating", as -1 for "seen, not rated": they are left out, and so are
        users and items without other ratings.

    Returns
    -------
    Ratings
        Ids are integers if all ids of the column are written as integers, without leading zeros;
        they must then be 0 or more. Otherwise they are strings.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    TypeError, ValueError
        If the file cannot be read; an error in a line of text gives its number and content.

    Warns
    -----
    UserWarning
        If a value looks like a sign for no rating, as -1 among 1 to 10, or ratings like counts.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    >>> read_ratings("ratings.dat")
    Ratings(1 users x 2 items, 2 ratings in [3, 5])
    """
    if is_shards(path):
        given = (format, columns, header, separator, encoding, missing_values)
        if any(value is not None for value in given) or implicit or duplicates != "error":
            raise ValueError(
                f"{path} holds shards, which are read as they are: options for reading ratings "
                f"must be given to shard, which wrote it."
            )
        ratings = Shards(path).to_ratings()
        warn_of_values(ratings.values, str(path))
        return ratings
    path = existing_file(path)
    if format is not None:
        check_choice("format", format, _FORMATS)
    if header is not None:
        check_bool("header", header)
    if columns is not None:
        _check_columns(columns)
        implicit = implicit or len(columns) == 2 or columns[2] is None
    missing = as_missing(missing_values, implicit=implicit)
    kind = format or format_of(path)
    if kind not in (*SEPARATORS, "text"):
        for name, value in (("header", header), ("separator", separator)):
            if value is not None:
                raise ValueError(f"{name} is for text files, but {path} is a {kind} file.")
    if kind in ("parquet", "npz", "jsonl") and encoding is not None:
        raise ValueError(f"encoding is for text files, but {path} is a {kind} file.")
    if kind in ("npz", "netflix") and columns is not None:
        raise ValueError(f"columns is for text and Parquet files, not for {kind} files.")
    with name_file(path):
        if kind == "npz":
            ratings = _read_npz(path, duplicates, implicit=implicit, missing=missing)
        else:
            separator, encoding = separator or SEPARATORS.get(kind), encoding or "utf-8"
            written = TextFile(columns, header, separator, encoding, implicit)
            table, names = _read_table(path, kind, written)
            ratings = Ratings.from_frame(
                table,
                **names,
                implicit=implicit or "rating" not in names,
                duplicates=duplicates,
                missing_values=missing_values,
            )
    if not implicit:
        warn_of_values(ratings.values, str(path))
    return ratings


def _read_table(path: Path, kind: str, written: TextFile) -> tuple[Any, dict[str, str]]:
    """Return a table, and the columns' names by their fields."""
    columns, implicit = written.columns, written.implicit
    if kind == "parquet":
        names = named_columns(columns, names_in_parquet(path), str(path), implicit=implicit)
        return read_parquet(path, list(names.values())), names
    if kind == "jsonl":
        return read_json_lines(path, columns, implicit=implicit)
    netflix = kind == "netflix"
    table = read_netflix(path, written.encoding) if netflix else read_text(path, written)
    return table, {name: name for name in table.column_names}


def existing_file(path: str | PathLike[str]) -> Path:
    """Return the path of a file of ratings, unless there is none."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} must be a file, but it is a folder.")
    if not path.exists():
        raise FileNotFoundError(f"{path} must be a file, but there is none.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} must hold at least one rating, but it is empty.")
    return path


def _check_columns(columns: Sequence[str | int | None]) -> None:
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        raise TypeError(
            f"columns must be a sequence of 2 to 4 columns, but it was {shown(columns)}."
        )
    if not 2 <= len(columns) <= 4 or None in columns[:2]:
        raise ValueError(
            f"columns must name user, item and, if there are any, rating and timestamp, "
            f"but it was {shown(columns)}."
        )


def format_of(path: Path) -> str:
    """Return the format of a file by its name and its content."""
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return "parquet"
    if suffix == ".npz":
        return "npz"
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    if {".jsonl", ".ndjson", ".json"} & {ending.lower() for ending in path.suffixes[-2:]}:
        return "jsonl"
    with Unpacked(path) as stream:
        start = stream.read(64).lstrip()
    if re.match(rb"\{\s*[\"']", start):
        return "jsonl"
    return "netflix" if re.match(rb"[0-9]+:[ \t]*\r?\n", start) else "text"


def _read_npz(
    path: Path, duplicates: Duplicates, *, implicit: bool, missing: NDArray[np.float32]
) -> Ratings:
    there = names_in_npz(path)
    if "format" in there:
        ratings = Ratings.from_matrix(read_matrix(path), duplicates=duplicates)
        return ratings.select(is_rating(ratings.values, missing)) if len(missing) else ratings
    array: dict[str, Any] = read_arrays(path, (*FIELDS, "shape", "user_id", "item_id"))
    if implicit and "user" in array:
        array["rating"] = np.ones(array["user"].size, np.float32)
    for name in FIELDS[:3]:
        if name not in array:
            names = printable(", ".join(sorted(there)))
            raise ValueError(
                f"{path} must hold arrays named user, item and rating, or be a matrix of "
                f"scipy.sparse.save_npz, but it has no {name}; it has {names}."
            )
    shape = _shape_of(array, path)
    if len(missing):
        values = as_values(array["rating"], "the array rating")
        for name in FIELDS[:2]:
            check_same_length(f"the array {name}", array[name], "rating", values)
        kept = is_rating(values, missing)
        array |= {name: array[name][kept] for name in FIELDS if name in array}
    if implicit and duplicates == "error":
        duplicates = "mean"  # which is 1
    ratings = Ratings.from_arrays(
        *(array["user"], array["item"], array["rating"], array.get("timestamp")),
        duplicates=duplicates,
        user_ids=np.arange(shape[0]),
        item_ids=np.arange(shape[1]),
    )
    return Ratings(
        ratings.rows("user"),
        user_ids=array.get("user_id"),
        item_ids=array.get("item_id"),
        timestamps=ratings.timestamps,
    )


def _shape_of(array: dict[str, Any], path: Path) -> tuple[int, int]:
    """Return how many users and items a file has; refuse more than its arrays explain."""
    needed = [int(_as_positions(array[name], name).max(initial=-1)) + 1 for name in FIELDS[:2]]
    shape = as_shape(array["shape"], path) if "shape" in array else (needed[0], needed[1])
    for n, name in zip(shape, FIELDS[:2], strict=True):
        if f"{name}_id" not in array:
            check_named(n, array["user"].size, str(path), f"{name}s", f"an array {name}_id")
        elif array[f"{name}_id"].shape != (n,):
            raise ValueError(
                f"{path} must have an array {name}_id of the {n:,} {name}s in its shape, "
                f"but its shape is {array[f'{name}_id'].shape}."
            )
    return shape


def _as_positions(array: NDArray[Any], name: str) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise TypeError(f"the array {name} must hold integers, but its dtype is {array.dtype}.")
    ids: Any = as_ids(array, name)
    return ids  # type: ignore[no-any-return]


def write_ratings(
    ratings: Ratings, path: str | PathLike[str], *, format: Format | None = None
) -> None:
    """Write ratings to a file that `read_ratings` reads.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    ratings : Ratings
    path : str or os.PathLike
        Text files may end in ``.gz`` and are then compressed.
    format : {"csv", "tsv", "parquet", "npz"}, optional
        By default what the file's name ends in. Only npz keeps users and items without ratings;
        in text, ids that are strings of digits are read back as integers.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If the folder is missing, or `path` is one.
    TypeError, ValueError
        If `ratings` is no Ratings, the format is not known, or an id cannot be written as text.

    Examples
    --------
    >>> write_ratings(Ratings.from_arrays([1, 2], [7, 8], [4.5, 3]), "ratings.csv")
    >>> read_ratings("ratings.csv")
    Ratings(2 users x 2 items, 2 ratings in [3, 4.5])
    """
    if not isinstance(ratings, Ratings):
        raise TypeError(f"ratings must be Ratings, but it is a {type(ratings).__name__}.")
    path = Path(path)
    kind = check_format(path, format)
    if kind in SEPARATORS:
        for field, ids in (("user", ratings.user_ids), ("item", ratings.item_ids)):
            _check_trimmed(ids, f"{field}_ids")
    with atomic_write(path) as temporary:
        if kind == "npz":
            _write_npz(ratings, temporary)
        elif kind == "parquet":
            pa.parquet.write_table(ratings.to_frame(), temporary)
        else:
            options = pa.csv.WriteOptions(delimiter=SEPARATORS[kind])
            compression = "gzip" if path.suffix.lower() == ".gz" else None
            with pa.output_stream(temporary, compression=compression) as stream:
                pa.csv.write_csv(ratings.to_frame(), stream, options)


def check_format(path: Path, format: str | None = None) -> str:
    """Return the format to write ratings in; by default the ending of the file's name."""
    zipped = path.suffix.lower() == ".gz"
    kind = format or (path.with_suffix("") if zipped else path).suffix.lower().removeprefix(".")
    if kind not in ("csv", "tsv", "parquet", "npz"):
        raise ValueError(
            f"format must be csv, tsv, parquet or npz, but for {path} it was {shown(kind)}."
        )
    if zipped and kind not in SEPARATORS:
        raise ValueError(f"path must not end in .gz for the format {kind}, but it was {path}.")
    return kind


def _check_trimmed(ids: IdArray, name: str) -> None:
    """Refuse ids that a text file does not keep, as its readers drop spaces around a field."""
    if ids.dtype.kind == "i":
        return
    text = ids.astype(np.str_, copy=False)
    padded = text[np.char.strip(text) != text]
    if len(padded):
        raise ValueError(
            f"{name} must not begin or end with spaces in a text file, but one is "
            f"{shown(padded[0].item())}; write Parquet or npz."
        )


def _write_npz(ratings: Ratings, path: Path) -> None:
    arrays: dict[str, Any] = {
        "user": row_numbers(ratings.indptr),
        "item": ratings.indices,
        "rating": ratings.values,
        "shape": np.array(ratings.shape),
        "user_id": ratings.user_ids,
        "item_id": ratings.item_ids,
    }
    if ratings.timestamps is not None:
        arrays["timestamp"] = ratings.timestamps
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
