"""What each scored item's uncertainty is made of, and how many samples it got.

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
    """Add the columns in place; earlier rows have none of them."""
    op.add_column("scores", sa.Column("aleatoric", sa.Double(), nullable=True))
    op.add_column("scores", sa.Column("epistemic", sa.Double(), nullable=True))
    op.add_column("scores", sa.Column("samples", sa.Integer(), nullable=True))
