"""A whole campaign: its sections, and the rules that hold between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ModelWrapValidatorHandler, ValidationInfo, field_validator, model_validator

from star_al.config.spec.acquisition import ADAPTIVE_SAMPLES, JOINT_SAMPLES, AcquisitionSpec
from star_al.config.spec.adapter import AdapterSpec
from star_al.config.spec.annotator import AnnotatorSpec, LabelStudioSpec, OracleSpec
from star_al.config.spec.base import FROM_FILE, Spec
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
from star_al.config.spec.model import ModelSpec
from star_al.config.spec.posterior import MapSpec, McDropoutSpec, PosteriorSpec
from star_al.config.spec.shortlist import OPEN_MEASURES
from star_al.config.spec.stopping import StoppingSpec
from star_al.config.spec.task import EXTRAS, TaskSpec, kinds_with, normalise_label
from star_al.config.spec.template import split_template

MANY_LABELS = 10
"""From so many labels on, a language model that a head teaches has a classifier (docs/studies/recipe.md)."""

LABEL_TOLERANCE = 0.01
"""What ``model.label_tolerance: auto`` stands for, where samples are not compared with each other."""

DEFAULT_MEASURES: Mapping[str, str] = {"text": "nll"}
"""Measures of campaign files that name none, by kind of task; without an entry, the default of the setting.

For the usual measure answers would have to be drawn, which takes several times as long."""

EARLIER_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "learner": {"kind": "lora", "taught": False},
    "adapter": {"output": "label_names"},
    "model": {"label_tolerance": 0.0},
}
"""What earlier versions did, which had no such settings, by section; a kind names the one that they belong to."""

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
        default=LocalComputeSpec(kind="local"), description="Where the model predicts."
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
    def _settings_without_acquisition_are_earlier_ones(cls, tree: Any, info: ValidationInfo) -> Any:
        """Without a file, a missing ``acquisition`` has what earlier versions chose by, like one without a preset."""
        if info.context == FROM_FILE or not isinstance(tree, dict) or "acquisition" in tree:
            return tree
        return tree | {"acquisition": {}}

    @model_validator(mode="before")
    @classmethod
    def _settings_not_stored_are_earlier_ones(cls, tree: Any, info: ValidationInfo) -> Any:
        """Without a file, settings that are missing have the values of ``EARLIER_SETTINGS``."""
        if info.context == FROM_FILE or not isinstance(tree, dict):
            return tree
        for name, earlier in EARLIER_SETTINGS.items():
            section = tree.get(name, {})
            if isinstance(section, dict) and section.get("kind", earlier.get("kind")) == earlier.get("kind"):
                tree = tree | {name: {**earlier, **section}}
        return tree

    @model_validator(mode="before")
    @classmethod
    def _star_and_earlier_versions_sample_by_dropout(cls, tree: Any, info: ValidationInfo) -> Any:
        """Without a section ``posterior``, STAR and BALD have MC dropout, as settings that are not of a file have."""
        if not isinstance(tree, dict) or "posterior" in tree:
            return tree
        acquisition = tree.get("acquisition")
        samples = isinstance(acquisition, dict) and (
            acquisition.get("preset") == "star"
            # BALD has no meaning without samples. If the head ranks, they are the head's.
            or (acquisition.get("measure") in ("bald", "token_bald") and acquisition.get("scorer") != "head")
        )
        return tree | {"posterior": {"kind": "mc_dropout"}} if samples or info.context != FROM_FILE else tree

    @model_validator(mode="wrap")
    @classmethod
    def _kinds_have_measures_of_their_own(
        cls, tree: Any, handler: ModelWrapValidatorHandler[CampaignSpec], info: ValidationInfo
    ) -> CampaignSpec:
        """In a campaign file, a missing ``acquisition.measure`` is that of the kind of task, and counts as not set."""
        if info.context != FROM_FILE or not isinstance(tree, dict):
            return handler(tree)
        task, acquisition = tree.get("task"), tree.get("acquisition", {})
        if not isinstance(task, dict) or not isinstance(acquisition, dict) or "measure" in acquisition:
            return handler(tree)
        measure = DEFAULT_MEASURES.get(str(task.get("kind")))
        if measure is None or acquisition.get("preset") == "star":
            return handler(tree)
        spec = handler(tree | {"acquisition": {**acquisition, "measure": measure}})
        spec.acquisition.model_fields_set.discard("measure")
        return spec

    @model_validator(mode="before")
    @classmethod
    def _read_templates_of_0_1(cls, tree: Any, info: ValidationInfo) -> Any:
        """In a campaign that version 0.1 stored, braces other than its three fields are text."""
        if info.context == FROM_FILE or not isinstance(tree, dict):
            return tree
        data, task = tree.get("data"), tree.get("task")
        if (
            not isinstance(data, dict)
            or not isinstance(task, dict)
            or "header" in data
            or "subset" not in data
        ):
            return tree
        template = task.get("template")
        if not isinstance(template, str) or "{text}" not in template or not split_template(template).columns:
            return tree
        return tree | {"task": {"template_columns": False} | task}

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
    def _sections_agree(self) -> CampaignSpec:
        self._require_model()
        self._require_ranker()
        self._require_options()
        self._require_labels_to_classify()
        self._require_what_the_task_allows()
        self._require_samples_for_measure()
        self._require_samples_for_adaptive()
        self._require_what_shortlists()
        self._require_joint_samples()
        self._require_dropout()
        self._require_what_can_be_divided()
        self._require_what_vllm_can_do()
        self._require_distinct_unsure()
        self._require_labels_to_train_on()
        self._require_test_labels()
        self._check_label_columns()
        self._refuse_labels_in_the_text()
        return self

    def _require_options(self) -> None:
        if self.task.has_options and self.data.options is None:
            raise ValueError(f"task.kind: {self.task.kind} needs data.options")
        if not self.task.has_options and self.data.options is not None:
            raise ValueError(f"data.options belongs to task.kind: {kinds_with('has_options')}")
        columns = self.data.options
        if self.task.has_completions and isinstance(columns, tuple) and len(columns) != 2:
            raise ValueError(
                f"task.kind: {self.task.kind} takes two columns in data.options, or one that holds lists of two, not "
                f"[{', '.join(columns)}]; a column of lists is named without brackets"
            )

    def _require_labels_to_classify(self) -> None:
        if self.adapter.output == "classifier" and self.task.has_options:
            raise ValueError(
                f"adapter.output: classifier needs the same labels for all texts, and task.kind: {self.task.kind} has "
                "options of each text"
            )

    def _require_what_the_task_allows(self) -> None:
        allowed = self.task.allowed
        for setting, value, values in (
            ("acquisition.measure", self.acquisition.measure, allowed.measures),
            ("acquisition.batch.kind", self.acquisition.batch.kind, allowed.batches),
            ("labelling.settle", self.labelling.settle, allowed.settling),
            ("posterior.kind", self.posterior.kind, allowed.posteriors),
            ("adapter.loss", self.adapter.loss, allowed.losses),
        ):
            if value not in values:
                raise ValueError(
                    f"{setting}: {value} does not go with task.kind: {self.task.kind}; choose from "
                    f"{', '.join(values)}"
                )

        extras = {
            "head": self.has_head_learner or self.has_head_beside,
            "head_beside": self.has_head_beside,
            "classifier": self.adapter.output == "classifier",
            "adaptive_samples": self.acquisition.adaptive_samples is not None,
            "balance": self.acquisition.batch.balance,
            "calibrate_base": bool(self.acquisition.blend.calibrate_base),
            "contextual_calibration": self.task.contextual_calibration,
        }
        for name, setting in EXTRAS.items():
            if extras[name] and name not in allowed.extras:
                raise ValueError(
                    f"{setting} does not go with task.kind: {self.task.kind}, whose answers are not a list of labels"
                )

    def _require_model(self) -> None:
        if self.model.name is None and (
            isinstance(self.learner, LoraLearnerSpec) or self.head.features in ("model", "both")
        ):
            raise ValueError(
                "model.name is missing. Name a language model, or set learner.kind: head, which needs none"
            )

    def _require_ranker(self) -> None:
        if (
            isinstance(self.learner, LoraLearnerSpec)
            and self.learner.train != "each_round"
            and not self.head_ranks
        ):
            raise ValueError(
                "learner.train: at_end and a list of label counts need acquisition.scorer: head, which chooses the "
                "texts in the other rounds"
            )
        if (
            isinstance(self.learner, LoraLearnerSpec)
            and self.learner.taught is True
            and not self.has_head_beside
        ):
            raise ValueError(
                "learner.taught: true needs a head beside the language model. Set learner.head: true or "
                "acquisition.scorer: head"
            )
        if self.head_ranks and self.acquisition.adaptive_samples is not None:
            raise ValueError(
                "acquisition.adaptive_samples does not go with a head that ranks the pool, as its samples cost "
                "next to nothing"
            )

    def _require_samples_for_measure(self) -> None:
        if self.acquisition.measure == "label_probability":
            self._require_target_label()
        if self.acquisition.measure in ("bald", "token_bald") and self.samples < 2:
            raise ValueError(
                f"acquisition.measure: {self.acquisition.measure} needs a posterior of at least 2 samples"
            )
        kind = self.acquisition.blend.kind
        if self.acquisition.measure == "label_probability" and kind in ("prequential", "measured"):
            raise ValueError(
                f"acquisition.blend.kind: {kind} does not go with acquisition.measure: label_probability, which "
                "looks for a label and not for errors"
            )
        if self.acquisition.measure == "epig" and self.acquisition.blend.kind == "measured":
            raise ValueError(
                "acquisition.blend.kind: measured does not go with acquisition.measure: epig, which is not "
                "measured on held-out items"
            )

    def _require_target_label(self) -> None:
        names = list(map(normalise_label, self.task.label_names))
        target = self.acquisition.target_label
        if target is None or normalise_label(target) not in names:
            raise ValueError(
                "acquisition.measure: label_probability needs acquisition.target_label, one of "
                f"{', '.join(self.task.label_names)}"
            )

    def _require_samples_for_adaptive(self) -> None:
        first, samples = self.acquisition.adaptive_samples, self.posterior.samples
        if first is None:
            return
        wants_all = {
            "measure: bald": self.acquisition.measure == "bald",
            "measure: epig": self.acquisition.measure == "epig",
            f"blend.kind: {self.acquisition.blend.kind}": self.acquisition.blend.kind
            in ("measured", "prequential"),
            f"batch.kind: {self.acquisition.batch.kind}": self.acquisition.batch.diversifies,
            "batch.balance": self.acquisition.batch.balance,
            "batch.near_duplicates": self.acquisition.batch.near_duplicates is not None,
        }
        for setting, wants in wants_all.items():
            if wants:
                raise ValueError(
                    f"acquisition.adaptive_samples does not go with acquisition.{setting}, which needs all samples"
                )
        if samples < ADAPTIVE_SAMPLES:
            raise ValueError(
                f"acquisition.adaptive_samples needs a posterior of at least {ADAPTIVE_SAMPLES} samples; "
                f"this one has {self._samples_as_set}"
            )
        if first >= samples:
            raise ValueError(
                f"acquisition.adaptive_samples: {first} leaves none of {samples} samples for later"
            )

    def _require_what_shortlists(self) -> None:
        """What puts texts on a shortlist must be there, and cost less than scoring them."""
        by = self.acquisition.shortlist.by
        if not self.acquisition.shortlist.is_on or by == "last_round":
            return
        why = ""
        if by == "head" and (self.head_ranks or not self.has_head_beside):
            why = "needs a head beside the language model that ranks the pool: learner.head: true"
        elif by in OPEN_MEASURES and not self.task.is_written:
            why = (
                f"is a measure of written answers; task.kind: {self.task.kind} takes last_round, head or mean"
            )
        elif by == "mean" and self.task.is_written:
            why = f"does not go with task.kind: {self.task.kind}; choose {' or '.join(OPEN_MEASURES)}"
        elif by in OPEN_MEASURES and self.acquisition.measure in OPEN_MEASURES:
            why = f"saves nothing with acquisition.measure: {self.acquisition.measure}, which takes one pass as well"
        elif by == "mean" and (self.head_ranks or self.samples < 2):
            why = "saves nothing without posterior samples of a language model, as one pass is all there is"
        if why:
            raise ValueError(f"acquisition.shortlist.by: {by} {why}")

    def _require_joint_samples(self) -> None:
        joint = {
            "acquisition.measure: epig": self.acquisition.measure == "epig",
            "acquisition.batch.kind: batchbald": self.acquisition.batch.kind == "batchbald",
        }
        for setting, wanted in joint.items():
            if wanted and self.samples < JOINT_SAMPLES:
                raise ValueError(
                    f"{setting} needs a posterior of at least {JOINT_SAMPLES} samples, 32 are better; this one "
                    f"has {self._samples_as_set}"
                )

    def _require_dropout(self) -> None:
        if not isinstance(self.posterior, McDropoutSpec) or self.posterior.samples == 1:
            return
        if self.posterior.dropout is None and self.adapter.dropout == 0.0:
            raise ValueError(
                "posterior.kind: mc_dropout needs adapter.dropout above 0, or posterior.dropout, to draw several "
                "samples"
            )

    def _require_what_can_be_divided(self) -> None:
        if self.posterior.kind == "clora" and self.adapter.training.processes > 1:
            raise ValueError(
                "adapter.training.processes above 1 does not go with posterior.kind: clora, whose networks are trained "
                "in one process"
            )
        if self.model.gpus > 1 and self.adapter.training.processes > 1:
            raise ValueError(
                "adapter.training.processes above 1 does not go with model.gpus above 1: each process has one GPU; "
                "strategy: fsdp shares the base model among processes"
            )

    def _require_what_vllm_can_do(self) -> None:
        if self.model.engine != "vllm" or self.has_head_learner:
            return
        for setting, usual in (("quantise", "none"), ("gpus", 1)):
            if getattr(self.model, setting) != usual:
                raise ValueError(
                    f"model.engine: vllm does not go with model.{setting}, which the engine would not follow; name a "
                    "model that fits one GPU as it was saved"
                )
        if self.posterior.kind == "clora":
            raise ValueError(
                "model.engine: vllm does not go with posterior.kind: clora, whose samples change with each text"
            )
        if self.has_classifier:
            raise ValueError(
                "model.engine: vllm does not go with a classifier, which reads hidden states; set "
                "adapter.output: label_names, or model.engine: transformers"
            )
        if self.task.has_completions:
            raise ValueError(
                f"model.engine: vllm does not go with task.kind: {self.task.kind}, which reads the base model beside "
                "each sample"
            )

    def _require_distinct_unsure(self) -> None:
        unsure = self.annotator.unsure if isinstance(self.annotator, LabelStudioSpec) else None
        names = (*self.task.label_names, *self.task.other_names)
        if unsure is not None and normalise_label(unsure) in map(normalise_label, names):
            raise ValueError(f"annotator.unsure: {unsure!r} is also a label")

    def _require_labels_to_train_on(self) -> None:
        audit = self.evaluation.size if self.evaluation.kind == "audit" else 0
        held_out, budget = self.evaluation.calibration + audit, self.stopping.max_labels
        if budget is not None and budget <= held_out:
            raise ValueError(
                f"stopping.max_labels: {budget} leaves no label to train on; "
                f"{held_out} are for audit and calibration (evaluation.size, evaluation.calibration)"
            )

    def _require_test_labels(self) -> None:
        if self.evaluation.kind == "test" and self.test_label_column is None:
            raise ValueError(
                "evaluation.kind: test needs evaluation.label, the label column of the test file"
            )

    def _check_label_columns(self) -> None:
        columns, names = self.data.label_columns or (), set(map(normalise_label, self.task.label_names))
        if columns and not self.task.has_label_sets:
            raise ValueError(
                f"data.label_columns does not go with task.kind: {self.task.kind}, only with "
                f"{kinds_with('has_label_sets')}"
            )
        for name in columns:
            if normalise_label(name) not in names:
                raise ValueError(f"data.label_columns: {name!r} is not one of task.labels")

    def _refuse_labels_in_the_text(self) -> None:
        split = self.task.split_template
        answers = {
            self.data.label,
            self.gold_column,
            self.test_label_column,
            *(self.data.label_columns or ()),
        }
        for name in split.columns if split else ():
            if name in answers:
                raise ValueError(
                    f"task.template names {{{name}}}, the column of labels, so that the model would see the answer. "
                    "Remove it; if the braces are text, set task.template_columns: false"
                )

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
    def _samples_as_set(self) -> str:
        """How many samples there are, and by which setting."""
        if self.head_ranks:
            return f"{self.samples} (head.samples)"
        setting = {"ensemble": "members", "map": "kind: map"}.get(self.posterior.kind, "samples")
        return f"{self.posterior.samples} (posterior.{setting})"

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
