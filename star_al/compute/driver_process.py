"""The process that speaks with Ray for a campaign, and the messages between the two."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from star_al.compute.tasks import AnyTask, Order
from star_al.compute.worker import Done
from star_al.config.spec import RayComputeSpec
from star_al.errors import ClusterError, StarALError

PROGRAM = ("-P", "-m", "star_al.compute.ray_driver")
"""How Python runs it; with -P, no file of the current folder takes the place of a module."""

REFUSAL = b"InvalidAuthToken"
"""What Ray writes about a token that is not the cluster's; its exception says only that it did not connect."""

GRACE = 10.0
"""Seconds that it has to end its workers."""


@dataclass(frozen=True)
class Begin:
    """The first message to the driver."""

    settings: RayComputeSpec
    artefacts: str
    campaign: str


@dataclass(frozen=True)
class Submit:
    """Run a task by the model of an order."""

    key: str
    task: AnyTask
    order: Order


@dataclass(frozen=True)
class Say:
    """A line for the user."""

    line: str


@dataclass(frozen=True)
class Read:
    """How many items of a task have been read."""

    key: str
    items: int


@dataclass(frozen=True)
class Finished:
    """A task's result, or why there is none."""

    key: str
    outcome: Done | StarALError


@dataclass(frozen=True)
class Ended:
    """The last message.

    Attributes:
        error: What cannot be mended by connecting again; None if the cluster was lost.
        reason: How it was lost.
    """

    error: StarALError | None = None
    reason: str = ""


Message: TypeAlias = Say | Read | Finished | Ended


def refused(address: str | None) -> ClusterError:
    """The error of a cluster that asks for a token which this machine does not have."""
    return ClusterError(
        f"the Ray cluster at {address} asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here to the "
        "values that Ray was started with there."
    )


class DriverProcess:
    """A driver that has been started; ``end`` ends it and what it has started."""

    def __init__(self, begin: Begin) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._address = begin.settings.address
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by ``end``)
        self._process = subprocess.Popen(
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the campaign's process alone
        )
        self._reader = threading.Thread(target=self._read, name="cluster", daemon=True)
        self._reader.start()
        self._send(begin)

    def submit(self, submit: Submit) -> None:
        """Let a task be run."""
        self._send(submit)

    def receive(self, timeout: float) -> Message | None:
        """The next message; None if there is none in time."""
        try:
            return self._messages.get(timeout=timeout)
        except queue.Empty:
            return None

    def end(self) -> None:
        """End it; it ends the workers, which lose nothing but the tasks that they are at."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._errors.close()

    def _send(self, message: Begin | Submit) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which the reader tells
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        message: Message | None = None
        with suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):
            while not isinstance(message, Ended):
                message = pickle.load(self._process.stdout)
                self._messages.put(self._explained(message))
        if not isinstance(message, Ended):
            self._process.wait()
            self._messages.put(self._explained(Ended(reason=self._last_line())))

    def _explained(self, message: Message) -> Message:
        """The message; if the cluster did not let the driver in, that is no loss that could pass."""
        if not isinstance(message, Ended) or message.error is not None or REFUSAL not in self._written():
            return message
        return Ended(refused(self._address))

    def _written(self) -> bytes:
        """What the driver has written to standard error."""
        descriptor = self._errors.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._written().decode(errors="replace").split("\n")]
        return next((line[:300] for line in reversed(lines) if line), "the driver process has ended")
