"""A blend with a weight measured on held-out labels runs through the whole loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from star_al.acquire.measured_blend_weight import HeldOut, measured_blend_weight
from star_al.artefacts.score_file import read_scores
from star_al.replay import replay_round
from star_al.steps.base_predictions import base_entropies
from star_al.task import closed
from star_al.types import Role
from support.world import World

MEASURED = {
    "acquisition__blend": {"kind": "measured", "towards": "schedule"},
    "evaluation": {"kind": "audit", "size": 30, "calibration": 20, "stop_set": 0},
    "n": 120,
}


def test_the_weight_is_that_of_the_rounds_own_held_out_items(tmp_path: Path) -> None:
    world = World(tmp_path, **MEASURED)
    world.run()
    parts, store = world.parts(), world.store
    labels = store.labels(world.campaign_id, Role.AUDIT) | store.labels(world.campaign_id, Role.CALIBRATION)
    rounds = store.rounds(world.campaign_id)
    assert rounds[0].selection is not None and rounds[0].selection.blend_weight is None
    measured = 0
    for round_ in rounds[1:3]:
        kept = store.held_out(world.campaign_id, round_.index)
        ids = [each.item_id for each in kept]
        errors = [
            closed(parts.task).value(item, int(each.log_probs_C.argmax())) != labels[item.item_id].value
            for item, each in zip(store.items(world.campaign_id, ids), kept, strict=True)
        ]
        held_out = HeldOut(
            np.array([each.uncertainty for each in kept]), base_entropies(parts, ids), np.array(errors)
        )
        _, pool = read_scores(parts.artefacts.score_file(round_.scores_sha256 or ""))
        assert pool.adapted_uncertainty is not None and pool.base_uncertainty is not None
        expected = measured_blend_weight(
            held_out, pool.adapted_uncertainty, pool.base_uncertainty, "minmax", 0.1 * round_.index
        )
        selection = round_.selection
        assert selection is not None
        assert (selection.blend_weight, selection.blend_note) == (expected.value, expected.note)
        assert tuple(selection.blend_curve) == expected.curve
        measured += bool(expected.curve)
    assert measured, "no round had errors enough"
    assert replay_round(parts.for_round(rounds[2])).same_batch


def test_with_nothing_held_out_the_schedule_stands(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        acquisition__blend={"kind": "measured", "towards": "schedule"},
        evaluation={"kind": "none", "calibration": 0, "stop_set": 0},
    )
    world.run()
    selections = [each.selection for each in world.store.rounds(world.campaign_id)[1:3] if each.selection]
    assert [each.blend_weight for each in selections] == [0.1, 0.2]
    assert all(
        (each.blend_note or "").startswith("by schedule: measuring needs 10 errors") for each in selections
    )


def test_a_scheduled_weight_says_that_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__preset="star")
    world.run()
    rounds = world.store.rounds(world.campaign_id)[1:3]
    assert {each.selection and each.selection.blend_note for each in rounds} == {"by the paper's schedule"}
