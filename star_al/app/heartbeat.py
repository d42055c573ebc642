"""Renew a lease while long work runs, and stop that work soon after the lease is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from star_al.errors import LeaseLostError, StoreError
from star_al.ports import Advance, Progress, Store
from star_al.types import Lease

BEATS_PER_LEASE = 4
"""Renewals within the length of a lease, so that one that is slow or fails does not lose it."""


class Heartbeat:
    """A context manager that renews a lease in a thread; ``check`` raises once the lease is lost."""

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
        """Raise ``LeaseLostError`` if another controller has taken the campaign over."""
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
                continue  # the database may come back; until then the epoch guards every write


class GuardedProgress:
    """A progress display that raises once the lease is lost, so that long work stops before its next write."""

    def __init__(self, progress: Progress, heartbeat: Heartbeat) -> None:
        self._progress, self._heartbeat = progress, heartbeat

    def say(self, message: str) -> None:
        """Show the line on the display beneath."""
        self._progress.say(message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show the task on the display beneath; every advance checks the lease."""
        with self._progress.task(description, total) as advance:

            def checked(n: int) -> None:
                self._heartbeat.check()
                advance(n)

            yield checked

    def waiting(self, message: str | None) -> None:
        """Show the message on the display beneath, and check the lease."""
        self._progress.waiting(message)
        if message is not None:
            self._heartbeat.check()
