"""Keep a lease alive while long work runs, and notice at once when it is lost."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import psutil

from star_al.errors import LeaseLostError, StoreError
from star_al.ports import Advance, Progress, Store
from star_al.types import Lease

BEATS_PER_LEASE = 4
"""Renewals within one lease, so that a slow database or a single failure does not lose it."""


SAME_START = 10.0
"""Seconds that two readings of one process's start may differ by; the kernel's boot time moves with the clock."""


def owner_name() -> str:
    """Who holds a lease: place, process id and the process's start, so that a reused id is told apart."""
    return f"{_place()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def is_dead(owner: str) -> bool:
    """Whether the owner of a lease was a process of this place that has ended; false where nobody can tell."""
    try:
        place, pid, started = owner.rsplit(":", 2)
        if place != _place():
            return False
        process = psutil.Process(int(pid))
        other_process = abs(process.create_time() - float(started)) > SAME_START
        return other_process or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def _place() -> str:
    """Host and process-id namespace: containers may share a host name, and do not see each other's processes."""
    try:
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        namespace = "-"
    return f"{socket.gethostname()}/{namespace}"


class Heartbeat:
    """Renews a lease in a thread, as a context manager. ``check`` raises once the lease is lost."""

    def __init__(self, store: Store, lease: Lease, seconds: float) -> None:
        self._store, self._lease, self._seconds = store, lease, seconds
        self._stop = threading.Event()
        self._lost: LeaseLostError | None = None
        self._thread = threading.Thread(target=self._run, name="lease-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise ``LeaseLostError`` when another controller has taken the campaign over."""
        if self._lost is not None:
            raise self._lost

    def _run(self) -> None:
        while not self._stop.wait(self._seconds / BEATS_PER_LEASE):
            try:
                self._store.renew_lease(self._lease, self._seconds)
            except LeaseLostError as exc:
                self._lost = exc
                return
            except StoreError:
                continue  # a database that is away for a while: the epoch still guards every write


class GuardedProgress:
    """A progress display that stops long work soon after the lease is lost, not only at its next write."""

    def __init__(self, progress: Progress, heartbeat: Heartbeat) -> None:
        self._progress, self._heartbeat = progress, heartbeat

    def say(self, message: str) -> None:
        """As the display beneath."""
        self._progress.say(message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """As the display beneath; every advance checks the lease."""
        with self._progress.task(description, total) as advance:

            def checked(n: int) -> None:
                self._heartbeat.check()
                advance(n)

            yield checked

    def waiting(self, message: str | None) -> None:
        """As the display beneath; checks the lease."""
        self._progress.waiting(message)
        if message is not None:
            self._heartbeat.check()
