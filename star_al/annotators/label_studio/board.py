"""What this process knows of the project's tasks and answers, and how it keeps that in step with the server."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from star_al.annotators.label_studio import answers, tasks
from star_al.annotators.label_studio.client import Server
from star_al.annotators.label_studio.project import Project
from star_al.annotators.label_studio.tasks import Row
from star_al.errors import AnnotatorError
from star_al.types import Annotation

FULL_EVERY = 300.0
"""Seconds after which everything is listed again, in case that a change went unnoticed."""

OVERLAP = timedelta(seconds=60)
"""How far each look at changes reaches back before the one before: a change is stamped before it is committed."""


class Seen:
    """Annotations that this process has met. A cursor is a place in the order in which it met them."""

    def __init__(self) -> None:
        self._life = uuid.uuid4().hex  # tells this process's cursors from those of an earlier one
        self._latest: dict[str, tuple[int, Annotation]] = {}
        self._count = 0

    @property
    def cursor(self) -> str:
        """Where the next look starts."""
        return f"{self._life}:{self._count}"

    def since(self, cursor: str | None) -> tuple[Annotation, ...]:
        """What came or changed after a cursor; everything for null, or for one of another process."""
        life, _, count = (cursor or "").partition(":")
        start = int(count) if life == self._life else 0
        return tuple(annotation for number, annotation in self._latest.values() if number > start)

    def add(self, annotation: Annotation) -> None:
        """Take in the newest state of one annotation."""
        if self._latest.get(annotation.external_id, (0, None))[1] != annotation:
            self._count += 1
            self._latest[annotation.external_id] = (self._count, annotation)

    def withdraw(self, external_id: str) -> None:
        """Its annotator took it back."""
        self.add(replace(self._latest[external_id][1], withdrawn=True))


class Board:
    """The tasks of one project, as far as they are known; ``refresh`` brings them up to date.

    ``campaign`` is the key of ours, ``unsure`` the answer that counts as a skip.
    """

    def __init__(
        self, server: Server, project_id: int, campaign: str, seen: Seen, unsure: str | None
    ) -> None:
        self.project_id = project_id
        self._server, self._campaign = server, campaign
        self._seen, self._unsure = seen, unsure
        self._rows: dict[int, Row] = {}
        self._by_key: dict[str, set[int]] = defaultdict(set)
        self._read: dict[int, tuple[str, set[str]]] = {}  # task → when it was read, its annotations' ids
        self._names: dict[int, str] = {}
        self._listed_at: float | None = None  # on the clock of time.monotonic
        self._changes_from: datetime | None = None  # on the server's clock
        self._overlap: object = None  # the project's; a change of it changes tasks without a stamp
        self._unaccounted = (0, 0)  # tasks and answers that the project counts beyond those we know

    def distrust(self) -> None:
        """Something unclear has happened: list everything before the next change."""
        self._listed_at = None

    def refresh(self, project: Project) -> None:
        """Learn what has changed on the server, up to ``project``, its state just now."""
        since = self._changes_from
        overlap, self._overlap = self._overlap, project.settings.get("maximum_annotations")
        due = self._listed_at is None or time.monotonic() - self._listed_at > FULL_EVERY
        if due or since is None or overlap != self._overlap:
            self._list_all(project)
        else:
            self._take(self._named(tasks.answered_since(self._server, self.project_id, since - OVERLAP)))
            if self._beyond(project) != self._unaccounted:
                self._list_all(project)
        self._changes_from = project.time
        self._read_answers()

    def _list_all(self, project: Project) -> None:
        rows = tasks.listing(self._server, self.project_id)
        self._rows.clear()
        self._by_key.clear()
        self._take(rows)
        self._unaccounted, self._listed_at = self._beyond(project), time.monotonic()

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._rows[row.task] = row
            if row.key is not None:
                self._by_key[row.key].add(row.task)

    def _named(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Rows with the keys that they had when all was listed: one without ``meta`` has it in its data."""
        for row in rows:
            known = self._rows.get(row.task)
            yield replace(row, key=known.key) if known is not None else row

    def _beyond(self, project: Project) -> tuple[int, int]:
        answered = sum(row.answers for row in self._rows.values())
        return project.tasks - len(self._rows), project.answers - answered

    def _read_answers(self) -> None:
        """Fetch the annotations of our tasks that have changed since they were read."""
        stale = {
            row.task: row
            for row in self._rows.values()
            if row.key is not None
            and (row.answers or row.task in self._read)
            and self._read.get(row.task, ("", ()))[0] != row.updated_at
        }
        for task, raws in tasks.with_annotations(self._server, self.project_id, sorted(stale)):
            row, read = stale[task], set()
            self._learn_names({raw.get("completed_by") for raw in raws})
            for raw in raws:
                annotation = answers.annotation(raw, row.key or "", self._names, self._unsure)
                self._seen.add(annotation)
                read.add(annotation.external_id)
            for gone in self._read.get(task, ("", set()))[1] - read:
                self._seen.withdraw(gone)
            self._read[task] = (row.updated_at, read)

    def _learn_names(self, users: Collection[object]) -> None:
        """Names of the organisation's members; one who has left it keeps the number."""
        unknown = {user for user in users if isinstance(user, int)} - self._names.keys()
        if not unknown:
            return
        try:
            members = self._server.get("api/users/").json
            members = members if isinstance(members, list) else members["results"]
        except AnnotatorError:
            members = []
        self._names.update({user: str(user) for user in unknown})
        self._names.update({raw["id"]: raw.get("email") or raw.get("username") or "" for raw in members})

    # -- tasks by query --------------------------------------------------------------------------------

    def live(self, key: str, preferred: Mapping[str, int]) -> Row | None:
        """The one task of a query that counts: annotated, else where it is known to be, else the oldest."""
        rows = [self._rows[task] for task in self._by_key.get(key, ())]
        return min(
            rows,
            key=lambda row: (-row.answers, row.task != preferred.get(key), row.task),
            default=None,
        )

    def surplus(self, ours: Collection[str], preferred: Mapping[str, int]) -> list[int]:
        """Blank tasks beyond the first of their query, or made by our campaign for a query not ``ours`` now."""
        found: list[int] = []
        for key, here in self._by_key.items():
            kept = self.live(key, preferred)
            unwanted = {task for task in here if self._rows[task].campaign == self._campaign}
            found += unwanted if key not in ours else here - {getattr(kept, "task", None)}
        return sorted(task for task in found if not self._rows[task].answers)

    def added(self, keys: Iterable[str], ids: Iterable[int], overlap: int) -> None:
        """Tasks that this process has made just now."""
        self._take(
            Row(task, key, "", 0, overlap, self._campaign) for key, task in zip(keys, ids, strict=True)
        )

    def removed(self, ids: Iterable[int]) -> None:
        """Tasks that are gone."""
        for task in ids:
            row = self._rows.pop(task, None)
            if row is not None and row.key is not None:
                self._by_key[row.key].discard(task)

    def tasks_of(self, key: str) -> set[int]:
        """All tasks of a query."""
        return set(self._by_key.get(key, ()))

    def note(self, row: Row) -> None:
        """A task as it is after a change of ours."""
        self._rows[row.task] = row
