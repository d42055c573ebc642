"""What a store promises of what people ask of a campaign."""

from __future__ import annotations

from typing import Protocol

from star_al.types import Event, Marks


class MarksOfPeople(Protocol):
    """What people ask of a campaign, also while a controller runs it; needs no lease. Repeating it changes nothing."""

    def marks(self, campaign_id: int) -> Marks:
        """What has been asked.

        Raises:
            StoreError: The campaign has been deleted.
        """

    def archive(self, campaign_id: int, archived: bool, event: Event) -> None:
        """Put a campaign away, or take it back; the event is logged if that changes anything."""

    def pause(self, campaign_id: int, paused: bool, event: Event) -> None:
        """Pause a campaign, or let it go on; the event is logged if that changes anything."""

    def close_round(self, campaign_id: int, round_index: int, event: Event) -> None:
        """Let a round go on with the answers it has; ``HELD_OUT`` for the labels requested before round 0.

        An earlier round than the last closed one changes nothing.
        """
