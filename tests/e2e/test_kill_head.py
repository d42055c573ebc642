"""A campaign with a head that is killed while it trains goes on and ends like one that was never killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support import controller
from support.campaigns import write_campaign
from support.tiny_encoder import build_tiny_encoder
from support.zygote import Zygote

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
def test_a_killed_head_campaign_goes_on(tmp_path: Path, model_zygote: Zygote) -> None:
    build_tiny_encoder(tmp_path / "encoder")
    whole, broken = write(tmp_path / "whole"), write(tmp_path / "broken")
    done = model_zygote.run("run", str(whole))
    assert done.returncode == 0, done.output
    for method, n, moment in KILLS:
        killed = model_zygote.run("run", str(broken), at=("SIGKILL", method, n, moment))
        assert killed.returncode == -signal.SIGKILL, (method, killed.output)
    done = model_zygote.run("run", str(broken))
    assert done.returncode == 0, done.output
    assert controller.record(broken) == controller.record(whole)
