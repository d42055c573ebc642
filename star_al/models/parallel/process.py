"""One of the processes that train together, as the one that starts them sees it."""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from star_al.models.parallel.orders import MessageKind, Order, Setup

WORKER = ("-P", "-m", "star_al.models.parallel.worker")
"""How Python runs a process; with -P, no file of the current folder takes the place of a module."""

GRACE = 10.0
"""Seconds that a process has to exit after SIGTERM before it is killed."""

Messages: TypeAlias = queue.SimpleQueue[tuple[int, MessageKind, Any]]
"""Messages of all processes: the process's number, the kind, and the content."""


class Process:
    """A process, and the thread that reads what it reports."""

    def __init__(
        self,
        rank: int,
        environment: Mapping[str, str],
        messages: Messages,
    ) -> None:
        self._rank, self._messages = rank, messages
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by ``end``)
        self._process = subprocess.Popen(
            [sys.executable, *WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(environment),
        )
        self._reader = threading.Thread(target=self._read, name=f"training-process-{rank}", daemon=True)
        self._reader.start()

    def send(self, content: Setup | Order) -> None:
        """Send what it is to hold or to do."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which the reader tells
            pickle.dump(content, self._process.stdin)
            self._process.stdin.flush()

    @property
    def was_killed(self) -> bool:
        """True if a signal ended it."""
        code = self._process.poll()
        return code is not None and code < 0

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def end(self) -> None:
        """Wait until it has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):
            while True:
                kind, content = pickle.load(self._process.stdout)
                self._messages.put((self._rank, kind, content))
        self._messages.put((self._rank, "ended", self._how_it_ended()))

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        wrote = f" It wrote: {last[:300]}" if last else ""
        if code >= 0:
            return f"ended with exit code {code}.{wrote}"
        name = signal.Signals(-code).name
        memory = " It may have run out of memory: set adapter.batch_size lower." if name == "SIGKILL" else ""
        return f"was ended by {name}.{memory}{wrote}"
