"""A tiny language model with a head on a tiny encoder beside it: the states of the one are features of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al.app.running import controlling
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from star_al.loop import Loop
from star_al.replay import replay_round
from support.campaigns import write_campaign
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder
from support.tiny_model import build_tiny_model


@pytest.mark.parametrize("scorer", ["head", "learner"])
def test_a_campaign_with_both_runs_and_is_replayed(tmp_path: Path, scorer: str) -> None:
    changes: dict[str, Any] = {
        "model__name": str(build_tiny_model(tmp_path / "model")),
        "head": {"encoder": str(build_tiny_encoder(tmp_path / "encoder"))},
        "learner": {"kind": "lora", "head": True, "train": "at_end" if scorer == "head" else "each_round"},
        "acquisition__scorer": scorer,
        "stopping__max_rounds": 2,
    }
    file = load_campaign(write_campaign(tmp_path / "campaign", **changes))
    with controlling(file, Quiet()) as parts:
        assert Loop(parts).run().kind == "stopped"
        assert replay_round(parts.for_round(parts.store.rounds(parts.campaign.campaign_id)[1])).same_batch
    store = open_store(file)
    campaign = store.find_campaign("small")
    assert campaign is not None
    rows = store.history(campaign.campaign_id)
    rounds = store.rounds(campaign.campaign_id)
    assert rows[-1]["head_accuracy"] is not None and rows[-1]["accuracy"] is not None
    assert (rows[1]["accuracy"] is None) is (scorer == "head")
    assert all(one.head_sha256 for one in rounds[1:]) and rounds[2].adapter_sha256
    assert isinstance(rounds[2].fit and rounds[2].fit.versions["head"], dict)
    store.close()
