"""A head that teaches the language model its answers to texts of the pool that nobody has labelled."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.spec import CampaignSpec
from star_al.replay import replay_round
from star_al.steps import teach
from star_al.steps.fit import train_artefact
from star_al.types import Role, Round
from support.world import World

BESIDE: dict[str, Any] = {"learner": {"kind": "lora", "head": True}}
AT_END: dict[str, Any] = {
    "acquisition__scorer": "head",
    "learner": {"kind": "lora", "train": "at_end"},
}


def rounds(world: World) -> list[Round]:
    return world.store.rounds(world.campaign_id)


def trained_ids(world: World, index: int) -> set[str]:
    return {label.item_id for label in world.store.training_labels(world.campaign_id, index)}


@pytest.mark.parametrize("changes", [BESIDE, AT_END])
def test_what_is_taught_is_the_head_s_answers_to_unlabelled_texts_of_the_pool(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    world = World(tmp_path, **changes)
    world.run()
    last, taught = rounds(world)[-1], world.learner.taught[-1]
    assert taught is not None and last.fit is not None and last.head_sha256
    item_ids = {item.item_id for item in taught.items}
    pool = set(world.store.item_ids(world.campaign_id, Role.POOL))
    assert item_ids == pool - trained_ids(world, last.index), "neither labelled nor held-out texts"
    assert (last.fit.taught_texts, last.fit.taught_weight) == (len(taught), taught.weight)
    head = world.parts().artefacts.path_of(last.head_sha256)
    mean = world.head.predict(head, taught.items, draws=None, seed=0, advance=lambda n: None)
    np.testing.assert_allclose(taught.probs_M_C, np.exp(mean.log_probs_N_K_C[:, 0]))
    row = world.store.history(world.campaign_id)[-1]
    assert (row["taught_texts"], row["labels"]) == (len(taught), len(trained_ids(world, last.index)))
    said = [event.message for event in world.store.events(world.campaign_id)]
    assert any(f"answers to {len(taught)} other texts" in message for message in said)


def test_it_changes_the_language_model_alone(tmp_path: Path) -> None:
    worlds = [
        World(tmp_path / str(taught), acquisition__scorer="head", learner={"kind": "lora", "taught": taught})
        for taught in (True, False)
    ]
    for world in worlds:
        world.run()
    one, other = (rounds(world)[-1] for world in worlds)
    assert one.head_sha256 == other.head_sha256 and one.adapter_sha256 != other.adapter_sha256
    assert other.fit is not None and (other.fit.taught_texts, other.fit.taught_weight) == (None, None)
    assert worlds[1].learner.taught == [None] * len(worlds[1].learner.taught)
    assert one.labels_bought == other.labels_bought


def test_large_pools_are_taught_by_a_random_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teach, "MOST_TAUGHT", 9)
    world = World(tmp_path, **BESIDE)
    world.run()
    samples = [{item.item_id for item in each.items} for each in world.learner.taught if each is not None]
    assert [len(each) for each in samples] == [9] * len(samples) and samples[0] != samples[1]


def test_a_classifier_is_taught_the_same_texts_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teach, "MOST_TAUGHT", 9)
    world = World(tmp_path, **BESIDE, adapter__output="classifier")
    world.run()
    samples = [{item.item_id for item in each.items} for each in world.learner.taught if each is not None]
    labelled = trained_ids(world, rounds(world)[-1].index)
    for one, other in pairwise(samples):
        assert one - labelled <= other, "only texts that were labelled meanwhile have left"


@pytest.mark.parametrize("changes", [BESIDE, AT_END])
@pytest.mark.parametrize("lost", [False, True])
def test_training_again_gives_the_same_bytes(tmp_path: Path, changes: dict[str, Any], lost: bool) -> None:
    world = World(tmp_path, **changes)
    world.run()
    last = rounds(world)[-1]
    if lost:
        for file in world.parts().artefacts.path_of(last.head_sha256 or "").iterdir():
            file.unlink()
    parts = world.round_parts(last.index)
    training = world.store.training_labels(world.campaign_id, last.index)
    assert train_artefact(parts, parts.learner, training).sha256 == last.adapter_sha256


def test_a_round_that_was_taught_is_replayed(tmp_path: Path) -> None:
    world = World(tmp_path, **BESIDE)
    world.run()
    found = replay_round(world.round_parts(2))
    assert found.same_batch and found.same_adapter


def test_a_head_that_comes_later_does_not_change_how_earlier_rounds_are_replayed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(max_rounds=2)
    changed = World(tmp_path / "other", **BESIDE).file.spec.learner
    world.file = world.file.model_copy(
        update={"spec": world.file.spec.model_copy(update={"learner": changed})}
    )
    world.run()
    assert [one.fit.taught_texts is not None for one in rounds(world) if one.fit] == [
        False,
        False,
        True,
        True,
    ]
    assert replay_round(world.round_parts(1)).same_adapter


def test_the_shadow_is_taught_by_a_head_of_its_own_labels(tmp_path: Path) -> None:
    world = World(tmp_path, **BESIDE, acquisition__control_share=0.5)
    world.run()
    fit = rounds(world)[-1].fit
    assert fit is not None and fit.shadow_labels and fit.shadow_labels < rounds(world)[-1].labels
    assert world.head.trained_on[-1] == fit.shadow_labels
    shadow, ranker = world.learner.taught[-1], world.learner.taught[-2]
    assert shadow is not None and ranker is not None
    assert len(shadow) == len(ranker) + rounds(world)[-1].labels - fit.shadow_labels


def test_nothing_is_taught_when_every_text_is_labelled(tmp_path: Path) -> None:
    world = World(tmp_path, **BESIDE, n=22, acquisition__batch_size=8, stopping__max_rounds=9)
    world.run()
    last = rounds(world)[-1]
    assert trained_ids(world, last.index) == set(world.store.item_ids(world.campaign_id, Role.POOL))
    assert last.fit is not None and last.fit.taught_texts is None and last.adapter_sha256
    assert world.learner.taught[-1] is None


def spec_with(learner: dict[str, Any], **changes: Any) -> CampaignSpec:
    tree = {
        "name": "a",
        "data": {"path": "a.csv", "text": "text"},
        "task": {"kind": "classification", "labels": ["x", "y"]},
        "model": {"name": "model"},
        "annotator": {"kind": "api"},
        **changes,
    }
    return CampaignSpec.model_validate(tree | {"learner": learner}, context="file")


def test_by_default_a_head_teaches_where_it_is_beside_a_language_model() -> None:
    assert spec_with({"kind": "lora", "head": True}).is_taught
    assert spec_with({"kind": "lora"}, acquisition={"scorer": "head"}).is_taught
    assert not spec_with({"kind": "lora"}).is_taught
    assert not spec_with({"kind": "head"}).is_taught
    assert not spec_with({"kind": "lora", "head": True, "taught": False}).is_taught
    options = {
        "data": {"path": "a.csv", "text": "text", "options": "options"},
        "task": {"kind": "multiple_choice"},
    }
    assert not spec_with({"kind": "lora", "head": True}, **options).is_taught
    assert spec_with({"kind": "lora", "head": True, "taught": True}, **options).is_taught


def test_teaching_without_a_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"learner\.taught: true needs a head beside the language model"):
        spec_with({"kind": "lora", "taught": True})


def test_a_campaign_of_an_earlier_version_goes_on_untaught(tmp_path: Path) -> None:
    world = World(tmp_path, **BESIDE)
    stored = world.file.spec.model_dump(mode="json")
    del stored["learner"]["taught"]
    assert world.file.spec.is_taught and not CampaignSpec.model_validate(stored).is_taught
    kept = keep_earlier_defaults(world.file, stored)
    assert changed_fields(stored, kept.spec, trained=True) == [] and not kept.spec.is_taught
    asks = World(tmp_path / "asks", learner={"kind": "lora", "head": True, "taught": True}).file
    assert changed_fields(stored, keep_earlier_defaults(asks, stored).spec, trained=True) == [
        "learner.taught"
    ]
