"""Charts of the model: its learning curve, its reliability, and the scores of the pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_al.common.wording import count
from star_al.report.canvas import BLUE, INK, SMALL, draw_svg, new_figure
from star_al.report.formatting import interval, number, percent
from star_al.report.pictures import NAMES, learning_curve, reliability_diagram
from star_al.report.reliability_bins import LEAST_TEXTS, drawn_bins
from star_al.report.render import Picture, Table
from star_al.report.round_charts import MODELS
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound, find_evaluation
from star_al.stats.ece_floor import ece_in_words
from star_al.stats.ranking_model import rows_by_ranker
from star_al.types import Histogram, Round

TALL = (4.7, 4.6)

PLATT_NOTE = (
    " After scaling, confidence is the probability of a right answer, fitted on the calibration labels."
)
"""What the reliability diagram says where answers are graded."""

KINDS = (
    ("blended", "Scores of the pool"),
    ("adapted", "Uncertainty of the adapted model"),
    ("base", "Uncertainty of the base model"),
)
"""What the pool may be ranked by, and the title of its histogram; the first that there is counts."""


def accuracy_by_labels(snapshot: CampaignSnapshot) -> Picture:
    """Draw the learning curve; the campaign needs at least one evaluated round."""
    evaluated = snapshot.evaluated
    model = snapshot.spec.ranking_model
    history = rows_by_ranker(snapshot.history, model)
    rows = [row for row in history if row["accuracy"] is not None]
    with_sequence = any(each.sequence[0] is not None for each in evaluated)
    with_control = any(each.shadow for each in evaluated)
    header = ["round", "labels", "all labels", "accuracy", "95 % interval"]
    header += ["confidence sequence"] * with_sequence + ["random labels", "control"] * with_control
    second = any(each.beside for each in evaluated)
    together = any(each.delivered for each in evaluated)
    header += [NAMES["adapted" if model == "head" else "head"]] * second + ["delivered"] * together + ["base"]
    newest = evaluated[-1].main
    caption = (
        f"Accuracy by training labels over {count(len(evaluated), 'round')}. Newest: {percent(newest.accuracy)}, "
        f"95 % interval {interval(newest.accuracy_low, newest.accuracy_high)}."
    )
    return Picture(
        "Learning curve",
        draw_svg("learning", lambda: learning_curve(rows, None, TALL, model=model)),
        caption,
        Table(
            tuple(header),
            tuple(_curve_row(each, with_sequence, with_control, second, together) for each in evaluated),
        ),
        _curve_note(evaluated, with_sequence),
    )


def _curve_note(evaluated: Sequence[EvaluatedRound], with_sequence: bool) -> str:
    note = "Zero-shot is the base model without any label. The interval is Wilson's and holds for a single round."
    if with_sequence:
        note += " Dotted: a confidence sequence, which holds for all rounds at once."
    sizes = sorted({each.main.n for each in evaluated})
    if len(sizes) > 1:
        note += (
            f" The held-out set grew from {sizes[0]:,} to {sizes[-1]:,} texts, so the rounds are not all evaluated on "
            "the same texts."
        )
    return note


def _curve_row(
    each: EvaluatedRound, with_sequence: bool, with_control: bool, second: bool, together: bool
) -> tuple[str, ...]:
    round_, main = each.round, each.main
    cells = [str(round_.index), f"{round_.labels:,}", f"{round_.labels_bought:,}", percent(main.accuracy)]
    cells.append(interval(main.accuracy_low, main.accuracy_high))
    if with_sequence:
        cells.append(interval(*each.sequence))
    if with_control:
        cells.append(number(each.shadow_labels, 0))
        cells.append(percent(each.shadow.accuracy if each.shadow else None))
    if second:
        cells.append(percent(each.beside.accuracy if each.beside else None))
    if together:
        cells.append(percent(each.delivered.accuracy if each.delivered else None))
    return (*cells, percent(each.base.accuracy if each.base else None))


def reliability(newest: EvaluatedRound) -> Picture | None:
    """Draw the reliability diagrams of a round: base, adapted, temperature-scaled.

    Returns:
        The chart; None with fewer than ``LEAST_TEXTS`` held-out texts.
    """
    if newest.main.n < LEAST_TEXTS:
        return None
    found = {
        label: evaluation
        for model, scalings, label, _, _ in MODELS
        if (evaluation := find_evaluation(newest.evaluations, model, *scalings)) is not None
    }
    rows = tuple(
        (
            label,
            f"{each.low:.2f} to {each.high:.2f}",
            str(each.count),
            number(each.confidence),
            number(each.accuracy),
            interval(each.accuracy_low, each.accuracy_high),
        )
        for label, evaluation in found.items()
        for each in drawn_bins(evaluation.bins)
    )
    index = newest.round.index
    errors = "; ".join(f"{label} {ece_in_words(each)}" for label, each in found.items())
    return Picture(
        f"Reliability, round {index}",
        draw_svg("reliability", lambda: reliability_diagram(newest.evaluations, None, index, (4.7, 5.4))),
        f"Accuracy by confidence at round {index}. Expected calibration error: {errors}.",
        Table(("model", "confidence", "texts", "mean confidence", "accuracy", "95 % interval"), rows),
        "Below the diagonal the model is overconfident. Bars are 95 % intervals; where they cross the diagonal, the "
        "difference may be chance. By chance alone is what a perfectly calibrated model would show on as many texts."
        + (PLATT_NOTE if newest.fits_right_answers else ""),
    )


def score_histogram(rounds: Sequence[Round]) -> Picture | None:
    """Draw the score that the newest round ranked the pool by, with that of the first round as an outline.

    Returns:
        The chart; None if no round has scored the pool.
    """
    scored = {
        each.index: each.selection.histograms
        for each in rounds
        if each.selection and each.selection.histograms
    }
    if not scored:
        return None
    kind, label = next((kind, label) for kind, label in KINDS if kind in scored[max(scored)])
    newest_and_first = dict.fromkeys((max(scored), min(scored)))
    histograms = {index: scored[index][kind] for index in newest_and_first if kind in scored[index]}

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        styles: tuple[dict[str, Any], ...] = (
            {"fill": True, "color": BLUE, "alpha": 0.4},
            {"color": INK, "linewidth": 1.2, "linestyle": "--"},
        )
        for (index, histogram), style in zip(histograms.items(), styles, strict=False):
            axes.stairs(_density(histogram), histogram.edges, label=f"round {index}", **style)
        axes.set_xlabel("score, from 0 to 1" if kind == "blended" else "uncertainty")
        axes.set_ylabel("density")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    rows = tuple(
        (str(index), f"{low:.3f} to {high:.3f}", f"{n:,}")
        for index, histogram in histograms.items()
        for low, high, n in _bins(histogram)
    )
    listed = any(each.selection and each.selection.shortlist for each in rounds if each.index in histograms)
    which = "unlabelled texts that were scored" if listed else "unlabelled texts"
    caption = f"Distribution over the {which} at round {' and round '.join(map(str, histograms))}."
    note = "A higher score means more to learn from a label. Each area is 1."
    svg = draw_svg(f"histogram-{kind}", draw)
    return Picture(label, svg, caption, Table(("round", "range", "texts"), rows), note)


def _bins(histogram: Histogram) -> list[tuple[float, float, int]]:
    return list(zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False))


def _density(histogram: Histogram) -> list[float]:
    total = sum(histogram.counts) or 1
    return [n / total / ((high - low) or 1.0) for low, high, n in _bins(histogram)]
