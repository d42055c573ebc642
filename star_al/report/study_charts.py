"""Charts of a study: the strategies' learning curves, and their differences from random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_al.common.wording import count
from star_al.report.canvas import BLUE, DASHES, GREY, INK, MARKS, SERIES, SMALL, draw_svg, new_figure
from star_al.report.formatting import interval, number, percent, signed
from star_al.report.render import Picture, Table
from star_al.stats.learning_curves import POSTERIOR_MARK, REFERENCE, Comparison, StrategyCurve

OVERVIEW = (4.7, 4.4)


def all_curves(comparison: Comparison) -> Picture:
    """Draw the mean curve of every strategy in one chart, without intervals, which would cover each other."""

    def draw() -> Any:
        figure, axes = new_figure(*OVERVIEW)
        for place, curve in enumerate(comparison.strategies):
            style = _style(curve.strategy, place)
            axes.plot(curve.labels_R, _percents(curve.accuracy_R), label=curve.strategy, **style)
            if curve.beside_labels_R:
                thin = style | {"linestyle": ":", "linewidth": 1.2, "markersize": 3}
                label = f"{curve.strategy}: {curve.beside}"
                axes.plot(curve.beside_labels_R, _percents(curve.beside_accuracy_R), label=label, **thin)
            if curve.delivered_labels_R:
                dashed = style | {"linestyle": "--", "linewidth": 1.2, "markersize": 3}
                label = f"{curve.strategy}: delivered"
                axes.plot(
                    curve.delivered_labels_R, _percents(curve.delivered_accuracy_R), label=label, **dashed
                )
        _zero_shot(axes, comparison)
        _axes_of_curves(axes)
        _legend(figure, comparison)
        return figure

    rows = tuple(
        (curve.strategy, f"{labels:,.0f}", percent(accuracy), *_band(curve, place))
        for curve in comparison.strategies
        for place, (labels, accuracy) in enumerate(zip(curve.labels_R, curve.accuracy_R, strict=True))
    )
    caption = f"Mean accuracy by labels, {count(len(comparison.strategies), 'strategy', 'strategies')}."
    table = Table(("strategy", "labels", "mean accuracy", "95 % interval"), rows)
    return Picture("All strategies", draw_svg("study", draw), caption, table)


def curves_against_random(comparison: Comparison) -> list[Picture]:
    """Draw each strategy with its bootstrap intervals beside the ``random`` it is compared with."""
    return [
        _against(curve, place, comparison.strategy(curve.reference or REFERENCE), comparison)
        for place, curve in enumerate(comparison.strategies)
        if not curve.is_reference
    ]


def _against(
    curve: StrategyCurve, place: int, reference: StrategyCurve | None, comparison: Comparison
) -> Picture:
    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        for each, color in ((reference, GREY), (curve, BLUE)):
            if each is None:
                continue
            if each.low_R is not None and each.high_R is not None:
                low, high = _percents(each.low_R), _percents(each.high_R)
                axes.fill_between(each.labels_R, low, high, color=color, alpha=0.2, linewidth=0)
            mark = "o" if each is curve else "s"
            axes.plot(
                each.labels_R,
                _percents(each.accuracy_R),
                label=each.strategy,
                color=color,
                marker=mark,
                markersize=3.5,
                linewidth=1.6,
            )
        _zero_shot(axes, comparison)
        _axes_of_curves(axes)
        _legend(figure, comparison)
        return figure

    rows = tuple(
        (f"{labels:,.0f}", percent(accuracy), *_band(curve, at))
        for at, (labels, accuracy) in enumerate(zip(curve.labels_R, curve.accuracy_R, strict=True))
    )
    caption = f"{count(len(curve.seeds), 'seed')}; final accuracy {percent(curve.final.mean)}"
    caption += f" ({interval(curve.final.low, curve.final.high)})." if curve.final.low is not None else "."
    svg = draw_svg(f"study-{place}", draw)
    return Picture(curve.strategy, svg, caption, Table(("labels", "accuracy", "95 % interval"), rows))


def differences(comparison: Comparison) -> Picture | None:
    """Draw the paired differences in area under the curve, with t intervals; ``None`` if there are none."""
    found = [(each.strategy, each.aulc_difference) for each in comparison.strategies if each.aulc_difference]
    if not found:
        return None

    def draw() -> Any:
        figure, axes = new_figure(SMALL[0], 1.0 + 0.32 * len(found))
        axes.axvline(0.0, color=GREY, linestyle="--", linewidth=1.2)
        for height, (_, difference) in enumerate(reversed(found)):
            if difference.t_low is not None and difference.t_high is not None:
                axes.plot((difference.t_low, difference.t_high), (height, height), color=BLUE, linewidth=2)
            axes.plot([difference.mean], [height], color=BLUE, marker="o", markersize=5)
        axes.set_yticks(range(len(found)), [name for name, _ in reversed(found)], color=INK)
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.set_xlabel(f"AULC minus {REFERENCE}'s")
        return figure

    rows = tuple(
        (
            name,
            signed(each.mean, 4),
            _pair(each.t_low, each.t_high),
            _pair(each.low, each.high),
            _p(each.p),
            str(each.seeds),
        )
        for name, each in found
    )
    header = ("strategy", f"AULC minus {REFERENCE}'s", "t interval", "bootstrap interval", "p", "seeds")
    caption = (
        f"Points right of the dashed line are better than {REFERENCE}; if the interval crosses the line, the "
        "difference may be chance."
    )
    return Picture(
        f"Area under the curve against {REFERENCE}", draw_svg("aulc", draw), caption, Table(header, rows)
    )


def _zero_shot(axes: Any, comparison: Comparison) -> None:
    """Draw the accuracies that need no label as lines, where they lie in the curves' range."""
    bottom, top = axes.get_ylim()
    for share, label, style in (
        (comparison.base_accuracy, "base model, zero-shot", "--"),
        (comparison.majority, "majority class", ":"),
    ):
        if share is not None and bottom <= 100 * share <= top:
            axes.axhline(100 * share, color=INK, linestyle=style, linewidth=0.9, label=label)


def _axes_of_curves(axes: Any) -> None:
    axes.set_xlabel("labels, held-out ones included")
    axes.set_ylabel("accuracy on held-out texts, %")


def _legend(figure: Any, comparison: Comparison) -> None:
    """Put the legend below the curves; names with a posterior are too long for three columns."""
    long_names = any(POSTERIOR_MARK in each.strategy for each in comparison.strategies)
    figure.legend(loc="outside lower center", ncols=2 if long_names else 3, frameon=False)


def _style(strategy: str, place: int) -> dict[str, Any]:
    """Choose grey for the reference, else the next colour and mark, and a new dash once colours repeat."""
    colours = SERIES[:-1]
    return {
        "color": GREY if strategy == REFERENCE else colours[place % len(colours)],
        "marker": MARKS[place % len(MARKS)],
        "linestyle": DASHES[place // len(colours) % len(DASHES)],
        "markersize": 3.5,
        "linewidth": 1.5,
    }


def _percents(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def _band(curve: StrategyCurve, place: int) -> tuple[str]:
    if curve.low_R is None or curve.high_R is None:
        return (interval(None, None),)
    return (interval(curve.low_R[place], curve.high_R[place]),)


def _pair(low: float | None, high: float | None) -> str:
    return f"{signed(low, 4)} to {signed(high, 4)}" if low is not None or high is not None else number(None)


def _p(p: float | None) -> str:
    return number(None) if p is None else f"{p:.2g}"
