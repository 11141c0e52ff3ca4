"""Models on the Hugging Face Hub, with a stand-in for its servers."""

import re
import shutil
import sys
from types import SimpleNamespace

import pytest
import yaml
from test_models import CASES, assert_same_bits, maker

from isthmus import EASE, BiasedMF, NotFittedError, Ratings, synthetic_ratings
from isthmus.hub import FILE, from_hub, model_card, push_to_hub

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(50, 40, 700, random_state=1)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Repositories as folders; what the API is asked for is what the real one takes."""
    asked = []

    def create_repo(self, repo_id, *, private=None, exist_ok=False):
        asked.append(("create", repo_id, private, exist_ok, self.token))
        (tmp_path / repo_id).mkdir(parents=True, exist_ok=True)

    def create_commit(self, repo_id, operations, *, commit_message, revision=None):
        asked.append(("commit", repo_id, commit_message, revision))
        for operation in operations:
            with operation.as_file() as file:
                (tmp_path / repo_id / operation.path_in_repo).write_bytes(file.read())
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def download(repo_id, filename, *, revision=None, token=None, cache_dir=None):
        return shutil.copy(tmp_path / repo_id / filename, tmp_path / "downloaded")

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "create_commit", create_commit)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    return SimpleNamespace(folder=tmp_path, asked=asked)


def test_goes_there_and_back(server, ratings):
    model = BiasedMF(factors=3, epochs=2, random_state=0).fit(ratings)
    url = push_to_hub(model, "me/films", metrics={"rmse": 0.9123}, license="mit", token="secret")
    assert url == "https://hub/me/films/commit/1"
    assert server.asked == [
        ("create", "me/films", True, True, "secret"),
        ("commit", "me/films", "Upload BiasedMF", None),
    ]
    assert_same_bits(from_hub("me/films"), model)
    card = (server.folder / "me/films/README.md").read_text()
    assert "| rmse | 0.9123 |" in card
    assert 'model = from_hub("me/films")' in card


def test_what_cannot_be_pushed_asks_the_server_for_nothing(server, ratings):
    with pytest.raises(NotFittedError):
        push_to_hub(EASE(), "me/films")
    model = EASE(regularization=1.0).fit(ratings)
    with pytest.raises(ValueError, match=r"^precision must be"):
        push_to_hub(model, "me/films", precision="float8")
    with pytest.raises(TypeError, match=r"^metrics\['rmse'\] must be"):
        push_to_hub(model, "me/films", metrics={"rmse": "low"})
    assert server.asked == []


def test_what_is_no_model_is_refused(server):
    (server.folder / "me/films").mkdir(parents=True)
    (server.folder / "me/films" / FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match="downloaded"):
        from_hub("me/films")


@pytest.mark.parametrize("case", CASES)
def test_a_card_tells_what_the_model_knows_of_itself(case, ratings, tmp_path, monkeypatch):
    model = maker(*case)().fit(ratings)
    card = model_card(model, data="made | up\nratings", license="cc-by-4.0")
    _, front, text = card.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["library_name"] == "isthmus"
    assert about["license"] == "cc-by-4.0"
    assert f"# {type(model).__name__} on made \\| up ratings\n" in text
    for line in (
        "| users | 50 |",
        "| items | 40 |",
        "| cells | 700 |",
        f"| fingerprint | {model.receipt_.data} |",
        "| steps | fit |",
    ):
        assert line in text
    for name in model.get_params():
        assert f"| {name} | " in text
    # and its lines run
    monkeypatch.chdir(tmp_path)
    model.save(FILE)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    scope = {}
    exec(code, scope)
    assert len(scope["items"]) == 10


def test_a_card_of_a_model_with_names_and_without_a_receipt(tmp_path, monkeypatch):
    model = EASE(regularization=1.0).fit(Ratings.from_arrays(["o'x", "y"], ["a", "b"], [1, 1]))
    model._receipt = None
    card = model_card(model, repo="me/it")
    assert 'model.recommend("o\'x", n=10)' in card
    assert "fingerprint" not in card


def test_what_is_missing_is_named(monkeypatch, ratings):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    model = EASE(regularization=1.0).fit(ratings)
    for call in (lambda: push_to_hub(model, "me/films"), lambda: from_hub("me/films")):
        with pytest.raises(ImportError, match=r"pip install 'isthmus\[hub\]'$"):
            call()
