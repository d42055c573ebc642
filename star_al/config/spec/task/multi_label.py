"""``task: {kind: multi_label}``: every text gets any number of a list of labels."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.task.base import Allowed, TaskSettings
from star_al.config.spec.task.labels import LabelSpec, normalise_label, refuse_equal

NONE = "none"
"""How no label at all is spelled."""

NONE_OF_THESE = "none of these"
"""How people say it."""


class MultiLabelSpec(TaskSettings):
    """Any number of labels for each text, out of a list."""

    allowed: ClassVar[Allowed] = Allowed(
        measures=(
            "entropy",
            "margin",
            "least_confidence",
            "bald",
            "label_margin_mean",
            "label_margin_max",
        ),
        batches=("top_k", "power", "random", "k_centre", "facility_location", "uncertainty_herding"),
        settling=("majority", "majority_by_label"),
        posteriors=("map", "mc_dropout", "ensemble", "laplace"),
        losses=("labels",),
        extras=("head", "classifier"),
    )
    is_taught: ClassVar[bool] = False
    classifies: ClassVar[bool] = True

    kind: Literal["multi_label"] = Field(
        description="Multi-label: every text gets any number of `task.labels`, or none of them."
    )
    labels: tuple[LabelSpec, ...] = Field(
        default=(),
        description=(
            "The labels, two or more: plain names, or `{name: …, verbaliser: …, description: …}`. "
            "Names are compared without letter case and extra spaces. A text without any has the label `none`."
        ),
        examples=[["billing", "delivery", {"name": "refund", "verbaliser": "asks for a refund"}]],
    )

    @model_validator(mode="after")
    def _labels_are_usable(self) -> MultiLabelSpec:
        if len(self.labels) < 2:
            raise ValueError(
                f"multi_label needs at least two labels, found {len(self.labels)}; for a single question use "
                "kind: classification with the labels yes and no"
            )
        refuse_equal([label.name for label in self.labels], "labels")
        refuse_equal([label.verbaliser or label.name for label in self.labels], "verbalisers")
        for label in self.labels:
            if normalise_label(label.name) in (NONE, NONE_OF_THESE):
                raise ValueError(
                    f"labels: {label.name!r} is what a text without labels gets anyway; leave it out"
                )
        return self

    @property
    def renamed(self) -> dict[str, str]:
        """Empty: labels keep their names."""
        return {}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names in order."""
        return tuple(label.name for label in self.labels)
