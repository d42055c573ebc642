"""From annotations to a label: what a query's answers amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.task import ClosedTask
from star_al.types import Annotation, Label, Query


@dataclass(frozen=True)
class Settled:
    """(query id, label) pairs for queries with an answer, and ids of queries that were skipped."""

    labels: tuple[tuple[str, Label], ...]
    skipped: tuple[str, ...]


def settle(queries: Sequence[Query], annotations: Sequence[Annotation], task: ClosedTask) -> Settled:
    """Settle each query that has as many answers as it wants; the others stay open.

    Of an annotation only the latest revision counts. One answer is wanted of each query so far, and the
    first one in order of its id is the label; a query whose only answers are skips is skipped.

    Raises:
        DataError: an answer is not one of the item's labels.
    """
    latest: dict[str, Annotation] = {}
    for annotation in sorted(annotations, key=lambda each: each.revision):
        latest[annotation.external_id] = annotation
    answers: dict[str, list[Annotation]] = {}
    for _, annotation in sorted(latest.items()):
        answers.setdefault(annotation.query_id, []).append(annotation)
    labels, skipped = [], []
    for query in queries:
        given = answers.get(query.query_id, [])
        values = [answer.value for answer in given if not answer.skipped]
        if values:
            column = task.column(query.item, values[0])
            value = task.value(query.item, column)
            labels.append((query.query_id, Label(query.item.item_id, value, round_index=query.round_index)))
        elif given:
            skipped.append(query.query_id)
    return Settled(tuple(labels), tuple(skipped))
