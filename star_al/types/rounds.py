"""A round of a campaign: its state, and what each step found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from star_al.types.json_values import JsonObject
from star_al.types.scores import Histogram


class RoundState(StrEnum):
    """The last step that a round has completed; the loop resumes with the one after it."""

    STARTED = "started"
    FITTED = "fitted"
    EVALUATED = "evaluated"
    DECIDED = "decided"
    SCORED = "scored"
    SELECTED = "selected"
    PUSHED = "pushed"
    COLLECTED = "collected"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained artefact in the artefact folder, by content hash."""

    sha256: str
    kind: str
    path: str  # relative to the artefact folder
    size_bytes: int


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
