"""The supervisor: ``python -m star_al.local_server.supervisor`` keeps one Label Studio running in the background.

It outlives the shell that started it, restarts a crashed server after growing pauses, and limits the size of the
log file. It ends on SIGTERM, or together with the process it was started for. A server that has never answered is
not restarted, and whoever started it gets an error.
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

from star_al.common.process_identity import ProcessIdentity
from star_al.local_server.command import server_command, server_environment
from star_al.local_server.credentials import Credentials, read_credentials, write_credentials
from star_al.local_server.place import Place, write_private
from star_al.local_server.state import State, listening_ports

CHECK_EVERY = 0.5
"""Seconds between two checks of the server."""

LONGEST_PAUSE = 60.0
"""The longest pause before a crashed server is restarted (seconds); the first is one second, and they double."""

STEADY_SECONDS = 300.0
"""After a crash of a server that has run this long, the pauses start from one second again."""

LOG_BYTES = 5_000_000
"""A log file of this size is moved to the old one; there are at most these two."""

STOP_SECONDS = 10.0
"""Time that the server has to end after SIGTERM."""


class Supervisor:
    """Keeps the server of one place running until it is stopped; ``owner`` is a process to end with, if any."""

    def __init__(self, place: Place, credentials: Credentials, owner: ProcessIdentity | None) -> None:
        self._place, self._credentials, self._owner = place, credentials, owner
        self._state = State(credentials.version, supervisor=ProcessIdentity.of())
        self._stopping = threading.Event()
        self._has_listened = False

    def announce(self) -> None:
        """Write the state file, before there is a server."""
        self._write(self._state)

    def run(self) -> None:
        """Start the server and restart it when it crashes, until ``stop`` is called."""
        pause = 1.0
        try:
            while not self._stopping.is_set():
                seconds = self._serve()
                if not self._has_listened:
                    return
                # Whoever takes the port while the server is gone must not be taken for it.
                self._write(replace(self._state, server=None, port=None))
                pause = 1.0 if seconds > STEADY_SECONDS else pause
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._place.state.unlink(missing_ok=True)

    def stop(self, *_signal: object) -> None:
        """Stop the server, so that ``run`` returns."""
        self._stopping.set()

    def _serve(self) -> float:
        """Run the server once; return for how many seconds it ran."""
        credentials, place = self._credentials, self._place
        with place.log.open("ab") as log:
            process = subprocess.Popen(
                server_command(place, credentials),
                env=server_environment(place, credentials),
                cwd=place.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        server = ProcessIdentity.of(process.pid)
        self._write(replace(self._state, server=server))
        seconds, listening = 0.0, False
        try:
            while process.poll() is None and not self._stopping.is_set():
                listening = listening or self._note_port(server)
                self._stopping.wait(CHECK_EVERY)
                seconds += CHECK_EVERY
                rotate(self._place.log)
                if self._owner is not None and self._owner.find() is None:
                    self.stop()
        finally:
            _stop(process)
        return seconds

    def _note_port(self, server: ProcessIdentity) -> bool:
        """Store the port once the server listens; return whether it does.

        Label Studio itself moves to the next port if the given one is busy.
        """
        process = server.find()
        ports = [] if process is None else listening_ports(process)
        if not ports:
            return False
        port, self._has_listened = ports[0], True
        if port != self._credentials.port:
            self._credentials = replace(self._credentials, port=port)
            write_credentials(self._place, self._credentials)
        if port != self._state.port:
            self._write(replace(self._state, port=port))
        return True

    def _write(self, state: State) -> None:
        self._state = state
        write_private(self._place.state, state.to_json())


def rotate(log: Path) -> None:
    """Move the contents of a large log file to the old one; the server keeps it open for appending."""
    with suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            write_private(log.with_suffix(".old.log"), log.read_text(encoding="utf-8", errors="replace"))
            os.truncate(log, 0)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Leave the caller's session and supervise the server that the JSON object in the first argument describes.

    The caller waits until standard error is closed; by then the state file has been written.
    """
    arguments = json.loads(sys.argv[1])
    place = Place(Path(arguments["home"]), Path(arguments["environments"]))
    owner = None if arguments["owner"] is None else ProcessIdentity(**arguments["owner"])
    credentials = read_credentials(place)
    if credentials is None:
        sys.exit(f"{place.credentials} does not exist")
    if os.fork():
        os._exit(0)
    os.setsid()
    supervisor = Supervisor(place, credentials, owner)
    signal.signal(signal.SIGTERM, supervisor.stop)
    signal.signal(signal.SIGINT, supervisor.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.announce()
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, sys.stderr.fileno())
    supervisor.run()


if __name__ == "__main__":
    main()
