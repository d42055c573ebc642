"""Training labels by interval of rounds in place of a copy for each round; the stamp on a campaign's project.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

JSON = sa.Text().with_variant(JSONB(), "postgresql")

# A label version that rounds 2, 3, 4 and 6 trained on has two intervals: its round minus its place among them is 2,
# 2, 2 and 3. An interval that reaches the newest round stays open.
FILL = """
INSERT INTO training_labels (campaign_id, item_id, version, from_round, until_round)
SELECT
    runs.campaign_id,
    runs.item_id,
    runs.version,
    MIN(runs.round_index),
    CASE WHEN MAX(runs.round_index) = newest.round_index THEN NULL ELSE MAX(runs.round_index) + 1 END
FROM (
    SELECT
        campaign_id,
        item_id,
        version,
        round_index,
        round_index - ROW_NUMBER() OVER (
            PARTITION BY campaign_id, item_id, version ORDER BY round_index
        ) AS run
    FROM round_labels
) AS runs
JOIN (
    SELECT campaign_id, MAX(round_index) AS round_index FROM rounds GROUP BY campaign_id
) AS newest ON newest.campaign_id = runs.campaign_id
GROUP BY runs.campaign_id, runs.item_id, runs.version, runs.run, newest.round_index
"""


def upgrade() -> None:
    """Keep the same snapshots in fewer rows."""
    op.create_table(
        "training_labels",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("from_round", sa.Integer(), nullable=False),
        sa.Column("until_round", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("until_round > from_round", name=op.f("ck_training_labels_interval")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "item_id", "version"],
            ["labels.campaign_id", "labels.item_id", "labels.version"],
            name=op.f("fk_training_labels_campaign_id_item_id_version"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "item_id", "from_round", name=op.f("pk_training_labels")),
        sqlite_with_rowid=False,
    )
    op.execute(FILL)
    op.drop_table("round_labels")
    op.add_column("campaigns", sa.Column("project_stamp", JSON, nullable=True))
