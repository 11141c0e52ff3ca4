"""What the commands read: ratings, pairs, models, and ids as they are written in a shell."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from isthmus import datasets
from isthmus._util.files import check_writable
from isthmus.cli._options import Source, parse_columns, parse_numbers
from isthmus.data._columns import named_columns
from isthmus.data._csr import row_numbers
from isthmus.data._frames import frame_cells
from isthmus.data._ids import IdArray, as_ids
from isthmus.data._layout import TextFile, read_lines
from isthmus.data._npz import read_matrix
from isthmus.data._parquet import names_in_parquet, read_parquet
from isthmus.data._reading import name_file, refuse_damage
from isthmus.data._text import read_text
from isthmus.data._values import warn_of_values
from isthmus.data.content import Content
from isthmus.data.io import SEPARATORS, read_ratings
from isthmus.data.items import is_integer, read_items, with_keys_like
from isthmus.data.ratings import CSR, Ratings
from isthmus.data.shards import Shards, is_shards
from isthmus.evaluation.evaluate import ERRORS, error_of
from isthmus.evaluation.ranking import parse_metrics
from isthmus.models.base import Recommender

__all__ = [
    "check_output",
    "describe",
    "file_of_items",
    "format_metrics",
    "ids_from_text",
    "load",
    "of_users",
    "parse_metric_names",
    "preparing_options",
    "read_choice",
    "read_content",
    "read_for",
    "read_id_file",
    "read_pairs",
    "read_prepared",
    "read_titles",
    "reading_options",
    "refuse_values_of_one",
    "with_ids_like",
]


def reading_options(args: list[str]) -> Source:
    """Return the options for reading ratings: what `read_ratings` takes."""
    return Source(
        "Options for reading ratings",
        read_ratings,
        read_ratings.__doc__ or "",
        parsers={"columns": parse_columns, "missing_values": parse_numbers},
    )


def preparing_options(args: list[str]) -> Source:
    """Return the options that change ratings before a model gets them."""
    return Source("Options for preparing ratings", prepared, prepared.__doc__ or "")


def prepared(
    ratings: Ratings,
    *,
    min_rating: float | None = None,
    threshold: float | None = None,
    log1p: bool = False,
) -> Ratings:
    """Drop ratings, or change their values.

    Parameters
    ----------
    ratings : Ratings
    min_rating : float, optional
        Drop ratings below this.
    threshold : float, optional
        Drop ratings below this, and let all others be 1.
    log1p : bool, default False
        Take the logarithm of 1 + each rating, as of counts.

    Returns
    -------
    Ratings
    """
    if threshold is not None and (log1p or min_rating is not None):
        raise ValueError("--threshold must not come with --log1p or --min-rating.")
    if min_rating is not None:
        if ratings.max < min_rating:
            raise ValueError(
                f"--min-rating must be at most the highest rating, {ratings.max:g}, but it was "
                f"{min_rating:g}."
            )
        ratings = ratings.select(ratings.values >= min_rating)
    if threshold is not None:
        ratings = ratings.binarize(threshold)
    return ratings.log1p() if log1p else ratings


def read_prepared(
    path: Path,
    reading: dict[str, Any],
    preparing: dict[str, Any],
    *,
    counts: bool = False,
    mmap: bool = False,
    scratch: Path | None = None,
) -> Ratings:
    """Read a file of ratings, or fetch a data set, and do to them what the options say.

    `counts` says that the ratings are known to be counts. With `mmap`, those of shards are put into
    temporary files in a folder, and mapped.
    """
    if _is_data_set(path):
        if reading:
            raise ValueError(
                f"{path} is a data set whose format is known: there must be no options for reading "
                f"ratings, but there is --{next(iter(reading)).replace('_', '-')}."
            )
        return prepared(datasets.fetch(str(path)), **preparing)
    with warnings.catch_warnings():
        if counts or preparing.get("log1p") or "threshold" in preparing:
            # they do what the warning would advise
            warnings.filterwarnings("ignore", ".*the ratings look like counts", UserWarning)
        if mmap and is_shards(path) and not reading:
            ratings = Shards(path, scratch=scratch).to_ratings(mmap=True)
            warn_of_values(ratings.values, str(path))
        else:
            ratings = read_ratings(path, **reading)
    return prepared(ratings, **preparing)


def read_for(
    model: Recommender, path: Path, reading: dict[str, Any], preparing: dict[str, Any]
) -> Ratings:
    """Read ratings as `read_prepared` does, with ids like a model's."""
    read = read_prepared(path, reading, preparing, counts=model._weighs_values)
    return with_ids_like(read, model.user_ids_, model.item_ids_)


def refuse_values_of_one(what: str, reading: dict[str, Any], preparing: dict[str, Any]) -> None:
    """Refuse options that make all values 1, for what needs the values."""
    for name, given in (("implicit", reading), ("threshold", preparing)):
        if given.get(name):
            raise typer.BadParameter(
                f"{what} must not come with --{name}, which makes all values 1."
            )


def load(path: Path, num_threads: int | None, *, mmap: bool = False) -> Recommender:
    """Read a model, to be used with another number of threads than it was trained with."""
    model = Recommender.load(path, mmap=mmap)
    return model.set_params(num_threads=num_threads or 0)


def check_output(output: Path, *inputs: Path | None, option: str = "--output") -> None:
    """Refuse an output that cannot be written, or is one of the inputs, before any work."""
    target = check_writable(output)
    for path in inputs:
        if path is not None and target.exists() and path.exists() and target.samefile(path):
            raise ValueError(
                f"{option} must be none of the files that are read, but it was {output}."
            )


def describe(ratings: Ratings | Shards) -> str:
    """Return how many ratings there are, of what."""
    users, items = ratings.shape
    return (
        f"{users:,} users x {items:,} items, "
        f"{ratings.nnz:,} ratings from {ratings.min:g} to {ratings.max:g}"
    )


def format_metrics(metrics: dict[str, float]) -> str:
    """Write metrics in a line, as ``RMSE 0.8312, MAE 0.6510``."""
    return ", ".join(f"{name.upper()} {value:.4f}" for name, value in metrics.items())


def parse_metric_names(text: str) -> tuple[str, ...]:
    """Read ``ndcg@10,recall@20``, before anything is read or trained."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not error_of(name):
            try:
                parse_metrics(name, errors=tuple(ERRORS))
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
    return names


def of_users(ratings: Ratings, users: IdArray, option: str) -> Ratings:
    """Return some users' ratings, a row for each of them, in the order given."""
    rows, columns = ratings.user_ids[row_numbers(ratings.indptr)], ratings.indices
    kept = np.isin(rows, users)
    if not kept.any():
        raise ValueError(
            f"{option} must be of the users that are tested, as {users[0].item()!r}, but none is."
        )
    return Ratings.from_arrays(
        *(rows[kept], ratings.item_ids[columns[kept]], ratings.values[kept]), user_ids=users
    )


def ids_from_text(written: Sequence[str], known: IdArray, option: str) -> IdArray:
    """Turn ids written in a shell into the type of those that a model knows."""
    if known.dtype.kind != "i":
        return np.array(written, np.str_)
    wrong = [text for text in written if not is_integer(text)]
    if wrong:
        raise ValueError(
            f"{option} must be an integer, as the model's ids are "
            f"(for example {known[0].item()}), but it was {wrong[0]!r}."
        )
    return as_ids([int(text) for text in written], option)


def with_ids_like(ratings: Ratings, users: IdArray, items: IdArray) -> Ratings:
    """Let ids be strings where a model's are: a file may happen to hold only such as "42"."""
    return Ratings(
        CSR(ratings.indptr, ratings.indices, ratings.values, ratings.shape),
        user_ids=_like(ratings.user_ids, users),
        item_ids=_like(ratings.item_ids, items),
        timestamps=ratings.timestamps,
    )


def read_titles(path: Path, known: IdArray) -> dict[Any, str]:
    """Read titles of items from a file, or fetch those of a data set, by ids like a model's."""
    return with_keys_like(read_items(file_of_items(path)), known)


def file_of_items(path: Path) -> Path:
    """Return a file with titles of items: that of a data set by its name, or the path itself."""
    return datasets.items_file(str(path)) if _is_data_set(path) else path


def _is_data_set(path: Path) -> bool:
    """Return whether a path is the name of a data set, and of no file."""
    return str(path) in datasets.NAMES and not path.exists()


def read_pairs(path: Path, model: Recommender, options: dict[str, Any]) -> tuple[IdArray, IdArray]:
    """Read users and items, in the order of the file, whatever else is in it."""
    columns = options["columns"][:2] if "columns" in options else None
    kind = options.get("format", path.suffix.lower().removeprefix("."))
    if kind in ("parquet", "pq"):
        found = named_columns(columns, names_in_parquet(path), str(path), implicit=True)
        names = [found["user"], found["item"]]
        table = read_parquet(path, names).select(names).rename_columns(["user", "item"])
    else:
        separator = options.get("separator", SEPARATORS.get(kind))
        encoding = options.get("encoding", "utf-8")
        written = TextFile(columns, options.get("header"), separator, encoding, implicit=True)
        table = read_text(path, written)
    wanted = {"user": "user", "item": "item", "rating": None, "timestamp": None}
    with name_file(path):
        cells = frame_cells(table, wanted, implicit=True)
    users = _like(cells.user_ids, model.user_ids_)[cells.rows]
    return users, _like(cells.item_ids, model.item_ids_)[cells.columns]


def read_id_file(path: Path, known: IdArray) -> IdArray:
    """Read ids, one in a line."""
    with refuse_damage(path, "a file of ids"):
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    return ids_from_text([line for line in lines if line], known, f"every line of {path}")


def read_choice(
    path: Path, model: Recommender, users: IdArray | None, options: dict[str, Any]
) -> IdArray | list[IdArray]:
    """Read items for all users alike, one id in a line, or a user and an item in each line.

    Without `users`, pairs are refused.

    Returns
    -------
    ndarray or list of ndarray
        Ids of items; of pairs, those of each of the users.
    """
    if not _has_pairs(path, model.item_ids_):
        return read_id_file(path, model.item_ids_)
    if users is None:
        raise ValueError(
            f"{path} must have an item in each line, for all users alike: with --output, those of "
            f"each user are the columns candidates and exclude of --histories."
        )
    rows, items = read_pairs(path, model, options)
    if rows.dtype.kind != users.dtype.kind or not np.isin(rows, users).any():
        raise ValueError(
            f"{path} must have items of the users that are recommended to, as {users[0].item()!r}, "
            f"but has those of others alone, as {rows[0].item()!r}."
        )
    order = np.argsort(rows, kind="stable")
    rows, items = rows[order], items[order]
    ends = (np.searchsorted(rows, users, side=side) for side in ("left", "right"))
    return [items[first:last] for first, last in zip(*ends, strict=True)]


def _has_pairs(path: Path, items: IdArray) -> bool:
    """Return whether a file's lines have a user and an item, and not an id alone."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    path.open("rb").close()  # whose error says more if there is no file
    first = next((line.strip() for _, line in read_lines(path, "utf-8")), "")
    is_id = is_integer(first) if items.dtype.kind == "i" else first in items
    return not is_id and any(separator in first for separator in (*",;|\t", "::"))


def read_content(path: Path, items: IdArray) -> Content:
    """Read what is known of items: a sparse matrix by item id, or a table of token lists."""
    if path.suffix.lower() in (".parquet", ".pq"):
        there = names_in_parquet(path)
        with name_file(path):
            # the others may be large; if one is missing, from_frame says what there is
            both = ["item", "tokens"]
            content = Content.from_frame(
                read_parquet(path, both if set(both) <= set(there) else there)
            )
        return Content(
            content.to_matrix(),
            item_ids=_like(content.item_ids, items),
            vocabulary=content.vocabulary,
        )
    if items.dtype.kind != "i":
        raise ValueError(
            f"{path} must be a Parquet file with the columns item and tokens, since the items' ids "
            f"are strings (for example {items[0].item()!r}) and a matrix has rows by number."
        )
    try:
        matrix = read_matrix(path)
    except ValueError as error:
        raise ValueError(
            f"{path} must be a sparse matrix that scipy.sparse.save_npz wrote, or a Parquet file "
            f"with the columns item and tokens, but it cannot be read as one: {error}"
        ) from None
    with name_file(path):
        return Content(matrix)


def _like(ids: IdArray, known: IdArray) -> IdArray:
    return ids.astype(np.str_) if known.dtype.kind != "i" else ids
