"""Which process holds something, told apart from a later one that was given the same process id."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from functools import cache

import psutil

START_TOLERANCE = 10.0
"""Seconds by which two readings of one process's start may differ: the kernel's boot time moves with the clock."""


@cache  # a laptop's host name changes with its network; a process stays where it is
def _place() -> str:
    """Host and process-id namespace: containers may share a host name, and do not see each other's processes."""
    try:
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        namespace = "-"
    return f"{socket.gethostname()}/{namespace}"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process by its id, its start (seconds since the epoch) and the place where its id means something."""

    pid: int
    started: float
    place: str = field(default_factory=_place)

    @classmethod
    def of(cls, pid: int | None = None) -> ProcessIdentity:
        """The identity of a living process of this place; of this one if ``pid`` is None."""
        process = psutil.Process(pid)
        return cls(process.pid, process.create_time())

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity | None:
        """An identity from its text; None if the text is no identity."""
        try:
            place, pid, started = text.rsplit(":", 2)
            return cls(int(pid), float(started), place)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.place}:{self.pid}:{self.started:.0f}"

    def find(self) -> psutil.Process | None:
        """The process, if it is alive and can be seen from here."""
        try:
            return self._living() if self.place == _place() else None
        except psutil.Error:
            return None

    def has_ended(self) -> bool:
        """True if the process has certainly ended; False also where nobody here can tell."""
        try:
            return self.place == _place() and self._living() is None
        except psutil.Error:
            return False

    def _living(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) <= START_TOLERANCE
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def has_ended(owner: str) -> bool:
    """True if ``owner`` names a process that has certainly ended; False where nobody here can tell."""
    identity = ProcessIdentity.parse(owner)
    return identity is not None and identity.has_ended()
