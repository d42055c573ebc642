"""Progress displays: bars in a terminal or a notebook, now and then a line elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.status import Status
from rich.text import Text

from star_al.display.text import clean, one_line, redacted

if TYPE_CHECKING:
    from star_al.ports import Advance, Progress

BAR_AFTER = 0.5
"""Seconds a task must run before its bar appears."""

LINE_AFTER, LINE_EVERY = 2.0, 10.0
"""Seconds before the first line of a task, and between lines."""


REDRAW_EVERY = 0.25
"""Least seconds between two drawings of a bar in a notebook."""


def make_progress() -> Progress:
    """Return the display that suits the place: bars in a notebook or on a terminal, else lines on stderr."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if console.is_jupyter:
        return NotebookProgress()
    if console.is_terminal and not console.is_dumb_terminal:
        return TerminalProgress(console)
    return LineProgress()


class SilentProgress:
    """Shows nothing."""

    def say(self, message: str) -> None:
        """Print nothing."""

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show no bar."""
        yield lambda n: None

    def waiting(self, message: str | None) -> None:
        """Print nothing."""


def _make_bars(console: Console | None = None, *, auto_refresh: bool = True) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Count(),
        TimeElapsedColumn(),
        TextColumn("·", markup=False),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("left", markup=False),
        console=console,
        transient=True,
        auto_refresh=auto_refresh,
    )


class TerminalProgress:
    """Bars with counts and times for tasks that take a while; they vanish when the task ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = _make_bars(console)
        self._line: Status | None = None
        self._lock = threading.Lock()

    def say(self, message: str) -> None:
        """Print one line, above the bars and the line that waits."""
        self._console.print(Text(redacted(clean(message))), soft_wrap=True)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """A bar, once the task has run for ``BAR_AFTER`` seconds; what was waited for is over."""
        self.waiting(None)
        bar = self._bars.add_task(one_line(description), total=total, visible=False)
        timer = threading.Timer(BAR_AFTER, self._show, args=(bar,))
        timer.daemon = True
        timer.start()
        try:
            yield lambda n: self._bars.advance(bar, n)
        finally:
            timer.cancel()
            self._remove(bar)

    def waiting(self, message: str | None) -> None:
        """Show a line with a spinner, until None or a task ends it."""
        with self._lock:
            if message is None:
                self._stop_waiting()
                return
            text = Text(redacted(one_line(message)))
            if self._line is None:
                self._bars.stop()
                self._line = self._console.status(text)
                self._line.start()
            else:
                self._line.update(text)

    def _stop_waiting(self) -> None:
        if self._line is not None:
            self._line.stop()
            self._line = None

    def _show(self, bar: TaskID) -> None:
        with self._lock:
            if any(task.id == bar for task in self._bars.tasks):  # else it ended at this moment
                self._stop_waiting()  # a terminal has one display that moves
                self._bars.update(bar, visible=True)
                self._bars.start()

    def _remove(self, bar: TaskID) -> None:
        with self._lock:
            others = any(task.visible and task.id != bar for task in self._bars.tasks)
            if self._bars.live.is_started and not others:
                self._bars.stop()  # before the bar goes: an empty display would leave an empty line behind
            self._bars.remove_task(bar)


class _Count(ProgressColumn):
    """The units done, of how many where that is known."""

    def render(self, task: Task) -> Text:
        return Text(_count(int(task.completed), None if task.total is None else int(task.total)))


class LineProgress:
    """A progress display for logs and pipes: prints messages, and the progress of long tasks, line by line."""

    def __init__(
        self, write: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write or _write_to_stderr, clock
        self._waits_for: str | None = None  # as last written
        self._waiting_due = 0.0

    def say(self, message: str) -> None:
        """Print one line."""
        self._write(message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """A line after ``LINE_AFTER`` seconds, then one every ``LINE_EVERY``, at most."""
        self.waiting(None)
        start = self._clock()
        done, due = 0, start + LINE_AFTER

        def advance(n: int) -> None:
            nonlocal done, due
            done += n
            now = self._clock()
            if now >= due:
                due = now + LINE_EVERY
                self._write(
                    f"{one_line(description)}: {_count(done, total)}, {_times(now - start, done, total)}"
                )

        yield advance

    def waiting(self, message: str | None) -> None:
        """A line at once, then one when it has changed, every ``LINE_EVERY`` seconds at most."""
        if message is None:
            self._waits_for = None
            return
        now, line = self._clock(), one_line(message)
        if self._waits_for is None or (line != self._waits_for and now >= self._waiting_due):
            self._waits_for, self._waiting_due = line, now + LINE_EVERY
            self._write(line)


class NotebookProgress(LineProgress):
    """Lines, and bars in one output that is redrawn in place; needs no widgets."""

    def __init__(self) -> None:
        super().__init__(lambda message: print(redacted(clean(message))))
        self._bars = _make_bars(auto_refresh=False)
        self._output: Any = None  # IPython's handle of the output that is redrawn
        self._due = 0.0

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """A bar, once the task has run for ``BAR_AFTER`` seconds; it vanishes when the task ends."""
        self.waiting(None)
        bar, start = self._bars.add_task(one_line(description), total=total), self._clock()

        def advance(n: int) -> None:
            self._bars.advance(bar, n)
            now = self._clock()
            if now >= max(self._due, start + BAR_AFTER):
                self._due = now + REDRAW_EVERY
                self._draw()

        try:
            yield advance
        finally:
            self._bars.remove_task(bar)
            if self._output is not None:
                self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        if self._output is None:
            self._output = display(self._bars, display_id=True)
        else:
            self._output.update(self._bars)


def _write_to_stderr(message: str) -> None:
    print(redacted(clean(message)), file=sys.stderr)


def _count(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{done:,} of {total:,}"


def _times(elapsed: float, done: int, total: int | None) -> str:
    so_far = f"{clock_time(elapsed)} so far"
    if total is None or done <= 0:
        return so_far
    return f"{so_far}, about {clock_time(elapsed / done * max(total - done, 0))} left"


def clock_time(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
