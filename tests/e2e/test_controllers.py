"""Several controllers: a campaign refuses a second one, a suspended one is fenced, two campaigns share a database."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from support import controller
from support.campaigns import write_campaign
from support.zygote import Zygote

STOPPED_BEFORE_THE_SECOND_SCORES = ("SIGSTOP", "commit_step", 11, "before")


def test_a_second_controller_is_refused_and_takes_over_when_the_first_is_killed(
    tmp_path: Path, database_url: Callable[[], str], zygote: Zygote
) -> None:
    path = write_campaign(tmp_path, database={"url": database_url(), "lease_seconds": 600.0})
    first = zygote.start("run", str(path), at=STOPPED_BEFORE_THE_SECOND_SCORES)
    controller.wait_until_stopped(first.pid)
    refused = zygote.run("run", str(path))
    assert refused.returncode == 3
    assert str(first.pid) in refused.output and "Traceback" not in refused.output
    first.kill()
    assert first.wait().returncode == -signal.SIGKILL
    taken_over = zygote.run("run", str(path))
    assert taken_over.returncode == 0, taken_over.output


def test_a_controller_suspended_past_its_lease_changes_nothing_when_it_wakes(
    tmp_path: Path, database_url: Callable[[], str], zygote: Zygote
) -> None:
    path = write_campaign(tmp_path, database={"url": database_url(), "lease_seconds": 1.0})
    first = zygote.start("run", str(path), at=STOPPED_BEFORE_THE_SECOND_SCORES)
    controller.wait_until_stopped(first.pid)
    deadline = time.monotonic() + 30
    while (second := zygote.run("run", str(path), "--max-rounds", "1")).returncode == 3:
        assert time.monotonic() < deadline, second.output
        time.sleep(0.2)
    assert second.returncode == 0, second.output
    before = controller.record(path)
    os.kill(first.pid, signal.SIGCONT)
    woken = first.wait(60)
    assert woken.returncode == 3
    assert "no longer holds it" in woken.output and "Traceback" not in woken.output
    assert controller.record(path) == before


def test_two_campaigns_at_once_in_one_database(
    tmp_path: Path, database_url: Callable[[], str], zygote: Zygote
) -> None:
    url = database_url()
    alone, together = [], []
    for name, seed in (("one", 1), ("two", 2)):
        path = write_campaign(tmp_path / f"alone-{name}", name=name, seed=seed)
        assert zygote.run("run", str(path)).returncode == 0
        alone.append(controller.record(path))
        database = {"url": url, "lease_seconds": 60.0}
        together.append(
            write_campaign(tmp_path / f"together-{name}", name=name, seed=seed, database=database)
        )
    for running in [zygote.start("run", str(path)) for path in together]:
        ended = running.wait(120)
        assert ended.returncode == 0, ended.output
    assert [controller.record(path) for path in together] == alone


def test_ctrl_c_leaves_a_campaign_that_goes_on(tmp_path: Path, zygote: Zygote) -> None:
    path = write_campaign(tmp_path)
    stopped = zygote.run("run", str(path), at=("SIGINT", "commit_step", 9, "before"))
    assert stopped.returncode == 130
    assert "star-al run" in stopped.output and "Traceback" not in stopped.output
    done = zygote.run("run", str(path))
    assert done.returncode == 0, done.output
    unbroken = write_campaign(tmp_path / "unbroken")
    assert zygote.run("run", str(unbroken)).returncode == 0
    assert controller.record(path) == controller.record(unbroken)
