"""Apply the stopping rules to a round: gather from the store what they look at, and decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from star_al.parts import Parts, RoundParts
from star_al.stats.confidence_sequence import confidence_sequence
from star_al.stats.stopping import Decision, StopView, agreement, decide
from star_al.types import Evaluation, JsonObject, Role, Round


def as_of_now(parts: Parts, round_: Round) -> Round:
    """The round with what its decision looks at: today's settings, labels, pool and confidence sequence.

    ``adapter`` and ``posterior`` stay, as they say how its model was trained.
    """
    fitted = {name: round_.config[name] for name in ("adapter", "posterior")}
    config: JsonObject = parts.spec.model_dump(mode="json") | fitted
    pool = parts.store.pool_ids(parts.campaign.campaign_id, round_.index)
    low, high = _confidence_sequence(parts, round_)
    return replace(
        round_,
        config=config,
        labels_bought=labels_bought(parts),
        pool_size=len(pool),
        sequence_low=low,
        sequence_high=high,
    )


def labels_bought(parts: Parts) -> int:
    """How many human labels the campaign has, without those of a test file."""
    roles = (Role.POOL, Role.AUDIT, Role.CALIBRATION)
    return sum(len(parts.store.labels(parts.campaign.campaign_id, role)) for role in roles)


def decide_round(parts: RoundParts) -> Decision:
    """What the stopping rules say of a round ``as_of_now``."""
    rules, round_ = parts.spec.stopping, parts.round
    rounds = (*parts.store.rounds(parts.campaign.campaign_id)[: round_.index], round_)
    raw = _raw_evaluation(parts, round_)
    view = StopView(
        round_index=round_.index,
        labels_bought=round_.labels_bought,
        pool_size=round_.pool_size or 0,
        accuracy=raw.accuracy if raw else None,
        sequence_low=round_.sequence_low,
        agreements=tuple(each.stop_agreement for each in rounds if each.stop_agreement is not None),
        rules=rules,
        curve=tuple(_learning_curve(parts, rounds)) if rules.min_gain is not None else (),
    )
    return decide(view)


def stops_still(parts: Parts, round_: Round) -> bool:
    """True if today's rules would stop a stopped round for the same reason."""
    return decide_round(parts.for_round(as_of_now(parts, round_))).reason == round_.stop_reason


def stop_agreement(parts: RoundParts, stop_set: Mapping[str, int]) -> float | None:
    """Agreement of the stop set's predictions with the round before; None if that one trained no adapter."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    if not earlier or earlier[-1].adapter_sha256 is None:
        return None
    return agreement(earlier[-1].stop_set, stop_set)


def _confidence_sequence(parts: Parts, round_: Round) -> tuple[float | None, float | None]:
    """The confidence sequence of the accuracy at this round, at today's level; None if nothing was measured."""
    raw = _raw_evaluation(parts, round_)
    if raw is None:
        return None, None
    level = parts.spec.stopping.confidence
    return confidence_sequence(round(raw.accuracy * raw.n), raw.n, round_.index + 1, level)


def _learning_curve(parts: Parts, rounds: Sequence[Round]) -> Iterator[tuple[int, float]]:
    """The number of labels trained on and the accuracy, for each round that was measured."""
    for round_ in rounds:
        if raw := _raw_evaluation(parts, round_):
            yield round_.labels, raw.accuracy


def _raw_evaluation(parts: Parts, round_: Round) -> Evaluation | None:
    found = parts.store.evaluations(parts.campaign.campaign_id, round_.index)
    return next((one for one in found if (one.model, one.scaling) == ("adapted", "raw")), None)
