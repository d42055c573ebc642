"""A round of a campaign: its state, and what each step found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from star_al.types.json_values import JsonObject, JsonValue
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
class RoundFit:
    """What a round trained.

    Attributes:
        input_hash: Hash of all that determines what is trained: settings, seed and the snapshot of labels.
        versions: Libraries, device and dtype, and the key of the base model; those of the head under ``head``.
        adapter_sha256: The adapter; ``None`` if there was no label to train on, or it was not its turn.
        samples: Posterior samples of the adapter.
        shadow_labels: How many random labels the shadow trained on; ``None`` without a control arm.
        shadow_sha256: The shadow, which is of the same kind as what ranks the pool.
        head_sha256: The head beside a language model; ``None`` if there is none, or no label to train on.
        taught_texts: How many texts of the pool the adapter learned with the head's answers, beside those that
            people answered; ``None`` if there were none.
        taught_weight: What such a text counted, against one that people answered.
    """

    input_hash: str
    versions: JsonObject = field(default_factory=dict)
    adapter_sha256: str | None = None
    samples: int | None = None
    shadow_labels: int | None = None
    shadow_sha256: str | None = None
    head_sha256: str | None = None
    taught_texts: int | None = None
    taught_weight: float | None = None


@dataclass(frozen=True, slots=True)
class PlattScaling:
    """The probability that a graded answer counts as right, σ(intercept + Σ weight · feature).

    Attributes:
        intercept: The log-odds where all features are 0.
        nll: Weight of the mean negative log-likelihood of the likeliest answer's tokens, in nats.
        log_odds: Weight of the log-odds of the predicted answer's probability, before the temperature.
        length: Weight of the likeliest answer's length in tokens.
    """

    intercept: float
    nll: float
    log_odds: float
    length: float


@dataclass(frozen=True, slots=True)
class RoundEvaluation:
    """Temperatures of a round's models, and predictions on the stop set; the metrics are ``Evaluation`` records.

    Attributes:
        temperature: Temperature of the model that ranks the pool.
        base_temperature: Temperature of its base model.
        temperature_note: How the temperature came about.
        stop_set: What the ranking model predicts for each item of the stop set, by item id: a column of the task,
            or a value where answers are open.
        stop_agreement: Agreement on the stop set with the round before.
        adapted_temperature: Temperature of a language model that was trained beside the ranking head.
        delivered_head_weight: Weight of the head in what the round delivers; ``None`` if the round has not both a
            head and a language model.
        delivered_adapted_weight: Weight of the language model.
        delivered_note: How the weights came about.
        platt: What the confidence of the ranking model's answers is computed by where answers are graded; ``None``
            if it is the scaled probability of the answer.
    """

    temperature: float
    base_temperature: float
    temperature_note: str
    stop_set: Mapping[str, JsonValue] = field(default_factory=dict)
    stop_agreement: float | None = None
    adapted_temperature: float | None = None
    delivered_head_weight: float | None = None
    delivered_adapted_weight: float | None = None
    delivered_note: str | None = None
    platt: PlattScaling | None = None


@dataclass(frozen=True, slots=True)
class RoundDecision:
    """Whether the campaign stops at a round, and the figures that decided it.

    Attributes:
        pool_size: How many items the round may choose from.
        sequence_low: Lower bound of the adapted accuracy, valid in all rounds at once.
        sequence_high: Upper bound of the same.
        stop_reason: Why the campaign stopped; ``None`` if it goes on.
        stop_advice: Why it might be time to stop, if the rules only advise.
    """

    pool_size: int
    sequence_low: float | None = None
    sequence_high: float | None = None
    stop_reason: str | None = None
    stop_advice: str | None = None


@dataclass(frozen=True, slots=True)
class ShortlistRecord:
    """What a shortlist left out of a round's ranking, and what that may have missed.

    Attributes:
        pool: How many texts the round may choose from.
        scored: How many of them it scored.
        drawn: How many of those were drawn at random, not shortlisted.
        batch: How many texts the round chose by score.
        depth: From how many at the top of the ranking it chose them: as many, or more if the batch is diverse or
            balanced.
        missed: Unbiased estimate of how many texts that were not scored would score higher than number ``depth`` of the
            shortlist; ``None`` if nothing was drawn.
        missed_high: How many there are at most, with a confidence of 95 %.
    """

    pool: int
    scored: int
    drawn: int
    batch: int
    depth: int
    missed: float | None
    missed_high: int | None


@dataclass(frozen=True, slots=True)
class RoundSelection:
    """The batch of a round, and how the pool was ranked.

    Attributes:
        asked: How many items the batch has.
        blend_weight: Weight of the adapted model in the blend; ``None`` without a blend.
        blend_note: How the weight came about.
        blend_curve: (weight, AUROC for held-out errors) pairs, if the weight was measured.
        histograms: Histograms of the pool's scores, by name: base, adapted, head, blended.
        blend_head_weight: Weight of a head that is trained beside the adapted model and does not rank the pool;
            ``None`` if it has no part in the blend. The rest is the base model's.
        shortlist: What was left out of the ranking; ``None`` if all texts were scored.
    """

    asked: int
    blend_weight: float | None = None
    blend_note: str | None = None
    blend_curve: Sequence[tuple[float, float]] = ()
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    blend_head_weight: float | None = None
    shortlist: ShortlistRecord | None = None


@dataclass(frozen=True, slots=True)
class RoundCollection:
    """How labelling the batch of a round ended.

    Attributes:
        skipped: Items closed without a label, including the disputed ones.
        disputed: Items closed because their annotators did not agree.
        agreement: Krippendorff's alpha of the answers to the round's queries.
    """

    skipped: int = 0
    disputed: int = 0
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a campaign, as stored. The record of a step is ``None`` until the step has run.

    Attributes:
        index: Number of the round, from 0.
        state: The last step that the round has completed.
        seed: Seed of the training.
        config: The settings that the round runs under.
        seconds: How long each step took, by its name.
        labels: How many labels the round trains on.
        labels_bought: How many human labels there were when its model was measured (those of the start, the
            audit and the calibration included): what that model cost.
        fit: What the round trained.
        evaluation: Temperatures of its model, and its predictions on the stop set.
        decision: Whether the campaign stopped.
        scores_sha256: The score file; ``None`` also if no scores were needed.
        selection: The batch, and how the pool was ranked.
        collection: How labelling the batch ended.
    """

    index: int
    state: RoundState
    seed: int
    config: JsonObject
    seconds: Mapping[str, float] = field(default_factory=dict)
    labels: int = 0
    labels_bought: int = 0
    fit: RoundFit | None = None
    evaluation: RoundEvaluation | None = None
    decision: RoundDecision | None = None
    scores_sha256: str | None = None
    selection: RoundSelection | None = None
    collection: RoundCollection | None = None

    @property
    def adapter_sha256(self) -> str | None:
        """The adapter; None if there was no label to train on, or it has not been trained (yet) in this round."""
        return self.fit.adapter_sha256 if self.fit else None

    @property
    def head_sha256(self) -> str | None:
        """The head beside a language model; None if there is none, or nothing has been trained yet."""
        return self.fit.head_sha256 if self.fit else None

    @property
    def shadow_sha256(self) -> str | None:
        """The shadow's adapter; None if there is none."""
        return self.fit.shadow_sha256 if self.fit else None

    @property
    def stop_reason(self) -> str | None:
        """Why the campaign stopped; None if it did not."""
        return self.decision.stop_reason if self.decision else None
