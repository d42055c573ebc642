"""What a round delivers of its head and its language model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al import rng
from star_al.app.model_choice import ModelChoice
from star_al.app.predictor import Predictor
from star_al.errors import DataError
from star_al.stats.delivery import HeldOutAnswers, fit_delivery, mixed
from star_al.stats.temperature import fit_temperature
from star_al.task import closed
from star_al.types import Event, FloatArray, IntArray, Role, Round
from support.world import World

BESIDE: dict[str, Any] = {"learner": {"kind": "lora", "head": True}}
AT_END: dict[str, Any] = {"acquisition__scorer": "head", "learner": {"kind": "lora", "train": "at_end"}}


def last(world: World) -> Round:
    return world.store.rounds(world.campaign_id)[-1]


def log_probs(world: World, model: str, role: Role) -> FloatArray:
    """Answers of the last round's models, as the store keeps them or as the model gives them again."""
    round_ = last(world)
    learner, sha256 = {
        "head": (world.head, round_.head_sha256),
        "adapted": (world.learner, round_.adapter_sha256),
    }[model]
    ids = sorted(world.store.labels(world.campaign_id, role))
    draws = None if model == "head" else range(2)
    seed = rng.derive_seed(world.campaign.seed, round_.index, "evaluate")
    found = learner.predict(
        world.parts().artefacts.path_of(sha256 or ""),
        world.load_items(ids),
        draws=draws,
        seed=seed,
        advance=lambda n: None,
    ).log_probs_N_K_C
    mean_N_C: FloatArray = np.log(np.exp(found).mean(axis=1))
    return mean_N_C


def targets(world: World, role: Role) -> IntArray:
    labels = world.store.labels(world.campaign_id, role)
    items = world.load_items(sorted(labels))
    return np.array([closed(world.parts().task).column(item, labels[item.item_id].value) for item in items])


@pytest.mark.parametrize("changes", [BESIDE, AT_END])
def test_both_are_weighed_on_calibration_labels_and_measured_on_others(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    world = World(tmp_path, **changes)
    world.run()
    expected = fit_delivery(
        HeldOutAnswers(
            log_probs(world, "head", Role.CALIBRATION),
            log_probs(world, "adapted", Role.CALIBRATION),
            targets(world, Role.CALIBRATION),
        )
    )
    measured = last(world).evaluation
    assert measured is not None
    assert measured.delivered_head_weight == pytest.approx(expected.head_weight)
    assert measured.delivered_adapted_weight == pytest.approx(expected.adapted_weight)
    assert measured.delivered_note == expected.note
    assert expected.note.startswith("weighed on 6 calibration labels, the language model's share ")
    both = mixed(
        log_probs(world, "head", Role.AUDIT),
        log_probs(world, "adapted", Role.AUDIT),
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


def deliver(world: World, head: float, adapted: float) -> None:
    """Let the last round deliver by these weights."""
    round_ = last(world)
    assert round_.evaluation is not None
    weights = replace(round_.evaluation, delivered_head_weight=head, delivered_adapted_weight=adapted)
    world.store.commit_step(
        world.lease(), replace(round_, evaluation=weights), Event("measure", "weighed", round_.index)
    )


def ignore(n: int) -> None:
    pass


@pytest.mark.parametrize("changes", [BESIDE, AT_END])
def test_predictions_are_those_that_were_measured(tmp_path: Path, changes: dict[str, Any]) -> None:
    world = World(tmp_path, **changes)
    world.run()
    deliver(world, 0.3, 0.9)
    predictor = Predictor(world.parts())
    ids = sorted(world.store.labels(world.campaign_id, Role.AUDIT))
    found = predictor.answers(world.load_items(ids), ignore)
    both = mixed(log_probs(world, "head", Role.AUDIT), log_probs(world, "adapted", Role.AUDIT), 0.3, 0.9)
    np.testing.assert_allclose([one.probabilities_C for one in found], np.exp(both), atol=1e-9)
    # Weights say which model is surer of itself; shares are of answers at each model's own temperature.
    head, adapted = (
        Predictor(world.parts(), which=each).model.temperature
        for each in (ModelChoice.HEAD, ModelChoice.LORA)
    )
    share = 0.3 * head / (0.3 * head + 0.9 * adapted)
    assert predictor.is_mix
    assert predictor.model.note == f"head ({share:.0%}) and adapter ({1 - share:.0%}) of round 3"
    assert all(one.epistemic is not None and one.epistemic >= 0 for one in found)


@pytest.mark.parametrize(("head", "adapted", "note"), [(0.8, 0.0, "head"), (0.0, 1.2, "adapter")])
def test_a_model_without_weight_does_not_predict(
    tmp_path: Path, head: float, adapted: float, note: str
) -> None:
    world = World(tmp_path, **BESIDE)
    world.run()
    deliver(world, head, adapted)
    predictor = Predictor(world.parts())
    assert not predictor.is_mix and predictor.model.note.startswith(f"{note} of round 3, temperature")
    assert predictor.is_head is (note == "head")


def test_either_model_can_be_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path, **BESIDE)
    world.run()
    deliver(world, 0.3, 0.9)
    sha256 = {ModelChoice.HEAD: last(world).head_sha256, ModelChoice.LORA: last(world).adapter_sha256}
    items = world.load_items(sorted(world.store.labels(world.campaign_id, Role.CALIBRATION)))
    for which, name in ((ModelChoice.HEAD, "head"), (ModelChoice.LORA, "adapter")):
        predictor = Predictor(world.parts(), which=which)
        assert predictor.adapter == world.parts().artefacts.path_of(sha256[which] or "")
        assert predictor.model.note.startswith(f"{name} of round 3") and not predictor.is_mix
        own = fit_temperature(
            log_probs(world, "head" if which is ModelChoice.HEAD else "adapted", Role.CALIBRATION),
            targets(world, Role.CALIBRATION),
        )
        assert predictor.model.temperature == pytest.approx(own.value)
        assert len(predictor.answers(items, ignore)) == len(items)
    alone = Predictor(world.parts(), alone=True)
    assert alone.adapter == Predictor(world.parts(), which=ModelChoice.LORA).adapter, "it has more weight"


def test_a_model_that_the_campaign_does_not_have_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    with pytest.raises(DataError, match="has no head that was trained and evaluated"):
        Predictor(world.parts(), which=ModelChoice.HEAD)
    assert Predictor(world.parts(), which=ModelChoice.LORA).model == Predictor(world.parts()).model
