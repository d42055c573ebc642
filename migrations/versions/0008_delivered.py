"""What the head taught the language model, and what is delivered of the two.

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON = sa.Text().with_variant(JSONB(), "postgresql")

EVALUATED = "model IN ('base', 'adapted', 'shadow', 'head', 'delivered')"

HISTORY_COMMENT = (
    "One row a round. accuracy, accuracy_low, accuracy_high, macro_f1, nll, brier and ece are of the "
    "adapted model, scaled by its temperature where one was fitted, else raw. base_accuracy, base_nll "
    "and base_ece are of the base model, contextually calibrated where the campaign does so, else raw. "
    "nll in nats, brier 0 to 2, ece over 15 equal-width bins, seconds summed over the steps. skipped "
    "counts what was closed without a label, disputed those of them without agreement; agreement is the "
    "alpha of Krippendorff. sequence_low and sequence_high bound the accuracy in all rounds at once. "
    "shadow_accuracy is that of a model trained on shadow_labels random labels alone. head_accuracy "
    "to head_ece are of the head beside a language model, scaled like those of the adapted model. "
    "taught_texts counts unlabelled texts that the adapted model learned with the answers of the head, each "
    "weighing taught_weight labels. delivered_accuracy to delivered_ece are of what the campaign delivers: "
    "the head and the adapted model by delivered_head_weight and delivered_adapted_weight, 0 for one that "
    "is left out."
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
    head.accuracy AS head_accuracy,
    head.accuracy_low AS head_accuracy_low,
    head.accuracy_high AS head_accuracy_high,
    head.macro_f1 AS head_macro_f1,
    head.nll AS head_nll,
    head.ece AS head_ece,
    rounds.taught_texts,
    rounds.taught_weight,
    rounds.delivered_head_weight,
    rounds.delivered_adapted_weight,
    delivered.accuracy AS delivered_accuracy,
    delivered.nll AS delivered_nll,
    delivered.ece AS delivered_ece,
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
LEFT JOIN evaluations AS head
    ON head.campaign_id = rounds.campaign_id
    AND head.round_index = rounds.round_index
    AND head.model = 'head'
    AND head.scaling = CASE WHEN EXISTS (
        SELECT 1 FROM evaluations AS scaled
        WHERE scaled.campaign_id = rounds.campaign_id AND scaled.round_index = rounds.round_index
            AND scaled.model = 'head' AND scaled.scaling = 'temperature'
    ) THEN 'temperature' ELSE 'raw' END
LEFT JOIN evaluations AS delivered
    ON delivered.campaign_id = rounds.campaign_id
    AND delivered.round_index = rounds.round_index
    AND delivered.model = 'delivered'
    AND delivered.scaling = 'raw'
ORDER BY campaigns.name, rounds.round_index
"""


def upgrade() -> None:
    """Add columns in place; recreate the evaluations with their bins."""
    op.execute("DROP VIEW round_history")
    op.add_column("rounds", sa.Column("taught_texts", sa.Integer(), nullable=True))
    for name in ("taught_weight", "delivered_head_weight", "delivered_adapted_weight"):
        op.add_column("rounds", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("rounds", sa.Column("delivered_note", sa.Text(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        name = op.f("ck_evaluations_model")
        op.drop_constraint(name, "evaluations")
        op.create_check_constraint(name, "evaluations", EVALUATED)
    else:
        _recreate()
    _history()


def _recreate() -> None:
    """SQLite cannot change a constraint in place. Nothing refers to this table but the bins, which move too."""
    tables = ("evaluations", "calibration_bins")
    for name in reversed(tables):
        op.rename_table(name, f"{name}_before")
    _create_evaluations()
    for name in tables:
        op.execute(f"INSERT INTO {name} SELECT * FROM {name}_before")
    for name in reversed(tables):
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
        sa.CheckConstraint(EVALUATED, name=op.f("ck_evaluations_model")),
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


def _history() -> None:
    # SQLite keeps comments inside the statement, so `.schema round_history` shows it.
    op.execute(HISTORY_VIEW.replace("AS\nSELECT", f"AS\nSELECT  -- {HISTORY_COMMENT}", 1))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON VIEW round_history IS '{HISTORY_COMMENT}'")
