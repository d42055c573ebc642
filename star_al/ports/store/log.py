"""What a store promises of a campaign's log and history."""

from __future__ import annotations

from typing import Protocol

from star_al.types import Event, JsonObject, Lease


class Log(Protocol):
    """The append-only log of a campaign, and its history for people to read."""

    def add_event(self, lease: Lease, /, event: Event) -> None:
        """Append to the log."""

    def events(self, campaign_id: int) -> list[Event]:
        """The log, oldest first."""

    def history(self, campaign_id: int) -> list[JsonObject]:
        """Rows of the view ``round_history`` (without the campaign's name), by round."""
