"""`star-al up` prints where and how to log in, outlives its shell, and `--stop` ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from star_al import local_server
from star_al.local_server import Place
from star_al.local_server.place import HOME
from support.label_studio_server import free_port

StarAl = Callable[..., subprocess.CompletedProcess[str]]

UP = [sys.executable, "-m", "star_al.cli.main", "up"]


@pytest.fixture
def star_al_up(place: Place) -> StarAl:
    """Run `star-al up` in a process of its own."""
    place.home.joinpath("environments").symlink_to(place.environments)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [*UP, *map(str, arguments)]
        return subprocess.run(
            command, env=environment(place), capture_output=True, text=True, check=False, timeout=120
        )

    return run


def environment(place: Place) -> dict[str, str]:
    return {**os.environ, HOME: str(place.home)}


def test_up_again_and_stop(place: Place, star_al_up: StarAl) -> None:
    port = free_port()
    first = star_al_up("--port", port)
    assert first.returncode == 0, first.stderr
    server = local_server.running(place)
    assert server is not None
    assert first.stdout == (
        f"Label Studio is running at http://127.0.0.1:{port}\n"
        f"  user      {server.user}\n"
        f"  password  {server.password}\n"
        "It keeps running in the background. Stop it with: star-al up --stop\n"
    )
    assert server.token not in first.stdout + first.stderr
    assert star_al_up().stdout == first.stdout
    elsewhere = star_al_up("--port", free_port())
    assert elsewhere.stdout == first.stdout
    assert (
        elsewhere.stderr == "Label Studio is already running; to change its port, stop it with --stop first\n"
    )
    assert star_al_up("--version", "newest").returncode == 4
    assert local_server.running(place) == server
    assert star_al_up("--stop").stdout == "Label Studio has stopped; its data is kept.\n"
    assert local_server.running(place) is None
    nothing = star_al_up("--stop")
    assert (nothing.returncode, nothing.stdout) == (0, "No local Label Studio is running.\n")


def test_a_wrong_version_is_an_error_of_the_annotation_tool(star_al_up: StarAl) -> None:
    done = star_al_up("--version", "newest")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("star-al: 'newest' is not a version of Label Studio.")


def test_foreground_ends_with_ctrl_c(place: Place, star_al_up: StarAl) -> None:
    command = [*UP, "--foreground", "--port", str(free_port())]
    with subprocess.Popen(command, env=environment(place), stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        for line in shown.stdout:
            if line == "Press Ctrl-C to stop it.\n":
                break
        else:
            pytest.fail(f"it ended with {shown.wait()} before it was up")
        shown.send_signal(signal.SIGINT)
        assert shown.wait(120) == 130
    # it has ended the server itself or, hit in the moment before it could, leaves that to the supervisor
    late = time.monotonic() + 60
    while local_server.running(place) is not None and time.monotonic() < late:
        time.sleep(0.1)
    assert local_server.running(place) is None
