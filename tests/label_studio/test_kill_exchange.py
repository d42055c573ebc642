"""kill -9 around every request to Label Studio and every write of push and collect; SIGSTOP in mid-import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from support import controller
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.exchange_check import check
from support.label_studio_server import LabelStudio
from support.server_side import ServerSide
from support.zygote import Zygote

WRITES = "add_queries,save_tasks,mirror,close_queries,start_round,commit_step"
WAITING = 6  # what `star-al run --no-wait` ends with when tasks are open


class Labelled:
    """A campaign on the server, and the person who labels for it."""

    def __init__(self, folder: Path, server: LabelStudio, **changes: Any) -> None:
        name = f"kill-{time.time_ns()}"  # nothing on a server that was used before is called so
        settings: dict[str, Any] = {
            "name": name,
            "annotator": {"kind": "label_studio", "url": server.url},
            "evaluation": {"kind": "audit", "size": 3, "calibration": 2, "stop_set": 5},
            "stopping__max_rounds": 1,
            "labelling": {"buffer": 2},
            "database__lease_seconds": 60.0,
        }
        self.path = write_campaign(folder, **(settings | changes))
        self.side = ServerSide(server.url, server.token, name)
        self.given: set[int] = set()

    def label_what_is_open(self) -> None:
        """Answer every task that has no answer; no query may have two."""
        for tasks in self.side.by_key().values():
            assert len(tasks) == 1
            if not tasks[0]["annotations"]:
                annotation = self.side.answer(tasks[0], list(WORDS)[tasks[0]["id"] % len(WORDS)])
                assert annotation is not None
                self.given.add(annotation)

    def complaints(self) -> list[str]:
        """What is wrong between server and store."""
        file = load_campaign(self.path)
        store = open_store(file)
        try:
            campaign = store.find_campaign(file.spec.name)
            assert campaign is not None
            return check(self.side, store, campaign.campaign_id, self.given).complaints
        finally:
            store.close()


@pytest.mark.parametrize(
    ("points", "moments", "least"),
    [("request", ("after",), 20), (WRITES, ("before", "after"), 20)],
    ids=["requests", "writes"],
)
def test_killed_before_and_after_every_one(
    points: str,
    moments: tuple[str, ...],
    least: int,
    tmp_path: Path,
    label_studio: LabelStudio,
    zygote: Zygote,
) -> None:
    """Each controller dies one step later than the one before it, until one gets to where people must label.

    Before a request the server is as after the one before it; so a kill after each is enough.
    """
    campaign = Labelled(tmp_path, label_studio)
    kills, at = 0, 0
    while True:
        call, moment = at // len(moments) + 1, moments[at % len(moments)]
        done = zygote.run("run", str(campaign.path), "--no-wait", at=("SIGKILL", points, call, moment))
        if done.returncode == 0:
            break
        assert done.returncode in (-signal.SIGKILL, WAITING), done.output
        if done.returncode == WAITING:
            campaign.label_what_is_open()
            at = 0
        else:
            kills, at = kills + 1, at + 1
        assert at < 100, "no progress"
    assert kills >= least
    assert campaign.complaints() == []


def test_a_controller_stopped_in_mid_import_wakes_after_another_has_taken_over(
    tmp_path: Path, label_studio: LabelStudio, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request goes out although its lease is over; it learns that and ends, and the next poll repairs."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    write_jsonl(tmp_path / "pool.jsonl", _long_rows())
    campaign = Labelled(tmp_path, label_studio, database__lease_seconds=1.0)
    first = controller.start(
        "run", str(campaign.path), "--no-wait", at=("SIGSTOP", "request:/import", 2, "before")
    )
    try:
        controller.wait_until_stopped(first.pid)
        assert 0 < len(campaign.side.tasks()) < 5
        deadline = time.monotonic() + 30
        while (second := zygote.run("run", str(campaign.path), "--no-wait")).returncode == 3:
            assert time.monotonic() < deadline, second.output
            time.sleep(0.2)
        assert second.returncode == WAITING, second.output
        assert len(campaign.side.tasks()) == 5
        os.kill(first.pid, signal.SIGCONT)
        _, errors = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 3
    assert "no longer holds it" in errors and "Traceback" not in errors
    while (done := zygote.run("run", str(campaign.path), "--no-wait")).returncode == WAITING:
        campaign.label_what_is_open()
    assert done.returncode == 0, done.output
    assert campaign.complaints() == []


def _long_rows() -> list[dict[str, str]]:
    """Texts so long that an import takes two of them."""
    return [{**row, "text": f"{row['text']} {'x' * 900_000}"} for row in make_rows(12)]
