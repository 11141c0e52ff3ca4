"""Model files: safetensors with the weights, ids, seen items and parameters, and no code."""

import hashlib
import json
import os
import reprlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from isthmus._util.files import atomic_write
from isthmus.data._csr import CSR, check_structure, has_increasing_rows
from isthmus.data._id_tensors import id_layout, id_tensors, ids_from
from isthmus.data._ids import IdIndex
from isthmus.data._reading import printable
from isthmus.data._tensor_files import (
    TYPES,
    Layout,
    Tensor,
    Tensors,
    check_layout,
    from_halves,
    in_order,
    map_tensors,
    to_halves,
    write_tensors,
)
from isthmus.models._receipts import Receipt
from isthmus.models._tensors import check_range, double, part_of

__all__ = [
    "FORMAT_VERSION",
    "as_saved",
    "description",
    "load_model",
    "save_model",
    "unfitted",
]

FORMAT_VERSION = 5
"""Increased whenever files of one version cannot be read by programs of another.

2: the first that was released. 3: a checksum, the ranges of a blend's
models, and which users and items a model of ratings was trained on. 4: how AutoRec reads ratings,
and EASE's lambda. 5: a receipt of training, of how many users EASE's weights are, and how AutoRec's
biases are damped.
"""

_OLDEST_VERSION = 2
"""The oldest version that is read."""

_WEIGHTS = "model."
_REMOVED: dict[str, dict[str, Any]] = {
    "RBM": {"conditional": False, "clip": ...},
    "MultVAE": {"code_noise": 1.0},
}
"""Parameters that models once had, with the only values that can still be read; ... is any."""


_OLDER_AUTOREC = {
    "rating_scale": "raw",
    "row_scaling": 0.0,
    "learning_rate_schedule": "exponential",
}
"""Parameters that formats before 4 did not have."""


class _NotReadable(ValueError):
    """A file of another program, or of a version that is not read; it may be undamaged."""


class _Outdated(ValueError):
    """An undamaged file of a model that can no longer be made."""


def save_model(
    model: Any,
    path: str | PathLike[str],
    kinds: Mapping[str, type[Any]],
    *,
    precision: str = "float32",
) -> None:
    """Write a fitted model of `kinds`; only a complete file that can be read replaces another."""
    tensors: Tensors = {
        "seen.indptr": model._seen.indptr,
        "seen.indices": model._seen.indices,
        "range": np.array(model._range, np.float64),
        **id_tensors("users", model._users.ids),
        **id_tensors("items", model._items.ids),
        **{_WEIGHTS + name: array for name, array in model._tensors().items()},
    }
    about = {"format_version": FORMAT_VERSION, **description(model)}
    if model._receipt is not None:
        about["receipt"] = model._receipt.to_json()
    about = json.loads(json.dumps(about, default=_plain))
    if precision == "bfloat16":
        tensors = {name: _rounded(array) for name, array in tensors.items()}
    try:
        _check(about, _whole(tensors), kinds)
    except (TypeError, ValueError) as error:
        raise ValueError(f"this {type(model).__name__} cannot be saved: {error}") from error
    about["checksum"] = _checksum(about, tensors)
    with atomic_write(path) as temporary:
        write_tensors(temporary, tensors, {"isthmus": json.dumps(about)})


def _rounded(array: NDArray[Any]) -> NDArray[Any]:
    """Return a matrix of floats as bfloat16, and any other tensor as it is."""
    is_matrix = array.dtype == np.float32 and array.ndim == 2 and len(array) > 1
    return to_halves(np.ascontiguousarray(array)) if is_matrix else array


def as_saved(tensors: Tensors, path: str | PathLike[str]) -> Tensors:
    """Return tensors in the precision of a file, as they would be read from it."""
    with safe_open(os.fspath(path), framework="numpy") as file:
        halves = any(file.get_slice(name).get_dtype() == "BF16" for name in file.keys())  # noqa: SIM118
    if not halves:
        return tensors
    return _whole({name: _rounded(array) for name, array in tensors.items()})


def _whole(tensors: Tensors) -> Tensors:
    """Return the tensors with bfloat16 as floats."""
    return {
        name: from_halves(array) if array.dtype == np.uint16 else array
        for name, array in tensors.items()
    }


def _checksum(about: dict[str, Any], tensors: Tensors) -> str:
    """Return a checksum of all the content of a file."""
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    for name, array in in_order(tensors):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.data)
    return digest.hexdigest()


def description(model: Any) -> dict[str, Any]:
    """Return the class and parameters of a fitted model, for `unfitted`."""
    return {"model": type(model).__name__, "parameters": model._saved_parameters()}


def unfitted(model: Any, parameters: Any, kinds: Mapping[str, type[Any]]) -> Any:
    """Make a model, not fitted yet, from what `description` returned."""
    if not isinstance(model, str) or model not in kinds:
        raise ValueError(f"it holds a model of the unknown kind {reprlib.repr(model)}")
    kind = kinds[model]
    if not isinstance(parameters, dict):
        raise ValueError(f"its parameters are no JSON object, but {reprlib.repr(parameters)}")
    parameters = dict(parameters)
    for name, only in _REMOVED.get(model, {}).items():
        value = parameters.pop(name, only)
        if only is not ... and value != only:
            raise _Outdated(f"{model} has no parameter {name} any more, but it is {value!r} there")
    for name in parameters.keys() - set(kind._parameter_names()):
        raise ValueError(f"{model} has no parameter {reprlib.repr(name)}")
    # JSON has no tuples
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
    return kind._from_saved(plain)


def load_model(
    path: str | PathLike[str], kinds: Mapping[str, type[Any]], *, mmap: bool = False
) -> Any:
    """Read a model of any class of `kinds`, which has them by their names."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a model file.")
    if not Path(path).is_file():
        raise OSError(f"{path} is a device, or a pipe, and no model file.")
    try:
        about, tensors = _read(path, mmap)
        model = _check(about, tensors, kinds)
        model._restore(part_of(tensors, _WEIGHTS))
    except (_NotReadable, OSError, MemoryError):
        raise
    except _Outdated as error:
        raise ValueError(f"{path} cannot be read: {error}.") from None
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no model file, or a damaged one: {printable(error)[:200]}."
        ) from error
    except Exception as error:  # errors of the checks, and those that they missed
        raise ValueError(f"{path} is damaged: {str(error)[:400].rstrip('.')}.") from error
    model._fitted = True
    return model


def _read(path: str | PathLike[str], mmap: bool) -> tuple[dict[str, Any], Tensors]:
    with safe_open(os.fspath(path), framework="numpy") as file:
        metadata = file.metadata() or {}
        if "isthmus" not in metadata:
            raise _NotReadable(f"{path} is no model file of isthmus.")
        about = _parse(metadata["isthmus"])
        version = about.get("format_version")
        if type(version) is not int or not _OLDEST_VERSION <= version <= FORMAT_VERSION:
            raise _NotReadable(
                f"{path} has format version {reprlib.repr(version)}, and this isthmus reads "
                f"versions {_OLDEST_VERSION} to {FORMAT_VERSION}: use the isthmus that wrote it, "
                f"or a newer one."
            )
        types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        for name, dtype in types.items():
            if dtype not in TYPES.values():
                raise ValueError(f"{name} is of type {dtype}, which no model has")
        if mmap or "BF16" in types.values():  # safetensors makes no arrays of it
            tensors = map_tensors(path)
        else:
            tensors = {name: file.get_tensor(name) for name in types}
    if version > _OLDEST_VERSION:
        checksum = about.pop("checksum", None)
        if checksum != _checksum(about, tensors):
            raise ValueError("its checksum does not match its content")
    tensors = _whole(tensors)
    if version < FORMAT_VERSION:
        _upgrade(about, tensors, version)
    return about, tensors


def _parse(text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata is no JSON: {error}") from None
    if not isinstance(about, dict):
        raise ValueError(f"its metadata is no JSON object, but {reprlib.repr(about)}")
    return about


def _upgrade(about: dict[str, Any], tensors: Tensors, version: int) -> None:
    """Turn the content of a file of an older format into that of this format."""
    parameters = about.get("parameters")
    if not isinstance(parameters, dict) or "model" not in about:
        raise ValueError("its metadata does not name a model and its parameters")
    models = {_WEIGHTS: about}
    if about["model"] == "Blend":
        members = parameters.get("models")
        if not isinstance(members, list) or not all(isinstance(m, dict) for m in members):
            raise ValueError(f"its models are no list of models, but {reprlib.repr(members)}")
        models = {f"{_WEIGHTS}{number}.": member for number, member in enumerate(members)}
        if version == 2:  # it did not keep each model's own range
            tensors |= {f"{prefix}range": tensors["range"] for prefix in models}
    for prefix, model in models.items():
        if version == 2:
            _add_trained(prefix, model, tensors)
        _add_dampings(prefix, model, tensors)
        if version < 4 and model.get("model") == "AutoRec":
            _add_reading(prefix, model["parameters"], tensors)
        elif version < 4 and model.get("model") == "BiasedMF":
            # it grew with the number of ratings: no value of today has the same meaning
            model["parameters"].pop("bias_regularization", None)
        elif model.get("model") == "EASE":
            if version < 4:
                lambda_ = np.array([float(parameters["regularization"])])
                tensors[f"{prefix}regularization"] = lambda_
            tensors[f"{prefix}trained"] = np.array([0])  # which it did not keep


def _add_reading(prefix: str, parameters: dict[str, Any], tensors: Tensors) -> None:
    """Add how AutoRec reads ratings, as format 4 has it: as they were."""
    for name, value in _OLDER_AUTOREC.items():
        parameters.setdefault(name, value)
    tensors[f"{prefix}reading"] = np.array([0, 1, 1, float(parameters["regularization"])])


def _add_dampings(prefix: str, model: dict[str, Any], tensors: Tensors) -> None:
    """Add how AutoRec's biases were damped before format 5: those of users by 8, of items by 4."""
    parts = {}
    if model.get("model") == "AutoRec":
        parts = {prefix: model["parameters"]["orientation"]}
    elif model.get("model") == "DualAutoRec":
        parts = {f"{prefix}{side}.": side for side in ("item", "user")}
    for part, side in parts.items():
        if f"{part}column_offset" in tensors:
            pair = [4.0, 8.0] if side == "item" else [8.0, 4.0]
            tensors[f"{part}dampings"] = np.array(pair)


def _add_trained(prefix: str, about: dict[str, Any], tensors: Tensors) -> None:
    """Add which users and items a model of ratings was trained on, as format 3 has it."""
    if f"{prefix}mean" not in tensors:  # no model of ratings
        return
    ids = "items.ids" if "items.ids" in tensors else "items.ids.ends"
    items = np.zeros(len(tensors[ids]), np.bool_)
    items[tensors["seen.indices"]] = True
    trained = {"users": np.diff(tensors["seen.indptr"]) > 0, "items": items}
    if about["model"] == "AutoRec":  # which told its columns apart
        if f"{prefix}column_seen" not in tensors:
            raise ValueError(f"it has no tensor {prefix}column_seen")
        columns = "users" if about["parameters"]["orientation"] == "item" else "items"
        trained[columns] = tensors.pop(f"{prefix}column_seen")
    for side, those in trained.items():
        tensors[f"{prefix}{side}_trained"] = those


def _check(about: dict[str, Any], tensors: Tensors, kinds: Mapping[str, type[Any]]) -> Any:
    """Check all the content of a file, and make a model that lacks only the weights."""
    if about.keys() - {"receipt"} != {"format_version", "model", "parameters"}:
        raise ValueError(f"its metadata has the entries {reprlib.repr(sorted(about))}")
    model = unfitted(about["model"], about["parameters"], kinds)
    if "receipt" in about:
        model._receipt = Receipt.from_json(about["receipt"])
    model._check_parameters()
    own = {name: array for name, array in tensors.items() if not name.startswith(_WEIGHTS)}
    check_layout(own, _layout(own))
    model._users = IdIndex(ids_from(own, "users"), "user")
    model._items = IdIndex(ids_from(own, "items"), "item")
    for ids in (model._users, model._items):
        ids.check_unique()
    shape = (len(model._users), len(model._items))
    indptr, indices = own["seen.indptr"], own["seen.indices"]
    check_structure(indptr, indices, shape, "seen")
    if not has_increasing_rows(indptr, indices):
        raise ValueError("seen.indices must increase in every row, but they do not")
    model._seen = CSR(indptr, indices, np.empty(0, np.float32), shape)
    model._range = check_range(own["range"])
    model._check_tensors(part_of(tensors, _WEIGHTS))
    return model


def _layout(tensors: Tensors) -> Layout:
    """Describe the tensors that are not the model's own."""
    return {
        **id_layout(tensors, "users"),
        **id_layout(tensors, "items"),
        "seen.indptr": Tensor(np.int64, (None,)),
        "seen.indices": Tensor(np.int32, (None,)),
        "range": double(2),
    }


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers into JSON's; a random generator cannot be kept and becomes None."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None
