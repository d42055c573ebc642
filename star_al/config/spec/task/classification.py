"""``task: {kind: classification}``: every text gets one of a list of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.task.base import ONE_LABEL, Allowed, TaskSettings
from star_al.config.spec.task.labels import LabelSpec, normalise_label, refuse_equal


class ClassificationSpec(TaskSettings):
    """One label for each text, out of a list."""

    allowed: ClassVar[Allowed] = ONE_LABEL
    earlier: ClassVar[Mapping[str, Sequence[Any]]] = {"answer": ("letter", "text")}

    kind: Literal["classification"] = Field(
        description="Classification: every text gets one of `task.labels`."
    )
    labels: tuple[LabelSpec, ...] = Field(
        default=(),
        description=(
            "The labels, two or more: plain names, or `{name: …, verbaliser: …, description: …}`. "
            "Names are compared without letter case and extra spaces. A running campaign accepts further "
            "labels at the end of the list."
        ),
        examples=[["bug", "question", {"name": "praise", "verbaliser": "positive feedback"}]],
    )
    renamed: dict[str, str] = Field(
        default={},
        description=(
            "Earlier names of labels: `{old: new}`. Answers, columns and labels with an old name count as the new "
            "one; two labels with one new name are merged. `star-al rename-label` writes it."
        ),
        examples=[{"feedback": "praise"}],
    )

    @model_validator(mode="after")
    def _labels_are_usable(self) -> ClassificationSpec:
        if len(self.labels) < 2:
            raise ValueError(f"classification needs at least two labels, found {len(self.labels)}")
        refuse_equal([label.name for label in self.labels], "labels")
        refuse_equal([label.verbaliser or label.name for label in self.labels], "verbalisers")
        return self

    @model_validator(mode="after")
    def _renamed_labels_lead_to_labels(self) -> ClassificationSpec:
        refuse_equal(list(self.renamed), "names in renamed")
        labels = set(map(normalise_label, self.label_names))
        for old in self.renamed:
            if normalise_label(old) in labels:
                raise ValueError(
                    f"renamed: {old!r} is still one of the labels; remove it from one of the two"
                )
            if normalise_label(self.newest_name(old)) not in labels:
                raise ValueError(f"renamed: {old!r} does not lead to one of the labels")
        return self

    def newest_name(self, name: str) -> str:
        """What a label is called now, by ``renamed``; a name that was not renamed stays."""
        new_names = {normalise_label(old): new for old, new in self.renamed.items()}
        for _ in range(len(new_names)):  # a circle of names ends, too
            name = new_names.get(normalise_label(name), name)
        return name

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names in order."""
        return tuple(label.name for label in self.labels)
