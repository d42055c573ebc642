"""A whole campaign: its sections, and what follows from several of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ModelWrapValidatorHandler, ValidationInfo, field_validator, model_validator

from star_al.config.spec.acquisition import AcquisitionSpec
from star_al.config.spec.adapter import AdapterSpec
from star_al.config.spec.annotator import AnnotatorSpec, OracleSpec
from star_al.config.spec.base import FROM_FILE, Spec
from star_al.config.spec.combinations import refuse_combinations
from star_al.config.spec.compute import ComputeSpec, LocalComputeSpec
from star_al.config.spec.data import DataSpec
from star_al.config.spec.database import DatabaseSpec
from star_al.config.spec.evaluation import EvaluationSpec
from star_al.config.spec.labelling import LabellingSpec
from star_al.config.spec.learner import (
    HeadLearnerSpec,
    HeadSpec,
    LearnerSpec,
    LoraLearnerSpec,
    lora_by_default,
)
from star_al.config.spec.missing_settings import measure_of_kind, with_missing_settings
from star_al.config.spec.model import ModelSpec
from star_al.config.spec.posterior import MapSpec, PosteriorSpec
from star_al.config.spec.stopping import StoppingSpec
from star_al.config.spec.task import TaskSpec

MANY_LABELS = 10
"""From so many labels on, a language model that a head teaches has a classifier (docs/studies/recipe.md)."""

LABEL_TOLERANCE = 0.01
"""What ``model.label_tolerance: auto`` stands for, where samples are not compared with each other."""

SHARED_STORAGE = ("s3", "gs", "file")
"""What the address of shared storage may begin with."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class CampaignSpec(Spec):
    """A whole campaign."""

    name: Annotated[str, Field(pattern=NAME)] = Field(
        description=(
            "Name of the campaign, unique in its database: letters, digits, `_`, `.` and `-`. "
            "At most 64 characters, the first one a letter or digit."
        ),
        examples=["tickets"],
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Every random choice is derived from this number."
    )
    data: DataSpec = Field(description="Where the texts come from.")
    task: TaskSpec = Field(description="What is asked about each text.")
    learner: LearnerSpec = Field(
        default=LoraLearnerSpec(kind="lora"), description="What is trained on the labels."
    )
    model: ModelSpec = Field(default=ModelSpec(), description="The language model that is adapted.")
    adapter: AdapterSpec = Field(
        default=AdapterSpec(),
        description="LoRA and its training. The defaults suit a few hundred labels.",
    )
    posterior: PosteriorSpec = Field(
        default=MapSpec(kind="map"), description="How the model's uncertainty is sampled."
    )
    head: HeadSpec = Field(
        default=HeadSpec(),
        description=(
            "A linear model on frozen features. It is the only model with `learner.kind: head`, it chooses the "
            "texts with `acquisition.scorer: head`, and it is measured beside the language model with "
            "`learner.head`."
        ),
    )
    acquisition: AcquisitionSpec = Field(
        default=AcquisitionSpec(preset="recommended"), description="Which texts are labelled next."
    )
    annotator: AnnotatorSpec = Field(description="Who answers.")
    labelling: LabellingSpec = Field(
        default=LabellingSpec(),
        description="How answers become labels, and when a round has enough of them.",
    )
    evaluation: EvaluationSpec = Field(
        default=EvaluationSpec(),
        description="What the model is measured on, and what its temperature is fitted on.",
    )
    stopping: StoppingSpec = Field(
        default=StoppingSpec(),
        description=(
            "When the campaign ends; a rule that is not set is off. "
            "Limits always end it; goals are advice unless `automatic` is true. An empty pool ends it too."
        ),
    )
    database: DatabaseSpec = Field(
        default=DatabaseSpec(), description="Where rounds, labels and statistics are kept."
    )
    compute: ComputeSpec = Field(
        default=LocalComputeSpec(kind="local"),
        description="Where the model predicts, and where the members of an ensemble are trained.",
    )
    artefacts: str | None = Field(
        default=None,
        description=(
            "Folder for adapters and score files; by default `<name>-artefacts` beside the campaign file. Or the "
            "address of storage that several machines use, such as `s3://bucket/folder` (`pip install 'star-al[s3]'`) "
            "or `gs://bucket/folder` (`star-al[gs]`): the default folder then holds copies. Credentials come from the "
            "environment."
        ),
        examples=["s3://bucket/folder"],
    )

    @field_validator("artefacts")
    @classmethod
    def _no_credentials_in_the_address(cls, artefacts: str | None) -> str | None:
        if artefacts is not None and "://" in artefacts:
            parts = urlsplit(artefacts)
            if parts.scheme not in SHARED_STORAGE or "::" in artefacts:
                raise ValueError(
                    f"is no folder and begins with none of {', '.join(f'{one}://' for one in SHARED_STORAGE)}"
                )
            if parts.username or parts.password or parts.query:
                raise ValueError("holds more than an address; credentials come from the environment")
        return artefacts

    @model_validator(mode="before")
    @classmethod
    def _missing_settings_have_a_meaning(cls, tree: Any, info: ValidationInfo) -> Any:
        return with_missing_settings(tree, from_file=info.context == FROM_FILE)

    @model_validator(mode="wrap")
    @classmethod
    def _kinds_have_measures_of_their_own(
        cls, tree: Any, handler: ModelWrapValidatorHandler[CampaignSpec], info: ValidationInfo
    ) -> CampaignSpec:
        """In a campaign file, a missing ``acquisition.measure`` is that of the kind of task, and counts as not set."""
        measure = measure_of_kind(tree) if info.context == FROM_FILE and isinstance(tree, dict) else None
        if measure is None:
            return handler(tree)
        spec = handler(tree | {"acquisition": {**tree.get("acquisition", {}), "measure": measure}})
        spec.acquisition.model_fields_set.discard("measure")
        return spec

    @field_validator("posterior", mode="before")
    @classmethod
    def _a_posterior_without_kind_is_dropout(cls, posterior: Any) -> Any:
        if isinstance(posterior, dict) and "kind" not in posterior:
            return {"kind": "mc_dropout", **posterior}
        return posterior

    @field_validator("learner", mode="before")
    @classmethod
    def _a_learner_without_kind_is_lora(cls, learner: Any) -> Any:
        return lora_by_default(learner)

    @model_validator(mode="after")
    def _settings_go_together(self) -> CampaignSpec:
        refuse_combinations(self)
        return self

    @property
    def has_head_learner(self) -> bool:
        """True if the head is all that is trained."""
        return isinstance(self.learner, HeadLearnerSpec)

    @property
    def model_in_words(self) -> str:
        """What is loaded to train and predict."""
        if self.has_head_learner:
            return f"sentence encoder {self.head.encoder}"
        return f"model {self.model.name}"

    @property
    def untrained_head_in_words(self) -> str:
        """What predicts before there are labels, where a head ranks the pool."""
        return "head by the similarity of options" if self.task.has_options else "head by the labels' names"

    @property
    def label_tolerance(self) -> float:
        """The number that ``model.label_tolerance`` stands for."""
        asked = self.model.label_tolerance
        if asked != "auto":
            return asked
        chosen = self.acquisition
        # These compare samples, or rank texts by a label that may be an unlikely one.
        needs_all = (
            chosen.measure in ("bald", "epig", "label_probability") or chosen.batch.kind == "batchbald"
        )
        return 0.0 if needs_all else LABEL_TOLERANCE

    @property
    def head_ranks(self) -> bool:
        """True if the head ranks the pool."""
        return self.has_head_learner or self.acquisition.scorer == "head"

    @property
    def has_head_beside(self) -> bool:
        """True if a head is trained beside the language model."""
        return isinstance(self.learner, LoraLearnerSpec) and (self.learner.head or self.head_ranks)

    @property
    def is_taught(self) -> bool:
        """True if the head teaches the language model its answers to unlabelled texts."""
        if not isinstance(self.learner, LoraLearnerSpec) or not self.has_head_beside:
            return False
        return self.task.is_taught if self.learner.taught == "auto" else self.learner.taught

    @property
    def has_classifier(self) -> bool:
        """True if a linear classifier above LoRA predicts the labels, false if their words do."""
        if self.adapter.output != "auto":
            return self.adapter.output == "classifier"
        many = not self.task.has_options and len(self.task.label_names) >= MANY_LABELS
        return self.task.classifies or (self.is_taught and many)

    @property
    def shortlist_depth(self) -> int:
        """Texts at the top of the ranking that a shortlist must hold: those that batch and buffer are chosen from."""
        acquisition = self.acquisition
        return max(acquisition.batch_depth, acquisition.batch_size + self.labelling.buffer)

    @property
    def ranking_model(self) -> Literal["adapted", "head"]:
        """Name of the model that ranks the pool, as evaluations have it; a head that is all there is, is adapted."""
        return "head" if self.has_head_beside and self.head_ranks else "adapted"

    @property
    def samples(self) -> int:
        """Posterior samples of the model that ranks the pool."""
        return self.head.samples if self.head_ranks else self.posterior.samples

    @property
    def mixes_completions(self) -> bool:
        """True if the data has the better completion in a column of its own, so that its place would tell it."""
        where = self.data.options
        answers = {self.data.label, self.gold_column, self.test_label_column}
        return self.task.has_completions and isinstance(where, tuple) and not answers.isdisjoint(where)

    @property
    def gold_column(self) -> str | None:
        """The column that a simulated annotator answers from; None with people."""
        return self.annotator.gold if isinstance(self.annotator, OracleSpec) else None

    @property
    def test_label_column(self) -> str | None:
        """The label column of the test file: its own, else the data's, else the oracle's gold column."""
        return self.evaluation.label or self.data.label or self.gold_column
