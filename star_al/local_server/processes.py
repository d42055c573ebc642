"""Which processes are the local server: told apart from others that got the same process id later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import psutil

from star_al.local_server.where import Place

SAME_START = 10.0
"""Seconds that two readings of one process's start may differ by; the kernel's boot time moves with the clock."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process by its id and its start (seconds since the epoch)."""

    pid: int
    started: float

    def find(self) -> psutil.Process | None:
        """The process, if it is alive and no other one."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) <= SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def identity(pid: int | None = None) -> Identity:
    """Of a living process (null: this one)."""
    process = psutil.Process(pid)
    return Identity(process.pid, process.create_time())


@dataclass(frozen=True, slots=True)
class State:
    """What runs: the supervisor, the server it watches, and the port once the server answers there."""

    version: str
    supervisor: Identity
    server: Identity | None = None
    port: int | None = None

    @property
    def watched(self) -> bool:
        """Whether the supervisor is alive."""
        return self.supervisor.find() is not None

    def alive(self) -> list[psutil.Process]:
        """Those of its processes that are alive."""
        found = [each.find() for each in (self.supervisor, self.server) if each is not None]
        return [process for process in found if process is not None]

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self)) + "\n"


def read_state(place: Place) -> State | None:
    """What was written last; null where nothing was, or nothing of it is alive (a reboot, a crash)."""
    try:
        stored = json.loads(place.state.read_text(encoding="utf-8"))
        server = stored.pop("server")
        state = State(
            supervisor=Identity(**stored.pop("supervisor")),
            server=None if server is None else Identity(**server),
            **stored,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return state if state.alive() else None


def listening_port(process: psutil.Process) -> int | None:
    """The TCP port that a process of this user listens on; null as long as there is none."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return None
    return next((each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN), None)
