"""What a campaign knows of its items: role, label, and what people answered when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from star_al.data import GivenAnswer, Known
from star_al.labelling.ballots import newest_revisions
from star_al.ports import Store
from star_al.task import Task
from star_al.types import Annotation, Campaign, Label, Query, QueryState, Role

CONTROL = "control"
"""The role of pool texts that were drawn at random for the control arm."""


def known_items(store: Store, campaign: Campaign, task: Task) -> dict[str, Known]:
    """Return what is known of each item of a campaign, by item id."""
    campaign_id = campaign.campaign_id
    labels = store.labels(campaign_id)
    queries = store.queries(campaign_id)
    annotations = store.annotations(campaign_id)
    asked = _by_item(queries)
    answers = _answers(store, campaign_id, task, queries, annotations)
    plain = {role: Known(role.value, "not asked") for role in Role}  # one object for all that nobody asked
    return {
        item_id: _known(role, labels.get(item_id), asked.get(item_id, ()), answers.get(item_id, ()))
        if item_id in labels or item_id in asked
        else plain[role]
        for role in Role
        for item_id in store.item_ids(campaign_id, role)
    }


def _known(
    role: Role, label: Label | None, queries: Sequence[Query], answers: Sequence[GivenAnswer]
) -> Known:
    control = any(query.control for query in queries)
    newest = queries[-1] if queries else None
    return Known(
        role=CONTROL if control else role.value,
        status=_status(label, queries),
        label=label,
        round_index=label.round_index if label else newest.round_index if newest else None,
        answers=tuple(answers),
    )


def _status(label: Label | None, queries: Sequence[Query]) -> str:
    if label is not None:
        return "labelled"
    if any(query.state is QueryState.OPEN for query in queries):
        return "asked"
    return "disputed" if any(query.disputed for query in queries) else "skipped"


def _by_item(queries: Iterable[Query]) -> dict[str, list[Query]]:
    """The queries of each item, oldest attempt first."""
    found: dict[str, list[Query]] = defaultdict(list)
    for query in sorted(queries, key=lambda query: query.attempt):
        found[query.item_id].append(query)
    return found


def _answers(
    store: Store,
    campaign_id: int,
    task: Task,
    queries: Sequence[Query],
    annotations: Sequence[Annotation],
) -> Mapping[str, Sequence[GivenAnswer]]:
    """The answers in force about each item, oldest first."""
    item_of = {query.query_id: query.item_id for query in queries}
    kept = [each for each in newest_revisions(annotations) if not each.withdrawn]
    items = {item_of[each.query_id] for each in kept}
    options = store.options(campaign_id, sorted(items)) if task.has_options else {}
    found: dict[str, list[GivenAnswer]] = defaultdict(list)
    for each in kept:
        item_id = item_of[each.query_id]
        label = None if each.skipped else task.find(options.get(item_id, ()), each.value)
        found[item_id].append(
            GivenAnswer(each.annotator, label, each.skipped, each.created_at, each.lead_time)
        )
    for answers in found.values():
        answers.sort(key=lambda answer: answer.answered_at.timestamp() if answer.answered_at else 0.0)
    return found


def without_names(known: Mapping[str, Known]) -> dict[str, Known]:
    """The same with numbers in place of annotators' names, for data that others will read."""
    numbers: dict[str | None, str] = {}

    def numbered(answer: GivenAnswer) -> GivenAnswer:
        number = numbers.setdefault(answer.annotator, f"annotator {len(numbers) + 1}")
        return replace(answer, annotator=number)

    return {
        item_id: replace(each, answers=tuple(map(numbered, each.answers))) if each.answers else each
        for item_id, each in known.items()
    }
