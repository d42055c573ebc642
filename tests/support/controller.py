"""Run the real command line in its own process, with the NumPy learner, and look at what it left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from star_al.app.compose import open_store
from star_al.config.file import load_campaign

TESTS = Path(__file__).resolve().parent.parent


def command(*arguments: str, at: tuple[str, str, int, str] = ("SIGKILL", "-", 0, "before")) -> list[str]:
    """The command line of ``support.kill_at``; ``at`` is (signal, store method, n-th call, before | after)."""
    signal_name, method, n, moment = at
    return [sys.executable, "-m", "support.kill_at", signal_name, method, str(n), moment, *arguments]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a controller process."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return {**os.environ, "PYTHONPATH": paths, "STAR_AL_TEST_LEARNER": "numpy", **extra}


def run(
    *arguments: str, at: tuple[str, str, int, str] | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run to the end; a negative return code is the signal that ended it."""
    line = command(*arguments, at=at) if at else command(*arguments)
    return subprocess.run(
        line, env=environment(**extra), capture_output=True, text=True, timeout=240, check=False
    )


def start(*arguments: str, at: tuple[str, str, int, str] | None = None) -> subprocess.Popen[str]:
    """Start and return at once."""
    line = command(*arguments, at=at) if at else command(*arguments)
    return subprocess.Popen(
        line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    """Until the process has stopped itself."""
    deadline = time.monotonic() + 60
    while Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def record(path: Path) -> dict[str, Any]:
    """All that matters of a campaign's outcome, free of ids, clocks and restarts."""
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
                    r.scores_sha256,
                    r.labels,
                    r.labels_bought,
                    r.asked,
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
