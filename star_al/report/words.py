"""Figures in words: what a campaign has reached with how many labels, and what it cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.config.spec import CampaignSpec, OracleSpec
from star_al.report.record import CampaignRecord, Measured
from star_al.types import Evaluation, QueryState, Role, Round, RoundState

NOTHING = "–"

WIDE = 0.03
"""Half of an interval that is wider than a change one would act upon."""


@dataclass(frozen=True)
class Headline:
    """``result`` in a sentence, ``sentences`` around it, and what is ``unknown``, each with the reason."""

    result: str
    sentences: tuple[str, ...]
    unknown: tuple[str, ...]


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash for none."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int) -> str:
    """The same, always with its sign."""
    return NOTHING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """A share as "93.2 %", not to be broken over lines; a dash for none."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}\u00a0%"


def interval(low: float | None, high: float | None) -> str:
    """Two shares as "89.4 to 95.7 %", not to be broken over lines; a dash for none."""
    if low is None or high is None:
        return NOTHING
    return f"{100 * low:.1f}\u00a0to\u00a0{100 * high:.1f}\u00a0%"


def sentence(words: str | None) -> str:
    """Words as a sentence of their own: a capital to begin with, a stop at the end; nothing of nothing."""
    text = (words or "").strip()
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def count(n: int, one: str, several: str | None = None) -> str:
    """A number of things: 1 label, 2 labels, 12,000 labels."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds as "4.2 s", "3 min 20 s" or "2 h 5 min"; a dash for none."""
    if seconds is None:
        return NOTHING
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def headline(record: CampaignRecord) -> Headline:
    """The campaign in words."""
    measured = record.measured
    result = _reached(measured[-1]) if measured else _nothing_measured(record)
    sentences = [*_against_base(measured), _bought(record), _state(record)]
    if record.rounds and record.rounds[-1].stop_advice:
        sentences.append(sentence(f"Advice of the stopping rules: {record.rounds[-1].stop_advice}"))
    return Headline(result, tuple(filter(None, sentences)), tuple(_unknown(record)))


def _reached(newest: Measured) -> str:
    adapted = newest.adapted
    how = f"is right on {percent(adapted.accuracy)} of {count(adapted.n, 'held-out text')}"
    band = f"95 % interval {interval(adapted.accuracy_low, adapted.accuracy_high)}"
    if newest.round.adapter_sha256 is None and newest.round.labels == 0:
        return f"Without any label to learn from, the base model {how} ({band})."
    labels = count(newest.round.labels, "label")
    return f"With {labels} to learn from, the model {how} ({band})."


def _nothing_measured(record: CampaignRecord) -> str:
    if not record.rounds:
        wanted = [each for each in record.asked if each.query.purpose is not Role.POOL]
        if not wanted:
            return "The campaign has been made; nothing has been asked yet."
        done = sum(each.query.state is not QueryState.OPEN for each in wanted)
        return f"The campaign has asked its {count(len(wanted), 'held-out item')}; {done} have been answered."
    labels = count(record.rounds[-1].labels, "label")
    return f"The campaign has {labels} to learn from; how often its model is right is not known."


def _against_base(measured: Sequence[Measured]) -> list[str]:
    if not measured or measured[-1].round.labels == 0 or measured[-1].base is None:
        return []
    adapted, base = measured[-1].adapted, measured[-1].base
    gain = 100 * (adapted.accuracy - base.accuracy)
    text = f"The base model, without any label, is right on {percent(base.accuracy)} of the same texts: "
    text += f"{abs(gain):.1f} points {'less' if gain >= 0 else 'more'}."
    if _overlap(adapted, base):
        text += " Their intervals overlap, so this may be chance."
    return [text]


def _overlap(one: Evaluation, other: Evaluation) -> bool:
    return one.accuracy_low <= other.accuracy_high and other.accuracy_low <= one.accuracy_high


def _bought(record: CampaignRecord) -> str:
    held_out = record.labels[Role.AUDIT] + record.labels[Role.CALIBRATION]
    learned = record.labels[Role.POOL]
    total = count(held_out + learned, "label")
    if not held_out + learned:
        return ""
    parts = f"{learned:,} to learn from, {held_out:,} to measure and calibrate with"
    return f"There are {total} in all: {parts}. {count(record.sizes[Role.POOL], 'text')} are in the pool."


def _state(record: CampaignRecord) -> str:
    waiting = sum(each.query.state is QueryState.OPEN for each in record.asked)
    open_ = f"; {count(waiting, 'query waits', 'queries wait')} for an answer" if waiting else ""
    if not record.rounds:
        return f"No round has begun{open_}."
    newest = record.rounds[-1]
    if newest.stop_reason or newest.state is RoundState.STOPPED:
        return sentence(f"The campaign has stopped at round {newest.index}: {newest.stop_reason}")
    return f"The campaign is under way: round {newest.index} is {newest.state.value}{open_}."


# -- what is not known ----------------------------------------------------------------------------------


def _unknown(record: CampaignRecord) -> list[str]:
    measured = record.measured
    if not measured:
        return [_why_no_accuracy(record), _labels_by(record.spec)]
    newest = measured[-1]
    return list(
        filter(
            None,
            [
                _precision(newest),
                _many_looks(measured),
                _control(record),
                _temperature(newest.round),
                _labels_by(record.spec),
            ],
        )
    )


def _why_no_accuracy(record: CampaignRecord) -> str:
    if record.spec.evaluation.kind == "none":
        return (
            "How good the model is: there is no held-out split (evaluation.kind is none). An audit set of 100 "
            "random texts would tell."
        )
    return "How good the model is: no round has been evaluated on held-out labels yet."


def _precision(newest: Measured) -> str:
    adapted = newest.adapted
    half = (adapted.accuracy_high - adapted.accuracy_low) / 2
    if half < WIDE:
        return ""
    few = f"{count(adapted.n, 'held-out text')} {'says' if adapted.n == 1 else 'say'}"
    return f"The accuracy to better than about ± {100 * half:.0f} points, which is what {few}."


def _many_looks(measured: Sequence[Measured]) -> str:
    low, high = measured[-1].round.sequence_low, measured[-1].round.sequence_high
    if low is not None and high is not None:
        return (
            "The 95 % interval is for one look at one round. Who looks after every round and stops at a good "
            f"one may rely on the confidence sequence: {interval(low, high)}."
        )
    return (
        "The 95 % interval is for one look at one round; of many rounds, the best looks better than it is."
        if len(measured) > 1
        else ""
    )


def _control(record: CampaignRecord) -> str:
    if any(each.shadow for each in record.measured):
        return ""
    if record.spec.acquisition.control_share:
        return "Whether random texts would have done as well: the control arm has not been measured yet."
    return (
        "Whether as many random texts would have done as well: this campaign has no control arm "
        "(acquisition.control_share). On labelled data, “star-al simulate” tells beforehand."
    )


def _temperature(round_: Round) -> str:
    """Only where it is not fitted, or on so few labels that it is a guess."""
    note = round_.temperature_note or ""
    return f"How sure the model may be: {note}." if note.startswith("T = 1") else ""


def _labels_by(spec: CampaignSpec) -> str:
    if isinstance(spec.annotator, OracleSpec):
        return f"What people would have answered: the labels are those of column {spec.annotator.gold!r}."
    if spec.labelling.overlap == 1:
        return "How far people agree: each text is labelled by one person (labelling.overlap is 1)."
    return ""
