"""A campaign with adaptive sampling needs fewer passes, keeps the scores that decide, and survives kills and replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al import rng
from star_al.artefacts import score_file
from star_al.artefacts.score_page import Scores
from star_al.replay import find_round, replay_round
from star_al.steps import score, score_shards
from star_al.steps.score_plan import score_plan
from star_al.types import Item, Predictions
from support import stored
from support.world import World

SAMPLES = 32
CHANGES: dict[str, Any] = {
    "n": 120,
    "acquisition__preset": "star",
    "posterior__samples": SAMPLES,
    "acquisition__blend": {"kind": "constant", "weight": 0.8},
    "acquisition__batch_size": 10,
    "stopping__max_rounds": 2,
}
ADAPTIVE = {**CHANGES, "acquisition__adaptive_samples": 4}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_shards, "SHARD_ITEMS", 16)


def scores(world: World, round_index: int) -> tuple[tuple[str, ...], Scores]:
    return score_file.read_scores(path(world, round_index))


def path(world: World, round_index: int) -> Path:
    sha256 = world.store.rounds(world.campaign_id)[round_index].scores_sha256
    assert sha256 is not None
    return world.parts().artefacts.score_file(sha256)


def asked(world: World, round_index: int) -> list[str]:
    return [query.item_id for query in world.store.queries(world.campaign_id, round_index)]


def test_undecided_items_get_the_scores_of_a_full_run_and_the_others_fewer_samples(tmp_path: Path) -> None:
    full, adaptive = World(tmp_path / "full", **CHANGES), World(tmp_path / "adaptive", **ADAPTIVE)
    for world in (full, adaptive):
        world.run(max_rounds=2)
    assert set(asked(full, 1)) == set(asked(adaptive, 1))
    (item_ids, whole), (same_ids, part) = scores(full, 1), scores(adaptive, 1)
    assert item_ids == same_ids
    assert whole.samples is not None and part.samples is not None
    assert (whole.samples == SAMPLES).all()
    assert set(part.samples) <= {4, 8, 16, 32}
    assert part.samples.mean() < SAMPLES / 2
    everything_N = part.samples == SAMPLES
    assert everything_N.any()
    for name in ("adapted_uncertainty", "aleatoric", "epistemic", "base_uncertainty"):
        np.testing.assert_array_equal(getattr(part, name)[everything_N], getattr(whole, name)[everything_N])
    log_probs_N_K_C = score_file.read_predictions([path(adaptive, 1)], item_ids)
    np.testing.assert_array_equal((~np.isnan(log_probs_N_K_C[..., 0])).sum(axis=1), part.samples)
    [event] = [e for e in adaptive.store.events(adaptive.campaign_id) if e.step == "score" and e.round_index]
    share = float(event.message.removesuffix("% of the passes").rpartition(" ")[2])
    assert share / 100 == pytest.approx(part.samples.mean() / SAMPLES, abs=0.006)


def test_the_split_and_the_samples_are_stored_and_say_why(tmp_path: Path) -> None:
    world = World(tmp_path, **ADAPTIVE)
    world.run()
    item_ids, columns = scores(world, 1)
    ranking = stored.ranking(world.store, world.campaign_id, 1)
    assert len(ranking) == len(item_ids)
    for row in ranking:
        position = item_ids.index(row.item_id)
        for name in ("aleatoric", "epistemic", "samples"):
            assert getattr(row, name) == getattr(columns, name)[position]
        assert row.aleatoric + row.epistemic == pytest.approx(row.adapted_uncertainty)  # type: ignore[operator]
        assert row.epistemic > 0  # type: ignore[operator]
    for query in world.store.queries(world.campaign_id, 1):
        assert query.reason.samples in (4, 8, 16, 32)
        assert f"({query.reason.samples} samples)" in query.reason.text
    for query in world.store.queries(world.campaign_id, 0):
        assert query.reason.samples is query.reason.epistemic is None


def test_one_sample_has_no_split_and_the_base_alone_no_samples(tmp_path: Path) -> None:
    world = World(tmp_path, posterior={"kind": "map"}, acquisition__cold_start="base_uncertainty")
    world.run()
    first = stored.ranking(world.store, world.campaign_id, 0)[0]
    assert (first.aleatoric, first.epistemic, first.samples) == (None, None, None)
    second = stored.ranking(world.store, world.campaign_id, 1)[0]
    assert (second.aleatoric, second.epistemic, second.samples) == (None, None, 1)


@pytest.mark.parametrize("batch", [{"kind": "top_k"}, {"kind": "power", "beta": 4.0}], ids=["top", "power"])
def test_killed_at_any_pass_it_asks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: dict[str, Any]
) -> None:
    changes = {**ADAPTIVE, "acquisition__batch": batch, "evaluation__stop_set": 0}
    unbroken, broken = World(tmp_path / "unbroken", **changes), World(tmp_path / "broken", **changes)
    unbroken.run()
    predict, passes, calls = broken.learner.predict, [], 0
    seed = rng.derive_seed(broken.campaign.seed, 1, "posterior")

    def and_die(*args: Any, draws: range | None, **kwargs: Any) -> Predictions:
        """Die in every second pass over a shard, before it is written."""
        nonlocal calls
        predictions = predict(*args, draws=draws, **kwargs)
        if kwargs["seed"] != seed:  # evaluates
            return predictions
        calls += 1
        if calls % 2:
            raise KeyboardInterrupt
        passes.append(draws)
        return predictions

    monkeypatch.setattr(broken.learner, "predict", and_die)
    kills = 0
    while True:
        try:
            outcome = broken.run()
        except KeyboardInterrupt:
            kills += 1
            assert kills < 200, "no progress"
        else:
            break
    assert outcome.kind == "stopped"
    assert kills > 7  # in every shard of the first pass, and in later stages
    assert range(4, 8) in passes and range(8, 16) in passes
    for index in (0, 1):
        assert asked(broken, index) == asked(unbroken, index)
    assert path(broken, 1).name == path(unbroken, 1).name


def test_scores_do_not_depend_on_the_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for size in (5, 16, 2048):
        monkeypatch.setattr(score_shards, "SHARD_ITEMS", size)
        world = World(tmp_path / str(size), **ADAPTIVE)
        world.run()
        names.add(path(world, 1).name)
    assert len(names) == 1


def test_whole_files_are_not_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "w", **ADAPTIVE)
    world.run(max_rounds=1)
    world.run(max_rounds=1)
    parts, round_ = world.parts(), world.store.rounds(world.campaign_id)[1]
    plan = score_plan(parts.for_round(round_))
    assert plan is not None and round_.adapter_sha256 is not None
    adapter = parts.artefacts.path_of(round_.adapter_sha256)
    (tmp_path / "scores").mkdir()
    first = score.score_pool(parts, plan, adapter, tmp_path / "scores")
    assert len(first.stages) > 2

    def never(folder: Path | None, items: Sequence[Item], **_: object) -> Predictions:
        raise AssertionError(f"{len(items)} items were scored again")

    monkeypatch.setattr(world.learner, "predict", never)
    assert score.score_pool(parts, plan, adapter, tmp_path / "scores") == first


def test_a_round_is_replayed_with_its_buffer_and_budget(tmp_path: Path) -> None:
    world = World(
        tmp_path, **{**ADAPTIVE, "labelling__buffer": 3, "stopping": {"max_labels": 33, "max_rounds": None}}
    )
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    assert [one.selection and one.selection.asked for one in rounds] == [10, 6, None]
    replayed = replay_round(world.parts().for_round(find_round(world.store, world.campaign, 1)))
    assert replayed.same_batch and replayed.same_adapter
