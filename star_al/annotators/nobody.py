"""Nobody: the annotator of a campaign that is only looked at."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.errors import AnnotatorError
from star_al.ports import StillOurs
from star_al.types import Ensured, ExternalTask, Poll, Query


class Nobody:
    """Implements ``ports.Annotator`` where nothing may be asked; needs no server and no token."""

    place = None

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Always an error."""
        raise _asked()

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """Always an error."""
        raise _asked()

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Always an error."""
        raise _asked()


def _asked() -> AnnotatorError:
    return AnnotatorError("nobody can be asked by a command that only looks; this is a defect of star_al.")
