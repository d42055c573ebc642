"""What this process knows of the project's tasks, and how it keeps that in step with the server."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta

from star_al.annotators.label_studio import tasks
from star_al.annotators.label_studio.annotations import Refused, parse_annotation, user_number
from star_al.annotators.label_studio.client import Client
from star_al.annotators.label_studio.known_annotations import KnownAnnotations
from star_al.annotators.label_studio.project import Project
from star_al.annotators.label_studio.tasks import ListedTask
from star_al.errors import AnnotatorError, AwayError
from star_al.task import Task
from star_al.types import Annotation

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
        task: The labels.
        sent_text: The text that the task of a query was created with; None if it is not known.
    """

    def __init__(
        self,
        client: Client,
        project_id: int,
        campaign_key: str,
        annotations: KnownAnnotations,
        unsure: str | None,
        task: Task,
        sent_text: Callable[[str], str | None],
    ) -> None:
        self.project_id = project_id
        self._client, self._campaign_key = client, campaign_key
        self._annotations, self._unsure, self._task = annotations, unsure, task
        self._sent_text = sent_text
        self._tasks: dict[int, ListedTask] = {}
        self._by_query: dict[str, set[int]] = defaultdict(set)
        self._read: dict[int, tuple[str, set[str]]] = {}  # task → its creation time, ids of its annotations
        self._refused: dict[int, list[Refused]] = {}  # task → those of its annotations that cannot be used
        self._edited: set[int] = set()  # tasks whose content somebody changed, and that got answers since
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

    def _take_annotated(self, annotated: Iterable[tuple[ListedTask, Sequence[object]]]) -> None:
        named = [(self._named(task), raws) for task, raws in annotated]
        self._take(task for task, _ in named if task.query_id is None)
        ours = [(task, raws) for task, raws in named if task.query_id is not None]
        numbers = (user_number(raw) for _, raws in ours for raw in raws)
        self._learn_names({number for number in numbers if number is not None})
        parsed = [(task, [self._parsed(raw, task) for raw in raws]) for task, raws in ours]
        unread = [
            task.task_id for task, each in parsed if task.content is None and any(map(self._is_new, each))
        ]
        contents = tasks.read_contents(self._client, self.project_id, unread)
        for task, each in parsed:
            self._read_annotations(replace(task, content=task.content or contents.get(task.task_id)), each)

    def _named(self, task: ListedTask) -> ListedTask:
        """The task with its query, which without ``meta`` only its data names."""
        known = self._tasks.get(task.task_id)
        return replace(task, query_id=known.query_id) if task.query_id is None and known is not None else task

    def _parsed(self, raw: object, task: ListedTask) -> Annotation | Refused:
        return parse_annotation(raw, task.query_id or "", self._user_names, self._unsure, self._task)

    def _is_new(self, found: Annotation | Refused) -> bool:
        return isinstance(found, Annotation) and not self._annotations.has(found)

    def _not_accounted_for(self, project: Project) -> tuple[int, int]:
        n_annotations = sum(task.n_annotations for task in self._tasks.values())
        return project.n_tasks - len(self._tasks), project.n_annotations - n_annotations

    def _read_annotations(self, task: ListedTask, found: Sequence[Annotation | Refused]) -> None:
        """Record a task's annotations, and notice which of the earlier ones were deleted."""
        usable = [each for each in found if isinstance(each, Annotation)]
        answers = {each.annotator or each.external_id for each in usable if not each.skipped}
        self._take([replace(task, n_answers=len(answers))])
        self._refused[task.task_id] = [each for each in found if isinstance(each, Refused)]
        if any(map(self._is_new, usable)):
            self._record_new(task, usable)
        ids = {each.external_id for each in found if each.external_id is not None}
        created_at, ids_before = self._read.get(task.task_id, ("", set()))
        if created_at == task.created_at:  # otherwise that was another task of the same number
            for deleted in ids_before - ids:
                self._annotations.record_deletion(deleted)
        self._read[task.task_id] = (task.created_at, ids)

    def _record_new(self, task: ListedTask, usable: Iterable[Annotation]) -> None:
        """Record answers, unless they are to another text than was sent; earlier ones were to the right text."""
        if self._was_edited(task):
            self._edited.add(task.task_id)
            return
        self._edited.discard(task.task_id)
        for annotation in usable:
            self._annotations.record(annotation)

    def _was_edited(self, task: ListedTask) -> bool:
        """Return whether the task's content is not what it was created with, as far as that is known."""
        if task.content is None or task.query_id is None:
            return False
        if task.sent is not None:
            return task.content != task.sent
        text = self._sent_text(task.query_id)  # an earlier version of star_al created it
        return text is not None and not tasks.shows_text(task.content, text)

    def _learn_names(self, users: AbstractSet[int]) -> None:
        """Look up the names of the organisation's members; a user who has left it keeps the number.

        Raises:
            AwayError: The names cannot be read now; a number instead would make two people of one.
        """
        unknown = users - self._user_names.keys()
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

    def refused(self) -> list[tuple[int, Refused]]:
        """The annotations that cannot be used, with the ids of their tasks."""
        return [
            (task, each)
            for task in sorted(self._refused)
            if task in self._tasks
            for each in self._refused[task]
        ]

    def edited(self) -> list[int]:
        """Ids of the tasks whose content somebody has changed, and whose newer answers are left out for that."""
        return sorted(self._edited & self._tasks.keys())

    def creation_times(self) -> dict[str, datetime]:
        """When the oldest task of each query was created.

        Left out are tasks that this process has just created, and queries with answers that are not recorded.
        """
        withheld = {task for task, _ in self.refused()} | self._edited
        times = {
            query_id: [self._tasks[task].created_at for task in here]
            for query_id, here in self._by_query.items()
            if here and not here & withheld
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
