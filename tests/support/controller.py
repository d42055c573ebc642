"""Run the real command line in a process of its own, with the NumPy learner, and read what it left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from star_al.app.stores import open_store
from star_al.config.file import load_campaign

TESTS = Path(__file__).resolve().parent.parent


At = tuple[str, str, int, str]
"""When a controller sends itself a signal: (signal, points, n-th call, before | after), see ``support.kill_at``."""

NEVER: At = ("SIGKILL", "-", 0, "before")


def command(*arguments: str, at: At = NEVER) -> list[str]:
    """The command line of ``support.kill_at``."""
    signal_name, method, n, moment = at
    return [sys.executable, "-m", "support.kill_at", signal_name, method, str(n), moment, *arguments]


def environment(**extra: str) -> dict[str, str]:
    """Environment variables of a controller process."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return {**os.environ, "PYTHONPATH": paths, "STAR_AL_TEST_LEARNER": "numpy", **extra}


def run(*arguments: str, at: At = NEVER, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run to the end; a negative return code is the signal that ended it."""
    return subprocess.run(
        command(*arguments, at=at),
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def start(*arguments: str, at: At = NEVER) -> subprocess.Popen[str]:
    """Start and return at once."""
    return subprocess.Popen(
        command(*arguments, at=at),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_stopped(pid: int) -> None:
    """Wait until the process has stopped itself."""
    process, deadline = psutil.Process(pid), time.monotonic() + 60
    while (status := process.status()) != psutil.STATUS_STOPPED:
        assert status != psutil.STATUS_ZOMBIE, "the process has ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def record(path: Path) -> dict[str, Any]:
    """The outcome of a campaign, without database ids and times, so that two campaigns can be compared."""
    file = load_campaign(path)
    store = open_store(file)
    try:
        campaign = store.find_campaign(file.spec.name)
        assert campaign is not None
        queries = store.queries(campaign.campaign_id)
        labels = store.labels(campaign.campaign_id)
        return {
            "asked": [(q.round_index, q.purpose.value, q.rank, q.item_id, q.state.value) for q in queries],
            "labels": sorted((label.item_id, label.value, label.version) for label in labels.values()),
            "annotations": len(store.annotations(campaign.campaign_id)),
            "rounds": [
                (
                    r.index,
                    r.state.value,
                    r.adapter_sha256,
                    r.head_sha256,
                    r.scores_sha256,
                    r.labels,
                    r.labels_bought,
                    r.selection and r.selection.asked,
                )
                for r in store.rounds(campaign.campaign_id)
            ],
            "metrics": [
                (e.model, e.scaling, e.nll, e.ece)
                for r in store.rounds(campaign.campaign_id)
                for e in store.evaluations(campaign.campaign_id, r.index)
            ],
        }
    finally:
        store.close()
