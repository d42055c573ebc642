"""``task``: what is asked about each text, and how labels are compared."""

from __future__ import annotations

import unicodedata
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from star_al.config.spec.base import Spec, choices
from star_al.config.spec.template import SplitTemplate, split_template


class LabelSpec(Spec):
    """A label, and its wording for the model where that differs. A plain text is its name."""

    plain_form: ClassVar[str | None] = "name"

    name: str = Field(description="The label as the data spells it and annotators see it.", examples=["bug"])
    verbaliser: str | None = Field(
        default=None,
        description="The wording that the model is scored on; without it, the name.",
        examples=["a bug report"],
    )
    description: str | None = Field(
        default=None,
        description="What the label means, in a few words. A head reads it in place of the name.",
        examples=["something does not work as it should"],
    )


class TaskSpec(Spec):
    """What is asked about each text."""

    kind: Literal["classification", "multiple_choice"] = Field(
        description="Which labels a text can get.",
        examples=["classification"],
        json_schema_extra=choices(
            classification="every text gets one of `task.labels`",
            multiple_choice="every text has its own options, which `data.options` finds",
        ),
    )
    labels: tuple[LabelSpec, ...] = Field(
        default=(),
        description=(
            "The labels, two or more: plain names, or `{name: …, verbaliser: …, description: …}`. "
            "Names are compared without letter case and extra spaces. A running campaign accepts further "
            "labels at the end of the list. Only for `kind: classification`."
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
    instruction: str | None = Field(
        default=None,
        description=(
            "The system message, or the first lines of a plain prompt; a general one by default. "
            "`{labels}` and `{options}` are replaced by the list of labels or options."
        ),
        examples=["Classify the support ticket. Labels: {labels}."],
    )
    template: str | None = Field(
        default=None,
        description=(
            "The user's message; a general one by default. It contains `{text}` or columns of the data, such as "
            "`{subject}`, and may contain `{labels}` and `{options}`. The lines with columns are shown to people too."
        ),
        examples=["Ticket:\n{text}"],
    )
    template_columns: bool = Field(
        default=True,
        description=(
            "Whether `{name}` in the template is replaced by the column of that name. With false, it stays as it "
            "is, as in version 0.1."
        ),
    )
    chat_template: bool = Field(
        default=True,
        description="Use the tokenizer's chat template, if it has one; otherwise a plain prompt.",
    )
    answer: Literal["letter", "text"] = Field(
        default="letter",
        description="What the model is scored on in multiple choice.",
        json_schema_extra=choices(letter="the option's letter", text="the option's text"),
    )
    contextual_calibration: bool = Field(
        default=False,
        description=(
            "Divide the base model's probabilities by those it gives for an empty text. "
            "This corrects a model that prefers one label whatever the text is (Zhao et al. 2021)."
        ),
    )

    @model_validator(mode="after")
    def _labels_are_usable(self) -> TaskSpec:
        if self.kind == "multiple_choice":
            if self.labels:
                raise ValueError("multiple_choice takes its options from data.options; remove task.labels")
            return self
        if len(self.labels) < 2:
            raise ValueError(f"classification needs at least two labels, found {len(self.labels)}")
        _refuse_equal([label.name for label in self.labels], "labels")
        _refuse_equal([label.verbaliser or label.name for label in self.labels], "verbalisers")
        return self

    @model_validator(mode="after")
    def _renamed_labels_lead_to_labels(self) -> TaskSpec:
        _refuse_equal(list(self.renamed), "names in renamed")
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

    @model_validator(mode="after")
    def _template_can_be_split(self) -> TaskSpec:
        _ = self.split_template  # raises a ValueError if it cannot
        return self

    @property
    def split_template(self) -> SplitTemplate | None:
        """The template in two, what a row fills in and the prompt around it; None for the general one."""
        if self.template is None:
            return None
        return split_template(self.template) if self.template_columns else SplitTemplate(self.template)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names in order; empty for multiple choice."""
        return tuple(label.name for label in self.labels)


def _refuse_equal(names: list[str], what: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        key = normalise_label(name)
        if not key:
            raise ValueError(f"one of the {what} is empty")
        if key in seen:
            if seen[key] == name:
                raise ValueError(f"the {what} hold {name!r} twice")
            raise ValueError(
                f"the {what} {seen[key]!r} and {name!r} are equal: letter case and white space do not count"
            )
        seen[key] = name


def normalise_label(name: str) -> str:
    """The form in which labels are compared: white space collapsed, case folded, Unicode composed (NFC)."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())
