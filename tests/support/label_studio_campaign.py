"""A campaign's annotator on a real server, for tests of the annotator alone."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from star_al.annotators.label_studio.annotator import LabelStudioAnnotator
from star_al.annotators.label_studio.client import Connection
from star_al.annotators.label_studio.ownership import Ownership
from star_al.config.spec import LabelStudioSpec, TaskSpec, task_spec
from star_al.task import make_task
from star_al.types import Campaign, Ensured, ExternalTask, Item, Poll, Query, Reason, Role
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio

CLASSES = task_spec({"kind": "classification", "labels": ["neg", "pos"]})
OPTIONS = task_spec({"kind": "multiple_choice"})


def ours() -> None:
    """Nobody else runs the campaign."""


class World:
    """A server, one campaign, its store's memory of tasks, and the annotator of the process of the day."""

    def __init__(self, server: LabelStudio, task: TaskSpec = CLASSES, overlap: int = 1, **spec: Any) -> None:
        self.server, self.key = server, uuid.uuid4().hex
        self.task, self.overlap, self.token = task, overlap, server.token
        self.spec: dict[str, Any] = {"timeout": 20.0, **spec}
        self.known: dict[str, ExternalTask] = {}
        self.stamps: list[str] | None = None  # that the database has put on the project
        self.items: dict[str, Item] = {}  # those that are not as ``item`` makes them
        self.owner = Person(server.url, server.token)
        self.restart()

    def restart(self) -> None:
        """Go on in a fresh process."""
        self.cursor: str | None = None
        self.annotator = LabelStudioAnnotator(
            Connection(self.server.url, self.token, self.spec["timeout"]),
            LabelStudioSpec(kind="label_studio", **self.spec),
            make_task(self.task),
            Campaign(1, "test campaign", 1, {}, 7, self.key),
            self.overlap,
            self._load_items,
            Ownership(lambda: self.stamps, self._keep_stamps),
        )

    def copy(self) -> World:
        """The same campaign in a copy of its database."""
        other = copy.copy(self)
        other.known = dict(self.known)
        other.restart()
        return other

    def _keep_stamps(self, stamps: Sequence[str]) -> None:
        self.stamps = list(stamps)

    def _load_items(self, item_ids: Sequence[str]) -> list[Item]:
        return [self.items.get(item_id) or item(item_id) for item_id in item_ids]

    def ensure(self, queries: Sequence[Query]) -> Ensured:
        ensured = self.annotator.ensure(queries, list(self.known.values()), ours)
        self.known.update({task.query_id: task for task in ensured.tasks})
        for query_id in ensured.dropped:
            self.known.pop(query_id, None)
        return ensured

    def poll(self) -> Poll:
        poll = self.annotator.poll(self.cursor, ours)
        self.cursor = poll.cursor
        return poll

    def task_of(self, query: Query) -> str:
        return self.known[query.query_id].task

    @property
    def project(self) -> str:
        place = self.annotator.place
        assert place is not None
        return place.split("/")[-2]

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks of the project as the server has them, by id."""
        path = f"/api/tasks/?project={self.project}&page_size=1000&fields=all"
        tasks: list[dict[str, Any]] = self.owner.call("get", path)["tasks"]
        return tasks

    def keys(self) -> list[str]:
        """The query of each task on the server, sorted."""
        return sorted(task["data"]["star_uid"] for task in self.tasks())


def queries(n: int, round_index: int = 1, start: int = 0, **changes: Any) -> list[Query]:
    """Queries whose uncertainty falls from one in equal steps."""
    return [
        replace(_query(start + position, round_index, 1.0 - position / n), **changes) for position in range(n)
    ]


def item(item_id: str) -> Item:
    """The item of one of ``queries``."""
    return Item(item_id, f"text {int(item_id.removeprefix('i-'))}")


def _query(number: int, round_index: int, blended: float) -> Query:
    return Query(
        query_id=f"q-{number:03d}",
        item_id=f"i-{number:03d}",
        round_index=round_index,
        purpose=Role.POOL,
        rank=number + 1,
        reason=Reason(f"reason {number}", "entropy", blended, blended, blended, 0.5, "pos", 0.75),
    )
