"""A round with many open queries on SQLite, whose people answer one query at a time."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import event

from db.store import SqlStore
from star_al.app.starting import create_campaign
from star_al.artefacts.folder import ArtefactFolder
from star_al.config.file import load_campaign
from star_al.labelling.inbox import Inbox
from star_al.labelling.queries import query_id
from star_al.parts import LeasedParts, Parts
from star_al.ports import Learner, StillOurs
from star_al.types import (
    Annotation,
    Ensured,
    Event,
    ExternalTask,
    Poll,
    Query,
    Reason,
    Role,
    Waiting,
)
from support.campaigns import FILLERS, write_campaign, write_jsonl
from support.databases import migrated_url
from support.quiet import Quiet


class OneByOne:
    """An annotation tool that has a task for every query, and returns what it is given."""

    name, place = "label_studio", "http://tool/1"

    def __init__(self) -> None:
        self.answers: tuple[Annotation, ...] = ()

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        return Ensured(tuple(ExternalTask(one.query_id, self.name, "1", one.query_id) for one in queries))

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        return Poll(self.answers, "next")

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        return ()


@dataclass
class Loaded:
    """What SQLite was asked and what it returned."""

    statements: int = 0
    rows: int = 0
    characters: int = 0


class Round:
    """Round 0 of a campaign with ``n`` open queries, of which ``answered`` have an answer each."""

    def __init__(
        self, folder: Path, n: int, *, characters: int = 60, answered: int = 0, **changes: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / "pool.jsonl", [text_row(number, characters) for number in range(n)])
        none = {"kind": "none", "calibration": 0}
        file = load_campaign(write_campaign(folder, **{"evaluation": none, **changes}))
        self.store = SqlStore.open(migrated_url("sqlite", folder))
        self.campaign = create_campaign(file, self.store, Quiet())
        campaign_id = self.campaign.campaign_id
        lease = self.store.acquire_lease(campaign_id, "test", 600.0, may_take=lambda _: True)
        self.queries = [
            Query(query_id(self.campaign.name, item_id, 1), item_id, 0, Role.POOL, rank, Reason("why"))
            for rank, item_id in enumerate(self.store.item_ids(campaign_id, Role.POOL), 1)
        ]
        self.store.add_queries(lease, self.queries, Event("select", "asked"))
        self.people = OneByOne()
        self.parts: LeasedParts = Parts(
            campaign=self.campaign,
            spec=file.spec,
            store=self.store,
            learner=cast(Learner, None),
            artefacts=ArtefactFolder(file.artefact_folder),
            progress=Quiet(),
        ).leased(lease, self.people, lambda _: False)
        self.inbox = Inbox(self.parts)
        self.turn = 0
        self.poll(answered)

    def poll(self, n: int = 1, value: str = "sport") -> Waiting:
        """One poll that brings ``n`` new answers, and how far the round is then."""
        asked = self.queries[self.turn : self.turn + n]
        self.turn += n
        self.people.answers = tuple(
            Annotation(f"a-{one.query_id}", one.query_id, value, annotator="ann") for one in asked
        )
        self.inbox.take_in()
        return self.store.waiting(self.campaign.campaign_id, 0, (Role.POOL,))

    @contextmanager
    def counted(self) -> Iterator[Loaded]:
        """Count what the store asks of SQLite meanwhile."""
        loaded = Loaded()

        def count_row(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
            loaded.rows += 1
            loaded.characters += sum(len(value) for value in row if isinstance(value, str))
            return row

        def count_statement(*_: object) -> None:
            loaded.statements += 1

        def watch(connection: Any, *_: object) -> None:
            connection.row_factory = count_row

        def unwatch(connection: Any, *_: object) -> None:
            connection.row_factory = None

        engine = self.store.database._engine
        listeners = (
            ("before_cursor_execute", count_statement),
            ("checkout", watch),
            ("checkin", unwatch),
        )
        for name, listener in listeners:
            event.listen(engine, name, listener)
        try:
            yield loaded
        finally:
            for name, listener in listeners:
                event.remove(engine, name, listener)

    def close(self) -> None:
        self.store.close()


def text_row(number: int, characters: int) -> dict[str, str]:
    words = random.Random(number).choices(FILLERS, k=characters // 5 + 1)
    return {"id": str(number), "text": f"{number} {' '.join(words)}"[:characters], "label": "sport"}
