"""Who is alive: processes told apart by place, process id and start."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from star_al.common.process_identity import START_TOLERANCE, ProcessIdentity, has_ended


def test_this_process_lives_even_if_the_clock_was_set() -> None:
    me = ProcessIdentity.of()
    assert not has_ended(str(me))
    moved = replace(me, started=me.started + START_TOLERANCE / 2)
    assert not has_ended(str(moved))
    assert moved.find() is not None


def test_a_reused_process_id_is_another_process() -> None:
    me = ProcessIdentity.of()
    before = replace(me, started=me.started - 3600)
    assert has_ended(str(before))
    assert before.find() is None


def test_an_ended_process_is_known_and_one_elsewhere_cannot_be_judged() -> None:
    code = "from star_al.common.process_identity import ProcessIdentity; print(ProcessIdentity.of())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ended = done.stdout.strip()
    assert has_ended(ended)
    assert not has_ended("elsewhere/" + ended)
    assert not has_ended("not an owner")
    assert replace(ProcessIdentity.of(), place="elsewhere").find() is None


def test_an_identity_is_read_from_its_own_text() -> None:
    me = ProcessIdentity.of()
    again = ProcessIdentity.parse(str(me))
    assert again is not None
    assert (again.place, again.pid) == (me.place, me.pid)
    assert abs(again.started - me.started) <= 0.5
