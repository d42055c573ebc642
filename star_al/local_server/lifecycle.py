"""Start, find and stop the local Label Studio; each may be called again at any time, also at once by two."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from star_al.errors import AnnotatorError
from star_al.local_server.install import VERSION, install
from star_al.local_server.processes import Identity, State, read_state
from star_al.local_server.where import (
    Credentials,
    LocalServer,
    Place,
    default_place,
    make_home,
    new_credentials,
    read_credentials,
    told_of_disk,
    write_credentials,
)
from star_al.ports import Progress

PORT = 8080
"""Where the first start tries to listen."""

PORTS = 100
"""How many ports are tried."""

START_SECONDS = 300.0
"""A start that takes longer, migrations included, has failed."""

STOP_SECONDS = 15.0
"""Seconds to end in after SIGTERM; then it is SIGKILL."""

PORT_SECONDS = 5.0
"""A dying process may hold its port a little longer than it can be seen."""

TAIL_LINES = 20
"""Lines of the log that an error shows."""


def credentials(place: Place | None = None) -> LocalServer | None:
    """The local server's address and login, whether it runs or not; null where none was ever started."""
    stored = read_credentials(place or default_place())
    return None if stored is None else stored.server


def running(place: Place | None = None) -> LocalServer | None:
    """The local server, if it has come up and is watched; looks at processes, asks nobody."""
    place = place or default_place()
    state, stored = read_state(place), read_credentials(place)
    if state is None or stored is None or state.port is None or not state.watched:
        return None
    return replace(stored, port=state.port).server


def start(
    place: Place,
    progress: Progress,
    *,
    port: int | None = None,
    version: str | None = None,
    owner: Identity | None = None,
) -> LocalServer:
    """Install, start and watch the server where that has not been done; return once it answers.

    Port and version default to those of the last start. ``owner`` is a process to end with.

    Raises:
        AnnotatorError: it cannot be installed or started, or does not know its user.
    """
    make_home(place)
    with _alone(place, progress):
        stored = read_credentials(place)
        wanted = version or (stored.version if stored else VERSION)
        _refuse_older(stored, wanted)
        state = read_state(place)
        if state is None or state.version != wanted:
            install(place, wanted, progress)  # while another version may still serve
        if state is not None and not (state.watched and state.version == wanted):
            progress.say(f"Ending Label Studio {state.version}, which is to be started again")
            _end(place, state)
            state = None
        if state is None:
            with told_of_disk(place):
                place.data.mkdir(mode=0o700, exist_ok=True)
                write_credentials(place, _choose(place, stored, port, wanted, progress))
                _spawn(place, owner)
        elif port not in (None, state.port):
            progress.say("Label Studio runs already; to move it, give --stop first and then --port")
        return _ready(place, progress)


def stop(place: Place, progress: Progress) -> bool:
    """End the server and who watches it; whether there was one."""
    if not place.home.is_dir():
        return False
    with _alone(place, progress):
        state = read_state(place)
        if state is not None:
            _end(place, state)
        return state is not None


# -- starting ------------------------------------------------------------------------------------------


@contextmanager
def _alone(place: Place, progress: Progress) -> Iterator[None]:
    """Hold the lock, which ends with this process; wait while another one holds it."""
    lock = FileLock(place.lock)
    with told_of_disk(place):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say("Another star-al is starting or stopping Label Studio; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _refuse_older(stored: Credentials | None, wanted: str) -> None:
    if stored is not None and _numbers(wanted) < _numbers(stored.version):
        raise AnnotatorError(
            f"Label Studio {wanted} cannot read data that version {stored.version} has written. "
            f"Start {stored.version} or a newer one."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _choose(
    place: Place, stored: Credentials | None, port: int | None, version: str, progress: Progress
) -> Credentials:
    """The credentials to start with, and a port that is free now."""
    wanted = port or (stored.port if stored else PORT)
    free = next((each for each in range(wanted, min(wanted + PORTS, 65536)) if _is_free(each)), None)
    if free is None:
        raise AnnotatorError(f"No port from {wanted} on is free. Name another one with --port.")
    if free != wanted:
        progress.say(f"Port {wanted} is taken by another program; Label Studio gets {free}")
    if stored is None:
        return new_credentials(place, free, version)
    return replace(stored, port=free, version=version)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:  # also where it is bound to another address
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _spawn(place: Place, owner: Identity | None) -> None:
    """Start a supervisor; it leaves our session, and lets go of standard error once it has told who it is."""
    told = {
        "home": str(place.home),
        "environments": str(place.environments),
        "owner": None if owner is None else asdict(owner),
    }
    own = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "star_al.local_server.watch", json.dumps(told)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(own)},
        cwd=place.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.stderr.strip():
        raise AnnotatorError(f"Label Studio was not started: {done.stderr.strip().splitlines()[-1]}")


def _ready(place: Place, progress: Progress) -> LocalServer:
    """Wait until the server listens and answers, which it does again soon after a crash."""
    late = time.monotonic() + START_SECONDS
    try:
        while (server := running(place)) is None or not _knows_us(place, server):
            if read_state(place) is None:
                raise AnnotatorError(f"Label Studio ended while it started. {_tail(place)}")
            if time.monotonic() > late:
                raise AnnotatorError(f"Label Studio does not come up. {_tail(place)}")
            progress.waiting("Starting Label Studio; its first start takes half a minute")
            time.sleep(0.2)
    finally:
        progress.waiting(None)
    return server


def _knows_us(place: Place, server: LocalServer) -> bool:
    """Whether it takes our token; false while it does not answer at all."""
    request = urllib.request.Request(
        f"{server.url}/api/current-user/whoami", headers={"Authorization": f"Token {server.token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as reply:
            reply.read()
    except urllib.error.HTTPError as exc:
        if exc.code not in (401, 403):
            raise AnnotatorError(f"{server.url} answers {exc.code}. {_tail(place)}") from exc
        raise AnnotatorError(_token_advice(place, server, exc)) from exc
    except (OSError, http.client.HTTPException):
        return False
    return True


def _token_advice(place: Place, server: LocalServer, refusal: urllib.error.HTTPError) -> str:
    with suppress(OSError, http.client.HTTPException):
        if b"disabled" in refusal.read():  # by the organisation, so another user's would be refused as well
            return (
                f"Label Studio at {server.url} does not allow legacy tokens, which star-al up works with. "
                f"Log in there as {server.user} (the password is in {place.credentials}) and allow them "
                "under Organization → API Tokens."
            )
    return (
        f"Label Studio at {server.url} does not take the token of {server.user} in {place.credentials}. Run "
        "star-al up --stop, delete that file and run star-al up: it makes another user; projects stay."
    )


def _tail(place: Place) -> str:
    """Where the log is and its last lines, without secrets."""
    with suppress(OSError):
        lines = place.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        text, stored = "\n".join(lines), read_credentials(place)
        for secret in (stored.token, stored.password) if stored else ():
            text = text.replace(secret, "***")
        return f"The end of its log, {place.log}:\n{text}"
    return f"Its log is {place.log}."


# -- stopping ------------------------------------------------------------------------------------------


def _end(place: Place, state: State) -> None:
    """SIGTERM, and SIGKILL for what remains, to the supervisor's process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in state.alive():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(os.getpgid(process.pid), number)
        _wait(lambda: not state.alive(), STOP_SECONDS)
    if left := state.alive():
        raise AnnotatorError(f"Process {left[0].pid} of Label Studio does not end. End it and run again.")
    if (port := state.port) is not None:
        _wait(lambda: _is_free(port), PORT_SECONDS)
    with told_of_disk(place):
        place.state.unlink(missing_ok=True)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    """Until ``done``, or the time is over."""
    late = time.monotonic() + seconds
    while not done() and time.monotonic() < late:
        time.sleep(0.05)
