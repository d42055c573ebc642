"""Owners of leases are distinguished by host, process id and start time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from star_al.app.heartbeat import SAME_START, GuardedProgress, Heartbeat, is_dead, owner_name
from star_al.errors import LeaseLostError
from star_al.types import Lease
from support.memory_store import MemoryStore
from support.quiet import Quiet


def shifted(owner: str, seconds: float) -> str:
    place, pid, started = owner.rsplit(":", 2)
    return f"{place}:{pid}:{float(started) + seconds:.0f}"


def test_this_process_lives_even_when_the_clock_was_set() -> None:
    assert not is_dead(owner_name())
    assert not is_dead(shifted(owner_name(), SAME_START / 2))


def test_a_reused_process_id_is_another_process() -> None:
    assert is_dead(shifted(owner_name(), -3600))


def test_an_ended_process_is_dead_and_one_on_another_host_is_unknown() -> None:
    code = "from star_al.app.heartbeat import owner_name; print(owner_name())"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert is_dead(ended)
    assert not is_dead("elsewhere/" + ended)
    assert not is_dead("not an owner")


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
