"""Model files of every model, structure-aware: parameters, tensors, headers, bytes."""

import json
from functools import cache
from tempfile import TemporaryDirectory

import numpy as np
from scipy import sparse
from tests.model_registry import SETTINGS

import isthmus
from isthmus import CVAE, Ratings, Recommender
from isthmus.models import _files as persistence

from .expectations import (
    FILE_ERRORS,
    MODEL_ERRORS,
    Failure,
    check_lists,
    check_measures,
    check_saved,
    predictions,
    refusal,
    seen_rows,
)
from .mutate import (
    DEEP,
    SIZES,
    json_text,
    mutate_array,
    mutate_bytes,
    mutate_header,
    mutate_json,
    odd_value,
    read_tensors,
    tensor_header,
    write_tensors,
)


def _seed_models():
    models = []
    for name, cases in SETTINGS.items():
        kind = getattr(isthmus, name)
        known = kind(**cases[0]).get_params()
        for number, settings in enumerate(cases):
            extra = {"random_state": 0, "num_threads": 1}
            if number % 2:  # which leaves validation metrics in the file
                extra |= {"validation_fraction": 0.3, "validation_metric": "ndcg@2", "clip": False}
            own = {key: value for key, value in extra.items() if key in known}
            models.append(kind(**{**settings, **own}))
    return models


def small_ratings(*, named):
    """Return ratings of 8 users and 6 items, with ids in no order."""
    rng = np.random.default_rng(1)
    matrix = sparse.random(8, 6, 0.5, random_state=rng)
    matrix.data = np.ceil(matrix.data * 5)
    users = [f"u{i}" for i in (3, 1, 7, 0, 2, 6, 5, 4)] if named else [30, 1, 7, 0, 2, 6, 5, 4]
    items = [f"é{i}" for i in (5, 1, 3, 0, 2, 4)] if named else [5, 1, 30, 0, 2, 4]
    return Ratings.from_matrix(matrix, user_ids=users, item_ids=items)


@cache
def seeds():
    """Return valid files: (metadata, tensors) of each model, and their bytes."""
    content = sparse.random(6, 5, 0.5, random_state=np.random.default_rng(2), format="csr")
    parsed, files = [], []
    with TemporaryDirectory() as folder:
        for number, model in enumerate(_seed_models()):
            options = {"content": content} if isinstance(model, CVAE) and number % 2 == 0 else {}
            model.fit(small_ratings(named=number % 2 == 1), **options)
            model.save(f"{folder}/seed.safetensors")
            with open(f"{folder}/seed.safetensors", "rb") as file:
                metadata, tensors = read_tensors(file.read())
            for name, array in tensors.items():
                if name.endswith("history"):  # which holds seconds
                    tensors[name] = np.concatenate([np.zeros_like(array[:, :1]), array[:, 1:]], 1)
            parsed.append((metadata, tensors))
            header = json.dumps(tensor_header(metadata, tensors))
            files.append(signed(write_tensors(header, tensors)))
    return parsed, files


def draw(rng):
    """Draw a model file, whose checksum mostly is that of what it holds."""
    data = _damaged(rng)
    return {"data": signed(data) if rng.random() < 0.75 else data}


def _damaged(rng):
    parsed, files = seeds()
    at = rng.randrange(len(files))
    if rng.random() < 0.12:
        return mutate_bytes(rng, files[at], files)
    metadata, tensors = dict(parsed[at][0]), dict(parsed[at][1])
    about = json.loads(metadata["isthmus"])
    others = [rng.choice(parsed)[1]]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if rng.random() < 0.35:
            about = _mutate_about(rng, about)
        else:
            mutate_tensors(rng, tensors, others)
    if about is not None:
        metadata["isthmus"] = json_text(rng, about)
    header = tensor_header(metadata, tensors)
    draw = rng.random()
    if draw < 0.15:
        header = mutate_header(rng, header)
    elif draw < 0.2:
        header["__metadata__"] = mutate_json(rng, header["__metadata__"])
    elif draw < 0.22:
        header = mutate_json(rng, header)
    text = json_text(rng, header) if rng.random() < 0.05 else json.dumps(header)
    data = write_tensors(text, tensors)
    if rng.random() < 0.05:
        data = mutate_bytes(rng, data, files)
    return data


def _mutate_about(rng, about):
    if not isinstance(about, dict) or not isinstance(about.get("parameters"), dict):
        return mutate_json(rng, about)
    about = {**about, "parameters": dict(about["parameters"])}
    parameters = about["parameters"]
    draw = rng.random()
    if draw < 0.5 and parameters:
        name = rng.choice(list(parameters))
        parameters[name] = (
            odd_value(rng) if rng.random() < 0.6 else mutate_json(rng, parameters[name])
        )
    elif draw < 0.6:
        about["model"] = rng.choice((*Recommender._models, "Recommender", "EpochModel", "", None))
    elif draw < 0.63:
        about["parameters"] = rng.choice((DEEP, [], {}, None, {"x": DEEP}))
    else:
        return mutate_json(rng, about)
    return about


def mutate_tensors(rng, tensors, others):
    """Change, drop, rename or swap one of a file's arrays."""
    if not tensors:
        return
    name = rng.choice(list(tensors))
    action = rng.randrange(10)
    if action <= 5:
        array = mutate_array(rng, tensors[name])
        if array.dtype.newbyteorder("=") in _KNOWN:
            tensors[name] = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    elif action == 6:
        del tensors[name]
    elif action == 7:
        tensors[rng.choice((*tensors, "x", "", "model.", "model.x", "__metadata"))] = tensors.pop(
            name
        )
    elif action == 8:
        tensors[name] = rng.choice(list(tensors.values()))
    else:
        other = others[0]
        name = rng.choice(list(other))
        tensors[name] = other[name]


_KNOWN = {np.dtype(code) for code in ("?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8")}
_KNOWN |= {np.dtype("i8"), np.dtype("u8")}
assert len(_KNOWN) == len(SIZES) - 1  # NumPy has no BF16


def signed(data):
    """Put the checksum of what a file holds in its place, so that a mutation gets past it."""
    checksum = getattr(persistence, "_checksum", None)
    try:
        metadata, tensors = read_tensors(data)
        about = json.loads(metadata["isthmus"])
        del about["checksum"]
        about["checksum"] = checksum(about, tensors)
        metadata = {**metadata, "isthmus": json.dumps(about)}
        return write_tensors(json.dumps(tensor_header(metadata, tensors)), tensors)
    except Exception:  # a file so damaged has none
        return data


# What is promised


def check(given, folder):
    """Load a model: it then does all that a model does, or the file is refused."""
    path = folder / "input.safetensors"
    path.write_bytes(given["data"])
    try:
        model = Recommender.load(path)
    except Exception as error:
        return refusal(error, FILE_ERRORS, path=path)
    finally:
        path.unlink()
    grid = predictions(model)
    users, items = model.user_ids_, model.item_ids_
    n = 1 + len(given["data"]) % 4
    check_lists(
        *model.recommend(users, n=n),
        items=items,
        n=n,
        seen=seen_rows(model),
        by_score=not model._rates,
    )
    check_lists(*model.similar_items(items, n=n), items=items, n=n)
    if grid.size:
        one = sparse.csr_array(([3.0], ([0], [0])), shape=grid.shape)
        row = sparse.csr_array(([3.0], ([0], [0])), shape=(1, grid.shape[1]))
        for call in (_evaluate, _recommend):
            try:
                call(model, one, row)
            except Failure:
                raise
            except Exception as error:
                refusal(error, MODEL_ERRORS)
    repr(model)
    check_saved(model, path)
    path.unlink()
    return f"accepted: {type(model).__name__}"


def _evaluate(model, one, row):
    check_measures(model.evaluate(one, ["ndcg@2"], exclude_seen=False))


def _recommend(model, one, row):
    for order in ("likely", "rating") if model._rates else ("likely",):
        check_lists(
            *model.recommend(ratings=row, n=2, order=order),
            items=model.item_ids_,
            n=2,
            by_score=not model._rates or order == "rating",
        )


def untested():
    """Name the models of isthmus that no seed is of."""
    names = {name for name, m in Recommender._models.items() if m.__module__.startswith("isthmus.")}
    return names - {type(model).__name__ for model in _seed_models()}
