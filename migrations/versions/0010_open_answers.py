"""Open answers: what the columns of a prediction stand for, and the figures that go with them.

Revision: 0010, after 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.Text().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Add columns, which are NULL in all that is there; macro_f1 may be NULL from now on."""
    for table in ("base_scores", "held_out_predictions"):
        op.add_column(table, sa.Column("answers", JSON, nullable=True))
    op.add_column("base_scores", sa.Column("uncertainty", sa.Double(), nullable=True))
    op.add_column("held_out_predictions", sa.Column("signals", JSON, nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("evaluations", "macro_f1", nullable=True)
    else:
        _recreate_evaluations()
    op.add_column("evaluations", sa.Column("figures", JSON, nullable=True))


def _recreate_evaluations() -> None:
    """SQLite cannot change a column in place. Nothing refers to this table but the bins, which move too."""
    tables = ("evaluations", "calibration_bins")
    run = op.get_bind().exec_driver_sql  # as it is: a definition has colons that are no parameters
    definitions = {name: _definition(name) for name in (*tables, "round_history")}
    op.execute("DROP VIEW round_history")
    for name in reversed(tables):
        op.rename_table(name, f"{name}_before")
    required = "macro_f1 DOUBLE NOT NULL"
    if required not in definitions["evaluations"]:
        raise RuntimeError("the table evaluations is not as version 0009 made it")
    run(definitions["evaluations"].replace(required, "macro_f1 DOUBLE"))
    run(definitions["calibration_bins"])
    for name in tables:
        op.execute(f"INSERT INTO {name} SELECT * FROM {name}_before")
    for name in reversed(tables):
        op.drop_table(f"{name}_before")
    run(definitions["round_history"])


def _definition(name: str) -> str:
    """The statement that made a table or a view of SQLite."""
    found = op.get_bind().execute(sa.text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": name})
    return str(found.scalar_one())
