"""The frozen records that every part of star_al speaks in; no behaviour beyond their own checks.

Array names carry their shape: N items, K posterior samples, C labels.
Uncertainties and log-probabilities are in nats, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]
FloatArray: TypeAlias = NDArray[np.float64]
Float32Array: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]


class Role(StrEnum):
    """What an item is for in one campaign; fixed when it joins."""

    POOL = "pool"
    TEST = "test"
    AUDIT = "audit"
    CALIBRATION = "calibration"


class RoundState(StrEnum):
    """The last step a round has completed; the loop resumes with the one after it."""

    STARTED = "started"
    FITTED = "fitted"
    EVALUATED = "evaluated"
    DECIDED = "decided"
    SCORED = "scored"
    SELECTED = "selected"
    PUSHED = "pushed"
    COLLECTED = "collected"
    STOPPED = "stopped"


class QueryState(StrEnum):
    """Whether a query still waits for its annotations, and how it ended.

    A query without a label is ``SKIPPED``: by its annotators, or for lack of agreement (``Query.disputed``),
    or because its task was taken out of the annotation tool.
    """

    OPEN = "open"
    LABELLED = "labelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Item:
    """One text of the pool, or of a held-out set.

    ``item_id`` is a hash of what the model reads (text and options), so equal content is one item.
    ``external_id`` and ``fields`` are the user's own id and columns; no learner may read them.
    """

    item_id: str
    text: str
    options: tuple[str, ...] = ()
    external_id: str | None = None
    fields: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceItem:
    """An item as read from a file, with the human label that the file already gives it, if any."""

    item: Item
    given_label: JsonValue = None


@dataclass(frozen=True, slots=True)
class Label:
    """One version of the settled human label of an item; the highest version is in force."""

    item_id: str
    value: JsonValue
    version: int = 1
    source: str = "annotator"  # import | annotator | correction
    round_index: int | None = None  # the round that asked for it; of an added row, the first it counts for


@dataclass(frozen=True, slots=True)
class Annotation:
    """One answer by one annotator, as the annotation tool gave it; revisions are kept.

    ``external_id`` identifies it within the annotation tool, for ever. The store counts its revisions: what
    is mirrored again unchanged adds none. ``lead_time`` is in seconds. ``skipped`` may come with a value, as
    when an annotator is unsure. ``withdrawn``: the annotator took it back; it counts only where nobody else
    answered.
    """

    external_id: str
    query_id: str
    value: JsonValue = None
    skipped: bool = False
    withdrawn: bool = False
    revision: int = 1
    annotator: str | None = None
    lead_time: float | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item was asked. Uncertainties in nats (or [0, 1] for margin and least confidence).

    ``aleatoric``, ``epistemic`` and ``samples`` as in ``ScoreRow``.
    """

    text: str
    measure: str | None = None
    base_uncertainty: float | None = None
    adapted_uncertainty: float | None = None
    blended: float | None = None
    blend_weight: float | None = None
    predicted: JsonValue = None
    confidence: float | None = None
    aleatoric: float | None = None
    epistemic: float | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A request to label one item. ``query_id`` is a function of campaign, item and attempt.

    ``rank`` counts from 1 within its round and purpose, in the order to ask: of a batch by score the most
    uncertain first. ``wanted`` is how many people are to answer. A ``buffer`` query is asked beyond the batch,
    so that nobody waits while the model trains; its round does not wait for it, and untouched it may be
    withdrawn. ``disputed``: it was closed without agreement among its annotators. ``control``: it was
    drawn at random for the control arm.
    """

    query_id: str
    item: Item
    round_index: int
    purpose: Role  # POOL: asked to learn from; AUDIT, CALIBRATION: held out
    rank: int
    reason: Reason
    attempt: int = 1
    wanted: int = 1
    state: QueryState = QueryState.OPEN
    buffer: bool = False
    disputed: bool = False
    control: bool = False


@dataclass(frozen=True, slots=True)
class ExternalTask:
    """Where a query lives in the annotation tool."""

    query_id: str
    annotator: str
    project: str
    task: str


@dataclass(frozen=True, slots=True)
class Ensured:
    """Where queries live now.

    Somebody had deleted the tasks of ``restored``, which were made again, and of ``dropped``, which were not
    (query ids).
    """

    tasks: tuple[ExternalTask, ...]
    restored: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Poll:
    """What an annotator returned, and where the next poll starts.

    ``gone``: queries ensured by this process whose tasks have been deleted since by somebody else.
    ``complete``: queries of which every annotation that there is now is among ``annotations``, with the moment
    at which the oldest task of each was made.
    """

    annotations: tuple[Annotation, ...]
    cursor: str | None = None
    gone: tuple[str, ...] = ()
    complete: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a round waits for: ``closed`` of its ``asked`` items, ``unlabelled`` of them without a label.

    ``answers`` counts the answers so far by annotator. ``place`` is where to label, ``until`` when the round
    closes at the latest.
    """

    closed: int
    asked: int
    unlabelled: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    place: str | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Categorical:
    """Predictions over a closed set of labels, by K samples of the posterior.

    ``log_probs_N_K_C``: float64 natural logs; each row sums to one after exp. Options that an item does
    not have are −inf at the end of its row. Sample k is the same function for every item.

    Raises:
        ValueError: wrong shape, NaN, or a row that is not a distribution.
    """

    item_ids: tuple[str, ...]
    log_probs_N_K_C: FloatArray

    def __post_init__(self) -> None:
        log_probs = self.log_probs_N_K_C
        if log_probs.ndim != 3 or log_probs.shape[0] != len(self.item_ids):
            raise ValueError(f"log_probs has shape {log_probs.shape}, expected ({len(self.item_ids)}, K, C)")
        if log_probs.dtype != np.float64:
            raise ValueError(f"log_probs is {log_probs.dtype}, expected float64")
        if np.isnan(log_probs).any() or (log_probs > 1e-6).any():
            raise ValueError("log_probs holds NaN or positive values")
        totals = np.exp(log_probs).sum(axis=-1)
        if totals.size and np.abs(totals - 1).max() > 1e-4:
            raise ValueError(f"a row sums to {totals.flat[np.abs(totals - 1).argmax()]:.6f}, not to 1")

    def __len__(self) -> int:
        return len(self.item_ids)


Predictions: TypeAlias = Categorical
"""What a learner answers. Categorical is the first of a tagged union; text, multi-label and spans follow."""


@dataclass(frozen=True, slots=True)
class BasePrediction:
    """What the frozen base model says of one item, (C,) float64 natural logs.

    ``log_prior_C`` is its answer to a content-free input (Zhao et al. 2021), for contextual calibration.
    """

    item_id: str
    log_probs_C: FloatArray
    log_prior_C: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of a round's ranking.

    ``aleatoric`` + ``epistemic`` is the entropy of the adapted model's predictive mean, in nats, null where
    it has one sample. ``samples`` is how many the item got; null without an adapter.
    """

    item_id: str
    rank: int
    base_uncertainty: float | None
    adapted_uncertainty: float | None
    blended: float
    aleatoric: float | None = None
    epistemic: float | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One bin (low, high] of a reliability diagram; ``confidence`` and ``accuracy`` are null when empty."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model on the held-out split of a round.

    ``model`` is ``base``, ``adapted`` or ``shadow`` (of the control arm); ``scaling`` is ``raw``,
    ``contextual`` or ``temperature``.
    Brier ranges 0 to 2; ECE uses 15 equal-width bins on the top-1 confidence (methods, section 9).
    ``confusion_C_C`` counts rows = true label, columns = predicted label.
    """

    model: str
    scaling: str
    split: Role
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    recall: Mapping[str, float | None]
    confusion_C_C: tuple[tuple[int, ...], ...]
    nll: float
    brier: float
    ece: float
    ece_equal_mass: float
    temperature: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class HeldOutPrediction:
    """What a round's model says of one audit or calibration item.

    ``log_probs_C``: the predictive mean, raw, (C,) float64 natural logs. ``uncertainty``: by the campaign's
    measure, over all samples; null for the shadow, and where the measure needs other items (EPIG).
    """

    item_id: str
    model: str  # adapted | shadow; a round without adapter has its base model as adapted
    log_probs_C: FloatArray
    uncertainty: float | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained artefact in the artefact folder, by content hash."""

    sha256: str
    kind: str
    path: str  # relative to the artefact folder
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of one uncertainty over the pool; ``edges`` has one more entry than ``counts``."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a campaign, as stored. Fields are null until the step that fills them.

    ``labels`` counts the labels trained on; ``labels_bought`` every human label there was when the round's
    model was measured (start, audit and calibration included), which is what that model cost.
    """

    index: int
    state: RoundState
    seed: int
    config: JsonObject
    versions: JsonObject = field(default_factory=dict)
    input_hash: str | None = None  # of the training snapshot and the config
    labels: int = 0
    labels_bought: int = 0
    shadow_labels: int | None = None  # that the shadow trained on; null without a control arm
    shadow_sha256: str | None = None
    sequence_low: float | None = (
        None  # confidence sequence of the adapted accuracy, valid in all rounds at once
    )
    sequence_high: float | None = None
    adapter_sha256: str | None = None
    samples: int | None = None
    temperature: float | None = None
    base_temperature: float | None = None
    temperature_note: str | None = None
    pool_size: int | None = None
    blend_weight: float | None = None
    blend_note: str | None = None  # how the weight came about, in words
    blend_curve: Sequence[
        tuple[float, float]
    ] = ()  # (weight, AUROC for held-out errors), where it was measured
    scores_sha256: str | None = None
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    stop_set: Mapping[str, int] = field(default_factory=dict)  # item id → predicted label index
    stop_agreement: float | None = None
    stop_reason: str | None = None
    stop_advice: str | None = None  # why it might be time to stop, where rules are advice
    asked: int = 0
    skipped: int = 0  # closed without a label, the disputed ones included
    disputed: int = 0
    agreement: float | None = None  # Krippendorff's alpha of the answers to what it asked
    seconds: Mapping[str, float] = field(default_factory=dict)  # step → seconds


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the append-only log: what a step did, how long it took."""

    step: str
    message: str
    round_index: int | None = None
    seconds: float | None = None
    detail: JsonObject = field(default_factory=dict)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A set of items read from one source; ``key`` is a hash of source, fields and task."""

    dataset_id: int
    key: str
    name: str
    ready: bool
    n_items: int
    n_duplicates: int = 0
    n_empty: int = 0


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as stored; ``config`` is the resolved specification it runs with.

    ``key`` is random, made with the campaign, and tells it from one of the same name in another database.
    """

    campaign_id: int
    name: str
    dataset_id: int
    config: JsonObject
    seed: int
    key: str


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One campaign of a study: a strategy and a seed."""

    strategy: str
    seed: int
    campaign: str


@dataclass(frozen=True, slots=True)
class Study:
    """Campaigns that are run to be compared; ``config`` is what they have in common."""

    name: str
    config: JsonObject
    runs: tuple[StudyRun, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a campaign. ``epoch`` rises with every take-over and fences late writers."""

    campaign_id: int
    owner: str
    epoch: int
