"""``task: {kind: text}``: every text gets an answer in free words."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.base import Fraction, Positive, Spec, choices
from star_al.config.spec.task.base import Allowed, TaskSettings
from star_al.config.spec.task.labels import LabelSpec

GRADED_RIGHT_AT = 0.5
"""From this similarity to a reference on, an answer counts as right, where nothing else is said."""


class AnswerSpec(Spec):
    """Which part of a written text is the answer."""

    pattern: str | None = Field(
        default=None,
        description=(
            "A regular expression that finds the answer: its group `answer`, else its first group, else all that it "
            "matches. By default the answer is the whole text, or a number in it with `read_as: number`."
        ),
        examples=[r"####\s*(-?[\d,]*\.?\d+)"],
    )
    take: Literal["first", "last"] = Field(
        default="last",
        description="Which match counts if the pattern matches several times.",
        json_schema_extra=choices(first="the first", last="the last"),
    )
    read_as: Literal["text", "number"] = Field(
        default="text",
        description="How answers are compared.",
        json_schema_extra=choices(
            text="as text, without letter case and extra spaces",
            number="as numbers: `1,000.0`, `$1000` and `1000.` are equal",
        ),
    )

    @model_validator(mode="after")
    def _pattern_is_usable(self) -> AnswerSpec:
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as exc:
                raise ValueError(f"answer.pattern is not a regular expression: {exc}") from exc
        return self


class TextSpec(TaskSettings):
    """An answer that the model writes."""

    allowed: ClassVar[Allowed] = Allowed(
        measures=(
            "nll",
            "token_entropy",
            "token_bald",
            "sequence_entropy",
            "entropy",
            "margin",
            "least_confidence",
            "bald",
        ),
        batches=(
            "top_k",
            "power",
            "random",
            "k_centre",
            "facility_location",
            "cluster_margin",
            "uncertainty_herding",
            "idds",
        ),
        settling=("majority",),
        posteriors=("map", "mc_dropout", "ensemble", "laplace", "tfb"),
        extras=(),
    )
    is_written: ClassVar[bool] = True
    is_taught: ClassVar[bool] = False

    kind: Literal["text"] = Field(description="Text: every text gets an answer in free words.")
    answer: AnswerSpec = Field(
        default=AnswerSpec(),
        description=(
            "Which part of a written text is the answer. Labels and what the model writes are compared by it; the "
            "model learns to write the whole label."
        ),
    )
    metric: Literal["exact", "rouge_l", "chrf"] = Field(
        default="exact",
        description="How an answer is graded. Of several references, the one that it fits best counts.",
        json_schema_extra=choices(
            exact="1 if it equals a reference, else 0",
            rouge_l="ROUGE-L: the longest common sequence of words (F1)",
            chrf="chrF: common sequences of characters",
        ),
    )
    right_at: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description=(
            f"The grade from which on an answer counts as right. By default 1 with `metric: exact`, "
            f"{GRADED_RIGHT_AT} with the others."
        ),
    )
    same_at: Fraction = Field(
        default=0.7,
        description=(
            "The similarity from 0 to 1 (chrF) from which on two answers count as one. It matters where answers are "
            "drawn to measure uncertainty, and where several people answer. Not for `metric: exact`."
        ),
    )
    max_answer_tokens: Positive = Field(
        default=64, description="Tokens of an answer that the model writes, at most."
    )
    draws: Positive = Field(default=4, description="Answers that are drawn from each posterior sample.")

    @model_validator(mode="before")
    @classmethod
    def _graded_answers_are_right_from_the_middle_on(cls, section: Any) -> Any:
        if not isinstance(section, dict) or section.get("right_at") is not None:
            return section
        graded = section.get("metric", "exact") != "exact"
        return {**section, "right_at": GRADED_RIGHT_AT if graded else 1.0}

    @property
    def longest_answer(self) -> int:
        """``max_answer_tokens``."""
        return self.max_answer_tokens

    @property
    def answer_draws(self) -> int:
        """``draws``."""
        return self.draws

    @property
    def labels(self) -> tuple[LabelSpec, ...]:
        """Empty: there is no list of answers."""
        return ()

    @property
    def renamed(self) -> dict[str, str]:
        """Empty, like ``labels``."""
        return {}

    @property
    def label_names(self) -> tuple[str, ...]:
        """Empty, like ``labels``."""
        return ()
