"""Inputs as JSON: what JSON lacks is tagged."""

import base64
import json

import numpy as np

TAG = "$"


def encode(value):
    """Turn an input into what JSON holds without loss."""
    if isinstance(value, dict):
        return {key: encode(v) for key, v in value.items()}
    if isinstance(value, list):
        return [encode(v) for v in value]
    if isinstance(value, tuple):
        return {TAG: "tuple", "of": [encode(v) for v in value]}
    if isinstance(value, bytes):
        return {TAG: "bytes", "of": base64.b64encode(value).decode()}
    if isinstance(value, np.generic):
        return {TAG: "scalar", "dtype": value.dtype.str, "of": value.item()}
    if isinstance(value, np.ndarray):
        return {TAG: "array", "dtype": value.dtype.str, "of": value.tolist()}
    if isinstance(value, complex):
        return {TAG: "complex", "of": [value.real, value.imag]}
    return value


def decode(value):
    """Return what `encode` gave."""
    if isinstance(value, list):
        return [decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode(v) for key, v in value.items()}
    kind, of = value[TAG], value["of"]
    if kind == "tuple":
        return tuple(decode(v) for v in of)
    if kind == "bytes":
        return base64.b64decode(of)
    if kind == "scalar":
        return np.dtype(value["dtype"]).type(of)
    if kind == "array":
        return np.array(of, value["dtype"])
    return complex(*of)


def dumps(case):
    """Write a case; lone surrogates and NaN are kept as Python's JSON keeps them."""
    return json.dumps(encode(case)) + "\n"


def loads(text):
    """Read a case."""
    return decode(json.loads(text))
