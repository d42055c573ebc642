"""What people answered, counted by the database: a summary must not load every query and answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    ScalarSelect,
    Subquery,
    case,
    cast,
    exists,
    func,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import aliased

from db.campaign_items import same_item
from db.columns import Json
from db.tables import AnnotationRow, CampaignItemRow, ItemRow, LabelRow, QueryRow
from star_al.types import AnswerCount


def answer_counts(
    connection: Connection, campaign_id: int, *, with_options: bool = False
) -> list[AnswerCount]:
    """How often each person gave each value; of several answers to one query a person's newest label counts."""
    answers = _in_force(campaign_id)
    asked = (QueryRow.campaign_id == campaign_id) & (QueryRow.query_id == answers.c.query_id)
    label = (  # for each row by its key: SQLite would scan a joined list of all labels for each
        select(LabelRow.value)
        .where(LabelRow.campaign_id == campaign_id, LabelRow.item_id == QueryRow.item_id)
        .order_by(LabelRow.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    options = _options(campaign_id) if with_options else null()
    rows = (
        select(
            answers.c.person,
            answers.c.skipped,
            case((answers.c.skipped, null()), else_=answers.c.value).label("value"),
            label.label("label"),
            type_coerce(options, Json).label("options"),
        )
        .select_from(answers)
        .join(QueryRow, asked)
        .where(answers.c.place == 1)
        .subquery()
    )
    counted = select(*rows.c, func.count()).group_by(*rows.c)
    counts: Iterable[Any] = connection.execute(counted)
    return [
        AnswerCount(person, None if skipped else given, label, tuple(options or ()), n)
        for person, skipped, given, label, options, n in counts
    ]


def lead_times(connection: Connection, campaign_id: int) -> dict[str, list[float]]:
    """Seconds that each person took for their answers, skips excluded, in any order."""
    chosen = select(AnnotationRow.annotator, AnnotationRow.lead_time).where(
        AnnotationRow.campaign_id == campaign_id,
        AnnotationRow.lead_time.is_not(null()),
        AnnotationRow.annotator != "",
        ~AnnotationRow.skipped,
        _is_newest(AnnotationRow),
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    rows: Iterable[Any] = connection.execute(chosen)
    for annotator, lead_time in rows:
        seconds[annotator].append(lead_time)
    return dict(seconds)


def _in_force(campaign_id: int) -> Subquery:
    """The answers that count; the one of each person to a query has the place 1."""
    other = aliased(AnnotationRow)
    kept = (
        exists()
        .where(
            other.campaign_id == campaign_id,
            other.query_id == AnnotationRow.query_id,
            ~other.withdrawn,
            _is_newest(other),
        )
        .correlate(AnnotationRow)
    )
    person = func.coalesce(func.nullif(AnnotationRow.annotator, ""), AnnotationRow.external_id)
    order = (
        cast(AnnotationRow.skipped, Integer),
        case((AnnotationRow.created_at.is_(null()), 1), else_=0),
        AnnotationRow.created_at.desc(),
        AnnotationRow.external_id.desc(),
    )
    place = func.row_number().over(partition_by=(AnnotationRow.query_id, person), order_by=order)
    return (
        select(
            AnnotationRow.query_id,
            AnnotationRow.value,
            AnnotationRow.skipped,
            person.label("person"),
            place.label("place"),
        )
        .where(
            AnnotationRow.campaign_id == campaign_id,
            _is_newest(AnnotationRow),
            or_(~AnnotationRow.withdrawn, ~kept),
        )
        .subquery()
    )


def _is_newest(row: type[AnnotationRow]) -> ColumnElement[bool]:
    """True for the newest revision of an annotation."""
    newer = aliased(AnnotationRow)
    return ~(
        exists()
        .where(
            newer.campaign_id == row.campaign_id,
            newer.tool == row.tool,
            newer.external_id == row.external_id,
            newer.revision > row.revision,
        )
        .correlate(row)
    )


def _options(campaign_id: int) -> ScalarSelect[Any]:
    """The options of a query's item."""
    joined = (CampaignItemRow.campaign_id == campaign_id) & (CampaignItemRow.item_id == QueryRow.item_id)
    return (
        select(ItemRow.options)
        .join(CampaignItemRow, same_item())
        .where(joined)
        .correlate(QueryRow)
        .scalar_subquery()
    )
