"""A head as a part of the blend: its weight in each round, and its uncertainty in the rankings.

Revision: 0009, after 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns, which are NULL in all that is there."""
    op.add_column("rounds", sa.Column("blend_head_weight", sa.Double(), nullable=True))
    op.add_column("scores", sa.Column("head_uncertainty", sa.Double(), nullable=True))
