"""Charts of the model: its learning curve, its reliability, and the uncertainty of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from star_al.common.wording import count
from star_al.report.canvas import BLUE, INK, SMALL, draw_svg, new_figure
from star_al.report.formatting import interval, number, percent
from star_al.report.pictures import learning_curve, reliability_diagram
from star_al.report.render import Picture, Table
from star_al.report.round_charts import MODELS
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound, find_evaluation
from star_al.types import Histogram, Round

TALL = (4.7, 4.6)

KINDS = (
    ("base", "Uncertainty of the base model"),
    ("adapted", "Uncertainty of the adapted model"),
    ("blended", "Blended score"),
)


def accuracy_by_labels(snapshot: CampaignSnapshot) -> Picture:
    """Draw the learning curve; the campaign needs at least one evaluated round."""
    evaluated = snapshot.evaluated
    rows = [row for row in snapshot.history if row["accuracy"] is not None]
    with_sequence = any(each.sequence[0] is not None for each in evaluated)
    with_control = any(each.shadow for each in evaluated)
    header = ["round", "labels", "all labels", "accuracy", "95 % interval"]
    header += ["confidence sequence"] * with_sequence + ["random labels", "control"] * with_control + ["base"]
    newest = evaluated[-1].adapted
    caption = (
        f"Accuracy by training labels over {count(len(evaluated), 'round')}. Newest: {percent(newest.accuracy)}, "
        f"95 % interval {interval(newest.accuracy_low, newest.accuracy_high)}."
    )
    return Picture(
        "Learning curve",
        draw_svg("learning", lambda: learning_curve(rows, None, TALL)),
        caption,
        Table(tuple(header), tuple(_curve_row(each, with_sequence, with_control) for each in evaluated)),
        _curve_note(evaluated, with_sequence),
    )


def _curve_note(evaluated: Sequence[EvaluatedRound], with_sequence: bool) -> str:
    note = "Zero-shot is the base model without any label. The interval is Wilson's and holds for a single round."
    if with_sequence:
        note += " Dotted: a confidence sequence, which holds for all rounds at once."
    sizes = sorted({each.adapted.n for each in evaluated})
    if len(sizes) > 1:
        note += (
            f" The held-out set grew from {sizes[0]:,} to {sizes[-1]:,} texts, so the rounds are not all evaluated on "
            "the same texts."
        )
    return note


def _curve_row(each: EvaluatedRound, with_sequence: bool, with_control: bool) -> tuple[str, ...]:
    round_, adapted = each.round, each.adapted
    cells = [str(round_.index), f"{round_.labels:,}", f"{round_.labels_bought:,}", percent(adapted.accuracy)]
    cells.append(interval(adapted.accuracy_low, adapted.accuracy_high))
    if with_sequence:
        cells.append(interval(*each.sequence))
    if with_control:
        cells.append(number(each.shadow_labels, 0))
        cells.append(percent(each.shadow.accuracy if each.shadow else None))
    return (*cells, percent(each.base.accuracy if each.base else None))


def reliability(newest: EvaluatedRound) -> Picture:
    """Draw the reliability diagrams of a round: base, adapted, temperature-scaled."""
    found = {
        label: evaluation
        for model, scalings, label, _, _ in MODELS
        if (evaluation := find_evaluation(newest.evaluations, model, *scalings)) is not None
    }
    rows = tuple(
        (
            label,
            f"{each.bins[b].low:.2f} to {each.bins[b].high:.2f}",
            str(each.bins[b].count),
            number(each.bins[b].confidence),
            number(each.bins[b].accuracy),
        )
        for label, each in found.items()
        for b in range(len(each.bins))
        if each.bins[b].count
    )
    index = newest.round.index
    errors = "; ".join(f"{label} {each.ece:.3f}" for label, each in found.items())
    return Picture(
        f"Reliability, round {index}",
        draw_svg("reliability", lambda: reliability_diagram(newest.evaluations, None, index, (4.7, 5.4))),
        f"Accuracy by confidence at round {index}. Expected calibration error: {errors}.",
        Table(("model", "confidence", "texts", "mean confidence", "accuracy"), rows),
        "Below the diagonal the model is overconfident. Larger marks stand for more texts.",
    )


def uncertainty_histograms(rounds: Sequence[Round]) -> list[Picture]:
    """Draw a histogram of each score of the pool, for the first and the newest round that scored it."""
    scored = {
        each.index: each.selection.histograms
        for each in rounds
        if each.selection and each.selection.histograms
    }
    pictures = []
    for kind, label in KINDS:
        found = [index for index, histograms in scored.items() if kind in histograms]
        if found and found[-1] == max(scored):
            newest_and_first = [found[-1], *found[:1]][: len(found)]
            drawn = {index: scored[index][kind] for index in newest_and_first}
            pictures.append(_uncertainty(kind, label, drawn))
    return pictures


def _uncertainty(kind: str, label: str, histograms: Mapping[int, Histogram]) -> Picture:
    """Draw the newest round filled and the first, if it is a different one, as an outline.

    Args:
        kind: Of the score.
        label: The picture's title.
        histograms: By round, the newest first.
    """

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        styles: tuple[dict[str, Any], ...] = (
            {"fill": True, "color": BLUE, "alpha": 0.4},
            {"color": INK, "linewidth": 1.2, "linestyle": "--"},
        )
        for (index, histogram), style in zip(histograms.items(), styles, strict=False):
            axes.stairs(_density(histogram), histogram.edges, label=f"round {index}", **style)
        axes.set_xlabel("score, from 0 to 1" if kind == "blended" else "uncertainty")
        axes.set_ylabel("density of the pool")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    rows = tuple(
        (str(index), f"{low:.3f} to {high:.3f}", f"{n:,}")
        for index, histogram in histograms.items()
        for low, high, n in _bins(histogram)
    )
    caption = f"Distribution over the pool at round {' and round '.join(map(str, histograms))}."
    svg = draw_svg(f"histogram-{kind}", draw)
    return Picture(label, svg, caption, Table(("round", "range", "texts"), rows))


def _bins(histogram: Histogram) -> list[tuple[float, float, int]]:
    return list(zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False))


def _density(histogram: Histogram) -> list[float]:
    total = sum(histogram.counts) or 1
    return [n / total / ((high - low) or 1.0) for low, high, n in _bins(histogram)]
