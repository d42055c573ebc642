"""Several controllers: one campaign refuses a second one, a stopped one is fenced, two campaigns share a database."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from support import controller
from support.campaigns import write_campaign

STOPPED_BEFORE_THE_SECOND_SCORES = ("SIGSTOP", "commit_step", 11, "before")


def test_a_second_controller_is_refused_and_takes_over_when_the_first_is_killed(
    tmp_path: Path, database_url: Callable[[], str]
) -> None:
    path = write_campaign(tmp_path, database={"url": database_url(), "lease_seconds": 600.0})
    first = controller.start("run", str(path), at=STOPPED_BEFORE_THE_SECOND_SCORES)
    try:
        controller.wait_until_stopped(first)
        refused = controller.run("run", str(path))
        assert refused.returncode == 3
        assert str(first.pid) in refused.stderr and "Traceback" not in refused.stderr
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    taken_over = controller.run("run", str(path))
    assert taken_over.returncode == 0, taken_over.stderr


def test_a_controller_suspended_past_its_lease_changes_nothing_when_it_wakes(
    tmp_path: Path, database_url: Callable[[], str]
) -> None:
    path = write_campaign(tmp_path, database={"url": database_url(), "lease_seconds": 1.0})
    first = controller.start("run", str(path), at=STOPPED_BEFORE_THE_SECOND_SCORES)
    try:
        controller.wait_until_stopped(first)
        deadline = time.monotonic() + 30
        while (second := controller.run("run", str(path), "--max-rounds", "1")).returncode == 3:
            assert time.monotonic() < deadline, second.stderr
            time.sleep(0.2)
        assert second.returncode == 0, second.stderr
        before = controller.record(path)
        os.kill(first.pid, signal.SIGCONT)
        _, errors = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 3
    assert "no longer holds it" in errors and "Traceback" not in errors
    assert controller.record(path) == before


def test_two_campaigns_at_once_in_one_database(tmp_path: Path, database_url: Callable[[], str]) -> None:
    url = database_url()
    alone, together = [], []
    for name, seed in (("one", 1), ("two", 2)):
        path = write_campaign(tmp_path / f"alone-{name}", name=name, seed=seed)
        assert controller.run("run", str(path)).returncode == 0
        alone.append(controller.record(path))
        database = {"url": url, "lease_seconds": 60.0}
        together.append(
            write_campaign(tmp_path / f"together-{name}", name=name, seed=seed, database=database)
        )
    processes = [controller.start("run", str(path)) for path in together]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert [controller.record(path) for path in together] == alone


def test_ctrl_c_leaves_a_campaign_that_goes_on(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    stopped = controller.run("run", str(path), at=("SIGINT", "commit_step", 9, "before"))
    assert stopped.returncode == 130
    assert "star-al run" in stopped.stderr and "Traceback" not in stopped.stderr
    done = controller.run("run", str(path))
    assert done.returncode == 0, done.stderr
    unbroken = write_campaign(tmp_path / "unbroken")
    assert controller.run("run", str(unbroken)).returncode == 0
    assert controller.record(path) == controller.record(unbroken)
