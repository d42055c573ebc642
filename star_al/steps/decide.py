"""Apply the stopping rules to a round: gather from the store what they look at, and decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from star_al.parts import Parts, RoundParts, round_spec
from star_al.stats.confidence_sequence import confidence_sequence, lower_confidence_sequence
from star_al.stats.measured_rounds import MeasuredRounds, RoundMeasurement, measured_rounds
from star_al.stats.stopping import StopView, agreement, decide
from star_al.steps.right_answers import right_answers
from star_al.task.columns import is_open
from star_al.types import Evaluation, JsonObject, JsonValue, Role, Round, RoundDecision


def as_of_now(parts: Parts, round_: Round) -> Round:
    """The round with today's settings and number of labels, which its decision follows from.

    ``adapter`` and ``posterior`` stay, as they say how its model was trained.
    """
    fitted = {name: round_.config[name] for name in ("adapter", "posterior")}
    config: JsonObject = parts.spec.model_dump(mode="json") | fitted
    return replace(round_, config=config, labels_bought=labels_bought(parts))


def labels_bought(parts: Parts) -> int:
    """How many human labels the campaign has, without those of a test file."""
    roles = (Role.POOL, Role.AUDIT, Role.CALIBRATION)
    return sum(len(parts.store.labels(parts.campaign.campaign_id, role)) for role in roles)


def decide_round(parts: RoundParts) -> RoundDecision:
    """Apply the stopping rules to a round ``as_of_now``, with today's pool and confidence sequence."""
    rules, round_ = parts.spec.stopping, parts.round
    rounds = (*parts.store.rounds(parts.campaign.campaign_id)[: round_.index], round_)
    raw = _raw_evaluation(parts, round_)
    low, high = _confidence_sequence(parts, raw)
    by_gain = rules.min_gain is not None and raw is not None
    view = StopView(
        round_index=round_.index,
        labels_bought=round_.labels_bought,
        pool_size=len(parts.free_ids),
        accuracy=raw.accuracy if raw else None,
        accuracy_low=_accuracy_low(parts, raw),
        agreements=_agreements(rounds),
        rules=rules,
        curve=_learning_curve(parts, rounds) if by_gain else None,
        untrained=_untrained(parts, raw) if raw is not None else 0.0,
    )
    decision = decide(view)
    return RoundDecision(
        pool_size=len(parts.free_ids),
        sequence_low=low,
        sequence_high=high,
        stop_reason=decision.reason,
        stop_advice=decision.advice,
    )


def stops_still(parts: Parts, round_: Round) -> bool:
    """True if today's rules would stop a stopped round for the same reason."""
    now = decide_round(parts.for_round(as_of_now(parts, round_))).stop_reason
    return _rule(now) == _rule(round_.stop_reason)


def _rule(reason: str | None) -> str | None:
    """The rule that a reason names. What follows the colon is explained in other words by other versions."""
    return reason and reason.partition(":")[0]


def stop_agreement(parts: RoundParts, stop_set: Mapping[str, JsonValue]) -> float | None:
    """Agreement of the stop set's predictions with the round before.

    None if that one trained nothing that ranks the pool, or if its labels have other columns.
    """
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    if not earlier or parts.ranker_sha256(earlier[-1]) is None or earlier[-1].evaluation is None:
        return None
    names = parts.spec.task.label_names
    before = round_spec(earlier[-1]).task.label_names
    if [parts.spec.task.newest_name(name) for name in before] != list(names[: len(before)]):
        return None
    previous = earlier[-1].evaluation.stop_set
    if not is_open(parts.task):
        return agreement(previous, stop_set)
    items = parts.store.items(parts.campaign.campaign_id, sorted(previous.keys() & stop_set.keys()))
    by_id = {item.item_id: item for item in items}

    def is_same(item_id: str, one: JsonValue, other: JsonValue) -> bool:
        if one is None or other is None:  # no answer was found in what the model wrote
            return one is other
        return parts.task.same(by_id[item_id], one, other)

    return agreement(previous, stop_set, is_same)


def _agreements(rounds: Sequence[Round]) -> tuple[float, ...]:
    """Agreement on the stop set with the round before, of each round that has one."""
    found = (each.evaluation.stop_agreement for each in rounds if each.evaluation)
    return tuple(share for share in found if share is not None)


def _confidence_sequence(parts: RoundParts, raw: Evaluation | None) -> tuple[float | None, float | None]:
    """The confidence sequence of the accuracy at this round; None and None if nothing was measured."""
    if raw is None:
        return None, None
    level = parts.spec.stopping.confidence
    return confidence_sequence(round(raw.accuracy * raw.n), raw.n, parts.round.index + 1, level)


def _accuracy_low(parts: RoundParts, raw: Evaluation | None) -> float | None:
    """The lower bound that the target is compared with; None if nothing was measured."""
    if raw is None:
        return None
    level = parts.spec.stopping.confidence
    return lower_confidence_sequence(round(raw.accuracy * raw.n), raw.n, parts.round.index + 1, level)


def _learning_curve(parts: Parts, rounds: Sequence[Round]) -> MeasuredRounds:
    """The rounds that were measured, with the answers to single audit items."""
    right, model = right_answers(parts.store, parts.campaign.campaign_id, rounds), parts.spec.ranking_model
    (curve,) = measured_rounds(
        [
            RoundMeasurement(one.labels, raw.accuracy, raw.n, right[one.index].get(model))
            for one in rounds
            if (raw := _raw_evaluation(parts, one))
        ]
    )
    return curve


def _untrained(parts: RoundParts, raw: Evaluation) -> float:
    """The accuracy of the base model or of the majority class, whichever is higher."""
    found = parts.store.evaluations(parts.campaign.campaign_id, parts.round.index)
    base = max((one.accuracy for one in found if one.model == "base"), default=0.0)
    return max(base, max(map(sum, raw.confusion_C_C), default=0) / raw.n)


def _raw_evaluation(parts: Parts, round_: Round) -> Evaluation | None:
    """The evaluation of the model that ranks the pool."""
    found = parts.store.evaluations(parts.campaign.campaign_id, round_.index)
    wanted = (parts.spec.ranking_model, "raw")
    return next((one for one in found if (one.model, one.scaling) == wanted), None)
