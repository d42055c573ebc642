"""Graded answers: what their confidence is computed by.

Revision: 0012, after 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column, which is NULL in all that is there."""
    json = sa.Text().with_variant(JSONB(), "postgresql")
    op.add_column("rounds", sa.Column("platt", json, nullable=True))
