"""What is reproduced: the models of each table, their parameters, and what was published.

Parameters follow the paper or its authors' code where these name them. All others, the number of
epochs among them, were chosen by ``--validate``, on a tenth of the training part; those of
`earlier_autorec` beside what AutoRec's defaults then were.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.accuracy import DEEP
from benchmarks.common import earlier_autorec
from isthmus import RBM, AutoRec, BiasedMF, Blend, DualAutoRec

PAPER_REGULARIZATION = 400.0
"""The lambda of the authors' code, for codes in (0, 1)."""
SCALED_REGULARIZATION = PAPER_REGULARIZATION / 16
"""The same where a sigmoid output has the ratings' 4 units as 1, and errors squared."""
HIDDEN_UNITS = (10, 50, 100, 200, 500)
CORRUPTIONS = (0.0, 0.2, 0.4, 0.6)


@dataclass(frozen=True)
class Case:
    """A row of a table."""

    name: str
    """What its results are stored under."""
    label: str
    make: Callable[..., Any]
    """A model's class, or another way to make one from keyword arguments."""
    parameters: dict[str, Any] = field(default_factory=dict)
    published: str = ""

    def model(self, **parameters: Any) -> Any:
        """Make the model, not fitted yet."""
        return self.make(**{**self.parameters, **parameters})


@dataclass(frozen=True)
class Experiment:
    """A table or figure."""

    title: str
    cases: tuple[Case, ...]
    data: str = "ml-1m"
    split: str | None = None
    """A mask of test ratings in the data's file; None: random 90/10."""
    x: str | None = None
    """What a figure's horizontal axis is, and each case's label a number on it."""


def _blend(*members: tuple[Callable[..., Any], dict[str, Any]]) -> Callable[..., Blend]:
    """Return how to make a blend whose members have seeds of their own, from one."""

    def make(random_state: int = 0, num_threads: int = 0) -> Blend:
        models = [
            kind(
                **parameters, random_state=len(members) * random_state + n, num_threads=num_threads
            )
            for n, (kind, parameters) in enumerate(members)
        ]
        return Blend(models, random_state=random_state)

    return make


def _paper(name: str, label: str, published: str = "", **parameters: Any) -> Case:
    return Case(name, label, AutoRec.paper, parameters, published)


BY_ADAM: dict[str, Any] = {
    "optimizer": "adam",
    "batch_size": 256,
    "learning_rate_decay": 0.95,
    "initial_deviation": None,
}
"""What makes the paper's objective be minimised in mini-batches."""
PRETRAINED: dict[str, Any] = {
    "hidden_units": (500, 250, 500),
    "hidden_regularization": 1.0,
    "pretraining_epochs": 40,
    "epochs": 22,
}
ML_100K_U1: dict[str, Any] = {
    "hidden_units": (250,),
    "regularization": 86.0,
    "corruption": 0.48,
    "batch_size": 64,
    "learning_rate": 0.0016,
    "learning_rate_decay": 0.97,
    "epochs": 53,
}
ML_100K: dict[str, Any] = {
    "hidden_units": (250,),
    "regularization": 146.0,
    "corruption": 0.38,
    "batch_size": 64,
    "learning_rate": 0.0028,
    "epochs": 37,
}
DOUBAN: dict[str, Any] = {
    "hidden_units": (1000,),
    "regularization": 88.0,
    "corruption": 0.7,
    "learning_rate": 0.0008,
    "learning_rate_decay": 0.97,
    "epochs": 79,
}
BLEND_ML_1M = _blend(
    (earlier_autorec, {"batch_size": 128}),
    (earlier_autorec, {"orientation": "user", "regularization": 150.0, "corruption": 0.5}),
    (earlier_autorec, DEEP),
    (earlier_autorec, {"input_centering": "row"}),
    (BiasedMF, {}),
)
BLEND_DUAL = _blend(
    (DualAutoRec, {}),
    (DualAutoRec, {}),
    (DualAutoRec, {"hidden_units": (1000,)}),
    (DualAutoRec, {"hidden_units": (500, 250)}),
    (RBM, {}),
    (BiasedMF, {}),
    (AutoRec, {"row_scaling": 0.0, "input_centering": "row"}),
    (AutoRec, {"encoder_activation": "sigmoid", "target_centering": "row"}),
)


def _blend_ml_100k(own: dict[str, Any]) -> Callable[..., Blend]:
    """What `choose_blend` found best to add to the I-AutoRec of a split, and that once more."""
    user = {"orientation": "user", "corruption": 0.5, "regularization": own["regularization"] / 2}
    return _blend(
        (earlier_autorec, own),
        (earlier_autorec, own),
        (earlier_autorec, {**own, **user}),
        (earlier_autorec, {**own, **DEEP}),
        (earlier_autorec, {**own, "input_centering": "row"}),
        (BiasedMF.als, {}),
    )


BLEND_DOUBAN = _blend(
    (earlier_autorec, DOUBAN),
    (earlier_autorec, {**DOUBAN, **DEEP}),
    (earlier_autorec, {**DOUBAN, "encoder_activation": "identity"}),
    (earlier_autorec, {**DOUBAN, "input_centering": "row"}),
    (earlier_autorec, {**DOUBAN, "orientation": "user", "corruption": 0.5, "regularization": 44.0}),
    (BiasedMF, {}),
)

I_AUTOREC = _paper("i-autorec", "1a, 1b, 1c: I-AutoRec, by RProp (f identity, g sigmoid)", ".831")

EXPERIMENTS: dict[str, Experiment] = {
    "autorec-table1": Experiment(
        "Table 1 of the AutoRec paper",
        (
            Case("u-rbm", "1a: U-RBM", RBM, {"orientation": "user"}, ".881"),
            Case("i-rbm", "1a: I-RBM", RBM, {}, ".854"),
            _paper(
                "u-autorec",
                "1a: U-AutoRec, by RProp",
                ".874",
                orientation="user",
                initial_deviation=0.001,
                learning_rate=1e-5,
                epochs=146,
            ),
            _paper(
                "u-autorec-lbfgs",
                "1a: U-AutoRec, by L-BFGS",
                ".874",
                orientation="user",
                optimizer="lbfgs",
                initial_deviation=0.001,
                regularization=100.0,
                epochs=55,
            ),
            _paper(
                "u-autorec-adam",
                "1a: U-AutoRec, by Adam",
                ".874",
                orientation="user",
                regularization=100.0,
                **{**BY_ADAM, "initial_deviation": 0.001, "learning_rate_decay": 0.97},
                epochs=23,
            ),
            I_AUTOREC,
            _paper(
                "i-autorec-lbfgs",
                "1a, 1b, 1c: I-AutoRec, by L-BFGS",
                ".831",
                optimizer="lbfgs",
                epochs=75,
            ),
            _paper(
                "identity-identity",
                "1b: f identity, g identity",
                ".872",
                encoder_activation="identity",
                regularization=10 * PAPER_REGULARIZATION,
            ),
            _paper(
                "sigmoid-identity",
                "1b: f sigmoid, g identity",
                ".852",
                encoder_activation="identity",
                decoder_activation="sigmoid",
                regularization=10 * SCALED_REGULARIZATION,
            ),
            _paper(
                "sigmoid-sigmoid",
                "1b: f sigmoid, g sigmoid",
                ".836",
                decoder_activation="sigmoid",
                regularization=SCALED_REGULARIZATION,
            ),
            Case("biased-mf", "1c: BiasedMF", BiasedMF, {}, ".845"),
            Case("default", "isthmus' default I-AutoRec", AutoRec),
        ),
    ),
    "autorec-hidden-units": Experiment(
        "RMSE against the number of hidden units",
        tuple(
            _paper(f"k-{k}", str(k), {10: "about .87", 500: ".831"}.get(k, ""), hidden_units=(k,))
            for k in HIDDEN_UNITS
        ),
        x="hidden units",
    ),
    "autorec-deep": Experiment(
        "Shallow and deep",
        (
            _paper("shallow", "500, by RProp (the paper's recipe)", ".831"),
            _paper("shallow-by-adam", "500, by Adam", ".831", **BY_ADAM, epochs=40),
            _paper(
                "deep-random",
                "500-250-500, by RProp from random weights",
                ".827",
                hidden_units=(500, 250, 500),
                initial_deviation=None,
            ),
            _paper(
                "deep",
                "500-250-500, pretrained, by Adam",
                ".827",
                **BY_ADAM,
                **{**PRETRAINED, "hidden_regularization": 1.2, "epochs": 36},
            ),
            Case("shallow-adam", "500, isthmus' earlier defaults", earlier_autorec),
            Case("deep-pretrained", "500-250-500, pretrained", earlier_autorec, PRETRAINED),
            Case("deep-adam", "500-250-500, tanh and Adam", earlier_autorec, DEEP),
        ),
    ),
    "autorec-denoising": Experiment(
        "RMSE against the share of masked inputs",
        tuple(Case(f"q-{q:g}", f"{q:g}", earlier_autorec, {"corruption": q}) for q in CORRUPTIONS),
        x="share of masked inputs",
    ),
    "best-ml-1m": Experiment(
        "The best on MovieLens 1M",
        (
            Case("autorec", "one I-AutoRec", earlier_autorec, {"batch_size": 128}, "AEMC-NE .8248"),
            Case("dual", "one DualAutoRec", DualAutoRec, {}, "GLocal-K .8227"),
            Case(
                "dual-blend",
                "blend of eight, four of them DualAutoRec",
                BLEND_DUAL,
                {},
                "GLocal-K .8227",
            ),
            Case("blend", "blend of five", BLEND_ML_1M, {}, "GLocal-K .8227"),
        ),
    ),
    "best-ml-100k-u1": Experiment(
        "The best on MovieLens 100K, the official first split",
        (
            Case("autorec", "one I-AutoRec", earlier_autorec, ML_100K_U1, "GC-MC .905-.910"),
            Case("blend", "blend of six", _blend_ml_100k(ML_100K_U1), {}, "GLocal-K .889"),
        ),
        data="ml-100k",
        split="u1_test",
    ),
    "best-ml-100k": Experiment(
        "The best on MovieLens 100K",
        (
            Case("autorec", "one I-AutoRec", earlier_autorec, ML_100K, "AEMC-NE .8767"),
            Case("blend", "blend of six", _blend_ml_100k(ML_100K), {}, "AEMC-NE .8767"),
        ),
        data="ml-100k",
    ),
    "best-monti-douban": Experiment(
        "The best on Douban, Monti's split",
        (
            Case("autorec", "one I-AutoRec", earlier_autorec, DOUBAN, "GLocal-K .7208"),
            Case("blend", "blend of six", BLEND_DOUBAN, {}, "GLocal-K .7208"),
        ),
        data="monti-douban",
        split="test",
    ),
}
