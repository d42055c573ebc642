"""The settings of a campaign as frozen, validated sections, each declared once with its default and meaning.

``configs/`` and the README show them in use; ``star_al.config.file`` reads them from YAML.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from star_al.errors import ConfigError


class Spec(BaseModel):
    """Base of every section: immutable, no unknown keys, no NaN or infinity, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=False)


FROM_FILE = "file"
"""The validation context of a campaign file; without it, what older versions have stored is read too."""

ADAPTIVE_SAMPLES = 16
"""Posterior samples from which on it pays to draw fewer for some items."""

JOINT_SAMPLES = 16
"""Posterior samples that joint scores of several items need at least: their information is at most log K."""

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class OptionsPattern(Spec):
    """Options written inside the text: every match of ``pattern`` is one option and leaves the text.

    The pattern needs a group ``option``; it may have a group ``key`` (the letter the gold answer uses).
    """

    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles_with_an_option_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        if "option" not in groups:
            raise ValueError("needs a named group (?P<option>…)")
        return pattern


class DataSpec(Spec):
    """Where the pool comes from and which columns matter; all other columns are kept for export."""

    path: str  # a .jsonl, .csv or .parquet file, a saved `datasets` folder, or a `datasets` name
    subset: str | None = None  # configuration name of a `datasets` name
    split: str = "train"
    text: str = "text"
    id: str | None = None  # the user's own id column
    label: str | None = None  # a column of human labels that exist already; they start round 0
    options: str | tuple[str, ...] | OptionsPattern | None = None  # multiple choice only


class LabelSpec(Spec):
    """A label and how it is spelled to the model, when that differs."""

    name: str
    verbaliser: str | None = None


class TaskSpec(Spec):
    """What is asked about each text."""

    kind: Literal["classification", "multiple_choice"]
    labels: tuple[LabelSpec, ...] = ()
    instruction: str | None = None  # the system message, or the first lines of the prompt
    template: str | None = None  # the user's message; {text}, {labels} and {options} are filled in
    chat_template: bool = True  # use the tokenizer's chat template where it has one
    answer: Literal["letter", "text"] = "letter"  # multiple choice: what the model is scored on
    contextual_calibration: bool = False  # divide base probabilities by those of an empty input

    @field_validator("labels", mode="before")
    @classmethod
    def _plain_strings_are_labels(cls, labels: Any) -> Any:
        if isinstance(labels, (list, tuple)):
            return tuple(
                label if isinstance(label, dict) else {"name": scalar_label(label)} for label in labels
            )
        return labels

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
            raise ValueError(f"the {what} {seen[key]!r} and {name!r} are equal after normalising")
        seen[key] = name


def scalar_label(value: Any) -> Any:
    """A label given as a YAML or JSON scalar, as its name: 3 → "3", true → "true"; others unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def normalise_label(name: str) -> str:
    """The form in which labels are compared: white space folded, case folded."""
    return " ".join(name.split()).casefold()


class ModelSpec(Spec):
    """Any causal language model of transformers: a hub name or a folder with safetensors."""

    name: str
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"  # auto: a short probe decides
    device: str = "auto"
    max_tokens: Annotated[int, Field(ge=16)] = 512  # prompt and text together; the text is cut to fit
    batch_tokens: Annotated[int, Field(ge=64)] = 4096  # padded tokens a scoring batch
    trunk_cache_gb: Annotated[float, Field(ge=0)] = (
        4.0  # of disk, at most, for what adapter.layers lets be kept
    )

    @field_validator("dtype", mode="before")
    @classmethod
    def _float16_was_a_choice(cls, dtype: Any, info: ValidationInfo) -> Any:
        """A stored campaign that names it is read as auto, as its rounds tell their dtype; a file is refused."""
        return "auto" if dtype == "float16" and info.context != FROM_FILE else dtype


class AdapterSpec(Spec):
    """LoRA (Hu et al. 2021) and its training; defaults suit a few hundred labels."""

    rank: Positive = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1  # on A's input, one mask a sequence
    target_modules: Literal["auto", "all-linear"] | tuple[str, ...] = "auto"
    layers: Positive | None = None  # adapt the last so many blocks; those below are computed once a text
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    epochs: Positive = 4
    min_steps: Annotated[int, Field(ge=0)] = 0  # train longer when few labels make few steps
    batch_size: Positive = 8
    warmup_ratio: Fraction = 0.1
    weight_decay_b: Annotated[float, Field(ge=0)] = 0.5  # decoupled, on B alone (STAR, hybrid regularisation)
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    warm_start: bool = False  # start from the last round's adapter instead of a fresh one


class MapSpec(Spec):
    """The adapter as trained, without samples: what the posteriors have to beat, with its temperature."""

    kind: Literal["map"]

    @property
    def samples(self) -> int:
        """One: nothing is sampled."""
        return 1


class McDropoutSpec(Spec):
    """Monte-Carlo dropout (Gal and Ghahramani 2016; STAR) by coherent weight samples."""

    kind: Literal["mc_dropout"] = "mc_dropout"
    samples: Positive = 3


class EnsembleSpec(Spec):
    """LoRA ensemble (Wang et al. 2023; Balabanov and Linander 2024)."""

    kind: Literal["ensemble"]
    members: Annotated[int, Field(ge=2)] = 5  # adapters trained each round, each with its own seed and order
    function_decay: Annotated[float, Field(ge=0)] = 0.0  # γ of γ·Σ‖s·B·A‖²: the members stay near the base

    @property
    def samples(self) -> int:
        """A sample is a member."""
        return self.members


class LaplaceSpec(Spec):
    """Laplace-LoRA (Yang et al. 2024): a Gaussian around the trained adapter, its curvature by KFAC."""

    kind: Literal["laplace"]
    samples: Positive = 10
    predictive: Literal["sampling", "linearised"] = "sampling"
    subset: Literal["all", "last_layer"] = "all"  # last_layer: the adapted matrices of the last block alone
    n_kfac: Positive = 10  # rank of the wide Kronecker factors
    prior_precision: Annotated[float, Field(gt=0, strict=True)] | Literal["evidence"] = (
        1000.0  # τ; higher: narrower; tried at hidden size 576, see ``laplace.py`` for others
    )


class CLoraSpec(Spec):
    """C-LoRA (Rahmati et al. 2025): a Gaussian between A and B whose mean and width depend on the text."""

    kind: Literal["clora"]
    samples: Positive = 10  # 1: the mean alone (M = 0 in the paper)
    context: Literal["sequence", "token"] = "sequence"  # what the Gaussian depends on
    prior_std: Annotated[float, Field(gt=0)] = 0.2  # β
    hidden: Positive = 64  # width of the context networks
    kl_weight: Literal["auto"] | Annotated[float, Field(ge=0, strict=True)] = (
        "auto"  # auto: chosen on held-out labels
    )
    learning_rate: Annotated[float, Field(gt=0)] = 0.01  # of the context networks, by SGD


class TfbSpec(Spec):
    """TFB (Shi et al. 2025), training-free: noise on A as wide as the training loss bears."""

    kind: Literal["tfb"]
    samples: Positive = 10
    tolerance: Annotated[float, Field(gt=0)] = 0.003  # ε: how much the training loss may rise


PosteriorSpec: TypeAlias = Annotated[
    MapSpec | McDropoutSpec | EnsembleSpec | LaplaceSpec | CLoraSpec | TfbSpec, Field(discriminator="kind")
]


class BlendSpec(Spec):
    """How base and adapted uncertainty are combined (STAR, dynamic uncertainty)."""

    kind: Literal["schedule", "constant", "off", "measured"] = "schedule"
    weight: Fraction = 0.5  # of the adapted model; for kind: constant
    normalise: Literal["minmax", "rank"] = "minmax"


class BatchSpec(Spec):
    """How the batch is taken from the ranking; the kinds after ``random`` diversify within its top."""

    kind: Literal["top_k", "power", "random", "batchbald", "badge", "k_centre", "facility_location"] = "top_k"
    beta: Annotated[float, Field(gt=0)] = 1.0  # power: higher is greedier (Kirsch et al. 2023)
    top: Positive = 500  # of the ranking, that a diversified batch is chosen from
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None = None  # similarity of texts not asked twice
    balance: bool = False  # the predicted labels that have the fewest labels come first

    @model_validator(mode="after")
    def _chance_takes_no_constraints(self) -> BatchSpec:
        if self.kind == "random" and (self.balance or self.near_duplicates is not None):
            raise ValueError("kind: random takes neither balance nor near_duplicates")
        return self

    @property
    def diversifies(self) -> bool:
        """Whether the items of a batch are chosen with a view to each other."""
        return self.kind in ("batchbald", "badge", "k_centre", "facility_location")


class AcquisitionSpec(Spec):
    """Which items are asked next."""

    measure: Literal["entropy", "margin", "least_confidence", "bald", "epig"] = "entropy"
    epig_targets: Positive = 200  # epig: random items of the first pool, whose answers it is to help with
    blend: BlendSpec = BlendSpec()
    batch: BatchSpec = BatchSpec()
    batch_size: Positive = 25
    cold_start: Literal["random", "base_uncertainty", "typical"] = "random"  # round 0 without any label
    control_share: Annotated[float, Field(ge=0, lt=1)] = (
        0.0  # of each batch at random; trains a shadow adapter
    )
    candidates: Positive | None = None  # score a random part of the pool each round; null: all of it
    # Samples for every item; twice as many, and so on, only while its place in the batch is open. null: all
    adaptive_samples: Annotated[int, Field(ge=2)] | None = None


class OracleSpec(Spec):
    """A simulated annotator that answers from a column of the data."""

    kind: Literal["oracle"] = "oracle"
    gold: str  # the column with the right answers
    accuracy: Fraction = 1.0  # below 1: seeded noise, the same item always gets the same answer
    skips: Fraction = 0.0  # share of items it skips


class LabelStudioSpec(Spec):
    """People, who label in Label Studio. Its token comes from the environment, or from `star-al up`."""

    kind: Literal["label_studio"]
    url: str | None = None  # of the server; null: the local one that `star-al up` starts
    token_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] = "LABEL_STUDIO_API_KEY"
    project: Positive | None = None  # the id of an existing project to use; null: one is made
    title: str | None = None  # of a new project; default: the campaign's name
    guidelines: str | None = None  # plain text; shown to annotators as the project's instruction
    question: str | None = None  # the line above the labels
    unsure: str | None = None  # the text of one more choice, which counts as a skip
    show_prediction: bool = False  # show the model's answer, which biases annotators
    show_reason: bool = False  # show why a text was asked
    deleted: Literal["restore", "drop"] = "restore"  # open tasks that somebody deletes in Label Studio
    timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0  # seconds that one request may take

    @field_validator("url")
    @classmethod
    def _is_an_address_without_secrets(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not an address like http://127.0.0.1:8080")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("holds more than an address; the token comes from the environment (token_env)")
        return url.rstrip("/")


AnnotatorSpec: TypeAlias = Annotated[OracleSpec | LabelStudioSpec, Field(discriminator="kind")]


class LabellingSpec(Spec):
    """How answers become labels, and when a round has enough of them.

    A skipped or disputed item is dropped; or asked again, as a new task of which only the new answers count;
    or another person is asked, whose answer joins those that are there. An answer that is no label of the
    task counts as a skip. Audit and calibration sets do not close at a share.
    """

    overlap: Positive = 1  # people who answer each query
    settle: Literal["majority", "dawid_skene"] = "majority"  # Dawid and Skene 1979
    skipped: Literal["drop", "ask_again", "ask_another"] = "drop"
    disputed: Literal["drop", "ask_again", "ask_another"] = "ask_another"
    max_attempts: Positive = 3  # tasks an item, at most; then it is dropped
    close_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0  # a round closes when so many are answered
    close_after_hours: Annotated[float, Field(gt=0)] | None = None  # or after this; late answers still count
    buffer: Annotated[int, Field(ge=0)] = 0  # further tasks that stay open while the model trains


class EvaluationSpec(Spec):
    """On what the model is measured, and from what its temperature comes.

    ``test`` reads a labelled file; ``audit`` draws ``size`` items at random at import, asks them first and
    never trains on them. ``calibration`` further items are drawn and asked likewise and fit the
    temperature; with none of them T = 1.
    """

    kind: Literal["test", "audit", "none"] = "audit"
    path: str | None = None  # test: a file like data.path
    split: str = "test"
    label: str | None = None  # test: its label column; default: data.label, else the oracle's gold
    size: Positive = 100  # audit
    grow: Annotated[int, Field(ge=0)] = 0  # audit: further items asked each round
    max_size: Positive | None = None  # audit: until there are so many; all of them are drawn at import
    calibration: Annotated[int, Field(ge=0)] = 30
    stop_set: Annotated[int, Field(ge=0)] = 200  # pool items whose predictions are compared over rounds

    @model_validator(mode="after")
    def _a_test_needs_a_file(self) -> EvaluationSpec:
        if self.kind == "test" and self.path is None:
            raise ValueError("kind: test needs a path")
        if self.kind != "test" and self.path is not None:
            raise ValueError(f"path belongs to kind: test, not to kind: {self.kind}")
        return self

    @model_validator(mode="after")
    def _a_growing_audit_set_has_an_end(self) -> EvaluationSpec:
        if self.grow and self.kind != "audit":
            raise ValueError(f"grow belongs to kind: audit, not to kind: {self.kind}")
        if self.grow and (self.max_size is None or self.max_size <= self.size):
            raise ValueError(
                f"grow needs a max_size above size ({self.size}): these items are kept from the pool"
            )
        if self.max_size is not None and not self.grow:
            raise ValueError("max_size belongs to grow, which is 0")
        return self

    @property
    def reserved(self) -> int:
        """Audit items that are drawn at import."""
        return (self.max_size or self.size) if self.kind == "audit" else 0


class StoppingSpec(Spec):
    """When the campaign ends; a rule that is null is off.

    Limits always end it. Goals (target, stable, gain) are advice unless ``automatic``.
    """

    automatic: bool = False  # goals end the campaign, too
    max_labels: Positive | None = None  # every human label counts: start, audit, calibration
    max_rounds: Positive | None = None  # trained rounds after round 0
    target_accuracy: Fraction | None = None  # reached when the confidence sequence is above it
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # of that sequence, over all rounds together
    stable_agreement: Fraction | None = None  # of the stop set's predictions with the round before
    stable_rounds: Positive = 3
    min_gain: Annotated[float, Field(gt=0, lt=1)] | None = None  # accuracy that 100 more labels should bring


class DatabaseSpec(Spec):
    """Where rounds, labels and statistics are kept.

    A password is written as ``${NAME}`` and read from the environment; one in clear is refused.
    """

    url: str | None = None  # default: sqlite, <name>.db beside the config
    lease_seconds: Annotated[float, Field(ge=1.0)] = 60.0  # a silent controller loses the campaign after this

    @field_validator("url")
    @classmethod
    def _no_password_in_clear(cls, url: str | None) -> str | None:
        secrets = re.findall(r"(?i)^[^:/]+://[^:/@]*:([^@]+)@|[?&][^=&]*passw(?:or)?d=([^&]+)", url or "")
        if any(not re.fullmatch(r"\$\{\w+\}", user or query) for user, query in secrets):
            raise ValueError("has a password in clear; write ${NAME} and set NAME in the environment")
        return url


class CampaignSpec(Spec):
    """A whole campaign."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: DataSpec
    task: TaskSpec
    model: ModelSpec
    adapter: AdapterSpec = AdapterSpec()
    posterior: PosteriorSpec = McDropoutSpec()
    acquisition: AcquisitionSpec = AcquisitionSpec()
    annotator: AnnotatorSpec
    labelling: LabellingSpec = LabellingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    stopping: StoppingSpec = StoppingSpec()
    database: DatabaseSpec = DatabaseSpec()
    artefacts: str | None = None  # folder of adapters and score files; default: <name>-artefacts

    @field_validator("posterior", mode="before")
    @classmethod
    def _a_posterior_without_kind_is_dropout(cls, posterior: Any) -> Any:
        if isinstance(posterior, dict) and "kind" not in posterior:
            return {"kind": "mc_dropout", **posterior}
        return posterior

    @model_validator(mode="after")
    def _sections_agree(self) -> CampaignSpec:
        multiple_choice = self.task.kind == "multiple_choice"
        if multiple_choice and self.data.options is None:
            raise ValueError("task.kind: multiple_choice needs data.options")
        if not multiple_choice and self.data.options is not None:
            raise ValueError("data.options belongs to task.kind: multiple_choice")
        if self.acquisition.measure == "bald" and self.posterior.samples < 2:
            raise ValueError("acquisition.measure: bald needs a posterior of at least 2 samples")
        if self.acquisition.measure == "epig" and self.acquisition.blend.kind == "measured":
            raise ValueError(
                "acquisition.blend.kind: measured does not go with acquisition.measure: epig, which is not "
                "measured on held-out items"
            )
        self._require_samples_for_adaptive()
        self._require_joint_samples()
        by_dropout = isinstance(self.posterior, McDropoutSpec)
        if by_dropout and self.posterior.samples > 1 and self.adapter.dropout == 0.0:
            raise ValueError(
                "posterior.kind: mc_dropout needs adapter.dropout above 0 to draw several samples"
            )
        held_out = self.evaluation.calibration + (
            self.evaluation.size if self.evaluation.kind == "audit" else 0
        )
        unsure = self.annotator.unsure if isinstance(self.annotator, LabelStudioSpec) else None
        if unsure is not None and normalise_label(unsure) in map(normalise_label, self.task.label_names):
            raise ValueError(f"annotator.unsure: {unsure!r} is a label, too")
        if self.stopping.max_labels is not None and self.stopping.max_labels <= held_out:
            raise ValueError(
                f"stopping.max_labels: {self.stopping.max_labels} leaves no label to train on; "
                f"{held_out} are for audit and calibration (evaluation.size, evaluation.calibration)"
            )
        if self.evaluation.kind == "test" and self.test_label_column is None:
            raise ValueError(
                "evaluation.kind: test needs evaluation.label, the label column of the test file"
            )
        return self

    def _require_samples_for_adaptive(self) -> None:
        first, samples = self.acquisition.adaptive_samples, self.posterior.samples
        if first is None:
            return
        wants_all = {
            "measure: bald": self.acquisition.measure == "bald",
            "measure: epig": self.acquisition.measure == "epig",
            "blend.kind: measured": self.acquisition.blend.kind == "measured",
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

    def _require_joint_samples(self) -> None:
        acquisition, samples = self.acquisition, self.posterior.samples
        joint = [
            name
            for name, wanted in {
                "acquisition.measure: epig": acquisition.measure == "epig",
                "acquisition.batch.kind: batchbald": acquisition.batch.kind == "batchbald",
            }.items()
            if wanted
        ]
        if joint and samples < JOINT_SAMPLES:
            raise ValueError(
                f"{joint[0]} needs a posterior of at least {JOINT_SAMPLES} samples, 32 are better; this one "
                f"has {self._samples_as_set}"
            )

    @property
    def _samples_as_set(self) -> str:
        """How many samples there are, and by which setting."""
        setting = {"ensemble": "members", "map": "kind: map"}.get(self.posterior.kind, "samples")
        return f"{self.posterior.samples} (posterior.{setting})"

    @property
    def gold_column(self) -> str | None:
        """The column that a simulated annotator answers from; null with people."""
        return self.annotator.gold if isinstance(self.annotator, OracleSpec) else None

    @property
    def test_label_column(self) -> str | None:
        """The label column of the test file: its own, else the data's, else the oracle's gold column."""
        return self.evaluation.label or self.data.label or self.gold_column


class CampaignFile(BaseModel):
    """A specification and the file it came from; relative paths in it are relative to that file."""

    model_config = ConfigDict(frozen=True)

    path: Path
    spec: CampaignSpec
    shared_trunk: Path | None = None  # of the runs of a study

    def resolve(self, name: str) -> Path:
        """``name`` as an absolute path, relative to the campaign file's folder."""
        return (self.path.parent / Path(name).expanduser()).resolve()

    @property
    def database_url(self) -> str:
        """The URL to connect to, with ``${NAME}`` read from the environment.

        Raises:
            ConfigError: a named variable is not set.
        """
        url = self.spec.database.url
        if url is None:
            return f"sqlite:///{self.resolve(self.spec.name + '.db')}"
        if whole := re.fullmatch(r"\$\{(\w+)\}", url):
            url = self._environment(whole)
        else:  # quoted, so that a password may hold any character and never spills into the host
            url = re.sub(r"\$\{(\w+)\}", lambda match: quote(self._environment(match), safe=""), url)
        if url.startswith("sqlite:///"):
            return f"sqlite:///{self.resolve(url.removeprefix('sqlite:///'))}"
        return url

    @property
    def artefact_folder(self) -> Path:
        """Where adapters and score files lie."""
        return self.resolve(self.spec.artefacts or f"{self.spec.name}-artefacts")

    @property
    def trunk_folder(self) -> Path:
        """Where activations of frozen blocks are kept."""
        return self.shared_trunk or self.artefact_folder / "trunk"

    def _environment(self, match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise ConfigError(
                f"{self.path}: database.url names ${{{match[1]}}}, which is not set. Export {match[1]} and run again."
            )
        return value
