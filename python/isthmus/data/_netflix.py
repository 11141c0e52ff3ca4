"""The Netflix Prize's files: blocks of ratings, each under a line with the movie's id."""

import re
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from isthmus.data._layout import check_encoding
from isthmus.data._reading import Unpacked, refuse_damage, shortened

__all__ = ["read_netflix"]


def read_netflix(path: str | PathLike[str], encoding: str) -> Any:
    """Read ``1:`` and, below it, ``1488844,3,2005-09-06``: user, rating and date.

    Returns
    -------
    pyarrow.Table
        Columns user, item, rating and timestamp.
    """
    check_encoding(encoding)
    if encoding == "utf-8":
        encoding = "latin-1"  # files are ASCII; Arrow cannot give skip() a line that is not UTF-8
    heads: list[int] = []
    movies: list[int] = []
    wrong: list[str] = []

    def skip(row: Any) -> str:
        movie = re.fullmatch(r"([0-9]{1,18}):[ \t]*", row.text)
        if movie is None:
            wrong.append(
                f"line {row.number}: there must be a movie's id and a colon, or a user, "
                f"a rating and a date, but there is {shortened(row.text)}."
            )
            return "error"
        heads.append(row.number)
        movies.append(int(movie[1]))
        return "skip"

    names = ["user", "rating", "timestamp"]
    types = (pa.int64(), pa.float32(), pa.timestamp("s"))
    with refuse_damage(path, "a file of the Netflix Prize"), Unpacked(path) as stream:
        try:
            table = pyarrow.csv.read_csv(
                pa.PythonFile(stream, "r"),
                # lines have numbers only where they are read one after the other
                pyarrow.csv.ReadOptions(column_names=names, use_threads=False, encoding=encoding),
                pyarrow.csv.ParseOptions(
                    quote_char=False, ignore_empty_lines=False, invalid_row_handler=skip
                ),
                pyarrow.csv.ConvertOptions(column_types=dict(zip(names, types, strict=True))),
                pa.system_memory_pool(),
            )
        except pa.ArrowInvalid:
            if wrong:
                raise ValueError(f"{path}, {wrong[0]}") from None
            raise
        # a head's line number, less the heads up to it, is how many ratings come before it
        before = np.array(heads) - 1 - np.arange(len(heads))
        items = np.repeat(movies, np.diff(before, append=len(table)))
        return table.append_column("item", pa.array(items, pa.int64()))
