"""A lease that is lost ends the work that is done under it."""

from __future__ import annotations

import pytest

from star_al.app.heartbeat import GuardedProgress, Heartbeat
from star_al.errors import LeaseLostError
from star_al.types import Lease
from support.memory_store import MemoryStore
from support.quiet import Quiet


def test_waiting_and_working_stop_when_the_lease_is_lost() -> None:
    heartbeat = Heartbeat(MemoryStore(), Lease(1, "me", 1), 60.0)
    shown = Quiet()
    progress = GuardedProgress(shown, heartbeat)
    progress.waiting("1 of 2")
    heartbeat._lost = LeaseLostError("taken over")
    with pytest.raises(LeaseLostError):
        progress.waiting("2 of 2")
    with pytest.raises(LeaseLostError), progress.task("Scoring", 1) as advance:
        advance(1)
    progress.waiting(None)
    assert shown.waited == ["1 of 2", "2 of 2", None]
