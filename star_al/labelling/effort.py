"""What people did with the drafts that they were shown: how many they kept, and how much they changed the others.

This says how much work drafts save, not how right they are: people who read a draft tend to keep it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from star_al.common.wording import count
from star_al.config.spec import CampaignSpec, LabelStudioSpec
from star_al.labelling.ballots import Ballot
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


def effort_with_drafts(spec: CampaignSpec, task: Task, ballots: Iterable[Ballot]) -> Effort | None:
    """Compare written answers with the drafts that Label Studio showed; None if it showed none."""
    if not shows_drafts(spec) or task.choices(ANY):
        return None
    return effort_of(ballots, task)


def shows_drafts(spec: CampaignSpec) -> bool:
    """Return whether people see the model's answers."""
    return isinstance(spec.annotator, LabelStudioSpec) and spec.annotator.show_prediction


def effort_of(ballots: Iterable[Ballot], task: Task) -> Effort | None:
    """Compare the answers of ballots with the predictions of their queries, as far as both are written texts."""
    distances = [
        edit_distance(draft, value)
        for ballot in ballots
        if isinstance(draft := ballot.query.reason.written, str) and task.find((), draft) == draft
        for value in ballot.values.values()
        if isinstance(value, str)
    ]
    changed = [distance for distance in distances if distance > 0]
    if not distances:
        return None
    edited = sum(changed) / len(changed) if changed else None
    return Effort(len(distances), len(distances) - len(changed), edited)
