"""The tables as SQLAlchemy reads and writes them. The migrations create them; `db check` compares the two.

(campaign_id, round_index) identifies a round. Queries, labels and events have a round_index without a foreign
key, because audit and calibration items are asked, and events logged, before round 0 exists.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.columns import Floats, Json, Real, SafeText, UtcTime
from star_al.types import FloatArray, QueryState, Role, RoundState

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Naming rules and column types that all tables share."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {str: SafeText, float: Real, datetime: UtcTime, FloatArray: Floats, Any: Json}  # noqa: RUF012


def _one_of(column: str, values: type[Role] | type[RoundState] | type[QueryState]) -> CheckConstraint:
    names = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({names})", name=column)


def _to_round() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["campaign_id", "round_index"], ["rounds.campaign_id", "rounds.round_index"])


def _to_campaign_item() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["campaign_id", "item_id"], ["campaign_items.campaign_id", "campaign_items.item_id"]
    )


def _to_query() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["campaign_id", "query_id"], ["queries.campaign_id", "queries.query_id"])


class DatasetRow(Base):
    """Items read from one source."""

    __tablename__ = "datasets"

    dataset_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str]  # unique among ready data sets; several imports of the same data may be under way
    name: Mapped[str]
    importer: Mapped[str]
    ready: Mapped[bool] = mapped_column(default=False)
    n_items: Mapped[int] = mapped_column(default=0)
    n_duplicates: Mapped[int] = mapped_column(default=0)
    n_empty: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]

    __table_args__ = (
        Index(
            "uq_datasets_ready_key",
            "key",
            unique=True,
            sqlite_where=text("ready"),
            postgresql_where=text("ready"),
        ),
        {"sqlite_autoincrement": True},  # so that the id of an interrupted import is never used again
    )


class ItemRow(Base):
    """A text of a data set, identified by its content hash."""

    __tablename__ = "items"

    dataset_id: Mapped[int] = mapped_column(
        ForeignKey("datasets.dataset_id", ondelete="CASCADE"), primary_key=True
    )
    item_id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    options: Mapped[Any | None]  # multiple choice: a list of texts
    external_id: Mapped[str | None]
    fields: Mapped[Any] = mapped_column(nullable=False)
    given_label: Mapped[Any | None]


class CampaignRow(Base):
    """A campaign and its lease."""

    __tablename__ = "campaigns"

    campaign_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    key: Mapped[str]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.dataset_id"))
    test_dataset_id: Mapped[int | None] = mapped_column(ForeignKey("datasets.dataset_id"))
    config: Mapped[Any] = mapped_column(nullable=False)
    seed: Mapped[int] = mapped_column(BigInteger)
    lease_owner: Mapped[str | None]
    lease_epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_expires: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    close_round: Mapped[int | None]  # the last round closed by hand; -1: the labels before round 0
    project_stamp: Mapped[Any | None]  # of the annotation project, and of the database that it was put from
    created_at: Mapped[datetime]

    __table_args__ = (Index("uq_campaigns_key", "key", unique=True),)


class CampaignItemRow(Base):
    """An item in a campaign: its role, and the data set with its text."""

    __tablename__ = "campaign_items"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id"), primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[int]
    role: Mapped[str]
    from_round: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        ForeignKeyConstraint(["dataset_id", "item_id"], ["items.dataset_id", "items.item_id"]),
        Index(None, "dataset_id", "item_id"),  # without it, deleting an item scans this table
        _one_of("role", Role),
        CheckConstraint("from_round >= 0", name="from_round"),
        {"sqlite_with_rowid": False},
    )


class AdapterRow(Base):
    """A trained artefact in the artefact folder."""

    __tablename__ = "adapters"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    path: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class RoundRow(Base):
    """A round of a campaign. ``seconds_total`` is the sum of ``seconds`` over its steps."""

    __tablename__ = "rounds"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id"), primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    config: Mapped[Any] = mapped_column(nullable=False)
    versions: Mapped[Any] = mapped_column(nullable=False)
    input_hash: Mapped[str | None]
    labels: Mapped[int]
    labels_bought: Mapped[int]
    adapter_sha256: Mapped[str | None] = mapped_column(ForeignKey("adapters.sha256"))
    head_sha256: Mapped[str | None]
    shadow_labels: Mapped[int | None]
    shadow_sha256: Mapped[str | None]
    taught_texts: Mapped[int | None]  # unlabelled texts that the adapter learned with the head's answers
    taught_weight: Mapped[float | None]  # of such a text, against a labelled one
    delivered_head_weight: Mapped[float | None]
    delivered_adapted_weight: Mapped[float | None]
    delivered_note: Mapped[str | None]
    sequence_low: Mapped[float | None]
    sequence_high: Mapped[float | None]
    samples: Mapped[int | None]
    temperature: Mapped[float | None]
    adapted_temperature: Mapped[float | None]
    base_temperature: Mapped[float | None]
    temperature_note: Mapped[str | None]
    platt: Mapped[Any | None]  # weights of the probability that a graded answer is right
    pool_size: Mapped[int | None]
    blend_weight: Mapped[float | None]
    blend_head_weight: Mapped[float | None]
    blend_note: Mapped[str | None]
    blend_curve: Mapped[Any] = mapped_column(nullable=False)
    scores_sha256: Mapped[str | None]
    histograms: Mapped[Any] = mapped_column(nullable=False)
    shortlist: Mapped[Any | None]  # what was left out of the ranking, and what that may have missed
    stop_set: Mapped[Any] = mapped_column(nullable=False)
    stop_agreement: Mapped[float | None]
    stop_reason: Mapped[str | None]
    stop_advice: Mapped[str | None]
    asked: Mapped[int]
    skipped: Mapped[int]
    disputed: Mapped[int] = mapped_column(default=0)
    agreement: Mapped[float | None]
    seconds: Mapped[Any] = mapped_column(nullable=False)
    seconds_total: Mapped[float]
    created_at: Mapped[datetime]

    __table_args__ = (
        _one_of("state", RoundState),
        CheckConstraint("round_index >= 0", name="round_index"),
    )


class LabelRow(Base):
    """A version of an item's label. Rows are only appended; the highest version is in force."""

    __tablename__ = "labels"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(nullable=False)
    source: Mapped[str]
    round_index: Mapped[
        int | None
    ]  # that asked; for an imported label, the first that it counts for (NULL: all)
    created_at: Mapped[datetime]

    __table_args__ = (
        _to_campaign_item(),
        CheckConstraint("version >= 1", name="version"),
    )


class TrainingLabelRow(Base):
    """A label version that rounds trained on: those from ``from_round`` to the one before ``until_round``.

    Without ``until_round`` it counts for all later rounds as well, until one starts without it.
    """

    __tablename__ = "training_labels"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    from_round: Mapped[int] = mapped_column(primary_key=True)
    until_round: Mapped[int | None]
    version: Mapped[int]

    __table_args__ = (
        ForeignKeyConstraint(
            ["campaign_id", "item_id", "version"], ["labels.campaign_id", "labels.item_id", "labels.version"]
        ),
        CheckConstraint("until_round > from_round", name="interval"),
        {"sqlite_with_rowid": False},
    )


class BaseScoreRow(Base):
    """The prediction of a frozen base model for an item; all campaigns share it, and no data set owns it."""

    __tablename__ = "base_scores"

    base_key: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    log_probs: Mapped[FloatArray]
    log_prior: Mapped[FloatArray | None]
    answers: Mapped[Any | None]  # the values of the columns, where answers are open
    uncertainty: Mapped[float | None]

    __table_args__ = ({"sqlite_with_rowid": False},)


class ScoreTableRow(Base):
    """The top of a round's ranking. The round's score file has all scores."""

    __tablename__ = "scores"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    rank: Mapped[int]
    base_uncertainty: Mapped[float | None]
    adapted_uncertainty: Mapped[float | None]
    blended: Mapped[float]
    aleatoric: Mapped[float | None]  # adds up with epistemic to the entropy of the predictive mean, in nats
    epistemic: Mapped[float | None]
    samples: Mapped[int | None]  # how many posterior samples the item got
    head_uncertainty: Mapped[float | None]

    __table_args__ = (_to_round(), _to_campaign_item(), CheckConstraint("rank >= 1", name="rank"))


class QueryRow(Base):
    """A request to label an item. ``reason`` is complete; its uncertainties are also columns of their own."""

    __tablename__ = "queries"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str]
    attempt: Mapped[int]
    round_index: Mapped[int]
    purpose: Mapped[str]
    rank: Mapped[int]
    wanted: Mapped[int]
    state: Mapped[str]
    buffer: Mapped[bool] = mapped_column(default=False)
    disputed: Mapped[bool] = mapped_column(default=False)
    control: Mapped[bool] = mapped_column(default=False)
    base_uncertainty: Mapped[float | None]
    adapted_uncertainty: Mapped[float | None]
    blended: Mapped[float | None]
    reason: Mapped[Any] = mapped_column(nullable=False)
    created_at: Mapped[datetime]

    __table_args__ = (
        _to_campaign_item(),
        UniqueConstraint("campaign_id", "item_id", "attempt"),
        Index(None, "campaign_id", "round_index"),
        _one_of("purpose", Role),
        _one_of("state", QueryState),
        CheckConstraint("attempt >= 1", name="attempt"),
        CheckConstraint("wanted >= 1", name="wanted"),
        CheckConstraint("rank >= 1", name="rank"),
    )


class ExternalTaskRow(Base):
    """The task in the annotation tool that holds a query."""

    __tablename__ = "external_tasks"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[str] = mapped_column(primary_key=True)
    tool: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str]
    task: Mapped[str]

    __table_args__ = (_to_query(), UniqueConstraint("campaign_id", "tool", "project", "task"))


class AnnotationRow(Base):
    """One revision of one answer, as the annotation tool gave it. Never rewritten."""

    __tablename__ = "annotations"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    tool: Mapped[str] = mapped_column(primary_key=True)
    external_id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[str]
    value: Mapped[Any | None]
    skipped: Mapped[bool]
    withdrawn: Mapped[bool] = mapped_column(default=False)
    annotator: Mapped[str | None]
    lead_time: Mapped[float | None]
    created_at: Mapped[datetime | None]  # by the annotation tool's clock
    mirrored_at: Mapped[datetime]

    __table_args__ = (_to_query(), Index(None, "campaign_id", "query_id"))


class EvaluationRow(Base):
    """Metrics of one model under one scaling on a round's held-out split."""

    __tablename__ = "evaluations"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    scaling: Mapped[str] = mapped_column(primary_key=True)
    split: Mapped[str]
    n: Mapped[int]
    accuracy: Mapped[float]
    accuracy_low: Mapped[float]
    accuracy_high: Mapped[float]
    macro_f1: Mapped[float | None]
    recall: Mapped[Any] = mapped_column(nullable=False)
    confusion: Mapped[Any] = mapped_column(nullable=False)
    nll: Mapped[float]
    brier: Mapped[float]
    ece: Mapped[float]
    ece_equal_mass: Mapped[float]
    temperature: Mapped[float]
    figures: Mapped[Any | None]  # further figures of the kind of task, by key

    __table_args__ = (
        _to_round(),
        _one_of("split", Role),
        CheckConstraint("model IN ('base', 'adapted', 'shadow', 'head', 'delivered')", name="model"),
        CheckConstraint("scaling IN ('raw', 'contextual', 'temperature')", name="scaling"),
    )


class CalibrationBinRow(Base):
    """A bin of an evaluation's reliability diagram."""

    __tablename__ = "calibration_bins"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    scaling: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    low: Mapped[float]
    high: Mapped[float]
    count: Mapped[int]
    confidence: Mapped[float | None]
    accuracy: Mapped[float | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["campaign_id", "round_index", "model", "scaling"],
            [
                "evaluations.campaign_id",
                "evaluations.round_index",
                "evaluations.model",
                "evaluations.scaling",
            ],
            ondelete="CASCADE",
        ),
    )


class HeldOutPredictionRow(Base):
    """The prediction of a round's model for an audit or calibration item."""

    __tablename__ = "held_out_predictions"

    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    log_probs: Mapped[FloatArray]
    uncertainty: Mapped[float | None]
    answers: Mapped[Any | None]  # the values of the columns, where answers are open
    signals: Mapped[Any | None]  # what else the model told of the text, by name

    __table_args__ = (
        _to_round(),
        _to_campaign_item(),
        CheckConstraint("model IN ('adapted', 'shadow', 'head')", name="model"),
    )


class StudyRow(Base):
    """Campaigns that are run to be compared; ``config`` is what they have in common."""

    __tablename__ = "studies"

    study_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    config: Mapped[Any] = mapped_column(nullable=False)
    created_at: Mapped[datetime]


class StudyRunRow(Base):
    """One campaign of a study, by name, because it may not have been started yet."""

    __tablename__ = "study_runs"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.study_id"), primary_key=True)
    strategy: Mapped[str] = mapped_column(primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    campaign: Mapped[str]


class EventRow(Base):
    """A line of the append-only log."""

    __tablename__ = "events"

    event_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.campaign_id"), index=True)
    round_index: Mapped[int | None]
    step: Mapped[str]
    message: Mapped[str]
    seconds: Mapped[float | None]
    detail: Mapped[Any] = mapped_column(nullable=False)
    created_at: Mapped[datetime]
