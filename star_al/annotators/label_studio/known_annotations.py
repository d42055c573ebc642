"""The annotations that this process has seen, in the order in which it saw them."""

from __future__ import annotations

import uuid
from dataclasses import replace

from star_al.types import Annotation


class KnownAnnotations:
    """The newest state of each annotation. A cursor is a position in the order in which states were recorded."""

    def __init__(self) -> None:
        self._process = uuid.uuid4().hex  # tells cursors of this process from those of an earlier one
        self._latest: dict[str, tuple[int, Annotation]] = {}
        self._count = 0

    @property
    def cursor(self) -> str:
        """The position after everything recorded so far."""
        return f"{self._process}:{self._count}"

    def since(self, cursor: str | None) -> tuple[Annotation, ...]:
        """What came or changed after a cursor; everything if it is None or of another process."""
        process, _, count = (cursor or "").partition(":")
        start = int(count) if process == self._process else 0
        return tuple(annotation for number, annotation in self._latest.values() if number > start)

    def has(self, annotation: Annotation) -> bool:
        """Return whether this is the state that was recorded last."""
        return self._latest.get(annotation.external_id, (0, None))[1] == annotation

    def record(self, annotation: Annotation) -> None:
        """Keep the newest state of an annotation."""
        if not self.has(annotation):
            self._count += 1
            self._latest[annotation.external_id] = (self._count, annotation)

    def record_deletion(self, external_id: str) -> None:
        """Mark an annotation as withdrawn: its annotator deleted it. One that was always refused is not known."""
        if external_id in self._latest:
            self.record(replace(self._latest[external_id][1], withdrawn=True))
