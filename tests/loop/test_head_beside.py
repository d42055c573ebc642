"""A head beside the language model: measured each round, or ranking the pool while the model is trained when due."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_al.app.model_choice import ModelChoice
from star_al.app.predictor import Predictor
from star_al.config.changes import changed_fields
from star_al.config.file import load_campaign
from star_al.errors import DataError
from star_al.loop import Loop, Outcome
from star_al.replay import replay_round
from star_al.task import closed
from star_al.types import Role, Round, RoundEvaluation, RoundState
from support.campaigns import write_campaign
from support.world import World

RANKS: dict[str, Any] = {"acquisition__scorer": "head", "stopping__max_rounds": 4}


class KilledError(BaseException):
    """Stands for a process that ends at once."""


def rounds(world: World) -> list[Round]:
    return world.store.rounds(world.campaign_id)


def trained(world: World) -> list[int]:
    """Rounds with an adapter."""
    return [one.index for one in rounds(world) if one.adapter_sha256]


def models(world: World, index: int) -> list[tuple[str, str]]:
    return [(one.model, one.scaling) for one in world.store.evaluations(world.campaign_id, index)]


def asked(world: World) -> list[tuple[int, str]]:
    return [(query.round_index, query.item_id) for query in world.asked()]


def steps(world: World, index: int) -> list[str]:
    return [one.step for one in world.store.events(world.campaign_id) if one.round_index == index]


def without_delivery(evaluation: RoundEvaluation | None) -> RoundEvaluation | None:
    blank = {"delivered_head_weight": None, "delivered_adapted_weight": None, "delivered_note": None}
    return evaluation and replace(evaluation, **blank)  # type: ignore[arg-type]


def test_a_head_beside_is_measured_and_changes_nothing_else_where_texts_are_not_compared(
    tmp_path: Path,
) -> None:
    by_rank = {"cold_start": "random", "batch": {"kind": "top_k"}}  # else texts are compared by the encoder
    alone = World(tmp_path / "alone", acquisition=by_rank)
    learner = {"kind": "lora", "head": True, "taught": False}
    beside = World(tmp_path / "beside", learner=learner, acquisition=by_rank)
    for world in (alone, beside):
        world.run()
    assert asked(alone) == asked(beside)
    for one, other in zip(rounds(alone), rounds(beside), strict=True):
        assert one.adapter_sha256 == other.adapter_sha256
        assert one.evaluation == without_delivery(other.evaluation)
        assert one.head_sha256 is None and (other.head_sha256 is not None) is (other.labels > 0)
    heads = [row for row in models(beside, 1) if row[0] == "head"]
    assert heads == [("head", "raw"), ("head", "temperature")]
    row = beside.store.history(beside.campaign_id)[1]
    assert row["head_accuracy"] is not None and row["accuracy"] is not None
    kept = {(one.model, one.item_id) for one in beside.store.held_out(beside.campaign_id, 1)}
    audit = beside.store.labels(beside.campaign_id, Role.AUDIT)
    assert {("head", item_id) for item_id in audit} <= kept and {
        ("adapted", item_id) for item_id in audit
    } <= kept
    assert set(rounds(beside)[1].seconds) >= {"fit", "head", "evaluate"}


def test_a_head_that_ranks_leaves_the_language_model_to_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": "at_end"})
    assert world.run().kind == "stopped"
    assert trained(world) == [4]
    assert world.learner.trained_on == [rounds(world)[4].labels]
    assert len(world.head.trained_on) == 4  # rounds 1 to 4; round 0 has no labels
    assert not world.learner.base_calls or rounds(world)[4].state is RoundState.STOPPED
    assert {model for model, _ in models(world, 3)} == {"head"}
    assert {model for model, _ in models(world, 4)} == {"base", "adapted", "head", "delivered"}
    assert steps(world, 4)[-2:] == ["train", "measure"]
    first = next(query for query in world.asked() if query.round_index == 1)
    assert first.reason.adapted_uncertainty is not None, (
        "the round is no cold start, though it has no adapter"
    )
    assert ": head margin 0." in first.reason.text
    assert rounds(world)[2].evaluation is not None
    assert rounds(world)[2].evaluation.stop_agreement is not None  # type: ignore[union-attr]


def test_label_counts_train_the_language_model_after_people_were_asked(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": [5, 9]})
    world.run()
    labels = [one.labels for one in rounds(world)]
    due = [next(index for index, n in enumerate(labels) if n >= least) for least in (5, 9)]
    assert trained(world) == sorted({*due, 4})
    assert steps(world, due[0])[-4:] == ["push", "train", "measure", "collect"]


def test_each_round_may_train_it_too(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS)
    world.run()
    assert trained(world) == [1, 2, 3, 4]
    assert all(one.evaluation and one.evaluation.adapted_temperature for one in rounds(world)[1:])


@pytest.mark.parametrize("train", ["each_round", "at_end", [5]])
def test_when_the_language_model_is_trained_does_not_change_what_is_asked(
    tmp_path: Path, train: object
) -> None:
    world = World(tmp_path / "one", **RANKS, learner={"kind": "lora", "train": train})
    other = World(tmp_path / "other", **RANKS, learner={"kind": "lora", "train": "at_end"})
    for each in (world, other):
        each.run()
    assert asked(world) == asked(other)


@pytest.mark.parametrize("train", ["each_round", "at_end"])
@pytest.mark.parametrize("scorer", ["head", "learner"])
def test_killed_before_any_commit_it_ends_the_same(tmp_path: Path, train: str, scorer: str) -> None:
    if scorer == "learner" and train == "at_end":
        pytest.skip("only a head ranks without the language model")
    changes = {"acquisition__scorer": scorer, "stopping__max_rounds": 3}
    changes |= {"learner": {"kind": "lora", "train": train, "head": True}}
    unbroken, broken = World(tmp_path / "unbroken", **changes), World(tmp_path / "broken", **changes)
    unbroken.run()
    outcome, kills = _run_with_kills(broken)
    assert outcome.kind == "stopped" and kills > 10
    assert asked(broken) == asked(unbroken)
    for one, other in zip(rounds(unbroken), rounds(broken), strict=True):
        assert (one.fit, one.evaluation, one.decision) == (other.fit, other.evaluation, other.decision)
        assert models(unbroken, one.index) == models(broken, one.index)


def _run_with_kills(world: World) -> tuple[Outcome, int]:
    """Run on after being killed at each second commit; the outcome, and the number of kills."""
    commit, kills = world.store.commit_step, 0
    calls = itertools.count()

    def die_at_the_second(*args: Any, **kwargs: Any) -> None:
        if next(calls) % 2:
            raise KilledError
        commit(*args, **kwargs)

    world.store.commit_step = die_at_the_second  # type: ignore[method-assign]
    while True:
        try:
            return Loop(world.leased_parts()).run(), kills
        except KilledError:
            kills += 1
            assert kills < 100, "no progress"


def test_rounds_that_the_head_ranked_are_replayed_by_the_head(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": [5]})
    world.run()
    for index in range(4):
        found = replay_round(world.round_parts(index))
        assert found.same_batch
        assert found.same_adapter is (None if index == 0 else True)


def test_a_stopped_campaign_without_its_final_model_trains_it(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": "at_end"})
    fit = world.learner.fit

    def die(*args: Any, **kwargs: Any) -> str:
        raise KilledError

    world.learner.fit = die  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        world.run()
    assert rounds(world)[-1].state is RoundState.STOPPED and trained(world) == []
    world.learner.fit = fit  # type: ignore[method-assign]
    assert world.run().kind == "stopped"
    assert trained(world) == [4]
    n = len(world.learner.trained_on)
    world.run()
    assert len(world.learner.trained_on) == n


def test_the_head_predicts_until_the_language_model_is_trained(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": "at_end"})
    assert Predictor(world.parts()).model.note.startswith("head by the labels' names")
    world.run(max_rounds=2)
    item = world.load_items([world.asked()[0].item_id])
    by_head = Predictor(world.parts())
    assert by_head.model.note.startswith("head of round 1, temperature")
    with pytest.raises(DataError, match="the campaign has no language model that was trained and evaluated"):
        Predictor(world.parts(), which=ModelChoice.LORA)
    folder, head = by_head.adapter, world.round(1).head_sha256
    assert folder == world.parts().artefacts.path_of(head or "")
    answer = by_head.answers(item, lambda n: None)[0]
    mean = world.head.predict(folder, item, draws=None, seed=0, advance=lambda n: None)
    assert answer.label == closed(by_head.task).value(item[0], int(mean.log_probs_N_K_C[0, 0].argmax()))
    world.run()
    at_end = Predictor(world.parts(), which=ModelChoice.LORA)
    temperature = world.round(4).evaluation.adapted_temperature  # type: ignore[union-attr]
    assert at_end.model.note.startswith("adapter of round 4") and at_end.model.temperature == temperature


def test_when_the_language_model_is_trained_may_change_between_rounds(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": "at_end"})
    world.run(max_rounds=3)
    assert trained(world) == []
    stored = world.file.spec.model_dump(mode="json")
    world.file = load_campaign(write_campaign(tmp_path, **RANKS, learner={"kind": "lora", "train": [5]}))
    assert changed_fields(stored, world.file.spec, trained=False) == []
    world.run()
    assert trained(world) == [3, 4], "the count was passed while it did not hold"


def test_a_lost_head_is_trained_again(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS)
    loop = Loop(world.leased_parts())
    loop.push = lambda round_: (  # type: ignore[method-assign]
        (_ for _ in ()).throw(KilledError()) if round_.index == 1 else Loop.push(loop, round_)
    )
    with pytest.raises(KilledError):
        loop.run()
    lost = rounds(world)[1].head_sha256
    assert lost is not None
    for file in world.parts().artefacts.path_of(lost).iterdir():
        file.unlink()
    assert world.run().kind == "stopped"
    assert rounds(world)[1].head_sha256 == lost
    assert any("its head is missing or damaged" in said for said in world.progress.said)


def test_the_shadow_is_a_head_where_the_head_ranks(tmp_path: Path) -> None:
    world = World(
        tmp_path, **RANKS, acquisition__control_share=0.5, learner={"kind": "lora", "train": "at_end"}
    )
    world.run()
    last = rounds(world)[-1]
    assert last.fit is not None and last.fit.shadow_labels
    assert world.store.adapters[last.shadow_sha256 or ""].kind == "head"
    assert ("shadow", "raw") in models(world, 4)


def test_a_warm_start_goes_on_from_the_last_trained_adapter(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, adapter__warm_start=True, learner={"kind": "lora", "train": [5]})
    world.run()
    first, last = trained(world)
    assert last == 4 and first < 3
    adapter = world.parts().artefacts.path_of(rounds(world)[4].adapter_sha256 or "")
    assert f'"parent": "{rounds(world)[first].adapter_sha256}"' in (adapter / "model.json").read_text()


def test_a_head_that_is_all_there_is_runs_like_an_adapter(tmp_path: Path) -> None:
    world = World(tmp_path, learner={"kind": "head"}, acquisition__measure="bald", stopping__max_rounds=2)
    world.run()
    assert trained(world) == [1, 2]
    assert {model for model, _ in models(world, 2)} == {"base", "adapted"}
    assert all(one.head_sha256 is None for one in rounds(world))
    assert ": head bald " in world.asked()[-1].reason.text
    assert world.round(2).fit.samples == world.file.spec.head.samples  # type: ignore[union-attr]
    assert replay_round(world.round_parts(1)).same_batch
