"""After kill -9 at any step or write, a campaign goes on and ends like one that was never killed."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import controller
from support.campaigns import write_campaign
from support.zygote import Zygote

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
WHERE_AND_WHEN = (
    ("sqlite", "before"),
    ("sqlite", "after"),
    pytest.param("postgres", "after", marks=pytest.mark.postgres),
)
STEPS_A_ROUND = 7
TRAINING_STEPS = 2
"""Steps of the language model where a head ranks: train and measure."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> dict[str, object]:
    """The outcome of a campaign that nobody kills."""
    path = write_campaign(tmp_path_factory.mktemp("unbroken"), stopping__max_rounds=2)
    done = zygote.run("run", str(path))
    assert done.returncode == 0, done.output
    return controller.record(path)


@pytest.fixture
def campaign(tmp_path: Path, database_url: Callable[[], str]) -> Path:
    """The file of the same campaign, on a database of either kind."""
    database = {"url": database_url(), "lease_seconds": 60.0}
    return write_campaign(tmp_path, stopping__max_rounds=2, database=database)


@pytest.mark.parametrize(("database_url", "moment"), WHERE_AND_WHEN, indirect=["database_url"])
def test_killed_at_every_step_border(
    moment: str, campaign: Path, unbroken: dict[str, object], zygote: Zygote
) -> None:
    at = ("SIGKILL", "commit_step", 1 if moment == "after" else 2, moment)
    kills = 0
    while (done := zygote.run("run", str(campaign), at=at)).returncode == -signal.SIGKILL:
        kills += 1
        assert kills < 40, "no progress"
    assert done.returncode == 0, done.output
    assert kills >= 2 * STEPS_A_ROUND
    assert controller.record(campaign) == unbroken


def test_killed_at_every_step_border_where_a_head_ranks(
    tmp_path: Path, database_url: Callable[[], str], zygote: Zygote
) -> None:
    changes: dict[str, Any] = {
        "acquisition__scorer": "head",
        "learner": {"kind": "lora", "train": [3]},
        "stopping__max_rounds": 2,
    }
    whole = write_campaign(tmp_path / "whole", **changes)
    done = zygote.run("run", str(whole))
    assert done.returncode == 0, done.output
    database = {"url": database_url(), "lease_seconds": 60.0}
    campaign = write_campaign(tmp_path / "killed", **changes, database=database)
    kills = 0
    while (
        zygote.run("run", str(campaign), at=("SIGKILL", "commit_step", 1, "after")).returncode
        == -signal.SIGKILL
    ):
        kills += 1
        assert kills < 60, "no progress"
    assert kills >= 2 * STEPS_A_ROUND + 2 * TRAINING_STEPS
    assert controller.record(campaign) == controller.record(whole)
    adapters = [adapter for _, _, adapter, *_ in controller.record(campaign)["rounds"]]
    assert [bool(each) for each in adapters] == [False, True, True]


@pytest.mark.parametrize(("database_url", "moment"), WHERE_AND_WHEN, indirect=["database_url"])
def test_killed_at_every_kind_of_write(
    moment: str, campaign: Path, unbroken: dict[str, object], zygote: Zygote
) -> None:
    for method in WRITES:
        done = zygote.run("run", str(campaign), at=("SIGKILL", method, 1, moment))
        assert done.returncode == -signal.SIGKILL, (method, done.returncode, done.output)
    done = zygote.run("run", str(campaign))
    assert done.returncode == 0, done.output
    assert controller.record(campaign) == unbroken


def test_killed_at_random_moments(
    campaign: Path, tmp_path: Path, unbroken: dict[str, object], zygote: Zygote
) -> None:
    lasts = seconds_of_a_run(tmp_path / "timed", zygote)
    random_ = random.Random(5)
    kills = 0
    for _ in range(10):
        running = zygote.start("run", str(campaign))
        with contextlib.suppress(TimeoutError):
            running.wait(random_.uniform(0.05, 0.3) * lasts)
        running.kill()
        kills += running.wait().returncode == -signal.SIGKILL
    assert kills
    done = zygote.run("run", str(campaign))
    assert done.returncode == 0, done.output
    assert controller.record(campaign) == unbroken


def seconds_of_a_run(folder: Path, zygote: Zygote) -> float:
    """Time a whole run, so that kills can be spread over it on any machine."""
    started = time.monotonic()
    done = zygote.run("run", str(write_campaign(folder, stopping__max_rounds=2)))
    assert done.returncode == 0, done.output
    return time.monotonic() - started
