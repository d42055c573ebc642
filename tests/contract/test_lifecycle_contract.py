"""The contract of ``star_al.ports.Store`` for campaigns as a whole, on every store: marks, lists, copies, ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from star_al.errors import LeaseLostError, StoreError
from star_al.ports import Store
from star_al.types import (
    HELD_OUT,
    Adapter,
    Annotation,
    Artefacts,
    Event,
    Label,
    Marks,
    Role,
    RoundDecision,
    RoundFit,
    RoundState,
    StepResults,
)
from support.records import (
    EVENT,
    a_round,
    abc,
    base_prediction,
    campaign,
    evaluation,
    held,
    label,
    query,
    source,
)
from support.stored import label_versions


def adapter(letter: str) -> Adapter:
    return Adapter(letter * 64, "lora", f"adapters/{letter * 64}", 1)


def messages(store: Store, campaign_id: int) -> list[str]:
    return [event.message for event in store.events(campaign_id)]


# -- marks ---------------------------------------------------------------------------------------------


def test_a_campaign_is_archived_and_taken_back_once_whoever_runs_it(store: Store) -> None:
    campaign_id, _ = abc(store)
    assert store.marks(campaign_id) == Marks()
    store.archive(campaign_id, True, Event("archive", "put away"))
    first = store.marks(campaign_id).archived_at
    assert first is not None and abs(first - datetime.now(UTC)) < timedelta(minutes=1)
    store.archive(campaign_id, True, Event("archive", "put away"))
    assert store.marks(campaign_id).archived_at == first
    store.archive(campaign_id, False, Event("archive", "taken back"))
    store.archive(campaign_id, False, Event("archive", "taken back"))
    assert store.marks(campaign_id) == Marks()
    assert messages(store, campaign_id) == ["put away", "taken back"]


def test_a_pause_does_not_touch_the_other_marks(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.archive(campaign_id, True, EVENT)
    store.pause(campaign_id, True, EVENT)
    marks = store.marks(campaign_id)
    assert marks.archived_at and marks.paused_at and marks.close_round is None
    store.pause(campaign_id, False, EVENT)
    assert store.marks(campaign_id) == Marks(archived_at=marks.archived_at)
    store.renew_lease(lease, 60.0)  # the controller goes on until it looks


def test_the_last_closed_round_stays_closed(store: Store) -> None:
    campaign_id, _ = abc(store)
    for index in (HELD_OUT, 0, HELD_OUT, 2, 1, 2):
        store.close_round(campaign_id, index, Event("close", f"round {index}"))
    assert store.marks(campaign_id).close_round == 2
    assert messages(store, campaign_id) == ["round -1", "round 0", "round 2"]


# -- a list --------------------------------------------------------------------------------------------


def test_a_list_has_a_line_for_each_campaign(store: Store) -> None:
    assert store.summaries() == []
    campaign(store, [source("z", "pos")], name="zebra", tests=[source("t", "pos")])
    made = campaign(store, [source("a"), source("b")], name="ant")
    lease = held(store, made, owner="host:1:2")
    label(store, lease, Label("a", "pos"))
    store.start_round(lease, a_round(0), [])
    store.commit_step(
        lease, a_round(0, state=RoundState.EVALUATED), EVENT, StepResults(evaluations=[evaluation()])
    )
    store.start_round(lease, a_round(1), [])
    decision = RoundDecision(pool_size=1, stop_reason="round limit reached")
    stopped = a_round(1, state=RoundState.STOPPED, decision=decision)
    store.commit_step(lease, stopped, EVENT)
    ant, zebra = store.summaries()
    assert (ant.name, ant.rounds, ant.state, ant.stop_reason) == (
        "ant",
        2,
        RoundState.STOPPED,
        "round limit reached",
    )
    assert (ant.labels, ant.accuracy, ant.runs) == (1, 0.7, "host:1:2")
    assert (zebra.rounds, zebra.state, zebra.labels, zebra.accuracy, zebra.runs) == (0, None, 1, None, None)
    assert zebra.marks == Marks() and zebra.active_at <= ant.active_at
    store.release_lease(lease)
    assert store.summaries()[0].runs is None


def test_an_answer_is_the_last_activity(store: Store) -> None:
    _, lease = abc(store)
    store.add_queries(
        lease, [query("a")], Event("prepare", "asked", created_at=datetime(2020, 1, 1, tzinfo=UTC))
    )
    before = store.summaries()[0].active_at
    store.mirror(lease, "tool", [Annotation("1", "q-a-1", "pos")])
    assert store.summaries()[0].active_at > before


# -- copies --------------------------------------------------------------------------------------------


def test_a_copy_has_the_items_roles_and_labels_in_force(store: Store) -> None:
    items = [source("a"), source("b", "neg"), source("c"), source("d")]
    made = campaign(store, items, tests=[source("t", "pos")], held_out={"c": Role.AUDIT})
    lease = held(store, made)
    label(store, lease, Label("a", "pos"), Label("c", "neg"))
    store.close_queries(lease, [("q-a-label", Label("a", {"n": 1}))], [])
    store.extend_campaign(made.campaign_id, [source("late")])
    copy = store.clone_campaign(made.campaign_id, "two", {"name": "two"})
    assert (copy.name, copy.config, copy.seed) == ("two", {"name": "two"}, made.seed)
    assert copy.key != made.key and store.find_campaign("two") == copy
    for role in Role:
        assert store.item_ids(copy.campaign_id, role) == store.item_ids(made.campaign_id, role)
    labels = store.labels(copy.campaign_id)
    assert {key: (one.value, one.version, one.source) for key, one in labels.items()} == {
        "a": ({"n": 1}, 1, "import"),
        "b": ("neg", 1, "import"),
        "c": ("neg", 1, "import"),
        "t": ("pos", 1, "import"),
    }
    assert store.pool_ids(copy.campaign_id, 0) == ["d", "late"]
    assert [event.step for event in store.events(copy.campaign_id)] == ["clone"]
    assert store.queries(copy.campaign_id) == [] and store.rounds(copy.campaign_id) == []
    assert store.labels(made.campaign_id)["a"].version == 2, "the original stays as it is"


def test_a_copy_needs_a_free_name_and_an_original(store: Store) -> None:
    made = campaign(store, [source("a")])
    with pytest.raises(StoreError, match="already exists"):
        store.clone_campaign(made.campaign_id, "one", {})
    with pytest.raises(StoreError):
        store.clone_campaign(999, "two", {})
    assert store.find_campaign("two") is None


# -- a new beginning -----------------------------------------------------------------------------------


def test_a_campaign_begins_again_with_other_items_and_settings(store: Store) -> None:
    campaign_id, lease = abc(store, held_out={"c": Role.AUDIT})
    store.add_queries(lease, [query("a")], Event("prepare", "asked"))
    store.start_round(lease, a_round(0), [])
    store.close_round(campaign_id, 0, EVENT)
    other = store.begin_dataset("other", "other", "me", may_replace=lambda _: False)
    store.add_items(other.dataset_id, [source("a"), source("x"), source("y", "pos")])
    other = store.finish_dataset(other.dataset_id, n_duplicates=0, n_empty=0)
    before = store.find_campaign("one")
    store.restart_campaign(
        lease,
        other.dataset_id,
        {"name": "one", "seed": 9},
        9,
        Event("config", "began again"),
        held_out={"x": Role.CALIBRATION},
        test_dataset_id=None,
    )
    now = store.find_campaign("one")
    assert before is not None and now is not None
    assert (now.campaign_id, now.key) == (before.campaign_id, before.key)
    assert (now.config, now.seed, now.dataset_id) == ({"name": "one", "seed": 9}, 9, other.dataset_id)
    assert store.item_ids(campaign_id, Role.POOL) == ["a", "y"]
    assert store.item_ids(campaign_id, Role.CALIBRATION) == ["x"]
    assert {key: one.value for key, one in store.labels(campaign_id).items()} == {"y": "pos"}
    assert store.rounds(campaign_id) == [] and store.queries(campaign_id) == []
    assert store.marks(campaign_id) == Marks()
    assert messages(store, campaign_id)[0] == "asked" and messages(store, campaign_id)[-1] == "began again"
    assert store.dataset_item_ids(before.dataset_id) == [], "nothing uses the first data set any more"
    store.renew_lease(lease, 60.0)


def test_a_campaign_that_another_controller_has_taken_does_not_begin_again(store: Store) -> None:
    made = campaign(store, [source("a")])
    lease = held(store, made)
    store.acquire_lease(made.campaign_id, "other", 60.0, may_take=lambda _: True)
    with pytest.raises(LeaseLostError):
        store.restart_campaign(lease, made.dataset_id, {}, 1, EVENT, held_out={}, test_dataset_id=None)
    with pytest.raises(LeaseLostError):
        store.delete_campaign(lease)
    assert store.find_campaign("one") == made


# -- the end -------------------------------------------------------------------------------------------


def test_a_campaign_is_deleted_with_what_only_it_has(store: Store) -> None:
    mine = campaign(store, [source("a"), source("b", "pos")], name="mine", tests=[source("t", "pos")])
    other = campaign(store, [source("a"), source("z")], name="other")
    shared = store.create_campaign("shared", other.dataset_id, {}, 7, held_out={}, test_dataset_id=None)
    leases = {one.name: held(store, one) for one in (mine, other)}
    for name, letters in (("mine", "as"), ("other", "zs")):
        lease = leases[name]
        store.add_queries(lease, [query("a")], EVENT)
        store.mirror(lease, "tool", [Annotation("1", "q-a-1", "pos")])
        store.close_queries(lease, [("q-a-1", Label("a", "pos"))], [])
        for index, letter in enumerate(letters):
            store.start_round(lease, a_round(index), list(store.labels(lease.campaign_id).values()))
            fit = RoundFit(input_hash="h", adapter_sha256=letter * 64, head_sha256=letter * 64 + "head")
            done = a_round(index, state=RoundState.SCORED, fit=fit, scores_sha256=letter)
            results = StepResults(adapters=[adapter(letter)], evaluations=[evaluation()])
            store.commit_step(lease, done, EVENT, results)
    store.save_base_predictions(leases["mine"], "base", [base_prediction(name) for name in "ab"])
    assert store.own_artefacts(mine.campaign_id) == Artefacts(
        frozenset({"a" * 64, "a" * 64 + "head"}), frozenset({"a"})
    )

    store.delete_campaign(leases["mine"])

    assert store.find_campaign("mine") is None and [one.name for one in store.summaries()] == [
        "other",
        "shared",
    ]
    assert store.dataset_item_ids(mine.dataset_id) == []
    assert store.dataset_item_ids(other.dataset_id) == ["a", "z"]
    assert set(store.base_predictions("base", ["a", "b"])) == {"a"}, "another campaign has the text of a"
    assert len(store.rounds(other.campaign_id)) == 2 and len(store.annotations(other.campaign_id)) == 1
    assert store.labels(other.campaign_id)["a"].value == "pos"
    assert store.item_ids(shared.campaign_id, Role.POOL) == ["a", "z"]
    with pytest.raises(StoreError):
        store.renew_lease(leases["mine"], 60.0)
    store.release_lease(leases["mine"])  # does nothing
    again = campaign(store, [source("a")], name="mine")
    assert store.rounds(again.campaign_id) == [] and messages(store, again.campaign_id) == []


# -- labels that are called differently ----------------------------------------------------------------


def test_a_config_is_replaced_together_with_the_labels_that_follow_from_it(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "tech"), Label("b", "sport"))
    store.add_queries(lease, [query("c")], EVENT)
    store.close_queries(lease, [], [], disputed=["q-c-1"])
    store.start_round(lease, a_round(0), list(store.labels(campaign_id).values()))
    changes = {
        "relabelled": [Label("a", "IT")],
        "settled": [("q-c-1", Label("c", "IT", round_index=0))],
        "events": [Event("config", "renamed")],
    }
    for _ in range(2):  # a repeated transaction changes nothing but the log
        store.update_config(lease, {"name": "one", "renamed": True}, **changes)  # type: ignore[arg-type]
    now = store.find_campaign("one")
    assert now is not None and now.config == {"name": "one", "renamed": True}
    assert {key: one.value for key, one in store.labels(campaign_id).items()} == {
        "a": "IT",
        "b": "sport",
        "c": "IT",
    }
    assert [one.value for one in label_versions(store, campaign_id, "a")] == ["tech", "IT"]
    assert [one.value for one in store.training_labels(campaign_id, 0)] == ["tech", "sport"]
    assert "renamed" in messages(store, campaign_id)


def test_a_config_with_an_unknown_query_is_not_replaced(store: Store) -> None:
    campaign_id, lease = abc(store)
    before = store.find_campaign("one")
    with pytest.raises(StoreError):
        store.update_config(lease, {"x": 1}, settled=[("q-none", Label("a", "pos"))])
    assert store.find_campaign("one") == before
    assert store.labels(campaign_id) == {}
