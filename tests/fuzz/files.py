"""Files of ratings and of titles: text, npz, Parquet."""

import bz2
import gzip
import json
import warnings
import zipfile
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from isthmus import read_items, read_ratings, write_ratings

from .expectations import FILE_ERRORS, refusal, require
from .mutate import (
    STRINGS,
    mutate_array,
    mutate_bytes,
    mutate_npy,
    mutate_zip,
    npy,
    odd_value,
    zip_of,
)

# Text

FIELDS = (
    *("", " ", '"', '""', '"a', 'a"b', "'", "nan", "NaN", "inf", "-inf", "1e38", "1e308", "1e400"),
    *(
        "-0",
        "0",
        "00",
        "007",
        "9223372036854775807",
        "9223372036854775808",
        "-1",
        "18446744073709551616",
    ),
    *(
        "1.5",
        "1,5",
        "1e3",
        "0x10",
        "NULL",
        "NA",
        "None",
        "true",
        "False",
        "\x00",
        "\x1b[31m",
        "\ufeff",
    ),
    *("é", "𝟙", "١٢", "\u2028", "\x85", "\x1f", "\x0b", "2020-01-31", "2020-01-31T12:30:00Z"),
    *(
        "2020-13-01",
        "99999-01-01",
        "0000-00-00",
        "2020-01-31T12:30:00+99:99",
        "1_000",
        "+5",
        "=1+1",
    ),
    *(
        "::",
        ":",
        ";",
        "|",
        ",",
        "\t",
        "#",
        "-",
        ".",
        "1.",
        ".5",
        "5e",
        "a b",
        "9" * 40,
        "0." + "1" * 60,
    ),
)
NAMES = (
    *("userId", "movieId", "rating", "timestamp", "user", "item", "score", "user_id", "item_id"),
    *("title", "genres", "", " ", "1", "x", "userId,", '"user"', "date", "Rating", "uid"),
)
SEPARATORS = (",", ",", ",", "\t", "\t", "::", "::", ";", "|", " ")
ENCODINGS = ("latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "utf-7", "cp037")
COMPRESSIONS = {
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def draw_csv(rng):
    """Draw a text file of ratings, and how it is read."""
    separator = rng.choice(SEPARATORS)
    rows = _rating_rows(rng)
    if rng.random() < 0.5:
        names = ["userId", "movieId", "rating", "timestamp"][: len(rows[0])]
        rows.insert(0, [rng.choice(NAMES) if rng.random() < 0.05 else name for name in names])
    data, encoding = _text(rng, rows, separator)
    suffix = rng.choice((".csv", ".tsv", ".dat", ".data", ".txt", "", ".CSV"))
    options = {} if rng.random() < 0.7 else _text_options(rng, separator)
    if encoding and rng.random() < 0.8:
        options["encoding"] = encoding
    data, suffix = _compressed(rng, data, suffix)
    return {"data": data, "suffix": suffix, "options": options}


def draw_lines(rng):
    """Draw JSON lines, or the Netflix Prize's blocks, and how they are read."""
    rows = _rating_rows(rng)
    if rng.random() < 0.5:
        lines, suffix = _json_lines(rng, rows), rng.choice((".jsonl", ".json", ".ndjson", ".txt"))
    else:
        lines, suffix = [f"{rng.randrange(9)}:"], rng.choice((".txt", "", ".csv"))
        for user, _, *rest in (row for row in rows if len(row) > 1):
            day = f"2005-01-{rng.randint(1, 31):02}"
            odd = rng.random() < 0.03
            lines.append(",".join([user, *rest[:1], rng.choice(FIELDS) if odd else day]))
            if rng.random() < 0.3:
                lines.append(f"{rng.choice((3, 17770, '9' * 20, 'x', ''))}:")
    text = rng.choice(("\n", "\n", "\r\n")).join(lines) + rng.choice(("\n", ""))
    data = text.encode("utf-8", "replace")
    data = mutate_bytes(rng, data) if rng.random() < 0.3 else data
    options = {} if rng.random() < 0.7 else _text_options(rng, ",")
    data, suffix = _compressed(rng, data, suffix)
    return {"data": data, "suffix": suffix, "options": options}


def _json_lines(rng, rows):
    names = ("reviewerID", "asin", "overall", "unixReviewTime")
    odd = (None, True, [], {}, [[1]], {"a": {"b": 1}}, "", "x", -1, 2**70, 1.5, 1e300, "\x00", "é")

    def value(field):
        if rng.random() < 0.02:
            return rng.choice(odd)
        return (
            float(field)
            if field.replace(".", "", 1).isdecimal() and "." in field
            else (
                int(field) if field.isascii() and field.isdecimal() and len(field) < 40 else field
            )
        )

    lines = []
    for row in rows:
        entry = {name: value(field) for name, field in zip(names, row, strict=False)}
        if rng.random() < 0.05:
            entry.pop(rng.choice(names), None)
        if rng.random() < 0.3:
            entry["reviewText"] = rng.choice(FIELDS) * rng.choice((1, 1, 1000))
        lines.append(json.dumps(entry, ensure_ascii=rng.random() < 0.5))
    if rng.random() < 0.03:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(("[" * 100_000, '{"a":' * 50_000)))
    return lines


def draw_items(rng):
    """Draw a text file of titles, and how it is read."""
    separator = rng.choice(SEPARATORS)
    rows = [[str(n), rng.choice(("Heat (1995)", "Été", 'a, "b"', rng.choice(FIELDS))), "Crime"]
            for n in rng.sample(range(100), rng.randint(1, 12))]  # fmt: skip
    if rng.random() < 0.4:
        rows.insert(0, ["movieId", "title", "genres"])
    data, encoding = _text(rng, rows, separator)
    options = {"encoding": encoding} if encoding and rng.random() < 0.7 else {}
    if rng.random() < 0.05:
        options["encoding"] = rng.choice((*ENCODINGS, *BAD_ENCODINGS))
    data, suffix = _compressed(rng, data, rng.choice((".csv", ".dat", ".item", "")))
    return {"data": data, "suffix": suffix, "options": options}


def _rating_rows(rng):
    """Make valid ratings, of which some fields are then odd."""
    width, ids = rng.choice((3, 4, 4, 4, 2)), rng.choice(("{}", "{}", "{}", "u{}", "é{}"))
    cells = rng.sample(range(100), rng.randint(1, 25))
    rows = [
        [ids.format(cell // 10 + 1), str(cell % 10 + 1), rng.choice(("1", "3.5", "5", "0")),
         str(978300760 + cell)][:width] for cell in cells
    ]  # fmt: skip
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        row = rng.randrange(len(rows))
        action = rng.randrange(10)
        if action <= 4 and rows[row]:
            rows[row][rng.randrange(len(rows[row]))] = rng.choice(FIELDS)
        elif action == 5:
            rows[row] = rows[row][: rng.randrange(width + 1)]
        elif action == 6:
            rows[row] = [*rows[row], *(rng.choice(FIELDS) for _ in range(rng.choice((1, 2, 2000))))]
        elif action == 7:
            rows.insert(row, list(rng.choice(rows)))
        elif action == 8:
            rows[row] = ["9" * rng.choice((20, 5000, 100_000))]
        else:
            column, field = rng.randrange(width), rng.choice(FIELDS)
            rows = [[field if at == column else f for at, f in enumerate(r)] for r in rows]
    return rows


def _text(rng, rows, separator):
    """Return a table's bytes, and the encoding if it is an unusual one."""
    newline = rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
    if rng.random() < 0.15:
        rows = [['"' + field.replace('"', '""') + '"' for field in row] for row in rows]
    text = newline.join(separator.join(row) for row in rows)
    text += rng.choice((newline, newline, "", newline * 3))
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.1 else None
    data = text.encode(encoding or "utf-8", "replace")
    return (mutate_bytes(rng, data) if rng.random() < 0.25 else data), encoding


BAD_ENCODINGS = ("hex", "rot13", "zip", "undefined", "idna", "punycode", "", "x\0", "ascii", "mbcs")


def _text_options(rng, separator):
    pool = {
        "format": ("csv", "tsv", "dat", "parquet", "npz", "jsonl", "netflix", "x"),
        "columns": (
            *((0, 1), (0, 1, 2), (1, 0, 2, 3), ("userId", "movieId", "rating"), (0, 1, None)),
            *((0, 0, 1), (0, 1, 2, 9), (-1, 0, 1), ("x", "y", "z"), (0,), "012", 5, (None, 1, 2)),
            *((0, 1, None, 3), [0, 1, 2, None], (True, 2, 1), (2**70, 0, 1), (0, "movieId", 2)),
        ),
        "header": (True, False, 1, "no"),
        "separator": (separator, separator, "", ",", "::", "\n", '"', "ab", "\0", "é", 5, " "),
        "duplicates": ("error", "mean", "sum", "last", "first", None),
        "missing_values": (0, -1, [0, 5], 1e40, "0", [], [None], float("nan")),
        "encoding": (*ENCODINGS, *BAD_ENCODINGS, 5),
        "implicit": (True, True, False, None),
    }
    return {name: rng.choice(pool[name]) for name in rng.sample(list(pool), rng.choice((1, 1, 2)))}


def _compressed(rng, data, suffix):
    draw = rng.random()
    if draw > 0.2:
        return data, suffix
    kind = rng.choice(list(COMPRESSIONS))
    if draw < 0.0003:
        return _bomb(kind, rng.choice((b"\0", b"1", b"\n", b"1,", b'"'))), suffix + kind
    packed = COMPRESSIONS[kind](data)
    if draw < 0.1:
        packed = mutate_bytes(rng, packed)
    elif draw < 0.12:
        packed += rng.choice((packed, b"\0" * 9, b"x"))
    return packed, suffix + (kind if rng.random() < 0.95 else rng.choice(list(COMPRESSIONS)))


@cache
def _bomb(kind, filler):
    """Compress 1.2 GiB into little."""
    block = COMPRESSIONS[kind](filler * (12 * 2**20 // len(filler)))
    return block * 100


# npz


def draw_npz(rng):
    """Draw an npz file, and how it is read."""
    arrays = dict(rng.choice(_npz_seeds()))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        name = rng.choice(list(arrays))
        action = rng.randrange(12)
        if action <= 6:
            arrays[name] = mutate_array(rng, arrays[name])
        elif action == 7:
            del arrays[name]
        elif action == 8:
            arrays[rng.choice((*arrays, "user_id", "timestamp", "x", "../x", ""))] = arrays.pop(
                name
            )
        elif action == 9:
            arrays[name] = rng.choice(list(arrays.values()))
        elif action == 10 and "format" in arrays:
            formats = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok", "x", "", "__init__")
            arrays["format"] = np.array(rng.choice(formats).encode())
        else:
            arrays[name] = _odd_array(rng)
        if not arrays:
            break
    members = [(f"{name}.npy", npy(array)) for name, array in arrays.items()]
    if rng.random() < 0.3 and members:
        at = rng.randrange(len(members))
        members[at] = (members[at][0], mutate_npy(rng, members[at][1]))
    if rng.random() < 0.05 and members:
        members.append(rng.choice(members)) if rng.random() < 0.5 else rng.shuffle(members)
        members[0] = (rng.choice((members[0][0], "user", "a/user.npy", "x" * 300)), members[0][1])
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) * 9 + (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    method = rng.choice(methods)
    data = _zip_quietly(members, method)
    draw = rng.random()
    if draw < 0.15:
        data = mutate_zip(rng, data)
    elif draw < 0.35:
        data = mutate_bytes(rng, data)
    options = {} if rng.random() < 0.9 else _text_options(rng, ",")
    return {"data": data, "suffix": ".npz", "options": options}


def _zip_quietly(members, method):
    unique = dict(members)
    if len(unique) < len(members):  # zipfile warns of names that occur twice
        one, other = zip_of(unique.items(), method), zip_of(members[:1], method)
        return one + other
    return zip_of(members, method)


def _odd_array(rng):
    value = odd_value(rng)
    try:
        return np.array(value)
    except (ValueError, OverflowError):
        return np.array(rng.choice(STRINGS).replace("\ud800", "?"))


@cache
def _npz_seeds():
    rng = np.random.default_rng(0)
    matrix = sparse.random(8, 6, 0.3, random_state=rng, dtype=np.float32)
    matrix.data = np.ceil(matrix.data * 5).astype(np.float32)
    padded = sparse.csr_matrix(np.ones((4, 6), np.float32))
    seeds = []
    for source, forms in ((matrix, ("csr", "csc", "coo")), (padded, ("bsr", "dia"))):
        for form in forms:
            file = BytesIO()
            sparse.save_npz(file, source.asformat(form), compressed=False)
            seeds += [_arrays_in(file)] * 2
    names = np.array([f"u{i}" for i in range(8)])
    own = {
        "user": np.repeat(np.arange(8, dtype=np.int32), 2),
        "item": np.tile(np.arange(6, dtype=np.int32), 3)[:16],
        "rating": np.tile(np.float32([1, 3.5, 5, 0]), 4),
        "shape": np.array([8, 6]),
        "user_id": np.arange(8) * 3,
        "item_id": np.arange(6),
    }
    plain = {name: own[name] for name in ("user", "item", "rating")}
    stamped = {**own, "timestamp": np.arange(16) + 978300760, "user_id": names[::-1]}
    return [*seeds, own, plain, stamped, own, stamped]


def _arrays_in(file):
    file.seek(0)
    with np.load(file) as archive:
        return {name: archive[name] for name in archive}


# Parquet

ARROW_TYPES = (
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.string(), pa.large_string(), pa.binary(), pa.bool_(), pa.date32(), pa.null()),
    *(pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.time64("us"), pa.duration("s")),
    *(pa.decimal128(5, 1), pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.binary(3)),
    *(pa.map_(pa.string(), pa.int64()), pa.dictionary(pa.int32(), pa.string())),
    pa.dictionary(pa.int8(), pa.int64()),
)
BIG = (2**63 - 1, 2**62, -1, 2**31, 0)


def draw_parquet(rng):
    """Draw a Parquet file, and how it is read."""
    n = rng.choice((0, 1, 2, 10, 10, 20))
    names = ["userId", "movieId", "rating", "timestamp"][: rng.choice((3, 4, 4, 2))]
    kinds = [
        rng.choice((pa.int64(), pa.int32(), pa.string())),
        pa.int64(),
        pa.float32(),
        pa.int64(),
    ]
    while rng.random() < 0.35:
        kinds[rng.randrange(4)] = rng.choice(ARROW_TYPES)
    if rng.random() < 0.1:
        names[rng.randrange(len(names))] = rng.choice((*NAMES, "a.b", "x" * 300, "\x1b[31m"))
    columns = [_column(rng, kind, n) for kind, _ in zip(kinds, names, strict=False)]
    table = pa.Table.from_arrays(columns, names=names)
    if rng.random() < 0.1:
        table = table.replace_schema_metadata({b"pandas": rng.choice((b"{}", b"[", b"\xff"))})
    file = BytesIO()
    pq.write_table(
        table,
        file,
        row_group_size=rng.choice((None, 1, 3)) if n else None,
        compression=rng.choice(("none", "snappy", "gzip", "zstd")),
        version=rng.choice(("1.0", "2.6")),
        use_dictionary=rng.random() < 0.5,
        store_schema=rng.random() < 0.7,
    )
    data = file.getvalue()
    draw = rng.random()
    if draw < 0.2:
        data = mutate_bytes(rng, data)
    elif draw < 0.5:  # the footer, which is about all there is
        at = rng.randrange(len(data) - 8 - int.from_bytes(data[-8:-4], "little"), len(data))
        data = data[:at] + mutate_bytes(rng, data[at : at + 64]) + data[at + 64 :]
    options = {} if rng.random() < 0.85 else _text_options(rng, ",")
    return {"data": data, "suffix": rng.choice((".parquet", ".pq", "")), "options": options}


def _column(rng, kind, n):
    values = [_value(rng, kind, at) for at in range(n)]
    if n and rng.random() < 0.05:
        values[rng.randrange(n)] = None
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError):
        return pa.nulls(n, kind)


def _value(rng, kind, at):
    types = pa.types
    if types.is_dictionary(kind):
        return _value(rng, kind.value_type, at % 3)
    if types.is_integer(kind):
        return rng.choice(BIG) if rng.random() < 0.02 else at + 1
    if types.is_floating(kind):
        odd = rng.random() < 0.02
        value = rng.choice((float("nan"), float("inf"), 1e300)) if odd else rng.randint(1, 5)
        return np.float16(value) if types.is_float16(kind) and not odd else float(value)
    if types.is_string(kind) or types.is_large_string(kind):
        return rng.choice(("", "\x1b[31m", "é", "12")) if rng.random() < 0.05 else f"i{at}"
    makers = {
        types.is_fixed_size_binary: lambda: b"abc",
        types.is_binary: lambda: b"\xff%d" % at,
        types.is_boolean: lambda: at % 2 == 0,
        types.is_date: lambda: date(2020, 1, 1 + at % 28),
        types.is_timestamp: lambda: datetime(2020, 1, 1, at % 24),
        types.is_time: lambda: datetime(2020, 1, 1, at % 24).time(),
        types.is_duration: lambda: timedelta(seconds=at),
        types.is_decimal: lambda: Decimal(at),
        types.is_list: lambda: [at] * (at % 3),
        types.is_struct: lambda: {"a": at},
        types.is_map: lambda: [("k", at)],
    }
    return next((make() for holds, make in makers.items() if holds(kind)), None)


# What is promised


def check_ratings(given, folder):
    """Read ratings: they are whole and can be written, or the file is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of values that look like counts
        return _check_ratings(given, folder)


def _check_ratings(given, folder):
    path = folder / f"input{given['suffix']}"
    path.write_bytes(given["data"])
    try:
        ratings = read_ratings(path, **given["options"])
    except Exception as error:
        return refusal(error, FILE_ERRORS, path=path)
    finally:
        path.unlink()
    check_whole(ratings)
    _check_round_trip(ratings, folder, len(given["data"]) % 3)
    return "accepted"


def check_items(given, folder):
    """Read titles."""
    path = folder / f"input{given['suffix']}"
    path.write_bytes(given["data"])
    try:
        titles = read_items(path, **given["options"])
    except Exception as error:
        return refusal(error, FILE_ERRORS, path=path)
    finally:
        path.unlink()
    require(len(titles) > 0, "no titles, and no error")
    require(len({type(name) for name in titles}) == 1, "ids of two types")
    require(all(isinstance(title, str) for title in titles.values()), "a title is no string")
    return "accepted"


def check_whole(ratings):
    n_users, n_items = ratings.shape
    indptr, indices = ratings.indptr, ratings.indices
    require((indptr.dtype, indices.dtype) == (np.int64, np.int32), "indices of other types")
    require(ratings.values.dtype == np.float32, "values of another type")
    require(np.isfinite(ratings.values).all(), "a rating is not finite")
    require(len(indptr) == n_users + 1 and indptr[0] == 0, "indptr does not fit the users")
    require(indptr[-1] == len(indices) == len(ratings.values) > 0, "indptr does not fit the cells")
    require((np.diff(indptr) >= 0).all(), "indptr falls")
    require(0 <= indices.min() <= indices.max() < n_items, "a column lies outside")
    rises = np.diff(indices.astype(np.int64)) > 0
    starts = np.isin(np.arange(1, len(indices)), indptr)
    require((rises | starts).all(), "columns do not increase in a row")
    for ids, n in ((ratings.user_ids, n_users), (ratings.item_ids, n_items)):
        require(ids.shape == (n,) and ids.dtype.kind in "iU", f"ids of {ids.dtype}, {ids.shape}")
        require(len(np.unique(ids)) == n, "ids are not unique")
    if ratings.timestamps is not None:
        require(len(ratings.timestamps) == ratings.nnz, "timestamps do not fit the cells")


def _check_round_trip(ratings, folder, which):
    suffix = (".npz", ".parquet", ".csv")[which]
    path = folder / f"again{suffix}"
    if which == 2 and any(map(_is_padded, (ratings.user_ids, ratings.item_ids))):
        return  # to be refused: readers of text drop spaces around ids
    write_ratings(ratings, path)
    again = read_ratings(path)
    path.unlink()
    if which == 0:
        for name in ("indptr", "indices", "values", "user_ids", "item_ids", "timestamps"):
            one, other = getattr(ratings, name), getattr(again, name)
            require(np.array_equal(one, other), f"{name} differ after a round trip by npz")
    elif which == 1:
        require(_cells(ratings) == _cells(again), "cells differ after a round trip by Parquet")
    else:  # where ids of digits become integers
        one, other = np.sort(ratings.values), np.sort(again.values)
        require(np.array_equal(one, other), "values differ after a round trip by csv")


def _is_padded(ids):
    return ids.dtype.kind == "U" and (np.char.strip(ids) != ids).any()


def _cells(ratings):
    users, items, values, stamps = ratings.to_arrays()
    stamps = stamps if stamps is not None else np.zeros(len(values))
    return sorted(zip(*map(np.ndarray.tolist, (users, items, values, stamps)), strict=True))
