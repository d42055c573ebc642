"""A local Label Studio comes up once, is found again, is watched, and leaves nothing behind when it ends."""

from __future__ import annotations

import json
import os
import shutil
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
from star_al.errors import AnnotatorError
from star_al.local_server import LocalServer, Place
from star_al.local_server.credentials import read_credentials, write_credentials
from star_al.local_server.state import State, read_state
from support.label_studio_server import free_port
from support.quiet import Quiet

Start = Callable[..., LocalServer]


def ask(server: LocalServer, method: str, path: str, **arguments) -> httpx.Response:
    headers = {"Authorization": f"Token {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30, trust_env=False) as client:
        return client.request(method, path, **arguments)


def whoami(server: LocalServer) -> str:
    return ask(server, "get", "/api/current-user/whoami").raise_for_status().json()["email"]


def state_of(place: Place) -> State:
    state = read_state(place)
    assert state is not None
    assert state.server is not None
    return state


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.1)


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


def test_secrets_stay_with_their_owner(place: Place, start: Start) -> None:
    server = start()
    assert place.home.stat().st_mode & 0o777 == 0o700
    files = [path for path in place.home.rglob("*") if path.is_file()]
    readable = {path.name for path in files if path.stat().st_mode & 0o077}
    assert not readable & {"credentials.json", "running.json", "label-studio.log", ".env"}
    commands = " ".join(
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    )
    assert str(place.home) in commands
    for secret in (server.token, server.password):
        assert secret not in commands
        assert secret not in place.log.read_text()
        assert secret not in repr(server) + repr(read_credentials(place))


def test_a_crashed_server_comes_back_at_its_port(place: Place, start: Start) -> None:
    server, before = start(), state_of(place)
    os.kill(before.server.pid, signal.SIGKILL)
    until(lambda: state_of(place).server != before.server and _answers(server))
    assert state_of(place).supervisor == before.supervisor
    assert whoami(server) == server.user


def _answers(server: LocalServer) -> bool:
    try:
        return ask(server, "get", "/health").is_success
    except httpx.HTTPError:
        return False


def test_a_server_without_its_supervisor_is_replaced(place: Place, start: Start) -> None:
    server, before = start(), state_of(place)
    os.kill(before.supervisor.pid, signal.SIGKILL)
    until(lambda: local_server.running(place) is None)
    assert _answers(server)
    assert start(port=None) == server
    after = state_of(place)
    assert after.supervisor.find() is not None
    assert before.server.find() is None


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


def test_a_server_that_cannot_start_shows_its_log(place: Place, start: Start) -> None:
    (place.data / "label_studio.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(AnnotatorError, match=r"(?s)ended while it was starting.*not a database"):
        start()
    assert local_server.running(place) is None


def test_lost_credentials_make_another_user_beside_the_first(place: Place, start: Start) -> None:
    first = start()
    _make_project(first)
    local_server.stop(place, Quiet())
    place.credentials.unlink()
    second = start()
    assert second.user != first.user
    assert _titles(second) == ["kept"]


def test_a_token_that_is_not_taken_is_told(place: Place, start: Start) -> None:
    start()
    write_credentials(place, replace(read_credentials(place), token="0" * 40))
    with pytest.raises(AnnotatorError, match="does not accept the token") as caught:
        start()
    assert "0" * 40 not in str(caught.value)


def test_legacy_tokens_that_are_not_allowed_are_told(place: Place, start: Start) -> None:
    server = start()
    settings = {"api_tokens_enabled": True, "api_token_ttl_days": 365, "legacy_api_tokens_enabled": False}
    reply = httpx.post(
        f"{server.url}/api/jwt/settings", json=settings, headers={"Authorization": f"Token {server.token}"}
    )
    reply.raise_for_status()
    with pytest.raises(AnnotatorError, match=r"allow them under Organization → API Tokens"):
        start()


def test_a_lost_database_keeps_the_login(place: Place, start: Start) -> None:
    (database,) = place.data.iterdir()
    empty = database.read_bytes()
    first = start()
    _make_project(first)
    local_server.stop(place, Quiet())
    shutil.rmtree(place.data)
    place.data.mkdir()
    database.write_bytes(empty)
    second = start(port=None)
    assert second == first
    assert _titles(second) == []


def _make_project(server: LocalServer) -> None:
    ask(server, "post", "/api/projects", json={"title": "kept"}).raise_for_status()


def _titles(server: LocalServer) -> list[str]:
    found = ask(server, "get", "/api/projects").raise_for_status().json()["results"]
    return [project["title"] for project in found]


def test_a_server_ends_with_its_owner(place: Place, start: Start) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        start(owner=local_server.identity(owner.pid))
        state = state_of(place)
        owner.kill()
        owner.wait()
        until(lambda: not state.alive())
    assert not place.state.exists()


def test_an_older_version_is_refused(place: Place, start: Start) -> None:
    start()
    with pytest.raises(AnnotatorError, match=r"1\.9\.0 cannot read the data of version 1\.23\.2"):
        start(version="1.9.0")


def test_a_newer_version_takes_over(place: Place, start: Start, tmp_path: Path) -> None:
    newer = replace(place, environments=tmp_path / "environments")
    newer.environments.mkdir()
    for version in (local_server.VERSION, "1.23.2.1"):  # one program under two names
        (newer.environments / version).symlink_to(place.environments / local_server.VERSION)
    first = local_server.start(newer, Quiet(), port=free_port(), owner=local_server.identity())
    old = state_of(newer)
    assert local_server.start(newer, Quiet(), version="1.23.2.1", owner=local_server.identity()) == first
    assert state_of(newer).version == "1.23.2.1"
    assert not old.alive()
    assert local_server.start(newer, Quiet()) == first  # stays with it
    assert state_of(newer).version == "1.23.2.1"


def test_a_folder_that_cannot_be_written_is_told(place: Place, start: Start) -> None:
    shutil.rmtree(place.home)
    place.home.write_text("a file")
    with pytest.raises(AnnotatorError, match="STAR_AL_LABEL_STUDIO_HOME names another folder"):
        start()
    place.home.unlink()
