"""``task``: what is asked about each text; one section per kind, a module each."""

from typing import Annotated, TypeAlias, get_args

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


def kinds_with(trait: str) -> str:
    """The kinds whose settings say this of themselves, such as ``has_options``, in words."""
    union, _ = get_args(TaskSpec)
    kinds = [
        get_args(spec.model_fields["kind"].annotation) for spec in get_args(union) if getattr(spec, trait)
    ]
    return " and ".join(name for (name,) in kinds)


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
    "kinds_with",
    "normalise_label",
    "task_spec",
]
