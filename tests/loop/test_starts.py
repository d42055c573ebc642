"""The first batch of a campaign without labels: texts that cover the pool, texts of a search, earlier campaigns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.acquire.embeddings import centred_directions
from star_al.acquire.greedy import greedy_batch
from star_al.acquire.herding import herding
from star_al.acquire.search import Search
from star_al.config.spec import CampaignSpec
from star_al.replay import find_round, replay_round
from star_al.steps import embeddings, start
from star_al.types import Float32Array, FloatArray, Query
from support.world import World

CHANGES: dict[str, Any] = {"n": 70, "acquisition__batch_size": 8, "stopping__max_rounds": 2}
START = "cold start (no labels to train on): "


def world_of(folder: Path, cold_start: str, **changes: Any) -> World:
    return World(folder, **{**CHANGES, "acquisition__cold_start": cold_start, **changes})


def first(world: World) -> list[Query]:
    return [query for query in world.asked() if query.round_index == 0]


def ids(queries: list[Query]) -> list[str]:
    return [query.item_id for query in queries]


def replays(world: World) -> bool:
    return replay_round(world.parts().for_round(find_round(world.store, world.campaign, 0))).same_batch


def points_of(world: World, item_ids: list[str]) -> np.ndarray[Any, Any]:
    items = world.store.items(world.campaign_id, item_ids)
    vectors = world.learner.embed(None, items, lambda n: None)
    pool = world.store.items(world.campaign_id, world.store.pool_ids(world.campaign_id, 0))
    centre = world.learner.embed(None, pool, lambda n: None).mean(axis=0)
    return centred_directions(vectors, centre).astype(np.float32)


def test_a_herding_start_covers_the_pool_scores_nothing_and_says_what_each_text_stands_for(
    tmp_path: Path,
) -> None:
    world = world_of(tmp_path, "herding", acquisition__batch={"near_duplicates": None})
    pool = world.store.pool_ids(world.campaign_id, 0)
    world.run(max_rounds=1)
    asked = first(world)
    assert world.round(0).scores_sha256 is None
    points = points_of(world, sorted(pool))
    picks = greedy_batch(herding(points, points[:0]), [], len(points), 8)
    assert ids(asked) == [sorted(pool)[pick.position] for pick in picks]
    words = (
        re.escape(START)
        + r"(stands for (\d+) texts? that no question has covered|covers what is left of the pool)"
    )
    matches = [re.fullmatch(words, query.reason.text) for query in asked]
    counts = [int(match[2] or 0) if match else -1 for match in matches]
    assert min(counts) >= 0 and counts[0] > 1 and sum(counts) <= len(pool)
    assert replays(world)


@pytest.mark.parametrize(("scorer", "label_names"), [("head", True), ("head", False), ("learner", True)])
def test_texts_whose_label_the_names_leave_open_weigh_more_where_a_head_reads_names(
    scorer: str, label_names: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions: list[FloatArray] = []

    def only_the_last(log_probs_N_C: FloatArray, points_N_d: Float32Array, seed: int) -> FloatArray:
        predictions.append(log_probs_N_C)
        last_N: FloatArray = np.eye(len(points_N_d))[-1]
        return last_N

    monkeypatch.setattr(start, "open_label_weights", only_the_last)
    world = world_of(tmp_path, "herding", acquisition__scorer=scorer, head__label_names=label_names)
    pool = sorted(world.store.pool_ids(world.campaign_id, 0))
    world.run(max_rounds=1)
    weighs = scorer == "head" and label_names
    assert (first(world)[0].item_id == pool[-1]) is weighs
    assert [len(each) for each in predictions] == ([len(pool)] if weighs else [])
    assert replays(world)


@pytest.mark.parametrize("cold_start", ["herding", "search", "typical"])
def test_a_buffer_comes_after_the_first_batch_and_does_not_change_it(cold_start: str, tmp_path: Path) -> None:
    asked = []
    for buffer in (0, 5):
        search = {"acquisition__search": "win a prize"} if cold_start == "search" else {}
        world = world_of(tmp_path / str(buffer), cold_start, labelling__buffer=buffer, **search)
        world.run(max_rounds=1)
        asked.append(ids(first(world)))
        assert replays(world)
    assert len(asked[0]) == 8 and len(asked[1]) == 13 and asked[1][:8] == asked[0]


def test_a_control_arm_is_asked_first_and_counts_as_covered(tmp_path: Path) -> None:
    world = world_of(
        tmp_path, "herding", acquisition__control_share=0.25, acquisition__batch={"near_duplicates": None}
    )
    pool = sorted(world.store.pool_ids(world.campaign_id, 0))
    world.run(max_rounds=1)
    asked = first(world)
    control = [query.item_id for query in asked if query.control]
    assert ids(asked)[:2] == control and len(asked) == 8
    points, known = points_of(world, pool), points_of(world, sorted(control))
    allowed = np.array([item_id not in control for item_id in pool])
    picks = greedy_batch(herding(points, known), [], len(pool), 6, allowed_M=allowed)
    assert ids(asked)[2:] == [pool[pick.position] for pick in picks]


def test_of_a_large_pool_a_sample_is_covered_and_its_counts_are_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "POOL_TEXTS", 20)
    world = world_of(tmp_path, "herding")
    world.run(max_rounds=1)
    assert all("stands for about " in query.reason.text for query in first(world)[:1])


def test_a_search_asks_texts_like_the_words_but_few_of_a_kind(tmp_path: Path) -> None:
    plain = world_of(tmp_path / "plain", "random")
    plain.run(max_rounds=1)
    words = plain.item(first(plain)[0]).text
    without = {"near_duplicates": None}
    world = world_of(tmp_path / "search", "search", acquisition__search=words, acquisition__batch=without)
    world.run(max_rounds=1)
    asked = first(world)
    assert world.item(asked[0]).text == words
    pool = sorted(world.store.pool_ids(world.campaign_id, 0))
    assert asked[0].reason.text == f"{START}rank 1 of {len(pool)} by similarity to “{words}”"
    points = points_of(world, pool)
    query = points[pool.index(asked[0].item_id)][None]
    order = np.argsort(-(points @ query.T)[:, 0], kind="stable")
    picks = greedy_batch(Search(points[order], query, points[:0]), [], len(pool), 8)
    assert ids(asked) == [pool[order[pick.position]] for pick in picks]


def test_earlier_campaigns_start_from_the_clusters_they_did(tmp_path: Path) -> None:
    world = world_of(tmp_path, "typical")
    stored = world.file.spec.model_dump(mode="json")
    assert stored["acquisition"]["min_cluster"] == 5
    earlier = {
        name: value
        for name, value in stored["acquisition"].items()
        if name not in ("preset", "min_cluster", "scorer", "search", "target_label")
    }
    spec = CampaignSpec.model_validate({**stored, "acquisition": earlier})
    assert spec.acquisition.min_cluster == 1
    again = CampaignSpec.model_validate(spec.model_dump(mode="json"))
    assert again.acquisition.min_cluster == 1
