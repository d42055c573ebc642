"""The learning curve and the reliability diagram, drawn from the store, and their PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star_al.ports import Store
from star_al.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    new_figure,
    new_figure_with_counts,
    save_png,
)
from star_al.report.reliability_bins import LEAST_TEXTS, drawn_bins
from star_al.stats.ece_floor import ece_in_words
from star_al.stats.ranking_model import rows_by_ranker
from star_al.types import Campaign, Evaluation, JsonObject

NAMES = {"adapted": "adapted model", "head": "head"}
"""What the curves of the models are called."""

MANY_ROUNDS = 12
"""With more rounds, only the first and the last value are written beside the curve."""


def draw_pictures(store: Store, campaign: Campaign, folder: Path, model: str = "adapted") -> list[Path]:
    """Draw ``learning_curve.png`` and ``reliability.png`` into a folder.

    Args:
        store: The store that holds the campaign.
        campaign: The campaign.
        folder: Where to write.
        model: The model that ranks the pool: ``adapted``, or ``head`` beside a language model.

    Returns:
        The paths: none if no round has been evaluated, no diagram with fewer than ``LEAST_TEXTS`` held-out texts.

    Raises:
        StoreError: The folder cannot be written.
    """
    history = rows_by_ranker(store.history(campaign.campaign_id), model)
    rows = [row for row in history if row["accuracy"] is not None]
    if not rows:
        return []
    newest = int(str(rows[-1]["round"]))
    evaluations = store.evaluations(campaign.campaign_id, newest)
    paths = [save_png(learning_curve(rows, campaign.name, model=model), folder / "learning_curve.png")]
    if evaluations[0].n >= LEAST_TEXTS:
        diagram = reliability_diagram(evaluations, campaign.name, newest)
        paths.append(save_png(diagram, folder / "reliability.png"))
    return paths


def learning_curve(
    rows: Sequence[JsonObject],
    name: str | None,
    size: tuple[float, float] = (7.0, 4.4),
    *,
    model: str = "adapted",
) -> Any:
    """Draw accuracy by training labels with its 95 % Wilson interval, and the base model as a line.

    The confidence sequence, the control arm and a second model are drawn where there are any.

    Args:
        rows: Evaluated rounds as ``rows_by_ranker`` tells them. A round without labels is the base model itself.
        name: The campaign's name for the title; ``None`` leaves the title out.
        size: Width and height in inches.
        model: The model that ranks the pool: ``adapted``, or ``head`` beside a language model.

    Returns:
        A matplotlib figure.
    """
    figure, axes = new_figure(*size)
    labels = [_number(row["labels"]) for row in rows]
    accuracy = [100 * _number(row["accuracy"]) for row in rows]
    low = [100 * _number(row["accuracy_low"]) for row in rows]
    high = [100 * _number(row["accuracy_high"]) for row in rows]
    bases = [100 * _number(row["base_accuracy"]) for row in rows if row["base_accuracy"] is not None]
    for base in bases[-1:]:
        label = f"base model, zero-shot ({base:.1f} %)"
        axes.axhline(base, color=GREY, linestyle="--", linewidth=1.4, label=label)
    axes.fill_between(labels, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
    lowest = _confidence_sequence(axes, rows)
    axes.plot(labels, accuracy, color=BLUE, marker="o", linewidth=2.0, label=NAMES[model])
    beside = _beside(axes, rows, NAMES["adapted" if model == "head" else "head"])
    beside += _delivered(axes, rows)
    if labels[0] == 0:
        axes.plot(labels[:1], accuracy[:1], color=GREY, marker="D", markersize=8, linestyle="none", zorder=4)
    _control_arm(axes, rows)
    for x, y, row in zip(labels, accuracy, rows, strict=True):
        is_end = row is rows[-1] or row is rows[0]
        if is_end or len(rows) <= MANY_ROUNDS:
            at = _place_of_number(row) if x > labels[0] else {"xytext": (9, 4), "ha": "left"}
            axes.annotate(f"{y:.1f}", (x, y), textcoords="offset points", fontsize=8.5, **at)
    axes.set_xlabel("labels trained on")
    axes.set_ylabel("accuracy on held-out texts, %")
    span = max(labels[-1] - labels[0], 10.0)
    axes.set_xlim(labels[0] - 0.04 * span, labels[-1] + 0.04 * span)
    bottom = min(*low, *bases[-1:], *lowest, *beside)
    axes.set_ylim(max(0.0, 10 * (bottom // 10)), 102.0)
    if name is not None:
        axes.set_title(f"{name}: accuracy by labels", loc="left", parse_math=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _place_of_number(row: JsonObject) -> dict[str, Any]:
    """Where the accuracy is written: above its point, or below if all other curves are above."""
    others = [row[name] for name in ("beside_accuracy", "delivered_accuracy") if row.get(name) is not None]
    is_below = bool(others) and all(_number(other) > _number(row["accuracy"]) for other in others)
    return {"xytext": (0, -15 if is_below else 9), "ha": "center"}


def _confidence_sequence(axes: Any, rows: Sequence[JsonObject]) -> list[float]:
    """Draw the sequence's limits as thin lines; return the accuracies that must stay in view."""
    found = [row for row in rows if row.get("sequence_low") is not None]
    labels = [_number(row["labels"]) for row in found]
    for end, label in (("sequence_low", "confidence sequence, all rounds at once"), ("sequence_high", None)):
        limits = [100 * _number(row[end]) for row in found]
        if found:
            axes.plot(labels, limits, color=BLUE, linestyle=":", linewidth=1.1, label=label)
    return [100 * _number(row["accuracy_low"]) for row in found]


def _beside(axes: Any, rows: Sequence[JsonObject], label: str) -> list[float]:
    """Draw the curve of a second model; return its accuracies."""
    found = [row for row in rows if row.get("beside_accuracy") is not None]
    accuracy = [100 * _number(row["beside_accuracy"]) for row in found]
    if found:
        labels = [_number(row["labels"]) for row in found]
        axes.plot(labels, accuracy, color=PURPLE, marker="D", markersize=4.5, linewidth=1.6, label=label)
    return accuracy


def _delivered(axes: Any, rows: Sequence[JsonObject]) -> list[float]:
    """Draw what is delivered of both models, and return its accuracies in percent."""
    found = [row for row in rows if row.get("delivered_accuracy") is not None]
    accuracy = [100 * _number(row["delivered_accuracy"]) for row in found]
    if found:
        labels = [_number(row["labels"]) for row in found]
        axes.plot(labels, accuracy, color=GREEN, marker="^", markersize=4.5, linewidth=1.6, label="delivered")
    return accuracy


def _control_arm(axes: Any, rows: Sequence[JsonObject]) -> None:
    """Draw the control arm's curve at its own label counts."""
    found = [row for row in rows if row.get("shadow_accuracy") is not None]
    if found:
        labels = [_number(row["shadow_labels"]) for row in found]
        accuracy = [100 * _number(row["shadow_accuracy"]) for row in found]
        axes.plot(
            labels,
            accuracy,
            color=ORANGE,
            marker="s",
            markersize=4.5,
            linewidth=1.6,
            label="control arm: random texts",
        )


def reliability_diagram(
    evaluations: Sequence[Evaluation],
    name: str | None,
    round_index: int,
    size: tuple[float, float] = (6.2, 6.6),
) -> Any:
    """Draw accuracy by confidence for the base and the adapted model, raw and scaled, with counts below.

    The bins are few and hold about equally many texts; bars are 95 % Wilson intervals.

    Args:
        evaluations: The evaluations of one round.
        name: The campaign's name for the title; ``None`` leaves the title out.
        round_index: The round, for the title.
        size: Width and height in inches.

    Returns:
        A matplotlib figure.
    """
    figure, axes, counts = new_figure_with_counts(*size)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="perfectly calibrated")
    found = {(evaluation.model, evaluation.scaling): evaluation for evaluation in evaluations}
    base = found.get(("base", "contextual")) or found.get(("base", "raw"))
    if base is not None:
        _curve(axes, base, f"base model, ECE {ece_in_words(base)}", "^", color=GREEN, linewidth=1.0)
    model = "adapted" if ("adapted", "raw") in found else "head"
    raw, scaled = found.get((model, "raw")), found.get((model, "temperature"))
    if raw is not None:
        _curve(axes, raw, f"{model}, raw, ECE {ece_in_words(raw)}", "s", color=ORANGE, linewidth=1.2)
        _bars(counts, raw, -1, ORANGE)
    if scaled is not None:
        text = f"{model}, T = {scaled.temperature:.2f}, ECE {ece_in_words(scaled)}"
        _curve(axes, scaled, text, "o", color=BLUE, linewidth=1.2)
        _bars(counts, scaled, +1, BLUE)
    n = f" of {evaluations[0].n}" if evaluations else ""
    axes.set_ylabel("accuracy")
    axes.set_ylim(-0.04, 1.06)
    if name is not None:
        axes.set_title(f"{name}: reliability at round {round_index}", loc="left", parse_math=False)
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    counts.set_xlabel("confidence in the predicted label")
    counts.set_ylabel(f"texts{n}")
    counts.set_xlim(0, 1.03)
    return figure


def _curve(axes: Any, evaluation: Evaluation, label: str, marker: str, **style: Any) -> None:
    """Draw a model's bins with their intervals, joined by a line."""
    bins = drawn_bins(evaluation.bins)
    below = [each.accuracy - each.accuracy_low for each in bins]
    above = [each.accuracy_high - each.accuracy for each in bins]
    axes.errorbar(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        yerr=[below, above],
        label=label,
        marker=marker,
        markersize=5,
        elinewidth=0.8,
        capsize=2,
        **style,
    )


def _bars(axes: Any, evaluation: Evaluation, side: int, color: str) -> None:
    """Draw the bins' counts as half-width bars on the left (-1) or right (+1) of each bin."""
    for each in drawn_bins(evaluation.bins):
        width = 0.46 * (each.high - each.low)
        middle = (each.low + each.high) / 2 + side * width / 2
        axes.bar(middle, each.count, width=width, color=color, linewidth=0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
