"""Several controllers: a campaign refuses a second one, a suspended one is fenced, two campaigns share a database."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from db.engine import parse_url, sqlite_file
from star_al.config.file import load_campaign
from support import controller
from support.campaigns import write_campaign
from support.databases import OwnPostgres
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


def test_ctrl_c_is_heard_while_another_program_holds_the_lock(tmp_path: Path, zygote: Zygote) -> None:
    path = write_campaign(tmp_path)
    running = zygote.start("run", str(path), at=("SIGSTOP", "commit_step", 9, "before"))
    controller.wait_until_stopped(running.pid)
    file = sqlite_file(parse_url(load_campaign(path).database_url))
    assert file is not None
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    os.kill(running.pid, signal.SIGCONT)
    time.sleep(1.5)  # it waits for the lock by now
    started = time.monotonic()
    os.kill(running.pid, signal.SIGINT)
    ended = running.wait(60)
    seconds = time.monotonic() - started
    other.execute("ROLLBACK")
    other.close()
    assert ended.returncode == 130 and "Traceback" not in ended.output, ended.output
    assert seconds < 5.0


@pytest.mark.postgres
def test_a_campaign_survives_a_restart_of_its_database(tmp_path: Path, zygote: Zygote) -> None:
    unbroken = write_campaign(tmp_path / "unbroken")
    assert zygote.run("run", str(unbroken)).returncode == 0
    with OwnPostgres(tmp_path / "server") as server:
        path = write_campaign(tmp_path, database={"url": server.url, "lease_seconds": 60.0})
        running = zygote.start("run", str(path), at=("SIGSTOP", "commit_step", 9, "before"))
        controller.wait_until_stopped(running.pid)
        server.stop()
        os.kill(running.pid, signal.SIGCONT)
        time.sleep(2.0)
        server.start()
        ended = running.wait(120)
        assert ended.returncode == 0, ended.output
        assert ended.output.count("Waiting until it is back") == 1
        assert controller.record(path) == controller.record(unbroken)


@pytest.mark.postgres
def test_without_waiting_a_database_that_went_away_ends_the_run(tmp_path: Path, zygote: Zygote) -> None:
    with OwnPostgres(tmp_path / "server") as server:
        path = write_campaign(tmp_path, database={"url": server.url, "lease_seconds": 60.0})
        at = ("SIGSTOP", "commit_step", 9, "before")
        running = zygote.start("run", str(path), "--no-wait", at=at)
        controller.wait_until_stopped(running.pid)
        server.stop()
        os.kill(running.pid, signal.SIGCONT)
        ended = running.wait(60)
        assert ended.returncode == 3, ended.output
        assert "cannot be reached" in ended.output and "Traceback" not in ended.output
        server.start()
