"""Models on the Hugging Face Hub, with a card that is written from the model's own record."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from isthmus._util.checks import check_real, shown
from isthmus.models.base import Recommender

__all__ = ["FILE", "from_hub", "model_card", "push_to_hub"]

FILE = "model.safetensors"
"""Of a repository."""


def push_to_hub(
    model: Recommender,
    repo: str,
    *,
    metrics: Mapping[str, float] | None = None,
    data: str | None = None,
    license: str | None = None,
    private: bool = True,
    precision: str = "float32",
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a fitted model and its card to the Hugging Face Hub, both in one commit.

    The file holds the ids of all users and which items each has had: a public repository shows
    these to everybody. `Recommender.forget` drops users first.

    Parameters
    ----------
    model : Recommender
        Fitted.
    repo : str
        As ``"name/model"``; it is made if it does not exist.
    metrics, data, license : optional
        For the card: see `model_card`.
    private : bool, default True
        Of a repository that is made.
    precision : {"float32", "bfloat16"}, default "float32"
        As for `Recommender.save`.
    revision : str, optional
        Branch to commit to; the main one by default.
    token : str, optional
        By default that of ``hf auth login`` or HF_TOKEN.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ImportError
        Without huggingface_hub: ``pip install 'isthmus[hub]'``.
    NotFittedError
        Before `fit`.
    """
    hub = _hub()
    card = model_card(model, repo=repo, metrics=metrics, data=data, license=license)
    api = hub.HfApi(token=token, library_name="isthmus")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        model.save(path, precision=precision)
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(
            repo,
            [
                hub.CommitOperationAdd(FILE, str(path)),
                hub.CommitOperationAdd("README.md", card.encode()),
            ],
            commit_message=f"Upload {type(model).__name__}",
            revision=revision,
        )
    return str(commit.commit_url)


def from_hub(
    repo: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache: str | PathLike[str] | None = None,
) -> Recommender:
    """Load a model that `push_to_hub` uploaded; it is downloaded once.

    Model files hold no code, and are checked as `Recommender.load` checks all files.

    Parameters
    ----------
    repo : str
        As ``"name/model"``.
    revision : str, optional
        Branch, tag or commit.
    token : str, optional
        By default that of ``hf auth login`` or HF_TOKEN.
    cache : str or os.PathLike, optional
        Folder for downloads; by default that of huggingface_hub.

    Returns
    -------
    Recommender
        Fitted.

    Raises
    ------
    ImportError
        Without huggingface_hub: ``pip install 'isthmus[hub]'``.
    ValueError
        If the file is not an isthmus model.
    """
    path = _hub().hf_hub_download(repo, FILE, revision=revision, token=token, cache_dir=cache)
    return Recommender.load(path)


def model_card(
    model: Recommender,
    *,
    repo: str | None = None,
    metrics: Mapping[str, float] | None = None,
    data: str | None = None,
    license: str | None = None,
) -> str:
    """Write a model card: what the model is, what it was trained on, how to use it.

    Parameters
    ----------
    model : Recommender
        Fitted.
    repo : str, optional
        Where it is, for the lines that load it.
    metrics : mapping of str to float, optional
        What was measured, as `evaluate` returns it.
    data : str, optional
        What the ratings are, as ``"MovieLens 1M"``.
    license : str, optional
        Of the model, as the Hub spells it: ``"mit"``.

    Returns
    -------
    str
        Markdown, with the Hub's metadata before it.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If a metric is no number.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings
    >>> model = EASE(regularization=100).fit(synthetic_ratings(200, 100, 5000, random_state=0))
    >>> model_card(model, data="made-up ratings").splitlines()[7]
    '# EASE on made-up ratings'
    """
    users, items = len(model.user_ids_), len(model.item_ids_)
    name = type(model).__name__
    sections = [
        _metadata(name, license),
        f"# {name}" + (f" on {_line(data)}" if data else ""),
        f"A model of [isthmus](https://pypi.org/project/isthmus/): {_summary(model)}",
        "## Data\n\n" + _data(model, data),
        *(["## Metrics\n\n" + _table(("metric", "value"), _checked(metrics))] if metrics else []),
        "## Use\n\n" + _use(model, repo),
        "## Parameters\n\n" + _table(("parameter", "value"), model.get_params()),
        "## What the file holds\n\n"
        f"Weights, parameters, the ids of {users:,} users and {items:,} items, and which items "
        f"each user has had. It is in safetensors format and holds no code.",
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(name: str, license: str | None) -> str:
    lines = ["library_name: isthmus", "tags:", "- recommender-system", f"- {name.lower()}"]
    if license is not None:
        lines.append(f"license: {json.dumps(license)}")  # which is YAML as well
    return "\n".join(["---", *lines, "---"])


def _summary(model: Recommender) -> str:
    return (type(model).__doc__ or "a recommender.").strip().partition("\n")[0]


def _data(model: Recommender, data: str | None) -> str:
    facts: dict[str, Any] = {"data": _line(data)} if data else {}
    facts |= {
        "users": f"{len(model.user_ids_):,}",
        "items": f"{len(model.item_ids_):,}",
        "cells": f"{len(model._seen.indices):,}",
        "scale": "{:g} to {:g}".format(*model._range),
    }
    if model.receipt_ is not None:
        told = model.receipt_.to_json()
        told["steps"] = ", ".join(told["steps"])
        told["wall_seconds"] = f"{told['wall_seconds']:.1f}"
        del told["processor_seconds"], told["users"], told["items"], told["ratings"]
        facts |= {
            "fingerprint": told.pop("data"),
            **{key.replace("_", " "): value for key, value in told.items() if value is not None},
        }
    return _table(("", ""), facts)


def _use(model: Recommender, repo: str | None) -> str:
    load = f'from_hub("{repo}")' if repo else f'Recommender.load("{FILE}")'
    source = "isthmus.hub import from_hub" if repo else "isthmus import Recommender"
    user = model.user_ids_[0].item()
    install = "isthmus[hub]" if repo else "isthmus"
    return (
        f"```bash\npip install '{install}'\n```\n\n```python\nfrom {source}\n\nmodel = {load}\n"
        f"items, scores = model.recommend({user!r}, n=10)\n```"
    )


def _checked(metrics: Mapping[str, float]) -> dict[str, str]:
    for name, value in metrics.items():
        check_real(f"metrics[{name!r}]", value)
    return {name: f"{value:.4f}" for name, value in metrics.items()}


def _table(header: tuple[str, str], rows: Mapping[str, Any]) -> str:
    lines = [f"| {header[0]} | {header[1]} |", "|---|---|"]
    lines += [f"| {_line(name)} | {_line(value)} |" for name, value in rows.items()]
    return "\n".join(lines)


def _line(value: Any) -> str:
    """Write a value so that it stays in its line and its cell."""
    text = value if isinstance(value, str) else shown(value)
    return " ".join(text.split()).replace("|", "\\|")


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError("the Hub needs huggingface_hub: pip install 'isthmus[hub]'") from error
    return huggingface_hub
