"""Every acquisition setting runs through the whole loop and is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al.types import Role
from support import stored
from support.world import World

CHOICES: dict[str, dict[str, Any]] = {
    "margin": {"acquisition__measure": "margin"},
    "least confidence": {"acquisition__measure": "least_confidence"},
    "BALD": {"acquisition__measure": "bald"},
    "rank normalisation": {"acquisition__blend": {"kind": "schedule", "normalise": "rank"}},
    "constant blend": {"acquisition__blend": {"kind": "constant", "weight": 0.7}},
    "no blend": {"acquisition__blend": {"kind": "off"}},
    "power batches": {"acquisition__batch": {"kind": "power", "beta": 2.0}},
    "cold start by base uncertainty": {"acquisition__cold_start": "base_uncertainty"},
    "contextual calibration": {"task__contextual_calibration": True},
}


@pytest.mark.parametrize("changes", CHOICES.values(), ids=CHOICES.keys())
def test_a_choice_runs_and_repeats(changes: dict[str, Any], tmp_path: Path) -> None:
    worlds = [World(tmp_path / name, **changes) for name in ("one", "two")]
    for world in worlds:
        assert world.run().kind == "stopped"
    asked = [[query.item_id for query in world.asked()] for world in worlds]
    assert asked[0] == asked[1] and len(set(asked[0])) == 12


def test_constant_and_absent_blends_weigh_as_they_say(tmp_path: Path) -> None:
    weights = []
    for name in ("constant blend", "no blend"):
        world = World(tmp_path / name, **CHOICES[name])
        world.run()
        selections = [each.selection for each in world.store.rounds(world.campaign_id)[:3]]
        weights.append([each and each.blend_weight for each in selections])
    assert weights == [[None, 0.7, 0.7], [None, None, None]]


def test_a_cold_start_by_base_uncertainty_asks_the_least_certain_first(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__preset="star", acquisition__cold_start="base_uncertainty")
    world.run(max_rounds=1)
    ranking = stored.ranking(world.store, world.campaign_id, 0)
    assert [row.item_id for row in ranking[:4]] == [query.item_id for query in world.asked()]
    base = [row.base_uncertainty or 0.0 for row in ranking]
    assert base == sorted(base, reverse=True) and base[0] > base[-1]


def test_contextual_calibration_is_measured_beside_the_raw_base(tmp_path: Path) -> None:
    world = World(tmp_path, task__contextual_calibration=True)
    world.run(max_rounds=1)
    found = {(e.model, e.scaling): e for e in world.store.evaluations(world.campaign_id, 0)}
    assert {("base", "raw"), ("base", "contextual"), ("base", "temperature")} <= found.keys()
    assert found["base", "raw"].nll != found["base", "contextual"].nll
    assert found["adapted", "raw"].nll == pytest.approx(found["base", "contextual"].nll)
    assert found["base", "raw"].split is Role.AUDIT
