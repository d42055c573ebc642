"""Campaigns in a database: one Protocol for each concern, and ``Store``, which is all of them."""

from __future__ import annotations

from typing import Protocol

from star_al.ports.store.campaigns import Campaigns
from star_al.ports.store.datasets import Datasets
from star_al.ports.store.labels import Labels
from star_al.ports.store.leases import Leases
from star_al.ports.store.log import Log
from star_al.ports.store.marks import MarksOfPeople
from star_al.ports.store.queries import Queries
from star_al.ports.store.rounds import Rounds
from star_al.ports.store.studies import Studies

__all__ = ["Store"]


class Store(Datasets, Campaigns, MarksOfPeople, Leases, Labels, Rounds, Queries, Studies, Log, Protocol):
    """Campaigns in a database.

    Frozen records go in and come out, and transactions stay inside. Methods that take a lease check, within
    their transaction, that its epoch is the current one.

    Raises:
        LeaseLostError: From any method with a lease if another controller has taken over; nothing was written.
        StoreError: The database cannot be reached or written.
    """

    def close(self) -> None:
        """Close all connections."""
