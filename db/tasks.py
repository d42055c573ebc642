"""Which task in the annotation tool belongs to which query; a task belongs to at most one query."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, func, select

from db.statements import pages, upsert
from db.tables import ExternalTaskRow
from star_al.types import ExternalTask


def save(connection: Connection, campaign_id: int, tasks: Sequence[ExternalTask]) -> None:
    """Store which task belongs to which query, taking the task from any other query; the last of ``tasks`` wins."""
    by_task = {(task.annotator, task.project, task.task): task for task in tasks}
    rows = [
        {
            "campaign_id": campaign_id,
            "query_id": task.query_id,
            "tool": task.annotator,
            "project": task.project,
            "task": task.task,
        }
        for task in by_task.values()
    ]
    _take_from_others(connection, rows)
    upsert(connection, ExternalTaskRow, rows, key=("campaign_id", "query_id", "tool"))


def _take_from_others(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Delete what ties these tasks to other queries."""
    others = delete(ExternalTaskRow).where(
        ExternalTaskRow.campaign_id == bindparam("campaign_id"),
        ExternalTaskRow.tool == bindparam("tool"),
        ExternalTaskRow.project == bindparam("project"),
        ExternalTaskRow.task == bindparam("task"),
        ExternalTaskRow.query_id != bindparam("query_id"),
    )
    for page in pages(rows):
        connection.execute(others, page)


def load(connection: Connection, campaign_id: int) -> list[ExternalTask]:
    """The tasks that hold queries, by query id."""
    columns = (ExternalTaskRow.query_id, ExternalTaskRow.tool, ExternalTaskRow.project, ExternalTaskRow.task)
    rows = connection.execute(select(*columns).where(ExternalTaskRow.campaign_id == campaign_id))
    return sorted((ExternalTask(*row) for row in rows), key=lambda one: (one.query_id, one.annotator))


def projects(connection: Connection, campaign_id: int) -> list[str]:
    """The projects that hold tasks, the one with most of them first."""
    counted = (
        select(ExternalTaskRow.project, func.count())
        .where(ExternalTaskRow.campaign_id == campaign_id)
        .group_by(ExternalTaskRow.project)
    )
    counts = [(-n, project) for project, n in connection.execute(counted)]
    return [project for _, project in sorted(counts)]


def forget(connection: Connection, campaign_id: int, query_ids: Sequence[str]) -> None:
    """Delete the tasks of a page of queries."""
    connection.execute(
        delete(ExternalTaskRow).where(
            ExternalTaskRow.campaign_id == campaign_id, ExternalTaskRow.query_id.in_(query_ids)
        )
    )
