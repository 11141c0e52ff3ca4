"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.reporting._errors import Calibration, Spread
from isthmus.reporting._map import ItemMap
from isthmus.reporting._rankings import Concentration
from isthmus.reporting._subject import Bins, shown_metric
from isthmus.reporting._svg import COLOURS, draw
from isthmus.reporting.bootstrap import Interval
from isthmus.training.loop import Epoch

__all__ = [
    "draw_bins",
    "draw_calibration",
    "draw_course",
    "draw_deciles",
    "draw_map",
    "draw_spread",
]

_SERIES = (COLOURS["model"], COLOURS["other"])


def draw_course(name: str, history: Sequence[Epoch], metric: str | None) -> str:
    """Draw the loss of each epoch, or a metric of those that were validated."""
    known = [epoch for epoch in history if metric is None or metric in epoch.metrics]
    epochs = [epoch.index + 1 for epoch in known]
    values = [epoch.loss if metric is None else epoch.metrics[metric] for epoch in known]

    def paint(axes: Any) -> None:
        axes.plot(epochs, values, "o-" if len(known) < 5 else "-", color=COLOURS["model"])
        axes.set(xlabel="epoch", ylabel="loss" if metric is None else shown_metric(metric))
        axes.xaxis.get_major_locator().set_params(integer=True)

    return draw(name, paint, label=f"{metric or 'loss'} by epoch")


def draw_bins(name: str, bins: Bins, *, xlabel: str, ylabel: str) -> str:
    """Draw figures with their intervals, for each bin one of every series."""

    def paint(axes: Any) -> None:
        places = np.arange(len(bins.labels))
        for number, (series, intervals) in enumerate(bins.series.items()):
            shift = (number - (len(bins.series) - 1) / 2) * 0.18
            _with_bars(
                axes, places + shift, intervals, _SERIES[number], series, marker="os"[number]
            )
        first = next(iter(bins.series.values()))
        labels = [
            f"{bin}\n{_thousands(one.n)}" for bin, one in zip(bins.labels, first, strict=True)
        ]
        axes.set_xticks(places, labels)
        axes.set_xlim(-0.6, len(places) - 0.4)
        axes.tick_params(axis="x", length=0, labelsize=9 if len(places) < 8 else 8)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if len(bins.series) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)

    return draw(name, paint, label=f"{ylabel} by {xlabel}")


def _with_bars(
    axes: Any, x: Any, intervals: Sequence[Interval], colour: str, label: str, *, marker: str = "o"
) -> None:
    """Draw points with lines from the lower to the upper end of their intervals."""
    low, high = ([getattr(one, end) for one in intervals] for end in ("low", "high"))
    axes.vlines(x, low, high, color=colour, linewidth=1.8)
    axes.plot(x, [one.value for one in intervals], marker, color=colour, markersize=5, label=label)


LEVELS_NAMED = 6


def draw_spread(name: str, spread: Spread) -> str:
    """Draw how predictions are spread for each true rating."""

    def paint(axes: Any) -> None:
        x, q = spread.true, spread.quantiles
        ends = [min(x.min(), q.min()), max(x.max(), q.max())]
        axes.plot(ends, ends, "--", color=COLOURS["muted"], linewidth=1)
        axes.vlines(x, q[:, 0], q[:, 4], color=COLOURS["model"], linewidth=1.4)
        axes.vlines(x, q[:, 1], q[:, 3], color=COLOURS["model"], linewidth=6)
        axes.plot(x, q[:, 2], "o", color=COLOURS["paper"], markersize=3.5)
        if len(x) <= LEVELS_NAMED:
            axes.set_xticks(x, [f"{level:g}" for level in x])
        axes.set(xlabel="true rating", ylabel="predicted")

    return draw(name, paint, label="Predicted ratings by true rating")


def draw_calibration(name: str, calibration: Calibration) -> str:
    """Draw the mean true rating of each tenth of the predictions."""

    def paint(axes: Any) -> None:
        x, true = calibration.predicted, calibration.true
        values = [one.value for one in true]
        ends = [min(x.min(), *values), max(x.max(), *values)]
        axes.plot(ends, ends, "--", color=COLOURS["muted"], linewidth=1)
        _with_bars(axes, x, true, COLOURS["model"], "")
        axes.set(xlabel="mean predicted rating of a tenth", ylabel="mean true rating")

    return draw(name, paint, label="Mean true rating by predicted rating")


def draw_deciles(name: str, concentration: Concentration, training: Any) -> str:
    """Draw each tenth of the items' share of lists, next to its share of training ratings."""

    def paint(axes: Any) -> None:
        x = np.arange(1, 11)
        for shift, shares, colour, label in (
            (-0.2, concentration.deciles, COLOURS["model"], "lists"),
            (0.2, training, COLOURS["other"], "training ratings"),
        ):
            axes.bar(x + shift, 100 * shares, 0.36, color=colour, label=label)
        axes.set_xticks(x)
        axes.tick_params(axis="x", length=0)
        axes.set(xlabel="tenth of the items, the most popular first", ylabel="share, %")
        axes.legend(loc="upper right")

    return draw(name, paint, label="Share of lists by popularity of the items")


def draw_map(name: str, items: ItemMap, *, size: tuple[int, int], labels: int) -> str:
    """Draw items as points, some of them with their titles."""

    def paint(axes: Any) -> None:
        x, y = items.points.T
        axes.scatter(x, y, s=9, color=COLOURS["model"], alpha=0.35, linewidths=0)
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        _label(axes, items, labels)

    return draw(name, paint, label="Map of items", size=size)


def _label(axes: Any, items: ItemMap, labels: int) -> None:
    """Write titles of popular items where they cover no other title."""
    axes.figure.draw_without_rendering()
    taken: list[Any] = []
    for point, title in zip(items.points, items.titles, strict=False):
        if len(taken) == labels:
            break
        text = axes.annotate(
            title if len(title) <= 26 else f"{title[:25].rstrip()}…",
            point,
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
        box = text.get_window_extent().padded(2)
        inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        if inside and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            axes.plot(*point, "o", color=COLOURS["model"], markersize=4)
        else:
            text.remove()


def _thousands(n: int) -> str:
    return f"{n:,}" if n < 10_000 else f"{n / 1000:,.0f}k" if n < 10**6 else f"{n / 1e6:,.1f}M"
