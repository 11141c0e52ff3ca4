import numpy as np
import pytest

from isthmus import AutoRec, DualAutoRec, MultDAE, MultVAE, _core
from isthmus.data.synthetic import synthetic_ratings
from isthmus.models._precision import precision_of

X = synthetic_ratings(300, 120, 9000, random_state=0)
MODELS = {
    "AutoRec": lambda **p: AutoRec(hidden_units=(40,), epochs=5, **p),
    "AutoRec, user rows": lambda **p: AutoRec(
        orientation="user", hidden_units=(20, 9), epochs=3, **p
    ),
    "DualAutoRec": lambda **p: DualAutoRec(hidden_units=(20,), epochs=3, **p),
    "MultDAE": lambda **p: MultDAE(hidden_units=(30,), epochs=3, **p),
    "MultDAE of a sample": lambda **p: MultDAE(hidden_units=(30,), epochs=3, sampled_items=50, **p),
    "MultVAE": lambda **p: MultVAE(hidden_units=(30,), latent_units=8, epochs=3, **p),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_score_as_in_float32(name):
    def scores(precision):
        model = MODELS[name](precision=precision, random_state=0).fit(X)
        _, found = model.recommend(X.user_ids[:50], n=100, exclude_seen=False)
        return np.sort(found)

    expected, rounded = scores("float32"), scores("bfloat16")
    assert 0 < np.abs(rounded - expected).max() < 0.05 * np.ptp(expected)


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_has_the_same_bits_at_any_number_of_threads(name):
    def scores(num_threads):
        model = MODELS[name](precision="bfloat16", random_state=0, num_threads=num_threads)
        return model.fit(X).recommend(X.user_ids[:50], n=20)[1].tobytes()

    assert scores(3) == scores(1)


def test_auto_is_bfloat16_where_the_processor_multiplies_it(monkeypatch):
    for isa, precision in (("avx512bf16", "bfloat16"), ("avx512", "float32")):
        monkeypatch.setattr(_core, "build_info", lambda isa=isa: {"isa": isa})
        assert precision_of("auto") == precision
        assert precision_of("auto", "lbfgs") == "float32"
        assert precision_of("bfloat16") == "bfloat16"
        assert precision_of("float32") == "float32"
