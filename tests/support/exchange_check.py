"""Check the exchange after a poll without faults: one live task a query, every label stored once, a sound store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from sqlalchemy import create_engine, text

from star_al.ports import Store
from star_al.types import Annotation, JsonValue, Label, Query, QueryState
from support.server_side import Json, ServerSide, answer_of, is_usable
from support.stored import label_versions


@dataclass
class Verdict:
    """The violations in words; all lists are empty if the exchange worked."""

    lost: list[str] = field(default_factory=list)  # an answer that the server has or had, and we do not
    doubled: list[str] = field(default_factory=list)  # an answer or a label counted twice
    tasks: list[str] = field(default_factory=list)  # a query that is not exactly one live task
    other: list[str] = field(default_factory=list)  # records that contradict each other, no end

    @property
    def complaints(self) -> list[str]:
        return [
            f"{name}: {what}"
            for name in ("lost", "doubled", "tasks", "other")
            for what in getattr(self, name)
        ]


def check(side: ServerSide, store: Store, campaign_id: int, given: set[int]) -> Verdict:
    """Compare server and store; ``given`` are the annotations that the server has confirmed to a person."""
    verdict = Verdict()
    by_key = side.by_key()
    _check_tasks(verdict, store, campaign_id, by_key)
    _check_mirror(verdict, store, campaign_id, by_key, given)
    _check_labels(verdict, store, campaign_id)
    return verdict


def check_sqlite(url: str) -> list[str]:
    """Return the errors that SQLite itself finds in the database at ``url``."""
    engine = create_engine(url)
    with engine.connect() as connection:
        whole = connection.execute(text("PRAGMA integrity_check")).scalar_one()
        dangling = connection.execute(text("PRAGMA foreign_key_check")).all()
    engine.dispose()
    return [*([] if whole == "ok" else [str(whole)]), *(f"dangling {row}" for row in dangling)]


def _check_tasks(verdict: Verdict, store: Store, campaign_id: int, by_key: dict[str, list[Json]]) -> None:
    """Check that each query has one task, that no blank task exists, and that the store knows where each task is."""
    known = {task.query_id: task for task in store.tasks(campaign_id)}
    queries = store.queries(campaign_id)
    for query in queries:
        tasks = by_key.get(query.query_id, [])
        if not tasks:
            verdict.tasks.append(f"query {query.query_id} ({query.state}) has no task")
            continue
        blank = [task["id"] for task in tasks if not task["annotations"]]
        if len(tasks) > 1 and blank:
            verdict.tasks.append(f"query {query.query_id} has {len(tasks)} tasks, of them blank: {blank}")
        places = {(str(task["project"]), str(task["id"])) for task in tasks}
        place = known.get(query.query_id)
        if place is None or (place.project, place.task) not in places:
            verdict.other.append(f"query {query.query_id} is at {places}, not at {place}")
    for key in by_key.keys() - {query.query_id for query in queries}:
        verdict.tasks.append(f"there is a task of {key}, which is no query")
    if still_open := [query.query_id for query in queries if query.state is QueryState.OPEN]:
        verdict.other.append(f"still open: {still_open}")


def _check_mirror(
    verdict: Verdict, store: Store, campaign_id: int, by_key: dict[str, list[Json]], given: set[int]
) -> None:
    """Check that every annotation is stored once and that its newest revision equals the server's."""
    newest: dict[str, Annotation] = {}
    for each in store.annotations(campaign_id):  # ordered by external id and revision
        newest[each.external_id] = each
    mirrored = {external_id.partition("@")[0]: each for external_id, each in newest.items()}
    for annotation_id, n in Counter(external_id.partition("@")[0] for external_id in newest).items():
        if n > 1:
            verdict.doubled.append(f"annotation {annotation_id} is here {n} times")
    there = {
        str(annotation["id"]): (key, annotation)
        for key, tasks in by_key.items()
        for task in tasks
        for annotation in task["annotations"]
        if is_usable(annotation)
    }
    for annotation_id, (key, annotation) in there.items():
        mine, answer = mirrored.get(annotation_id), answer_of(annotation)
        if mine is None:
            verdict.lost.append(f"annotation {annotation_id} of query {key} is not mirrored")
        elif mine.withdrawn or mine.query_id != key or (None if mine.skipped else mine.value) != answer:
            verdict.lost.append(f"annotation {annotation_id} of query {key} is {answer!r}, here {mine}")
    for annotation_id in {str(each) for each in given} - there.keys():
        verdict.lost.append(f"annotation {annotation_id} was confirmed and is no longer on the server")
    for annotation_id in mirrored.keys() - there.keys():
        if not mirrored[annotation_id].withdrawn:
            verdict.doubled.append(f"annotation {annotation_id} is here and not on the server")


def _check_labels(verdict: Verdict, store: Store, campaign_id: int) -> None:
    """Check that each label is one of the item's answers, belongs to the round that asked, and has no extra version."""
    answers: dict[str, list[JsonValue]] = {}
    for each in store.annotations(campaign_id):
        if not each.skipped:
            answers.setdefault(each.query_id, []).append(each.value)
    asked: dict[str, list[Query]] = {}
    for query in store.queries(campaign_id):
        asked.setdefault(query.item_id, []).append(query)
    for item_id, attempts in asked.items():
        given = [value for query in attempts for value in answers.get(query.query_id, [])]
        versions = label_versions(store, campaign_id, item_id)
        about = f"item {item_id}: answers {given}, label {versions}"
        if not any(query.state is QueryState.LABELLED for query in attempts):
            if versions or (given and not any(query.disputed for query in attempts)):
                verdict.lost.append(f"not labelled: {about}")
            continue
        rounds = {query.round_index for query in attempts}
        if not versions or versions[-1].value not in given or versions[0].round_index not in rounds:
            verdict.other.append(about)
        if len(versions) > len(given) or _repeats(versions):
            verdict.doubled.append(about)


def _repeats(versions: list[Label]) -> bool:
    return any(earlier.value == later.value for earlier, later in pairwise(versions))
