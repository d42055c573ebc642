"""kill -9 between ask and tell, and at every write within them: the same campaign as an unbroken one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import controller
from support.campaigns import write_campaign
from support.zygote import Zygote

pytestmark = pytest.mark.slow

WRITES = ("mirror", "close_queries", "commit_step")

SETTINGS: dict[str, Any] = {
    "annotator": {"kind": "api"},
    "evaluation": {"kind": "audit", "size": 4, "calibration": 0, "stop_set": 5},
    "stopping": {"max_rounds": 2},
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as running:
        yield running


@pytest.fixture(scope="module")
def unbroken(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = write_campaign(tmp_path_factory.mktemp("unbroken"), **SETTINGS)
    done = zygote.run("api", str(path))
    assert done.returncode == 0, done.output
    record = controller.record(path)
    assert record["annotations"] == 12
    return record


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", WRITES)
def test_killed_again_and_again_within_ask_and_tell(
    method: str, moment: str, zygote: Zygote, tmp_path: Path, unbroken: dict[str, object]
) -> None:
    path = write_campaign(tmp_path, **SETTINGS)
    kills = 0
    for n in (1, 2, 5):
        done = zygote.run("api", str(path), at=("SIGKILL", method, n, moment))
        kills += done.returncode == -signal.SIGKILL
        assert done.returncode in (0, -signal.SIGKILL), done.output
    assert kills >= 2
    done = zygote.run("api", str(path))
    assert done.returncode == 0, done.output
    assert controller.record(path) == unbroken


def test_ended_between_ask_and_tell(zygote: Zygote, tmp_path: Path, unbroken: dict[str, object]) -> None:
    path = write_campaign(tmp_path, **SETTINGS)
    for answers in (1, 2, 4):
        assert zygote.run("api", str(path), str(answers)).returncode == 0
    assert controller.record(path)["annotations"] == 7
    assert zygote.run("api", str(path)).returncode == 0
    assert controller.record(path) == unbroken


def test_the_command_line_trains_and_a_program_answers(
    zygote: Zygote, tmp_path: Path, unbroken: dict[str, object]
) -> None:
    path = write_campaign(tmp_path, **SETTINGS)
    for answers in (4, 4, 4):
        waiting = zygote.run("run", str(path))
        assert waiting.returncode == 6, waiting.output
        assert "When they have been given in Python (star_al.Campaign.open(" in waiting.output
        assert zygote.run("api", str(path), str(answers)).returncode == 0
    assert zygote.run("run", str(path)).returncode == 0
    assert controller.record(path) == unbroken
