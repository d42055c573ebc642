"""A campaign with a head that is killed while it trains goes on and ends like one that was never killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support import controller
from support.campaigns import write_campaign
from support.tiny_encoder import build_tiny_encoder

KILLS = (
    ("items", 1, "after"),  # the encoder has read nothing of the pool yet
    ("start_round", 1, "after"),
    ("commit_step", 8, "before"),  # the head of round 1 is trained and not stored
    ("commit_step", 3, "before"),
)


def write(folder: Path) -> Path:
    """Write a campaign; all of them read with one encoder, as a tokenizer is not trained the same way twice."""
    return write_campaign(
        folder,
        learner={"kind": "head"},
        head={"encoder": "../encoder"},
        model={"dtype": "float32"},  # else a short probe of the machine decides, in each process anew
        acquisition={"batch_size": 4},
        stopping__max_rounds=2,
    )


@pytest.mark.slow
def test_a_killed_head_campaign_goes_on(tmp_path: Path) -> None:
    build_tiny_encoder(tmp_path / "encoder")
    whole, broken = write(tmp_path / "whole"), write(tmp_path / "broken")
    done = controller.run("run", str(whole), STAR_AL_TEST_LEARNER="own")
    assert done.returncode == 0, done.stderr
    for method, n, moment in KILLS:
        at = ("SIGKILL", method, n, moment)
        killed = controller.run("run", str(broken), at=at, STAR_AL_TEST_LEARNER="own")
        assert killed.returncode == -signal.SIGKILL, (method, killed.stderr)
    done = controller.run("run", str(broken), STAR_AL_TEST_LEARNER="own")
    assert done.returncode == 0, done.stderr
    assert controller.record(broken) == controller.record(whole)
