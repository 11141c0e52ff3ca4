"""Pictures by matplotlib as SVG for a page, with its fonts and colours and with unique names."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["COLOURS", "draw", "require_plot"]

COLOURS = {
    "ink": "#1b1f27",
    "muted": "#6b7280",
    "faint": "#d9dce2",
    "paper": "#fefefe",
    "model": "#1f5fae",
    "other": "#c2741a",
}
"""Colours of pictures, which are replaced by the page's style sheet's, by their names in it."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "isthmus",  # the same page from the same data
    "font.family": "sans-serif",
    "text.parse_math": False,  # a dollar sign is one
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "xtick.color": COLOURS["faint"],
    "ytick.color": COLOURS["faint"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["faint"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["faint"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.dpi": 72,  # a point is a pixel
}

WIDTH, HEIGHT = 360, 240
"""Of a picture in pixels: what a phone shows without making letters smaller."""


def require_plot() -> None:
    """Raise ImportError unless matplotlib and Jinja are installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "a report needs matplotlib and Jinja2: pip install 'isthmus[plot]'"
        ) from error


def draw(
    name: str,
    paint: Callable[[Any], None],
    *,
    label: str,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> str:
    """Return a picture as SVG.

    Parameters
    ----------
    name : str
        Begins the names of all that others refer to, and so must be the picture's own.
    paint : callable
        Draws on axes of matplotlib's.
    label : str
        What readers are told who do not see it.
    size : (int, int)
        In pixels.
    """
    import matplotlib
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # browsers have it
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        paint(figure.subplots())
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return _inline(written.getvalue(), name, label)


def _inline(svg: str, name: str, label: str) -> str:
    """Turn a file into an element of a page."""
    from markupsafe import escape

    svg = svg[svg.index("<svg") :]
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", rest)
    rest = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--font)", rest)
    for colour, code in COLOURS.items():
        rest = rest.replace(code, f"var(--{colour})")
    return f'<svg {box[0]} role="img" aria-label="{escape(label)}">{rest}'
