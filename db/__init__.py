"""Campaigns in SQLite or Postgres: ``db.store.SqlStore``, ``db.migrate.upgrade`` and ``db.migrate.check``.

store       the Store port, one short method for each of its own
datasets campaigns leases labels annotations rounds queries base_scores record
            the statements, as functions of a connection
engine      URL → connections, transactions, retries, translated errors
tables      the tables as Python reads them; the migrations are the only author of the schema
"""
