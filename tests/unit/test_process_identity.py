"""Who is alive: processes told apart by boot, namespace, process id and start; never by the name of the host."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from star_al.common import process_identity
from star_al.common.process_identity import START_TOLERANCE, ProcessIdentity, has_ended, in_words

CODE = "from star_al.common.process_identity import ProcessIdentity; print(ProcessIdentity.of())"


@pytest.fixture
def ended() -> str:
    """The identity of a process of this machine that has ended, in text."""
    return subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    ).stdout.strip()


def _at(owner: str, *, host: str | None = None, boot: str | None = None, namespace: str | None = None) -> str:
    """The same process, said to be elsewhere."""
    identity = ProcessIdentity.parse(owner)
    assert identity is not None
    place = identity.place.split("/")
    return str(
        replace(
            identity,
            place="/".join(new or old for new, old in zip((host, boot, namespace), place, strict=True)),
        )
    )


def test_this_process_lives() -> None:
    me = ProcessIdentity.of()
    assert not has_ended(str(me)) and me.find() is not None


def test_a_living_process_lives_even_if_the_clock_was_set() -> None:
    me = ProcessIdentity.of()
    if me.uptime is None:  # only the calendar tells when a process started
        me = replace(me, started=me.started + START_TOLERANCE / 2)
    else:
        me = replace(me, started=me.started + 3600)
    assert not has_ended(str(me)) and me.find() is not None


def test_a_reused_process_id_is_another_process() -> None:
    me = ProcessIdentity.of()
    for before in (
        replace(me, started=me.started - 3600, uptime=None),
        replace(me, uptime=None if me.uptime is None else me.uptime - 3600, started=me.started - 3600),
    ):
        assert has_ended(str(before)) and before.find() is None


def test_an_ended_process_of_this_boot_has_ended_whatever_the_host_is_called(ended: str) -> None:
    assert has_ended(ended)
    assert has_ended(_at(ended, host="renamed"))


def test_nobody_elsewhere_is_declared_dead(ended: str) -> None:
    """Machines that are clones share host name and namespace; containers share host name and boot."""
    assert not has_ended(_at(ended, boot="0123456789abcdef0123456789abcdef"))
    assert not has_ended(_at(ended, namespace="4026532999"))
    assert not has_ended("elsewhere/" + ended)
    assert replace(ProcessIdentity.of(), place="elsewhere").find() is None


def test_a_lease_of_version_0_1_is_waited_for(ended: str) -> None:
    identity = ProcessIdentity.parse(ended)
    assert identity is not None
    host, _, namespace = identity.place.split("/")
    old = f"{host}/{namespace}:{identity.pid}:{identity.started:.0f}"
    assert not has_ended(old)
    assert in_words(old) == f"process {identity.pid} on {host}"


@pytest.mark.parametrize("unknown", ["boot", "namespace"])
def test_where_the_place_is_unknown_nobody_is_declared_dead(
    ended: str, unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _at(ended, **{unknown: "-"}).rsplit(":", 2)[0]
    monkeypatch.setattr(process_identity, "_place", lambda: place)
    assert not has_ended(_at(ended, **{unknown: "-"}))
    me = ProcessIdentity.of()
    assert me.place == place or replace(me, place=place).find() is not None


def test_a_process_that_cannot_be_seen_is_not_declared_dead(
    ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where /proc hides the processes of other users."""

    def hidden(self: psutil.Process, pid: int | None = None) -> None:
        raise psutil.NoSuchProcess(pid or 0)

    monkeypatch.setattr(psutil.Process, "__init__", hidden)
    monkeypatch.setattr(process_identity, "_uptime", lambda pid: None)
    assert has_ended(ended)
    alive = ProcessIdentity.parse(_at(ended))
    assert alive is not None
    assert not has_ended(str(replace(alive, pid=os.getpid())))


@pytest.mark.parametrize("text", ["", "not an owner", "a:b:c", "h/b/n:0:1", "h/b/n:-1:1", "h/b/n:1@x:1"])
def test_a_text_that_names_no_process_ends_nothing(text: str) -> None:
    assert not has_ended(text)
    assert in_words(text) == text


def test_a_huge_process_id_is_nobody(ended: str) -> None:
    identity = ProcessIdentity.parse(ended)
    assert identity is not None
    has_ended(str(replace(identity, pid=10**30)))


def test_an_identity_is_read_from_its_own_text() -> None:
    me = ProcessIdentity.of()
    again = ProcessIdentity.parse(str(me))
    assert again is not None
    assert (again.place, again.pid) == (me.place, me.pid)
    assert abs(again.started - me.started) <= 0.5
    assert (again.uptime is None) == (not Path("/proc/self/stat").exists())


def test_a_process_in_words(ended: str) -> None:
    pid = str(ProcessIdentity.parse(ended)).rsplit(":", 2)[1].partition("@")[0]
    assert in_words(ended) == f"process {pid} on this machine"
    assert (
        in_words(_at(ended, namespace="4026532999")) == f"process {pid} in another container of this machine"
    )
    assert in_words(_at(ended, host="trainer", boot="0123")) == f"process {pid} on trainer"
