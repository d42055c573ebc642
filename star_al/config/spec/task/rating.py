"""``task: {kind: rating}``: every text gets a level of a scale, a whole number from 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from star_al.common.wording import count
from star_al.config.spec.base import is_number
from star_al.config.spec.task.base import ONE_LABEL, Allowed, TaskSettings
from star_al.config.spec.task.labels import LabelSpec, refuse_equal


class RatingSpec(TaskSettings):
    """One level of a scale for each text."""

    allowed: ClassVar[Allowed] = replace(ONE_LABEL, settling=(*ONE_LABEL.settling, "median"))

    kind: Literal["rating"] = Field(
        description="Rating: every text gets a whole number, from 1 to `task.levels`."
    )
    levels: Annotated[int, Field(ge=2, le=10)] = Field(
        default=5, description="How many levels the scale has; the lowest is 1."
    )
    names: tuple[str, ...] | None = Field(
        default=None,
        description=(
            "A name for each level, the lowest first; by default they have none. "
            "People and models see them beside the numbers."
        ),
        examples=[["terrible", "bad", "fair", "good", "excellent"]],
    )

    @model_validator(mode="after")
    def _each_level_has_a_name_or_none_has(self) -> RatingSpec:
        if self.names is not None and len(self.names) != self.levels:
            raise ValueError(f"names: {count(len(self.names), 'name')} for {self.levels} levels")
        for name in self.other_names:
            if is_number(name):
                raise ValueError(
                    f"names: {name!r} reads as a number, but the levels are the numbers from 1. Write a word, or leave "
                    "names out"
                )
        refuse_equal(list(self.other_names), "names")
        return self

    @property
    def labels(self) -> tuple[LabelSpec, ...]:
        """The levels as labels, which their names describe."""
        names = self.names or (None,) * self.levels
        return tuple(
            LabelSpec(name=number, description=name)
            for number, name in zip(self.label_names, names, strict=True)
        )

    @property
    def renamed(self) -> dict[str, str]:
        """Empty: numbers keep their names."""
        return {}

    @property
    def other_names(self) -> tuple[str, ...]:
        """The names of the levels, if they have any."""
        return self.names or ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The numbers, as texts."""
        return tuple(str(level) for level in range(1, self.levels + 1))
