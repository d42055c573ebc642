"""The contract of ``star_al.ports.Store``, on every store."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from star_al.errors import LeaseHeldError, LeaseLostError, StoreError
from star_al.ports import Store
from star_al.types import (
    Adapter,
    Annotation,
    Event,
    ExternalTask,
    HeldOutPrediction,
    Histogram,
    JsonValue,
    Label,
    Lease,
    PlattScaling,
    QueryState,
    Reason,
    Role,
    RoundCollection,
    RoundDecision,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
    ScoreRow,
    ShortlistRecord,
    SourceItem,
    StepResults,
    Study,
    StudyRun,
)
from support.records import (
    EVENT,
    a_round,
    abc,
    base_prediction,
    begin,
    campaign,
    evaluation,
    held,
    item,
    label,
    never,
    query,
    source,
)
from support.stored import adapter, label_versions, ranking

ADAPTER = Adapter("f" * 64, "lora", "adapters/f", 2**33)
FUNNY = 'naïve 😀 “quote” \\u0000 \t\n"'


# -- data sets -----------------------------------------------------------------------------------------


def test_a_data_set_counts_its_items_and_leaves_out_those_it_has(store: Store) -> None:
    begun = begin(store)
    assert (begun.ready, begun.n_items) == (False, 0)
    assert store.add_items(begun.dataset_id, [source("b"), source("a"), source("b")]) == 2
    assert store.add_items(begun.dataset_id, iter([source("a"), source("c")])) == 1
    finished = store.finish_dataset(begun.dataset_id, n_duplicates=2, n_empty=1)
    assert finished == dataclasses.replace(begun, ready=True, n_items=3, n_duplicates=2, n_empty=1)
    assert store.find_dataset("key") == finished
    assert store.find_dataset("other") is None
    assert store.dataset_item_ids(begun.dataset_id) == ["a", "b", "c"]


def test_of_equal_texts_the_first_label_is_kept(store: Store) -> None:
    begun = begin(store)
    first_page = [source("a", external_id="1"), source("b", "neg"), source("a", "pos"), source("a", "neg")]
    assert store.add_items(begun.dataset_id, [*first_page, source("c"), source("d")]) == 4
    later = [source("a", "neg"), source("b", "pos"), source("c", {"n": 1.0}, external_id="9"), source("e")]
    assert store.add_items(begun.dataset_id, later) == 1
    dataset = store.finish_dataset(begun.dataset_id, n_duplicates=5, n_empty=0)
    made = store.create_campaign("one", dataset.dataset_id, {}, 7, held_out={}, test_dataset_id=None)
    values = {item_id: label.value for item_id, label in store.labels(made.campaign_id).items()}
    assert values == {"a": "pos", "b": "neg", "c": {"n": 1.0}}
    assert store.items(made.campaign_id, ["a", "c"]) == [item("a", external_id="1"), item("c")]


def test_pages_are_counted_together(store: Store) -> None:
    begun = begin(store)
    many = [source(f"i{number:05}") for number in range(10_050)]
    assert store.add_items(begun.dataset_id, iter([*many, *many])) == 10_050
    assert store.dataset_item_ids(begun.dataset_id) == [one.item.item_id for one in many]


def test_an_interrupted_import_is_replaced_and_can_no_longer_write(store: Store) -> None:
    interrupted = begin(store, importer="killed")
    store.add_items(interrupted.dataset_id, [source("a")])
    again = begin(store, importer="me", dead="killed")
    assert again.dataset_id != interrupted.dataset_id
    assert store.dataset_item_ids(again.dataset_id) == []
    with pytest.raises(StoreError, match="run again"):
        store.add_items(interrupted.dataset_id, [source("b")])
    assert store.dataset_item_ids(interrupted.dataset_id) == []


def test_of_two_imports_at_once_the_first_to_finish_serves_both(store: Store) -> None:
    mine, other = begin(store, importer="me"), begin(store, importer="other")
    for dataset in (mine, other):
        store.add_items(dataset.dataset_id, [source("a")])
    assert store.find_dataset("key") is None
    first = store.finish_dataset(other.dataset_id, n_duplicates=0, n_empty=0)
    assert store.finish_dataset(mine.dataset_id, n_duplicates=0, n_empty=0) == first
    assert store.find_dataset("key") == first
    assert store.dataset_item_ids(mine.dataset_id) == []


def test_a_finished_data_set_is_not_added_to(store: Store) -> None:
    dataset = begin(store)
    store.finish_dataset(dataset.dataset_id, n_duplicates=0, n_empty=0)
    with pytest.raises(StoreError, match="finished"):
        store.add_items(dataset.dataset_id, [source("a")])


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d of a pair"])
@pytest.mark.parametrize("place", ["text", "fields"])
def test_text_that_a_database_cannot_keep_is_refused(store: Store, text: str, place: str) -> None:
    bad = source("a", text=text) if place == "text" else source("a", fields={"note": [text]})
    begun = begin(store)
    with pytest.raises(StoreError, match=r"NUL character|surrogate pair"):
        store.add_items(begun.dataset_id, [bad])
    assert store.dataset_item_ids(begun.dataset_id) == []


def test_nan_is_no_json(store: Store) -> None:
    begun = begin(store)
    with pytest.raises(StoreError, match="JSON"):
        store.add_items(begun.dataset_id, [source("a", fields={"x": float("nan")})])


# -- campaigns -----------------------------------------------------------------------------------------


def test_a_campaign_comes_back_as_it_was_made(store: Store) -> None:
    made = campaign(store, [source("a")], name="first")
    other = campaign(store, [source("a")], name="second")
    assert (made.name, made.config, made.seed) == ("first", {"name": "first"}, 7)
    assert re.fullmatch("[0-9a-f]{32}", made.key)
    assert made.key != other.key
    assert store.find_campaign("first") == made
    assert store.find_campaign("third") is None
    assert store.find_campaign("second") == other
    with pytest.raises(StoreError, match="'first'"):
        store.create_campaign("first", made.dataset_id, {}, 7, held_out={}, test_dataset_id=None)


def test_a_campaign_needs_a_complete_data_set(store: Store) -> None:
    begun = begin(store)
    with pytest.raises(StoreError, match="completely"):
        store.create_campaign("one", begun.dataset_id, {}, 7, held_out={}, test_dataset_id=None)
    assert store.find_campaign("one") is None


def test_items_join_with_their_roles_and_the_test_set_wins(store: Store) -> None:
    sources = [source(name) for name in "abcde"]
    tests = [source("c", "pos"), source("t", "neg")]
    held_out = {"a": Role.AUDIT, "b": Role.CALIBRATION, "c": Role.AUDIT}
    made = campaign(store, sources, tests=tests, held_out=held_out)
    roles = {role: store.item_ids(made.campaign_id, role) for role in Role}
    assert roles == {
        Role.POOL: ["d", "e"],
        Role.TEST: ["c", "t"],
        Role.AUDIT: ["a"],
        Role.CALIBRATION: ["b"],
    }
    assert store.labels(made.campaign_id) == {
        "c": Label("c", "pos", 1, "import"),
        "t": Label("t", "neg", 1, "import"),
    }


def test_a_held_out_item_must_exist(store: Store) -> None:
    with pytest.raises(StoreError, match="'z'"):
        campaign(store, [source("a")], held_out={"z": Role.AUDIT})
    assert store.find_campaign("one") is None


def test_known_items_are_those_of_the_campaign_in_any_role(store: Store) -> None:
    made = campaign(store, [source("a"), source("b"), source("c")], held_out={"a": Role.AUDIT})
    assert store.known_items(made.campaign_id, ["a", "b", "zzz", "b"]) == {"a", "b"}
    assert store.known_items(made.campaign_id, []) == set()


def test_items_come_back_whole_in_the_order_asked_from_both_data_sets(store: Store) -> None:
    rich = item(
        "a", text=FUNNY, options=("yes", "no 😀"), external_id="7", fields={"n": [1, None, {"x": 1.5}]}
    )
    made = campaign(store, [SourceItem(rich), source("b")], tests=[source("t")])
    assert store.items(made.campaign_id, ["t", "a", "b", "a"]) == [item("t"), rich, item("b"), rich]
    assert store.items(made.campaign_id, []) == []
    with pytest.raises(StoreError, match="'nowhere'"):
        store.items(made.campaign_id, ["a", "nowhere"])


def test_update_config(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.update_config(lease, {"stopping": {"max_rounds": 3}, "note": FUNNY})
    made = store.find_campaign("one")
    assert made is not None and made.campaign_id == campaign_id
    assert made.config == {"stopping": {"max_rounds": 3}, "note": FUNNY}


def test_two_campaigns_over_the_same_data_know_nothing_of_each_other(store: Store) -> None:
    one = campaign(store, [source("a"), source("b")], name="one")
    two = store.create_campaign("two", one.dataset_id, {}, 1, held_out={}, test_dataset_id=None)
    first, second = held(store, one, "me"), held(store, two, "you")
    for lease, value in ((first, "neg"), (second, "pos")):
        store.start_round(lease, a_round(), [])
        store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("a")]))
        store.close_queries(lease, [("q-a-1", Label("a", value))], [])
    assert store.labels(one.campaign_id)["a"].value == "neg"
    assert store.labels(two.campaign_id)["a"].value == "pos"
    assert store.pool_ids(two.campaign_id, 1) == ["b"]
    assert len(store.events(one.campaign_id)) == len(store.history(two.campaign_id)) == 1


# -- more rows -----------------------------------------------------------------------------------------


def test_rows_join_a_running_campaign_once_each(store: Store) -> None:
    campaign_id, lease = abc(store, tests=[source("t")])
    store.start_round(lease, a_round(0), [])
    added = store.extend_campaign(
        campaign_id, [source("a"), source("d"), source("t"), source("e", "pos"), source("d")]
    )
    assert added == 2
    assert store.pool_ids(campaign_id, 0) == ["a", "b", "c"]
    assert store.pool_ids(campaign_id, 1) == ["a", "b", "c", "d"]
    assert store.labels(campaign_id) == {"e": Label("e", "pos", 1, "import", 1)}
    assert store.items(campaign_id, ["d", "t"]) == [item("d"), item("t")]
    assert store.item_ids(campaign_id, Role.TEST) == ["t"]
    assert store.extend_campaign(campaign_id, [source("d")]) == 0


def test_rows_join_the_round_that_stopped_the_campaign_so_that_it_may_go_on(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(0), [])
    decision = RoundDecision(0, stop_reason="the pool is empty")
    stopped = a_round(0, state=RoundState.STOPPED, decision=decision)
    store.commit_step(lease, stopped, Event("decide", "stop", 0))
    store.extend_campaign(campaign_id, [source("d")])
    assert store.pool_ids(campaign_id, 0) == ["a", "b", "c", "d"]


UNDECIDED = {RoundState.STARTED, RoundState.FITTED, RoundState.EVALUATED, RoundState.STOPPED}


@pytest.mark.parametrize("newest", [0, 1, 2])
@pytest.mark.parametrize("state", RoundState)
def test_rows_join_the_first_round_that_has_not_used_its_pool(
    store: Store, newest: int, state: RoundState
) -> None:
    campaign_id, lease = abc(store)
    for index in range(newest + 1):
        store.start_round(lease, a_round(index, state=RoundState.COLLECTED), [])
    store.commit_step(lease, a_round(newest, state=state), EVENT)
    store.extend_campaign(campaign_id, [source("d"), source("e", "pos"), source("c", "neg")])
    joins_newest = state in UNDECIDED and (newest > 0 or state is RoundState.STOPPED)
    joined = newest if joins_newest else newest + 1
    for index in range(joined):
        assert store.pool_ids(campaign_id, index) == ["a", "b", "c"]
    assert store.pool_ids(campaign_id, joined) == store.pool_ids(campaign_id, joined + 1) == ["a", "b", "d"]
    assert store.labels(campaign_id) == {
        "c": Label("c", "neg", 1, "import", joined),
        "e": Label("e", "pos", 1, "import", joined),
    }


def test_an_added_row_labels_an_item_of_the_pool_that_nobody_was_asked(store: Store) -> None:
    tests, held_out = [source("t")], {"v": Role.AUDIT, "w": Role.CALIBRATION}
    sources = [source(name) for name in "abcdvw"]
    made = campaign(store, [*sources, source("e", "pos")], tests=tests, held_out=held_out)
    campaign_id, lease = made.campaign_id, held(store, made)
    label(store, lease, Label("b", "neg"))
    store.start_round(lease, a_round(), [])
    store.commit_step(lease, a_round(state=RoundState.PUSHED), EVENT, StepResults(queries=[query("c")]))
    before = store.labels(campaign_id)
    first_pool = store.pool_ids(campaign_id, 0)
    rows = [source(name, "neg" if name == "e" else "pos") for name in "bcdetvw"]
    assert store.extend_campaign(campaign_id, [source("a"), source("d"), *rows, source("d", "neg")]) == 0
    assert store.labels(campaign_id) == {**before, "d": Label("d", "pos", 1, "import", 1)}
    assert store.pool_ids(campaign_id, 0) == first_pool == ["a", "b", "c", "d"]
    assert store.pool_ids(campaign_id, 1) == ["a"]
    assert store.items(campaign_id, ["d", "t"]) == [item("d"), item("t")]
    assert store.extend_campaign(campaign_id, [source("d", "neg"), source("f")]) == 1
    assert len(label_versions(store, campaign_id, "d")) == 1


def test_a_late_label_concerns_its_campaign_alone(store: Store) -> None:
    one = campaign(store, [source("a")])
    two = store.create_campaign("two", one.dataset_id, {}, 1, held_out={}, test_dataset_id=None)
    assert store.extend_campaign(one.campaign_id, [source("a", "pos")]) == 0
    assert store.labels(one.campaign_id) == {"a": Label("a", "pos", 1, "import", 0)}
    assert store.pool_ids(one.campaign_id, 0) == []
    assert store.labels(two.campaign_id) == {}
    assert store.pool_ids(two.campaign_id, 0) == ["a"]


def test_rows_join_before_the_first_round(store: Store) -> None:
    campaign_id, _ = abc(store)
    assert store.extend_campaign(campaign_id, [source("d")]) == 1
    assert store.pool_ids(campaign_id, 0) == ["a", "b", "c", "d"]


def test_rows_of_one_campaign_do_not_join_another_over_the_same_data(store: Store) -> None:
    one = campaign(store, [source("a")])
    store.extend_campaign(one.campaign_id, [source("b")])
    two = store.create_campaign("two", one.dataset_id, {}, 1, held_out={}, test_dataset_id=None)
    assert store.item_ids(two.campaign_id, Role.POOL) == ["a"]
    assert store.extend_campaign(two.campaign_id, [source("b"), source("c")]) == 2


def test_a_broken_file_adds_nothing(store: Store) -> None:
    campaign_id, _ = abc(store)

    def rows() -> Iterator[SourceItem]:
        yield source("d", "pos")
        raise ValueError("row 2")

    with pytest.raises(ValueError, match="row 2"):
        store.extend_campaign(campaign_id, rows())
    assert store.item_ids(campaign_id, Role.POOL) == ["a", "b", "c"]
    assert store.labels(campaign_id) == {}


def test_an_unknown_campaign_is_reported(store: Store) -> None:
    with pytest.raises(StoreError, match="99"):
        store.extend_campaign(99, [source("a")])
    with pytest.raises(StoreError, match="99"):
        store.acquire_lease(99, "me", 60.0, may_take=never)


# -- lease ---------------------------------------------------------------------------------------------


def test_a_living_controller_keeps_others_out(store: Store) -> None:
    made = campaign(store, [source("a")])
    held(store, made, "alpha:1")
    asked: list[str] = []

    def may_take(owner: str) -> bool:
        asked.append(owner)
        return False

    with pytest.raises(LeaseHeldError, match=r"alpha:1.* another (5\d|60) s"):
        store.acquire_lease(made.campaign_id, "beta:2", 60.0, may_take=may_take)
    assert asked == ["alpha:1"]


def test_a_dead_controller_is_taken_over(store: Store) -> None:
    made = campaign(store, [source("a")])
    old = held(store, made, "alpha:1")
    new = store.acquire_lease(made.campaign_id, "beta:2", 60.0, may_take=lambda owner: owner == "alpha:1")
    assert (new.owner, new.epoch) == ("beta:2", old.epoch + 1)


def test_an_expired_lease_is_free_and_until_taken_still_its_owners(store: Store) -> None:
    made = campaign(store, [source("a")])
    old = store.acquire_lease(made.campaign_id, "me", 0.0, may_take=never)
    time.sleep(0.01)
    store.add_event(old, EVENT)
    new = store.acquire_lease(made.campaign_id, "you", 60.0, may_take=never)
    assert new.epoch == old.epoch + 1
    with pytest.raises(LeaseLostError):
        store.add_event(old, EVENT)


def test_a_renewed_lease_keeps_others_out(store: Store) -> None:
    made = campaign(store, [source("a")])
    lease = store.acquire_lease(made.campaign_id, "me", 0.0, may_take=never)
    store.renew_lease(lease, 60.0)
    with pytest.raises(LeaseHeldError):
        held(store, made, "you")


def test_who_holds_a_campaign_is_told_while_the_lease_lasts(store: Store) -> None:
    made = campaign(store, [source("a")])
    assert store.lease_owner(made.campaign_id) is None
    lease = held(store, made, "me")
    assert store.lease_owner(made.campaign_id) == "me"
    store.renew_lease(lease, 0.0)
    time.sleep(0.01)
    assert store.lease_owner(made.campaign_id) is None
    store.renew_lease(lease, 60.0)
    store.release_lease(lease)
    assert store.lease_owner(made.campaign_id) is None


def test_a_released_lease_is_free_and_writes_no_more(store: Store) -> None:
    made = campaign(store, [source("a")])
    lease = held(store, made)
    store.release_lease(lease)
    store.release_lease(lease)
    with pytest.raises(LeaseLostError, match="me"):
        store.add_event(lease, EVENT)
    assert held(store, made, "you").epoch == lease.epoch + 1


def test_releasing_a_lost_lease_leaves_the_new_one(store: Store) -> None:
    made = campaign(store, [source("a")])
    old = held(store, made, "old")
    new = store.acquire_lease(made.campaign_id, "new", 60.0, may_take=lambda _: True)
    store.release_lease(old)
    store.add_event(new, EVENT)
    assert len(store.events(made.campaign_id)) == 1


def test_a_copied_campaign_gets_a_key_of_its_own(store: Store) -> None:
    campaign_id, lease = abc(store)
    before = store.find_campaign("one")
    store.add_queries(lease, [query("a")], EVENT)
    store.save_tasks(lease, [ExternalTask("q-a-1", "tool", "7", "1")])
    assert store.project_stamps(campaign_id) is None
    store.save_project_stamps(campaign_id, ["b", "a"])
    assert store.project_stamps(campaign_id) == ["b", "a"]
    store.separate_campaign(lease)
    now = store.find_campaign("one")
    assert before is not None and now is not None and now.key != before.key
    assert store.tasks(campaign_id) == [] and store.project_stamps(campaign_id) is None
    assert [one.query_id for one in store.open_queries(campaign_id)] == ["q-a-1"]
    store.save_project_stamps(campaign_id, None)
    assert store.project_stamps(campaign_id) is None


LEASE_WRITES: dict[str, Callable[[Store, Lease], object]] = {
    "update_config": lambda store, lease: store.update_config(lease, {"changed": True}),
    "renew_lease": lambda store, lease: store.renew_lease(lease, 999.0),
    "mirror": lambda store, lease: store.mirror(lease, "oracle", [Annotation("late", "q-a-1", "late")]),
    "start_round": lambda store, lease: store.start_round(lease, a_round(1), []),
    "commit_step": lambda store, lease: store.commit_step(
        lease,
        a_round(state=RoundState.SELECTED, selection=RoundSelection(9)),
        EVENT,
        StepResults(adapters=[ADAPTER]),
    ),
    "add_queries": lambda store, lease: store.add_queries(lease, [query("b")], EVENT),
    "save_tasks": lambda store, lease: store.save_tasks(lease, [ExternalTask("q-a-1", "late", "1", "1")]),
    "withdraw_queries": lambda store, lease: store.withdraw_queries(lease, ["q-a-1"], EVENT),
    "carry_over": lambda store, lease: store.carry_over(lease, ["q-a-1"], 1),
    "close_queries": lambda store, lease: store.close_queries(lease, [("q-a-1", Label("a", "late"))], []),
    "save_base_predictions": lambda store, lease: store.save_base_predictions(
        lease, "k", [base_prediction("a")]
    ),
    "add_event": lambda store, lease: store.add_event(lease, EVENT),
    "restart_campaign": lambda store, lease: store.restart_campaign(
        lease, 1, {}, 1, EVENT, held_out={}, test_dataset_id=None
    ),
    "delete_campaign": lambda store, lease: store.delete_campaign(lease),
    "separate_campaign": lambda store, lease: store.separate_campaign(lease),
}


def test_the_fencing_test_knows_every_method_with_a_lease() -> None:
    methods = {
        name
        for name in dir(Store)
        if "lease" in getattr(getattr(Store, name), "__annotations__", {}) and name != "release_lease"
    }
    assert set(LEASE_WRITES) == methods


def contents(store: Store, campaign_id: int) -> list[object]:
    """Everything that a late writer could have changed."""
    return [
        store.find_campaign("one"),
        store.labels(campaign_id),
        store.annotations(campaign_id),
        store.rounds(campaign_id),
        store.queries(campaign_id),
        store.tasks(campaign_id),
        store.events(campaign_id),
        adapter(store, ADAPTER.sha256),
        store.base_predictions("k", ["a"]),
    ]


@pytest.mark.parametrize("method", LEASE_WRITES)
@pytest.mark.parametrize("how", ["other owner", "same owner again"])
def test_a_late_writer_writes_nothing(store: Store, method: str, how: str) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("a", buffer=True)]))
    owner = "me" if how == "same owner again" else "you"
    store.acquire_lease(campaign_id, owner, 60.0, may_take=lambda _: True)
    before = contents(store, campaign_id)
    with pytest.raises(LeaseLostError):
        LEASE_WRITES[method](store, lease)
    assert contents(store, campaign_id) == before


@pytest.mark.parametrize("method", LEASE_WRITES)
def test_the_holder_may_write(store: Store, method: str) -> None:
    _, lease = abc(store)
    store.start_round(lease, a_round(), [])
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("a")]))
    LEASE_WRITES[method](store, lease)  # the proof is that it does not raise, as it does for a late holder
    if method not in ("delete_campaign", "restart_campaign"):
        assert store.rounds(lease.campaign_id)


def test_of_many_that_acquire_at_once_exactly_one_wins(store: Store) -> None:
    made = campaign(store, [source("a")])
    gate, won, lost = threading.Barrier(6), [], []

    def acquire(number: int) -> None:
        gate.wait()
        try:
            won.append(held(store, made, f"controller {number}"))
        except LeaseHeldError as exc:
            lost.append(exc)

    threads = [threading.Thread(target=acquire, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 5)
    store.add_event(won[0], EVENT)


# -- labels --------------------------------------------------------------------------------------------


def test_label_versions_are_appended_unless_they_repeat_the_one_in_force(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "pos", round_index=0), Label("b", "neg"))
    label(store, lease, Label("a", "pos"), Label("b", "pos"))
    label(store, lease, Label("b", "neg", round_index=3))
    assert label_versions(store, campaign_id, "b") == [
        Label("b", "neg", 1, "annotator"),
        Label("b", "pos", 2, "annotator"),
        Label("b", "neg", 3, "annotator", 3),
    ]
    assert store.labels(campaign_id) == {
        "a": Label("a", "pos", 1, "annotator", 0),
        "b": Label("b", "neg", 3, "annotator", 3),
    }
    assert label_versions(store, campaign_id, "c") == []


def test_one_call_may_bring_several_versions(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "x"), Label("a", "x"), Label("a", "y"))
    assert [one.value for one in label_versions(store, campaign_id, "a")] == ["x", "y"]


def test_labels_of_a_role(store: Store) -> None:
    campaign_id, lease = abc(store, held_out={"a": Role.AUDIT})
    label(store, lease, Label("a", "pos"), Label("b", "neg"))
    assert set(store.labels(campaign_id, Role.AUDIT)) == {"a"}
    assert set(store.labels(campaign_id, Role.POOL)) == {"b"}
    assert store.labels(campaign_id, Role.TEST) == {}


@pytest.mark.parametrize(
    "value",
    [
        "pos",
        FUNNY,
        "",
        "null",
        1,
        1.0,
        0.1,
        True,
        False,
        2**53 + 1,
        10**30,
        ["a", ["b"]],
        [],
        {},
        {"b": 1, "a": None},
    ],
    ids=repr,
)
def test_a_label_is_any_json_and_keeps_its_type(store: Store, value: JsonValue) -> None:
    made = campaign(store, [source("a", value), source("b")])
    label(store, held(store, made), Label("b", value))
    labels = store.labels(made.campaign_id)
    assert set(labels) == {"a", "b"}
    for one in labels.values():
        assert one.value == value
        assert type(one.value) is type(value)


def test_values_that_python_takes_for_equal_are_different_labels(store: Store) -> None:
    campaign_id, lease = abc(store)
    for value in (1, True, 1.0, 1.0):
        label(store, lease, Label("a", value))
    assert [repr(one.value) for one in label_versions(store, campaign_id, "a")] == ["1", "True", "1.0"]


def test_a_label_needs_a_value_and_an_item_of_the_campaign(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b")], EVENT)
    with pytest.raises(StoreError, match="'z'"):
        store.close_queries(lease, [("q-a-1", Label("a", "pos")), ("q-b-1", Label("z", "pos"))], [])
    with pytest.raises(StoreError, match="no value"):
        store.close_queries(lease, [("q-b-1", Label("b", "pos")), ("q-a-1", Label("a", None))], [])
    assert store.labels(campaign_id) == {}


# -- the pool ------------------------------------------------------------------------------------------


def test_the_pool_of_a_round_is_a_function_of_history_alone(store: Store) -> None:
    sources = [source("a", "pos"), *(source(name) for name in "bcdef")]
    made = campaign(store, sources, held_out={"f": Role.AUDIT})
    campaign_id, lease = made.campaign_id, held(store, made)
    store.start_round(lease, a_round(0), [])
    assert store.pool_ids(campaign_id, 0) == ["b", "c", "d", "e"]  # a has an imported label, f is held out
    store.commit_step(lease, a_round(0), EVENT, StepResults(queries=[query("b"), query("c", rank=2)]))
    assert store.pool_ids(campaign_id, 0) == ["b", "c", "d", "e"]  # the same after its own queries
    assert store.pool_ids(campaign_id, 1) == ["d", "e"]
    store.close_queries(lease, [("q-b-1", Label("b", "pos", round_index=0))], ["q-c-1"])
    assert store.pool_ids(campaign_id, 0) == ["b", "c", "d", "e"]  # and after their labels
    assert store.pool_ids(campaign_id, 1) == ["d", "e"]
    label(store, lease, Label("a", "neg"))
    assert "a" not in store.pool_ids(campaign_id, 0)  # its first version was imported


# -- rounds --------------------------------------------------------------------------------------------


def test_a_round_comes_back_as_it_was_committed(store: Store) -> None:
    campaign_id, lease = abc(store)
    started = a_round()
    store.start_round(lease, started, [])
    assert store.rounds(campaign_id) == [started]
    full = dataclasses.replace(
        started,
        state=RoundState.COLLECTED,
        seed=2**63 - 1,
        seconds={"fit": 1.25, "score": 0.5},
        labels=3,
        labels_bought=5,
        fit=RoundFit("abc", {"torch": "2.13", "device": None}, ADAPTER.sha256, 3, 4, "ab"),
        evaluation=RoundEvaluation(1.7, 0.3, FUNNY, {"a": 1, "b": 0}, 0.99),
        decision=RoundDecision(3, 0.5, 0.9, "the budget is spent", "stable"),
        scores_sha256="def",
        selection=RoundSelection(
            4,
            1 / 3,
            "measured",
            ((0.0, 0.5), (0.5, 0.75)),
            {"blended": Histogram((0.0, 0.5, 1.0), (3, 4))},
            0.25,
            ShortlistRecord(pool=90, scored=9, drawn=3, batch=4, depth=4, missed=1 / 3, missed_high=12),
        ),
        collection=RoundCollection(2, 1, -1 / 3),
    )
    store.commit_step(lease, full, EVENT, StepResults(adapters=[ADAPTER]))
    assert store.rounds(campaign_id) == [full]
    assert adapter(store, ADAPTER.sha256) == ADAPTER
    assert adapter(store, "unknown") is None


def test_starting_a_round_again_leaves_it_as_it_is(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "pos"), Label("b", "neg"))
    labels = store.labels(campaign_id)
    store.start_round(lease, a_round(seed=1), [labels["a"]])
    store.start_round(lease, a_round(seed=2), [labels["b"]])
    assert [one.seed for one in store.rounds(campaign_id)] == [1]
    assert store.training_labels(campaign_id, 0) == [labels["a"]]


def test_the_snapshot_does_not_follow_later_corrections(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("b", "neg"), Label("a", "pos"))
    snapshot = store.labels(campaign_id)
    store.start_round(lease, a_round(), list(reversed(snapshot.values())))
    label(store, lease, Label("a", "neg"))
    assert store.training_labels(campaign_id, 0) == [snapshot["a"], snapshot["b"]]
    assert store.labels(campaign_id)["a"].value == "neg"
    assert store.training_labels(campaign_id, 1) == []


def test_each_round_has_its_own_snapshot(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "tech"), Label("b", "sport"))
    first = list(store.labels(campaign_id).values())
    store.start_round(lease, a_round(0), [])
    store.start_round(lease, a_round(1), first)
    store.start_round(lease, a_round(2), first)
    label(store, lease, Label("a", "sport"), Label("c", "tech"))
    second = list(store.labels(campaign_id).values())
    store.start_round(lease, a_round(3), second)
    store.start_round(lease, a_round(4), second[1:])
    store.start_round(lease, a_round(5), first)  # what an earlier round trained on may come back
    store.start_round(lease, a_round(5), second)  # it exists, and stays as it is
    snapshots = [store.training_labels(campaign_id, index) for index in range(6)]
    assert snapshots == [[], first, first, second, second[1:], first]


def test_a_round_trains_on_stored_labels_only(store: Store) -> None:
    campaign_id, lease = abc(store)
    with pytest.raises(StoreError):
        store.start_round(lease, a_round(), [Label("a", "pos", 1)])
    assert store.rounds(campaign_id) == []


def test_a_step_of_a_round_that_was_not_started_writes_nothing(store: Store) -> None:
    campaign_id, lease = abc(store)
    with pytest.raises(StoreError, match="round 4"):
        store.commit_step(lease, a_round(4), EVENT, StepResults(adapters=[ADAPTER], queries=[query("a", 4)]))
    assert (store.events(campaign_id), store.queries(campaign_id), adapter(store, ADAPTER.sha256)) == (
        [],
        [],
        None,
    )


def test_a_step_is_all_or_nothing(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    with pytest.raises(StoreError, match="'z'"):
        store.commit_step(
            lease,
            a_round(state=RoundState.SELECTED, selection=RoundSelection(1)),
            EVENT,
            StepResults(adapters=[ADAPTER], evaluations=[evaluation()], queries=[query("z")]),
        )
    assert store.rounds(campaign_id) == [a_round()]
    assert store.evaluations(campaign_id, 0) == []
    assert (store.events(campaign_id), adapter(store, ADAPTER.sha256)) == ([], None)


def test_a_step_replaces_what_its_round_had_and_leaves_what_it_does_not_make(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
    other = [ScoreRow("c", 1, 0.1, 0.2, 0.3)]
    store.commit_step(lease, a_round(1), EVENT, StepResults(evaluations=[evaluation()], ranking=other))
    first = [
        evaluation(),
        evaluation("base", macro_f1=None, recall={}, confusion_C_C=(), figures={"aurc": 0.1}),
    ]
    rows = [ScoreRow("b", 2, None, None, 0.1), ScoreRow("a", 1, 0.7, 0.8, 0.9, 0.6, 0.2, 16, 0.4)]
    store.commit_step(lease, a_round(), EVENT, StepResults(evaluations=first, ranking=rows))
    assert store.evaluations(campaign_id, 0) == first
    assert ranking(store, campaign_id, 0) == [rows[1], rows[0]]
    again = [evaluation(scaling="temperature", accuracy=0.8), evaluation("base", "contextual", bins=())]
    for _ in range(2):
        store.commit_step(lease, a_round(), EVENT, StepResults(evaluations=again, ranking=rows[1:]))
    store.commit_step(lease, a_round(state=RoundState.PUSHED), EVENT)
    assert store.evaluations(campaign_id, 0) == again
    assert ranking(store, campaign_id, 0) == rows[1:]
    assert store.evaluations(campaign_id, 1) == [evaluation()]
    assert ranking(store, campaign_id, 1) == other
    assert not store.evaluations(campaign_id, 2) and not ranking(store, campaign_id, 2)


# -- queries -------------------------------------------------------------------------------------------


def test_queries_come_back_whole_by_round_purpose_and_rank(store: Store) -> None:
    campaign_id, lease = abc(store, held_out={"c": Role.AUDIT})
    audit = query("c", purpose=Role.AUDIT, wanted=2, reason=Reason(FUNNY))
    store.add_queries(lease, [audit], EVENT)
    store.start_round(lease, a_round(0), [])
    store.start_round(lease, a_round(1), [])
    store.commit_step(
        lease, a_round(1), EVENT, StepResults(queries=[query("a", 1, attempt=2, query_id="q-a-2")])
    )
    store.commit_step(lease, a_round(0), EVENT, StepResults(queries=[query("b", rank=2), query("a", rank=1)]))
    assert store.queries(campaign_id, 0) == [audit, query("a"), query("b", rank=2)]
    assert [one.query_id for one in store.queries(campaign_id)] == ["q-c-1", "q-a-1", "q-b-1", "q-a-2"]
    assert len(store.events(campaign_id)) == 3


def test_queries_given_again_keep_their_state_and_existing_ones_stay(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("a"), query("b", rank=2)]))
    store.close_queries(lease, [("q-a-1", Label("a", "pos"))], [])
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("b", rank=1), query("a", rank=2)]))
    store.add_queries(lease, [query("a", wanted=5)], EVENT)
    assert store.queries(campaign_id) == [query("b"), query("a", rank=2, state=QueryState.LABELLED)]


def test_a_selection_made_anew_drops_what_was_not_pushed(store: Store) -> None:
    campaign_id, lease = abc(store, held_out={"c": Role.AUDIT})
    store.start_round(lease, a_round(), [])
    store.add_queries(lease, [query("c", purpose=Role.AUDIT)], EVENT)
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("a")]))
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("b")]))
    assert [one.query_id for one in store.queries(campaign_id)] == ["q-c-1", "q-b-1"]
    store.save_tasks(lease, [ExternalTask("q-b-1", "tool", "1", "10")])
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=[query("a")]))
    assert [one.query_id for one in store.queries(campaign_id)] == ["q-c-1", "q-a-1", "q-b-1"]


def test_a_query_of_an_earlier_round_stays_there(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
        store.commit_step(
            lease, a_round(index), EVENT, StepResults(queries=[query("a", index, rank=index + 1)])
        )
    assert store.queries(campaign_id) == [query("a")]


def test_a_query_needs_an_item_of_the_campaign(store: Store) -> None:
    campaign_id, lease = abc(store)
    with pytest.raises(StoreError, match="'z'"):
        store.add_queries(lease, [query("a"), query("z")], EVENT)
    assert (store.queries(campaign_id), store.events(campaign_id)) == ([], [])


def test_settling_labels_and_skips_closes_queries_once(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b"), query("c")], EVENT)
    for _ in range(2):
        store.close_queries(lease, [("q-a-1", Label("a", "pos", round_index=0))], ["q-b-1"])
    states = {one.item_id: one.state for one in store.queries(campaign_id)}
    assert states == {"a": QueryState.LABELLED, "b": QueryState.SKIPPED, "c": QueryState.OPEN}
    assert label_versions(store, campaign_id, "a") == [Label("a", "pos", 1, "annotator", 0)]


def test_a_late_answer_to_a_skipped_query_makes_it_labelled(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b")], EVENT)
    store.close_queries(lease, [], ["q-a-1", "q-b-1"])
    for _ in range(2):
        store.close_queries(lease, [("q-a-1", Label("a", "pos", round_index=0))], [])
    assert label_versions(store, campaign_id, "a") == [Label("a", "pos", 1, "annotator", 0)]
    states = {one.item_id: one.state for one in store.queries(campaign_id)}
    assert states == {"a": QueryState.LABELLED, "b": QueryState.SKIPPED}


def test_a_labelled_query_takes_corrections_and_no_skip(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    for value, skipped in (("pos", []), ("neg", ["q-a-1"]), ("neg", [])):
        store.close_queries(lease, [("q-a-1", Label("a", value))], skipped)
    store.close_queries(lease, [], ["q-a-1"])
    assert [one.value for one in label_versions(store, campaign_id, "a")] == ["pos", "neg"]
    assert store.queries(campaign_id) == [query("a", state=QueryState.LABELLED)]


def test_open_queries_are_those_of_the_campaign_that_wait(store: Store) -> None:
    campaign_id, lease = abc(store, held_out={"c": Role.AUDIT})
    other = campaign(store, [source("a")], name="two")
    assert store.open_queries(campaign_id) == []
    store.add_queries(held(store, other), [query("a")], EVENT)
    audit, again = query("c", purpose=Role.AUDIT), query("a", 1, attempt=2, query_id="q-a-2")
    store.add_queries(lease, [again, query("b", rank=2), query("a"), audit], EVENT)
    assert store.open_queries(campaign_id) == [audit, query("a"), query("b", rank=2), again]
    store.close_queries(lease, [("q-a-1", Label("a", "pos"))], ["q-b-1"])
    assert store.open_queries(campaign_id) == [audit, again]
    assert store.open_queries(other.campaign_id) == [query("a")]


def test_settling_an_unknown_query_writes_nothing(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    with pytest.raises(StoreError, match="q-z-1"):
        store.close_queries(lease, [("q-a-1", Label("a", "pos"))], ["q-z-1"])
    assert store.labels(campaign_id) == {}
    assert store.queries(campaign_id) == [query("a")]


# -- base predictions ----------------------------------------------------------------------------------


def test_base_predictions_are_shared_by_campaigns_and_kept_bit_for_bit(store: Store) -> None:
    one, two = (campaign(store, [source("a")], name=name) for name in ("one", "two"))
    exact = base_prediction("a", 0.1)
    ragged = dataclasses.replace(
        base_prediction("b"), log_probs_C=np.array([np.log(1 / 3), -1e-300, -np.inf]), log_prior_C=None
    )
    values: tuple[JsonValue, ...] = ("1,000 €", ["a", "b"], [], None)
    open_ended = dataclasses.replace(
        base_prediction("c"), log_probs_C=np.log([0.1, 0.2, 0.3, 0.4]), answers=values, uncertainty=0.1 + 0.2
    )
    store.save_base_predictions(held(store, one), "key", [exact, ragged, open_ended])
    store.save_base_predictions(held(store, two), "key", [base_prediction("a", 0.9)])
    found = store.base_predictions("key", ["b", "a", "c", "d"])
    assert set(found) == {"a", "b", "c"}
    assert (found["a"].answers, found["a"].uncertainty) == ((), None)
    assert (found["c"].answers, found["c"].uncertainty) == (values, 0.1 + 0.2)
    for stored, given in ((found["a"], exact), (found["b"], ragged)):
        assert stored.log_probs_C.dtype == np.float64
        np.testing.assert_array_equal(stored.log_probs_C, given.log_probs_C, strict=True)
    np.testing.assert_array_equal(found["a"].log_prior_C, exact.log_prior_C)
    assert found["b"].log_prior_C is None
    assert store.base_predictions("other key", ["a"]) == {}


# -- record --------------------------------------------------------------------------------------------


def test_the_log_is_kept_in_order(store: Store) -> None:
    campaign_id, lease = abc(store)
    moment = datetime(2024, 5, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    store.add_event(lease, EVENT)
    store.add_event(lease, Event("fit", FUNNY, created_at=moment))
    first, second = store.events(campaign_id)
    assert first.created_at is not None
    assert abs(datetime.now(UTC) - first.created_at) < timedelta(minutes=1)
    assert dataclasses.replace(first, created_at=None) == EVENT
    assert second == Event("fit", FUNNY, created_at=moment)


HISTORY = [
    "round",
    "state",
    "labels",
    "labels_bought",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "macro_f1",
    "nll",
    "brier",
    "ece",
    "base_accuracy",
    "base_nll",
    "base_ece",
    "temperature",
    "base_temperature",
    "blend_weight",
    "pool_size",
    "asked",
    "skipped",
    "disputed",
    "agreement",
    "stop_agreement",
    "sequence_low",
    "sequence_high",
    "shadow_labels",
    "shadow_accuracy",
    "head_accuracy",
    "head_accuracy_low",
    "head_accuracy_high",
    "head_macro_f1",
    "head_nll",
    "head_ece",
    "taught_texts",
    "taught_weight",
    "delivered_head_weight",
    "delivered_adapted_weight",
    "delivered_accuracy",
    "delivered_nll",
    "delivered_ece",
    "stop_advice",
    "seconds",
    "stop_reason",
]


def test_history_shows_the_scaled_adapted_and_the_calibrated_base(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
    raw = [evaluation(nll=0.9), evaluation("base", nll=1.9)]
    store.commit_step(
        lease, a_round(0, seconds={"fit": 1.5, "score": 2.0}, labels=4), EVENT, StepResults(evaluations=raw)
    )
    scaled = [evaluation(scaling="temperature", nll=0.5), evaluation("base", "contextual", nll=1.5)]
    unseen = evaluation("base", "temperature", nll=9.0)
    full = a_round(
        1,
        state=RoundState.COLLECTED,
        evaluation=RoundEvaluation(1.8, 1.1, "fitted"),
        decision=RoundDecision(3, stop_reason="done"),
        selection=RoundSelection(4, 0.5),
        collection=RoundCollection(2, 1, 0.25),
    )
    store.commit_step(lease, full, EVENT, StepResults(evaluations=[*raw, *scaled, unseen]))
    first, second = store.history(campaign_id)
    assert list(first) == HISTORY
    assert (first["nll"], first["base_nll"], first["seconds"], first["labels"]) == (0.9, 1.9, 3.5, 4)
    assert (second["nll"], second["base_nll"], second["seconds"]) == (0.5, 1.5, 0.0)
    assert (second["round"], second["state"], second["temperature"]) == (1, "collected", 1.8)
    assert (second["stop_reason"], second["pool_size"]) == ("done", 3)
    assert (second["asked"], second["blend_weight"]) == (4, 0.5)
    assert (first["asked"], first["blend_weight"], first["pool_size"]) == (0, None, None)
    assert (second["skipped"], second["disputed"], second["agreement"]) == (2, 1, 0.25)
    assert (first["skipped"], first["disputed"], first["agreement"]) == (0, 0, None)
    assert (second["accuracy"], second["accuracy_low"], second["accuracy_high"]) == (0.7, 0.4, 0.9)


def test_history_of_a_round_without_evaluation_has_no_metrics(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    (row,) = store.history(campaign_id)
    assert row["state"] == "started"
    assert {row[name] for name in ("accuracy", "nll", "ece", "base_accuracy", "temperature")} == {None}


def test_a_round_keeps_what_proves_its_worth(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(0), [])
    fit = RoundFit(
        "abc", head_sha256="cd", shadow_labels=4, shadow_sha256="ab", taught_texts=9, taught_weight=0.5
    )
    measured = RoundEvaluation(
        1.8,
        1.1,
        "fitted",
        adapted_temperature=0.9,
        delivered_head_weight=0.75,
        delivered_adapted_weight=0.0,
        delivered_note="the head alone",
        platt=PlattScaling(intercept=0.5, nll=-1 / 3, log_odds=0.25, length=-0.0625),
    )
    decision = RoundDecision(3, 0.5, 0.9, stop_advice="stable")
    decided = a_round(0, fit=fit, evaluation=measured, decision=decision)
    shadow, head = evaluation("shadow", nll=0.7), evaluation("head", nll=0.6)
    scaled = evaluation("head", "temperature", nll=0.4)
    delivered = evaluation("delivered", nll=0.3)
    results = StepResults(evaluations=[evaluation(), delivered, head, scaled, shadow])
    store.commit_step(lease, decided, EVENT, results)
    assert store.rounds(campaign_id) == [decided]
    assert store.evaluations(campaign_id, 0)[1:] == [delivered, head, scaled, shadow]
    [row] = store.history(campaign_id)
    assert (row["head_accuracy"], row["head_nll"], row["head_ece"]) == (scaled.accuracy, 0.4, scaled.ece)
    assert row["shadow_accuracy"] == shadow.accuracy
    assert [row[name] for name in ("taught_texts", "taught_weight")] == [9, 0.5]
    assert [row[f"delivered_{name}"] for name in ("head_weight", "adapted_weight", "nll")] == [0.75, 0.0, 0.3]
    assert [row[name] for name in ("sequence_low", "shadow_labels", "stop_advice")] == [0.5, 4, "stable"]


def test_held_out_predictions_take_the_place_of_earlier_ones(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(0), [])
    log_probs = np.log([0.25, 0.75])
    first = [HeldOutPrediction(name, "adapted", log_probs, 0.5) for name in ("a", "b")]
    store.commit_step(lease, a_round(0), EVENT, StepResults(held_out=first))
    second = [
        HeldOutPrediction("b", "head", log_probs[::-1]),
        HeldOutPrediction(
            "c", "adapted", log_probs, 1.5, ("a\nlong “text”", None), {"nll": 0.1, "p(a)": 1.0}
        ),
    ]
    store.commit_step(lease, a_round(0), EVENT, StepResults(held_out=second))
    store.commit_step(lease, a_round(0), EVENT)
    found = store.held_out(campaign_id, 0)
    assert [(one.item_id, one.model, one.uncertainty) for one in found] == [
        ("c", "adapted", 1.5),
        ("b", "head", None),
    ]
    np.testing.assert_array_equal(found[1].log_probs_C, log_probs[::-1])
    assert found[0].answers == ("a\nlong “text”", None) and found[0].signals == {"nll": 0.1, "p(a)": 1.0}
    assert found[1].answers == () and found[1].signals == {}
    assert store.held_out(campaign_id, 1) == []


def test_a_control_query_is_marked_as_one(store: Store) -> None:
    campaign_id, lease = abc(store)
    queries = [query("a", control=True), query("b", rank=2)]
    store.start_round(lease, a_round(0), [])
    store.commit_step(lease, a_round(0), EVENT, StepResults(queries=queries))
    assert [one.control for one in store.queries(campaign_id)] == [True, False]


def test_a_study_grows_and_keeps_its_config(store: Store) -> None:
    assert store.study("s") is None
    first = Study("s", {"seed": 1}, (StudyRun("random", 0, "s.random.0"),))
    assert store.save_study(first) == first
    more = (StudyRun("star", 0, "s.star.0"), StudyRun("random", 1, "s.random.1"), *first.runs)
    grown = store.save_study(Study("s", {"seed": 1}, more))
    assert [(run.strategy, run.seed) for run in grown.runs] == [("random", 0), ("random", 1), ("star", 0)]
    assert store.save_study(Study("s", {"seed": 2}, ())).config == {"seed": 1}
    assert store.study("s") == grown
