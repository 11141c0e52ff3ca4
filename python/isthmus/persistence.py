"""Model files: safetensors with the weights, ids, seen items and parameters, and no code."""

import json
import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from isthmus._csr import CSR, check_structure
from isthmus._files import atomic_write
from isthmus._ids import IdArray, IdIndex

if TYPE_CHECKING:
    from isthmus.base import Recommender

__all__ = [
    "FORMAT_VERSION",
    "description",
    "id_tensors",
    "ids_from",
    "load_model",
    "save_model",
    "unfitted",
]

FORMAT_VERSION = 2
"""Raised whenever files of one version cannot be read by another."""

_WEIGHTS = "model."


def save_model(model: "Recommender", path: str | PathLike[str]) -> None:
    """Write a fitted model; an existing file is replaced only by a complete one."""
    tensors = {
        "seen.indptr": model._seen.indptr,
        "seen.indices": model._seen.indices,
        "range": np.array(model._range, np.float64),
        **id_tensors("users", model._users.ids),
        **id_tensors("items", model._items.ids),
        **{_WEIGHTS + name: array for name, array in model._tensors().items()},
    }
    # one entry, since safetensors writes several in random order
    about = {"format_version": FORMAT_VERSION, **description(model)}
    metadata = {"isthmus": json.dumps(about, default=_plain)}
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with atomic_write(path) as temporary:
        mode = temporary.stat().st_mode & 0o7777
        save_file(contiguous, temporary, metadata=metadata)
        temporary.chmod(mode)  # save_file makes a file anew, which nobody else may read


def description(model: "Recommender") -> dict[str, Any]:
    """Say what a fitted model is, for `unfitted` to make another."""
    return {"model": type(model).__name__, "parameters": model._saved_parameters()}


def unfitted(model: str, parameters: dict[str, Any]) -> "Recommender":
    """Make a model, not fitted yet, from what `description` gave."""
    from isthmus.base import Recommender

    if model not in Recommender._models:
        raise ValueError(f"it holds a model of the unknown kind {model!r}")
    # JSON has no tuples
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in parameters.items()}
    return Recommender._models[model]._from_saved(plain)


def load_model(path: str | PathLike[str]) -> "Recommender":
    """Read a model of any class."""
    about, tensors = _read(path)
    try:
        return _build(about, tensors)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _read(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a model file.")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if "isthmus" not in metadata:
                raise ValueError(f"{path} is no model file of isthmus.")
            about = _parse(metadata["isthmus"], path)
            version = about.get("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(
                    f"{path} has format version {version!r}, and this isthmus reads version "
                    f"{FORMAT_VERSION}: use the isthmus that wrote it, or a newer one."
                )
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no model file, or a damaged one: {error}.") from error


def _parse(text: str, path: str | PathLike[str]) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: its metadata is no JSON: {error}.") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is damaged: its metadata is no JSON object, but {about!r}.")
    return about


def _build(about: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> "Recommender":
    model = unfitted(about["model"], about["parameters"])
    model._check_parameters()
    model._users = IdIndex(ids_from(tensors, "users"), "user")
    model._items = IdIndex(ids_from(tensors, "items"), "item")
    for ids in (model._users, model._items):
        ids.check_unique()
    shape = (len(model._users), len(model._items))
    indptr, indices = tensors["seen.indptr"], tensors["seen.indices"]
    check_structure(indptr, indices, shape, "seen")
    low, high = tensors["range"]
    if not -np.inf < low <= high < np.inf:
        raise ValueError(f"its ratings lie between {low} and {high}")
    model._range = (float(low), float(high))
    model._seen = CSR(indptr, indices, np.empty(0, np.float32), shape)
    model._load_tensors(
        {key[len(_WEIGHTS) :]: v for key, v in tensors.items() if key.startswith(_WEIGHTS)}
    )
    return model


def id_tensors(name: str, ids: IdArray) -> dict[str, NDArray[Any]]:
    """Give ids, or other names, as tensors."""
    if ids.dtype.kind == "i":
        return {f"{name}.ids": ids}
    # safetensors holds numbers only: strings become their UTF-8 bytes and where each one ends
    encoded = [text.encode() for text in ids.tolist()]
    return {
        f"{name}.ids.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.ids.ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def ids_from(tensors: dict[str, NDArray[Any]], name: str) -> IdArray:
    """Take back what `id_tensors` gave."""
    if f"{name}.ids" in tensors:
        integers: IdArray = tensors[f"{name}.ids"]
        return integers
    text = tensors[f"{name}.ids.bytes"].tobytes()
    ends = tensors[f"{name}.ids.ends"].tolist()
    starts = [0, *ends[:-1]]
    return np.array([text[a:b].decode() for a, b in zip(starts, ends, strict=True)], np.str_)


def _plain(value: Any) -> Any:
    """JSON for NumPy's numbers; a random generator has no lasting form and becomes None."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None
