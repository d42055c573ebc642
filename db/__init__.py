"""Campaigns in SQLite or Postgres: ``db.store.SqlStore``, ``db.migrate.upgrade`` and ``db.migrate.check``.

store       the Store port: which method runs which function, in which kind of transaction
methods     the kinds: a method that reads, writes, or writes under a lease
datasets campaigns leases labels training_labels annotations rounds steps queries tasks base_predictions studies
event_log   the statements, as functions on a connection; the port documents their arguments
statements  the few statements that every table needs
engine      URL → connections, transactions that are retried and happen once
failures    which errors pass, and the others in words
columns     column types that behave the same on SQLite and Postgres
tables      the tables as Python reads them; the migrations alone define the schema
migrate     create, upgrade and compare the schema
"""
