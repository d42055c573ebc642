"""Work in processes of its own: the body of such a process, and the owner that hears of several.

A process tells what it does through a pipe. It ends when its owner does, however that ended, and gives back
what it holds when it is asked to end, so that whoever goes on need not wait.
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
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NoReturn

from star_al.errors import StarALError
from star_al.ports import Advance, Progress

SAID, TASK_BEGAN, TASK_ADVANCED, TASK_ENDED, ENDED = range(5)
"""What is heard of a process: a line; a task (number, description, total) begins; a task (number, units) moves;
a task (number) ends; the process is over (``Done``)."""

TELL_EVERY = 0.2
"""Seconds between two advances of a task, at least."""

GRACE = 10.0
"""Seconds that a process has to end by itself."""

PRELOADED = [
    "db.store",
    "star_al.app.running",
    "star_al.models.learner",
    "star_al.models.posterior.mc_dropout",
]
"""What all processes import, which takes seconds; where processes can be forked, it is done once for all."""

_CAN_FORK = sys.platform == "linux"
"""Elsewhere a process that has imported so much cannot safely be forked."""


@dataclass(frozen=True)
class Done:
    """What the function of a process returned, or the error that ended it; and how long it took."""

    value: Any
    error: StarALError | None
    seconds: float


class Owner:
    """Starts processes and hears of them; ends all that are left when its block ends.

    Each computes with ``threads``, unless OMP_NUM_THREADS says otherwise.
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

    def __enter__(self) -> Owner:
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
        """Call ``function(*arguments, progress)``, importable by name, in a process of its own."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_body, args=(theirs, self._threads, function, arguments))
        # Ctrl-C is for the owner, which ends its processes.
        if _CAN_FORK:
            with _interrupts_ignored():
                forkserver.ensure_running()  # what it forks ignores it as well
            process.start()  # waits for the server's imports, for seconds in which Ctrl-C must count
        else:
            with _interrupts_ignored():
                process.start()
        theirs.close()  # the pipe ends with the process
        self._running[ours] = _Running(key, process, time.monotonic())

    def hear(self) -> tuple[Any, int, Any]:
        """Wait for the next thing that some process tells: its key, what kind of thing, and the thing."""
        while True:
            for pipe in wait(list(self._running)):
                assert isinstance(pipe, Connection)
                running = self._running[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    del self._running[pipe]
                    pipe.close()
                    return running.key, ENDED, running.done()
                if kind != ENDED:
                    return running.key, kind, content
                running.told = content


@dataclass
class _Running:
    key: Any
    process: BaseProcess
    since: float
    told: tuple[Any, StarALError | None] | None = None

    def done(self) -> Done:
        self.process.join()
        value, error = self.told or (None, StarALError(_ending(self.process.exitcode or 0)))
        return Done(value, error, time.monotonic() - self.since)


def _ending(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code} and said nothing."
    name = signal.Signals(-code).name
    memory = " Memory may be short: give fewer --jobs." if name == "SIGKILL" else ""
    return f"its process was ended by {name}.{memory}"


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What is started within ignores Ctrl-C from its first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Relay:
    """Shows on a progress display what one process tells; tasks that are left end with its block."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, tuple[ExitStack, Advance]] = {}

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _move in self._tasks.values():
            stack.close()

    def show(self, kind: int, content: Any) -> None:
        """One thing that ``Owner.hear`` returned."""
        if kind == SAID:
            self._progress.say(content)
        elif kind == TASK_BEGAN:
            number, description, total = content
            stack = ExitStack()
            move = stack.enter_context(self._progress.task(description, total))
            self._tasks[number] = stack, move
        elif kind == TASK_ADVANCED:
            number, units = content
            _, move = self._tasks[number]
            move(units)
        elif kind == TASK_ENDED:
            self._tasks.pop(content)[0].close()


# -- within the process ---------------------------------------------------------------------------------


class PipeProgress:
    """A progress display that tells the owner of the process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock, self._tasks = pipe, threading.Lock(), 0

    def say(self, message: str) -> None:
        """Tell a line."""
        self.tell(SAID, message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Tell of the task, now and then of its advance, and of its end."""
        self._tasks += 1
        number, pending, due = self._tasks, 0, time.monotonic() + TELL_EVERY
        self.tell(TASK_BEGAN, (number, description, total))

        def advance(n: int) -> None:
            nonlocal pending, due
            pending += n
            if time.monotonic() >= due:
                self.tell(TASK_ADVANCED, (number, pending))
                pending, due = 0, time.monotonic() + TELL_EVERY

        try:
            yield advance
        finally:
            self.tell(TASK_ENDED, number)

    def waiting(self, message: str | None) -> None:
        """Nothing: nobody is waited for."""

    def tell(self, kind: int, content: Any) -> None:
        """Send it; an owner that is gone ends this process by itself."""
        with self._lock, suppress(OSError):
            self._pipe.send((kind, content))


def _body(pipe: Connection, threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_owner, name="end-with-owner", daemon=True).start()
    warnings.simplefilter("ignore")  # of libraries, as the command line does
    progress = PipeProgress(pipe)
    try:
        if "OMP_NUM_THREADS" not in os.environ:
            from star_al.models.backbone import use_threads

            use_threads(threads)
        progress.tell(ENDED, (function(*arguments, progress), None))
    except StarALError as exc:
        progress.tell(ENDED, (None, exc))
    except Exception as exc:
        what = " ".join(f"{type(exc).__name__}: {exc}".split())
        progress.tell(ENDED, (None, StarALError(f"internal error: {what[:500]}")))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _end_with_owner() -> None:
    owner = multiprocessing.parent_process()
    if owner is not None:
        wait([owner.sentinel])
        os._exit(1)
