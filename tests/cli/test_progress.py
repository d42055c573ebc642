"""Progress displays: bars on a terminal for what takes a while, few lines elsewhere."""

from __future__ import annotations

import io
import time

from rich.console import Console

from star_al.cli.progress import LineProgress, TerminalProgress


class Lines:
    """A line display on a clock that the test moves."""

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
        time.sleep(0.8)
        progress.say("a line [bold]as it is[/bold]\x1b[2J")
    drawn = out.getvalue()
    assert "Scoring [red]x[/red]" in drawn and "3 of 10" in drawn
    assert "a line [bold]as it is[/bold]\n" in drawn and "\x1b[2J" not in drawn
    assert drawn.endswith("\x1b[1A\x1b[2K")  # up one line, erased


def test_tasks_one_after_the_other_and_within_each_other() -> None:
    progress, out = terminal()
    with progress.task("outer", 2) as outer:
        with progress.task("inner", 1) as inner:
            time.sleep(0.7)
            inner(1)
        outer(1)
    with progress.task("second", 1):
        time.sleep(0.7)
    drawn = out.getvalue()
    assert "outer" in drawn and "inner" in drawn and "second" in drawn


def test_an_error_inside_a_task_takes_the_bar_away() -> None:
    progress, out = terminal()
    try:
        with progress.task("failing", 2):
            time.sleep(0.7)
            raise ValueError
    except ValueError:
        progress.say("after")
    assert out.getvalue().endswith("after\n")
