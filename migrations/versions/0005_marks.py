"""Marks on a campaign: when it was archived or paused, and the last round that is to close as it is.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns in place; no campaign has a mark yet."""
    moment = sa.DateTime(timezone=True)
    op.add_column("campaigns", sa.Column("archived_at", moment, nullable=True))
    op.add_column("campaigns", sa.Column("paused_at", moment, nullable=True))
    op.add_column("campaigns", sa.Column("close_round", sa.Integer(), nullable=True))
