"""``task: {kind: multiple_choice}``: every text has its own options, and one of them is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.base import choices
from star_al.config.spec.task.base import ONE_LABEL, Allowed, ScoredOn, TaskSettings
from star_al.config.spec.task.labels import LabelSpec


class MultipleChoiceSpec(TaskSettings):
    """One of the options that a text brings along."""

    allowed: ClassVar[Allowed] = replace(
        ONE_LABEL, measures=[each for each in ONE_LABEL.measures if each != "label_probability"]
    )
    has_options: ClassVar[bool] = True
    is_taught: ClassVar[bool] = False
    earlier: ClassVar[Mapping[str, Sequence[Any]]] = {"labels": ((), []), "renamed": ({},)}

    kind: Literal["multiple_choice"] = Field(
        description="Multiple choice: every text has its own options, which `data.options` finds."
    )
    answer: Literal["letter", "text"] = Field(
        default="letter",
        description="What the model is scored on.",
        json_schema_extra=choices(letter="the option's letter", text="the option's text"),
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_labels(cls, section: Any) -> Any:
        if isinstance(section, dict) and section.get("labels"):
            raise ValueError("multiple_choice takes its options from data.options; remove task.labels")
        return section

    @property
    def labels(self) -> tuple[LabelSpec, ...]:
        """Empty: the labels are the letters of each text's options."""
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
    def scored_on(self) -> ScoredOn:
        """Letters or the options' texts."""
        return "letter" if self.answer == "letter" else "option"
