"""The mirror of what annotators answered, revisions included."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from db.statements import insert_new, now, pages
from db.tables import AnnotationRow
from star_al.types import Annotation

_COLUMNS = (
    AnnotationRow.external_id,
    AnnotationRow.query_id,
    AnnotationRow.value,
    AnnotationRow.skipped,
    AnnotationRow.revision,
    AnnotationRow.annotator,
    AnnotationRow.lead_time,
    AnnotationRow.created_at,
)


def mirror(connection: Connection, campaign_id: int, tool: str, annotations: Sequence[Annotation]) -> int:
    """Keep each revision once; how many were new."""
    moment = now(connection)
    rows = [
        {
            "campaign_id": campaign_id,
            "tool": tool,
            "external_id": annotation.external_id,
            "revision": annotation.revision,
            "query_id": annotation.query_id,
            "value": annotation.value,
            "skipped": annotation.skipped,
            "annotator": annotation.annotator,
            "lead_time": annotation.lead_time,
            "created_at": annotation.created_at,
            "mirrored_at": moment,
        }
        for annotation in annotations
    ]
    return insert_new(connection, AnnotationRow, rows)


def find(connection: Connection, campaign_id: int, query_ids: Sequence[str] | None) -> list[Annotation]:
    """All revisions, or those of some queries, ordered by external id and revision."""
    chosen = select(*_COLUMNS).where(AnnotationRow.campaign_id == campaign_id)
    if query_ids is None:
        rows = connection.execute(chosen).all()
    else:
        rows = [
            row
            for page in pages(dict.fromkeys(query_ids))
            for row in connection.execute(chosen.where(AnnotationRow.query_id.in_(page)))
        ]
    return sorted((Annotation(*row) for row in rows), key=lambda one: (one.external_id, one.revision))
