"""``task: {kind: preference}``: every text is a prompt with two completions, and one of them is better."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.base import Positive, choices
from star_al.config.spec.task.base import ONE_LABEL, Allowed, CompletionSettings, ScoredOn, TaskSettings
from star_al.config.spec.task.labels import LabelSpec

TIE = "tie"
"""What an answer says if neither completion is better."""


def without(values: tuple[str, ...], *refused: str) -> tuple[str, ...]:
    """Return the values that are not refused."""
    return tuple(each for each in values if each not in refused)


class PreferenceSpec(TaskSettings):
    """Which of two completions of a prompt is better."""

    allowed: ClassVar[Allowed] = replace(
        ONE_LABEL,
        measures=without(tuple(ONE_LABEL.measures), "label_probability"),
        batches=without(tuple(ONE_LABEL.batches), "badge"),  # its gradients are those of one output layer
        posteriors=without(tuple(ONE_LABEL.posteriors), "clora"),  # its noise depends on both completions
        losses=("labels",),
    )
    has_options: ClassVar[bool] = True
    most_options: ClassVar[int] = 2
    has_completions: ClassVar[bool] = True
    is_taught: ClassVar[bool] = False

    kind: Literal["preference"] = Field(
        description="Preference: every text is a prompt with two completions, which `data.options` finds."
    )
    beta: Annotated[float, Field(gt=0)] = Field(
        default=0.1,
        description=(
            "Scale of the reward of a completion, as in direct preference optimisation (Rafailov 2023). The reward is "
            "beta times the logarithm of how much likelier the model writes it than the base model does."
        ),
    )
    ties: Literal["drop", "half"] = Field(
        default="drop",
        description="What the model learns from a pair of which people say that neither completion is better.",
        json_schema_extra=choices(
            drop="nothing",
            half="that each completion is preferred with probability one half; a head learns nothing from it",
        ),
    )
    max_completion_tokens: Positive = Field(
        default=512,
        description=(
            "A longer completion is cut to this many tokens, and then has no end to be trained on. The prompt has "
            "`model.max_tokens`."
        ),
    )

    @model_validator(mode="after")
    def _nothing_is_content_free(self) -> PreferenceSpec:
        if self.contextual_calibration:
            raise ValueError(
                "contextual_calibration does not go with task.kind: preference, whose completions compete in pairs"
            )
        return self

    @property
    def labels(self) -> tuple[LabelSpec, ...]:
        """Empty: the labels are the letters of each prompt's completions."""
        return ()

    @property
    def renamed(self) -> dict[str, str]:
        """Empty: letters keep their names."""
        return {}

    @property
    def label_names(self) -> tuple[str, ...]:
        """Empty, like ``labels``."""
        return ()

    @property
    def other_names(self) -> tuple[str, ...]:
        """The word for a tie."""
        return (TIE,)

    @property
    def learns_ties(self) -> bool:
        """True with ``ties: half``."""
        return self.ties == "half"

    @property
    def completion(self) -> CompletionSettings:
        """How the completions are compared."""
        return CompletionSettings(self.beta, self.max_completion_tokens)

    @property
    def scored_on(self) -> ScoredOn:
        """Whole completions."""
        return "completion"
