"""The loop on the in-memory store with the NumPy learner: order of steps, budgets, held-out sets, resume."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_al.artefacts.folder import ArtefactFolder
from star_al.config.spec import CampaignFile
from star_al.data import ImportCounts, data_source, locate, read_items
from star_al.errors import DataError, StoreError
from star_al.replay import find_round, replay_round
from star_al.task import make_task
from star_al.types import NO_RESULTS, Adapter, Event, Label, QueryState, Role, RoundState, StepResults
from support import stored
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.world import World


def test_a_campaign_runs_its_steps_in_the_documented_order(tmp_path: Path) -> None:
    world = World(tmp_path, stopping__max_rounds=1)
    outcome = world.run()
    assert (outcome.kind, outcome.round_index) == ("stopped", 1)
    steps = [event.step for event in world.store.events(world.campaign_id) if event.round_index is not None]
    assert steps == [
        "fit",
        "evaluate",
        "decide",
        "score",
        "select",
        "push",
        "collect",
        "fit",
        "evaluate",
        "decide",
    ]


def test_the_curve_starts_at_zero_shot_and_counts_every_bought_label(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    assert [round_.labels for round_ in rounds] == [0, 4, 8, 12]
    assert [round_.labels_bought for round_ in rounds] == [
        14,
        18,
        22,
        26,
    ]  # 8 audit + 6 calibration are bought too
    assert rounds[0].adapter_sha256 is None and rounds[1].adapter_sha256 is not None
    first = world.store.evaluations(world.campaign_id, 0)
    raw = {evaluation.model: evaluation.nll for evaluation in first if evaluation.scaling == "raw"}
    assert raw["base"] == raw["adapted"]


def test_held_out_items_are_asked_first_and_never_trained_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    held_out = {query.item_id for role in (Role.AUDIT, Role.CALIBRATION) for query in world.asked(role)}
    assert len(held_out) == 14
    trained = {
        label.item_id
        for round_ in world.store.rounds(world.campaign_id)
        for label in world.store.training_labels(world.campaign_id, round_.index)
    }
    assert trained and not trained & held_out
    assert not held_out & {query.item_id for query in world.asked()}


def test_no_item_is_asked_twice(tmp_path: Path) -> None:
    world = World(tmp_path, stopping__max_rounds=5)
    world.run()
    asked = [query.item_id for query in world.store.queries(world.campaign_id)]
    assert len(asked) == len(set(asked)) == 14 + 5 * 4


def test_the_same_seed_asks_the_same_items_and_another_seed_others(tmp_path: Path) -> None:
    worlds = [World(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    for world in worlds:
        world.run()
    asked = [[query.item_id for query in world.asked()] for world in worlds]
    assert asked[0] == asked[1] != asked[2]


def test_base_predictions_are_computed_once_for_all_rounds(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    assert len(world.learner.base_calls) == len(set(world.learner.base_calls))


def test_base_predictions_of_the_pool_are_not_computed_when_the_blend_is_off(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__blend={"kind": "off"}, evaluation__stop_set=0)
    world.run()
    assert set(world.learner.base_calls) == {
        query.item_id for role in (Role.AUDIT, Role.CALIBRATION) for query in world.asked(role)
    }


def test_the_blend_weight_follows_the_papers_schedule(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__preset="star")
    world.run()
    selections = [each.selection for each in world.store.rounds(world.campaign_id)[:3] if each.selection]
    assert [each.blend_weight for each in selections] == [None, 0.1, 0.2]


def test_every_query_says_why_it_was_asked(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    cold, trained = world.asked()[0], world.asked()[-1]
    assert cold.reason.text.startswith("cold start (no labels to train on): stands for ")
    assert trained.reason.blended is not None and ": adapted margin 0." in trained.reason.text
    assert [q.rank for q in world.store.queries(world.campaign_id, 1)] == [1, 2, 3, 4]
    assert trained.reason.predicted in ("sport", "business", "tech")


def test_the_batch_is_the_top_of_the_stored_ranking(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__preset="star")
    world.run()
    ranking = stored.ranking(world.store, world.campaign_id, 2)
    asked = [query.item_id for query in world.store.queries(world.campaign_id, 2)]
    assert [row.item_id for row in ranking[:4]] == asked
    blended = [row.blended for row in ranking]
    assert blended == sorted(blended, reverse=True)


def test_the_label_budget_is_never_exceeded(tmp_path: Path) -> None:
    world = World(tmp_path, stopping={"max_labels": 21})
    outcome = world.run()
    assert outcome.kind == "stopped" and "21" in outcome.reason
    assert len(world.store.labels(world.campaign_id)) == 21


def test_an_exhausted_pool_stops_the_campaign(tmp_path: Path) -> None:
    world = World(tmp_path, n=20, stopping={"max_rounds": None})
    outcome = world.run()
    assert outcome.kind == "stopped" and "pool" in outcome.reason
    assert len(world.store.labels(world.campaign_id)) == 20


def test_an_exhausted_campaign_goes_on_with_new_rows(tmp_path: Path) -> None:
    world = World(tmp_path, n=20, stopping={"max_rounds": None})
    world.run()
    before = len(world.store.rounds(world.campaign_id))
    task, counts = make_task(world.file.spec.task), ImportCounts()
    write_jsonl(tmp_path / "more.jsonl", make_rows(5, seed=9))
    source = replace(data_source(world.file), table=locate("more.jsonl", tmp_path))
    world.store.extend_campaign(world.campaign_id, read_items(source, task, counts))
    world.run()
    assert len(world.store.labels(world.campaign_id)) == 25
    assert len(world.store.rounds(world.campaign_id)) == before + 2  # batches of 4 and 1, and the end


def test_a_stopped_campaign_that_stays_stopped_writes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, stopping__max_rounds=1)
    first = world.run()
    events = world.store.events(world.campaign_id)
    assert world.run() == first
    assert world.store.events(world.campaign_id) == events


def test_skipped_items_are_counted_and_not_trained_on(tmp_path: Path) -> None:
    world = World(tmp_path, annotator={"kind": "oracle", "gold": "label", "skips": 0.5})
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    skipped = [query for query in world.asked() if query.state is QueryState.SKIPPED]
    assert sum(each.collection.skipped for each in rounds if each.collection) == len(skipped) > 0
    assert not {query.item_id for query in skipped} & world.store.labels(world.campaign_id).keys()


def test_existing_labels_train_round_0(tmp_path: Path) -> None:
    folder = tmp_path / "partly"
    path = write_campaign(folder)
    lines = (folder / "pool.jsonl").read_text().splitlines()
    given = [
        line.replace('"label"', '"given"') if number < 30 else line.replace('"label"', '"gold"')
        for number, line in enumerate(lines)
    ]
    assert path and len(given) == 60
    both = [line.replace('"given":', '"gold": "sport", "given":') for line in given]
    (folder / "pool.jsonl").write_text("\n".join(both))
    world = World(folder, data__label="given", annotator__gold="gold", acquisition__preset="star")
    world.run(max_rounds=1)
    first = world.store.rounds(world.campaign_id)[0]
    assert 0 < first.labels < 30 and first.adapter_sha256 is not None
    assert first.selection is not None and first.selection.blend_weight == 0.1
    asked = {query.item_id for query in world.store.queries(world.campaign_id)}
    imported = {
        label.item_id for label in world.store.labels(world.campaign_id).values() if label.source == "import"
    }
    assert len(imported) == 30 and not imported & asked


def test_without_held_out_labels_there_are_no_metrics_and_t_is_1(tmp_path: Path) -> None:
    world = World(tmp_path, evaluation={"kind": "none", "calibration": 0})
    world.run()
    last = world.store.rounds(world.campaign_id)[-1]
    assert world.store.evaluations(world.campaign_id, last.index) == []
    assert last.evaluation is not None and last.evaluation.temperature == 1.0
    assert "no calibration labels" in last.evaluation.temperature_note


def test_a_stopped_campaign_goes_on_when_its_rules_are_relaxed(tmp_path: Path) -> None:
    world = World(tmp_path, stopping__max_rounds=1)
    world.run()
    stopping = world.file.spec.stopping.model_copy(update={"max_rounds": 2})
    world.file = replace_spec(world.file, stopping=stopping)
    outcome = world.run()
    assert outcome.round_index == 2
    assert [r.state for r in world.store.rounds(world.campaign_id)] == [
        RoundState.COLLECTED,
        RoundState.COLLECTED,
        RoundState.STOPPED,
    ]


def test_a_campaign_that_an_earlier_version_stopped_in_other_words_stays_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, stopping__max_rounds=1)
    world.run()
    last = world.round(1)
    assert last.decision is not None and last.decision.stop_reason is not None
    rule = last.decision.stop_reason.partition(":")[0]
    worded = replace(last, decision=replace(last.decision, stop_reason=f"{rule}: as 0.1 put it"))
    world.store.commit_step(world.lease(), worded, Event("decide", ""), NO_RESULTS)
    events = len(world.store.events(world.campaign_id))
    outcome = world.run()
    assert (outcome.kind, outcome.reason) == ("stopped", f"{rule}: as 0.1 put it")
    assert len(world.store.events(world.campaign_id)) == events


def test_a_stopped_campaign_whose_files_are_gone_trains_again_before_it_goes_on(tmp_path: Path) -> None:
    world, unbroken = World(tmp_path / "gone", stopping__max_rounds=1), World(tmp_path / "there")
    world.run()
    shutil.rmtree(world.file.artefact_folder)
    stopping = world.file.spec.stopping.model_copy(update={"max_rounds": 3})
    world.file = replace_spec(world.file, stopping=stopping)
    assert world.run().kind == unbroken.run().kind == "stopped"
    asked = [[query.item_id for query in each.asked()] for each in (world, unbroken)]
    assert asked[0] == asked[1]


def test_max_rounds_of_a_call_pauses_at_a_round_border(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.run(max_rounds=1).kind == "paused"
    assert [r.state for r in world.store.rounds(world.campaign_id)] == [RoundState.COLLECTED]
    unbroken = World(tmp_path / "other")
    unbroken.run()
    world.run()
    assert [q.item_id for q in world.asked()] == [q.item_id for q in unbroken.asked()]


def test_replay_agrees_also_after_a_label_was_corrected(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    asked = next(query for query in world.asked() if query.state is QueryState.LABELLED)
    label = world.store.labels(world.campaign_id)[asked.item_id]
    other = "tech" if label.value != "tech" else "sport"
    world.store.close_queries(world.lease(), [(asked.query_id, Label(label.item_id, other))], [])
    for round_index in (0, 1, 2):
        replay = replay_round(world.parts().for_round(find_round(world.store, world.campaign, round_index)))
        assert replay.same_batch and replay.same_adapter in (None, True), replay


def test_replay_of_a_round_that_asked_nothing_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    with pytest.raises(DataError, match="asked nothing"):
        replay_round(world.parts().for_round(find_round(world.store, world.campaign, 3)))
    with pytest.raises(DataError, match="no round 9"):
        find_round(world.store, world.campaign, 9)


def test_candidates_limit_what_is_scored(tmp_path: Path) -> None:
    world = World(tmp_path, acquisition__candidates=9)
    world.run()
    assert len(stored.ranking(world.store, world.campaign_id, 1)) == 9


def run_until_killed(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until the loop begins this step, and stop there as if killed."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(f"star_al.loop.Loop.{step}", killed)
        world.run()


def replace_spec(file: CampaignFile, **changes: Any) -> CampaignFile:
    return file.model_copy(update={"spec": file.spec.model_copy(update=changes)})


def test_a_warm_start_trains_from_the_last_adapter(tmp_path: Path) -> None:
    world = World(tmp_path, adapter__warm_start=True)
    world.run()
    folders = [
        ArtefactFolder(world.file.artefact_folder).path_of(round_.adapter_sha256)
        for round_ in world.store.rounds(world.campaign_id)
        if round_.adapter_sha256
    ]
    assert f'"parent": "{folders[0].name}"' in (folders[1] / "model.json").read_text()


def test_a_lost_parent_of_a_warm_start_is_trained_again(tmp_path: Path) -> None:
    """Also the parent's parent, if that is gone too."""
    whole, world = (
        World(tmp_path / name, adapter__warm_start=True, acquisition__control_share=0.5)
        for name in ("whole", "broken")
    )
    whole.run()
    world.run(max_rounds=3)
    shutil.rmtree(world.file.artefact_folder)
    world.run()
    again = [note for note in world.progress.said if "again because its adapter is missing" in note]
    assert len(again) >= 2
    assert adapters(world) == adapters(whole)
    assert [query.item_id for query in world.asked()] == [query.item_id for query in whole.asked()]


def adapters(world: World) -> list[tuple[str | None, str | None]]:
    rounds = world.store.rounds(world.campaign_id)
    return [(round_.adapter_sha256, round_.shadow_sha256) for round_ in rounds]


def test_a_parent_that_cannot_be_made_again_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, adapter__warm_start=True)
    world.run(max_rounds=2)
    shutil.rmtree(world.file.artefact_folder)
    newest = world.store.rounds(world.campaign_id)[-1]
    assert newest.fit is not None
    other = replace(newest, fit=replace(newest.fit, adapter_sha256="0" * 64))
    lost = StepResults(adapters=(Adapter(sha256="0" * 64, kind="lora", path="", size_bytes=0),))
    world.store.commit_step(world.lease(), other, Event("fit", ""), lost)
    with pytest.raises(StoreError, match=r"000… of round 1, .* gives another one\. .*warm_start: false"):
        world.run()


def test_scores_that_another_file_has_replaced_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round was killed after scoring; then the file of the round before was copied over its scores."""
    world, whole = World(tmp_path / "damaged"), World(tmp_path / "whole")
    whole.run()
    world.run(max_rounds=2)

    run_until_killed(world, "select", monkeypatch)
    before, newest = (round_.scores_sha256 for round_ in world.store.rounds(world.campaign_id)[-2:])
    artefacts = ArtefactFolder(world.file.artefact_folder)
    assert before and newest and before != newest
    shutil.copy(artefacts.score_file(before), artefacts.score_file(newest))
    world.run()
    assert any("scores are missing or damaged" in note for note in world.progress.said)
    assert [q.item_id for q in world.asked()] == [q.item_id for q in whole.asked()]


def test_a_damaged_adapter_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round was killed after its fit, and the stored adapter has changed since."""
    world, whole = World(tmp_path / "damaged"), World(tmp_path / "whole")
    whole.run()
    world.run(max_rounds=1)

    run_until_killed(world, "evaluate", monkeypatch)
    damaged = world.store.rounds(world.campaign_id)[-1]
    assert damaged.state is RoundState.FITTED and damaged.adapter_sha256
    folder = ArtefactFolder(world.file.artefact_folder).path_of(damaged.adapter_sha256)
    (folder / "model.json").write_text("{}", encoding="utf-8")
    world.run()
    assert any("missing or damaged" in note for note in world.progress.said)
    assert [q.item_id for q in world.asked()] == [q.item_id for q in whole.asked()]


def test_a_round_whose_prompts_are_read_otherwise_by_a_new_version_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round was killed after its fit; then star_al was upgraded to a version that mends the prompt."""
    world = World(tmp_path)
    world.run(max_rounds=1)

    run_until_killed(world, "evaluate", monkeypatch)
    learner = type(world.learner)
    versions = learner.versions
    monkeypatch.setattr(learner, "versions", lambda self: {**versions(self), "prompts": 2})
    world.run(max_rounds=2)
    assert not any("again" in note for note in world.progress.said), "the prompt of this model is as it was"

    run_until_killed(world, "evaluate", monkeypatch)
    monkeypatch.setattr(learner, "versions", lambda self: {**versions(self), "prompts": 3})
    monkeypatch.setattr(learner, "base_key", "another")
    world.run(max_rounds=3)
    assert any("again because this version of star_al" in note for note in world.progress.said)
