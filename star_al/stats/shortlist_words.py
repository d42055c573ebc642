"""What a shortlist left out of a round's ranking, in words."""

from __future__ import annotations

from star_al.common.wording import count
from star_al.types import ShortlistRecord


def missed_in_words(record: ShortlistRecord) -> str:
    """Say how many texts a shortlist may have missed, without a capital or a full stop."""
    left_out = count(record.pool - record.scored, "text")
    if not record.batch:
        return f"none of {left_out} that were not scored was missed, as no text was chosen by its score"
    if record.missed is None or record.missed_high is None:
        return f"whether {left_out} that were not scored belong to the batch is unknown, as none was drawn at random"
    chosen_from = ""
    if record.depth > record.batch:
        chosen_from = f", the last that the batch of {record.batch:,} is chosen from"
    return (
        f"of {left_out} that were not scored, about {record.missed:,.0f} (at most {record.missed_high:,}, with 95 % "
        f"confidence) would score higher than number {record.depth:,} of the shortlist{chosen_from}"
    )


def shortlist_in_words(record: ShortlistRecord) -> str:
    """Say what was scored, and what that may have missed, in a sentence without a full stop."""
    drawn = f"{record.drawn:,} of them drawn at random"
    return (
        f"{record.scored:,} of {count(record.pool, 'text')} were scored, {drawn}; {missed_in_words(record)}"
    )
