"""Train language models in a process of their own, so that neither people nor the head that ranks wait for it.

A thread would share the interpreter, the model in memory and torch's random numbers with the loop, and nothing could
end it. A process may have a lower priority, ends whenever it must, and needs no lock: it reads the campaign through a
connection of its own, writes adapters by their content hash, and leaves the rounds to the loop.

It is started anew for each round, by ``star_al.app.training_worker``: nothing is forked, so CUDA works, and no
program that uses ``star_al`` is run again, as ``multiprocessing`` would do.
"""

from __future__ import annotations

import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from star_al.app.worker_processes import GRACE, Message, MessageKind, ProgressRelay, describe_exit
from star_al.config.spec import CampaignFile
from star_al.errors import ModelError
from star_al.ports import Progress
from star_al.types import Lease, Round, TrainingResult

WORKER = ("-P", "-m", "star_al.app.training_worker")
"""How Python runs the worker; with -P, no file of the current folder takes the place of a module."""

LEASE_EVERY = 0.5
"""Seconds between two checks of the lease while the loop waits for results."""


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        file: The campaign file, with the settings of this run.
        lease: The campaign's lease, which guards what it keeps for all rounds: the base model's predictions.
        round_: The round, with the settings to train with.
        threads: How many the model computes with: as many as in the loop, as they may change the last digits.
    """

    file: CampaignFile
    lease: Lease
    round_: Round
    threads: int


class TrainingProcess:
    """Implements ``star_al.ports.Background``; as a context manager, ends the process.

    Args:
        file: The campaign file.
        lease: The campaign's lease.
        progress: Where lines are printed, and progress is shown while the loop waits for results.
        check: Raises ``LeaseLostError`` if another controller has taken over the campaign.
    """

    def __init__(
        self, file: CampaignFile, lease: Lease, progress: Progress, check: Callable[[], None]
    ) -> None:
        self._file, self._lease, self._progress, self._check = file, lease, progress, check
        self._running: _Running | None = None
        self._said: set[str] = set()

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None

    @property
    def busy(self) -> bool:
        """See ``Background.busy``."""
        return self._running is not None

    def start(self, round_: Round) -> None:
        """See ``Background.start``."""
        from star_al.models.devices import threads_in_use

        self._running = _Running(Order(self._file, self._lease, round_, threads_in_use()))

    def results(self, *, wait: bool) -> Iterator[TrainingResult]:
        """See ``Background.results``."""
        running = self._running
        if running is None:
            return
        with ProgressRelay(self._progress) as relay:
            for begun in running.under_way() if wait else ():
                relay.show(begun)
            while (message := self._next(running, wait=wait)) is not None:
                if message.kind is MessageKind.RESULT:
                    yield message.content
                elif message.kind is MessageKind.PROCESS_ENDED:
                    self._running = None
                    running.end()
                    if message.content is not None:
                        raise message.content
                    return
                elif message.kind is MessageKind.LINE:
                    self._say(message.content)
                else:
                    running.note(message)
                    if wait:
                        relay.show(message)

    def in_words(self) -> str:
        """See ``Background.in_words``."""
        return "" if self._running is None else self._running.in_words()

    def _next(self, running: _Running, *, wait: bool) -> Message | None:
        """The next message; None if there is none yet and none is waited for."""
        while True:
            self._check()
            try:
                return running.messages.get(block=wait, timeout=LEASE_EVERY)
            except queue.Empty:
                if not wait:
                    return None

    def _say(self, line: str) -> None:
        """Print a line once: each worker loads the model anew, and says of it what the last one said."""
        if line not in self._said:
            self._said.add(line)
            self._progress.say(line)


@dataclass
class _Task:
    """A task of the worker, as it reports it."""

    number: int
    description: str
    total: int | None
    done: int = 0

    def in_words(self) -> str:
        so_far = "" if self.total is None else f": {self.done:,} of {self.total:,}"
        return self.description[:1].lower() + self.description[1:] + so_far


class _Running:
    """A worker, and what it has reported."""

    def __init__(self, order: Order) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._round = order.round_.index
        self._tasks: dict[int, _Task] = {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by ``end``)
        self._process = subprocess.Popen(
            [sys.executable, *WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._reader = threading.Thread(target=self._read, name="training-process", daemon=True)
        self._reader.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which the reader tells
            pickle.dump(order, self._process.stdin)
            self._process.stdin.flush()  # it stays open: the worker exits when it closes, however this process ends

    def note(self, message: Message) -> None:
        """Keep the progress of a task."""
        if message.kind is MessageKind.TASK_STARTED:
            self._tasks[message.content[0]] = _Task(*message.content)
        elif message.kind is MessageKind.TASK_ADVANCED:
            number, units = message.content
            self._tasks[number].done += units
        else:
            del self._tasks[message.content]

    def under_way(self) -> Iterator[Message]:
        """The messages that tell of the tasks under way."""
        for task in self._tasks.values():
            started = task.number, task.description, task.total
            yield Message(self._round, MessageKind.TASK_STARTED, started)
            yield Message(self._round, MessageKind.TASK_ADVANCED, (task.number, task.done))

    def in_words(self) -> str:
        """The newest task under way."""
        newest = list(self._tasks.values())[-1:]
        return newest[0].in_words() if newest else f"training round {self._round}"

    def end(self) -> None:
        """End the process, which has nothing to lose: what it was writing is removed by the next run."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.terminate()
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
        """Pass its messages on; say so if it ends without a last one."""
        assert self._process.stdout is not None
        kind = MessageKind.LINE
        with suppress(EOFError, pickle.UnpicklingError, OSError, ValueError):
            while kind is not MessageKind.PROCESS_ENDED:
                kind, content = pickle.load(self._process.stdout)
                self.messages.put(Message(self._round, kind, content))
        if kind is not MessageKind.PROCESS_ENDED:
            error = ModelError(f"training round {self._round}: {self._how_it_ended()}")
            self.messages.put(Message(self._round, MessageKind.PROCESS_ENDED, error))

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return describe_exit(code, "set adapter.batch_size lower") + (
            f" It wrote: {last[:300]}" if last else ""
        )
