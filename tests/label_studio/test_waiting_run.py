"""`star-al run` while people label: the live line, webhooks, --no-wait, signals; and doctor beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.app.stores import find_started, open_store
from star_al.cli.main import run_command
from star_al.config.file import load_campaign
from support import controller
from support.campaigns import write_campaign
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio
from support.zygote import Zygote

TOKEN = "STAR_AL_TEST_TOKEN"

STOPPED = 20.0
"""Seconds that the end of a run may take on a busy machine, and far less than a pause may."""


@pytest.fixture
def config(label_studio: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign that asks four texts in its first round."""
    monkeypatch.setenv(TOKEN, label_studio.token)
    return write_campaign(
        tmp_path,
        name=f"waiting-{tmp_path.name}",
        annotator={"kind": "label_studio", "url": label_studio.url, "token_env": TOKEN},
        evaluation={"kind": "none", "calibration": 0, "stop_set": 5},
        stopping={"max_rounds": 1},
    )


def until(found: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What ``found`` finds as soon as it finds something."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)
    return value


class Server:
    """The campaign's project, as an annotator and an owner see it."""

    def __init__(self, server: LabelStudio, config: Path) -> None:
        self._server = server
        self._title = load_campaign(config).spec.name
        self._project: int | None = None

    def project(self) -> int | None:
        if self._project is None:
            self._project = self._server.project_of(self._title)
        return self._project

    def hooks(self) -> list[dict[str, Any]]:
        project = self.project()
        if project is None:
            return []
        return [hook for hook in self._server.call("get", "/api/webhooks/") if hook["project"] == project]

    def tasks(self) -> list[dict[str, Any]]:
        project = self.project()
        if project is None:
            return []
        found = self._server.call("get", f"/api/tasks/?project={project}&fields=all")
        return sorted(found["tasks"], key=lambda task: task["id"])

    def label(self, task: dict[str, Any], label: str = "sport") -> None:
        Person(self._server.url, self._server.token).answer(task["id"], label, lead_time=2.0)


def labels_in_store(config: Path) -> int:
    file = load_campaign(config)
    campaign = find_started(file)
    if campaign is None:
        return 0
    store = open_store(file)
    try:
        return len(store.labels(campaign.campaign_id))
    finally:
        store.close()


def stop(run: subprocess.Popen[str]) -> tuple[int, str, float]:
    """Its exit code, what it wrote, and the seconds that it took to end."""
    start = time.monotonic()
    run.terminate()
    try:
        out, err = run.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        run.kill()
        raise
    return run.returncode, out + err, time.monotonic() - start


def test_a_webhook_brings_an_answer_long_before_the_next_poll_and_goes_with_the_run(
    label_studio: LabelStudio, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_AL_TEST_FIRST_PAUSE", "900")  # seconds between the first poll and the next
    server = Server(label_studio, config)
    run = controller.start("run", str(config), "--webhook", "--max-rounds", "1")
    try:
        until(server.hooks)  # after the first poll
        tasks = until(server.tasks)
        assert len(tasks) == 4
        server.label(tasks[0])
        until(lambda: labels_in_store(config) == 1)
    finally:
        code, written, seconds = stop(run)
    assert code == 143 and seconds < STOPPED
    assert "0 of 4 labelled" in written and f"{label_studio.url}/projects/{server.project()}" in written
    assert written.count("labelled") <= 4 and "Continue with: star-al run" in written
    assert label_studio.token not in written
    assert server.hooks() == []


def test_a_killed_run_leaves_a_webhook_that_the_next_one_removes(
    label_studio: LabelStudio, zygote: Zygote, config: Path
) -> None:
    server = Server(label_studio, config)
    first = zygote.start("run", str(config), "--webhook")
    [left_over] = until(server.hooks)
    first.kill()
    first.wait()
    second = zygote.start("run", str(config), "--webhook", "--max-rounds", "1")
    try:
        until(lambda: [hook for hook in server.hooks() if hook["id"] != left_over["id"]])
        assert len(server.hooks()) == 1
        for task in server.tasks():
            server.label(task)
        done = second.wait(120)
    finally:
        second.kill()
    assert done.returncode == 0, done.output
    assert "Paused after round 0" in done.output
    assert server.hooks() == []


def test_without_webhook_answers_are_polled_for_and_ctrl_c_is_quick(
    label_studio: LabelStudio, zygote: Zygote, config: Path
) -> None:
    server = Server(label_studio, config)
    run = zygote.start("run", str(config))
    try:
        tasks = until(server.tasks)
        server.label(tasks[0])
        until(lambda: labels_in_store(config) == 1)
        start = time.monotonic()
        os.kill(run.pid, signal.SIGINT)
        done = run.wait(60)
        seconds = time.monotonic() - start
    finally:
        run.kill()
    assert done.returncode == 130 and seconds < STOPPED
    assert "Stopped; nothing is lost" in done.output and "Traceback" not in done.output
    assert server.hooks() == []


def test_no_wait_says_how_many_are_labelled_and_where(
    label_studio: LabelStudio, zygote: Zygote, config: Path
) -> None:
    server = Server(label_studio, config)
    first = zygote.run("run", str(config), "--no-wait")
    assert first.returncode == 6, first.output
    assert "0 of 4" in first.output and f"{label_studio.url}/projects/{server.project()}" in first.output
    server.label(server.tasks()[0])
    second = zygote.run("run", str(config), "--no-wait")
    assert second.returncode == 6 and "1 of 4" in second.output
    for task in server.tasks()[1:]:
        server.label(task)
    assert zygote.run("run", str(config), "--no-wait", "--max-rounds", "1").returncode == 0


def test_looking_and_doctor_beside_a_campaign(
    label_studio: LabelStudio, zygote: Zygote, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["doctor", str(config)]) == 5  # there is no model
    before = capsys.readouterr().out
    assert f"✓ server       {label_studio.url}: Label Studio 1." in before
    assert f"✓ token        a legacy token of {label_studio.user}" in before
    assert "✓ project      new" in before

    assert zygote.run("run", str(config), "--no-wait").returncode == 6
    server = Server(label_studio, config)
    server.label(server.tasks()[0])
    zygote.run("run", str(config), "--no-wait")
    run_command(["status", str(config)])
    status = capsys.readouterr().out
    assert f"label at    {label_studio.url}/projects/{server.project()}/data" in status
    assert f"{label_studio.user}" in status and "2.0" in status
    run_command(["doctor", str(config)])
    assert "✓ project" in capsys.readouterr().out


def test_a_project_that_cannot_be_used_is_told_before_anything_is_made(
    label_studio: LabelStudio, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"title": "another's", "description": "star_al:another_key"}
    foreign = label_studio.call("post", "/api/projects/", json=body)["id"]
    spec = config.read_text()
    for number, words in ((99999, "no project 99999"), (foreign, "belongs to another campaign")):
        config.write_text(spec.replace("kind: label_studio", f"kind: label_studio\n  project: {number}"))
        assert run_command(["run", str(config)]) == 4
        assert words in capsys.readouterr().err
        run_command(["doctor", str(config)])
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("✗ project"))
        assert "99999" in line or str(foreign) in line
    assert not list(config.parent.glob("*.db"))


def test_a_label_config_edited_into_nonsense_is_put_back(
    label_studio: LabelStudio, zygote: Zygote, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zygote.run("run", str(config), "--no-wait")
    project = Server(label_studio, config).project()
    choices = '<Choices name="label" toName="text"><Choice value="sport"/></Choices>'
    nonsense = f'<View><Text name="text" value="$text"/>{choices}</View>'
    label_studio.call("patch", f"/api/projects/{project}/", json={"label_config": nonsense})
    run_command(["doctor", str(config)])
    out = capsys.readouterr().out
    assert "✗ project" in out and "'business'" in out and "label-config" in out
    assert run_command(["label-config", str(config), "--apply"]) == 0
    run_command(["doctor", str(config)])
    assert "✓ project" in capsys.readouterr().out
    run_command(["label-config", str(config)])
    written = label_studio.call("get", f"/api/projects/{project}/")["label_config"]
    assert written.strip() in capsys.readouterr().out
