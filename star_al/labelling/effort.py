"""What people did with the drafts that they were shown: how many they kept, and how much they changed the others.

This says how much work drafts save, not how right they are: people who read a draft tend to keep it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from star_al.common.wording import count
from star_al.config.spec import LabelStudioSpec
from star_al.labelling.ballots import Ballot
from star_al.parts import Parts
from star_al.task import Task
from star_al.task.similarity import edit_distance
from star_al.types import Item

ANY = Item(item_id="", text="")


@dataclass(frozen=True)
class Effort:
    """Summary of the answers to queries with a draft.

    Attributes:
        drafts: Answers that began as a draft.
        kept: Those that are the draft.
        edited: How many characters of the others were edited, as a share of the longer text, in the mean; None if
            there are no others.
    """

    drafts: int
    kept: int
    edited: float | None

    def in_words(self) -> str:
        """The part of the collect step's line."""
        words = f"{self.kept:,} of {count(self.drafts, 'draft')} kept"
        return words if self.edited is None else f"{words}, {self.edited:.0%} of the others edited"


def effort_with_drafts(parts: Parts, ballots: Iterable[Ballot]) -> Effort | None:
    """Compare written answers with the drafts that Label Studio showed; None if it showed none."""
    annotator = parts.spec.annotator
    if not (isinstance(annotator, LabelStudioSpec) and annotator.show_prediction):
        return None
    return None if parts.task.choices(ANY) else effort_of(ballots, parts.task)


def effort_of(ballots: Iterable[Ballot], task: Task) -> Effort | None:
    """Compare the answers of ballots with the predictions of their queries, as far as both are written texts."""
    distances = [
        edit_distance(draft, value)
        for ballot in ballots
        if isinstance(draft := ballot.query.reason.predicted, str) and task.find((), draft) == draft
        for value in ballot.values.values()
        if isinstance(value, str)
    ]
    changed = [distance for distance in distances if distance > 0]
    if not distances:
        return None
    edited = sum(changed) / len(changed) if changed else None
    return Effort(len(distances), len(distances) - len(changed), edited)
