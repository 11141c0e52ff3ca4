"""What tests need to know of each model; a new one does not pass before it is in both tables."""

import inspect
from typing import Any

from isthmus import RBM, AutoRec, BiasedMF, DualAutoRec

# What their defaults were when digests were recorded
_OF_500: dict[str, Any] = {"batch_size": 500, "annealing_steps": 200_000}

# A few quick settings, for tests of what every model promises, digests of weights and model files
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "AutoRec": [
        {"hidden_units": (6,), "epochs": 3, "batch_size": 16, "regularization": 5.0},
        {"orientation": "user", "hidden_units": (6,), "epochs": 3, "batch_size": 16},
        {"hidden_units": (7, 3, 7), "epochs": 2, "dropout": 0.2, "corruption_kind": "gaussian"},
        {
            "hidden_units": (7, 3, 7),
            "epochs": 2,
            "pretraining_epochs": 2,
            "hidden_regularization": 1.0,
            "initial_deviation": 0.05,
        },
        {
            "hidden_units": (6,),
            "epochs": 3,
            "regularization": 5.0,
            "optimizer": "lbfgs",
            "batch_size": None,
            "corruption": 0.0,
        },
    ],
    "DualAutoRec": [
        {"hidden_units": (6,), "epochs": 3, "batch_size": 16, "regularization": 5.0},
        {"hidden_units": (7, 3), "epochs": 2},
    ],
    "BiasedMF": [
        {"factors": 5, "epochs": 3},
        {"factors": 5, "epochs": 3, "optimizer": "als"},
    ],
    "RBM": [
        {"hidden_units": 6, "epochs": 3, "batch_size": 16},
        {"orientation": "user", "hidden_units": 6, "epochs": 3, "batch_size": 16},
    ],
    "EASE": [{"regularization": 5.0}],
    "MultDAE": [
        {"hidden_units": (6,), "epochs": 3, "batch_size": 16},
        {"hidden_units": (7, 3, 7), "epochs": 2, "batch_size": 500, "regularization": 0.01},
        {"hidden_units": (6,), "epochs": 2, "batch_size": 16, "likelihood": "bernoulli"},
    ],
    "MultVAE": [
        {
            "hidden_units": (6,),
            "latent_units": 3,
            "epochs": 3,
            "batch_size": 16,
            "decoder_units": None,
            "annealing_steps": 200_000,
        },
        {"hidden_units": (6,), "latent_units": 3, "decoder_units": (), "epochs": 2, **_OF_500},
        {
            "hidden_units": (6,),
            "latent_units": 3,
            "epochs": 2,
            "sampled_items": 9,
            "decoder_units": None,
            **_OF_500,
        },
    ],
    "CVAE": [
        {"hidden_units": (6,), "latent_units": 3, "epochs": 3},
        {"hidden_units": (6, 4), "latent_units": 3, "epochs": 2, "item_regularization": 0.5},
    ],
    "CDAE": [
        {"hidden_units": 6, "epochs": 3, "batch_size": 16},
        {"hidden_units": 6, "epochs": 2, "tied": True, "loss": "square", "learning_rate": 0.02},
    ],
}
_MEMBER: dict[str, Any] = {"random_state": 0, "epochs": 3}
SETTINGS["Blend"] = [
    {
        "models": [
            AutoRec(hidden_units=(6,), batch_size=16, regularization=5.0, clip=False, **_MEMBER),
            AutoRec(orientation="user", hidden_units=(6,), batch_size=16, clip=False, **_MEMBER),
            BiasedMF(factors=5, clip=False, **_MEMBER),
        ]
    },
    {"models": [RBM(hidden_units=6, batch_size=16, **_MEMBER), BiasedMF(factors=5, **_MEMBER)]},
]

# Values to draw parameters from, for fuzzing
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "elu", "selu", "swish")
BOOLEANS = (True, False)
LAYERS = ((1,), (3,), (3,), (2, 2), (3, 1, 3))
REGULARIZATIONS = (0, 0.0, 1e-3, 0.5, 5.0, 300.0)
RATES = (1e-4, 1e-3, 1e-2, 0.1)
SHARED = {
    "epochs": (1, 1, 2, 3),
    "validation_fraction": (None, None, None, 0.1, 0.5, 0.9),
    "patience": (None, None, None, None, 1),
    "random_state": (0, 1, None, 2**63),
    "num_threads": (1, 1, 1, 1, 1, 2, 0),
    "verbose": (False,),
}
RANKED = {"validation_metric": ("ndcg@2", "recall@50", "ndcg@10", "auc", "mrr@1")}
RATED = {
    "learning_rate_decay": (0.5, 0.95, 1.0),
    "default_rating": (None, None, 3, 2.5, 0, -10.0, 1e30),
    "clip": BOOLEANS,
}
OPTIMIZERS = ("adam", "adagrad", "sgd")
WEIGHTS = (None, None, "values", "log1p")

RANGES: dict[str, dict[str, tuple[Any, ...]]] = {
    "AutoRec": SHARED
    | RATED
    | {
        "orientation": ("item", "user"),
        "hidden_units": LAYERS,
        "encoder_activation": ACTIVATIONS,
        "decoder_activation": ("identity", "identity", *ACTIVATIONS),
        "regularization": ("auto", *REGULARIZATIONS),
        "hidden_regularization": (None, None, 0.0, 2.0),
        "pretraining_epochs": (0, 0, 0, 1),
        "initial_deviation": (None, None, 0.01, 10.0),
        "optimizer": ("adam", "adam", "adagrad", "lbfgs", "momentum", "rprop", "sgd"),
        "learning_rate": RATES,
        "batch_size": (256, 1, 2, 5, None, None),
        "corruption": (0.0, 0.0, 0.4, 0.99),
        "corruption_kind": ("mask", "gaussian"),
        "dropout": (0.0, 0.0, 0.5, 0.99),
        "learning_rate_schedule": ("linear", "exponential"),
        "rating_scale": ("standard", "raw"),
        "row_scaling": (0.5, 0.0, 1.0),
        "input_centering": ("none", "global", "row"),
        "target_centering": ("none", "global", "row"),
        "precision": ("auto", "auto", "float32", "bfloat16"),
    },
    "BiasedMF": SHARED
    | RATED
    | {
        "factors": (1, 2, 5, 17),
        "regularization": REGULARIZATIONS,
        "bias_regularization": ("auto", 0.0, 1.0),
        "weighted_regularization": (True, False, 0.0, 0.75, 1.0),
        "optimizer": ("sgd", "als"),
        "learning_rate": RATES,
        "init_scale": (0, 0.1, 5.0),
    },
    "RBM": SHARED
    | {name: values for name, values in RATED.items() if name != "clip"}
    | {
        "orientation": ("item", "user"),
        "hidden_units": (1, 2, 5),
        "regularization": REGULARIZATIONS[:4],
        "learning_rate": RATES,
        "momentum": (0.0, 0.9),
        "cd_steps": ((1,), (1, 3), 2),
        "batch_size": (100, 1, 3),
        "init_scale": (0, 0.01, 3.0),
    },
    "EASE": {
        "regularization": (1e-3, 0.5, 500.0, "auto"),
        "weights": WEIGHTS,
        "num_threads": (1, 0),
        "verbose": (False,),
    },
    "MultDAE": SHARED
    | RANKED
    | {
        "hidden_units": LAYERS,
        "activation": ACTIVATIONS,
        "regularization": REGULARIZATIONS,
        "optimizer": OPTIMIZERS,
        "learning_rate": RATES,
        "batch_size": (500, 1, 3, "auto"),
        "dropout": (0.0, 0.5, 0.99),
        "likelihood": ("multinomial", "multinomial", "bernoulli", "gaussian"),
        "sampled_items": (None, None, None, 1, 4, 100),
        "weights": WEIGHTS,
    },
}
RANGES["DualAutoRec"] = {
    name: values
    for name, values in RANGES["AutoRec"].items()
    if name in inspect.signature(DualAutoRec).parameters
} | {"batch_size": ("auto", 1, 2, 5), "corruption": (0.0, 0.4, 0.99)}
RANGES["MultDAE"]["precision"] = ("auto", "float32", "bfloat16")
RANGES["MultVAE"] = RANGES["MultDAE"] | {
    "decoder_units": (None, None, (), (2,)),
    "latent_units": (1, 3),
    "beta": (0, 0.2, 1.0),
    "annealing_steps": (0, 3, 200000),
}
RANGES["CDAE"] = SHARED | RANKED | {
    "hidden_units": (1, 3),
    "encoder_activation": ACTIVATIONS,
    "loss": ("logistic", "square"),
    "tied": BOOLEANS,
    "regularization": REGULARIZATIONS,
    "corruption": (0.0, 0.5, 0.99),
    "negatives": (0, 1, 5, 50),
    "weights": WEIGHTS,
    "optimizer": OPTIMIZERS,
    "learning_rate": RATES,
    "batch_size": (256, 1, 3),
}  # fmt: skip
RANGES["CVAE"] = SHARED | RANKED | {
    "hidden_units": LAYERS,
    "latent_units": (1, 3),
    "user_regularization": (0.01, 1.0),
    "item_regularization": (0.1, 10.0),
    "content_weight": (0.1, 1.0),
    "positive_weight": (1.0, 5.0),
    "other_weight": (0, 0.01, 0.5),
    "regularization": REGULARIZATIONS[:4],
    "corruption": (0.0, 0.3, 0.99),
    "pretraining_epochs": (0, 1, 2),
    "pretraining_learning_rate": RATES,
    "learning_rate": RATES,
    "batch_size": (128, 1, 3),
}  # fmt: skip
RANGES["Blend"] = {
    "validation_fraction": (0.1, 0.5),
    "random_state": (0, None),
    "num_threads": (1, 0),
}
