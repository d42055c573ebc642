"""What this process knows of the project's tasks, and how it keeps that in step with the server."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from star_al.annotators.label_studio import tasks
from star_al.annotators.label_studio.annotations import parse_annotation
from star_al.annotators.label_studio.client import Client
from star_al.annotators.label_studio.known_annotations import KnownAnnotations
from star_al.annotators.label_studio.project import Project
from star_al.annotators.label_studio.tasks import ListedTask
from star_al.errors import AnnotatorError, AwayError

FULL_LISTING_EVERY = 300.0
"""Seconds after which all tasks are listed again, in case a change went unnoticed."""

LOOK_BACK = timedelta(seconds=60)
"""How far each look at changes reaches back before the previous one: time stamps are set before the commit."""


class KnownTasks:
    """The tasks of one project as far as this process knows them; ``refresh`` brings them up to date.

    Args:
        client: The server.
        project_id: The project.
        campaign_key: The key of our campaign.
        annotations: Where annotations that are met in the tasks are recorded.
        unsure: The choice that counts as a skip, if there is one.
    """

    def __init__(
        self,
        client: Client,
        project_id: int,
        campaign_key: str,
        annotations: KnownAnnotations,
        unsure: str | None,
    ) -> None:
        self.project_id = project_id
        self._client, self._campaign_key = client, campaign_key
        self._annotations, self._unsure = annotations, unsure
        self._tasks: dict[int, ListedTask] = {}
        self._by_query: dict[str, set[int]] = defaultdict(set)
        self._read: dict[int, tuple[str, set[str]]] = {}  # task → its creation time, ids of its annotations
        self._user_names: dict[int, str] = {}
        self._listed_at: float | None = None  # on the clock of time.monotonic
        self._changes_from: datetime | None = None  # on the server's clock
        self._overlap: object = None  # the project's; changing it changes tasks without a time stamp
        self._unaccounted = (0, 0)  # tasks and annotations that the project counts beyond those we know

    # -- in step with the server -----------------------------------------------------------------------

    def invalidate(self) -> None:
        """List everything at the next refresh, because the outcome of a request is unknown."""
        self._listed_at = None

    def refresh(self, project: Project) -> None:
        """Learn what has changed on the server, up to ``project``, its state just now."""
        since = self._changes_from
        overlap, self._overlap = self._overlap, project.settings.get("maximum_annotations")
        due = self._listed_at is None or time.monotonic() - self._listed_at > FULL_LISTING_EVERY
        if due or since is None or overlap != self._overlap:
            self._list_all(project)
        else:
            self._take_annotated(tasks.list_annotated(self._client, self.project_id, since - LOOK_BACK))
            if self._not_accounted_for(project) != self._unaccounted:
                self._list_all(project)
        self._changes_from = project.time

    def _list_all(self, project: Project) -> None:
        listed = tasks.list_tasks(self._client, self.project_id)
        annotated = tasks.list_annotated(self._client, self.project_id)
        self._tasks.clear()
        self._by_query.clear()
        self._take(listed)
        self._take_annotated(annotated)
        with_annotations = {task.task_id for task, _ in annotated}
        for task in listed:
            if task.task_id in self._read and task.task_id not in with_annotations:
                self._read_annotations(task, ())  # all that it had were deleted
        self._unaccounted, self._listed_at = self._not_accounted_for(project), time.monotonic()

    def _take(self, listed: Iterable[ListedTask]) -> None:
        for task in listed:
            self._tasks[task.task_id] = task
            if task.query_id is not None:
                self._by_query[task.query_id].add(task.task_id)

    def _take_annotated(self, annotated: Iterable[tuple[ListedTask, Sequence[Any]]]) -> None:
        for task, raws in annotated:
            known = self._tasks.get(task.task_id)
            if task.query_id is None and known is not None:  # without ``meta``, only its data names the query
                task = replace(task, query_id=known.query_id)
            self._take([task])
            self._read_annotations(task, raws)

    def _not_accounted_for(self, project: Project) -> tuple[int, int]:
        n_annotations = sum(task.n_annotations for task in self._tasks.values())
        return project.n_tasks - len(self._tasks), project.n_annotations - n_annotations

    def _read_annotations(self, task: ListedTask, raws: Sequence[Any]) -> None:
        """Record a task's annotations, and notice which of the earlier ones were deleted."""
        if task.query_id is None:
            return
        self._learn_names({raw.get("completed_by") for raw in raws})
        found = [parse_annotation(raw, task.query_id, self._user_names, self._unsure) for raw in raws]
        for annotation in found:
            self._annotations.record(annotation)
        ids = {annotation.external_id for annotation in found}
        created_at, ids_before = self._read.get(task.task_id, ("", set()))
        if created_at == task.created_at:  # otherwise that was another task of the same number
            for deleted in ids_before - ids:
                self._annotations.record_deletion(deleted)
        self._read[task.task_id] = (task.created_at, ids)

    def _learn_names(self, users: Collection[object]) -> None:
        """Look up the names of the organisation's members; a user who has left it keeps the number.

        Raises:
            AwayError: The names cannot be read now; a number instead would make two people of one.
        """
        unknown = {user for user in users if isinstance(user, int)} - self._user_names.keys()
        if not unknown:
            return
        try:
            members = self._client.get("api/users/").json
            members = members if isinstance(members, list) else members["results"]
        except AwayError:
            raise
        except AnnotatorError:  # the token's user may not see the members, now or later
            members = []
        self._user_names.update({user: str(user) for user in unknown})
        self._user_names.update({raw["id"]: raw.get("email") or raw.get("username") or "" for raw in members})

    # -- tasks by query --------------------------------------------------------------------------------

    def tasks_of(self, query_id: str) -> set[int]:
        """Ids of all tasks of a query."""
        return set(self._by_query.get(query_id, ()))

    def live_task(self, query_id: str, preferred: Mapping[str, int]) -> ListedTask | None:
        """The one task of a query that counts: the annotated one, else the preferred one, else the oldest.

        Args:
            query_id: The query.
            preferred: Task ids by query, as last stored.
        """
        return min(
            (self._tasks[task_id] for task_id in self._by_query.get(query_id, ())),
            key=lambda task: (-task.n_annotations, task.task_id != preferred.get(query_id), task.task_id),
            default=None,
        )

    def surplus(self, our_queries: Collection[str], preferred: Mapping[str, int]) -> list[int]:
        """Ids of the tasks without annotations that should not exist.

        These are second tasks of a query in ``our_queries``, and tasks that our campaign made for any other
        query. ``preferred`` is as in ``live_task``.
        """
        found: list[int] = []
        for query_id, here in self._by_query.items():
            if query_id in our_queries:
                live = self.live_task(query_id, preferred)
                found += here - {getattr(live, "task_id", None)}
            else:
                found += (task for task in here if self._tasks[task].campaign_key == self._campaign_key)
        return sorted(task for task in found if not self._tasks[task].n_annotations)

    def creation_times(self) -> dict[str, datetime]:
        """When the oldest task of each query was created; without those that this process has just created."""
        times = {
            query_id: [self._tasks[task].created_at for task in here]
            for query_id, here in self._by_query.items()
            if here
        }
        return {query_id: datetime.fromisoformat(min(each)) for query_id, each in times.items() if all(each)}

    # -- changes that this process makes ---------------------------------------------------------------

    def record_created(self, query_ids: Iterable[str], task_ids: Iterable[int], overlap: int) -> None:
        """This process has created tasks, one for each query."""
        self._take(
            ListedTask(task_id, query_id, "", overlap=overlap, campaign_key=self._campaign_key)
            for query_id, task_id in zip(query_ids, task_ids, strict=True)
        )

    def record_changed(self, task: ListedTask) -> None:
        """This process has changed a task."""
        self._tasks[task.task_id] = task

    def record_deleted(self, task_ids: Iterable[int]) -> None:
        """Tasks are gone."""
        for task_id in task_ids:
            task = self._tasks.pop(task_id, None)
            if task is not None and task.query_id is not None:
                self._by_query[task.query_id].discard(task_id)
