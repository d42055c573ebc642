"""What a store promises of leases: one controller per campaign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from star_al.types import Lease


class Leases(Protocol):
    """One controller per campaign."""

    def acquire_lease(
        self, campaign_id: int, owner: str, seconds: float, *, may_take: Callable[[str], bool]
    ) -> Lease:
        """Take the campaign if it is free, its lease has expired, or its owner is dead.

        Args:
            campaign_id: The campaign to take.
            owner: Who takes it.
            seconds: How long the lease lasts unless it is renewed.
            may_take: Tells whether the present owner is dead.

        Raises:
            LeaseHeldError: A living controller holds it; the message names it and the seconds left.
        """

    def lease_owner(self, campaign_id: int) -> str | None:
        """Who holds the campaign, as by ``acquire_lease``; None if it is free or its lease has expired."""

    def renew_lease(self, lease: Lease, /, seconds: float) -> None:
        """Let the lease end ``seconds`` from now."""

    def release_lease(self, lease: Lease, /) -> None:
        """Give the campaign back. Does nothing if another controller has taken over."""
