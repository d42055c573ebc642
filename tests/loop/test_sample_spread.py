"""A round whose measure compares posterior samples warns if they hardly differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al.artefacts import score_file
from star_al.artefacts.score_page import OpenAnswers, Scores
from star_al.steps.sample_spread import spread_warning
from support.world import World


def scores_of(path: Path, epistemic: float, aleatoric: float) -> Path:
    """A score file of ten texts with these means."""
    spread = np.linspace(0.5, 1.5, 10).astype(np.float64)
    scores = Scores(
        adapted_uncertainty=epistemic * spread, aleatoric=aleatoric * spread, epistemic=epistemic * spread
    )
    item_ids = [f"item-{n}" for n in range(10)]
    score_file.write_shard(path, item_ids, np.log(np.full((10, 1, 2), 0.5)), scores)
    return path


def test_samples_that_hardly_differ_are_told(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__measure="bald")
    world.run(max_rounds=1)
    parts = world.round_parts(0)
    found = spread_warning(parts, scores_of(tmp_path / "few.parquet", 0.0009, 0.0991))
    assert (
        found is not None
        and "mean BALD 0.90 % of the entropy, under 1 %" in found
        and "measure: bald" in found
    )
    assert spread_warning(parts, scores_of(tmp_path / "enough.parquet", 0.0011, 0.0989)) is None


@pytest.mark.parametrize(("bald", "said"), [(0.0009, True), (0.0011, False)])
def test_samples_that_hardly_differ_along_written_answers_are_told(
    bald: float, said: bool, tmp_path: Path
) -> None:
    world = World(tmp_path, task={"kind": "text"}, acquisition__measure="token_bald")
    world.run(max_rounds=1)
    signals = {"token_bald": np.full(3, bald), "token_entropy": np.full(3, 0.1)}
    unknown = Scores(aleatoric=np.full(3, np.nan), epistemic=np.full(3, np.nan))  # long answers
    opened = OpenAnswers.written([["a", None]] * 3, signals)
    path = tmp_path / "s.parquet"
    score_file.write_shard(path, ["x", "y", "z"], np.log(np.full((3, 2, 2), 0.5)), unknown, opened)
    found = spread_warning(world.round_parts(0), path)
    assert (found is not None) == said
    assert found is None or ("mean BALD 0.90 %" in found and "use acquisition.measure: nll" in found)


def test_a_measure_of_the_mean_prediction_needs_no_samples_that_differ(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__measure="margin")
    world.run(max_rounds=1)
    assert spread_warning(world.round_parts(0), scores_of(tmp_path / "few.parquet", 0.0, 0.1)) is None


def test_it_is_said_with_the_scores_of_a_round_and_kept_in_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_al.steps.sample_spread.LEAST_SPREAD", 1.1)  # any samples are too similar
    world = World(tmp_path, acquisition__measure="bald")
    world.run()
    said = [line for line in world.progress.said if "hardly differ" in line]
    scored = [event for event in world.store.events(world.campaign_id) if event.step == "score"]
    told = [event for event in scored if "hardly differ" in event.message]
    assert told and len(said) == len(told) <= len(scored)
