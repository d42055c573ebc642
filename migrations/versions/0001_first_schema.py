"""The first schema: every table, and the view round_history.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.Text().with_variant(JSONB(), "postgresql")  # a SQLite column declared JSON would turn 1.0 into 1

HISTORY_COMMENT = (
    "One row a round. accuracy, accuracy_low, accuracy_high, macro_f1, nll, brier and ece are of the "
    "adapted model, scaled by its temperature where one was fitted, else raw. base_accuracy, base_nll "
    "and base_ece are of the base model, contextually calibrated where the campaign does so, else raw. "
    "nll in nats, brier 0 to 2, ece over 15 equal-width bins, seconds summed over the steps."
)

HISTORY_VIEW = """
CREATE VIEW round_history AS
SELECT
    campaigns.name AS campaign,
    rounds.round_index AS round,
    rounds.state,
    rounds.labels,
    rounds.labels_bought,
    adapted.accuracy,
    adapted.accuracy_low,
    adapted.accuracy_high,
    adapted.macro_f1,
    adapted.nll,
    adapted.brier,
    adapted.ece,
    base.accuracy AS base_accuracy,
    base.nll AS base_nll,
    base.ece AS base_ece,
    rounds.temperature,
    rounds.base_temperature,
    rounds.blend_weight,
    rounds.pool_size,
    rounds.asked,
    rounds.skipped,
    rounds.stop_agreement,
    rounds.seconds_total AS seconds,
    rounds.stop_reason
FROM rounds
JOIN campaigns ON campaigns.campaign_id = rounds.campaign_id
LEFT JOIN evaluations AS adapted
    ON adapted.campaign_id = rounds.campaign_id
    AND adapted.round_index = rounds.round_index
    AND adapted.model = 'adapted'
    AND adapted.scaling = CASE WHEN EXISTS (
        SELECT 1 FROM evaluations AS scaled
        WHERE scaled.campaign_id = rounds.campaign_id AND scaled.round_index = rounds.round_index
            AND scaled.model = 'adapted' AND scaled.scaling = 'temperature'
    ) THEN 'temperature' ELSE 'raw' END
LEFT JOIN evaluations AS base
    ON base.campaign_id = rounds.campaign_id
    AND base.round_index = rounds.round_index
    AND base.model = 'base'
    AND base.scaling = CASE WHEN EXISTS (
        SELECT 1 FROM evaluations AS calibrated
        WHERE calibrated.campaign_id = rounds.campaign_id AND calibrated.round_index = rounds.round_index
            AND calibrated.model = 'base' AND calibrated.scaling = 'contextual'
    ) THEN 'contextual' ELSE 'raw' END
ORDER BY campaigns.name, rounds.round_index
"""


def upgrade() -> None:
    """Create everything."""
    _data()
    _campaigns()
    _rounds()
    _queries()
    _history()


def _history() -> None:
    # SQLite keeps comments inside the statement, so `.schema round_history` shows it.
    op.execute(HISTORY_VIEW.replace("AS\nSELECT", f"AS\nSELECT  -- {HISTORY_COMMENT}", 1))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON VIEW round_history IS '{HISTORY_COMMENT}'")


def _data() -> None:
    """Data sets and their items, and base predictions."""
    op.create_table(
        "datasets",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("importer", sa.Text(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.Column("n_duplicates", sa.Integer(), nullable=False),
        sa.Column("n_empty", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_datasets")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_datasets_ready_key",
        "datasets",
        ["key"],
        unique=True,
        sqlite_where=sa.text("ready"),
        postgresql_where=sa.text("ready"),
    )
    op.create_table(
        "items",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("options", JSON, nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("fields", JSON, nullable=False),
        sa.Column("given_label", JSON, nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.dataset_id"], name=op.f("fk_items_dataset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "item_id", name=op.f("pk_items")),
    )
    op.create_table(
        "base_scores",
        sa.Column("base_key", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("log_probs", sa.LargeBinary(), nullable=False),
        sa.Column("log_prior", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("base_key", "item_id", name=op.f("pk_base_scores")),
        sqlite_with_rowid=False,
    )


def _campaigns() -> None:
    """Campaigns, the items that joined them, and their log."""
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("test_dataset_id", sa.Integer(), nullable=True),
        sa.Column("config", JSON, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.dataset_id"], name=op.f("fk_campaigns_dataset_id")
        ),
        sa.ForeignKeyConstraint(
            ["test_dataset_id"], ["datasets.dataset_id"], name=op.f("fk_campaigns_test_dataset_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("name", name=op.f("uq_campaigns_name")),
    )
    op.create_table(
        "campaign_items",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("from_round", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "role IN ('pool', 'test', 'audit', 'calibration')", name=op.f("ck_campaign_items_role")
        ),
        sa.CheckConstraint("from_round >= 0", name=op.f("ck_campaign_items_from_round")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.campaign_id"], name=op.f("fk_campaign_items_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id", "item_id"],
            ["items.dataset_id", "items.item_id"],
            name=op.f("fk_campaign_items_dataset_id_item_id"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "item_id", name=op.f("pk_campaign_items")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_campaign_items_dataset_id_item_id"),
        "campaign_items",
        ["dataset_id", "item_id"],
        unique=False,
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=True),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.campaign_id"], name=op.f("fk_events_campaign_id")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_campaign_id"), "events", ["campaign_id"], unique=False)


def _rounds() -> None:
    """Rounds: what each was trained on and what it measured."""
    op.create_table(
        "adapters",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_adapters")),
    )
    op.create_table(
        "rounds",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("versions", JSON, nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=True),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("labels_bought", sa.Integer(), nullable=False),
        sa.Column("adapter_sha256", sa.Text(), nullable=True),
        sa.Column("samples", sa.Integer(), nullable=True),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("base_temperature", sa.Double(), nullable=True),
        sa.Column("temperature_note", sa.Text(), nullable=True),
        sa.Column("pool_size", sa.Integer(), nullable=True),
        sa.Column("blend_weight", sa.Double(), nullable=True),
        sa.Column("scores_sha256", sa.Text(), nullable=True),
        sa.Column("histograms", JSON, nullable=False),
        sa.Column("stop_set", JSON, nullable=False),
        sa.Column("stop_agreement", sa.Double(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("seconds", JSON, nullable=False),
        sa.Column("seconds_total", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('started', 'fitted', 'evaluated', 'decided', 'scored', 'selected', 'pushed', "
            "'collected', 'stopped')",
            name=op.f("ck_rounds_state"),
        ),
        sa.CheckConstraint("round_index >= 0", name=op.f("ck_rounds_round_index")),
        sa.ForeignKeyConstraint(
            ["adapter_sha256"], ["adapters.sha256"], name=op.f("fk_rounds_adapter_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.campaign_id"], name=op.f("fk_rounds_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "round_index", name=op.f("pk_rounds")),
    )
    op.create_table(
        "labels",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("value", JSON, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_labels_version")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "item_id"],
            ["campaign_items.campaign_id", "campaign_items.item_id"],
            name=op.f("fk_labels_campaign_id_item_id"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "item_id", "version", name=op.f("pk_labels")),
    )
    op.create_table(
        "round_labels",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "item_id", "version"],
            ["labels.campaign_id", "labels.item_id", "labels.version"],
            name=op.f("fk_round_labels_campaign_id_item_id_version"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "round_index"],
            ["rounds.campaign_id", "rounds.round_index"],
            name=op.f("fk_round_labels_campaign_id_round_index"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "round_index", "item_id", name=op.f("pk_round_labels")),
    )
    op.create_table(
        "scores",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("base_uncertainty", sa.Double(), nullable=True),
        sa.Column("adapted_uncertainty", sa.Double(), nullable=True),
        sa.Column("blended", sa.Double(), nullable=False),
        sa.CheckConstraint("rank >= 1", name=op.f("ck_scores_rank")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "item_id"],
            ["campaign_items.campaign_id", "campaign_items.item_id"],
            name=op.f("fk_scores_campaign_id_item_id"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "round_index"],
            ["rounds.campaign_id", "rounds.round_index"],
            name=op.f("fk_scores_campaign_id_round_index"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "round_index", "item_id", name=op.f("pk_scores")),
    )
    op.create_table(
        "evaluations",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("scaling", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("accuracy_low", sa.Double(), nullable=False),
        sa.Column("accuracy_high", sa.Double(), nullable=False),
        sa.Column("macro_f1", sa.Double(), nullable=False),
        sa.Column("recall", JSON, nullable=False),
        sa.Column("confusion", JSON, nullable=False),
        sa.Column("nll", sa.Double(), nullable=False),
        sa.Column("brier", sa.Double(), nullable=False),
        sa.Column("ece", sa.Double(), nullable=False),
        sa.Column("ece_equal_mass", sa.Double(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.CheckConstraint("model IN ('base', 'adapted')", name=op.f("ck_evaluations_model")),
        sa.CheckConstraint(
            "scaling IN ('raw', 'contextual', 'temperature')", name=op.f("ck_evaluations_scaling")
        ),
        sa.CheckConstraint(
            "split IN ('pool', 'test', 'audit', 'calibration')", name=op.f("ck_evaluations_split")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "round_index"],
            ["rounds.campaign_id", "rounds.round_index"],
            name=op.f("fk_evaluations_campaign_id_round_index"),
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id", "round_index", "model", "scaling", name=op.f("pk_evaluations")
        ),
    )
    op.create_table(
        "calibration_bins",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("scaling", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id", "round_index", "model", "scaling"],
            [
                "evaluations.campaign_id",
                "evaluations.round_index",
                "evaluations.model",
                "evaluations.scaling",
            ],
            name=op.f("fk_calibration_bins_campaign_id_round_index_model_scaling"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id", "round_index", "model", "scaling", "position", name=op.f("pk_calibration_bins")
        ),
    )


def _queries() -> None:
    """Queries, their tasks, and their annotations."""
    op.create_table(
        "queries",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("base_uncertainty", sa.Double(), nullable=True),
        sa.Column("adapted_uncertainty", sa.Double(), nullable=True),
        sa.Column("blended", sa.Double(), nullable=True),
        sa.Column("reason", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('pool', 'test', 'audit', 'calibration')", name=op.f("ck_queries_purpose")
        ),
        sa.CheckConstraint("state IN ('open', 'labelled', 'skipped')", name=op.f("ck_queries_state")),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_queries_attempt")),
        sa.CheckConstraint("rank >= 1", name=op.f("ck_queries_rank")),
        sa.CheckConstraint("wanted >= 1", name=op.f("ck_queries_wanted")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "item_id"],
            ["campaign_items.campaign_id", "campaign_items.item_id"],
            name=op.f("fk_queries_campaign_id_item_id"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "query_id", name=op.f("pk_queries")),
        sa.UniqueConstraint(
            "campaign_id", "item_id", "attempt", name=op.f("uq_queries_campaign_id_item_id_attempt")
        ),
    )
    op.create_index(
        op.f("ix_queries_campaign_id_round_index"), "queries", ["campaign_id", "round_index"], unique=False
    )
    op.create_table(
        "external_tasks",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "query_id"],
            ["queries.campaign_id", "queries.query_id"],
            name=op.f("fk_external_tasks_campaign_id_query_id"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "query_id", "tool", name=op.f("pk_external_tasks")),
        sa.UniqueConstraint(
            "campaign_id",
            "tool",
            "project",
            "task",
            name=op.f("uq_external_tasks_campaign_id_tool_project_task"),
        ),
    )
    op.create_table(
        "annotations",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("value", JSON, nullable=True),
        sa.Column("skipped", sa.Boolean(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=True),
        sa.Column("lead_time", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mirrored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "query_id"],
            ["queries.campaign_id", "queries.query_id"],
            name=op.f("fk_annotations_campaign_id_query_id"),
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id", "tool", "external_id", "revision", name=op.f("pk_annotations")
        ),
    )
    op.create_index(
        op.f("ix_annotations_campaign_id_query_id"), "annotations", ["campaign_id", "query_id"], unique=False
    )
