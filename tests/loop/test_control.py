"""The control arm is a random sample of the pool whatever else is asked; a shadow model trains on it alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al import rng
from star_al.replay import replay_round
from star_al.steps.control_arm import control_labels, control_size, next_control_items
from star_al.task import closed
from star_al.types import Evaluation, Role, Round
from support.stored import adapter
from support.world import World

ARM = {"acquisition__control_share": 0.5, "acquisition__cold_start": "random"}
"""A random start extends the control set as a whole."""


def rounds(world: World) -> list[Round]:
    return world.store.rounds(world.campaign_id)


def by_model(world: World, index: int) -> dict[str, Evaluation]:
    found = world.store.evaluations(world.campaign_id, index)
    return {one.model: one for one in found if one.scaling == "raw"}


def control_order(world: World) -> list[str]:
    seed = rng.derive_seed(world.campaign.seed, 0, "control")
    pool = world.store.item_ids(world.campaign_id, Role.POOL)
    return sorted(pool, key=lambda item_id: rng.keyed_order(seed, item_id))


@pytest.mark.parametrize(
    ("size", "share", "expected"), [(20, 0.25, 5), (20, 0.01, 1), (20, 0.0, 0), (1, 0.9, 1), (0, 0.5, 0)]
)
def test_an_arm_gets_its_share_and_at_least_one(size: int, share: float, expected: int) -> None:
    assert control_size(size, share) == expected


def test_a_share_of_each_batch_comes_from_one_random_order(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM)
    world.run()
    order = control_order(world)
    asked: list[str] = []
    for index in range(3):
        batch = [query for query in world.asked() if query.round_index == index]
        control = [query.item_id for query in batch if query.control]
        assert len(batch) == 4 and len(control) == (4 if index == 0 else 2)
        assert [query.rank for query in batch] == [1, 2, 3, 4]
        assert all(query.control for query in batch[: len(control)])
        free = [item_id for item_id in order if item_id not in asked]
        assert control == free[: len(control)]
        asked += [query.item_id for query in batch]
    assert len(set(asked)) == len(asked)
    reasons = {query.reason.text for query in world.asked() if query.control and query.round_index}
    assert reasons == {"control arm: drawn at random, whatever the model says"}


def test_the_shadow_learns_from_the_front_of_that_order_alone(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM)
    world.run()
    order = control_order(world)
    for_the_arm = {query.item_id for query in world.asked() if query.control}
    for round_ in rounds(world)[1:]:
        training = world.store.training_labels(world.campaign_id, round_.index)
        labelled = {label.item_id for label in training}
        front = next((n for n, item_id in enumerate(order) if item_id not in labelled), len(order))
        front = max(n for n, item_id in enumerate(order[:front], 1) if item_id in for_the_arm)
        assert round_.fit is not None and round_.fit.shadow_labels == front <= len(training)
        evaluations = by_model(world, round_.index)
        folder = world.parts().artefacts.path_of(round_.shadow_sha256 or "")
        audit = world.store.labels(world.campaign_id, Role.AUDIT)
        items = world.store.items(world.campaign_id, sorted(audit))
        seed = rng.derive_seed(world.campaign.seed, round_.index, "evaluate")
        log_probs = world.learner.predict(
            folder, items, draws=range(2), seed=seed, advance=lambda n: None
        ).log_probs_N_K_C
        predicted = np.exp(log_probs).mean(axis=1).argmax(axis=1)
        truth = [closed(world.parts().task).column(item, audit[item.item_id].value) for item in items]
        assert evaluations["shadow"].accuracy == np.mean(predicted == truth)
    first, last = rounds(world)[1], rounds(world)[-1]
    assert first.shadow_sha256 == first.adapter_sha256, "all labels are random ones as yet"
    assert last.shadow_sha256 != last.adapter_sha256
    assert adapter(world.store, last.shadow_sha256 or "") is not None
    history = world.store.history(world.campaign_id)
    assert history[-1]["shadow_accuracy"] == by_model(world, last.index)["shadow"].accuracy


def test_what_the_active_part_asked_before_its_turn_counts_for_the_control(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM, stopping__max_rounds=6)
    world.run()
    ours = sum(query.control for query in world.asked() if query.round_index < rounds(world)[-1].index)
    fit = rounds(world)[-1].fit
    assert fit is not None and (fit.shadow_labels or 0) > ours


def test_the_control_set_is_a_uniform_sample_whatever_is_asked(tmp_path: Path) -> None:
    """Its members are always a prefix of the random order, so they depend only on the seed."""
    worlds = [
        World(tmp_path / kind, **ARM, acquisition__measure=kind, stopping__max_rounds=4)
        for kind in ("entropy", "margin")
    ]
    sets = []
    for world in worlds:
        world.run()
        parts = world.parts()
        training = world.store.training_labels(world.campaign_id, 4)
        labels = control_labels(parts, training)
        sets.append({label.item_id for label in labels})
        assert sets[-1] == set(control_order(world)[: len(labels)])
    assert sets[0] <= sets[1] or sets[1] <= sets[0]


def test_items_that_were_given_up_do_not_end_the_control_set(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM, annotator__skips=0.3, stopping__max_rounds=5)
    world.run()
    last = rounds(world)[-1]
    training = world.store.training_labels(world.campaign_id, last.index)
    skipped = {query.item_id for query in world.asked() if query.control and query.state.value == "skipped"}
    assert skipped, "nobody skipped"
    chosen = control_labels(world.parts(), training)
    first_skipped = min(control_order(world).index(item_id) for item_id in skipped)
    assert last.fit is not None and len(chosen) == last.fit.shadow_labels
    assert len(chosen) > first_skipped


def test_a_killed_round_goes_on_with_the_same_shadow_and_batch(tmp_path: Path) -> None:
    whole = World(tmp_path / "whole", **ARM)
    whole.run()
    halting = World(tmp_path / "halting", **ARM)
    while halting.run(max_rounds=1).kind != "stopped":
        pass
    for one, other in zip(rounds(whole), rounds(halting), strict=True):
        assert one.fit == other.fit
    assert [q.item_id for q in whole.asked()] == [q.item_id for q in halting.asked()]
    again = replay_round(whole.parts().for_round(rounds(whole)[2]))
    assert again.same_batch and again.same_adapter


def test_a_last_batch_that_the_pool_cannot_fill_is_replayed(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM, n=14 + 10 + 6, acquisition__batch_size=10)
    world.run()
    last = rounds(world)[1]
    assert last.selection is not None and last.selection.asked == 6
    assert replay_round(world.parts().for_round(last)).same_batch


def test_a_shadow_that_is_lost_is_trained_again(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM)
    world.run(max_rounds=2)
    from star_al.loop import Loop

    loop = Loop(world.leased_parts())
    fitted = loop.fit(loop._start_round(2))
    folder = world.parts().artefacts.path_of(fitted.shadow_sha256 or "")
    (folder / "model.json").unlink()
    world.run()
    assert rounds(world)[2].shadow_sha256 == fitted.shadow_sha256
    assert any("Training round 2 again" in line for line in world.progress.said)


def test_random_batches_belong_to_the_arm_whole(tmp_path: Path) -> None:
    world = World(tmp_path, **ARM, acquisition__batch={"kind": "random"})
    world.run()
    assert all(query.control for query in world.asked())
    assert {one.shadow_sha256 == one.adapter_sha256 for one in rounds(world)} == {True}


def test_without_an_arm_there_is_no_shadow(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    fits = [one.fit for one in rounds(world) if one.fit]
    assert {(fit.shadow_labels, fit.shadow_sha256) for fit in fits} == {(None, None)}
    assert "shadow" not in by_model(world, 3)
    assert next_control_items(world.parts(), ["a"], 0) == ()
