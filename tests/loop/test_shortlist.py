"""Campaigns with a shortlist score a part of the pool, say what that may miss, and survive kills and replays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al import rng
from star_al.artefacts import score_file
from star_al.artefacts.score_page import Scores
from star_al.config.file import load_campaign
from star_al.data import ImportCounts, data_source, locate, read_items
from star_al.replay import replay_round
from star_al.steps import score_shards
from star_al.steps import shortlist as shortlist_step
from star_al.task import make_task
from star_al.types import Predictions
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.world import World

CHANGES: dict[str, Any] = {
    "n": 120,
    "acquisition__preset": "star",
    "acquisition__batch": {"kind": "top_k", "near_duplicates": None},
    "acquisition__batch_size": 5,
    "stopping__max_rounds": 4,
}
SHORT: dict[str, Any] = {**CHANGES, "acquisition__shortlist": {"share": 0.3, "random_share": 0.4}}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_shards, "SHARD_ITEMS", 16)
    monkeypatch.setattr(shortlist_step, "SHARD_ITEMS", 16)


def path(world: World, index: int) -> Path:
    return world.parts().artefacts.score_file(world.round(index).scores_sha256 or "")


def scores(world: World, index: int) -> tuple[tuple[str, ...], Scores]:
    return score_file.read_scores(path(world, index))


def asked(world: World, index: int) -> list[str]:
    return [query.item_id for query in world.store.queries(world.campaign_id, index)]


def pool(world: World, index: int) -> list[str]:
    return world.store.pool_ids(world.campaign_id, index)


def test_rounds_after_the_first_trained_one_score_the_newest_top_and_a_random_rest(tmp_path: Path) -> None:
    world = World(tmp_path, **SHORT)
    world.run()
    first_ids, first = scores(world, 1)
    assert list(first_ids) == pool(world, 1) and first.drawn is None
    assert (selection := world.round(1).selection) is not None and selection.shortlist is None
    for index in (2, 3):
        ids, columns = scores(world, index)
        size = int(np.ceil(0.3 * len(pool(world, index))))
        n_drawn = int(np.ceil(0.4 * size))
        assert columns.drawn is not None
        assert (len(ids), columns.drawn.sum()) == (size, n_drawn)
        selection = world.round(index).selection
        assert selection is not None and selection.shortlist is not None
        record = selection.shortlist
        assert (record.pool, record.scored, record.drawn, record.batch) == (
            len(pool(world, index)),
            size,
            n_drawn,
            5,
        )
        assert record.missed is not None and record.missed_high is not None
        assert record.missed >= 0 and record.missed_high <= record.pool - record.scored
        assert set(asked(world, index)) <= set(ids)
        said = {
            event.step: event.message
            for event in world.store.events(world.campaign_id)
            if event.round_index == index
        }
        assert f"scored {size} of {record.pool} texts, {n_drawn} of them drawn at random" in said["score"]
        assert f"of {record.pool - size} texts that were not scored, about" in said["select"]


def _adapted(columns: Scores) -> list[float]:
    assert columns.adapted_uncertainty is not None
    return list(map(float, columns.adapted_uncertainty))


def test_without_a_blend_the_newest_scores_alone_decide(tmp_path: Path) -> None:
    world = World(tmp_path, **{**SHORT, "acquisition__blend": {"kind": "off"}})
    world.run()
    newest: dict[str, float] = {}
    for index in (1, 2, 3):
        ids, columns = scores(world, index)
        if columns.drawn is not None:
            known = {item_id: newest[item_id] for item_id in pool(world, index)}
            ranked = {each for each, drawn in zip(ids, columns.drawn, strict=True) if not drawn}
            assert ranked == set(sorted(known, key=lambda each: (-known[each], each))[: len(ranked)])
        newest |= dict(zip(ids, _adapted(columns), strict=True))


def test_a_shortlist_of_all_texts_changes_nothing(tmp_path: Path) -> None:
    whole, listed = (
        World(tmp_path / "whole", **CHANGES),
        World(tmp_path / "listed", **{**CHANGES, "acquisition__shortlist": {"size": 500}}),
    )
    for world in (whole, listed):
        world.run()
    for index in range(4):
        assert asked(whole, index) == asked(listed, index)
    assert path(whole, 3).name == path(listed, 3).name


def test_new_texts_are_scored_whatever_the_size(tmp_path: Path) -> None:
    world = World(tmp_path, **SHORT)
    world.run(max_rounds=3)
    task = make_task(world.file.spec.task)
    write_jsonl(tmp_path / "more.jsonl", make_rows(30, seed=9))
    source = replace(data_source(world.file), table=locate("more.jsonl", tmp_path))
    rows = list(read_items(source, task, ImportCounts()))
    assert world.store.extend_campaign(world.campaign_id, rows) == 30
    world.run(max_rounds=1)
    ids, columns = scores(world, 3)
    assert columns.drawn is not None
    new = {row.item.item_id for row in rows}
    assert new <= set(ids)
    assert not {each for each, drawn in zip(ids, columns.drawn, strict=True) if drawn} & new


WAYS: dict[str, dict[str, Any]] = {
    "last_round": {},
    "head": {"learner": {"kind": "lora", "head": True, "taught": False}},
    "mean": {"posterior__samples": 4},
    "prequential": {"acquisition__blend": {"kind": "prequential"}},
    "diverse": {"acquisition__batch": {"kind": "facility_location", "top": 15}},
    "adaptive": {"posterior__samples": 16, "acquisition__adaptive_samples": 4},
    "bald": {"posterior__samples": 4, "acquisition__measure": "bald", "acquisition__blend": {"kind": "off"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_shard_it_asks_the_same_and_is_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    by = way if way in ("head", "mean") else "last_round"
    settings = {"share": 0.3, "random_share": 0.4, "by": by}
    changes = {**CHANGES, **WAYS[way], "acquisition__shortlist": settings, "stopping__max_rounds": 3}
    unbroken, broken = World(tmp_path / "unbroken", **changes), World(tmp_path / "broken", **changes)
    unbroken.run()
    predict, calls = broken.learner.predict, 0
    seeds = {rng.derive_seed(broken.campaign.seed, index, "posterior") for index in (1, 2)}

    def and_die(*args: Any, **kwargs: Any) -> Predictions:
        """Die in every second pass over a shard of the pool."""
        nonlocal calls
        calls += kwargs["seed"] in seeds
        if kwargs["seed"] in seeds and calls % 2:
            raise KeyboardInterrupt
        return predict(*args, **kwargs)

    monkeypatch.setattr(broken.learner, "predict", and_die)
    kills = 0
    while True:
        try:
            broken.run()
        except KeyboardInterrupt:
            kills += 1
            assert kills < 200, "no progress"
        else:
            break
    assert kills > 2
    assert path(broken, 2).name == path(unbroken, 2).name
    assert asked(broken, 2) == asked(unbroken, 2)
    for index in (1, 2):
        assert replay_round(unbroken.round_parts(index)).same_batch
    selection = unbroken.round(2).selection
    assert selection is not None and selection.shortlist is not None
    assert selection.shortlist.scored < selection.shortlist.pool / 2
    assert selection.shortlist.depth == (15 if way == "diverse" else 5)


@pytest.mark.parametrize("joins", [True, False], ids=["joins", "leaves"])
def test_it_stays_short_when_a_head_joins_the_blend_or_leaves_it(tmp_path: Path, joins: bool) -> None:
    changes = {**SHORT, "acquisition__blend": {"kind": "prequential"}, "stopping__max_rounds": 6}
    before, after = (
        {**changes, "learner": {"kind": "lora", "head": head, "taught": False}} for head in (not joins, joins)
    )
    world = World(tmp_path, **before)
    world.run(max_rounds=2)
    world.file = load_campaign(write_campaign(tmp_path, **after))
    world.run(max_rounds=3)
    for index in (2, 3, 4):
        selection = world.round(index).selection
        assert selection is not None and selection.shortlist is not None
        assert selection.shortlist.scored < selection.shortlist.pool / 2
        assert (scores(world, index)[1].head_uncertainty is not None) == joins
        assert replay_round(world.round_parts(index)).same_batch


def test_what_the_control_arm_asks_is_scored_as_a_blend_learns_from_it(tmp_path: Path) -> None:
    changes = {**SHORT, "acquisition__blend": {"kind": "prequential"}, "acquisition__control_share": 0.4}
    world = World(tmp_path, **changes)
    world.run()
    for index in (2, 3):
        control = [query for query in world.store.queries(world.campaign_id, index) if query.control]
        assert len(control) == 2
        assert all(query.reason.adapted_rank is not None and query.reason.predicted for query in control)
        ids, columns = scores(world, index)
        assert columns.drawn is not None
        drawn = {each for each, drawn in zip(ids, columns.drawn, strict=True) if drawn}
        assert not drawn & {query.item_id for query in control}
        assert replay_round(world.round_parts(index)).same_batch


def test_the_head_knows_the_texts_of_the_first_trained_round_too(tmp_path: Path) -> None:
    changes = {**SHORT, **WAYS["head"], "acquisition__shortlist": {"share": 0.3, "by": "head"}}
    world = World(tmp_path, **changes)
    world.run(max_rounds=2)
    assert len(scores(world, 1)[0]) == int(np.ceil(0.3 * len(pool(world, 1))))


@pytest.mark.parametrize("measure", ["nll", "token_entropy"])
def test_written_answers_are_drawn_for_the_top_of_a_cheap_measure_alone(tmp_path: Path, measure: str) -> None:
    write_jsonl(
        tmp_path / "pool.jsonl", [{**row, "label": f"Answer: {row['label']}"} for row in make_rows(60)]
    )
    changes: dict[str, Any] = {
        "task": {"kind": "text", "answer": {"pattern": "Answer: (.+)"}, "draws": 3},
        "acquisition__measure": "entropy",
        "acquisition__batch": {"kind": "top_k", "near_duplicates": None},
        "acquisition__shortlist": {"share": 0.3, "by": measure, "random_share": 0.2},
        "stopping__max_rounds": 3,
    }
    write_campaign(tmp_path, **changes)
    world = World(tmp_path)
    asked_for: list[tuple[range | None, int]] = []
    predict = world.learner.predict

    def noted(*args: Any, draws: range | None, **kwargs: Any) -> Predictions:
        asked_for.append((draws, len(args[1])))
        return predict(*args, draws=draws, **kwargs)

    world.learner.predict = noted  # type: ignore[method-assign]
    world.run()
    texts = len(pool(world, 2))
    ids, columns = scores(world, 2)
    size = int(np.ceil(0.3 * texts))
    assert len(ids) == size and columns.drawn is not None and columns.drawn.sum() == np.ceil(0.2 * size)
    once = sum(n for draws, n in asked_for if draws is not None and not len(draws))
    assert once == len(pool(world, 1)) + texts
    assert replay_round(world.round_parts(2)).same_batch
