"""Measure a round's models on its held-out split, fit their temperatures, and predict the stop set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from star_al import rng
from star_al.parts import RoundParts
from star_al.ports import Learner
from star_al.stats.delivery import Delivery
from star_al.stats.temperature import Temperature
from star_al.steps.answers import (
    Answers,
    RoundModel,
    Split,
    base_model_answers,
    kept,
    no_items,
    split_of,
)
from star_al.steps.delivery import delivered_evaluations, weigh, with_delivery
from star_al.steps.held_out import audit_so_far
from star_al.steps.label_thresholds import with_thresholds
from star_al.steps.measured import base_evaluations, evaluation, platt_of, scaled, temperature_of
from star_al.task.columns import is_open
from star_al.types import Evaluation, HeldOutPrediction, JsonValue, MeasuredBeside, PlattScaling, Role


@dataclass(frozen=True)
class EvaluationResults:
    """What the evaluate step found out.

    Attributes:
        evaluations: Metrics by model and scaling; none without a held-out split.
        temperature: Temperature of the model that ranks the pool.
        base_temperature: Temperature of its base model.
        stop_set: What is predicted for each item of the stop set: its column, or its value where answers are open.
        held_out: Predictions of the audit and calibration items. Those of a test file are not kept, as it may
            be large.
        delivery: What is delivered of head and language model; None if the round has not trained both yet.
        platt: What the confidence of the ranking model's answers is computed by; None if it is their probability.
    """

    evaluations: tuple[Evaluation, ...]
    temperature: Temperature
    base_temperature: Temperature
    stop_set: dict[str, JsonValue]
    held_out: tuple[HeldOutPrediction, ...]
    delivery: Delivery | None = None
    platt: PlattScaling | None = None


def evaluate_round(parts: RoundParts) -> EvaluationResults:
    """Measure the round's models on the held-out split that ``evaluation`` names.

    The model that ranks the pool is measured raw and scaled by temperature, and so are its base model and a head
    beside it; the control arm's shadow raw. Where answers are graded, the ranking model's confidence is fitted besides.
    If the head ranks, the language model is measured when it has been trained (``measure_beside``). All is fitted on
    the calibration items alone, which are random and never trained on.
    """
    measuring, name = _Measuring(parts), parts.spec.ranking_model
    ranker = RoundModel(parts, parts.ranker, parts.ranker_sha256(parts.round), ranks=True)
    found = measuring.measure(name, ranker)
    base = _base_temperature(parts, measuring.calibration, parts.ranker)
    evaluations, predictions = list(found.evaluations), list(found.held_out)
    delivery = None
    if name == "adapted":
        evaluations = [*measuring.base(base), *evaluations]
        if parts.head is not None and parts.spec.has_head_beside:
            head = RoundModel(parts, parts.head, parts.round.head_sha256, ranks=False)
            beside = measuring.measure("head", head)
            evaluations += beside.evaluations
            predictions += [one for one in beside.held_out if one.item_id not in measuring.calibration_ids]
            if parts.round.head_sha256 is not None:
                delivery, delivered = measuring.deliver(head=beside, adapted=found)
                evaluations += delivered
    if parts.round.shadow_sha256 is not None and measuring.role is not None and measuring.held_out.items:
        shadow = _shadow(parts, measuring.held_out, found.on_held_out)
        evaluations.append(evaluation("shadow", "raw", shadow, measuring.held_out, measuring.role, 1.0))
        predictions += (
            kept(parts, "shadow", measuring.held_out, shadow) if measuring.role is Role.AUDIT else []
        )
    return EvaluationResults(
        evaluations=tuple(evaluations),
        temperature=found.temperature,
        base_temperature=base,
        stop_set=_stop_set(parts, ranker),
        held_out=tuple(predictions),
        delivery=delivery,
        platt=found.platt,
    )


def measure_beside(parts: RoundParts) -> MeasuredBeside:
    """Measure the language model, and its base model, in a round whose pool the head has ranked."""
    measuring = _Measuring(parts)
    found = measuring.measure(
        "adapted", RoundModel(parts, parts.learner, parts.round.adapter_sha256, ranks=False)
    )
    base = _base_temperature(parts, measuring.calibration, parts.learner)
    head = measuring.measure("head", RoundModel(parts, parts.ranker, parts.round.head_sha256, ranks=False))
    delivery, delivered = measuring.deliver(head=head, adapted=found)
    assert parts.round.evaluation is not None
    record = replace(parts.round.evaluation, adapted_temperature=found.temperature.value)
    return MeasuredBeside(
        record=with_delivery(record, delivery),
        evaluations=(*measuring.base(base), *found.evaluations, *delivered),
        held_out=tuple(one for one in found.held_out if one.item_id not in measuring.calibration_ids),
    )


@dataclass(frozen=True)
class _Measured:
    evaluations: tuple[Evaluation, ...]
    temperature: Temperature
    platt: PlattScaling | None
    on_calibration: Answers
    on_held_out: Answers
    held_out: tuple[HeldOutPrediction, ...]


class _Measuring:
    """The round's labelled items, and what models answer to them."""

    def __init__(self, parts: RoundParts) -> None:
        self._parts = parts
        kind = parts.spec.evaluation.kind
        self.role = Role(kind) if kind != "none" else None

    @cached_property
    def calibration(self) -> Split:
        return split_of(self._parts, Role.CALIBRATION)

    @cached_property
    def calibration_ids(self) -> frozenset[str]:
        return frozenset(self.calibration.item_ids)

    @cached_property
    def held_out(self) -> Split:
        if self.role is None:
            return no_items(self._parts)
        return split_of(
            self._parts, self.role, audit_so_far(self._parts) if self.role is Role.AUDIT else None
        )

    def measure(self, name: str, model: RoundModel) -> _Measured:
        """Measure a model raw and scaled by what fits its answers to the calibration items."""
        on_calibration, on_held_out = model.answers(self.calibration), model.answers(self.held_out)
        temperature = temperature_of(on_calibration, self.calibration)
        platt, note = platt_of(on_calibration, self.calibration)
        if note:
            temperature = replace(temperature, note=f"{temperature.note}; {note}")
        evaluations: list[Evaluation] = []
        predictions = kept(self._parts, name, self.calibration, on_calibration)
        if self.role is not None and self.held_out.items:
            evaluations += with_thresholds(
                scaled(name, on_held_out, self.held_out, self.role, temperature, platt),
                (self.calibration, on_calibration),
                (self.held_out, on_held_out),
            )
            if self.role is Role.AUDIT:
                predictions += kept(self._parts, name, self.held_out, on_held_out)
        return _Measured(
            tuple(evaluations), temperature, platt, on_calibration, on_held_out, tuple(predictions)
        )

    def deliver(self, *, head: _Measured, adapted: _Measured) -> tuple[Delivery, Sequence[Evaluation]]:
        """Weigh both models on the calibration items, and measure what they give together."""
        delivery = weigh(head.on_calibration, adapted.on_calibration, self.calibration)
        return delivery, delivered_evaluations(
            delivery, head.on_held_out, adapted.on_held_out, self.held_out, self.role
        )

    def base(self, fitted: Temperature) -> list[Evaluation]:
        """Evaluations of the learner's base model."""
        if self.role is None or not self.held_out.items:
            return []
        return base_evaluations(self._parts, self.held_out, self.role, fitted)


def _base_temperature(parts: RoundParts, calibration: Split, learner: Learner) -> Temperature:
    """Temperature of a learner's base model."""
    answers = Answers(np.zeros((0, 1)))
    if calibration.items:
        answers = base_model_answers(parts, calibration, learner=learner)
    return temperature_of(answers, calibration)


def _shadow(parts: RoundParts, held_out: Split, of_ranker: Answers) -> Answers:
    """The shadow's answers; as long as the shadow is what ranks the pool, that model's."""
    if parts.round.shadow_sha256 == parts.ranker_sha256(parts.round):
        return of_ranker
    return RoundModel(parts, parts.ranker, parts.round.shadow_sha256, ranks=True).answers(held_out)


def _stop_set(parts: RoundParts, ranker: RoundModel) -> dict[str, JsonValue]:
    """What the posterior's mean or mode predicts on a random sample of the first pool.

    The sample is the same in every round.
    """
    size = parts.spec.evaluation.stop_set
    if size == 0:
        return {}
    campaign = parts.campaign
    first_pool = parts.store.pool_ids(campaign.campaign_id, 0)
    chosen = sorted(rng.draw(first_pool, size, rng.derive_seed(campaign.seed, 0, "stop set")))
    items = parts.store.items(campaign.campaign_id, chosen)
    found = ranker.point_answers(items).predicted(parts.task, items) if items else []
    told: list[JsonValue] = [value if is_open(parts.task) else column for column, value in found]
    return dict(zip(chosen, told, strict=True))
