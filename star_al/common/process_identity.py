"""Which process holds something, told apart from a later one that was given the same process id.

A process is declared dead only where that is certain: in the same boot of the same kernel, and in the same
namespace of process ids. Host names prove nothing, because containers and cloned machines share them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

START_TOLERANCE = 10.0
"""Seconds by which two readings of a process's start may differ by the calendar: it moves with the clock."""

UPTIME_TOLERANCE = 1.0
"""Seconds by which two readings of the time from boot to a process's start may differ."""

UNKNOWN = "-"
"""Stands for a boot or a namespace that cannot be found out."""


@cache  # a laptop's host name changes with its network; a process stays where it is
def _place() -> str:
    """Host (for people to read), boot, and namespace of process ids; none of them contains a slash."""
    return "/".join((socket.gethostname().replace("/", "_"), _boot(), _namespace()))


def _boot() -> str:
    """What identifies this boot of this kernel; containers on one machine share it."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        else:
            found = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (OSError, ValueError, subprocess.SubprocessError):
        return UNKNOWN
    return found.strip().replace("-", "").replace("/", "_") or UNKNOWN


def _namespace() -> str:
    """The namespace in which process ids mean something. Numbers are used again, but not while one lives."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "none" if sys.platform == "darwin" else UNKNOWN


def _origin(place: str) -> tuple[str, str] | None:
    """Boot and namespace of a place; None if they are not known, as in what version 0.1 wrote (host/namespace)."""
    parts = place.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and UNKNOWN not in parts[1:] else None


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process: its id, its start, and the place where its id means something.

    Attributes:
        pid: Its id.
        started: When it started, in seconds since the epoch.
        place: Host, boot and namespace.
        uptime: Seconds from boot to its start, which no clock moves; None where it cannot be read.
    """

    pid: int
    started: float
    place: str = field(default_factory=_place)
    uptime: float | None = None

    @classmethod
    def of(cls, pid: int | None = None) -> ProcessIdentity:
        """The identity of a living process of this place; of this one if ``pid`` is None."""
        process = psutil.Process(pid)
        return cls(process.pid, process.create_time(), uptime=_uptime(process.pid))

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity | None:
        """An identity from its text; None if the text is no identity."""
        try:
            place, process, started = text.rsplit(":", 2)
            pid, _, uptime = process.partition("@")
            identity = cls(int(pid), float(started), place, float(uptime) if uptime else None)
        except ValueError:
            return None
        return identity if identity.pid > 0 else None  # others mean groups of processes

    def __str__(self) -> str:
        process = str(self.pid) if self.uptime is None else f"{self.pid}@{self.uptime:.2f}"
        return f"{self.place}:{process}:{self.started:.0f}"

    @property
    def host(self) -> str:
        """The host name when it was first asked for."""
        return self.place.partition("/")[0]

    def find(self) -> psutil.Process | None:
        """The process, if it is alive and can be seen from here."""
        if self.place != _place() and not self._is_surely_here():
            return None
        try:
            return self._living()
        except psutil.Error:
            return None

    def has_ended(self) -> bool:
        """True if the process has certainly ended; False also where nobody here can tell."""
        try:
            return self._is_surely_here() and self._living() is None and not self._is_hidden()
        except psutil.Error:
            return False

    def in_words(self) -> str:
        """Which process this is, for a message: "process 2401 on this machine"."""
        here, there = _origin(_place()), _origin(self.place)
        if self._is_surely_here():
            where = "on this machine"
        elif here is not None and there is not None and here[0] == there[0]:
            where = "in another container of this machine"
        else:
            where = f"on {self.host}"
        return f"process {self.pid} {where}"

    def _is_surely_here(self) -> bool:
        here = _origin(_place())
        return here is not None and here == _origin(self.place)

    def _living(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = self._is_same(process)
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.NoSuchProcess, ValueError, OverflowError):
            return None

    def _is_same(self, process: psutil.Process) -> bool:
        uptime = _uptime(process.pid)
        if self.uptime is not None and uptime is not None:
            return abs(uptime - self.uptime) <= UPTIME_TOLERANCE
        return abs(process.create_time() - self.started) <= START_TOLERANCE

    def _is_hidden(self) -> bool:
        """Return whether a process has this id but cannot be seen: /proc may hide those of other users."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        return sys.platform != "darwin" and _uptime(self.pid) is None


def _uptime(pid: int) -> float | None:
    """Seconds from boot to the start of a process."""
    with suppress(OSError, ValueError, IndexError):
        after_name = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        )
        return int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")
    return None


def has_ended(owner: str) -> bool:
    """True if ``owner`` names a process that has certainly ended; False where nobody here can tell."""
    identity = ProcessIdentity.parse(owner)
    return identity is not None and identity.has_ended()


def in_words(owner: str) -> str:
    """Which process ``owner`` names, for a message; an owner that names none as it is."""
    identity = ProcessIdentity.parse(owner)
    return owner if identity is None else identity.in_words()
