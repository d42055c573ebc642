"""A simulated annotator that answers from a column of the data, as well and as willingly as it is told to."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from star_al.config import OracleSpec
from star_al.data.items import parse_answer
from star_al.errors import DataError
from star_al.rng import derive_seed, keyed_uniform
from star_al.task import ClosedTask
from star_al.types import Annotation, ExternalTask, Item, JsonValue, Poll, Query


class Oracle:
    """Answers each query at once, with one annotation. Implements ``ports.Annotator``.

    What it answers to an item depends on ``seed``, the item and the specification alone: not on the order,
    the round or the attempt. It keeps queries in memory only; a controller that starts again ensures its
    open queries again, and a cursor of an earlier process counts as none.
    """

    name = "oracle"

    def __init__(self, spec: OracleSpec, task: ClosedTask, seed: int) -> None:
        self._spec, self._task = spec, task
        self._skip_seed, self._error_seed, self._choice_seed = (
            derive_seed(seed, 0, f"oracle-{purpose}") for purpose in ("skip", "error", "choice")
        )
        self._queries: dict[str, Query] = {}
        self._life = uuid.uuid4().hex  # tells this process's cursors from those of an earlier one

    def ensure(self, queries: Sequence[Query]) -> tuple[ExternalTask, ...]:
        """Remember the queries; a known one stays as it is."""
        for query in queries:
            self._queries.setdefault(query.query_id, query)
        return tuple(ExternalTask(query.query_id, self.name, self.name, query.query_id) for query in queries)

    def poll(self, cursor: str | None) -> Poll:
        """One annotation for each query ensured since ``cursor``.

        Raises:
            DataError: an item's gold column is missing, empty or holds no label of it.
        """
        life, _, count = (cursor or "").partition(":")
        seen = int(count) if life == self._life else 0
        annotations = tuple(self._annotation(query) for query in list(self._queries.values())[seen:])
        return Poll(annotations, cursor=f"{self._life}:{len(self._queries)}")

    def _annotation(self, query: Query) -> Annotation:
        skipped = keyed_uniform(self._skip_seed, query.item.item_id) < self._spec.skips
        return Annotation(
            external_id=f"{self.name}-{query.query_id}",
            query_id=query.query_id,
            value=None if skipped else self._answer(query.item),
            skipped=skipped,
            annotator=self.name,
        )

    def _answer(self, item: Item) -> JsonValue:
        gold = parse_answer(self._task, item, item.fields.get(self._spec.gold))
        if gold is None:
            raise DataError(
                f"item {item.external_id or item.item_id}: the oracle's column {self._spec.gold!r} is empty. "
                "Fill it, or name another column in annotator.gold."
            )
        if keyed_uniform(self._error_seed, item.item_id) < self._spec.accuracy:
            return gold
        others = [name for name in self._task.label_names(item) if name != gold]
        return others[int(keyed_uniform(self._choice_seed, item.item_id) * len(others))]
