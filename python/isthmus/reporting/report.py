"""The page of a report, from what was measured to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from os import PathLike
from typing import Any

from isthmus._util.checks import check_integer, shown
from isthmus._util.files import atomic_write, check_writable
from isthmus.data._reading import printable
from isthmus.data.lint import lint
from isthmus.data.ratings import in_memory
from isthmus.reporting import _facts, _pictures
from isthmus.reporting._errors import Errors, measure_errors
from isthmus.reporting._lists import example_lists
from isthmus.reporting._map import map_items
from isthmus.reporting._rankings import Rankings, measure_rankings
from isthmus.reporting._subject import Subject, shown_metric, subject_of
from isthmus.reporting._svg import require_plot
from isthmus.reporting.bootstrap import RESAMPLES, Interval

__all__ = ["write_report"]


def write_report(
    model: Any,
    path: str | PathLike[str],
    *,
    test: Any,
    train: Any = None,
    items: Mapping[Any, str] | None = None,
    k: int = 10,
    title: str | None = None,
    notes: Sequence[str] = (),
    random_state: int = 0,
) -> None:
    """Write a page about a model: how good it is, for whom, what its lists owe, how it was made.

    The page is one HTML file without scripts. It loads no font or picture from elsewhere. The same
    arguments give the same bytes.

    Parameters
    ----------
    model : Recommender
        Fitted.
    path : str or os.PathLike
        The HTML file, which appears under its name once it is complete.
    test : Ratings or scipy.sparse array or matrix, shape (n_users, n_items)
        Held-out ratings of users and items that the model knows.
    train : Ratings, Shards or scipy.sparse array or matrix, optional
        What the model was trained on. Without it there are no baselines of predicted ratings, no
        reasons for lists of models of ratings, and no lint of the training data.
    items : mapping of int or str to str, optional
        Titles by item id, as `read_items` returns them.
    k : int, default 10
        How many items of a list count in measures of lists, at most 1,000.
    title : str, optional
        The page's heading; by default the model's name.
    notes : sequence of str, default ()
        Paragraphs under the heading, as on how the model was chosen.
    random_state : int, default 0
        Seed of the resamples and of the users who are drawn where there are many.

    Raises
    ------
    ImportError
        Without matplotlib and Jinja2: ``pip install 'isthmus[plot]'``.
    NotFittedError
        If the model is not fitted.
    TypeError, ValueError
        If an argument is not as above, or all of `test` is in training.
    OSError
        If the file cannot be written; what was there stays.

    Notes
    -----
    Intervals are of 95 %, by resampling users, each with all test ratings, 1,000 times. Lists are
    measured for 10,000 users at most, drawn at random; the page says so.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings, train_test_split
    >>> ratings = synthetic_ratings(200, 100, 5000, random_state=0)
    >>> train, test = train_test_split(ratings, random_state=0)
    >>> write_report(EASE().fit(train), "report.html", test=test, train=train)
    """
    require_plot()
    check_writable(path)
    check_integer("k", k, low=1, high=1000)
    check_integer("random_state", random_state, low=0, high=2**64 - 1)
    if isinstance(notes, str):
        raise TypeError(f"notes must be a list of paragraphs, but it was one: {shown(notes)}.")
    train = in_memory(train)
    subject = subject_of(model, test, train, items, random_state)
    page = _render(
        **_content(subject, k),
        findings=_findings(subject, test, train),
        title=printable(title or type(model).__name__),
        notes=[printable(note) for note in notes],
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _findings(subject: Subject, test: Any, train: Any) -> list[str]:
    """Return what looks wrong in the data, except where models of implicit feedback do not mind."""
    found = lint(test) if train is None else lint(train, test=test)
    taken = set() if subject.rates else {"constant", "counts"}
    if getattr(subject.model, "weights", None) == "values":  # large values then outweigh the others
        taken.discard("counts")
    return [printable(one) for one in found if one.kind not in taken]


def _content(subject: Subject, k: int) -> dict[str, Any]:
    """Return the values for the page's template."""
    errors = measure_errors(subject) if subject.rates else None
    rankings = measure_rankings(subject, k)
    model = subject.model
    return {
        "model": type(model).__name__,
        "rates": subject.rates,
        "lede": [*_of_errors(errors, subject), *_of_rankings(rankings)],
        "errors": errors,
        "rankings": rankings,
        "data": _facts.data_facts(subject),
        "parameters": _facts.parameters(model),
        "receipt": _facts.receipt_facts(model, subject.train),
        "with_train": subject.train is not None,
        "lists": example_lists(subject),
        "digits": "%.2f" if subject.rates else "%.3f",
        "resamples": RESAMPLES,
        "pictures": _draw(subject, errors, rankings),
    }


def _of_errors(errors: Errors | None, subject: Subject) -> list[str]:
    """Return a sentence on how far predictions are from true ratings."""
    if errors is None:
        return []
    rmse = errors.table[0].figures["RMSE"]
    text = f"RMSE {written(rmse)} on {rmse.n:,} test ratings of {rmse.users:,} users"
    if errors.gain is None:
        return [f"{text}."]
    name, gain = errors.gain
    return [f"{text}; {_compared(gain, 'lower', 'higher')} that of {name} alone."]


def _of_rankings(rankings: Rankings) -> list[str]:
    label, figure = next(iter(rankings.table[0].figures.items()))
    name, gain = rankings.gain
    return [
        f"{label} {written(figure)} over {figure.users:,} users; "
        f"{_compared(gain, 'higher', 'lower')} that of {name}."
    ]


def _compared(gain: Interval, better: str, worse: str) -> str:
    """Return a sentence on how a figure compares, and whether that may be chance."""
    sure = isnan(gain.low) or gain.low > 0 or gain.high < 0
    doubt = "" if sure else ", which may be chance,"
    how = better if gain.value >= 0 else worse
    low, high = sorted((abs(gain.low), abs(gain.high)))
    size = Interval(abs(gain.value), low, high, gain.n, gain.users)
    return f"{written(size) if sure else f'{size.value:.4f}'} {how}{doubt} than"


def written(figure: Interval, digits: int = 4) -> str:
    """Write a figure with its interval."""
    if isnan(figure.low):
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _signed(effect: float) -> str:
    """Write an effect with its sign, and as many digits as it takes to see it."""
    digits = 2 if abs(effect) >= 0.1 else 3
    return f"{effect:+.{digits}f}".replace("-", "−")


def _draw(subject: Subject, errors: Errors | None, rankings: Rankings) -> dict[str, Any]:
    """Return the pictures by name."""
    pictures: dict[str, Any] = {"course": _draw_courses(subject.model)}
    popularity, activity = "training ratings of the item", "training ratings of the user"
    if errors is not None:
        pictures |= {
            "rmse_by_popularity": _pictures.draw_bins(
                "rmse-items", errors.by_popularity, xlabel=popularity, ylabel="RMSE"
            ),
            "rmse_by_activity": _pictures.draw_bins(
                "rmse-users", errors.by_activity, xlabel=activity, ylabel="RMSE"
            ),
            "spread": _pictures.draw_spread("spread", errors.spread),
            "calibration": _pictures.draw_calibration("calibration", errors.calibration),
        }
    k = rankings.k
    first = next(iter(rankings.concentration.values()))
    pictures |= {
        "recall_by_popularity": _pictures.draw_bins(
            "recall-items", rankings.by_popularity, xlabel=popularity, ylabel=f"share in top {k}"
        ),
        "ndcg_by_activity": _pictures.draw_bins(
            "ndcg-users", rankings.by_activity, xlabel=activity, ylabel=f"NDCG@{k}"
        ),
        "deciles": _pictures.draw_deciles("deciles", first, rankings.training_deciles),
    }
    items = map_items(subject)
    pictures["map"] = items and {
        "items": items,
        "wide": _pictures.draw_map("map", items, size=(720, 560), labels=20),
        "narrow": _pictures.draw_map("small-map", items, size=(360, 400), labels=12),
    }
    return pictures


def _draw_courses(model: Any) -> list[tuple[str, str]]:
    """Return pictures of the epochs, with captions."""
    drawn = []
    for number, (name, history) in enumerate(_facts.courses(model)):
        svg = _pictures.draw_course(f"loss{number}", history, None)
        ends = _ends([epoch.loss for epoch in history])
        drawn.append((f"Mean loss of {name} over the training ratings: {ends}.", svg))
        metrics = {metric for epoch in history for metric in epoch.metrics}
        for place, metric in enumerate(sorted(metrics)):
            svg = _pictures.draw_course(f"metric{number}-{place}", history, metric)
            ends = _ends([e.metrics[metric] for e in history if metric in e.metrics])
            drawn.append((f"{shown_metric(metric)} of {name} on validation data: {ends}.", svg))
    return drawn


def _ends(values: list[float]) -> str:
    return f"{values[0]:.4g} in the first epoch, {values[-1]:.4g} in the last"


def _render(**content: Any) -> str:
    """Fill the template; everything but the pictures is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("isthmus.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": Markup, "signed": _signed}
    return environment.get_template("report.html.jinja").render(**content)
