"""What has been found out about a language model that is trained where a head has ranked the pool."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.types.evaluations import Evaluation
from star_al.types.predictions import HeldOutPrediction
from star_al.types.rounds import Adapter, RoundEvaluation


@dataclass(frozen=True, slots=True)
class MeasuredBeside:
    """Metrics of such a language model and of its base model.

    Attributes:
        record: The round's evaluation with its temperature, and with what is delivered of it and the head.
        evaluations: Metrics by model and scaling; none without a held-out split.
        held_out: Predictions of the audit items.
    """

    record: RoundEvaluation
    evaluations: tuple[Evaluation, ...]
    held_out: tuple[HeldOutPrediction, ...]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """One finished part of the work on a round's language model.

    Attributes:
        found: The adapter that was trained, or what was measured of it.
        seconds: How long it took.
        batch_tokens: The scoring batch that was measured for it on this machine; None if there is none.
    """

    found: Adapter | MeasuredBeside
    seconds: float
    batch_tokens: int | None = None
