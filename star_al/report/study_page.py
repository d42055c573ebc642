"""The page of a study: strategies compared over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from star_al.common.wording import count
from star_al.config.writing import to_yaml
from star_al.report.formatting import duration, interval, number, percent, signed
from star_al.report.render import Table, render
from star_al.report.study_charts import all_curves, curves_against_random, differences
from star_al.stats.comparison_words import cautions, in_words
from star_al.stats.learning_curves import REFERENCE, SHARES, Comparison, StrategyCurve
from star_al.stats.over_seeds import Estimate, Saving
from star_al.types import Study


@dataclass(frozen=True)
class StudySnapshot:
    """Everything that a study's page shows."""

    study: Study
    comparison: Comparison
    made_at: datetime
    program: str


def study_page(snapshot: StudySnapshot) -> str:
    """Render a study's page as HTML."""
    comparison = snapshot.comparison
    warnings = cautions(comparison)
    findings = [line for line in in_words(comparison) if line not in warnings]
    return render(
        "study.html.j2",
        name=snapshot.study.name,
        made_at=f"{snapshot.made_at:%Y-%m-%d %H:%M} UTC",
        program=snapshot.program,
        result=_state(comparison),
        findings=findings,
        warnings=warnings,
        overview=all_curves(comparison) if comparison.strategies else None,
        differences=differences(comparison),
        areas=_areas(comparison.strategies),
        savings=_savings(comparison.strategies),
        curves=curves_against_random(comparison),
        runs=_runs(comparison),
        reference=REFERENCE,
        config=to_yaml(snapshot.study.config),
    )


def _state(comparison: Comparison) -> str:
    done = sum(run.finished for run in comparison.runs)
    n_strategies = len({run.strategy for run in comparison.runs})
    n_seeds = len({run.seed for run in comparison.runs})
    text = (
        f"{count(n_strategies, 'strategy', 'strategies')} over {count(n_seeds, 'seed')}: {done:,} of "
        f"{count(len(comparison.runs), 'run')} {'has' if done == 1 else 'have'} finished."
    )
    if comparison.base_accuracy is not None and comparison.majority is not None:
        text += (
            f" The base model has an accuracy of {percent(comparison.base_accuracy)}, the majority class of "
            f"{percent(comparison.majority)}."
        )
    return text


def _areas(strategies: Sequence[StrategyCurve]) -> Table | None:
    """Return a row per strategy: final accuracy and AULC, with their differences from the reference."""
    if not strategies:
        return None
    rows = []
    for each in strategies:
        final, area = each.final_difference, each.aulc_difference
        rows.append(
            (
                each.strategy,
                str(len(each.seeds)),
                _estimate_in_percent(each.final),
                "" if final is None else signed(100 * final.mean, 1),
                number(None) if each.aulc is None else number(each.aulc.mean, 4),
                "" if area is None else signed(area.mean, 4),
                ""
                if area is None or area.t_low is None
                else f"{signed(area.t_low, 4)} to {signed(area.t_high, 4)}",
                "" if area is None or area.p is None else f"{area.p:.2g}",
                duration(each.seconds),
            )
        )
    header = (
        "strategy",
        "seeds",
        "final accuracy",
        f"difference from {REFERENCE}, points",
        "AULC",
        f"AULC minus {REFERENCE}'s",
        "95 % interval",
        "p",
    )
    return Table((*header, "time per run"), tuple(rows))


def _estimate_in_percent(estimate: Estimate) -> str:
    if estimate.low is None:
        return percent(estimate.mean)
    return f"{percent(estimate.mean)} ({interval(estimate.low, estimate.high)})"


def _savings(strategies: Sequence[StrategyCurve]) -> Table | None:
    """Return a row per strategy: labels saved at each share of the reference's gain."""
    rows = [
        (each.strategy, *(_saving(each.saving_at(share)) for share in SHARES))
        for each in strategies
        if each.savings
    ]
    if not rows:
        return None
    return Table(("strategy", *(f"at {share:.0%} of {REFERENCE}'s gain" for share in SHARES)), tuple(rows))


def _saving(saving: Saving | None) -> str:
    if saving is None or saving.reference_labels is None:
        return number(None)
    if saving.saving is None or saving.labels is None:
        return "not reached"
    text = f"{_change(saving.saving)}: {saving.labels:.0f} instead of {saving.reference_labels:.0f}"
    if saving.high is None:
        return text
    low = "no lower limit" if saving.low is None else _change(saving.low)
    return f"{text} ({low} to {_change(saving.high)})"


def _change(share: float) -> str:
    return f"{signed(100 * share, 0)}\u00a0%"


def _runs(comparison: Comparison) -> Table:
    rows = tuple(
        (
            run.strategy,
            str(run.seed),
            run.campaign,
            "finished" if run.finished else "running" if run.labels_R else "not evaluated yet",
            f"{run.labels_R[-1]:,}" if run.labels_R else number(None),
            percent(run.accuracy_R[-1] if run.accuracy_R else None),
            number(run.aulc, 4),
            duration(run.seconds),
            run.stop_reason or "",
        )
        for run in comparison.runs
    )
    header = (
        "strategy",
        "seed",
        "campaign",
        "state",
        "labels",
        "accuracy",
        "AULC",
        "time",
        "reason for stopping",
    )
    return Table(header, rows)
