"""People who label in Label Studio, as the annotator of a campaign.

Nothing on the server is idempotent and any reply can be lost, so ``ensure`` works towards a target state: find
the project, list which queries have a task, repair, import the rest. If the outcome of a request is unknown,
wait until it can no longer take effect, then do the whole again. The promise: after the next poll each query
has one live task, and no annotation is lost or counted twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from star_al.annotators.label_studio import label_config, tasks
from star_al.annotators.label_studio.client import Client, Connection, replies_as_expected
from star_al.annotators.label_studio.known_annotations import KnownAnnotations
from star_al.annotators.label_studio.known_tasks import KnownTasks
from star_al.annotators.label_studio.markup import clean
from star_al.annotators.label_studio.notes import notes
from star_al.annotators.label_studio.ownership import Ownership, shared
from star_al.annotators.label_studio.payloads import payload
from star_al.annotators.label_studio.predictions import import_predictions, model_version, prediction
from star_al.annotators.label_studio.project import (
    Plan,
    Project,
    check_ownership,
    delete_empty_duplicates,
    ensure_project,
    find_project,
    needs_our_config,
    read_project,
    set_config,
    update_project,
)
from star_al.annotators.label_studio.project_end import EndedProjects, delete_projects
from star_al.annotators.label_studio.tasks import ListedTask
from star_al.annotators.label_studio.until_clear import until_clear
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.config.spec import LabelStudioSpec
from star_al.errors import AnnotatorError
from star_al.ports import LoadItems, StillOurs
from star_al.task import Task
from star_al.types import Campaign, Ensured, ExternalTask, Poll, Query


class LabelStudioAnnotator:
    """The people of one campaign. Implements ``ports.Annotator``; making one sends nothing to the server.

    Args:
        connection: The server.
        spec: The annotator section of the campaign file.
        task: The labels.
        campaign: The campaign.
        overlap: How many people usually answer a query.
        load_items: Loads the items of the queries that need a task, a page at a time.
        ownership: Tells whether the project may be used from this database; None accepts any.
    """

    name = "label_studio"

    def __init__(
        self,
        connection: Connection,
        spec: LabelStudioSpec,
        task: Task,
        campaign: Campaign,
        overlap: int,
        load_items: LoadItems,
        ownership: Ownership | None = None,
    ) -> None:
        self._client, self._spec, self._load_items = Client(connection), spec, load_items
        self._plan = Plan(spec, task, campaign, overlap)
        self._ownership = ownership or shared()
        self._annotations = KnownAnnotations()
        self._tasks: KnownTasks | None = None
        self._stored_tasks: dict[str, int] = {}  # query id → task id, as last reported
        self._our_queries: set[str] = set()  # queries that may have tasks
        self._ensured: dict[str, Query] = {}  # open queries that had a task at the end of the last ``ensure``
        self._item_ids: dict[str, str] = {}  # query id → item id, of queries that were open in this process
        self._ordered_by: str | None = None  # the model version that all open tasks are known to have

    @property
    def place(self) -> str | None:
        """The address of the project's task list; None before the first ``ensure``."""
        return None if self._tasks is None else self._url(self._tasks.project_id)

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Make each query exist as exactly one open task.

        Args:
            queries: All open queries of the campaign.
            known: Where queries of the campaign, open or closed, are known to live.
            still_ours: Called before each change on the server.

        Raises:
            AnnotatorError: The server cannot be reached or refuses; call again to continue.
        """
        before = {where.query_id: where for where in known if where.annotator == self.name}
        if not queries and not before and self._tasks is None:
            return Ensured(())  # without tasks there is no need for a project
        self._item_ids.update({query.query_id: query.item_id for query in queries})
        deleted: set[str] | None = None  # known queries that had no task when the server was first asked

        def once() -> KnownTasks:
            nonlocal deleted
            project, known_tasks = self._ensure_project(before, still_ours)
            self._stored_tasks = {key: int(where.task) for key, where in before.items()} | self._stored_tasks
            self._our_queries = before.keys() | {query.query_id for query in queries}
            self._delete_surplus(known_tasks, still_ours)
            missing = [query for query in queries if self._live_task(known_tasks, query) is None]
            if deleted is None:
                deleted = {query.query_id for query in missing} & before.keys()
            if self._spec.deleted == "drop":
                missing = [query for query in missing if query.query_id not in deleted]
            self._import(known_tasks, project, missing, queries, still_ours)
            self._order(known_tasks, project, queries, still_ours)
            self._set_overlaps(known_tasks, queries, still_ours)
            return known_tasks

        known_tasks = until_clear(self._client, self._forget, once)
        return self._report(known_tasks, queries, before, deleted or set())

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """Annotations that are new or changed since ``cursor``; also deletes surplus tasks that are blank.

        Raises:
            AnnotatorError: The server cannot be reached or refuses.
        """

        def once() -> tuple[str, ...]:
            project = self._find()
            if project is None:
                return ()
            known_tasks = self._refreshed(project)
            self._delete_surplus(known_tasks, still_ours)
            self._set_overlaps(known_tasks, list(self._ensured.values()), still_ours)
            return notes(self._plan, project, known_tasks, self._url(project.project_id))

        told = until_clear(self._client, self._forget, once)
        known_tasks = self._tasks
        complete = known_tasks.creation_times() if known_tasks is not None and cursor is None else {}
        return Poll(
            self._annotations.since(cursor),
            self._annotations.cursor,
            tuple(sorted(self._without_task(self._ensured))),
            complete,
            told,
        )

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Delete the tasks that nobody has touched; return the ids of the queries that now have no task.

        Raises:
            AnnotatorError: The server cannot be reached or refuses.
        """
        query_ids = [query.query_id for query in queries]

        def once() -> None:
            known_tasks = self._look()
            if known_tasks is not None:
                found = (task_id for query_id in query_ids for task_id in known_tasks.tasks_of(query_id))
                self._delete_untouched(known_tasks, sorted(found), still_ours)

        until_clear(self._client, self._forget, once)
        gone = self._without_task(query_ids)
        self._our_queries -= set(gone)
        for query_id in gone:
            self._ensured.pop(query_id, None)
        return gone

    def examine_project(self) -> str:
        """Describe the campaign's project in words; changes nothing.

        Raises:
            AnnotatorError: The project cannot be used, or the server cannot be reached.
        """
        self._plan.config()  # raises if a label cannot be part of it
        with replies_as_expected(self._client):
            project = find_project(self._client, self._plan, (), expected=False)
            if project is None:
                return f"new; `star-al run` creates it at {self._client.url}"
            replaced = needs_our_config(self._client, self._plan, project)
        counts = f"{count(project.n_tasks, 'task')}, {count(project.n_annotations, 'annotation')}"
        words = [f"{project.title}, {counts}, {self._url(project.project_id)}"]
        if replaced:
            words.append("`star-al run` replaces its label config")
        else:
            words += label_config.remarks(project.config, self._plan.task, self._spec.unsure)
        return "; ".join(words)

    def apply_label_config(self) -> str:
        """Put our label config into the campaign's project, whatever is there; return the project's address.

        Raises:
            AnnotatorError: There is no project yet, or the server does not accept the config.
        """

        def once() -> str:
            project = find_project(self._client, self._plan, (), expected=False)
            if project is None:
                raise AnnotatorError(
                    f"{self._client.url} has no project of campaign {self._plan.campaign.name!r} yet; "
                    "`star-al run` creates one."
                )
            set_config(self._client, self._plan, project, lambda: None)
            return self._url(project.project_id)

        return until_clear(self._client, self._forget, once)

    def delete_projects(self, still_ours: StillOurs) -> EndedProjects:
        """Delete the projects that were made for the campaign, as far as nothing else is in them.

        Raises:
            AnnotatorError: The server cannot be reached or refuses; call again to continue.
        """
        before: list[str] = []

        def once() -> EndedProjects:
            found = delete_projects(self._client, self._plan, still_ours)
            before.extend(found.deleted)
            return found

        found = until_clear(self._client, self._forget, once)
        return replace(found, deleted=tuple(before))

    # -- what is on the server -------------------------------------------------------------------------

    def _ensure_project(
        self, before: Mapping[str, ExternalTask], still_ours: StillOurs
    ) -> tuple[Project, KnownTasks]:
        """The project as it should be, and the tasks in it."""
        ids = [] if self._tasks is None else [self._tasks.project_id]
        ids += sorted({int(where.project) for where in before.values()} - set(ids), reverse=True)
        expected = bool(before or self._stored_tasks)
        project = ensure_project(
            self._client, self._plan, ids, still_ours, self._ownership, expected=expected
        )
        if self._tasks is None:
            delete_empty_duplicates(self._client, self._plan.campaign.key, project, still_ours)
        return project, self._refreshed(project)

    def _look(self) -> KnownTasks | None:
        """What is in the project now; None if there is none. Changes nothing."""
        project = self._find()
        return None if project is None else self._refreshed(project)

    def _find(self) -> Project | None:
        """The project as it is now; None if it was deleted or the server lost its database.

        Raises:
            AnnotatorError: Another database uses it.
        """
        if self._tasks is None:
            project = find_project(self._client, self._plan, (), expected=True)
        else:
            project = read_project(self._client, self._tasks.project_id)
        if project is None or self._plan.campaign.key not in project.campaign_keys:
            self._tasks = None
            return None
        check_ownership(self._client, project, self._ownership)
        return project

    def _refreshed(self, project: Project) -> KnownTasks:
        if self._tasks is None or self._tasks.project_id != project.project_id:
            self._tasks = KnownTasks(
                self._client,
                project.project_id,
                self._plan.campaign.key,
                self._annotations,
                self._spec.unsure,
                self._plan.task,
                self._sent_text,
            )
        self._tasks.refresh(project)
        return self._tasks

    def _sent_text(self, query_id: str) -> str | None:
        """The text that the task of a query was created with; None if the query was never open in this process."""
        item_id = self._item_ids.get(query_id)
        return None if item_id is None else clean(self._load_items([item_id])[0].text)

    def _live_task(self, known_tasks: KnownTasks, query: Query) -> ListedTask | None:
        return known_tasks.live_task(query.query_id, self._stored_tasks)

    def _without_task(self, query_ids: Collection[str]) -> tuple[str, ...]:
        """Those of the queries that have no task, as of the last look."""
        known_tasks = self._tasks
        return tuple(key for key in query_ids if known_tasks is None or not known_tasks.tasks_of(key))

    # -- changes on the server -------------------------------------------------------------------------

    def _delete_surplus(self, known_tasks: KnownTasks, still_ours: StillOurs) -> None:
        """Delete blank tasks that should not exist: second ones of a query, late ones of a withdrawn query."""
        surplus = known_tasks.surplus(self._our_queries, self._stored_tasks)
        self._delete_untouched(known_tasks, surplus, still_ours)

    def _delete_untouched(
        self, known_tasks: KnownTasks, task_ids: Sequence[int], still_ours: StillOurs
    ) -> None:
        if task_ids:
            still_ours()
            gone = tasks.delete_untouched(self._client, known_tasks.project_id, task_ids)
            known_tasks.record_deleted(gone)

    def _import(
        self,
        known_tasks: KnownTasks,
        project: Project,
        missing: Sequence[Query],
        queries: Sequence[Query],
        still_ours: StillOurs,
    ) -> None:
        """Create tasks for the queries that have none, the most uncertain first."""
        version = model_version(queries)
        ordered = sorted(missing, key=lambda query: (-(query.reason.blended or 0.0), query.rank))
        for chunk in tasks.import_chunks(self._payloads(ordered, version, project)):
            still_ours()
            task_ids = tasks.import_tasks(self._client, known_tasks.project_id, chunk)
            query_ids = [each["meta"][tasks.QUERY_KEY] for each in chunk]
            known_tasks.record_created(query_ids, task_ids, self._plan.overlap)

    def _payloads(
        self, queries: Sequence[Query], version: str | None, project: Project
    ) -> Iterator[dict[str, Any]]:
        """The tasks as they are imported; their texts are in memory for one chunk at a time."""
        for page in pages(queries, tasks.CHUNK_TASKS):
            items = self._load_items([query.item_id for query in page])
            for query, item in zip(page, items, strict=True):
                yield payload(self._plan, query, item, predicted=self._prediction(query, version, project))

    def _prediction(self, query: Query, version: str | None, project: Project) -> dict[str, Any] | None:
        return prediction(query, version, project.config, self._plan.task, show=self._spec.show_prediction)

    def _order(
        self, known_tasks: KnownTasks, project: Project, queries: Sequence[Query], still_ours: StillOurs
    ) -> None:
        """Have the server order all open tasks by their scores under the newest model version."""
        version, show = model_version(queries), self._spec.show_prediction
        if version is None or version == project.settings.get("model_version") == self._ordered_by:
            return
        lacking = tasks.tasks_without_predictions(self._client, known_tasks.project_id, version)
        n_scored, added = 0, []
        for query in queries:
            task = self._live_task(known_tasks, query)
            predicted = self._prediction(query, version, project)
            if task is not None and predicted is not None:
                n_scored += 1
                if task.task_id in lacking:
                    added.append({**predicted, "task": task.task_id})
        for _ in import_predictions(self._client, known_tasks.project_id, added):
            still_ours()
        if n_scored:  # the server does not accept a model version that no prediction has
            changes = {"model_version": version, "show_collab_predictions": show}
            update_project(self._client, project, changes, still_ours)
            self._ordered_by = version

    def _set_overlaps(self, known_tasks: KnownTasks, queries: Sequence[Query], still_ours: StillOurs) -> None:
        """Have the server give each task to as many people as still have to answer it.

        It gives a task to nobody once the task has as many annotations as its overlap, among them second ones of a
        person and refused ones. Such a task gets a larger overlap until enough people have answered it.
        """
        for query in queries:
            task = self._live_task(known_tasks, query)
            if task is None:
                continue
            done = task.n_answers >= query.wanted
            overlap = query.wanted + (0 if done else task.n_labels - task.n_answers)
            if task.overlap != overlap:
                still_ours()
                tasks.set_overlap(self._client, task.task_id, overlap, done=done)
                known_tasks.record_changed(replace(task, overlap=overlap))

    # -- results ---------------------------------------------------------------------------------------

    def _report(
        self,
        known_tasks: KnownTasks,
        queries: Sequence[Query],
        before: Mapping[str, ExternalTask],
        deleted: set[str],
    ) -> Ensured:
        """Where the open queries live, and closed ones that turned out to live elsewhere than was known."""
        asked = {query.query_id for query in queries}
        found = {key: known_tasks.live_task(key, self._stored_tasks) for key in asked | before.keys()}
        live = {
            key: ExternalTask(key, self.name, str(known_tasks.project_id), str(task.task_id))
            for key, task in found.items()
            if task is not None
        }
        self._stored_tasks.update({key: int(where.task) for key, where in live.items()})
        self._ensured = {query.query_id: query for query in queries if query.query_id in live}
        ordered = [query.query_id for query in queries]
        moved = [key for key in before if key not in asked and live.get(key, before[key]) != before[key]]
        return Ensured(
            tasks=tuple(live[key] for key in (*ordered, *moved) if key in live),
            restored=tuple(key for key in ordered if key in live and key in deleted),
            dropped=tuple(key for key in ordered if key not in live),
        )

    def _forget(self) -> None:
        """List all tasks at the next look, because the outcome of a request is unknown."""
        if self._tasks is not None:
            self._tasks.invalidate()

    def _url(self, project_id: int) -> str:
        return f"{self._client.url}/projects/{project_id}/data"
