"""``task``: what is asked about each text; one section per kind, a module each."""

from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter

from star_al.config.spec.task.base import EXTRAS, Allowed, ScoredOn
from star_al.config.spec.task.classification import ClassificationSpec
from star_al.config.spec.task.labels import LabelSpec, normalise_label
from star_al.config.spec.task.multi_label import NONE, NONE_OF_THESE, SEPARATORS, MultiLabelSpec
from star_al.config.spec.task.multiple_choice import MultipleChoiceSpec
from star_al.config.spec.task.preference import TIE, PreferenceSpec
from star_al.config.spec.task.rating import RatingSpec
from star_al.config.spec.task.text import AnswerSpec, TextSpec

TaskSpec: TypeAlias = Annotated[
    ClassificationSpec | MultipleChoiceSpec | RatingSpec | TextSpec | MultiLabelSpec | PreferenceSpec,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[TaskSpec] = TypeAdapter(TaskSpec)


def task_spec(section: object) -> TaskSpec:
    """The settings of a task from a mapping as a campaign file holds it, ``kind`` included."""
    return _ADAPTER.validate_python(section)


__all__ = [
    "EXTRAS",
    "NONE",
    "NONE_OF_THESE",
    "SEPARATORS",
    "TIE",
    "Allowed",
    "AnswerSpec",
    "ClassificationSpec",
    "LabelSpec",
    "MultiLabelSpec",
    "MultipleChoiceSpec",
    "PreferenceSpec",
    "RatingSpec",
    "ScoredOn",
    "TaskSpec",
    "TextSpec",
    "normalise_label",
    "task_spec",
]
