"""The README's example and commands are what they are said to be."""

import re
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def readme():
    return (PROJECT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(readme, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S)[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert re.match(
        r"\{'rmse': 0\.\d+, 'mae': 0\.\d+\}\n\[[\d.]+ +[\d.]+ *\]\n", capsys.readouterr().out
    )
    assert names["model"].evaluate(names["test"])["rmse"] < names["test"].values.std()
    assert names["items"].shape == (1, 10)
    assert np.isfinite(names["scores"]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["autorec.safetensors"]


def test_the_example_of_lists_runs(readme):
    (_, example) = re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 8
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["items"].shape == (2, 10)
    assert np.isfinite(names["scores"]).all()
    # better than ranking by the number of those who liked an item
    train, test = names["train"].to_matrix(), names["test"].to_matrix().toarray()
    popularity = np.where(train.toarray() != 0, -1, train.sum(axis=0))
    hits = np.take_along_axis(test, np.argsort(-popularity, axis=1)[:, :10], axis=1).sum()
    precision = names["model"].evaluate(names["test"], "precision@10")["precision@10"]
    assert precision * (test.sum(axis=1) > 0).sum() > hits / 10


def test_its_commands_are_those_of_the_checks(readme):
    checks = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    (install,) = re.findall(r"^(pip install .* pytest)$", readme, re.M)
    assert install in checks


def test_its_links_lead_somewhere(readme):
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        if not target.startswith("https://"):
            assert (PROJECT / target).exists(), target
