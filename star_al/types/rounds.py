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
    """One round of a campaign, as stored. Fields have their defaults until the step that fills them.

    Attributes:
        index: Number of the round, from 0.
        state: The last step that the round has completed.
        seed: Seed of the training.
        config: The settings that the round runs under.
        seconds: How long each step took, by its name.
        labels: How many labels the round trains on.
        labels_bought: How many human labels there were when its model was measured (those of the start, the
            audit and the calibration included): what that model cost.
        versions: Libraries, device and dtype, and the key of the base model.
        input_hash: Hash of all that determines the adapter: settings, seed and the snapshot of labels.
        adapter_sha256: The adapter; ``None`` if there was no label to train on.
        samples: Posterior samples of the adapter.
        shadow_labels: How many random labels the shadow trained on; ``None`` without a control arm.
        shadow_sha256: The shadow's adapter.
        temperature: Temperature of the round's model.
        base_temperature: Temperature of the base model.
        temperature_note: How the temperature came about.
        stop_set: Predicted column of each item of the stop set, by item id.
        stop_agreement: Agreement on the stop set with the round before.
        pool_size: How many items the round may choose from.
        sequence_low: Lower bound of the adapted accuracy, valid in all rounds at once.
        sequence_high: Upper bound of the same.
        stop_reason: Why the campaign stopped.
        stop_advice: Why it might be time to stop, if the rules only advise.
        scores_sha256: The score file; ``None`` if no scores were needed.
        asked: How many items the batch has.
        blend_weight: Weight of the adapted model in the blend; ``None`` without a blend.
        blend_note: How the weight came about.
        blend_curve: (weight, AUROC for held-out errors) pairs, if the weight was measured.
        histograms: Histograms of the pool's scores, by name: base, adapted, blended.
        skipped: Items closed without a label, including the disputed ones.
        disputed: Items closed because their annotators did not agree.
        agreement: Krippendorff's alpha of the answers to the round's queries.
    """

    index: int
    state: RoundState
    seed: int
    config: JsonObject
    seconds: Mapping[str, float] = field(default_factory=dict)
    labels: int = 0
    labels_bought: int = 0
    # fit
    versions: JsonObject = field(default_factory=dict)
    input_hash: str | None = None
    adapter_sha256: str | None = None
    samples: int | None = None
    shadow_labels: int | None = None
    shadow_sha256: str | None = None
    # evaluate
    temperature: float | None = None
    base_temperature: float | None = None
    temperature_note: str | None = None
    stop_set: Mapping[str, int] = field(default_factory=dict)
    stop_agreement: float | None = None
    # decide
    pool_size: int | None = None
    sequence_low: float | None = None
    sequence_high: float | None = None
    stop_reason: str | None = None
    stop_advice: str | None = None
    # score
    scores_sha256: str | None = None
    # select
    asked: int = 0
    blend_weight: float | None = None
    blend_note: str | None = None
    blend_curve: Sequence[tuple[float, float]] = ()
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    # collect
    skipped: int = 0
    disputed: int = 0
    agreement: float | None = None
