"""What people answered, counted by the database: a summary must not load every query and answer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Integer, Subquery, and_, case, cast, func, null, select

from db.campaign_items import same_item
from db.tables import AnnotationRow, CampaignItemRow, ItemRow, LabelRow, QueryRow
from star_al.types import AnswerCount


def answer_counts(connection: Connection, campaign_id: int) -> list[AnswerCount]:
    """How often each person gave each value; of several answers to one query a person's newest label counts."""
    answers, labels = _in_force(campaign_id), _labels(campaign_id)
    value = case((answers.c.skipped, null()), else_=answers.c.value)
    groups = (answers.c.person, answers.c.skipped, value, labels.c.value, ItemRow.options)
    counted = (
        select(*groups, func.count())
        .select_from(answers)
        .join(
            QueryRow,
            and_(QueryRow.campaign_id == campaign_id, QueryRow.query_id == answers.c.query_id),
        )
        .join(
            CampaignItemRow,
            and_(CampaignItemRow.campaign_id == campaign_id, CampaignItemRow.item_id == QueryRow.item_id),
        )
        .join(ItemRow, same_item())
        .outerjoin(labels, labels.c.item_id == QueryRow.item_id)
        .where(answers.c.place == 1)
        .group_by(*groups)
    )
    return [
        AnswerCount(person, None if skipped else given, label, tuple(options or ()), n)
        for person, skipped, given, label, options, n in connection.execute(counted)
    ]


def lead_times(connection: Connection, campaign_id: int) -> dict[str, list[float]]:
    """Seconds that each person took for their answers, skips excluded, in any order."""
    newest = _newest(campaign_id)
    chosen = select(newest.c.annotator, newest.c.lead_time).where(
        newest.c.age == 1,
        newest.c.lead_time.is_not(null()),
        newest.c.annotator.is_not(null()),
        newest.c.annotator != "",
        ~newest.c.skipped,
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    for annotator, lead_time in connection.execute(chosen):
        seconds[annotator].append(lead_time)
    return dict(seconds)


def _newest(campaign_id: int) -> Subquery:
    """All revisions; the newest of each annotation has the age 1."""
    age = func.row_number().over(
        partition_by=(AnnotationRow.tool, AnnotationRow.external_id), order_by=AnnotationRow.revision.desc()
    )
    columns: tuple[Any, ...] = (
        AnnotationRow.query_id,
        AnnotationRow.external_id,
        AnnotationRow.annotator,
        AnnotationRow.value,
        AnnotationRow.skipped,
        AnnotationRow.withdrawn,
        AnnotationRow.created_at,
        AnnotationRow.lead_time,
    )
    return select(*columns, age.label("age")).where(AnnotationRow.campaign_id == campaign_id).subquery()


def _in_force(campaign_id: int) -> Subquery:
    """The answers that count; the one of each person to a query has the place 1."""
    newest = _newest(campaign_id)
    person = func.coalesce(func.nullif(newest.c.annotator, ""), newest.c.external_id)
    withdrawn = cast(newest.c.withdrawn, Integer)
    current = (
        select(
            newest,
            person.label("person"),
            withdrawn.label("is_withdrawn"),
            func.min(withdrawn).over(partition_by=newest.c.query_id).label("all_withdrawn"),
        )
        .where(newest.c.age == 1)
        .subquery()
    )
    order = (
        cast(current.c.skipped, Integer),
        case((current.c.created_at.is_(null()), 1), else_=0),
        current.c.created_at.desc(),
        current.c.external_id.desc(),
    )
    place = func.row_number().over(partition_by=(current.c.query_id, current.c.person), order_by=order)
    return (
        select(current, place.label("place"))
        .where(current.c.is_withdrawn == current.c.all_withdrawn)
        .subquery()
    )


def _labels(campaign_id: int) -> Subquery:
    """The labels in force."""
    newest = (
        select(LabelRow.item_id, func.max(LabelRow.version).label("version"))
        .where(LabelRow.campaign_id == campaign_id)
        .group_by(LabelRow.item_id)
        .subquery()
    )
    same = (LabelRow.item_id == newest.c.item_id) & (LabelRow.version == newest.c.version)
    chosen = select(LabelRow.item_id, LabelRow.value).join(newest, same)
    return chosen.where(LabelRow.campaign_id == campaign_id).subquery()
