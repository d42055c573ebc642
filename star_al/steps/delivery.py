"""What a round delivers of its head and its language model, and how good that is on held-out texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from star_al.stats.delivery import Delivery, HeldOutAnswers, fit_delivery, mixed
from star_al.steps.answers import Answers, Split
from star_al.steps.measured import evaluation
from star_al.types import Evaluation, Role, RoundEvaluation

DELIVERED = "delivered"
"""The name under which evaluations have it."""


def weigh(head: Answers, adapted: Answers, calibration: Split) -> Delivery:
    """Weigh head and language model by their answers to the calibration items."""
    targets_N = calibration.targets(adapted)
    return fit_delivery(HeldOutAnswers(head.log_probs_N_C, adapted.log_probs_N_C, targets_N))


def delivered_evaluations(
    delivery: Delivery, head: Answers, adapted: Answers, held_out: Split, role: Role | None
) -> Sequence[Evaluation]:
    """Measure what is delivered by both models' answers to the held-out items; nothing without such items."""
    if role is None or not held_out.items:
        return []
    log_probs_N_C = mixed(
        head.log_probs_N_C, adapted.log_probs_N_C, delivery.head_weight, delivery.adapted_weight
    )
    return [evaluation(DELIVERED, "raw", Answers(log_probs_N_C), held_out, role, 1.0)]


def delivery_of(evaluation_: RoundEvaluation | None) -> Delivery | None:
    """What a round delivers; None if it has not both models."""
    if evaluation_ is None:
        return None
    head, adapted = evaluation_.delivered_head_weight, evaluation_.delivered_adapted_weight
    if head is None or adapted is None:
        return None
    return Delivery(head, adapted, evaluation_.delivered_note or "")


def with_delivery(evaluation_: RoundEvaluation, delivery: Delivery) -> RoundEvaluation:
    """The record of an evaluation with what is delivered."""
    return replace(
        evaluation_,
        delivered_head_weight=delivery.head_weight,
        delivered_adapted_weight=delivery.adapted_weight,
        delivered_note=delivery.note,
    )
