"""``stopping``: when the campaign ends."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from star_al.config.spec.base import Fraction, Positive, Spec


class StoppingSpec(Spec):
    """When the campaign ends; a rule that is not set is off.

    Limits (labels, rounds) always end it. Goals (target, stable, gain) are advice unless ``automatic``.
    """

    automatic: bool = Field(
        default=False,
        description=(
            "End the campaign when a goal is reached; by default this is only reported. "
            "Goals are `target_accuracy`, `stable_agreement` and `min_gain`."
        ),
    )
    max_labels: Positive | None = Field(
        default=None,
        description=(
            "Label budget: the campaign ends when this many texts have a label. Labels for the start, for "
            "audit and for calibration count too; several answers to one text count once."
        ),
        examples=[500],
    )
    max_rounds: Positive | None = Field(
        default=None,
        description="The campaign ends after this many rounds of training.",
        examples=[20],
    )
    target_accuracy: Fraction | None = Field(
        default=None,
        description=(
            "Goal: an accuracy, from 0 to 1. "
            "Reached when the one-sided bound of a confidence sequence for the accuracy lies above it."
        ),
        examples=[0.9],
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95,
        description="Confidence of that sequence, over all rounds together.",
    )
    stable_agreement: Fraction | None = Field(
        default=None,
        description=(
            "Goal: share of the stop set whose prediction is the same as in the round before. "
            "The stop set is `evaluation.stop_set` texts of the pool."
        ),
        examples=[0.99],
    )
    stable_rounds: Positive = Field(
        default=3, description="Rounds in a row that must reach `stable_agreement`."
    )
    min_gain: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description=(
            "Goal: less accuracy than this is expected from 100 further labels, with 90 % confidence. "
            "The expectation is a power law fitted to the learning curve, which must have risen before."
        ),
        examples=[0.005],
    )
