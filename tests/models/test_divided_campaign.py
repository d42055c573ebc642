"""A campaign whose adapters two processes train asks about the texts that it asks about with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.app import running
from star_al.app.compose import open_artefacts
from star_al.app.stores import open_store
from star_al.artefacts.score_file import read_predictions, read_scores
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.types import FloatArray
from support.campaigns import write_campaign
from support.quiet import Quiet
from support.tiny_model import build_tiny_model


def run(folder: Path, **adapter: Any) -> CampaignFile:
    build_tiny_model(folder / "model")
    settings: dict[str, Any] = {
        "posterior": {"kind": "laplace", "samples": 4},
        "acquisition": {"batch_size": 4, "preset": "star"},
        "stopping__max_rounds": 2,
        "model__dtype": "float32",
    }
    changes = {f"adapter__{name}": value for name, value in adapter.items()}
    file = load_campaign(write_campaign(folder, n=40, **settings, **changes))
    running.run(file, Quiet())
    return file


def rounds_of(file: CampaignFile) -> list[tuple[list[str], dict[str, FloatArray], str | None]]:
    """Of each round: its batch in the order of the ranking, the predictions (K, C) of each text, and the adapter."""
    store, artefacts = open_store(file), open_artefacts(file)
    try:
        campaign = store.find_campaign(file.spec.name)
        assert campaign is not None
        found = []
        for round_ in store.rounds(campaign.campaign_id):
            batch = [query.item_id for query in store.queries(campaign.campaign_id, round_.index)]
            scored: dict[str, FloatArray] = {}
            if round_.scores_sha256 is not None:
                path = artefacts.score_file(round_.scores_sha256)
                item_ids, _ = read_scores(path)
                scored = dict(zip(item_ids, read_predictions([path], item_ids), strict=True))
            found.append((batch, scored, round_.adapter_sha256))
        return found
    finally:
        store.close()


@pytest.mark.slow
def test_batches_are_the_same_round_by_round(tmp_path: Path) -> None:
    """Gradients are added up in another order, so adapters differ in their last bits, and predictions hardly."""
    one = rounds_of(run(tmp_path / "one", dropout=0.0))
    two = rounds_of(run(tmp_path / "two", dropout=0.0, training={"processes": 2}))
    assert len(one) == len(two) == 3
    for (batch, scored, adapter), (other_batch, other_scored, other_adapter) in zip(one, two, strict=True):
        assert batch == other_batch
        assert scored.keys() == other_scored.keys()
        for item_id, log_probs in scored.items():
            np.testing.assert_allclose(np.exp(other_scored[item_id]), np.exp(log_probs), atol=1e-4)
        assert (adapter is None) == (other_adapter is None)
    assert any(adapter != other for (_, _, adapter), (_, _, other) in zip(one, two, strict=True))
