"""The examples in docs/ run, and its pages are those of mkdocs.yml."""

import re
from pathlib import Path

import pytest

from isthmus import Recommender

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CONTRIBUTING = PROJECT / "CONTRIBUTING.md"

EXAMPLES = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in [*PAGES, CONTRIBUTING]
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    )
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(code, tmp_path, monkeypatch):
    for library in re.findall(r"^(?:from|import) (faiss|usearch)\b", code, re.M):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    known = dict(Recommender._models)
    try:
        exec(compile(code, "example", "exec"), {"__name__": "example"})
    finally:  # a model that an example defines is for itself
        Recommender._models.clear()
        Recommender._models.update(known)


def test_lines_of_the_table_of_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, _, text = (DOCS / "coming-from.md").read_text(encoding="utf-8").partition("## What each has")
    before, table = re.search(r"```python\n(.*?)^```\n(.*)", text, re.M | re.S).groups()
    scope = {"__name__": "example"}
    exec(compile(before, "before", "exec"), scope)
    rows = [row.split(" | ") for row in table.strip().splitlines()[2:]]
    assert len(rows) > 15
    for name, ours, *_ in rows:
        (line,) = re.findall(r"`(.*?)`", ours)
        exec(compile(line, name, "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
        if "://" in target:
            continue
        to = page if target == "" else DOCS / target
        assert to.exists(), target
        headings = re.findall(r"^#+ (.*)$", to.read_text(encoding="utf-8"), re.M)
        slugs = [
            re.sub(r"[^\w]+", "-", re.sub(r"['?:]", "", h.lower())).strip("-") for h in headings
        ]
        assert not anchor or anchor in slugs, (target, anchor)


def test_every_page_is_in_the_navigation():
    navigation = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert sorted(re.findall(r": (\S+\.md)$", navigation, re.M)) == [page.name for page in PAGES]


def test_everything_public_is_in_the_reference():
    import isthmus

    reference = (DOCS / "api.md").read_text(encoding="utf-8")
    for name in set(isthmus.__all__) - {"__version__"}:
        assert f"::: isthmus.{name}\n" in reference, name
