"""Answers as the annotation tool gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from star_al.types.json_values import JsonValue


@dataclass(frozen=True, slots=True)
class Annotation:
    """One answer by one annotator, as the annotation tool gave it. Its revisions are kept.

    Attributes:
        external_id: Identifies the annotation within the annotation tool and never changes.
        skipped: The annotator passed; may come with a value, as when an annotator is unsure.
        withdrawn: The annotator took the answer back; it counts only if nobody else answered.
        revision: Assigned by the store, which adds none for an unchanged annotation.
        lead_time: In seconds.
    """

    external_id: str
    query_id: str
    value: JsonValue = None
    skipped: bool = False
    withdrawn: bool = False
    revision: int = 1
    annotator: str | None = None
    lead_time: float | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """What an annotator returned, and where the next poll starts.

    Attributes:
        gone: Queries that this process had ensured and whose tasks somebody else has deleted since.
        complete: Queries whose current annotations are all in ``annotations``, with the creation time of
            the oldest task of each.
        notes: What the campaign's owner should know, each in one sentence without a capital or a full stop.
            The same note may come with every poll.
    """

    annotations: tuple[Annotation, ...]
    cursor: str | None = None
    gone: tuple[str, ...] = ()
    complete: Mapping[str, datetime] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a round waits for: ``closed`` of its ``asked`` items, ``unlabelled`` of them without a label.

    Attributes:
        answers: How many answers each annotator has given so far.
        place: Where to label.
        until: When the round closes at the latest.
        disputed: Items without a label on which annotators disagree, still open or closed.
        beside: What the machine does meanwhile, in words; None if it only waits.
    """

    closed: int
    asked: int
    unlabelled: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    place: str | None = None
    until: datetime | None = None
    disputed: int = 0
    beside: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """How many answers of one person have this value, to items with this label in force.

    Attributes:
        value: What was answered; None for a skip.
        label: The label in force; None without one.
        options: The options of the items (multiple choice).
    """

    person: str
    value: JsonValue
    label: JsonValue
    options: tuple[str, ...]
    n: int
