"""The mirror of annotators' answers, with all revisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sqlalchemy import Connection, insert, select

from db import queries
from db.columns import to_json
from db.statements import now, pages
from db.tables import AnnotationRow
from star_al.types import Annotation, JsonValue

_COLUMNS = (
    AnnotationRow.external_id,
    AnnotationRow.query_id,
    AnnotationRow.value,
    AnnotationRow.skipped,
    AnnotationRow.withdrawn,
    AnnotationRow.revision,
    AnnotationRow.annotator,
    AnnotationRow.lead_time,
    AnnotationRow.created_at,
)
"""The fields of an ``Annotation``, in order."""

_Answer: TypeAlias = tuple[str, bool, bool]


def mirror(
    connection: Connection, campaign_id: int, annotator: str, annotations: Sequence[Annotation]
) -> int:
    """Append a revision of each annotation that differs from its newest one; return how many.

    The caller holds the campaign's lock, so that nobody else counts revisions at the same time.
    """
    return sum(_mirror_page(connection, campaign_id, annotator, page) for page in pages(annotations))


def _mirror_page(
    connection: Connection, campaign_id: int, tool: str, annotations: Sequence[Annotation]
) -> int:
    asked = queries.known(connection, campaign_id, [annotation.query_id for annotation in annotations])
    newest = _newest(connection, campaign_id, tool, [annotation.external_id for annotation in annotations])
    moment = now(connection)
    rows = []
    for annotation in annotations:
        if annotation.query_id not in asked:
            continue
        revision, before = newest.get(annotation.external_id, (0, None))
        answer = _answer(annotation.value, annotation.skipped, annotation.withdrawn)
        if answer == before:
            continue
        newest[annotation.external_id] = (revision + 1, answer)
        rows.append(
            {
                "campaign_id": campaign_id,
                "tool": tool,
                "external_id": annotation.external_id,
                "revision": revision + 1,
                "query_id": annotation.query_id,
                "value": annotation.value,
                "skipped": annotation.skipped,
                "withdrawn": annotation.withdrawn,
                "annotator": annotation.annotator,
                "lead_time": annotation.lead_time,
                "created_at": annotation.created_at,
                "mirrored_at": moment,
            }
        )
    if rows:
        connection.execute(insert(AnnotationRow), rows)
    return len(rows)


def _newest(
    connection: Connection, campaign_id: int, tool: str, external_ids: Sequence[str]
) -> dict[str, tuple[int, _Answer | None]]:
    """Number and answer of the newest revision, by external id."""
    chosen = (
        select(
            AnnotationRow.external_id,
            AnnotationRow.revision,
            AnnotationRow.value,
            AnnotationRow.skipped,
            AnnotationRow.withdrawn,
        )
        .where(
            AnnotationRow.campaign_id == campaign_id,
            AnnotationRow.tool == tool,
            AnnotationRow.external_id.in_(external_ids),
        )
        .order_by(AnnotationRow.revision)
    )
    return {
        external_id: (revision, _answer(*answer))
        for external_id, revision, *answer in connection.execute(chosen)
    }


def _answer(value: JsonValue, skipped: bool, withdrawn: bool) -> _Answer:
    """What two revisions are compared by; equal JSON values give equal text."""
    return to_json(value, canonical=True), skipped, withdrawn


def load(
    connection: Connection, campaign_id: int, query_ids: Sequence[str] | None = None
) -> list[Annotation]:
    """All revisions, of some queries or all, ordered by external id and revision."""
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
