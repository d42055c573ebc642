"""Exactly once, whatever fails: seeded schedules of faults between a campaign and a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.label_studio_server import LabelStudio
from support.schedule_run import Ending, run_all
from support.schedules import Theme, schedule

SEEDS = range(20)


def test_twenty_schedules_of_faults(label_studio: LabelStudio, tmp_path: Path) -> None:
    """One live task a query after a clean poll, no label lost, none twice; scripts/fault_schedules.py runs more."""
    results = run_all(SEEDS, tmp_path, label_studio, workers=4)
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


def test_the_schedules_in_ci_are_of_every_theme() -> None:
    assert {schedule(seed).theme for seed in SEEDS} == set(Theme)


@pytest.mark.parametrize("seed", [3, 17])
def test_a_seed_is_a_schedule(seed: int) -> None:
    assert schedule(seed) == schedule(seed)
