"""Who is alive: owners of leases told apart by place, process id and start."""

from __future__ import annotations

import subprocess
import sys

from star_al.heartbeat import SAME_START, is_dead, owner_name


def shifted(owner: str, seconds: float) -> str:
    place, pid, started = owner.rsplit(":", 2)
    return f"{place}:{pid}:{float(started) + seconds:.0f}"


def test_this_process_lives_even_when_the_clock_was_set() -> None:
    assert not is_dead(owner_name())
    assert not is_dead(shifted(owner_name(), SAME_START / 2))


def test_a_reused_process_id_is_another_process() -> None:
    assert is_dead(shifted(owner_name(), -3600))


def test_an_ended_process_is_dead_and_one_elsewhere_cannot_be_told() -> None:
    code = "from star_al.heartbeat import owner_name; print(owner_name())"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert is_dead(ended)
    assert not is_dead("elsewhere/" + ended)
    assert not is_dead("not an owner")
