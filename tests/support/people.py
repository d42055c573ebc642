"""An annotation tool in memory; its annotators do only what a test tells them to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from star_al.ports import LoadItems, StillOurs
from star_al.types import Annotation, Ensured, ExternalTask, JsonValue, Poll, Query, Waiting

START = datetime(2026, 1, 1, tzinfo=UTC)


class People:
    """A ``ports.Annotator`` whose tasks and annotations outlive the controller, as those of a server do."""

    name = "label_studio"
    place = "http://tool/1"

    def __init__(self, load_items: LoadItems) -> None:
        self._load_items = load_items
        self.tasks: dict[str, Query] = {}
        self.made: list[str] = []  # ids of the queries, each time that a task was made
        self.made_at: dict[str, datetime] = {}
        self.annotations: dict[str, Annotation] = {}
        self.touched: set[str] = set()
        self.script: list[object] = []  # what happens at each wait: a callable, in turn
        self.waits: list[Waiting] = []

    # -- what people do ----------------------------------------------------------------------------------

    def answer(self, person: str, query: Query, value: JsonValue = None, *, skip: bool = False) -> None:
        """Answer with ``value``, by default the item's own label, or skip."""
        assert query.query_id in self.tasks, "there is no such task"
        value = None if skip else (value if value is not None else self.gold(query))
        moment = START + timedelta(seconds=len(self.annotations))
        key = f"{person}-{query.query_id}"
        self.annotations[key] = Annotation(
            key, query.query_id, value, skipped=skip, annotator=person, created_at=moment
        )

    def gold(self, query: Query) -> JsonValue:
        """The item's own label."""
        (item,) = self._load_items([query.item_id])
        return item.fields["label"]

    def answer_all(self, person: str, *, first: int | None = None, of_round: int | None = None) -> None:
        """Answer the first ``first`` open tasks that the person has not answered, in order of rank."""
        done = {each.query_id for each in self.annotations.values() if each.annotator == person}
        open_ = [
            query
            for query in self.tasks.values()
            if query.query_id not in done and of_round in (None, query.round_index)
        ]
        for query in sorted(open_, key=lambda query: (query.round_index, query.rank))[:first]:
            self.answer(person, query)

    def take_back(self, person: str, query: Query) -> None:
        """Delete an answer."""
        del self.annotations[f"{person}-{query.query_id}"]

    def delete(self, query_id: str) -> None:
        """Delete a task and its answers in the tool."""
        del self.tasks[query_id], self.made_at[query_id]
        self.annotations = {key: each for key, each in self.annotations.items() if each.query_id != query_id}

    # -- what the controller sees ------------------------------------------------------------------------

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        seen = {task.query_id for task in known}
        missing = [query for query in queries if query.query_id not in self.tasks]
        for query in queries:
            self.tasks[query.query_id] = query
        self.made += [query.query_id for query in missing]
        now = START + timedelta(seconds=len(self.annotations))
        self.made_at.update({query.query_id: now for query in missing})
        restored = tuple(query.query_id for query in missing if query.query_id in seen)
        return Ensured(
            tuple(ExternalTask(query.query_id, self.name, "1", query.query_id) for query in queries), restored
        )

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        complete = self.made_at if cursor is None else {}
        return Poll(tuple(self.annotations.values()), "next", complete=complete)

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        busy = self.touched | {each.query_id for each in self.annotations.values()}
        gone = [query.query_id for query in queries if query.query_id not in busy]
        for query_id in gone:
            self.tasks.pop(query_id, None)
        return tuple(gone)

    def wait(self, waiting: Waiting) -> bool:
        """Run the next step of the script; stop waiting if there is none."""
        self.waits.append(waiting)
        if not self.script:
            return False
        happen = self.script.pop(0)
        assert callable(happen)
        happen()
        return True
