"""Base predictions that depend on the pool, as a head's do, are made over the pool that the campaign began with."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from star_al.data import ImportCounts, data_source, locate, read_items
from star_al.ports import Advance, Pool
from star_al.replay import find_round, replay_round
from star_al.steps.base_predictions import base_log_probs
from star_al.task import closed
from star_al.types import BasePrediction, Item, Role
from support.campaigns import make_rows, write_jsonl
from support.numpy_learner import NumpyLearner
from support.world import World


class OverPool(NumpyLearner):
    """A learner whose base predictions depend on the size of the pool."""

    @property
    def base_reads_pool(self) -> bool:
        return True

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        assert pool is not None
        self.base_calls += [item.item_id for item in items]
        n_labels, share = len(self.task.spec.label_names), 1 / len(pool.item_ids)
        log_probs_C = np.log([share] + [(1 - share) / (n_labels - 1)] * (n_labels - 1))
        return [BasePrediction(item.item_id, log_probs_C) for item in items]


def world_of(folder: Path) -> World:
    changes = {
        "acquisition__preset": "star",
        "acquisition__cold_start": "base_uncertainty",
        "stopping__max_rounds": 3,
    }
    world = World(folder, **changes)
    world.learner = OverPool(closed(world.learner.task))
    return world


def test_texts_that_join_later_change_no_base_prediction(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.run(max_rounds=1)
    pool = world.store.pool_ids(world.campaign_id, 0)
    before = base_log_probs(world.parts(), pool)
    write_jsonl(tmp_path / "more.jsonl", make_rows(40, seed=9))
    source = replace(data_source(world.file), table=locate("more.jsonl", tmp_path))
    rows = read_items(source, world.learner.task, ImportCounts())
    assert world.store.extend_campaign(world.campaign_id, rows) > 0
    world.run(max_rounds=1)
    late = sorted(set(world.store.item_ids(world.campaign_id, Role.POOL)) - set(pool))
    np.testing.assert_array_equal(base_log_probs(world.parts(), pool), before)
    np.testing.assert_array_equal(base_log_probs(world.parts(), late), before[[0] * len(late)])
    assert len(world.learner.base_calls) == len(set(world.learner.base_calls))
    for index in (0, 1):
        round_ = find_round(world.store, world.campaign, index)
        assert replay_round(world.parts().for_round(round_)).same_batch


def test_predictions_over_one_pool_are_not_taken_for_those_over_another(tmp_path: Path) -> None:
    one, other = world_of(tmp_path / "a"), World(tmp_path / "b", n=50)
    item_id = one.store.pool_ids(one.campaign_id, 0)[0]
    one.run(max_rounds=1)
    key = one.learner.base_key
    assert one.store.base_predictions(key, [item_id]) == {}  # the learner's key alone does not name the pool
    assert one.parts().first_pool.key != other.parts().first_pool.key


def test_parts_that_have_read_a_pool_are_freed_with_their_last_reference(tmp_path: Path) -> None:
    """A cycle would hold the ids of every round's pool until a garbage collection, which is rare."""
    parts = world_of(tmp_path).parts()
    pool, freed = parts.first_pool, weakref.ref(parts)
    gc.disable()
    try:
        del parts
        assert freed() is None
    finally:
        gc.enable()
    assert len(pool.load(pool.item_ids[:2])) == 2
