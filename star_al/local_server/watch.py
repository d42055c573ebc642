"""The supervisor: ``python -m star_al.local_server.watch`` keeps one Label Studio alive in the background.

It outlives the shell that started it, starts a crashed server again after growing pauses, keeps the log file
short, and ends on SIGTERM, or with the process that it was made to serve. A server that never came to answer
is not started again: whoever started it is told why.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from star_al.local_server.command import server_command, server_environment
from star_al.local_server.processes import Identity, State, identity, listening_port
from star_al.local_server.where import Credentials, Place, read_credentials, write_credentials, write_private

LOOK_EVERY = 0.5
"""Seconds between two looks at the server."""

LONGEST_PAUSE = 60.0
"""Seconds between two starts of a server that crashes again and again; the first pause is a second."""

STEADY = 300.0
"""After so many seconds a crash counts as the first one."""

LOG_BYTES = 5_000_000
"""A log file of this size becomes the old one; there are two, at most."""

GRACE = 10.0
"""Seconds that the server has to end after SIGTERM."""


class Supervisor:
    """Runs the server of one place until it is told to stop; ``owner`` is the process to end with, if any."""

    def __init__(self, place: Place, credentials: Credentials, owner: Identity | None) -> None:
        self._place, self._credentials, self._owner = place, credentials, owner
        self._state = State(credentials.version, supervisor=identity())
        self._ending = threading.Event()

    def announce(self) -> None:
        """Write who watches, before there is a server."""
        self._write(self._state)

    def run(self) -> None:
        """Start the server, watch it, and start it again, until the end."""
        pause = 1.0
        try:
            while not self._ending.is_set():
                lived = self._serve()
                if self._state.port is None:
                    return
                pause = 1.0 if lived > STEADY else pause
                self._ending.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._place.state.unlink(missing_ok=True)

    def end(self, *_signal: object) -> None:
        """Stop the server and return from ``run``."""
        self._ending.set()

    def _serve(self) -> float:
        """One life of the server; how many seconds it lived."""
        credentials, place = self._credentials, self._place
        with place.log.open("ab") as log:
            process = subprocess.Popen(
                server_command(place, credentials.version, self._state.port or credentials.port),
                env=server_environment(place, credentials),
                cwd=place.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        born = identity(process.pid)
        self._write(replace(self._state, server=born))
        seconds, listening = 0.0, False
        try:
            while process.poll() is None and not self._ending.is_set():
                listening = listening or self._note_port(born)
                self._ending.wait(LOOK_EVERY)
                seconds += LOOK_EVERY
                shorten(self._place.log)
                if self._owner is not None and self._owner.find() is None:
                    self.end()
        finally:
            _stop(process)
        return seconds

    def _note_port(self, born: Identity) -> bool:
        """Whether the server listens; Label Studio itself takes the next port where the given one is busy."""
        process = born.find()
        port = None if process is None else listening_port(process)
        if port is None:
            return False
        if port != self._credentials.port:
            self._credentials = replace(self._credentials, port=port)
            write_credentials(self._place, self._credentials)
        if port != self._state.port:
            self._write(replace(self._state, port=port))
        return True

    def _write(self, state: State) -> None:
        self._state = state
        write_private(self._place.state, state.to_json())


def shorten(log: Path) -> None:
    """Move a log file that has grown long to the old one; the server holds it open for appending."""
    with suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            write_private(log.with_suffix(".old.log"), log.read_text(encoding="utf-8", errors="replace"))
            os.truncate(log, 0)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Leave the session of the caller and watch, as told by the JSON object in the first argument.

    The caller waits until standard error is closed: then the state has been written.
    """
    told = json.loads(sys.argv[1])
    place = Place(Path(told["home"]), Path(told["environments"]))
    owner = None if told["owner"] is None else Identity(**told["owner"])
    credentials = read_credentials(place)
    if credentials is None:
        sys.exit(f"{place.credentials} is not there")
    if os.fork():
        os._exit(0)
    os.setsid()
    supervisor = Supervisor(place, credentials, owner)
    signal.signal(signal.SIGTERM, supervisor.end)
    signal.signal(signal.SIGINT, supervisor.end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.announce()
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, sys.stderr.fileno())
    supervisor.run()


if __name__ == "__main__":
    main()
