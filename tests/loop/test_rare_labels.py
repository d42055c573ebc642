"""Campaigns that look for a rare label, and what is said of a start that did badly wherever it was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al.artefacts import score_file
from star_al.steps.score_plan import score_plan
from support.world import World


@pytest.mark.parametrize("samples", [1, 4])
def test_texts_are_ranked_by_the_probability_of_the_label(samples: int, tmp_path: Path) -> None:
    acquisition = {
        "measure": "label_probability",
        "target_label": "Sport",
        "batch": {"kind": "top_k"},
        "batch_size": 5,
    }
    posterior = {"kind": "map"} if samples == 1 else {"kind": "mc_dropout", "samples": samples}
    world = World(tmp_path, n=70, acquisition=acquisition, posterior=posterior, stopping__max_rounds=2)
    world.run(max_rounds=2)
    column = world.file.spec.task.label_names.index("sport")
    sha256 = world.round(1).scores_sha256
    assert sha256 is not None
    file = world.parts().artefacts.score_file(sha256)
    item_ids, columns = score_file.read_scores(file)
    probs_N = np.exp(score_file.read_predictions([file], item_ids)).mean(axis=1)[:, column]
    assert columns.adapted_uncertainty is not None
    np.testing.assert_allclose(columns.adapted_uncertainty, probs_N, atol=1e-6)
    asked = {query.item_id for query in world.asked() if query.round_index == 1}
    left = sorted(
        (prob for item_id, prob in zip(item_ids, probs_N, strict=True) if item_id not in asked), reverse=True
    )
    chosen = [prob for item_id, prob in zip(item_ids, probs_N, strict=True) if item_id in asked]
    assert max(chosen) >= left[0] and np.mean(chosen) > np.mean(left)


def test_scores_of_another_label_are_kept_apart(tmp_path: Path) -> None:
    keys = []
    for label in ("sport", "business"):
        acquisition = {"measure": "label_probability", "target_label": label, "batch": {"kind": "top_k"}}
        world = World(tmp_path / label, acquisition=acquisition)
        world.run(max_rounds=2)
        plan = score_plan(world.round_parts(1))
        assert plan is not None
        keys.append(plan.key(["one"], None, "base"))
    assert keys[0] != keys[1]


@pytest.mark.parametrize(("cold_start", "warns"), [("base_uncertainty", True), ("herding", False)])
def test_a_start_that_did_worse_than_random_is_warned_of(
    cold_start: str, warns: bool, tmp_path: Path
) -> None:
    world = World(tmp_path, acquisition__cold_start=cold_start)
    assert any("did worse than random" in line for line in world.progress.said) is warns
