"""The sentences at the top of a campaign's page: what it has reached, and what the page cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.common.wording import count
from star_al.config.spec import CampaignSpec, OracleSpec
from star_al.report.fine_tuning import fine_tuning_in_words
from star_al.report.formatting import interval, percent, sentence
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound, find_evaluation
from star_al.types import Evaluation, QueryState, Role, Round, RoundState

WIDE = 0.03
"""Half-width of a 95 % interval above which the page says that the accuracy is known only roughly."""


@dataclass(frozen=True)
class Summary:
    """The result in one sentence, further sentences, what to do next, and a sentence for each thing unknown."""

    result: str
    sentences: tuple[str, ...]
    next_step: str
    unknown: tuple[str, ...]


def summarise(snapshot: CampaignSnapshot) -> Summary:
    """Describe the campaign in sentences."""
    evaluated = snapshot.evaluated
    result = _accuracy(evaluated[-1], snapshot.spec) if evaluated else _not_evaluated(snapshot)
    sentences = [
        *_gain_over_base(evaluated),
        fine_tuning_in_words(snapshot),
        _labels(snapshot),
        _state(snapshot),
    ]
    decision = snapshot.rounds[-1].decision if snapshot.rounds else None
    if decision and decision.stop_advice:
        sentences.append(sentence(f"The stopping rules advise to stop: {decision.stop_advice}"))
    return Summary(result, tuple(filter(None, sentences)), _next_step(snapshot), tuple(_unknown(snapshot)))


def _accuracy(newest: EvaluatedRound, spec: CampaignSpec) -> str:
    measured = newest.result
    result = f"{percent(measured.accuracy)} of {count(measured.n, 'held-out text')} correctly"
    band = f"95 % interval {interval(measured.accuracy_low, measured.accuracy_high)}"
    if newest.round.labels == 0:
        model = spec.untrained_head_in_words if newest.model == "head" else "base model"
        return f"Without training labels, the {model} {_does(measured)} {result} ({band})."
    models = _models_of(newest)
    verb = _does(measured) if len(models) == 1 else _do(measured)
    trained = (
        f"Trained on {count(newest.round.labels, 'label')}, {' and '.join(models)} {verb} {result} ({band})"
    )
    return f"{trained}{_each_alone(newest) if len(models) == 2 else ''}."


def _models_of(newest: EvaluatedRound) -> list[str]:
    """Whose predictions are measured: those of the models that are delivered, or of the one that ranks."""
    if newest.delivered is None:
        return ["the head" if newest.model == "head" else "the model"]
    weights = newest.round.evaluation
    assert weights is not None
    found = {
        "the head": weights.delivered_head_weight,
        "the language model": weights.delivered_adapted_weight,
    }
    return [name for name, weight in found.items() if weight]


def _each_alone(newest: EvaluatedRound) -> str:
    """What each of the two models that are delivered together reaches by itself."""
    head, adapted = (find_evaluation(newest.evaluations, name, "raw") for name in ("head", "adapted"))
    if head is None or adapted is None:
        return ""
    return f"; the head alone {percent(head.accuracy)}, the language model alone {percent(adapted.accuracy)}"


def _does(evaluation: Evaluation) -> str:
    return "classifies" if evaluation.recall else "answers"


def _do(evaluation: Evaluation) -> str:
    return "classify" if evaluation.recall else "answer"


def _not_evaluated(snapshot: CampaignSnapshot) -> str:
    if not snapshot.rounds:
        held_out = [each for each in snapshot.asked if each.query.purpose is not Role.POOL]
        if not held_out:
            return "The campaign has been created; it has not asked for any labels yet."
        done = sum(each.query.state is not QueryState.OPEN for each in held_out)
        answered = f"{done:,} {'has' if done == 1 else 'have'} been answered"
        return f"The campaign has asked for labels of {count(len(held_out), 'held-out text')}; {answered}."
    labels = count(snapshot.rounds[-1].labels, "training label")
    return f"The campaign has {labels}; the accuracy of its model is not known."


def _gain_over_base(evaluated: Sequence[EvaluatedRound]) -> list[str]:
    if not evaluated or evaluated[-1].round.labels == 0 or evaluated[-1].base is None:
        return []
    if evaluated[-1].model == "head":  # the base model that was measured is the language model's
        return []
    measured, base = evaluated[-1].result, evaluated[-1].base
    gain = 100 * (measured.accuracy - base.accuracy)
    text = f"The base model, without any label, {_does(measured)} {percent(base.accuracy)} of the same texts "
    text += f"correctly: {abs(gain):.1f} points {'less' if gain >= 0 else 'more'}."
    if _intervals_overlap(measured, base):
        text += " The two intervals overlap, so the difference may be chance."
    return [text]


def _intervals_overlap(one: Evaluation, other: Evaluation) -> bool:
    return one.accuracy_low <= other.accuracy_high and other.accuracy_low <= one.accuracy_high


def _labels(snapshot: CampaignSnapshot) -> str:
    held_out = snapshot.labels[Role.AUDIT] + snapshot.labels[Role.CALIBRATION]
    training = snapshot.labels[Role.POOL]
    if not held_out + training:
        return ""
    pool = count(snapshot.sizes[Role.POOL], "text")
    return (
        f"There are {count(held_out + training, 'label')}: {training:,} for training, {held_out:,} for evaluation "
        f"and calibration. The pool has {pool}."
    )


def _state(snapshot: CampaignSnapshot) -> str:
    n_open = sum(each.query.state is QueryState.OPEN for each in snapshot.asked)
    waiting = f"; {count(n_open, 'question is', 'questions are')} waiting for an answer" if n_open else ""
    if not snapshot.rounds:
        return f"No round has started{waiting}."
    newest = snapshot.rounds[-1]
    if newest.stop_reason or newest.state is RoundState.STOPPED:
        return sentence(f"The campaign stopped at round {newest.index}: {newest.stop_reason}")
    progress = "finished" if newest.state is RoundState.COLLECTED else "in progress"
    return f"The campaign is running: round {newest.index} is {progress}{waiting}."


def _next_step(snapshot: CampaignSnapshot) -> str:
    """What somebody who reads the page would do."""
    n_open = sum(each.query.state is QueryState.OPEN for each in snapshot.asked)
    newest = snapshot.rounds[-1] if snapshot.rounds else None
    if newest and newest.state is RoundState.STOPPED:
        return (
            "take the labels with star-al export and label other texts with star-al predict; or raise the limit "
            "in the campaign file and continue with star-al run."
        )
    if n_open and not isinstance(snapshot.spec.annotator, OracleSpec):
        return f"answer the {count(n_open, 'open question')}; star-al run then goes on by itself."
    if newest and newest.decision and newest.decision.stop_advice:
        return "stop, as the rules advise, and take the labels with star-al export; or continue with star-al run."
    return "continue with star-al run."


# -- what the page cannot tell --------------------------------------------------------------------------


def _unknown(snapshot: CampaignSnapshot) -> list[str]:
    evaluated = snapshot.evaluated
    if not evaluated:
        return list(filter(None, [_why_no_accuracy(snapshot), _who_labelled(snapshot.spec)]))
    newest = evaluated[-1]
    found = [
        _precision(newest),
        _repeated_looks(evaluated),
        _no_control(snapshot),
        _no_temperature(newest.round),
        _who_labelled(snapshot.spec),
    ]
    return list(filter(None, found))


def _why_no_accuracy(snapshot: CampaignSnapshot) -> str:
    if snapshot.spec.evaluation.kind == "none":
        return (
            "How accurate the model is: the campaign has no held-out split (evaluation.kind is none). An audit "
            "set of 100 random texts would show it."
        )
    return "How accurate the model is: no round has been evaluated on held-out labels yet."


def _precision(newest: EvaluatedRound) -> str:
    measured = newest.result
    if (measured.accuracy_high - measured.accuracy_low) / 2 < WIDE:
        return ""
    band = interval(measured.accuracy_low, measured.accuracy_high)
    return f"The accuracy more exactly than {band}: there {_texts_in_words(measured.n)}."


def _texts_in_words(n: int) -> str:
    return f"{'is' if n == 1 else 'are'} only {count(n, 'held-out text')}"


def _repeated_looks(evaluated: Sequence[EvaluatedRound]) -> str:
    low, high = evaluated[-1].sequence
    if low is not None and high is not None:
        return (
            "The 95 % interval holds for a single look at a single round. If you look after every round and stop "
            f"at a good one, rely on the confidence sequence instead: {interval(low, high)}."
        )
    if len(evaluated) > 1:
        return (
            "The 95 % interval holds for a single look at a single round: the best of several rounds looks better "
            "than it is."
        )
    return ""


def _no_control(snapshot: CampaignSnapshot) -> str:
    if any(each.shadow for each in snapshot.evaluated) or (
        snapshot.simulated and snapshot.simulated.strategies
    ):
        return ""
    if snapshot.spec.acquisition.control_share:
        return "Whether random texts would have done as well: the control arm has not been evaluated yet."
    return (
        "Whether the same number of random texts would have done as well: this campaign has no control arm "
        "(acquisition.control_share). With labelled data, “star-al simulate” answers this in advance."
    )


def _no_temperature(round_: Round) -> str:
    """Say why confidences are not calibrated; empty where a temperature was fitted."""
    note = round_.evaluation.temperature_note if round_.evaluation else ""
    return f"How far the model's confidence can be trusted: {note}." if note.startswith("T = 1") else ""


def _who_labelled(spec: CampaignSpec) -> str:
    if isinstance(spec.annotator, OracleSpec):
        return f"What people would have answered: the labels come from column {spec.annotator.gold!r}."
    if spec.labelling.overlap == 1:
        return "How well people agree: each text is labelled by one person (labelling.overlap is 1)."
    return ""
