"""Start, find and stop the local Label Studio. Every call may be repeated, and two processes may call at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from star_al.common.process_identity import ProcessIdentity
from star_al.errors import AnnotatorError
from star_al.local_server.addresses import check_host
from star_al.local_server.credentials import (
    THIS_MACHINE,
    Credentials,
    LocalServer,
    new_credentials,
    read_credentials,
    write_credentials,
)
from star_al.local_server.install import VERSION, check_version, install
from star_al.local_server.login import accepts_token, log_tail
from star_al.local_server.place import Place, default_place, disk_errors, make_home
from star_al.local_server.state import State, read_state
from star_al.ports import Progress

FIRST_PORT = 8080
"""The port that the very first start tries."""

PORTS_TRIED = 100

START_SECONDS = 300.0
"""A start that takes longer than this, migrations included, has failed."""

STOP_SECONDS = 15.0
"""Time to end after SIGTERM; then comes SIGKILL."""

PORT_SECONDS = 5.0
"""A port may stay in use for a moment after its process is gone."""


def credentials(place: Place | None = None) -> LocalServer | None:
    """The local server's address and login, whether it runs or not; None if none was ever started."""
    stored = read_credentials(place or default_place())
    return None if stored is None else stored.server


def running(place: Place | None = None) -> LocalServer | None:
    """The local server, if it is supervised and itself listens at its port.

    This looks at processes and sends no request. A program that took the port after a crash is not the server.
    """
    place = place or default_place()
    state, stored = read_state(place), read_credentials(place)
    if state is None or stored is None or state.port is None or not (state.supervised and state.listens):
        return None
    return replace(stored, port=state.port).server


def supervised(place: Place | None = None) -> bool:
    """Return whether a supervisor keeps the server running, also while it restarts a crashed one."""
    state = read_state(place or default_place())
    return state is not None and state.supervised


def start(
    place: Place,
    progress: Progress,
    *,
    port: int | None = None,
    version: str | None = None,
    host: str = THIS_MACHINE,
    webhooks: bool = False,
    owner: ProcessIdentity | None = None,
) -> LocalServer:
    """Install, start and supervise the server, as far as that has not been done; return once it answers.

    Args:
        place: Its folders.
        progress: Where to say what happens.
        port: The port to listen on; None: that of the last start.
        version: The version; None: that of the last start, or the one star_al is tested with.
        host: The address to listen on: this machine's own, all addresses, or one that other machines reach.
        webhooks: Let the server call programs of this machine, which Label Studio does not by default.
        owner: A process with which the server ends; None: it runs until it is stopped.

    Raises:
        AnnotatorError: It cannot be installed or started, or does not accept the stored login.
    """
    if version is not None:
        check_version(version)
    check_host(host)
    make_home(place)
    with _locked(place, progress):
        stored = read_credentials(place)
        wanted = version or (stored.version if stored else VERSION)
        _refuse_older(stored, wanted)
        state = read_state(place)
        if state is None or state.version != wanted:
            install(place, wanted, progress)  # meanwhile another version may go on running
        if state is not None and not (state.supervised and state.version == wanted):
            again = "restart it" if state.version == wanted else f"start {wanted}"
            progress.say(f"Stopping Label Studio {state.version} to {again}")
            _end(place, state)
            state = None
        if state is None:
            with disk_errors(place):
                place.data.mkdir(mode=0o700, exist_ok=True)
                if stored is not None and stored.host != THIS_MACHINE == host:
                    progress.say(
                        f"Only this machine will reach Label Studio; last time it listened on {stored.host} (--host)"
                    )
                chosen = _choose_port(place, stored, port, wanted, progress)
                write_credentials(place, replace(chosen, host=host, webhooks=webhooks))
                _start_supervisor(place, owner)
        elif stored is not None:
            _tell_of_what_stays(stored, progress, port=port, host=host, webhooks=webhooks)
        return _wait_until_ready(place, progress)


def stop(place: Place, progress: Progress) -> bool:
    """Stop the server and its supervisor; return whether one was running."""
    if not place.home.is_dir():
        return False
    with _locked(place, progress):
        state = read_state(place)
        if state is not None:
            _end(place, state)
        return state is not None


# -- starting ------------------------------------------------------------------------------------------


@contextmanager
def _locked(place: Place, progress: Progress) -> Iterator[None]:
    """Hold the lock, which this process loses when it ends; wait while another process holds it."""
    lock = FileLock(place.lock)
    with disk_errors(place):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say("Another star-al process is starting or stopping Label Studio; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _tell_of_what_stays(
    running: Credentials, progress: Progress, *, port: int | None, host: str, webhooks: bool
) -> None:
    """Say which settings of a running server are not those that were asked for."""
    asked = {
        "port": port not in (None, running.port),
        "address": host not in (THIS_MACHINE, running.host),
        "webhooks": webhooks and not running.webhooks,
    }
    other = " and ".join(name for name, differs in asked.items() if differs)
    if other:
        progress.say(f"Label Studio is already running; to change its {other}, stop it with --stop first")


def _refuse_older(stored: Credentials | None, wanted: str) -> None:
    if stored is not None and _numbers(wanted) < _numbers(stored.version):
        raise AnnotatorError(
            f"Label Studio {wanted} cannot read the data of version {stored.version}. "
            f"Start {stored.version} or a newer version."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _choose_port(
    place: Place, stored: Credentials | None, port: int | None, version: str, progress: Progress
) -> Credentials:
    """The credentials to start with: the stored ones or new ones, with a port that is free now."""
    wanted = port or (stored.port if stored else FIRST_PORT)
    free = next((each for each in range(wanted, min(wanted + PORTS_TRIED, 65536)) if _is_free(each)), None)
    if free is None:
        raise AnnotatorError(
            f"None of the {PORTS_TRIED} ports from {wanted} on is free. Choose another one with --port."
        )
    if free != wanted:
        progress.say(f"Port {wanted} is in use by another program; Label Studio will listen on port {free}")
    if stored is None:
        return new_credentials(place, free, version)
    return replace(stored, port=free, version=version)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:  # also finds programs that listen on all addresses
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _start_supervisor(place: Place, owner: ProcessIdentity | None) -> None:
    """Start a supervisor. It leaves our session, and closes standard error once it has written its state."""
    arguments = {
        "home": str(place.home),
        "environments": str(place.environments),
        "owner": None if owner is None else asdict(owner),
    }
    own = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    started = subprocess.run(
        [sys.executable, "-m", "star_al.local_server.supervisor", json.dumps(arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(own)},
        cwd=place.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if started.stderr.strip():
        reason = started.stderr.strip().splitlines()[-1]
        raise AnnotatorError(f"Label Studio could not be started: {reason}")


def _wait_until_ready(place: Place, progress: Progress) -> LocalServer:
    """Wait until the server listens and answers. The supervisor restarts it if it crashes."""
    deadline = time.monotonic() + START_SECONDS
    try:
        while (server := running(place)) is None or not accepts_token(place, server):
            if read_state(place) is None:
                raise AnnotatorError(f"Label Studio ended while it was starting. {log_tail(place)}")
            if time.monotonic() > deadline:
                raise AnnotatorError(
                    f"Label Studio did not answer within {START_SECONDS:.0f} s. {log_tail(place)}"
                )
            progress.waiting("Starting Label Studio; the first start takes half a minute")
            time.sleep(0.2)
    finally:
        progress.waiting(None)
    return server


# -- stopping ------------------------------------------------------------------------------------------


def _end(place: Place, state: State) -> None:
    """Send SIGTERM to the processes' groups, and SIGKILL to what remains."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in state.alive():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(os.getpgid(process.pid), number)
        _wait(lambda: not state.alive(), STOP_SECONDS)
    if left := state.alive():
        raise AnnotatorError(
            f"Process {left[0].pid} of Label Studio does not end. Kill it and run the same command again."
        )
    if (port := state.port) is not None:
        _wait(lambda: _is_free(port), PORT_SECONDS)
    with disk_errors(place):
        place.state.unlink(missing_ok=True)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    """Wait until ``done``, but not longer than this."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
