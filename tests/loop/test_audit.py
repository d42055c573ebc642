"""The audit set grows by items kept out of the pool and bounds the accuracy over all rounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_al.stats.confidence_sequence import confidence_sequence
from star_al.stats.metrics import wilson_interval
from star_al.task import closed
from star_al.types import Role, RoundState
from support.campaigns import make_rows, write_jsonl
from support.world import World

GROWING = {
    "evaluation": {"kind": "audit", "size": 5, "grow": 3, "max_size": 12, "calibration": 4, "stop_set": 5}
}


def audit_by_round(world: World) -> list[int]:
    asked = world.asked(Role.AUDIT)
    return [sum(query.round_index == index for query in asked) for index in range(5)]


def test_an_audit_set_grows_until_it_is_as_large_as_it_may_be(tmp_path: Path) -> None:
    world = World(tmp_path, **GROWING, stopping__max_rounds=4)
    world.run()
    reserved = set(world.store.item_ids(world.campaign_id, Role.AUDIT))
    assert len(reserved) == 12
    assert audit_by_round(world) == [5 + 3, 3, 1, 0, 0]
    sizes = [
        next(one.n for one in world.store.evaluations(world.campaign_id, index) if one.model == "adapted")
        for index in range(4)
    ]
    assert sizes == [5, 8, 11, 12]
    rounds = world.store.rounds(world.campaign_id)[:4]
    assert [each.selection and each.selection.asked for each in rounds] == [4] * 4
    ranks = sorted(query.rank for query in world.asked(Role.AUDIT))
    assert ranks == list(range(1, 13))


def test_what_audits_is_never_trained_on(tmp_path: Path) -> None:
    world = World(tmp_path, **GROWING)
    world.run()
    audit = set(world.store.item_ids(world.campaign_id, Role.AUDIT))
    for round_ in world.store.rounds(world.campaign_id):
        trained = {label.item_id for label in world.store.training_labels(world.campaign_id, round_.index)}
        assert not trained & audit
    assert not {query.item_id for query in world.asked()} & audit


def test_the_budget_goes_to_the_batch_before_the_audit_set(tmp_path: Path) -> None:
    world = World(tmp_path, **GROWING, stopping__max_labels=9 + 4 + 1)
    world.run()
    assert audit_by_round(world)[0] == 5 + 1
    assert world.store.rounds(world.campaign_id)[-1].labels_bought == 14


def test_batch_buffer_and_audit_set_stay_within_the_label_budget(tmp_path: Path) -> None:
    world = World(tmp_path, **GROWING, labelling__buffer=3, stopping__max_labels=9 + 6)
    world.run()
    assert world.store.rounds(world.campaign_id)[-1].labels_bought == 15


def test_kept_items_that_come_with_a_label_audit_when_their_turn_has_come(tmp_path: Path) -> None:
    rows = [row | {"given": row["label"]} for row in make_rows(30)] + make_rows(30, seed=1)
    write_jsonl(tmp_path / "pool.jsonl", rows)
    world = World(tmp_path, **GROWING, data__label="given")
    kept = world.store.labels(world.campaign_id, Role.AUDIT)
    assert kept, "no kept item came with a label"
    world.run()
    sizes = [
        next(one.n for one in world.store.evaluations(world.campaign_id, index) if one.model == "adapted")
        for index in range(3)
    ]
    assert sizes == [5, 8, 11]


def test_a_round_that_is_run_in_pieces_asks_the_same_audit_items(tmp_path: Path) -> None:
    whole, pieces = (World(tmp_path / name, **GROWING) for name in ("whole", "pieces"))
    whole.run()
    while pieces.run(max_rounds=1).kind != "stopped":
        pass
    asked = [[query.query_id for query in world.asked(Role.AUDIT)] for world in (whole, pieces)]
    assert asked[0] == asked[1]


def test_each_round_keeps_its_interval_and_the_sequence_of_its_look(tmp_path: Path) -> None:
    world = World(tmp_path, evaluation={"kind": "audit", "size": 12, "calibration": 4, "stop_set": 0})
    world.run()
    rounds = world.store.rounds(world.campaign_id)
    assert len(rounds) == 4
    for look, round_ in enumerate(rounds, 1):
        [one] = [
            each
            for each in world.store.evaluations(world.campaign_id, round_.index)
            if (each.model, each.scaling) == ("adapted", "raw")
        ]
        right = round(one.accuracy * one.n)
        assert (one.accuracy_low, one.accuracy_high) == pytest.approx(wilson_interval(right, one.n))
        assert round_.decision is not None
        found = (round_.decision.sequence_low, round_.decision.sequence_high)
        assert found == pytest.approx(confidence_sequence(right, one.n, look))
        kept = world.store.held_out(world.campaign_id, round_.index)
        assert len(kept) == 12 + 4 and {each.model for each in kept} == {"adapted"}
        labels = world.store.labels(world.campaign_id, Role.AUDIT)
        task = world.parts().task
        audit = [each for each in kept if each.item_id in labels]
        items = world.store.items(world.campaign_id, [each.item_id for each in audit])
        assert right == sum(
            closed(task).value(item, int(each.log_probs_C.argmax())) == labels[item.item_id].value
            for item, each in zip(items, audit, strict=True)
        )


def test_a_decision_made_again_holds_the_target_against_the_sequence_of_its_own_level(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        acquisition__preset="star",
        evaluation={"kind": "audit", "size": 12, "calibration": 4, "stop_set": 0},
        stopping={"max_rounds": 4, "target_accuracy": 0.2, "confidence": 0.6, "automatic": True},
    )
    assert world.run().reason.startswith("target accuracy")
    stopped = world.store.rounds(world.campaign_id)[-1]
    stopping = world.file.spec.stopping.model_copy(update={"confidence": 0.999999})
    spec = world.file.spec.model_copy(update={"stopping": stopping})
    world.file = world.file.model_copy(update={"spec": spec})
    world.run()
    [raw] = [
        each
        for each in world.store.evaluations(world.campaign_id, stopped.index)
        if (each.model, each.scaling) == ("adapted", "raw")
    ]
    again = world.store.rounds(world.campaign_id)[stopped.index]
    wider = confidence_sequence(round(raw.accuracy * raw.n), raw.n, stopped.index + 1, 0.999999)
    assert again.decision is not None
    assert (again.decision.sequence_low, again.decision.sequence_high) == wider
    assert again.stop_reason is None, "a wider interval reached the target"


def test_a_goal_advises_and_ends_the_campaign_only_if_asked(tmp_path: Path) -> None:
    goal = {"stopping": {"max_rounds": 3, "stable_agreement": 0.0, "stable_rounds": 1}}
    advised = World(tmp_path / "advised", **goal)
    assert advised.run().reason == "round limit reached: round 3 of 3"
    rounds = advised.store.rounds(advised.campaign_id)
    assert [bool(each.decision and each.decision.stop_advice) for each in rounds] == [
        False,
        False,
        True,
        True,
    ]
    automatic = World(tmp_path / "automatic", **{"stopping": {**goal["stopping"], "automatic": True}})
    assert automatic.run().reason.startswith("predictions are stable")
    last = automatic.store.rounds(automatic.campaign_id)[-1]
    assert (last.index, last.state) == (2, RoundState.STOPPED)
    assert last.decision is not None and last.decision.stop_advice is None
