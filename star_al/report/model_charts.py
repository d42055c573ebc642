"""Pictures of how good the model is, and how well it knows that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_al.report.canvas import BLUE, INK, SMALL, draw_svg, new_figure
from star_al.report.pictures import learning_curve, reliability_diagram
from star_al.report.record import CampaignRecord, Measured, find
from star_al.report.render import Numbers, Picture
from star_al.report.round_charts import MODELS
from star_al.report.words import count, interval, number, percent
from star_al.types import Histogram, Round

TALL = (4.7, 4.6)

KINDS = (
    ("base", "Uncertainty of the base model"),
    ("adapted", "Uncertainty of the adapted model"),
    ("blended", "Blended score"),
)


def accuracy_by_labels(record: CampaignRecord) -> Picture:
    """The learning curve of the measured rounds, of which there is one at least."""
    measured = record.measured
    rows = [row for row in record.history if row["accuracy"] is not None]
    with_sequence = any(each.round.sequence_low is not None for each in measured)
    with_control = any(each.shadow for each in measured)
    header = ["round", "labels", "bought", "accuracy", "95 % interval"]
    header += ["confidence sequence"] * with_sequence + ["random labels", "control"] * with_control + ["base"]
    newest = measured[-1].adapted
    words = (
        f"Accuracy over labels, {count(len(measured), 'round')}; the newest {percent(newest.accuracy)}, 95 % interval "
        f"{interval(newest.accuracy_low, newest.accuracy_high)}."
    )
    return Picture(
        "Learning curve",
        draw_svg("learning", lambda: learning_curve(rows, None, TALL)),
        words,
        Numbers(tuple(header), tuple(_curve_row(each, with_sequence, with_control) for each in measured)),
        _curve_note(measured, with_sequence),
    )


def _curve_note(measured: Sequence[Measured], with_sequence: bool) -> str:
    note = (
        "Zero-shot is the base model without any label. The interval is Wilson's, for one look at one round."
    )
    if with_sequence:
        note += " Dotted: a confidence sequence, valid in all rounds at once."
    sizes = sorted({each.adapted.n for each in measured})
    if len(sizes) > 1:
        note += f" The held-out texts grew from {sizes[0]:,} to {sizes[-1]:,}: not all rounds are measured on the same."
    return note


def _curve_row(each: Measured, with_sequence: bool, with_control: bool) -> tuple[str, ...]:
    round_, adapted = each.round, each.adapted
    cells = [str(round_.index), f"{round_.labels:,}", f"{round_.labels_bought:,}", percent(adapted.accuracy)]
    cells.append(interval(adapted.accuracy_low, adapted.accuracy_high))
    if with_sequence:
        cells.append(interval(round_.sequence_low, round_.sequence_high))
    if with_control:
        cells.append(number(round_.shadow_labels, 0))
        cells.append(percent(each.shadow.accuracy if each.shadow else None))
    return (*cells, percent(each.base.accuracy if each.base else None))


def reliability(newest: Measured) -> Picture:
    """Reliability diagrams of the newest round: base, adapted, temperature-scaled."""
    found = {
        label: evaluation
        for model, scalings, label, _, _ in MODELS
        if (evaluation := find(newest.evaluations, model, *scalings)) is not None
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
    said = "; ".join(f"{label} {each.ece:.3f}" for label, each in found.items())
    return Picture(
        f"Reliability, round {index}",
        draw_svg("reliability", lambda: reliability_diagram(newest.evaluations, None, index, (4.7, 5.4))),
        f"Accuracy over confidence at round {index}. Expected calibration error: {said}.",
        Numbers(("model", "confidence", "texts", "mean confidence", "accuracy"), rows),
        "Below the diagonal the model is surer than it is right. Larger marks stand for more texts.",
    )


def uncertainty_histograms(rounds: Sequence[Round]) -> list[Picture]:
    """Uncertainties of the pool in the first and the newest round that scored it, a picture a score."""
    scored = [each for each in rounds if each.histograms]
    pictures = []
    for kind, label in KINDS:
        found = [each for each in scored if kind in each.histograms]
        if found and found[-1] is scored[-1]:
            pictures.append(_uncertainty(kind, label, [found[-1], *found[:1]][: len(found)]))
    return pictures


def _uncertainty(kind: str, label: str, rounds: Sequence[Round]) -> Picture:
    """The newest round filled and, where it is another, the first as an outline."""

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        styles: tuple[dict[str, Any], ...] = (
            {"fill": True, "color": BLUE, "alpha": 0.4},
            {"color": INK, "linewidth": 1.2, "linestyle": "--"},
        )
        for round_, style in zip(rounds, styles, strict=False):
            histogram = round_.histograms[kind]
            axes.stairs(_density(histogram), histogram.edges, label=f"round {round_.index}", **style)
        axes.set_xlabel("score, from 0 to 1" if kind == "blended" else "uncertainty")
        axes.set_ylabel("density of the pool")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    rows = tuple(
        (str(each.index), f"{low:.3f} to {high:.3f}", f"{n:,}")
        for each in rounds
        for low, high, n in _bins(each.histograms[kind])
    )
    words = f"How the pool's texts are spread over it at round {' and round '.join(str(r.index) for r in rounds)}."
    svg = draw_svg(f"histogram-{kind}", draw)
    return Picture(label, svg, words, Numbers(("round", "from … to", "texts"), rows))


def _bins(histogram: Histogram) -> list[tuple[float, float, int]]:
    return list(zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False))


def _density(histogram: Histogram) -> list[float]:
    total = sum(histogram.counts) or 1
    return [n / total / ((high - low) or 1.0) for low, high, n in _bins(histogram)]
