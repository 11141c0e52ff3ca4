"""Random programs: a model, its parameters, and calls of its methods."""

import math

from tests.model_registry import BOOLEANS, RANGES

from isthmus import Recommender

from .matrices import draw_ids, draw_matrix
from .mutate import INTEGERS, REALS, STRINGS

RATING_MODELS = ("AutoRec", "BiasedMF", "RBM", "DualAutoRec")

LENGTHS = ("epochs", "pretraining_epochs", "cd_steps", "negatives", "num_threads")
"""What takes time, or threads, in proportion: no large values, which would be only slow."""


def odd_argument(rng):
    """Draw what hardly any argument may be."""
    draw = rng.random()
    if draw < 0.4:
        return rng.choice([i for i in INTEGERS if abs(i) < 300 or abs(i) >= 2**40])
    if draw < 0.65:
        return rng.choice(REALS)
    if draw < 0.8:
        return rng.choice(STRINGS)
    return rng.choice(ODD_ARGUMENTS)


ODD_ARGUMENTS = (
    *(None, True, (), [], (0,), (-1,), (2**58,), (2**40, 2), (2.5,), ("x",), (True,), [3], [3, 2]),
    *(b"x", 1j, {"a": 1}, (math.nan,), (None,), 10**400, (2**64,), [[1]], (1,) * 300),
)


def draw_parameters(rng, model):
    """Draw a few parameters other than the defaults, now and then one that is bad."""
    pool = RANGES[model]
    needed = [n for n in ("hidden_units", "factors", "latent_units", "epochs") if n in pool]
    needed += [n for n in ("pretraining_epochs", "num_threads", "random_state") if n in pool]
    others = [name for name in pool if name not in needed]
    names = needed + rng.sample(others, rng.randrange(min(6, len(others)) + 1))
    parameters = {name: rng.choice(pool[name]) for name in names}
    if parameters.get("optimizer") == "lbfgs" and rng.random() < 0.9:
        parameters |= {"batch_size": None, "corruption": 0.0, "dropout": 0.0}
    if model == "Blend":
        members = rng.choices(RATING_MODELS, k=rng.choice((1, 2, 2, 3)))
        parameters["models"] = [[m, draw_parameters(rng, m)] for m in members]
    elif rng.random() < 0.12:
        name = rng.choice(list(pool))
        parameters[name] = odd_argument(rng)
        if name in LENGTHS and not _is_short(parameters[name]):
            parameters[name] = rng.choice((-1, 0, None, "x", 1.5))
        if name == "verbose":
            parameters[name] = rng.choice(("no", None, 1))
    return parameters


def _is_short(value):
    values = value if isinstance(value, tuple | list) else [value]
    return len(values) < 5 and not any(isinstance(v, int) and v > 5 for v in values)


METRICS = (
    *("ndcg@2", "recall@1", "precision@3", "map@5", "mrr@2", "hit_rate@1", "auc", "coverage@2"),
    *("rmse", "mae", "RMSE", "ndcg@2", "recall_capped@3"),
)
BAD_METRICS = ("ndcg", "ndcg@0", "ndcg@-1", "ndcg@" + "9" * 30, "x", "", "ndcg@2@3", "\x1b[31m")


class World:
    """The users and items of one program, and what comes after training."""

    def __init__(self, rng):
        self.rng = rng
        self.n_users, self.n_items = (rng.choice((1, 2, 5, 8, 12, 12)) for _ in range(2))
        self.users = draw_ids(rng, self.n_users, "u")
        self.items = draw_ids(rng, self.n_items, "i")
        self.with_ids = self.users is not None or self.items is not None

    def known(self):
        """Describe ratings of the known users and items, or nearly so."""
        rng = self.rng
        off = rng.random() < 0.04
        n_users, n_items = self.n_users + off, self.n_items
        if not self.with_ids:
            return {"$matrix": draw_matrix(rng, n_users, n_items)}
        users, items = self.users, self.items
        if off:
            users = [
                *(users or range(self.n_users)),
                "new" if users and isinstance(users[0], str) else 999,
            ]
        return {"$matrix": draw_matrix(rng, n_users, n_items, users, items)}

    def new(self, axis="user"):
        """Describe ratings of users, or items, who come after training."""
        rng, n = self.rng, self.rng.choice((1, 2, 3))
        others = self.items if axis == "user" else self.users
        n_others = self.n_items if axis == "user" else self.n_users
        with_ids = self.with_ids and rng.random() < 0.8
        if with_ids:
            others = list(others) if others else list(range(n_others))
            others = rng.sample(others, rng.randint(1, len(others)))
            if rng.random() < 0.05:
                others[0] = rng.choice((others[0], 998, "other", ""))
            mine = self.users if axis == "user" else self.items
            strings = bool(mine) and isinstance(mine[0], str)
            fresh = [f"n{i}" if strings else i for i in rng.sample(range(100, 200), n)]
            n_others = len(others)
        else:
            others, fresh = None, None
        if axis == "user":
            return {"$matrix": draw_matrix(rng, n, n_others, fresh, others)}
        return {"$matrix": draw_matrix(rng, n_others, n, others, fresh)}

    def users_of(self, ids, n):
        """Draw ids of users or items: one, a few, or some that are wrong."""
        rng = self.rng
        ids = ids or list(range(n))
        draw = rng.random()
        if draw < 0.3:
            return rng.choice(ids)
        if draw < 0.85:
            return rng.choices(ids, k=rng.choice((1, 2, 4)))
        wrong = (ids[0], str(ids[0]), -1, 2**40, "", None, 1.5, [], [[ids[0]], [ids[-1]]], True)
        return rng.choice(
            (rng.choice(wrong), [rng.choice(wrong), ids[0]], [[ids[0]], [ids[0], ids[-1]]])
        )

    def content(self):
        """Describe features of the items."""
        return {"$matrix": draw_matrix(self.rng, self.n_items, self.rng.choice((1, 4, 6)))}

    def metrics(self):
        """Draw metrics."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.3:
            return None
        if draw < 0.9:
            return rng.choices(METRICS, k=rng.choice((1, 1, 2)))
        return rng.choice(([], rng.choice(METRICS), [rng.choice(BAD_METRICS)], [None], 5))


def draw(rng):
    """Draw a program."""
    model = rng.choice(
        ("AutoRec", "DualAutoRec") * 3
        + ("BiasedMF",) * 3
        + ("RBM", "EASE", "MultDAE", "MultVAE", "CDAE", "CVAE", "Blend")
    )
    world = World(rng)
    steps = [_fit(rng, world, model)] if rng.random() < 0.95 else []
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        steps.append(_step(rng, world, model))
    return {"model": model, "parameters": draw_parameters(rng, model), "steps": steps,
            "threads": rng.random() < 0.04}  # fmt: skip


def _fit(rng, world, model):
    arguments = {"X": world.known()}
    if rng.random() < 0.15:
        arguments["validation"] = world.known()
    if model == "CVAE" and rng.random() < 0.7:
        arguments["content"] = world.content()
    return ["fit", arguments]


def _step(rng, world, model):
    name = rng.choice(
        ("fit", "partial_fit", "fold_in", "fold_in", "fold_in", "predict", "evaluate", "evaluate",
         "recommend", "recommend", "recommend", "similar_items", "save", "save", "pickle", "clone",
         "copy", "set_params", "fold_in_items", "update", "update")
    )  # fmt: skip
    n = rng.choice((1, 2, 3, 20, 20, 0, -1, 2**40, 2.5, True, None)) if rng.random() < 0.3 else 3
    users = world.users_of(world.users, world.n_users)
    items = world.users_of(world.items, world.n_items)
    if name == "fit":
        return _fit(rng, world, model)
    if name == "partial_fit":
        return [name, {"X": world.known(), "epochs": rng.choice((1, 1, 2, 0, "x"))}]
    if name == "update":
        data = world.known() if rng.random() < 0.5 else world.new(rng.choice(("user", "item")))
        return [name, {"X": data, "epochs": rng.choice((None, None, 1, 2, 0, "x"))}]
    if name == "fold_in":
        axis = "user" if rng.random() < 0.7 else rng.choice(("item", "item", "x", None))
        return [name, {"X": world.new("item" if axis == "item" else "user"), "axis": axis}]
    if name == "predict":
        return [name, {"users": users, "items": items}]
    if name == "similar_items":
        return [name, {"items": items, "n": n}]
    if name == "set_params":
        parameters = draw_parameters(rng, model)
        for used_at_once in ("models", "num_threads"):
            parameters.pop(used_at_once, None)
        return [name, parameters]
    if name == "fold_in_items":
        return [name, {"content": world.content()}]
    if name == "recommend":
        arguments = {"n": n, "exclude_seen": rng.choice(BOOLEANS)}
        if rng.random() < 0.4:
            arguments["ratings"] = world.new()
        elif rng.random() < 0.8:
            arguments["users"] = users
        if rng.random() < 0.3:
            arguments["candidates"] = items
        return [name, arguments]
    if name == "evaluate":
        arguments = {"test": world.known(), "metrics": world.metrics()}
        arguments["exclude_seen"] = rng.random() < 0.3
        if rng.random() < 0.15:
            arguments["ratings"] = world.new()
        for option in ("exclude", "candidates"):
            if rng.random() < 0.1:
                arguments[option] = world.known()
        return [name, arguments]
    return [name, {}]


def untested():
    """Name the models of isthmus that no program is of."""
    names = {name for name, m in Recommender._models.items() if m.__module__.startswith("isthmus.")}
    return names - set(RANGES)
