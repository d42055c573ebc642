"""`star-al up` prints where and how to log in, outlives its shell, and `--stop` ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from star_al import local_server
from star_al.cli.main import run_command
from star_al.local_server import Place
from star_al.local_server.place import HOME
from support.label_studio_server import free_port

UP = [sys.executable, "-m", "star_al.cli.main", "up"]


@pytest.fixture(autouse=True)
def _default_place(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME, str(place.home))
    place.home.joinpath("environments").symlink_to(place.environments)


def test_up_again_and_stop(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def up(*arguments: object) -> tuple[int, str, str]:
        code = run_command(["up", *map(str, arguments)])
        return code, *capsys.readouterr()

    port = free_port()
    first = subprocess.run([*UP, "--port", str(port)], capture_output=True, text=True, timeout=120)
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
    assert up() == (0, first.stdout, "")
    running = "Label Studio is already running; to change its port, stop it with --stop first\n"
    assert up("--port", free_port()) == (0, first.stdout, running)
    code, out, err = up("--version", "newest")
    assert (code, out) == (4, "")
    assert err.startswith("star-al: 'newest' is not a version of Label Studio.")
    assert local_server.running(place) == server
    assert up("--stop")[:2] == (0, "Label Studio has stopped; its data is kept.\n")
    assert local_server.running(place) is None
    assert up("--stop")[:2] == (0, "No local Label Studio is running.\n")


def test_foreground_ends_with_ctrl_c(place: Place) -> None:
    command = [*UP, "--foreground", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shown:
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
