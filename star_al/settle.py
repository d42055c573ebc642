"""From annotations to a label: what a query's answers amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.errors import DataError
from star_al.task import ClosedTask
from star_al.types import Annotation, Label, Query


@dataclass(frozen=True)
class Settled:
    """What queries amount to: (query id, label) pairs, ids that were skipped, answers that cannot be read.

    A query all of whose answers are refused stays open.
    """

    labels: tuple[tuple[str, Label], ...]
    skipped: tuple[str, ...]
    refused: tuple[str, ...]  # in words


def settle(queries: Sequence[Query], annotations: Sequence[Annotation], task: ClosedTask) -> Settled:
    """Settle each query that has an answer; the others stay open.

    Of an annotation only the latest revision counts. The first answer in order of annotation id that is one
    of the item's labels is the label; a query whose only answers are skips is skipped.
    """
    answers = _latest_by_query(annotations)
    labels, skipped, refused = [], [], []
    for query in queries:
        given = answers.get(query.query_id, [])
        readable = [answer for answer in given if not answer.skipped]
        values = []
        for answer in readable:
            try:
                column = task.column(query.item, answer.value)
            except DataError as exc:
                refused.append(f"annotation {answer.external_id}: {exc}")
            else:
                values.append(task.value(query.item, column))
        if values:
            label = Label(query.item.item_id, values[0], round_index=query.round_index)
            labels.append((query.query_id, label))
        elif given and not readable:
            skipped.append(query.query_id)
    return Settled(tuple(labels), tuple(skipped), tuple(refused))


def _latest_by_query(annotations: Sequence[Annotation]) -> dict[str, list[Annotation]]:
    """The latest revision of each annotation, by query, in order of annotation id."""
    latest: dict[str, Annotation] = {}
    for annotation in sorted(annotations, key=lambda each: each.revision):
        latest[annotation.external_id] = annotation
    answers: dict[str, list[Annotation]] = {}
    for _, annotation in sorted(latest.items()):
        answers.setdefault(annotation.query_id, []).append(annotation)
    return answers
