"""For each scored item, aleatoric and epistemic uncertainty and the number of samples.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns in place; they are NULL in earlier rows."""
    op.add_column("scores", sa.Column("aleatoric", sa.Double(), nullable=True))
    op.add_column("scores", sa.Column("epistemic", sa.Double(), nullable=True))
    op.add_column("scores", sa.Column("samples", sa.Integer(), nullable=True))
