"""A simulated annotator that answers from a column of the data, with a given accuracy and share of skips."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from star_al.common.paging import pages
from star_al.config.spec import OracleSpec
from star_al.data.item_labels import gold_answer, is_tie
from star_al.errors import DataError
from star_al.ports import LoadItems, StillOurs
from star_al.rng import derive_seed, keyed_uniform
from star_al.task import Task
from star_al.types import Annotation, Ensured, ExternalTask, Item, JsonValue, Poll, Query

PAGE = 1_000
"""Items that are in memory at once."""


class Oracle:
    """Answers each query at once, by as many simulated people as the query wants. Implements ``ports.Annotator``.

    A person's answer to an item depends only on the seed, the item, the person and the specification, not on the
    order or the round. Each attempt at an item is answered by different people. Queries are kept in memory only:
    a restarted controller ensures its open queries again, and a cursor of an earlier process counts as None.
    Everybody skips a text whose repeated rows have several labels equally often.

    Args:
        spec: The gold column, accuracy and share of skips.
        task: The labels.
        seed: The campaign's seed.
        load_items: Gives the items of queries, a page at a time.
    """

    name = "oracle"
    place = None

    def __init__(self, spec: OracleSpec, task: Task, seed: int, load_items: LoadItems) -> None:
        self._spec, self._task, self._seed, self._load_items = spec, task, seed, load_items
        self._queries: dict[str, Query] = {}
        self._process = uuid.uuid4().hex  # tells cursors of this process from those of an earlier one

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Remember the queries; one that is known stays as it is."""
        for query in queries:
            self._queries.setdefault(query.query_id, query)
        return Ensured(
            tuple(ExternalTask(query.query_id, self.name, self.name, query.query_id) for query in queries)
        )

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """The annotations of each query ensured since ``cursor``.

        Raises:
            DataError: An item's gold column is missing or empty, or its value is not a label of the item.
        """
        process, _, count = (cursor or "").partition(":")
        seen = int(count) if process == self._process else 0
        new = list(self._queries.values())[seen:]
        annotations = [annotation for page in pages(new, PAGE) for annotation in self._page(page)]
        return Poll(tuple(annotations), cursor=f"{self._process}:{len(self._queries)}")

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Withdraw nothing: every query is answered as soon as it is made."""
        return ()

    def _page(self, queries: Sequence[Query]) -> list[Annotation]:
        items = self._load_items([query.item_id for query in queries])
        return [
            self._annotation(query, item, _person(query.attempt, n))
            for query, item in zip(queries, items, strict=True)
            for n in range(1, query.wanted + 1)
        ]

    def _annotation(self, query: Query, item: Item, person: str) -> Annotation:
        skipped = is_tie(item) or self._draw("skip", person, item) < self._spec.skips
        return Annotation(
            external_id=f"{self.name}{person}-{query.query_id}",
            query_id=query.query_id,
            value=None if skipped else self._answer(item, person),
            skipped=skipped,
            annotator=self.name + person,
            created_at=datetime.now(UTC),
        )

    def _answer(self, item: Item, person: str) -> JsonValue:
        gold = gold_answer(self._task, item, self._spec.gold)
        if gold is None:
            raise DataError(
                f"item {item.external_id or item.item_id}: the oracle's column {self._spec.gold!r} is empty. "
                "Fill it, or name another column in annotator.gold."
            )
        if self._draw("error", person, item) < self._spec.accuracy:
            return gold
        return self._task.mistaken(item, gold, self._draw("choice", person, item))

    def _draw(self, purpose: str, person: str, item: Item) -> float:
        """A pseudo-random number in [0, 1) that depends only on the seed, the purpose, the person and the item."""
        return keyed_uniform(derive_seed(self._seed, 0, f"oracle-{purpose}{person}"), item.item_id)


def _person(attempt: int, number: int) -> str:
    """The suffix of the name of the ``number``-th person of an attempt; empty for the very first."""
    if attempt > 1:
        return f"-{number}.{attempt}"
    return f"-{number}" if number > 1 else ""
