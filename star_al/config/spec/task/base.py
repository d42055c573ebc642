"""What the settings of every kind of task share, and what a kind must say of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from star_al.config.spec.base import Spec
from star_al.config.spec.template import SplitTemplate, split_template

ScoredOn: TypeAlias = Literal["label", "letter", "option", "completion"]
"""What a language model is scored on: the wordings of the task's labels, options' letters, options' texts, or how much
likelier than the base model it writes whole completions of the prompt."""


EXTRAS: Mapping[str, str] = {
    "head": "a head",
    "head_beside": "a head beside a language model",
    "classifier": "adapter.output: classifier",
    "adaptive_samples": "acquisition.adaptive_samples",
    "balance": "acquisition.batch.balance",
    "calibrate_base": "acquisition.blend.calibrate_base",
    "contextual_calibration": "task.contextual_calibration",
}
"""Parts of a campaign that need a list of labels, as messages name them."""


@dataclass(frozen=True)
class Allowed:
    """The values of other settings that a kind of task goes with; a campaign with another one is refused.

    Attributes:
        measures: Of ``acquisition.measure``.
        batches: Of ``acquisition.batch.kind``.
        settling: Of ``labelling.settle``.
        posteriors: Of ``posterior.kind``.
        extras: Further parts of a campaign, each of ``EXTRAS``.
        losses: Of ``adapter.loss``.
    """

    measures: Sequence[str]
    batches: Sequence[str]
    settling: Sequence[str]
    posteriors: Sequence[str]
    losses: Sequence[str] = ("labels", "answer")
    extras: Sequence[str] = tuple(EXTRAS)


@dataclass(frozen=True)
class CompletionSettings:
    """How a language model compares completions of a prompt.

    Attributes:
        beta: What a log-likelihood ratio is multiplied by.
        max_completion_tokens: What is read of a completion.
    """

    beta: float
    max_completion_tokens: int


ONE_LABEL = Allowed(
    measures=("entropy", "margin", "least_confidence", "bald", "epig", "label_probability"),
    batches=(
        "top_k",
        "power",
        "random",
        "batchbald",
        "badge",
        "k_centre",
        "facility_location",
        "cluster_margin",
        "uncertainty_herding",
        "idds",
    ),
    settling=("majority", "dawid_skene"),
    posteriors=("map", "mc_dropout", "ensemble", "laplace", "clora", "tfb"),
    losses=("labels", "answer"),
)
"""What tasks allow whose answer is one label of a list."""


class TaskSettings(Spec):
    """Settings of every kind of task."""

    allowed: ClassVar[Allowed]
    has_options: ClassVar[bool] = False
    """True if each text has options of its own, which ``data.options`` finds."""
    most_options: ClassVar[int] = 26
    """How many options a text may have: as many as there are letters."""
    has_completions: ClassVar[bool] = False
    """True if the options are completions of the text; both may be lists of messages, as chats are stored."""
    is_written: ClassVar[bool] = False
    """True if an answer may be any text, even one that looks like something else."""
    has_label_sets: ClassVar[bool] = False
    """True if an answer is a set of labels: one that was added later is not in the sets that people chose before."""
    is_taught: ClassVar[bool] = True
    """Whether a head teaches a language model by default."""
    classifies: ClassVar[bool] = False
    """Whether a language model has a classifier by default, whatever the number of labels."""
    earlier: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Settings that this kind had without an effect until kinds had settings of their own, and their values.

    They are dropped when read, and dumped with the first of the values: hashes of rounds include the dump.
    """

    kind: str
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
    contextual_calibration: bool = Field(
        default=False,
        description=(
            "Divide the base model's probabilities by those it gives for an empty text. "
            "This corrects a model that prefers one label whatever the text is (Zhao et al. 2021)."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_settings_without_effect(cls, section: Any) -> Any:
        if not isinstance(section, dict):
            return section
        return {name: value for name, value in section.items() if value not in cls.earlier.get(name, ())}

    @model_serializer(mode="wrap")
    def _dump_settings_without_effect(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own: dict[str, Any] = dump(self)
        return own | {name: values[0] for name, values in self.earlier.items()}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """List a kind's own settings before those that all kinds have."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        section = handler.resolve_ref_schema(schema)
        shared = {
            name: section["properties"].pop(name) for name in TaskSettings.model_fields if name != "kind"
        }
        section["properties"] |= shared
        return schema

    @model_validator(mode="after")
    def _template_can_be_split(self) -> TaskSettings:
        _ = self.split_template  # raises a ValueError if it cannot
        return self

    @property
    def scored_on(self) -> ScoredOn:
        """What a language model is scored on: by default the labels, which are the same for all texts."""
        return "label"

    @property
    def completion(self) -> CompletionSettings | None:
        """How completions are compared; by default there are none."""
        return None

    @property
    def longest_answer(self) -> int:
        """Tokens of an answer that a language model writes, at most; 0 where it is scored on answers it is given."""
        return 0

    @property
    def answer_draws(self) -> int:
        """Answers that each posterior sample draws; 0 where none are drawn."""
        return 0

    @property
    def learns_ties(self) -> bool:
        """Whether a model learns from an answer that says that no option is better; by default there is none."""
        return False

    def newest_name(self, name: str) -> str:
        """What a label is called now: by default what it was called."""
        return name

    @property
    def other_names(self) -> tuple[str, ...]:
        """Names beside ``label_names`` by which an answer may call a label: by default none."""
        return ()

    @property
    def split_template(self) -> SplitTemplate | None:
        """The template in two, what a row fills in and the prompt around it; None for the general one."""
        if self.template is None:
            return None
        return split_template(self.template) if self.template_columns else SplitTemplate(self.template)
