"""Tasks in the annotation tool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExternalTask:
    """The task in the annotation tool that holds a query."""

    query_id: str
    annotator: str
    project: str
    task: str


@dataclass(frozen=True, slots=True)
class Ensured:
    """The tasks that hold queries now.

    Tasks of ``restored`` (query ids) had been deleted by somebody and were recreated; tasks of ``dropped``
    had been deleted and were not recreated.
    """

    tasks: tuple[ExternalTask, ...]
    restored: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
