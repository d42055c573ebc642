"""A local server comes up once, is found again, is watched, and leaves nothing behind when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from star_al import local_server
from star_al.common.process_identity import ProcessIdentity
from star_al.errors import AnnotatorError
from star_al.local_server import LocalServer, Place
from star_al.local_server.credentials import new_credentials, write_credentials
from star_al.local_server.state import State, read_state
from support.label_studio_server import free_port
from support.quiet import Quiet
from support.stand_in_server import stand_in_place

Start = Callable[..., LocalServer]


def ask(server: LocalServer, path: str) -> httpx.Response:
    headers = {"Authorization": f"Token {server.token}"}
    return httpx.get(f"{server.url}{path}", headers=headers, timeout=30, trust_env=False)


def whoami(server: LocalServer) -> str:
    return str(ask(server, "/api/current-user/whoami").raise_for_status().json()["email"])


def answers(server: LocalServer) -> bool:
    try:
        return ask(server, "/health").is_success
    except httpx.HTTPError:
        return False


def state_of(place: Place) -> State:
    state = read_state(place)
    assert state is not None
    assert state.server is not None
    return state


def _present(place: Place) -> State:
    state = read_state(place)
    assert state is not None
    return state


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.05)


@pytest.mark.parametrize("by_version_0_1", [False, True])
def test_a_server_is_found_after_the_machine_got_another_host_name(
    place: Place, by_version_0_1: bool
) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        there = ProcessIdentity.of(sleeper.pid)
        if by_version_0_1:
            there = replace(there, place="another-name/1", uptime=None)
        else:
            there = replace(there, place="another-name/" + there.place.partition("/")[2])
        place.state.parent.mkdir(parents=True, exist_ok=True)
        place.state.write_text(State("1", there, there).to_json(), encoding="utf-8")
        state = read_state(place)
        assert state is not None and state.supervised and len(state.alive()) == 2
        place.state.write_text(State("1", replace(there, place="vm/another-boot/1"), None).to_json())
        assert read_state(place) is None
    finally:
        # What ends a server at the test's end would end what stands there.
        place.state.unlink(missing_ok=True)
        sleeper.kill()
        sleeper.wait()


def test_two_starts_at_once_make_one_server_and_stop_ends_it(place: Place, start: Start) -> None:
    assert local_server.running(place) is None
    assert local_server.credentials(place) is None
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda port: start(port=port), (free_port(), free_port()))
    assert first == second == local_server.running(place) == local_server.credentials(place)
    assert whoami(first) == first.user
    state = state_of(place)
    assert len(state.alive()) == 2
    assert local_server.stop(place, Quiet())
    assert not state.alive()
    assert local_server.running(place) is None
    assert local_server.credentials(place) == first
    assert not place.state.exists()
    assert not local_server.stop(place, Quiet())


def test_a_crashed_server_comes_back_at_its_port(place: Place, start: Start) -> None:
    server, before = start(), state_of(place)
    assert before.server is not None
    os.kill(before.server.pid, signal.SIGKILL)
    until(lambda: _present(place).server not in (None, before.server) and answers(server))
    assert state_of(place).supervisor == before.supervisor
    assert whoami(server) == server.user


def test_a_program_that_takes_the_port_after_a_crash_is_not_the_server(place: Place, start: Start) -> None:
    server, before = start(), state_of(place)
    assert before.server is not None and before.port is not None
    os.kill(before.server.pid, signal.SIGKILL)
    until(lambda: before.server is not None and before.server.find() is None)
    with socket.create_server(("127.0.0.1", before.port)):
        assert local_server.running(place) is None
        until(lambda: _present(place).port is None)
        assert local_server.running(place) is None and local_server.supervised(place)
    until(lambda: local_server.running(place) == server)
    assert whoami(server) == server.user


def test_a_server_without_its_supervisor_is_replaced(place: Place, start: Start) -> None:
    server, before = start(), state_of(place)
    os.kill(before.supervisor.pid, signal.SIGKILL)
    until(lambda: local_server.running(place) is None)
    assert answers(server)
    assert start(port=None) == server
    after = state_of(place)
    assert after.supervisor is not None and after.supervisor.find() is not None
    assert before.server is not None and before.server.find() is None


def test_a_state_left_by_a_reboot_counts_for_nothing(place: Place, start: Start) -> None:
    stranger = psutil.Process()  # alive under this id, but started at another time
    place.state.write_text(
        json.dumps(
            {
                "version": "1.0.0",
                "supervisor": {"pid": stranger.pid, "started": stranger.create_time() - 3600},
                "server": {"pid": stranger.pid, "started": stranger.create_time() - 3600},
                "port": 8080,
            }
        )
    )
    assert local_server.running(place) is None
    assert not local_server.stop(place, Quiet())
    assert whoami(start())


def test_a_busy_port_is_left_alone_and_the_next_one_told(place: Place, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port, progress = busy.getsockname()[1], Quiet()
        server = start(port=port, progress=progress)
    assert server.url != f"http://127.0.0.1:{port}"
    assert any(
        f"Port {port} is in use" in line and server.url.rpartition(":")[2] in line for line in progress.said
    )
    assert whoami(server) == server.user


def test_a_server_ends_with_its_owner(place: Place, start: Start) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        start(owner=ProcessIdentity.of(owner.pid))
        state = state_of(place)
        owner.kill()
        owner.wait()
        until(lambda: not state.alive())
    assert not place.state.exists()


def test_an_older_version_is_refused(place: Place, start: Start) -> None:
    write_credentials(place, new_credentials(place, free_port(), local_server.VERSION))
    with pytest.raises(AnnotatorError, match=r"1\.9\.0 cannot read the data of version 1\.23\.2"):
        start(version="1.9.0")


def test_a_newer_version_takes_over(tmp_path: Path) -> None:
    place = stand_in_place(tmp_path, local_server.VERSION, "1.23.2.1")
    try:
        first = local_server.start(place, Quiet(), port=free_port(), owner=ProcessIdentity.of())
        old = state_of(place)
        newer = local_server.start(place, Quiet(), version="1.23.2.1", owner=ProcessIdentity.of())
        assert newer == first
        assert state_of(place).version == "1.23.2.1"
        assert not old.alive()
        assert local_server.start(place, Quiet()) == first  # stays with it
        assert state_of(place).version == "1.23.2.1"
    finally:
        local_server.stop(place, Quiet())


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", tmp_path / "environments")
    place.home.write_text("a file")
    with pytest.raises(AnnotatorError, match="set STAR_AL_LABEL_STUDIO_HOME to use another folder"):
        local_server.start(place, Quiet())
