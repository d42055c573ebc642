"""Run migrations on the connection of ``db.migrate`` or, for developers, on ``alembic -x url=…``."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from db.engine import Database
from db.tables import Base


def run(connection: Connection) -> None:
    """Run the migrations of the command in the connection's transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    database = Database(context.get_x_argument(as_dictionary=True)["url"])
    database.write(run)
    database.close()
