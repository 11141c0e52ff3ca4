"""Programs of model calls, run against what is promised of every model."""

import copy
import pickle

import numpy as np

import isthmus
from isthmus import ConvergenceError

from .expectations import (
    MODEL_ERRORS,
    Failure,
    check_lists,
    check_measures,
    check_saved,
    predictions,
    refusal,
    require,
    seen_rows,
)
from .matrices import build, fingerprint

LARGE = 2**20
"""A parameter from here on explains a MemoryError."""


def check(plan, folder):
    """Run a program; the outcome is that of its first call that was refused, if any was."""
    outcome = f"accepted: {plan['model']}"
    try:
        model = _make(plan["model"], plan["parameters"])
    except Exception as error:
        return refusal(error, MODEL_ERRORS)
    explained = (MemoryError,) if has_large(plan) else ()
    for name, arguments in plan["steps"]:
        try:
            arguments = {key: _built(value) for key, value in arguments.items()}
            prints = {key: fingerprint(value) for key, value in arguments.items()}
            before = _state(model)
        except (ValueError, TypeError) as error:  # of Ratings; those of SciPy are not ours
            if not _is_ours(error):
                return "refused by SciPy"
            outcome = refusal(error, MODEL_ERRORS)
            continue
        refused = None
        try:
            model = CALLS.get(name, _other)(model, name, arguments, folder)
        except Failure:
            raise
        except Exception as error:
            if isinstance(error, explained):
                refused = "refused: MemoryError"
            else:
                refused = refusal(error, MODEL_ERRORS)
            _check_kept(name, before, model, error)
        for key, value in arguments.items():
            require(fingerprint(value) == prints[key], f"{name} changed its argument {key}")
        outcome = refused or outcome
    if plan["threads"]:
        _check_threads(plan)
    return outcome


def has_large(value):
    """Return whether a number in a program is so large that memory may not do."""
    if isinstance(value, dict):
        return any(
            has_large(v) for key, v in value.items() if key not in ("$matrix", "random_state")
        )
    if isinstance(value, list | tuple):
        return any(map(has_large, value))
    return isinstance(value, int | float) and abs(value) >= LARGE


def _make(name, parameters):
    if name == "Blend":
        members = [_make(*member) for member in parameters["models"]]
        parameters = {**parameters, "models": members}
    return getattr(isthmus, name)(**parameters)


def _built(value):
    return build(value["$matrix"]) if isinstance(value, dict) and "$matrix" in value else value


def _is_ours(error):
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
        if "isthmus" in trace.tb_frame.f_globals.get("__name__", ""):
            return True
    return False


def _state(model):
    """Return what a fitted model answers, or None."""
    if not model.__sklearn_is_fitted__():
        return None
    threads, model.num_threads = model.num_threads, 1  # which may be bad, and changes nothing
    try:
        return predictions(model).tobytes()
    finally:
        model.num_threads = threads


def _check_kept(name, before, model, error):
    """Check that a failed call leaves a model as it was or, where it trains, not fitted."""
    trains = name in ("fit", "partial_fit")
    if not model.__sklearn_is_fitted__():
        require(before is None or trains, f"{name} failed, and the model is no longer fitted")
        require(
            before is None or isinstance(error, ConvergenceError | MemoryError),
            f"{name} was refused, and the model is no longer fitted",
        )
    else:
        require(before is not None, f"{name} failed, and the model is fitted")
        require(before == _state(model), f"{name} failed, and the model predicts otherwise")


# Calls


def _other(model, name, arguments, folder):
    method = getattr(model, name, None)
    if method is None:
        return model
    result = method(**arguments)
    if name in ("fit", "partial_fit", "fold_in", "fold_in_items", "update"):
        require(result is model, f"{name} does not return the model")
        predictions(model)
    return model


def _predict(model, name, arguments, folder):
    result = model.predict(**arguments)
    shape = np.broadcast_shapes(np.shape(arguments["users"]), np.shape(arguments["items"]))
    require(np.shape(result) == shape, f"predictions of shape {np.shape(result)} for {shape}")
    require(np.isfinite(result).all(), "a prediction is not finite")
    return model


def _recommend(model, name, arguments, folder):
    orders = ("likely", "rating") if model._rates else ("likely",)
    lists = [model.recommend(**arguments, order=order) for order in orders]
    users, candidates = arguments.get("users"), arguments.get("candidates")
    seen = None
    if arguments["exclude_seen"] and "ratings" not in arguments:
        seen = seen_rows(model)
        if users is not None:
            at = np.atleast_1d(model._users.positions(users, "users"))
            seen = [seen[position] for position in at.reshape(-1)]
    for order, (ids, scores) in zip(orders, lists, strict=True):
        check_lists(
            *np.atleast_2d(ids, scores),
            items=model.item_ids_,
            n=arguments["n"],
            seen=seen,
            candidates=None if candidates is None else np.atleast_1d(candidates),
            by_score=not model._rates or order == "rating",
        )
    return model


def _similar(model, name, arguments, folder):
    ids, scores = np.atleast_2d(*model.similar_items(**arguments))
    check_lists(ids, scores, items=model.item_ids_, n=arguments["n"])
    return model


def _evaluate(model, name, arguments, folder):
    check_measures(model.evaluate(**arguments))
    return model


def _save(model, name, arguments, folder):
    path = folder / "model.safetensors"
    try:
        return check_saved(model, path)
    finally:
        path.unlink(missing_ok=True)


def _pickle(model, name, arguments, folder):
    again = pickle.loads(pickle.dumps(model))
    require(_state(again) == _state(model), "a pickled model predicts otherwise")
    return again


def _copy(model, name, arguments, folder):
    again = copy.deepcopy(model)
    require(_state(again) == _state(model), "a copied model predicts otherwise")
    return again


def _clone(model, name, arguments, folder):
    again = type(model)(**model.get_params())
    require(not again.__sklearn_is_fitted__(), "a clone is fitted")
    require(repr(again) == repr(model), "a clone has other parameters")
    return model


def _set_params(model, name, arguments, folder):
    before = _state(model)
    model.set_params(**arguments)
    if "clip" not in arguments and "default_rating" not in arguments:
        require(_state(model) == before, "set_params changes predictions before the next fit")
    return model


CALLS = {
    "predict": _predict,
    "recommend": _recommend,
    "similar_items": _similar,
    "evaluate": _evaluate,
    "save": _save,
    "pickle": _pickle,
    "copy": _copy,
    "clone": _clone,
    "set_params": _set_params,
}


def _check_threads(plan):
    """Check that a fit gives the same bits at one thread and at three."""
    name, arguments = plan["steps"][0] if plan["steps"] else ("", {})
    if name != "fit":
        return
    found = []
    for threads in (1, 3):
        model = _make(plan["model"], _with_threads(plan["parameters"], threads))
        try:
            model.fit(**{key: _built(value) for key, value in arguments.items()})
        except Exception as error:
            found.append(type(error))
        else:
            found.append(_bits(model))
    require(found[0] == found[1], "other bits with three threads than with one")


def _with_threads(parameters, threads):
    seeded = {**parameters, "num_threads": threads}
    if "random_state" in parameters:
        seeded["random_state"] = parameters["random_state"] or 0
    if "models" in parameters:
        seeded["models"] = [[m, _with_threads(p, threads)] for m, p in parameters["models"]]
    return seeded


def _bits(model):
    return {n: a.tobytes() for n, a in model._tensors().items() if not n.endswith("history")}
