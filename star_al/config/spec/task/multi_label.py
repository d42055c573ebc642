"""``task: {kind: multi_label}``: every text gets any number of a list of labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.task.base import Allowed, TaskSettings
from star_al.config.spec.task.labels import LabelSpec, normalise_label, refuse_equal

NONE = "none"
"""How no label at all is spelled."""

NONE_OF_THESE = "none of these"
"""How people say it."""

SEPARATORS = re.compile(r"[,;|\n]")
"""What is between the labels of a text."""


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
        batches=("top_k", "power", "random", "k_centre", "facility_location", "uncertainty_herding", "idds"),
        settling=("majority", "majority_by_label"),
        posteriors=("map", "mc_dropout", "ensemble", "laplace"),
        losses=("labels",),
        extras=("head", "classifier"),
    )
    has_label_sets: ClassVar[bool] = True
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
            if label.verbaliser and normalise_label(label.verbaliser) in (NONE, NONE_OF_THESE):
                raise ValueError(
                    f"labels: the verbaliser {label.verbaliser!r} is what a text without labels gets; choose another"
                )
        _refuse_ambiguous([label.name for label in self.labels], "labels")
        _refuse_ambiguous([label.verbaliser or label.name for label in self.labels], "verbalisers")
        return self

    @property
    def other_names(self) -> tuple[str, ...]:
        """What a text without labels has."""
        return (NONE, NONE_OF_THESE)

    @property
    def renamed(self) -> dict[str, str]:
        """Empty: labels keep their names."""
        return {}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names in order."""
        return tuple(label.name for label in self.labels)


def _refuse_ambiguous(names: Sequence[str], what: str) -> None:
    """Refuse names with separators that others could be taken for, side by side.

    Names are read from the left, the longest first. That is wrong if one begins with another, and a third goes on as
    the longer one does.

    Raises:
        ValueError: There are such names; the message shows them.
    """
    split = {name: [normalise_label(part) for part in SEPARATORS.split(name)] for name in names}
    for long, parts in split.items():
        for short, first in split.items():
            left = parts[len(first) :]
            if not left or parts[: len(first)] != first:
                continue
            for other, further in split.items():
                both = min(len(left), len(further))
                if left[:both] == further[:both]:
                    raise ValueError(
                        f"{what}: {long!r} cannot be told from {short!r} followed by {other!r}, as a text's labels "
                        "are written with commas, semicolons or bars between them; rename one of them"
                    )
