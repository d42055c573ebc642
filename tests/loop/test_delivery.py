"""What a round delivers of its head and its language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.stats.delivery import Graded, fit_delivery, mixed
from star_al.types import Role, Round
from support.world import World

BESIDE: dict[str, Any] = {"learner": {"kind": "lora", "head": True}}
AT_END: dict[str, Any] = {"acquisition__scorer": "head", "learner": {"kind": "lora", "train": "at_end"}}


def last(world: World) -> Round:
    return world.store.rounds(world.campaign_id)[-1]


def log_probs(world: World, model: str, role: Role) -> np.ndarray[Any, Any]:
    """Answers of the last round's models, as the store keeps them or as the model gives them again."""
    round_ = last(world)
    learner, sha256 = {
        "head": (world.head, round_.head_sha256),
        "adapted": (world.learner, round_.adapter_sha256),
    }[model]
    ids = sorted(world.store.labels(world.campaign_id, role))
    draws = None if model == "head" else range(2)
    from star_al import rng

    seed = rng.derive_seed(world.campaign.seed, round_.index, "evaluate")
    found = learner.predict(
        world.parts().artefacts.path_of(sha256 or ""),
        world.load_items(ids),
        draws=draws,
        seed=seed,
        advance=lambda n: None,
    ).log_probs_N_K_C
    return np.log(np.exp(found).mean(axis=1))


def targets(world: World, role: Role) -> np.ndarray[Any, Any]:
    labels = world.store.labels(world.campaign_id, role)
    items = world.load_items(sorted(labels))
    return np.array([world.parts().task.column(item, labels[item.item_id].value) for item in items])


@pytest.mark.parametrize("changes", [BESIDE, AT_END])
def test_both_are_weighed_on_calibration_labels_and_measured_on_others(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    world = World(tmp_path, **changes)
    world.run()
    expected = fit_delivery(
        Graded(
            *(log_probs(world, model, Role.CALIBRATION) for model in ("head", "adapted")),
            targets(world, Role.CALIBRATION),
        )
    )
    measured = last(world).evaluation
    assert measured is not None
    assert measured.delivered_head_weight == pytest.approx(expected.head_weight)
    assert measured.delivered_adapted_weight == pytest.approx(expected.adapted_weight)
    assert measured.delivered_note == expected.note == "weighed on 6 calibration labels"
    both = mixed(
        *(log_probs(world, model, Role.AUDIT) for model in ("head", "adapted")),
        expected.head_weight,
        expected.adapted_weight,
    )
    found = {one.model: one for one in world.store.evaluations(world.campaign_id, last(world).index)}
    assert found["delivered"].accuracy == np.mean(both.argmax(axis=1) == targets(world, Role.AUDIT))
    row = world.store.history(world.campaign_id)[-1]
    assert row["delivered_accuracy"] == found["delivered"].accuracy
    said = [event.message for event in world.store.events(world.campaign_id)]
    assert f"delivered {found['delivered'].accuracy:.3f}" in said[-1] + "".join(said)


def test_rounds_without_both_models_deliver_the_one_they_have(tmp_path: Path) -> None:
    world = World(tmp_path, **AT_END)
    world.run()
    for row, round_ in zip(
        world.store.history(world.campaign_id), world.store.rounds(world.campaign_id), strict=True
    ):
        has_both = round_.adapter_sha256 is not None and round_.head_sha256 is not None
        assert (row["delivered_head_weight"] is not None) is has_both is (row["delivered_nll"] is not None)


def test_without_calibration_labels_both_count_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, **BESIDE, evaluation__calibration=0)
    world.run()
    measured = last(world).evaluation
    assert measured is not None
    assert (measured.delivered_head_weight, measured.delivered_adapted_weight) == (0.5, 0.5)
    assert "no calibration labels" in (measured.delivered_note or "")
