"""Run functions in worker processes that report their progress through a pipe.

A worker exits with its parent, however the parent ended. On SIGTERM it releases what it holds, such as a
lease, so that the next controller does not have to wait.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NamedTuple, NoReturn, Protocol

from star_al.errors import StarALError
from star_al.ports import Advance, Progress

SEND_EVERY = 0.2
"""Least seconds between two messages about the progress of a task."""

GRACE = 10.0
"""Seconds that a process has to exit after SIGTERM before it is killed."""

PRELOADED = [
    "db.store",
    "pandas",  # which pyarrow imports when it makes its first table
    "scipy.stats",
    "sklearn.metrics",
    "star_al.app.running",
    "star_al.models.learner",
    "star_al.models.posterior.mc_dropout",
]
"""Modules that all workers import. It takes seconds, so where workers are forked it is done once."""

_CAN_FORK = sys.platform == "linux"
"""On other systems it is not safe to fork a process that has imported these modules."""


class MessageKind(IntEnum):
    """What a message of a worker is about; in brackets its content."""

    LINE = 0  # a line to print (the text)
    TASK_STARTED = 1  # (number, description, total)
    TASK_ADVANCED = 2  # (number, units)
    TASK_ENDED = 3  # (number)
    PROCESS_ENDED = 4  # a ``ProcessResult``; of a training process, its error or None
    RESULT = 5  # of a training process, a part of what it found out


class Message(NamedTuple):
    """A message of the worker that was started under ``key``."""

    key: Any
    kind: MessageKind
    content: Any


@dataclass(frozen=True)
class ProcessResult:
    """What the function of a worker returned, or the error that ended it."""

    value: Any
    error: StarALError | None
    seconds: float


class WorkerProcesses:
    """Starts workers and receives their messages; as a context manager, ends the remaining workers.

    Each worker computes with ``threads`` threads, unless OMP_NUM_THREADS is set.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._context = (
            multiprocessing.get_context("forkserver") if _CAN_FORK else multiprocessing.get_context("spawn")
        )
        self._context.set_forkserver_preload(PRELOADED)
        self._running: dict[Connection, _Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        processes = [running.process for running in self._running.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(GRACE)
            process.kill()
            process.join()

    def start(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Call ``function(*arguments, progress)`` in a new process; the function must be importable by name."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run_worker, args=(theirs, self._threads, function, arguments))
        # Ctrl-C reaches the parent alone, which then ends its workers.
        if _CAN_FORK:
            with _interrupts_ignored():
                forkserver.ensure_running()  # the processes it forks ignore Ctrl-C as well
            process.start()  # may wait seconds for the server's imports, and Ctrl-C must work meanwhile
        else:
            with _interrupts_ignored():
                process.start()
        theirs.close()  # so that the pipe closes when the process ends
        self._running[ours] = _Running(key, process, time.monotonic())

    def receive(self) -> Message:
        """Wait for the next message of any worker."""
        while True:
            for pipe in wait(list(self._running)):
                assert isinstance(pipe, Connection)
                running = self._running[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    del self._running[pipe]
                    pipe.close()
                    return Message(running.key, MessageKind.PROCESS_ENDED, running.result())
                if kind is not MessageKind.PROCESS_ENDED:
                    return Message(running.key, kind, content)
                running.outcome = content  # returned when the pipe closes, after which nothing follows


@dataclass
class _Running:
    key: Any
    process: BaseProcess
    since: float
    outcome: tuple[Any, StarALError | None] | None = None

    def result(self) -> ProcessResult:
        self.process.join()
        value, error = self.outcome or (
            None,
            StarALError(describe_exit(self.process.exitcode or 0, "use fewer --jobs")),
        )
        return ProcessResult(value, error, time.monotonic() - self.since)


def describe_exit(code: int, for_memory: str) -> str:
    """How a worker process ended that sent no result.

    Args:
        code: Its exit code; negative for a signal.
        for_memory: What to do if it ran out of memory.
    """
    if code >= 0:
        return f"the worker process ended with exit code {code} and no message."
    name = signal.Signals(-code).name
    memory = f" It may have run out of memory: {for_memory}." if name == "SIGKILL" else ""
    return f"the worker process was ended by {name}.{memory}"


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started in this block ignore Ctrl-C from their first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class ProgressRelay:
    """Shows the messages of one worker on a progress display; as a context manager, ends its open tasks."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, tuple[ExitStack, Advance]] = {}

    def __enter__(self) -> ProgressRelay:
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _advance in self._tasks.values():
            stack.close()

    def show(self, message: Message) -> None:
        """Show one message."""
        content = message.content
        match message.kind:
            case MessageKind.LINE:
                self._progress.say(content)
            case MessageKind.TASK_STARTED:
                number, description, total = content
                stack = ExitStack()
                advance = stack.enter_context(self._progress.task(description, total))
                self._tasks[number] = stack, advance
            case MessageKind.TASK_ADVANCED:
                number, units = content
                _, advance = self._tasks[number]
                advance(units)
            case MessageKind.TASK_ENDED:
                self._tasks.pop(content)[0].close()


# -- in the worker --------------------------------------------------------------------------------------


class Pipe(Protocol):
    """The way to the parent process."""

    def send(self, message: Any, /) -> None:
        """Send a message."""


class PipeProgress:
    """A progress display that sends messages to the parent process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._lock, self._tasks = pipe, threading.Lock(), 0

    def say(self, message: str) -> None:
        """Send a line."""
        self.send(MessageKind.LINE, message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Send the start of the task, its progress now and then, and its end."""
        self._tasks += 1
        number, pending, due = self._tasks, 0, time.monotonic() + SEND_EVERY
        self.send(MessageKind.TASK_STARTED, (number, description, total))

        def advance(n: int) -> None:
            nonlocal pending, due
            pending += n
            if time.monotonic() >= due:
                self.send(MessageKind.TASK_ADVANCED, (number, pending))
                pending, due = 0, time.monotonic() + SEND_EVERY

        try:
            yield advance
        finally:
            self.send(MessageKind.TASK_ENDED, number)

    def waiting(self, message: str | None) -> None:
        """Do nothing: workers never wait for people."""

    def send(self, kind: MessageKind, content: Any) -> None:
        """Send a message; if the parent is gone, this process is about to exit anyway."""
        with self._lock, suppress(OSError):
            self._pipe.send((kind, content))


def _run_worker(
    pipe: Connection, threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, exit_cleanly)
    threading.Thread(target=_exit_with_parent, name="exit-with-parent", daemon=True).start()
    warnings.simplefilter("ignore")  # libraries' warnings, as on the command line
    progress = PipeProgress(pipe)
    try:
        if "OMP_NUM_THREADS" not in os.environ:
            from star_al.models.devices import use_threads

            use_threads(threads)
        progress.send(MessageKind.PROCESS_ENDED, (function(*arguments, progress), None))
    except StarALError as exc:
        progress.send(MessageKind.PROCESS_ENDED, (None, exc))
    except Exception as exc:
        progress.send(MessageKind.PROCESS_ENDED, (None, internal_error(exc)))


def internal_error(exc: Exception) -> StarALError:
    """An error that no user should meet, as one that can be shown."""
    what = " ".join(f"{type(exc).__name__}: {exc}".split())
    return StarALError(f"internal error: {what[:500]}")


def exit_cleanly(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that lets a process release what it holds."""
    raise SystemExit(128 + number)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
