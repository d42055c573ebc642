"""Which processes are the local server now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from star_al.common.process_identity import ProcessIdentity
from star_al.local_server.place import Place


@dataclass(frozen=True, slots=True)
class State:
    """What runs: the supervisor, the server it supervises, and the port once the server listens."""

    version: str
    supervisor: ProcessIdentity
    server: ProcessIdentity | None = None
    port: int | None = None

    @property
    def supervised(self) -> bool:
        """True if the supervisor is alive."""
        return self.supervisor.find() is not None

    @property
    def listens(self) -> bool:
        """True if the server itself listens at the port, and not a program that has taken it since a crash."""
        process = None if self.server is None else self.server.find()
        return process is not None and self.port in listening_ports(process)

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
            supervisor=_of_this_machine(stored.pop("supervisor")),
            server=None if server is None else _of_this_machine(server),
            **stored,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return state if state.alive() else None


def _of_this_machine(stored: Mapping[str, Any]) -> ProcessIdentity:
    """A stored process. A place without a boot, as version 0.1 wrote, is this one: the file is of this machine."""
    identity = ProcessIdentity(**stored)
    return identity if identity.place.count("/") == 2 else ProcessIdentity(identity.pid, identity.started)


def listening_ports(process: psutil.Process) -> list[int]:
    """The TCP ports that a process of this user listens on; none if it has ended."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN]
