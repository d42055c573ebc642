"""Ballots: who answered what to each query, from its annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from star_al.labelling.crowd import Vote
from star_al.ports import Store
from star_al.task import Task
from star_al.types import Annotation, JsonValue, Query

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Refused:
    """An answer that is not a label of its item; it counts as a skip."""

    annotation: str  # the annotation's external id
    person: str
    item_id: str
    value: JsonValue


@dataclass(frozen=True)
class Ballot:
    """The answers to one query, the newest of each person, in the order in which people first answered.

    Attributes:
        query: The query.
        values: Labels of the task, by person.
        skips: People who skipped the item, or whose answer is not one of its labels.
        refused: Such answers.
    """

    query: Query
    values: Mapping[str, JsonValue]
    skips: frozenset[str]
    refused: tuple[Refused, ...]


def load_ballots(
    store: Store,
    campaign_id: int,
    task: Task,
    queries: Sequence[Query],
    annotations: Sequence[Annotation],
) -> dict[str, Ballot]:
    """``ballots_of`` with the options that the answered items have in the store; texts are not loaded.

    Args:
        store: The store to read options from.
        campaign_id: The campaign.
        task: The labels.
        queries: The queries to count answers of.
        annotations: Their annotations, with all revisions.

    Returns:
        Ballots by query id.
    """
    answered = {annotation.query_id for annotation in annotations}
    item_ids = {query.item_id for query in queries if query.query_id in answered}
    options = store.options(campaign_id, sorted(item_ids)) if task.has_options else {}
    return ballots_of(queries, annotations, options, task)


def ballots_of(
    queries: Sequence[Query],
    annotations: Sequence[Annotation],
    options: Mapping[str, Sequence[str]],
    task: Task,
) -> dict[str, Ballot]:
    """The ballot of each query, by query id.

    Args:
        queries: The queries.
        annotations: The answers, in any order, with all their revisions.
        options: Options of the items, by item id, for multiple choice.
        task: The labels.
    """
    answers = _in_force(annotations)
    return {
        query.query_id: _ballot(query, answers.get(query.query_id, ()), options.get(query.item_id, ()), task)
        for query in queries
    }


def newest_revisions(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The newest revision of each annotation."""
    ordered = sorted(annotations, key=lambda each: each.revision)
    return list({annotation.external_id: annotation for annotation in ordered}.values())


def votes_by_item(ballots: Iterable[Ballot]) -> list[Vote]:
    """All votes, with the item as their unit; if a person was asked about an item twice, the last vote."""
    latest = {
        (ballot.query.item_id, person): value
        for ballot in sorted(ballots, key=lambda each: each.query.attempt)
        for person, value in ballot.values.items()
    }
    return [Vote(item_id, person, value) for (item_id, person), value in latest.items()]


def votes_by_query(ballots: Iterable[Ballot]) -> list[Vote]:
    """All votes, with the query as their unit."""
    return [
        Vote(ballot.query.query_id, person, value)
        for ballot in ballots
        for person, value in ballot.values.items()
    ]


def _in_force(annotations: Sequence[Annotation]) -> dict[str, list[Annotation]]:
    """The annotations that count, by query, oldest first: the newest revision of each.

    A withdrawn annotation counts only if its query has no other.
    """
    by_query: dict[str, list[Annotation]] = {}
    for annotation in sorted(newest_revisions(annotations), key=_age):
        by_query.setdefault(annotation.query_id, []).append(annotation)
    return {
        query_id: [each for each in answers if not each.withdrawn] or answers
        for query_id, answers in by_query.items()
    }


def _age(annotation: Annotation) -> tuple[datetime, str]:
    return annotation.created_at or _LONG_AGO, annotation.external_id


def _ballot(query: Query, answers: Sequence[Annotation], options: Sequence[str], task: Task) -> Ballot:
    values: dict[str, JsonValue] = {}
    skips: set[str] = set()
    refused: list[Refused] = []
    for answer in answers:
        person = answer.annotator or answer.external_id
        if answer.skipped:
            values.pop(person, None)  # the newest answer of a person counts
            skips.add(person)
            continue
        label = task.find(options, answer.value)
        if label is None:
            skips.add(person)
            refused.append(Refused(answer.external_id, person, query.item_id, answer.value))
        else:
            values[person] = label
    return Ballot(query, values, frozenset(skips - values.keys()), tuple(refused))
