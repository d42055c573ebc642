"""The page of one campaign: what it shows, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from star_al.config.spec import CampaignSpec, OracleSpec
from star_al.report.confusion import confusion
from star_al.report.labels_saved import Compared, Saved, compare_with_control, labels_saved
from star_al.report.model_charts import accuracy_by_labels, reliability, uncertainty_histograms
from star_al.report.questions import COLUMNS, questions
from star_al.report.record import CampaignRecord, Measured
from star_al.report.render import Numbers, Picture, render
from star_al.report.round_charts import (
    agreement_by_round,
    blend_curve,
    blend_weights,
    calibration_over_rounds,
    lead_times,
    seconds_by_step,
)
from star_al.report.words import count, duration, headline, interval, number, percent, signed
from star_al.types import JsonObject


@dataclass(frozen=True)
class Control:
    """The active curve against the control arm: a sentence, its caution, and the figures."""

    result: str
    caution: str
    numbers: Numbers


def campaign_page(record: CampaignRecord) -> str:
    """The whole page as HTML."""
    measured = record.measured
    newest = measured[-1] if measured else None
    return render(
        "campaign.html.j2",
        name=record.campaign.name,
        made_at=f"{record.made_at:%Y-%m-%d %H:%M} UTC",
        program=record.program,
        headline=headline(record),
        tiles=_tiles(record),
        curve=accuracy_by_labels(record) if measured else None,
        control=_control(measured),
        calibration=_calibration(measured),
        confusion=confusion(newest.adapted) if newest else None,
        newest=newest,
        blend=_present(blend_weights(record.rounds), blend_curve(record.rounds)),
        histograms=uncertainty_histograms(record.rounds),
        questions=questions(record.asked),
        columns=COLUMNS,
        simulated=isinstance(record.spec.annotator, OracleSpec),
        people=_people(record),
        answering=_present(agreement_by_round(record), lead_times(record)),
        rounds=_rounds(record),
        seconds=seconds_by_step(record.rounds),
        config=config_yaml(record.spec),
        versions=_versions(record),
    )


def config_yaml(spec: CampaignSpec) -> str:
    """Every setting, defaults included. Secrets are not among them: they are in the environment."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def _present(*pictures: Picture | None) -> list[Picture]:
    return [picture for picture in pictures if picture is not None]


def _tiles(record: CampaignRecord) -> list[tuple[str, str, str]]:
    """The figures that matter most: name, value, and what belongs to it."""
    measured = record.measured
    tiles = []
    if measured:
        newest = measured[-1]
        adapted, base = newest.adapted, newest.base
        tiles.append(
            ("accuracy", percent(adapted.accuracy), interval(adapted.accuracy_low, adapted.accuracy_high))
        )
        if base is not None:
            tiles.append(
                ("zero-shot", percent(base.accuracy), interval(base.accuracy_low, base.accuracy_high))
            )
        scaled = "temperature-scaled" if adapted.scaling == "temperature" else "raw, T = 1"
        tiles.append(("calibration error", number(adapted.ece), f"ECE, {scaled}"))
    bought = sum(record.labels.values()) - record.labels["test"]
    tiles.append(("labels", f"{bought:,}", f"{record.labels['pool']:,} of them to learn from"))
    if record.rounds:
        tiles.append(("round", f"{record.rounds[-1].index}", record.rounds[-1].state.value))
    return tiles


def _control(measured: Sequence[Measured]) -> Control | None:
    rows = compare_with_control(measured)
    if not rows:
        return None
    header = (
        "labels",
        "control: random texts",
        "95 % interval",
        "active, at as many labels",
        "difference, points",
    )
    numbers = Numbers(header, tuple(map(_control_row, rows)))
    return Control(_saved_in_words(labels_saved(measured), rows[-1].labels), _caution(rows), numbers)


def _caution(rows: Sequence[Compared]) -> str:
    """How much the comparison can bear."""
    last = rows[-1]
    text = "One campaign is one draw of luck, and both curves are smoothed to rise. "
    if last.active is not None:
        points = 100 * (last.active - last.control.accuracy)
        inside = last.control.accuracy_low <= last.active <= last.control.accuracy_high
        text += (
            f"At the control arm's {count(last.labels, 'label')} the active curve is {abs(points):.1f} points "
            f"{'above' if points >= 0 else 'below'} it, "
            f"{'within its interval, which may be chance' if inside else 'outside its interval'}. "
        )
    return f"{text}Nothing is said of random texts beyond that count."


def _control_row(row: Compared) -> tuple[str, ...]:
    points = None if row.active is None else 100 * (row.active - row.control.accuracy)
    band = interval(row.control.accuracy_low, row.control.accuracy_high)
    return f"{row.labels:,}", percent(row.control.accuracy), band, percent(row.active), signed(points, 1)


def _saved_in_words(saved: Saved | None, labels: int) -> str:
    if saved is None:
        return f"The control arm has {count(labels, 'label')} so far: too early to say what is saved."
    reached = f"The control arm came to {percent(saved.accuracy)} with {count(round(saved.control), 'random label')}"
    if saved.active is None:
        return f"{reached}; the active curve has not got there."
    share = 1 - saved.active / saved.control
    change = f"{percent(abs(share), 0)} {'fewer' if share >= 0 else 'more'}"
    return f"{reached}; the active curve got there with {round(saved.active):,}, {change}."


def _calibration(measured: Sequence[Measured]) -> list[Picture]:
    if not measured:
        return []
    return [
        reliability(measured[-1]),
        calibration_over_rounds(measured, "ece", "Calibration error over rounds", "ECE, 15 bins"),
        calibration_over_rounds(measured, "nll", "Negative log-likelihood over rounds", "NLL, nats a text"),
    ]


def _people(record: CampaignRecord) -> Numbers | None:
    if not record.people:
        return None
    rows = tuple(
        (
            each.name,
            f"{each.answers:,}",
            f"{each.skips:,}",
            duration(each.seconds),
            percent(each.agreed / each.compared if each.compared else None, 0),
        )
        for each in record.people
    )
    return Numbers(("annotator", "answers", "skips", "median time", "as the label in force"), rows)


def _rounds(record: CampaignRecord) -> Numbers | None:
    """What each round did, and why it might be time to stop."""
    if not record.rounds:
        return None
    rows = tuple(
        (
            str(each.index),
            each.state.value,
            f"{each.labels:,}",
            f"{each.labels_bought:,}",
            f"{each.asked:,}",
            f"{each.skipped:,}",
            f"{each.disputed:,}",
            number(each.agreement, 2),
            number(each.stop_agreement),
            each.stop_reason or each.stop_advice or "",
        )
        for each in record.rounds
    )
    header = (
        "round",
        "state",
        "labels",
        "bought",
        "asked",
        "without label",
        "disputed",
        "α",
        "stable",
        "stopping",
    )
    return Numbers(header, rows)


def _versions(record: CampaignRecord) -> list[tuple[str, str]]:
    newest: JsonObject = record.rounds[-1].versions if record.rounds else {}
    found = next((each.versions for each in reversed(record.rounds) if each.versions), newest)
    own = [("star_al (this page)", record.program), ("campaign's seed", str(record.campaign.seed))]
    return [*own, *((name, str(value)) for name, value in found.items())]
