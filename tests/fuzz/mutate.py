"""Mutations of bytes, JSON, arrays and zip archives."""

import json
import math
import struct
import zipfile
from io import BytesIO

import numpy as np

INTEGERS = (
    *(0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, -(2**31)),
    *(2**32 - 1, 2**32, 2**40, 2**53 + 1, 2**58, 2**62, 2**63 - 1, -(2**63), 2**63, 2**64, 10**8),
)
REALS = (
    0.0,
    -0.0,
    0.5,
    1.0,
    -1.0,
    1e-320,
    1e-45,
    1e30,
    3.5e38,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
)
STRINGS = (
    *("", " ", "0", "1", "-1", "x", "nan", "item", "user", "adam", "sgd", "F64", "I8", "BOOL"),
    *("a\x00b", "\x1b[31mred", "\u202e", "é", "𝟙", "\ud800", "x" * 300, "../../x", "=1+1"),
)


DEEP = "@deep"
"""Stands for many nested lists, which only `json_text` can write."""


def number(rng):
    """Draw an odd number, mostly an integer."""
    return rng.choice(INTEGERS) if rng.random() < 0.6 else rng.choice(REALS)


def odd_value(rng, depth=0):
    """Draw a value of any type that JSON has."""
    draw = rng.random()
    if draw < 0.45:
        return number(rng)
    if draw < 0.65:
        return rng.choice(STRINGS)
    if draw < 0.8:
        return rng.choice((None, True, False))
    if draw < 0.82:
        return DEEP
    inner = [odd_value(rng, depth + 1) for _ in range(rng.randrange(3))] if depth < 2 else []
    return inner if draw < 0.93 else {str(i): v for i, v in enumerate(inner)}


# Bytes


def mutate_bytes(rng, data, others=()):
    """Change some bytes: flip, set, insert, delete, truncate, repeat, splice."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 16, 100))
        action = rng.randrange(9)
        if action == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif action == 1 and at < len(data):
            data[at] = rng.randrange(256)
        elif action == 2:
            data[at:at] = rng.randbytes(length)
        elif action == 3:
            del data[at : at + length]
        elif action == 4:
            del data[at:]
        elif action == 5:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
        elif action == 6:
            size = rng.choice((2, 4, 8))
            value = rng.choice(INTEGERS) % 2 ** (8 * size)
            data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
        elif action == 7:
            data[at : at + length] = rng.choice((b"\0", b"\xff", b" ", b"\n", b'"')) * length
        elif others:
            other = rng.choice(others)
            data[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data)


# JSON


def mutate_json(rng, value):
    """Change one place of a JSON value, found by a random walk from the root."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return _mutate_entry(rng, dict(value), key)
    if isinstance(value, list) and value and rng.random() < 0.8:
        return _mutate_entry(rng, list(value), rng.randrange(len(value)))
    if isinstance(value, bool) or not isinstance(value, int | float) or rng.random() < 0.6:
        return odd_value(rng)
    return rng.choice((value + 1, value - 1, -value, value * 2, float(value), str(value), [value]))


def _mutate_entry(rng, container, key):
    action = rng.randrange(10)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, dict):
        container[rng.choice(STRINGS)] = container.pop(key)
    elif action == 2 and isinstance(container, dict):
        container[rng.choice(STRINGS)] = odd_value(rng)
    elif action == 3:
        other = rng.choice(list(container)) if isinstance(container, dict) else 0
        container[key], container[other] = container[other], container[key]
    else:
        container[key] = mutate_json(rng, container[key])
    return container


def json_text(rng, value):
    """Write JSON, now and then not quite."""
    text = json.dumps(value).replace(f'"{DEEP}"', _nested(rng.choice((50, 900, 3000, 200_000))))
    draw = rng.random()
    if draw < 0.9:
        return text
    if draw < 0.92:
        return "[" * rng.choice((10, 1000, 100_000))
    if draw < 0.94:
        return text.replace("}", ', "x": 1' + "0" * rng.choice((30, 400, 5000)) + "}", 1)
    return mutate_bytes(rng, text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _nested(depth):
    return "[" * depth + "]" * depth


# Arrays


def mutate_array(rng, array):
    """Change values, order, size, shape or type of an array."""
    action = rng.randrange(12)
    if action <= 3 and array.size:
        array = array.copy()
        for _ in range(rng.choice((1, 1, 2, 5))):
            _set_entry(rng, array, rng.randrange(array.size))
    elif action == 4 and array.size > 1:
        flat = array.reshape(-1).copy()
        i, j = rng.randrange(array.size), rng.randrange(array.size)
        flat[[i, j]] = flat[[j, i]]
        array = flat.reshape(array.shape)
    elif action == 5:
        array = array.reshape(-1)[: rng.randrange(array.size + 1)]
    elif action == 6:
        array = np.concatenate([array.reshape(-1)] * rng.choice((2, 3)))
    elif action == 7:
        shapes = [(-1, 1), (1, -1), (-1,), (1, 1, -1)] + ([()] if array.size == 1 else [])
        array = array.reshape(rng.choice(shapes)) if array.size else array
    elif action == 8 and array.ndim:
        array = array[::-1] if rng.random() < 0.5 else array.T
    elif action == 9 and array.size:
        array = np.full_like(array, array.reshape(-1)[0])
    else:
        array = _retype(rng, array)
    return array


def _set_entry(rng, array, at):
    kind = array.dtype.kind
    if kind in "iu":
        info = np.iinfo(array.dtype)
        near = int(array.flat[at]) + rng.choice((-2, -1, 1, 2))
        value = rng.choice((near, near, rng.choice(INTEGERS), len(array) if array.ndim else 1))
        array.flat[at] = min(max(value, int(info.min)), int(info.max))
    elif kind == "f":
        with np.errstate(over="ignore", under="ignore"):
            array.flat[at] = rng.choice(REALS)
    elif kind == "U":
        array.flat[at] = rng.choice(STRINGS).replace("\ud800", "?")
    elif kind == "b":
        array.flat[at] = not array.flat[at]


DTYPES = (
    *("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "?", ">i4", ">f8"),
    *("c8", "U3", "S3", "M8[s]", "m8[s]"),
)


def _retype(rng, array, dtypes=DTYPES):
    dtype = np.dtype(rng.choice(dtypes))
    if array.dtype.kind not in "biufc" and dtype.kind not in "US":
        return np.zeros(array.shape, dtype)
    with np.errstate(all="ignore"):
        if dtype.kind == "c" or (array.dtype.kind == "c"):
            return array.astype(np.complex64)
        if dtype.kind in "Mm" and array.dtype.kind == "f":
            return np.nan_to_num(array).clip(-9e15, 9e15).astype(np.int64).astype(dtype)
        try:
            return array.astype(dtype)
        except (RuntimeError, ValueError):  # dates in too few characters, other than ASCII
            return np.zeros(array.shape, dtype)


# npy and zip


def npy(array):
    """Write an array as np.save does; one of objects is pickled."""
    file = BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=True)
    return file.getvalue()


DESCRIPTIONS = (
    *("'|O'", "'<U2147483647'", "'<f8'", "'<i4'", "'>i8'", "'|V0'", "'|S0'", "'<U0'", "'<M8'"),
    *("[('a', '<i4')]", "[('a', '<i4', (2,)), ('b', '|O')]", "'<f16'", "3", "None", "'x'"),
)
SHAPES = (
    *("()", "(0,)", "(-1,)", "(100000000,)", "(10000000000,)", "(9223372036854775807,)", "3"),
    *("(4294967296, 4294967296)", "(1, 1)", "(2, 3, 4)", "('a',)", "(True,)", "(1.5,)"),
)


def mutate_npy(rng, data):
    """Change the header of an npy file, which says what its bytes are."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        return mutate_bytes(rng, data)
    length = struct.unpack("<H", data[8:10])[0]
    header, payload = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    start = header.find("'descr': ") + 9
    end = header.find(", 'fortran")
    shape_at = header.find("'shape': ") + 9
    shape_end = header.find("), }", shape_at) + 1
    action = rng.randrange(5)
    if action == 0:
        descr = rng.choice(DESCRIPTIONS)
        header = header[:start] + descr + header[end:]
    elif action <= 2:
        shape = rng.choice(SHAPES)
        header = header[:shape_at] + shape + header[shape_end:]
    elif action == 3:
        header = header.replace("False", rng.choice(("True", "1", "None", "'x'")))
    else:
        header = mutate_bytes(rng, header.encode("latin-1")).decode("latin-1")
    encoded = header.encode("latin-1", "replace")[:65535]
    version = bytes((rng.choice((1, 1, 1, 1, 2, 3, 4)), 0))
    size = "<H" if version[0] == 1 else "<I"
    return data[:6] + version + struct.pack(size, len(encoded)) + encoded + payload


def zip_of(members, method=zipfile.ZIP_STORED):
    """Write an archive, the same bytes at any time of day."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)
    return file.getvalue()


def mutate_zip(rng, data):
    """Change fields of an archive's local headers and directory: sizes, methods, flags, names."""
    data = bytearray(data)
    signature = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
    places = [at for at in range(len(data) - 4) if data[at : at + 4] == signature]
    if not places:
        return bytes(data)
    at = rng.choice(places) + 4
    field = rng.randrange(0, 42 if signature == b"PK\x01\x02" else 26 if signature[2] == 3 else 18)
    size = rng.choice((1, 2, 4))
    value = rng.choice((0, 1, 8, 9, 12, 14, 99, 255, 65535, 2**31, 2**32 - 1)) % 2 ** (8 * size)
    data[at + field : at + field + size] = value.to_bytes(size, "little")
    return bytes(data)


# safetensors


SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4}
SIZES |= {"F32": 4, "F64": 8, "I64": 8, "U64": 8}
NUMPY = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "i2", "U16": "u2", "F16": "f2", "I32": "i4"}
NUMPY |= {"U32": "u4", "F32": "f4", "F64": "f8", "I64": "i8", "U64": "u8"}
TYPES = {np.dtype(numpy): name for name, numpy in NUMPY.items()}


def read_tensors(data):
    """Split a safetensors file into its metadata and its arrays by name."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, about in header.items():
        begin, end = (8 + length + offset for offset in about["data_offsets"])
        dtype = np.dtype(NUMPY[about["dtype"]])
        tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(about["shape"])
    return metadata, tensors


def tensor_header(metadata, tensors):
    """Return where each array lies, as safetensors' header says it."""
    header, offset = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        header[name] = {
            "dtype": TYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    return header


def write_tensors(header, tensors):
    """Join a header, given as JSON, and the arrays' bytes."""
    text = header.encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in tensors.values())


def mutate_header(rng, header):
    """Change what a header says of one array."""
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return header
    header = dict(header)
    name = rng.choice(names)
    about = header[name] = dict(header[name])
    action = rng.randrange(6)
    if action <= 2 and about["dtype"] in SIZES:
        size = SIZES[about["dtype"]]
        about["dtype"] = rng.choice([n for n in SIZES if SIZES[n] == size])
    elif action == 3:
        about["shape"] = rng.choice((about["shape"][::-1], [1, *about["shape"]], [], [number(rng)]))
    elif action == 4:
        about["data_offsets"] = [
            o + rng.choice((-8, -4, -1, 0, 1, 4)) for o in about["data_offsets"]
        ]
    else:
        header[name] = mutate_json(rng, about)
    return header
