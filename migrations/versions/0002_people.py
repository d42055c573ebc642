"""For people who label: campaign keys, buffer and disputed queries, withdrawn answers, agreement of a round.

Revision: 0002, after 0001
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

HISTORY_COMMENT = (
    "One row a round. accuracy, accuracy_low, accuracy_high, macro_f1, nll, brier and ece are of the "
    "adapted model, scaled by its temperature where one was fitted, else raw. base_accuracy, base_nll "
    "and base_ece are of the base model, contextually calibrated where the campaign does so, else raw. "
    "nll in nats, brier 0 to 2, ece over 15 equal-width bins, seconds summed over the steps. skipped "
    "counts what was closed without a label, disputed those of them without agreement; agreement is the "
    "alpha of Krippendorff."
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
    """Add the columns in place: SQLite cannot rebuild a table that others refer to."""
    _campaign_keys()
    for table, column in (("queries", "buffer"), ("queries", "disputed"), ("annotations", "withdrawn")):
        op.add_column(table, sa.Column(column, sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("rounds", sa.Column("agreement", sa.Double(), nullable=True))
    op.add_column("rounds", sa.Column("disputed", sa.Integer(), server_default="0", nullable=False))
    _history()


def _campaign_keys() -> None:
    # SQLite adds a NOT NULL column only with a constant default; the unique index keeps the default out of use.
    op.add_column("campaigns", sa.Column("key", sa.Text(), server_default="", nullable=False))
    connection = op.get_bind()
    campaigns = sa.table("campaigns", sa.column("campaign_id"), sa.column("key"))
    for campaign_id in connection.scalars(sa.select(campaigns.c.campaign_id)).all():
        keyed = campaigns.update().where(campaigns.c.campaign_id == campaign_id).values(key=uuid.uuid4().hex)
        connection.execute(keyed)
    op.create_index("uq_campaigns_key", "campaigns", ["key"], unique=True)


def _history() -> None:
    op.execute("DROP VIEW round_history")
    # SQLite keeps comments inside the statement, so `.schema round_history` shows it.
    op.execute(HISTORY_VIEW.replace("AS\nSELECT", f"AS\nSELECT  -- {HISTORY_COMMENT}", 1))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON VIEW round_history IS '{HISTORY_COMMENT}'")
