"""Charts over rounds: calibration, blend weight, agreement, time to answer, time per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_al.common.wording import count
from star_al.report.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, SERIES, SMALL, draw_svg, new_figure
from star_al.report.formatting import duration, number, sentence
from star_al.report.render import Picture, Table
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound, find_evaluation
from star_al.stats.ece_floor import ece_floor
from star_al.stats.shortlist_words import shortlist_in_words
from star_al.types import Round, RoundSelection

MODELS = (
    ("base", ("contextual", "raw"), "base model", GREEN, "^"),
    ("adapted", ("raw",), "adapted, raw", ORANGE, "s"),
    ("adapted", ("temperature",), "adapted, temperature-scaled", BLUE, "o"),
    ("head", ("temperature", "raw"), "head", PURPLE, "D"),
)
"""Model, scalings in order of preference, label, colour and mark."""

WAITING = "collect"
"""The step that waits for annotators, which does not count as computing time."""


def calibration_over_rounds(
    evaluated: Sequence[EvaluatedRound], measure: str, title: str, unit: str
) -> Picture:
    """Draw a measure (``ece`` or ``nll``) of the models by round; the ECE with its noise floor."""
    series = []
    for model, scalings, label, color, mark in MODELS:
        found = [
            (each.round.index, find_evaluation(each.evaluations, model, *scalings)) for each in evaluated
        ]
        points = [(index, getattr(each, measure)) for index, each in found if each is not None]
        if points:
            series.append((label, points, {"color": color, "marker": mark}))
    if measure == "ece":
        floors = [(each.round.index, ece_floor(each.main.bins).mean) for each in evaluated]
        series.append(("by chance alone", floors, {"color": GREY, "linestyle": ":"}))

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        for label, points, style in series:
            axes.plot(*zip(*points, strict=True), label=label, markersize=4, linewidth=1.4, **style)
        axes.set_xlabel("round")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        _whole_rounds(axes)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    last = "; ".join(f"{label} {points[-1][1]:.3f}" for label, points, _ in series)
    by_label = {label: dict(points) for label, points, _ in series}
    rows = tuple(
        (str(each.round.index), *(number(points.get(each.round.index)) for points in by_label.values()))
        for each in evaluated
    )
    caption = f"Newest of {count(len(evaluated), 'round')}: {last}."
    return Picture(title, draw_svg(measure, draw), caption, Table(("round", *by_label), rows))


def blend_in_words(rounds: Sequence[Round]) -> str:
    """Say how the weight of the adapted model's uncertainty went; empty if no round blended."""
    found = [(each.index, each.selection) for each in rounds if each.selection]
    weights = [(index, made.blend_weight) for index, made in found if made.blend_weight is not None]
    if not weights:
        return ""
    (first, start), (last, end) = weights[0], weights[-1]
    way = f" (it was {start:.2f} in round {first})" if first != last else ""
    note = next((made.blend_note for _, made in reversed(found) if made.blend_note), "")
    heads = [made.blend_head_weight for _, made in found if made.blend_weight is not None]
    head = "" if heads[-1] is None else f", and the head's {heads[-1]:.2f}"
    text = f"The adapted model's uncertainty has the weight λ = {end:.2f} in the score of round {last}{way}{head}"
    return f"{text}: {note}." if note else f"{text}."


def shortlist_sentence(rounds: Sequence[Round]) -> str:
    """Say what the shortlist of the newest round left out; empty if that round scored all texts."""
    chosen = [each for each in rounds if each.selection]
    record = chosen[-1].selection.shortlist if chosen and chosen[-1].selection else None
    return "" if record is None else sentence(f"In round {chosen[-1].index}, {shortlist_in_words(record)}")


def blend_weights(rounds: Sequence[Round]) -> Picture | None:
    """Draw the weights of the models in the blend by round.

    Returns:
        The chart, or ``None`` if fewer than two rounds blended, or all with the same weights.
    """
    weights = {each.index: _weights(each.selection) for each in rounds if each.selection}
    found = {index: named for index, named in weights.items() if named}
    if len(found) < 2 or all(named == next(iter(found.values())) for named in found.values()):
        return None
    styles = {
        "adapted model": {"color": BLUE, "marker": "o"},
        "base model": {"color": GREEN, "marker": "^"},
        "head": {"color": PURPLE, "marker": "D"},
    }
    names = [name for name in styles if any(name in named for named in found.values())]

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        for name in names:
            points = [(index, named[name]) for index, named in found.items() if name in named]
            axes.plot(*zip(*points, strict=True), label=name, markersize=4, linewidth=1.4, **styles[name])
        axes.set_xlabel("round")
        axes.set_ylabel("weight in the score")
        axes.set_ylim(-0.03, 1.03)
        _whole_rounds(axes)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return figure

    rows = tuple(
        (str(index), *(number(named.get(name), 2) for name in names)) for index, named in found.items()
    )
    newest = list(found.values())[-1]
    caption = f"Newest of {count(len(found), 'round')}: {', '.join(f'{name} {newest[name]:.2f}' for name in newest)}."
    table = Table(("round", *names), rows)
    return Picture("Weight of each model in the score", draw_svg("blend-weights", draw), caption, table)


def _weights(selection: RoundSelection) -> dict[str, float]:
    """The weights of a round's blend by model; none if nothing was blended."""
    adapted, head = selection.blend_weight, selection.blend_head_weight
    if adapted is None:
        return {}
    rest = max(0.0, 1.0 - adapted - (head or 0.0))
    return {"adapted model": adapted, "base model": rest} | ({} if head is None else {"head": head})


def blend_curve(rounds: Sequence[Round]) -> Picture | None:
    """Draw how well each weight ranks held-out errors first, in the newest round that measured it.

    Returns:
        The chart, or ``None`` if no round measured the weight.
    """
    measured = {
        each.index: each.selection for each in rounds if each.selection and each.selection.blend_curve
    }
    if not measured:
        return None
    *earlier, (index, newest) = measured.items()

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        for _, older in earlier:
            axes.plot(*zip(*older.blend_curve, strict=True), color=GREY, alpha=0.35, linewidth=0.9)
        axes.plot(*zip(*newest.blend_curve, strict=True), color=BLUE, linewidth=1.8, label=f"round {index}")
        if earlier:
            axes.plot([], [], color=GREY, alpha=0.5, linewidth=0.9, label="earlier rounds")
        axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1.0, label="no better than chance")
        if newest.blend_weight is not None:
            axes.axvline(
                newest.blend_weight, color=ORANGE, linestyle="--", linewidth=1.3, label="weight used"
            )
        axes.set_xlabel("weight of the adapted model λ")
        axes.set_ylabel("AUROC of held-out errors")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    weight, best = max(newest.blend_curve, key=lambda point: point[1])
    rows = tuple((number(w, 2), number(auroc)) for w, auroc in newest.blend_curve)
    caption = f"At round {index}, λ = {weight:.2f} ranks the held-out errors best (AUROC {best:.3f})."
    title = f"How well each weight ranks errors, round {index}"
    table = Table(("λ", "AUROC"), rows)
    return Picture(title, draw_svg("blend-curve", draw), caption, table, sentence(newest.blend_note))


def agreement_by_round(snapshot: CampaignSnapshot) -> Picture | None:
    """Draw Krippendorff's alpha by round; ``None`` if no text was answered by several people."""
    found = [(each.index, each.collection.agreement) for each in snapshot.rounds if each.collection]
    points = [(index, alpha) for index, alpha in found if alpha is not None]
    if not points:
        return None
    rows = tuple((str(index), number(alpha, 2)) for index, alpha in points)
    caption = (
        f"Agreement by round; newest α = {points[-1][1]:.2f}. 1 is full agreement, 0 is what chance gives."
    )
    lowest = min(0.0, *(alpha for _, alpha in points))
    svg = draw_svg("agreement", lambda: _by_round(points, "Krippendorff's α", lowest))
    return Picture("Agreement between annotators", svg, caption, Table(("round", "α"), rows))


def lead_times(snapshot: CampaignSnapshot) -> Picture | None:
    """Draw the quartiles of the seconds per answer by round; ``None`` if no times are known."""
    found = {index: sorted(seconds) for index, seconds in sorted(snapshot.lead_times.items()) if seconds}
    if not found:
        return None
    import numpy as np

    quartiles = {index: np.quantile(seconds, (0.25, 0.5, 0.75)).tolist() for index, seconds in found.items()}

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        low, middle, high = zip(*quartiles.values(), strict=True)
        axes.fill_between(
            list(quartiles), low, high, color=BLUE, alpha=0.18, linewidth=0, label="middle 50 %"
        )
        axes.plot(list(quartiles), middle, color=BLUE, marker="o", linewidth=1.6, label="median")
        axes.set_xlabel("round")
        axes.set_ylabel("seconds per answer")
        axes.set_ylim(bottom=0)
        _whole_rounds(axes)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    rows = tuple(
        (str(index), f"{len(found[index]):,}", duration(low), duration(middle), duration(high))
        for index, (low, middle, high) in quartiles.items()
    )
    table = Table(("round", "answers", "lower quartile", "median", "upper quartile"), rows)
    caption = f"Time per answer; median in the newest round: {duration(list(quartiles.values())[-1][1])}."
    return Picture("Time per answer", draw_svg("lead-time", draw), caption, table)


def seconds_by_step(rounds: Sequence[Round]) -> Picture | None:
    """Draw the computing time of each step, stacked by round; waiting for people is only in the table."""
    steps = list(dict.fromkeys(step for each in rounds for step in each.seconds))
    if not steps:
        return None
    drawn = [step for step in steps if step != WAITING and _share(rounds, step) >= 0.005]

    def draw() -> Any:
        figure, axes = new_figure(*SMALL)
        floor = [0.0] * len(rounds)
        for position, step in enumerate(drawn):
            heights = [each.seconds.get(step, 0.0) for each in rounds]
            axes.bar(
                [each.index for each in rounds],
                heights,
                bottom=floor,
                label=step,
                width=0.72,
                color=SERIES[position % len(SERIES)],
                linewidth=0,
            )
            floor = [below + height for below, height in zip(floor, heights, strict=True)]
        axes.set_xlabel("round")
        axes.set_ylabel("seconds")
        _whole_rounds(axes)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return figure

    rows = tuple(
        (str(each.index), *(duration(each.seconds.get(step)) for step in steps), duration(_computing(each)))
        for each in rounds
    )
    total = sum(map(_computing, rounds))
    caption = f"Computing time {duration(total)} in total; waiting for answers ({WAITING}) is not drawn."
    table = Table(("round", *steps, f"total without {WAITING}"), rows)
    return Picture("Time per step", draw_svg("seconds", draw), caption, table)


def _share(rounds: Sequence[Round], step: str) -> float:
    """Return the step's share of the computing time."""
    return sum(each.seconds.get(step, 0.0) for each in rounds) / (sum(map(_computing, rounds)) or 1.0)


def _computing(round_: Round) -> float:
    return sum(seconds for step, seconds in round_.seconds.items() if step != WAITING)


def _by_round(points: Sequence[tuple[int, float]], unit: str, lowest: float) -> Any:
    """Draw values of at most 1 as a line over rounds."""
    figure, axes = new_figure(*SMALL)
    axes.plot(*zip(*points, strict=True), color=BLUE, marker="o", linewidth=1.6)
    axes.set_xlabel("round")
    axes.set_ylabel(unit)
    axes.set_ylim(lowest - 0.03, 1.03)
    _whole_rounds(axes)
    return figure


def _whole_rounds(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
