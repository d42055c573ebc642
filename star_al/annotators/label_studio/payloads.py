"""A task as it is imported: what people see of a query, and what star_al finds it again by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_al.annotators.label_studio import tasks
from star_al.annotators.label_studio.controls import TEXT, control_of
from star_al.annotators.label_studio.label_config import WHY
from star_al.annotators.label_studio.markup import clean
from star_al.annotators.label_studio.project import Plan
from star_al.types import Item, Query


def payload(plan: Plan, query: Query, item: Item, *, predicted: Mapping[str, Any] | None) -> dict[str, Any]:
    """The task of a query.

    Args:
        plan: What the campaign needs.
        query: The query.
        item: Its item.
        predicted: Its prediction, if it has a score.
    """
    control = control_of(plan.task)
    data: dict[str, Any] = {
        TEXT: clean(item.text),
        **control.data(item, plan.spec.unsure, query.query_id),
    }
    if plan.spec.show_reason:
        data[WHY] = clean(query.reason.text)
    data[tasks.QUERY_KEY] = query.query_id
    meta = {
        tasks.QUERY_KEY: query.query_id,
        tasks.CAMPAIGN_KEY: plan.campaign.key,
        tasks.SENT_KEY: tasks.content_hash(data),
    }
    made: dict[str, Any] = {"data": data, "meta": meta}
    return made if predicted is None else {**made, "predictions": [predicted]}
