"""The page of one campaign: its sections in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from star_al.config.spec import CampaignSpec, OracleSpec
from star_al.config.writing import to_yaml
from star_al.report.agreement import disputed_labels, pairs_of_people
from star_al.report.answers import side_by_side
from star_al.report.confusion import confusion
from star_al.report.formatting import duration, interval, number, percent
from star_al.report.labels_saved import control_comparison
from star_al.report.model_charts import accuracy_by_labels, reliability, score_histogram
from star_al.report.questions import COLUMNS, questions
from star_al.report.reliability_bins import LEAST_TEXTS
from star_al.report.render import Picture, Table, render
from star_al.report.round_charts import (
    agreement_by_round,
    blend_curve,
    blend_in_words,
    blend_weights,
    calibration_over_rounds,
    lead_times,
    seconds_by_step,
    shortlist_sentence,
)
from star_al.report.sentences import about_answers
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound
from star_al.report.summary import summarise
from star_al.stats.comparison_words import in_words
from star_al.stats.ece_floor import ece_floor
from star_al.stats.figures import figures_of
from star_al.stats.learning_curves import Comparison
from star_al.types import JsonObject, Role, Round, RoundCollection


def campaign_page(snapshot: CampaignSnapshot) -> str:
    """Render a campaign's page as HTML."""
    evaluated = snapshot.evaluated
    newest = evaluated[-1] if evaluated else None
    return render(
        "campaign.html.j2",
        name=snapshot.campaign.name,
        made_at=f"{snapshot.made_at:%Y-%m-%d %H:%M} UTC",
        program=snapshot.program,
        summary=summarise(snapshot),
        tiles=_tiles(snapshot),
        curve=accuracy_by_labels(snapshot) if evaluated else None,
        control=control_comparison(snapshot),
        simulated_results=_simulated(snapshot.simulated),
        calibration=_calibration(evaluated),
        few_texts=_few_texts(evaluated),
        confusion=confusion(newest.main, _trained_on(snapshot)) if newest and newest.main.recall else None,
        answers=side_by_side(snapshot.answers),
        is_open=not newest.main.recall if newest else False,
        macro_f1=percent(newest.main.macro_f1) if newest else "",
        newest=newest,
        blend=blend_in_words(snapshot.rounds),
        shortlist=shortlist_sentence(snapshot.rounds),
        selection=_existing(
            score_histogram(snapshot.rounds), blend_weights(snapshot.rounds), blend_curve(snapshot.rounds)
        ),
        questions=questions(snapshot.asked, snapshot.texts),
        columns=COLUMNS,
        simulated=isinstance(snapshot.spec.annotator, OracleSpec),
        people=_people(snapshot),
        pairs=pairs_of_people(snapshot.asked),
        disputed_labels=disputed_labels(snapshot.asked),
        about_answers=about_answers(snapshot),
        answer_charts=_existing(agreement_by_round(snapshot), lead_times(snapshot)),
        rounds=_rounds(snapshot),
        seconds=seconds_by_step(snapshot.rounds),
        config=config_yaml(snapshot.spec),
        versions=_versions(snapshot),
    )


def _simulated(comparison: Comparison | None) -> list[str]:
    """What simulated campaigns on the same texts show, in sentences; none without finished runs."""
    return in_words(comparison) if comparison is not None and comparison.strategies else []


def config_yaml(spec: CampaignSpec) -> str:
    """Write every setting as YAML, with defaults. Secrets are in the environment and never part of it."""
    return to_yaml(spec.model_dump(mode="json"))


def _existing(*pictures: Picture | None) -> list[Picture]:
    return [picture for picture in pictures if picture is not None]


def _tiles(snapshot: CampaignSnapshot) -> list[tuple[str, str, str]]:
    """Return the key figures as (name, value, detail)."""
    evaluated = snapshot.evaluated
    tiles = []
    if evaluated:
        newest = evaluated[-1]
        measured, base = newest.result, newest.base
        tiles.append(
            ("accuracy", percent(measured.accuracy), interval(measured.accuracy_low, measured.accuracy_high))
        )
        if base is not None:
            tiles.append(
                ("zero-shot", percent(base.accuracy), interval(base.accuracy_low, base.accuracy_high))
            )
        tiles += [
            (name, number(value, 2), unit)
            for name, value, unit in figures_of(snapshot.spec.task.kind, measured)
        ]
        chance = f"{number(ece_floor(measured.bins).mean)} by chance alone"
        tiles.append(("calibration error", number(measured.ece), f"ECE, {_scaling(newest)}; {chance}"))
    bought = sum(snapshot.labels.values()) - snapshot.labels["test"]
    tiles.append(("labels", f"{bought:,}", f"{snapshot.labels['pool']:,} for training"))
    if snapshot.rounds:
        tiles.append(("round", f"{snapshot.rounds[-1].index}", snapshot.rounds[-1].state.value))
    return tiles


def _scaling(newest: EvaluatedRound) -> str:
    """How the confidence of what is delivered came about."""
    if newest.fits_right_answers:
        return "fitted to right answers"
    if newest.delivered is not None:
        return "as delivered"
    return "temperature-scaled" if newest.main.scaling == "temperature" else "raw, T = 1"


def _calibration(evaluated: Sequence[EvaluatedRound]) -> list[Picture]:
    if not evaluated:
        return []
    return _existing(
        reliability(evaluated[-1]),
        calibration_over_rounds(evaluated, "ece", "Calibration error over rounds", "ECE, 15 bins"),
        calibration_over_rounds(
            evaluated, "nll", "Negative log-likelihood over rounds", "NLL, nats per text"
        ),
    )


def _trained_on(snapshot: CampaignSnapshot) -> Counter[str]:
    """How many labels of each kind people have given for training."""
    return Counter(
        str(each.label.value) for each in snapshot.asked if each.label and each.query.purpose is Role.POOL
    )


def _few_texts(evaluated: Sequence[EvaluatedRound]) -> str:
    """Why there is no reliability diagram; empty if there is one."""
    n = evaluated[-1].main.n if evaluated else LEAST_TEXTS
    if n >= LEAST_TEXTS:
        return ""
    return f"A reliability diagram needs {LEAST_TEXTS} held-out texts; there {'is' if n == 1 else 'are'} {n}."


def _people(snapshot: CampaignSnapshot) -> Table | None:
    if not snapshot.people:
        return None
    rows = tuple(
        (
            each.name,
            f"{each.answers:,}",
            f"{each.skips:,}",
            duration(each.seconds),
            percent(each.agreed / each.compared if each.compared else None, 0),
        )
        for each in snapshot.people
    )
    return Table(("annotator", "answers", "skips", "median time", "agrees with final label"), rows)


def _rounds(snapshot: CampaignSnapshot) -> Table | None:
    """Return a row per round: its state, its labels, and the stopping rules' verdict."""
    if not snapshot.rounds:
        return None
    header = (
        "round",
        "state",
        "labels",
        "all labels",
        "asked",
        "without label",
        "disputed",
        "λ",
        "α",
        "stability",
        "stopping rules",
    )
    return Table(header, tuple(map(_round_row, snapshot.rounds)))


def _round_row(round_: Round) -> tuple[str, ...]:
    collection, decision = round_.collection or RoundCollection(), round_.decision
    return (
        str(round_.index),
        round_.state.value,
        f"{round_.labels:,}",
        f"{round_.labels_bought:,}",
        f"{round_.selection.asked if round_.selection else 0:,}",
        f"{collection.skipped:,}",
        f"{collection.disputed:,}",
        number(round_.selection.blend_weight if round_.selection else None, 2),
        number(collection.agreement, 2),
        number(round_.evaluation.stop_agreement if round_.evaluation else None),
        (decision.stop_reason or decision.stop_advice or "") if decision else "",
    )


def _versions(snapshot: CampaignSnapshot) -> list[tuple[str, str]]:
    found: JsonObject = next((each.fit.versions for each in reversed(snapshot.rounds) if each.fit), {})
    own = [("star_al (this page)", snapshot.program), ("campaign seed", str(snapshot.campaign.seed))]
    rows = [(name, value) for name, value in found.items() if not isinstance(value, dict)]
    rows += [
        (f"{part}: {name}", value)  # of the head beside a language model
        for part, values in found.items()
        if isinstance(values, dict)
        for name, value in values.items()
    ]
    return [*own, *((name, str(value)) for name, value in rows)]
