"""kill -9 at every step border and write, then again from the start: the same campaign as an unbroken one."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import controller
from support.campaigns import write_campaign

WRITES = (
    "begin_dataset",
    "add_items",
    "finish_dataset",
    "create_campaign",
    "acquire_lease",
    "update_config",
    "add_queries",
    "save_tasks",
    "mirror",
    "close_queries",
    "start_round",
    "save_base_predictions",
)
STEPS_A_ROUND = 7


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = write_campaign(tmp_path_factory.mktemp("unbroken"), stopping__max_rounds=2)
    done = controller.run("run", str(path))
    assert done.returncode == 0, done.stderr
    return controller.record(path)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_step_border(
    moment: str, tmp_path: Path, database_url: Callable[[], str], unbroken: dict[str, object]
) -> None:
    path = write_campaign(
        tmp_path, stopping__max_rounds=2, database={"url": database_url(), "lease_seconds": 60.0}
    )
    at = ("SIGKILL", "commit_step", 1 if moment == "after" else 2, moment)
    kills = 0
    while (done := controller.run("run", str(path), at=at)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 40, "no progress"
    assert done.returncode == 0, done.stderr
    assert kills >= 2 * STEPS_A_ROUND
    assert controller.record(path) == unbroken


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_kind_of_write(
    moment: str, tmp_path: Path, database_url: Callable[[], str], unbroken: dict[str, object]
) -> None:
    path = write_campaign(
        tmp_path, stopping__max_rounds=2, database={"url": database_url(), "lease_seconds": 60.0}
    )
    for method in WRITES:
        done = controller.run("run", str(path), at=("SIGKILL", method, 1, moment))
        assert done.returncode == -signal.SIGKILL, (method, done.returncode, done.stderr)
    done = controller.run("run", str(path))
    assert done.returncode == 0, done.stderr
    assert controller.record(path) == unbroken


def test_killed_at_random_moments(
    tmp_path: Path, database_url: Callable[[], str], unbroken: dict[str, object]
) -> None:
    path = write_campaign(
        tmp_path, stopping__max_rounds=2, database={"url": database_url(), "lease_seconds": 60.0}
    )
    random_ = random.Random(5)
    for _ in range(8):
        process = controller.start("run", str(path))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=random_.uniform(0.5, 2.5))
        process.kill()
        process.communicate()
    done = controller.run("run", str(path))
    assert done.returncode == 0, done.stderr
    assert controller.record(path) == unbroken
