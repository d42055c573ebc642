"""The learning curve and the reliability diagram, as PNG files, from what the store keeps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import Campaign, Evaluation, JsonObject

# The colours of Okabe and Ito (2008), which most kinds of colour blindness tell apart; marks differ too.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6B6B6B"

DPI = 150


def draw_pictures(store: Store, campaign: Campaign, folder: Path) -> list[Path]:
    """Draw ``learning_curve.png`` and ``reliability.png``; the paths, none when no round is evaluated.

    Raises:
        StoreError: the folder cannot be written.
    """
    rows = [row for row in store.history(campaign.campaign_id) if row["accuracy"] is not None]
    if not rows:
        return []
    newest = int(str(rows[-1]["round"]))
    evaluations = store.evaluations(campaign.campaign_id, newest)
    return [
        _save(learning_curve(rows, campaign.name), folder / "learning_curve.png"),
        _save(reliability_diagram(evaluations, campaign.name, newest), folder / "reliability.png"),
    ]


def learning_curve(rows: Sequence[JsonObject], name: str) -> Any:
    """Accuracy over labels trained on, with its 95 % Wilson band, and the base model as a line.

    ``rows`` are evaluated rounds of ``Store.history``. A round without labels is the base model itself.
    """
    figure, axes = _figure(7.0, 4.4)
    labels = [_number(row["labels"]) for row in rows]
    accuracy = [100 * _number(row["accuracy"]) for row in rows]
    low = [100 * _number(row["accuracy_low"]) for row in rows]
    high = [100 * _number(row["accuracy_high"]) for row in rows]
    base = 100 * _number(rows[-1]["base_accuracy"])
    axes.axhline(
        base, color=GREY, linestyle="--", linewidth=1.4, label=f"base model, zero-shot ({base:.1f} %)"
    )
    axes.fill_between(labels, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
    axes.plot(labels, accuracy, color=BLUE, marker="o", linewidth=2.0, label="adapted model")
    if labels[0] == 0:
        axes.plot(labels[:1], accuracy[:1], color=GREY, marker="D", markersize=8, linestyle="none", zorder=4)
    for x, y, row in zip(labels, accuracy, rows, strict=True):
        is_end = row is rows[-1] or row is rows[0]
        if is_end or len(rows) <= 12:
            axes.annotate(f"{y:.1f}", (x, y), (0, 9), textcoords="offset points", ha="center", fontsize=8.5)
    axes.set_xlabel("labels trained on")
    axes.set_ylabel("accuracy on held-out texts, %")
    span = max(labels[-1] - labels[0], 10.0)
    axes.set_xlim(labels[0] - 0.04 * span, labels[-1] + 0.04 * span)
    bottom = min(*low, base)
    axes.set_ylim(max(0.0, 10 * (bottom // 10)), 102.0)
    axes.set_title(f"{name}: accuracy by labels", loc="left", parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def reliability_diagram(evaluations: Sequence[Evaluation], name: str, round_index: int) -> Any:
    """Accuracy over confidence of a round, raw and temperature-scaled, and of the base; counts beneath."""
    figure, axes, counts = _figure_with_counts(6.2, 6.6)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="perfectly calibrated")
    found = {(evaluation.model, evaluation.scaling): evaluation for evaluation in evaluations}
    base = found.get(("base", "contextual")) or found.get(("base", "raw"))
    if base is not None:
        _curve(axes, base, f"base model (ECE {base.ece:.3f})", None, color=GREY, linewidth=1.0)
    raw, scaled = found.get(("adapted", "raw")), found.get(("adapted", "temperature"))
    if raw is not None:
        _curve(axes, raw, f"adapted, raw (ECE {raw.ece:.3f})", "s", color=ORANGE, linewidth=1.2)
        _bars(counts, raw, -1, ORANGE)
    if scaled is not None:
        text = f"adapted, T = {scaled.temperature:.2f} (ECE {scaled.ece:.3f})"
        _curve(axes, scaled, text, "o", color=BLUE, linewidth=1.2)
        _bars(counts, scaled, +1, BLUE)
    n = f" of {evaluations[0].n}" if evaluations else ""
    axes.set_ylabel("accuracy")
    axes.set_ylim(-0.04, 1.06)
    axes.set_title(f"{name}: reliability at round {round_index}", loc="left", parse_math=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    counts.set_xlabel("confidence in the predicted label")
    counts.set_ylabel(f"texts{n}")
    counts.set_xlim(0, 1.03)
    return figure


def _curve(axes: Any, evaluation: Evaluation, label: str, marker: str | None, **style: Any) -> None:
    """The filled bins of a model, joined by a line; the area of a mark is the bin's share of the texts."""
    bins = [each for each in evaluation.bins if each.count]
    x, y = [each.confidence for each in bins], [each.accuracy for each in bins]
    axes.plot(x, y, label=label, marker=marker, markersize=3.5, **style)
    if marker is not None:
        areas = [12 + 600 * each.count / evaluation.n for each in bins]
        axes.scatter(x, y, s=areas, color=style["color"], marker=marker, alpha=0.5, linewidths=0, zorder=3)


def _bars(axes: Any, evaluation: Evaluation, side: int, color: str) -> None:
    """Counts of the bins as half-width bars, left or right in their bin."""
    for each in evaluation.bins:
        width = 0.42 * (each.high - each.low)
        middle = (each.low + each.high) / 2 + side * width / 2
        axes.bar(middle, each.count, width=width, color=color, linewidth=0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _figure_with_counts(width: float, height: float) -> tuple[Any, Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 1]})
    _plain(axes)
    _plain(counts)
    return figure, axes, counts


def _plain(axes: Any) -> None:
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _save(figure: Any, path: Path) -> Path:
    """Write aside and rename: a picture under its name is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(aside, format="png", dpi=DPI)
        aside.replace(path)
    except OSError as exc:
        raise StoreError(f"{path}: cannot be written ({exc.strerror or exc}). Name another folder.") from exc
    finally:
        with suppress(OSError):
            aside.unlink()
    return path
