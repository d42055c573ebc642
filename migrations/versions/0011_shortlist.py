"""Shortlists: what a round left out of its ranking, and what that may have missed.

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column, which is NULL in all that is there."""
    json = sa.Text().with_variant(JSONB(), "postgresql")
    op.add_column("rounds", sa.Column("shortlist", json, nullable=True))
