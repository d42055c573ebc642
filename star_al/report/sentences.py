"""Sentences about what people answered, beside the tables: ties, and what became of drafts."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.common.wording import count
from star_al.config.spec import TIE
from star_al.report.formatting import percent
from star_al.report.snapshot import CampaignSnapshot

_LEARNED = {
    False: "The model learns nothing from them.",
    True: "The model learns from them that each completion is preferred with probability one half.",
}
"""What a model learns from ties, by whether it learns anything."""


def about_answers(snapshot: CampaignSnapshot) -> Sequence[str]:
    """Return the sentences; none where there are no ties and no drafts."""
    found = [_ties(snapshot), _effort(snapshot)]
    return [sentence for sentence in found if sentence]


def _ties(snapshot: CampaignSnapshot) -> str:
    """How many labels say that neither completion is better."""
    spec = snapshot.spec
    labels = {each.query.item_id: each.label.value for each in snapshot.asked if each.label}
    ties = sum(value == TIE for value in labels.values())
    if not ties or not spec.task.has_completions:
        return ""
    share = percent(ties / len(labels), 0)
    return (
        f"{ties:,} of {count(len(labels), 'label')} ({share}) {'is a tie' if ties == 1 else 'are ties'}: neither "
        f"completion is better. {_LEARNED[spec.task.learns_ties]} Accuracy is measured on the other texts."
    )


def _effort(snapshot: CampaignSnapshot) -> str:
    """What people did with the drafts that they were shown."""
    if not snapshot.effort:
        return ""
    return (
        f"Drafts: {snapshot.effort}. This says how much work drafts save, not how right they are: people who read a "
        "draft tend to keep it."
    )
