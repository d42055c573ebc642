"""A program that answers a campaign's questions from a column of its data, through ``star_al.Campaign``."""

from __future__ import annotations

from pathlib import Path

from star_al import Campaign
from support.quiet import Quiet


def main(path: str, most: str = "10000") -> None:
    """Ask and tell until the campaign stops, or for so many answers."""
    left = int(most)
    with Campaign.open(Path(path), progress=Quiet()) as campaign:
        while left and (questions := campaign.ask(min(3, left))):
            for question in questions:
                assert question.fields is not None
                campaign.tell(question, str(question.fields["label"]), seconds=1.0)
                left -= 1
