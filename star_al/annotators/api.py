"""Answers that a Python program gives: questions stay in the store until ``Campaign.tell`` hands in an answer."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.ports import StillOurs
from star_al.types import Annotation, Ensured, ExternalTask, Poll, Query


class ApiAnnotator:
    """Implements ``ports.Annotator`` for a program that asks and tells.

    Questions are sent nowhere: the store has them. This object only remembers, while its process lives, the
    answers that have not been polled yet, and which questions a caller holds, so that these are not withdrawn.
    """

    name = "api"
    place = None

    def __init__(self) -> None:
        self._answers: list[Annotation] = []
        self._held: dict[str, set[str | None]] = {}  # query id → annotators who were given the question

    def hand_out(self, query_id: str, annotator: str | None) -> None:
        """Note that an annotator has been given a question."""
        self._held.setdefault(query_id, set()).add(annotator)

    def holders(self, query_id: str) -> frozenset[str | None]:
        """Return the annotators who were given a question and have not answered it yet."""
        return frozenset(self._held.get(query_id, ()))

    def hand_in(self, annotation: Annotation) -> None:
        """Keep an answer for the next poll."""
        self.take_back(annotation.query_id, annotation.annotator)
        self._answers.append(annotation)

    def take_back(self, query_id: str, annotator: str | None) -> None:
        """Note that an annotator does not hold a question any more."""
        holders = self._held.get(query_id, set())
        holders.discard(annotator)
        if not holders:
            self._held.pop(query_id, None)

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Return a task for each query; there is nothing to create."""
        return Ensured(
            tuple(ExternalTask(query.query_id, self.name, self.name, query.query_id) for query in queries)
        )

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """Return the answers that have been handed in since the last poll, each once."""
        answers, self._answers = tuple(self._answers), []
        return Poll(answers)

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Withdraw the queries that no caller holds."""
        return tuple(query.query_id for query in queries if query.query_id not in self._held)
