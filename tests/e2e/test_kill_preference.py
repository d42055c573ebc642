"""A campaign of preferences that is killed goes on and ends like one that was never killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support import controller
from support.campaigns import WORDS, write_campaign, write_jsonl
from support.tiny_model import build_tiny_model
from support.zygote import Zygote

KILLS = (
    ("items", 3, "after"),  # the base model has read some pairs, or none
    ("commit_step", 8, "before"),  # the adapter of round 1 is trained and not stored
)
TOPICS = list(WORDS)


def write(folder: Path) -> Path:
    """Write a campaign; all of them read with one model, as a tokenizer is not trained the same way twice."""
    config = write_campaign(
        folder,
        data={"path": "pool.jsonl", "text": "prompt", "options": ["chosen", "rejected"]},
        task={"kind": "preference"},
        model={"name": "../model", "dtype": "float32", "device": "cpu", "max_tokens": 96},
        posterior={"kind": "map"},
        annotator={"kind": "oracle", "gold": "chosen"},
        evaluation={"kind": "audit", "size": 6, "calibration": 4, "stop_set": 6},
        stopping__max_rounds=2,
    )
    rows = [
        {
            "prompt": f"Write about {TOPICS[n % 3]}, number {n}.",
            "chosen": f"good {TOPICS[n % 3]}",
            "rejected": f"bad {TOPICS[(n + 1) % 3]}",
        }
        for n in range(36)
    ]
    write_jsonl(folder / "pool.jsonl", rows)
    return config


@pytest.mark.slow
def test_a_killed_campaign_of_preferences_goes_on(tmp_path: Path, model_zygote: Zygote) -> None:
    build_tiny_model(tmp_path / "model")
    whole, broken = write(tmp_path / "whole"), write(tmp_path / "broken")
    done = model_zygote.run("run", str(whole))
    assert done.returncode == 0, done.output
    for method, n, moment in KILLS:
        killed = model_zygote.run("run", str(broken), at=("SIGKILL", method, n, moment))
        assert killed.returncode == -signal.SIGKILL, (method, killed.output)
    done = model_zygote.run("run", str(broken))
    assert done.returncode == 0, done.output
    assert controller.record(broken) == controller.record(whole)
