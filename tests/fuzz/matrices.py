"""Matrices for models, as plain descriptions and as the objects that they describe."""

import hashlib

import numpy as np
from scipy import sparse

from isthmus import Ratings

from .mutate import INTEGERS

FORMS = ("csr", "csr", "csr", "csc", "coo", "bsr", "dia", "lil", "dok")
VALUES = ("float32", "float32", "float64", "int8", "int64", "uint8", "bool", "float16", ">f4")
ODD_VALUES = (float("nan"), float("inf"), 1e300, 3e38, -3e38, 9e37, 1e-45, 2.0**63, -1.0)
POINTERS = ("indptr", "indices", "row", "col", "data", "offsets")


def draw_ids(rng, n, prefix):
    """Draw ids in any order: None (positions), integers or strings."""
    kind = rng.randrange(3)
    numbers = rng.sample(range(3 * n), n)
    return (None, numbers, [f"{prefix}{i}" for i in numbers])[kind]


def draw_matrix(rng, n_rows, n_columns, users=None, items=None, *, odd=0.15):
    """Describe a matrix; one with ids becomes Ratings."""
    cells = [(r, c) for r in range(n_rows) for c in range(n_columns)]
    density = rng.choice((0.1, 0.3, 0.3, 0.6, 1.0))
    chosen = [cell for cell in cells if rng.random() < density] or cells[:1]
    if rng.random() < 0.3:
        rng.shuffle(chosen)
    spread = rng.choice(((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), (1,), (0, 1), (-3, 0, 2.5)))
    spec = {
        "shape": [n_rows, n_columns],
        "rows": [r for r, _ in chosen],
        "columns": [c for _, c in chosen],
        "values": [float(rng.choice(spread)) for _ in chosen],
        "form": rng.choice(FORMS),
    }
    if users is not None or items is not None or rng.random() < 0.2:
        spec |= {"form": "ratings", "users": users, "items": items}
    if rng.random() < odd:
        _make_odd(rng, spec)
    return spec


def _make_odd(rng, spec):
    action = rng.randrange(8)
    if action == 0:
        spec["dtype"] = rng.choice((*VALUES, "complex64", "uint64"))
    elif action == 1 and spec["values"]:
        spec["values"][rng.randrange(len(spec["values"]))] = rng.choice(ODD_VALUES)
    elif action == 2:
        spec["values"] = [v * rng.choice((1e30, 1e37, 1e-30, -1.0)) for v in spec["values"]]
    elif action == 3:
        for name in ("rows", "columns", "values"):
            spec[name] = spec[name] + spec[name][:1]
    elif action == 4:
        spec["form"] = rng.choice(("dense", "frame", "list", "empty", "vector", "none"))
    elif action == 5:
        spec["layout"] = rng.choice(("readonly", "strided", "int64", "int16", "uint32", "spare"))
    else:
        edits = spec["edits"] = []
        for _ in range(rng.choice((1, 1, 2))):
            value = rng.choice((*INTEGERS, spec["shape"][0], spec["shape"][1], 3, 400000))
            at = rng.choice((0, 0, -1, rng.randrange(12)))
            how = rng.choice(("set", "set", "set", "cut", "longer", "float", "flat"))
            edits.append([rng.choice(POINTERS), how, at, value])


def build(spec):
    """Make what a description describes."""
    shape = tuple(spec["shape"])
    with np.errstate(all="ignore"):
        values = np.array(spec["values"]).astype(spec.get("dtype", "float32"))
    rows, columns = np.array(spec["rows"], np.int32), np.array(spec["columns"], np.int32)
    form = spec["form"]
    if form == "none":
        return None
    if form == "list":
        return values.tolist()
    if form == "empty":
        return sparse.csr_array(shape, dtype=np.float32)
    if form == "vector":
        return sparse.coo_array(values.reshape(-1))
    if form == "frame":
        import pandas as pd  # which takes a while, and is seldom needed

        return pd.DataFrame({"user": rows, "item": columns, "rating": values})
    matrix = sparse.coo_array((values, (rows, columns)), shape=shape)
    if form == "dense":
        return matrix.toarray()
    if form == "ratings":
        return Ratings.from_matrix(matrix, user_ids=spec["users"], item_ids=spec["items"])
    if form == "csr" and "layout" not in spec and len(rows) % 5 == 0:
        matrix = _unsorted(rows, columns, values, shape)
    else:
        matrix = matrix.asformat(
            "coo" if form in ("lil", "dok") and values.dtype == np.float16 else form
        )
    _lay_out(matrix, spec.get("layout"))
    for name, how, at, value in spec.get("edits", ()):
        _edit(matrix, name, how, at, value)
    return matrix


def _unsorted(rows, columns, values, shape):
    order = np.argsort(rows, kind="stable")
    indptr = np.searchsorted(rows[order], np.arange(shape[0] + 1)).astype(np.int32)
    matrix = sparse.csr_array(shape, dtype=values.dtype)
    matrix.indptr, matrix.indices, matrix.data = indptr, columns[order], values[order]
    return matrix


def _parts(matrix):
    """Return a matrix's arrays by name."""
    if matrix.format == "coo":
        return dict(zip(("row", "col"), matrix.coords, strict=False)) | {"data": matrix.data}
    return {n: a for n in POINTERS if isinstance(a := getattr(matrix, n, None), np.ndarray)}


def _put(matrix, name, array):
    if matrix.format == "coo" and name in ("row", "col"):
        coords = list(matrix.coords)
        coords[name == "col"] = array
        matrix.coords = tuple(coords)
    else:
        setattr(matrix, name, array)


def _lay_out(matrix, layout):
    if layout is None or matrix.format in ("lil", "dok"):
        return
    for name, array in _parts(matrix).items():
        if layout == "readonly":
            array = array.copy()
            array.flags.writeable = False
        elif layout == "strided" and array.ndim == 1:
            array = np.repeat(array, 2)[::2]
        elif layout == "spare":
            if name in ("indices", "data") and array.ndim == 1:
                array = np.concatenate([array, array[:3]])
        elif name not in ("data",) and layout in ("int64", "int16", "uint32"):
            array = array.astype(layout)
        _put(matrix, name, array)


def _edit(matrix, name, how, at, value):
    parts = {} if matrix.format in ("lil", "dok") else _parts(matrix)
    if name not in parts:
        return
    array = parts[name]
    if how == "cut":
        array = array[:at]
    elif how == "longer":
        array = np.concatenate([array, array])
    elif how == "float":
        array = array.astype(float) + 0.5
    elif how == "flat":
        array = array[np.newaxis]
    elif array.size and array.dtype.kind in "iu":
        array = array.copy()
        info = np.iinfo(array.dtype)
        array.flat[at % array.size] = min(max(value, int(info.min)), int(info.max))
    _put(matrix, name, array)


def fingerprint(value):
    """Hash the arrays of an input, to see whether a method changes it."""
    digest = hashlib.blake2b(digest_size=16)
    for array in _arrays(value):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
    return digest.digest()


def _arrays(value):
    if isinstance(value, Ratings):
        ids = (value.user_ids, value.item_ids)
        return [value.indptr, value.indices, value.values, *ids]
    if isinstance(value, np.ndarray):
        return [value]
    if hasattr(value, "columns"):  # of a data frame
        return [value[name].to_numpy() for name in value.columns]
    if isinstance(value, list | tuple):
        return [array for entry in value for array in _arrays(entry)]
    if sparse.issparse(value):
        if value.format == "lil":
            return [value.rows, value.data]
        if value.format == "dok":
            return [np.array(sorted(value.items()), dtype=object)]
        return list(_parts(value).values())
    return []
