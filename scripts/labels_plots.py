"""Plots of ``study_labels.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from labels_data import SETS
from labels_results import SetResults, best_by_hand
from matplotlib import rc_context
from matplotlib.figure import Figure

from star_al.report.canvas import BLUE, GREY, INK, ORANGE, PAPER, plain

BY_HAND = "by hand"
CURVES = (
    (BY_HAND, GREY, "o", "random texts, logistic regression"),
    ("random", BLUE, "s", "random texts, this head"),
    ("recommended", ORANGE, "^", "recommended"),
)
"""The arms of a plot: name, colour, mark and words."""

TITLES = {
    "bbc": "news, 5 topics",
    "sms_spam": "spam or not",
    "banking77": "77 intents",
    "hwu64": "64 intents",
    "banking77_tail": "77 intents, very unequal",
}
"""What the sets are, in a few words."""


def draw_overview(found: Sequence[SetResults], path: Path) -> None:
    """Draw accuracy against labels for a first look: a panel for each set, without anything that needs explaining."""
    figure = Figure(figsize=(2.2 * len(found), 2.7), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, one in zip(panels, found, strict=True):
        plain(axes)
        _draw_metric(axes, one, "accuracy")
        axes.set_title(TITLES[one.name], fontsize=10)
        axes.set_xlabel("labels")
    panels[0].set_ylabel("accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    _save(figure, path)


def draw_curves(found: Sequence[SetResults], path: Path) -> None:
    """Draw accuracy and macro-F1 against labels, one column for each set."""
    figure = Figure(figsize=(2.3 * len(SETS), 4.4), layout="constrained")
    rows = figure.subplots(2, len(SETS), squeeze=False)
    for column, one in enumerate(found):
        for row, metric in enumerate(("accuracy", "macro_f1")):
            axes = rows[row, column]
            plain(axes)
            _draw_metric(axes, one, metric)
        rows[0, column].set_title(one.name)
        rows[1, column].set_xlabel("labels")
    rows[0, 0].set_ylabel("accuracy, %")
    rows[1, 0].set_ylabel("macro-F1, %")
    rows[0, 0].legend(loc="lower right", frameon=False, fontsize=7)
    _save(figure, path)


def _draw_metric(axes: Any, one: SetResults, metric: str) -> None:
    for arm, colour, mark, words in CURVES:
        name = best_by_hand(one) if arm == BY_HAND else arm
        if name is not None and one.has(name):
            labels, mean_R = one.mean_curve(name, metric)
            axes.plot(labels, 100 * mean_R, color=colour, marker=mark, markersize=3, label=words)


def draw_labels(found: Sequence[SetResults], path: Path) -> None:
    """Draw the labels that the recommended way needs, in % of each reference's, with intervals."""
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    names = [one.name for one in found]
    for shift, (reference, colour, mark, words) in zip((0.15, -0.15), CURVES[:2], strict=True):
        for place, one in enumerate(found):
            rival = best_by_hand(one) if reference == BY_HAND else reference
            if rival is None or not one.has("recommended", rival):
                continue
            ratio = one.ratio("recommended", rival).figure
            low, value, high = (min(100 * each, 150.0) for each in (ratio.low, ratio.value, ratio.high))
            axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.4)
            axes.plot(value, place + shift, color=colour, marker=mark, label=None if place else f"of {words}")
    axes.axvline(100, color=INK, linestyle="--", linewidth=0.9)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_xlim(0, 150)
    axes.invert_yaxis()
    axes.set_xlabel("labels that the recommended way needs, in %")
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "study", "font.size": 9.0}):
        figure.savefig(path, format="svg", facecolor=PAPER, metadata={"Date": None})
