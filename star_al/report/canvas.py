"""Empty figures in one style, and figures as PNG files or as SVG inside a page.

The SVG of a page has no colours of its own: each colour of the palette becomes a CSS variable of the page,
so that one drawing serves the light and the dark theme. Text stays text, in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from star_al.common.files import disk_errors, replacing
from star_al.errors import StoreError

# Okabe and Ito (2008): distinguishable with most kinds of colour blindness. Marks differ as well.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
YELLOW, SKY, GREY = "#E69F00", "#56B4E9", "#6B6B6B"

INK, PAPER, LINES = "#000000", "#FFFFFF", "#DDDDDD"

SERIES = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, GREY)
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")

VARIABLES = {
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
    YELLOW: "--yellow",
    SKY: "--sky",
    GREY: "--grey",
    INK: "--ink",
    PAPER: "--paper",
    LINES: "--lines",
}
"""The CSS variable that stands for each colour in a page."""

DPI = 150

SMALL = (4.7, 3.3)
"""Width and height in inches of a chart in a page: readable on a phone and in half a wide window."""

_IN_PAGES: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "legend.fontsize": 8.0,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.0,
}


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """Make a figure of this size in inches with one pair of axes."""
    from matplotlib.figure import Figure  # not pyplot, which keeps global state and may open a window

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def new_figure_with_counts(width: float, height: float) -> tuple[Any, Any, Any]:
    """Make a figure with axes and, below them, lower ones that share the x axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 1]})
    plain(axes)
    plain(counts)
    return figure, axes, counts


def plain(axes: Any) -> None:
    """Draw a pale grid behind the data and no frame on the top and the right."""
    axes.grid(color=LINES, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_png(figure: Any, path: Path) -> Path:
    """Write a picture so that ``path`` is never half-written.

    Raises:
        StoreError: The picture cannot be written.
    """
    with disk_errors(StoreError, f"{path}: cannot be written", "Name another folder."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            figure.savefig(new, format="png", dpi=DPI)
    return path


def draw_svg(name: str, draw: Callable[[], Any]) -> str:
    """Render the figure that ``draw`` makes as an ``<svg>`` element for an HTML page.

    ``name`` is prefixed to all ids, so that several drawings can share a page.
    """
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({**_IN_PAGES, "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        draw().savefig(out, format="svg", transparent=True, metadata=nothing)
    return _for_page(out.getvalue(), name)


def _for_page(document: str, name: str) -> str:
    """Turn an SVG document into an element of a page: no style sheet, no size, own ids, the theme's colours."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    return re.sub(r"<[^<>]+>", lambda tag: _tag_for_page(tag[0], name), svg)  # text has no < or >


def _tag_for_page(tag: str, name: str) -> str:
    if tag.startswith("<svg"):
        tag = re.sub(r'\s(?:width|height)="[^"]*"', "", tag)
    tag = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font: [^;\"]*?([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)  # the page has its own
    return re.sub(r"#[0-9a-fA-F]{6}\b", lambda colour: _themed(colour[0]), tag)


def _themed(colour: str) -> str:
    variable = VARIABLES.get(colour.upper())
    return f"var({variable})" if variable else colour
