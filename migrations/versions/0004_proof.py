"""To show that labels are saved: the control arm, confidence sequences, held-out predictions, studies.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.Text().with_variant(JSONB(), "postgresql")

HISTORY_COMMENT = (
    "One row a round. accuracy, accuracy_low, accuracy_high, macro_f1, nll, brier and ece are of the "
    "adapted model, scaled by its temperature where one was fitted, else raw. base_accuracy, base_nll "
    "and base_ece are of the base model, contextually calibrated where the campaign does so, else raw. "
    "nll in nats, brier 0 to 2, ece over 15 equal-width bins, seconds summed over the steps. skipped "
    "counts what was closed without a label, disputed those of them without agreement; agreement is the "
    "alpha of Krippendorff. sequence_low and sequence_high bound the accuracy in all rounds at once. "
    "shadow_accuracy is that of a model trained on shadow_labels random labels alone."
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
    rounds.disputed,
    rounds.agreement,
    rounds.stop_agreement,
    rounds.sequence_low,
    rounds.sequence_high,
    rounds.shadow_labels,
    shadow.accuracy AS shadow_accuracy,
    rounds.stop_advice,
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
LEFT JOIN evaluations AS shadow
    ON shadow.campaign_id = rounds.campaign_id
    AND shadow.round_index = rounds.round_index
    AND shadow.model = 'shadow'
    AND shadow.scaling = 'raw'
ORDER BY campaigns.name, rounds.round_index
"""


def upgrade() -> None:
    """Add columns in place; recreate the evaluations and their bins, which no table refers to."""
    op.execute("DROP VIEW round_history")
    op.add_column("queries", sa.Column("control", sa.Boolean(), server_default=sa.false(), nullable=False))
    _rounds()
    _evaluations()
    _held_out()
    _studies()
    _history()


def _rounds() -> None:
    for name in ("sequence_low", "sequence_high"):
        op.add_column("rounds", sa.Column(name, sa.Double(), nullable=True))
    for name in ("shadow_sha256", "blend_note", "stop_advice"):
        op.add_column("rounds", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("rounds", sa.Column("shadow_labels", sa.Integer(), nullable=True))
    op.add_column("rounds", sa.Column("blend_curve", JSON, server_default="[]", nullable=False))


def _evaluations() -> None:
    """Allow evaluations of a shadow; SQLite cannot change a constraint in place."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_evaluations_model"), "evaluations")
        op.create_check_constraint(
            op.f("ck_evaluations_model"), "evaluations", "model IN ('base', 'adapted', 'shadow')"
        )
        return
    for name in ("calibration_bins", "evaluations"):
        op.rename_table(name, f"{name}_before")
    _create_evaluations()
    for name in ("evaluations", "calibration_bins"):
        op.execute(f"INSERT INTO {name} SELECT * FROM {name}_before")
    for name in ("calibration_bins", "evaluations"):
        op.drop_table(f"{name}_before")


def _create_evaluations() -> None:
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
        sa.CheckConstraint("model IN ('base', 'adapted', 'shadow')", name=op.f("ck_evaluations_model")),
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


def _held_out() -> None:
    op.create_table(
        "held_out_predictions",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("log_probs", sa.LargeBinary(), nullable=False),
        sa.Column("uncertainty", sa.Double(), nullable=True),
        sa.CheckConstraint("model IN ('adapted', 'shadow')", name=op.f("ck_held_out_predictions_model")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "round_index"],
            ["rounds.campaign_id", "rounds.round_index"],
            name=op.f("fk_held_out_predictions_campaign_id_round_index"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "item_id"],
            ["campaign_items.campaign_id", "campaign_items.item_id"],
            name=op.f("fk_held_out_predictions_campaign_id_item_id"),
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id", "round_index", "model", "item_id", name=op.f("pk_held_out_predictions")
        ),
    )


def _studies() -> None:
    """Studies: campaigns that are run to be compared."""
    op.create_table(
        "studies",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )
    op.create_table(
        "study_runs",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.study_id"], name=op.f("fk_study_runs_study_id")),
        sa.PrimaryKeyConstraint("study_id", "strategy", "seed", name=op.f("pk_study_runs")),
    )


def _history() -> None:
    # SQLite keeps comments inside the statement, so `.schema round_history` shows it.
    op.execute(HISTORY_VIEW.replace("AS\nSELECT", f"AS\nSELECT  -- {HISTORY_COMMENT}", 1))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON VIEW round_history IS '{HISTORY_COMMENT}'")
