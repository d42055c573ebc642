"""Which processes are the local server now."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import psutil

from star_al.local_server.place import Place

SAME_START = 10.0
"""Seconds by which two readings of one process's start may differ; the kernel's boot time moves with the clock."""


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
    """The identity of a living process; None means this one."""
    process = psutil.Process(pid)
    return Identity(process.pid, process.create_time())


@dataclass(frozen=True, slots=True)
class State:
    """What runs: the supervisor, the server it supervises, and the port once the server listens."""

    version: str
    supervisor: Identity
    server: Identity | None = None
    port: int | None = None

    @property
    def supervised(self) -> bool:
        """Whether the supervisor is alive."""
        return self.supervisor.find() is not None

    def alive(self) -> list[psutil.Process]:
        """The processes that are alive."""
        found = [each.find() for each in (self.supervisor, self.server) if each is not None]
        return [process for process in found if process is not None]

    def to_json(self) -> str:
        """The contents of the state file."""
        return json.dumps(asdict(self)) + "\n"


def read_state(place: Place) -> State | None:
    """The last state written; None if there is none, or no process of it is alive (after a reboot or crash)."""
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
    """The TCP port that a process of this user listens on; None if there is none yet."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return None
    return next((each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN), None)
