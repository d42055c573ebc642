"""Where queries live in the annotation tool; in one place lives at most one query."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, select

from db.statements import pages, upsert
from db.tables import ExternalTaskRow
from star_al.types import ExternalTask


def save(connection: Connection, campaign_id: int, tasks: Sequence[ExternalTask]) -> None:
    """Remember where queries live; of several in one place the last, and no other that was there before."""
    in_place = {(task.annotator, task.project, task.task): task for task in tasks}
    rows = [
        {
            "campaign_id": campaign_id,
            "query_id": task.query_id,
            "tool": task.annotator,
            "project": task.project,
            "task": task.task,
        }
        for task in in_place.values()
    ]
    _vacate(connection, rows)
    upsert(connection, ExternalTaskRow, rows, key=("campaign_id", "query_id", "tool"))


def _vacate(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Remove other queries from the places that these rows are to take."""
    others = delete(ExternalTaskRow).where(
        ExternalTaskRow.campaign_id == bindparam("campaign_id"),
        ExternalTaskRow.tool == bindparam("tool"),
        ExternalTaskRow.project == bindparam("project"),
        ExternalTaskRow.task == bindparam("task"),
        ExternalTaskRow.query_id != bindparam("query_id"),
    )
    for page in pages(rows):
        connection.execute(others, page)


def find(connection: Connection, campaign_id: int) -> list[ExternalTask]:
    """All places, by query id."""
    columns = (ExternalTaskRow.query_id, ExternalTaskRow.tool, ExternalTaskRow.project, ExternalTaskRow.task)
    rows = connection.execute(select(*columns).where(ExternalTaskRow.campaign_id == campaign_id))
    return sorted((ExternalTask(*row) for row in rows), key=lambda one: (one.query_id, one.annotator))


def forget(connection: Connection, campaign_id: int, query_ids: Sequence[str]) -> None:
    """Remove the places of a page of queries."""
    connection.execute(
        delete(ExternalTaskRow).where(
            ExternalTaskRow.campaign_id == campaign_id, ExternalTaskRow.query_id.in_(query_ids)
        )
    )
