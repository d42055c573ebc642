"""Exactly once, whatever fails: seeded schedules of faults between a campaign and a real server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.label_studio_server import DATABASE, LabelStudio
from support.schedule_run import Ending, Result, Run, run_all, servers
from support.schedules import Schedule, Theme, schedule

SEEDS = range(20)  # at least one of every theme


def test_twenty_schedules_of_faults(label_studio: LabelStudio, tmp_path: Path) -> None:
    """One live task a query after a clean poll, no label lost, none twice; scripts/fault_schedules.py runs more.

    The server deletes a task that was without answers when it looked: an answer that arrives within that
    tenth of a second is confirmed and gone, which nobody outside it can prevent. A busy machine widens the gap, so
    that a schedule with a loss runs once more by itself; a fault of ours would show again.
    """
    with servers(3, tmp_path) as others:
        results = run_all(SEEDS, tmp_path, [label_studio, *others])
    lost = [result.schedule.seed for result in results if _lost_within_the_server(result)]
    again: list[Result] = []
    if lost:
        again = run_all(lost, tmp_path / "again", [label_studio])
    assert len(lost) <= 2, "losses are no longer the exception"
    results = [result for result in results if result.schedule.seed not in lost] + again
    complaints = {
        f"seed {result.schedule.seed} ({result.schedule.theme})": result.verdict.complaints
        for result in results
        if result.verdict.complaints
    }
    assert complaints == {}
    injected = sum(result.injected.total() for result in results)
    assert injected >= len(results), "the faults did not meet the requests that they are meant for"
    endings = [ending for result in results for ending in result.endings]
    assert {Ending.KILLED, Ending.LOST, Ending.DONE} <= set(endings)


def _lost_within_the_server(result: Result) -> bool:
    """Return whether all that is wrong is one answer that the server confirmed and does not have."""
    complaints = result.verdict.complaints
    return len(complaints) == 1 and complaints[0].startswith("lost: annotation")


def test_the_schedules_in_ci_are_of_every_theme() -> None:
    assert {schedule(seed).theme for seed in SEEDS} == set(Theme)


@pytest.mark.parametrize("seed", [3, 17])
def test_a_seed_is_a_schedule(seed: int) -> None:
    assert schedule(seed) == schedule(seed)


def test_an_answer_that_the_servers_own_counts_missed_is_not_lost(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    """The server writes an answer, then its task's counts; stopped in between, it shows the task as blank for ever."""
    no_faults = Schedule(0, Theme.RESTARTED, faults=(), buffer=3)
    run = Run(no_faults, tmp_path / "run", label_studio)
    forget = f"""
        CREATE TRIGGER forget AFTER UPDATE OF total_annotations, cancelled_annotations ON task
        WHEN NEW.project_id IN (SELECT id FROM project WHERE title = '{run.side.title}')
        BEGIN
            UPDATE task SET total_annotations = 0, cancelled_annotations = 0, is_labeled = 0,
                updated_at = created_at WHERE id = NEW.id;
        END"""
    with closing(sqlite3.connect(label_studio.place.data / DATABASE, timeout=30)) as database:
        database.execute(forget)
        try:
            result = run.go()
        finally:
            database.execute("DROP TRIGGER forget")
    assert result.verdict.complaints == []
    assert result.endings == [Ending.DONE]
