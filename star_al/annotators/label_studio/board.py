"""What this process knows of the project's tasks and answers, and how it keeps that in step with the server."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from star_al.annotators.label_studio import answers, tasks
from star_al.annotators.label_studio.client import Server
from star_al.annotators.label_studio.project import Project
from star_al.annotators.label_studio.tasks import Row
from star_al.errors import AnnotatorError, AwayError
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
        self._read: dict[int, tuple[str, set[str]]] = {}  # task → when it was made, ids of its annotations
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
            self._take_answered(tasks.answered(self._server, self.project_id, since - OVERLAP))
            if self._beyond(project) != self._unaccounted:
                self._list_all(project)
        self._changes_from = project.time

    def _list_all(self, project: Project) -> None:
        rows = tasks.listing(self._server, self.project_id)
        answered = tasks.answered(self._server, self.project_id)
        self._rows.clear()
        self._by_key.clear()
        self._take(rows)
        self._take_answered(answered)
        with_answers = {row.task for row, _ in answered}
        for row in rows:
            if row.task in self._read and row.task not in with_answers:
                self._read_task(row, ())  # what it had was taken back
        self._unaccounted, self._listed_at = self._beyond(project), time.monotonic()

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._rows[row.task] = row
            if row.key is not None:
                self._by_key[row.key].add(row.task)

    def _take_answered(self, answered: Iterable[tuple[Row, Sequence[Any]]]) -> None:
        for row, raws in answered:
            known = self._rows.get(row.task)
            if row.key is None and known is not None:  # without ``meta`` it has its key in its data alone
                row = replace(row, key=known.key)
            self._take([row])
            self._read_task(row, raws)

    def _beyond(self, project: Project) -> tuple[int, int]:
        n_answers = sum(row.answers for row in self._rows.values())
        return project.tasks - len(self._rows), project.answers - n_answers

    def _read_task(self, row: Row, raws: Sequence[Any]) -> None:
        """Meet a task's annotations, and notice those that its annotators took back."""
        if row.key is None:
            return
        self._learn_names({raw.get("completed_by") for raw in raws})
        met = [answers.annotation(raw, row.key, self._names, self._unsure) for raw in raws]
        for annotation in met:
            self._seen.add(annotation)
        ids = {annotation.external_id for annotation in met}
        made_at, ids_before = self._read.get(row.task, ("", set()))
        if made_at == row.made_at:  # else that was another task, of the same number
            for gone in ids_before - ids:
                self._seen.withdraw(gone)
        self._read[row.task] = (row.made_at, ids)

    def _learn_names(self, users: Collection[object]) -> None:
        """Names of the organisation's members; one who has left it keeps the number.

        Raises:
            AwayError: they cannot be had now; a number in their place would make two people of one.
        """
        unknown = {user for user in users if isinstance(user, int)} - self._names.keys()
        if not unknown:
            return
        try:
            members = self._server.get("api/users/").json
            members = members if isinstance(members, list) else members["results"]
        except AwayError:
            raise
        except AnnotatorError:  # the token's user may not see them, now and later
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
            Row(task, key, "", overlap=overlap, campaign=self._campaign)
            for key, task in zip(keys, ids, strict=True)
        )

    def removed(self, ids: Iterable[int]) -> None:
        """Tasks that are gone."""
        for task in ids:
            row = self._rows.pop(task, None)
            if row is not None and row.key is not None:
                self._by_key[row.key].discard(task)

    def made(self) -> dict[str, datetime]:
        """When the oldest task of each query was made; those that this process made just now are left out."""
        moments = {
            key: [self._rows[task].made_at for task in here] for key, here in self._by_key.items() if here
        }
        return {key: datetime.fromisoformat(min(made)) for key, made in moments.items() if all(made)}

    def tasks_of(self, key: str) -> set[int]:
        """All tasks of a query."""
        return set(self._by_key.get(key, ()))

    def note(self, row: Row) -> None:
        """A task as it is after a change of ours."""
        self._rows[row.task] = row
