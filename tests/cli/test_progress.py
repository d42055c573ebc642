"""Progress displays: bars for long work on a terminal, a few lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
import types
from typing import Any

import pytest
from rich.console import Console

from star_al.display.progress import LineProgress, NotebookProgress, TerminalProgress


class Lines:
    """A line display with a clock that the test sets."""

    def __init__(self) -> None:
        self.now, self.written = 100.0, list[str]()
        self.progress = LineProgress(self.written.append, lambda: self.now)


def test_a_short_task_writes_no_line() -> None:
    lines = Lines()
    with lines.progress.task("Scoring", 10) as advance:
        lines.now += 1.9
        advance(10)
    assert lines.written == []


def test_a_long_task_writes_a_line_every_ten_seconds_with_an_estimate() -> None:
    lines = Lines()
    with lines.progress.task("Scoring", 2000) as advance:
        for _ in range(100):
            lines.now += 0.5
            advance(10)
    assert lines.written[0] == "Scoring: 40 of 2,000, 0:02 so far, about 1:38 left"
    assert lines.written[1].startswith("Scoring: 240 of 2,000, 0:12 so far")
    assert len(lines.written) == 5


def test_a_task_of_unknown_length_writes_counts() -> None:
    lines = Lines()
    with lines.progress.task("Importing x", None) as advance:
        lines.now += 3700
        advance(1000)
    assert lines.written == ["Importing x: 1,000, 1:01:40 so far"]


def terminal() -> tuple[TerminalProgress, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, markup=False, highlight=False)
    return TerminalProgress(console), out


def wait_for(out: io.StringIO, text: str) -> None:
    """Wait until another thread has drawn the text."""
    deadline = time.monotonic() + 30
    while text not in out.getvalue():
        assert time.monotonic() < deadline, f"{text!r} is not drawn"
        time.sleep(0.05)


def test_a_quick_task_draws_nothing() -> None:
    progress, out = terminal()
    with progress.task("Scoring", 10) as advance:
        advance(10)
    time.sleep(0.6)
    assert out.getvalue() == ""


def test_a_slow_task_draws_a_bar_that_goes_away() -> None:
    progress, out = terminal()
    with progress.task("Scoring [red]x[/red]", 10) as advance:
        advance(3)
        wait_for(out, "3 of 10")
        progress.say("a line [bold]as it is[/bold]\x1b[2J")
    drawn = out.getvalue()
    assert "Scoring [red]x[/red]" in drawn and "3 of 10" in drawn
    assert "a line [bold]as it is[/bold]\n" in drawn and "\x1b[2J" not in drawn
    assert drawn.endswith("\x1b[1A\x1b[2K")  # up one line, erased


def test_tasks_one_after_the_other_and_within_each_other() -> None:
    progress, out = terminal()
    with progress.task("outer", 2) as outer:
        with progress.task("inner", 1) as inner:
            wait_for(out, "outer")
            wait_for(out, "inner")
            inner(1)
        outer(1)
    with progress.task("second", 1):
        wait_for(out, "second")


def test_an_error_inside_a_task_takes_the_bar_away() -> None:
    progress, out = terminal()
    try:
        with progress.task("failing", 2):
            wait_for(out, "failing")
            raise ValueError
    except ValueError:
        progress.say("after")
    assert out.getvalue().endswith("after\n")


def test_what_is_waited_for_is_a_line_at_once_and_then_now_and_then() -> None:
    lines = Lines()
    lines.progress.waiting("0 of 9")
    for labelled in range(1, 5):
        lines.now += 4
        lines.progress.waiting(f"{labelled} of 9")
    assert lines.written == ["0 of 9", "3 of 9"]
    for _ in range(9):  # nothing changes any more
        lines.now += 30
        lines.progress.waiting("4 of 9")
    assert lines.written == ["0 of 9", "3 of 9", "4 of 9"]


def test_the_next_wait_writes_its_line_at_once() -> None:
    lines = Lines()
    lines.progress.waiting("9 of 9\x1b[2J")
    with lines.progress.task("Training", 3):
        lines.progress.waiting("9 of 9")
    lines.progress.waiting(None)
    lines.progress.waiting("9 of 9")
    assert lines.written == ["9 of 9"] * 3


def test_a_terminal_waits_in_one_line_that_replaces_itself() -> None:
    progress, out = terminal()
    progress.waiting("0 of 9 · http://127.0.0.1/[x]\x1b[2J")
    time.sleep(0.2)
    progress.say("Not counted: this")
    progress.waiting("1 of 9")
    progress.waiting(None)
    drawn = out.getvalue()
    assert "0 of 9 · http://127.0.0.1/[x]" in drawn and "1 of 9" in drawn
    assert "Not counted: this\n" in drawn and "\x1b[2J" not in drawn
    assert drawn.endswith("\x1b[1A\x1b[2K")  # nothing is left of it
    progress.waiting(None)
    assert out.getvalue() == drawn


def test_a_task_takes_the_place_of_what_was_waited_for() -> None:
    progress, out = terminal()
    progress.waiting("9 of 9")
    with progress.task("Training", 3) as advance:
        wait_for(out, "Training")
        advance(3)
        progress.waiting("0 of 9")
        progress.waiting(None)
    progress.say("after")
    drawn = out.getvalue()
    assert "0 of 9" in drawn and drawn.endswith("after\n")


# -- notebooks -------------------------------------------------------------------------------------------


def test_a_notebook_shows_one_output_that_is_redrawn_and_lines_without_passwords(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    class Output:
        def update(self, bars: Any) -> None:
            shown.append(f"again {len(bars.tasks)}")

    def display(bars: Any, display_id: bool) -> Output:
        shown.append(f"first {len(bars.tasks)}")
        return Output()

    module = types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("star_al.display.progress.BAR_AFTER", 0.0)
    monkeypatch.setattr("star_al.display.progress.REDRAW_EVERY", 0.0)
    progress = NotebookProgress()
    with progress.task("Training", 2) as advance:
        advance(1)
        advance(1)
    progress.say("postgresql://me:secret@host/db")
    assert shown == ["first 1", "again 1", "again 0"]
    assert capsys.readouterr().out == "postgresql://me:***@host/db\n"
