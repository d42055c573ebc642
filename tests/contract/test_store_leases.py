"""What ``star_al.ports.Store`` promises of leases: one controller writes, a late one nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from star_al.errors import LeaseHeldError, LeaseLostError
from star_al.ports import Store
from star_al.types import (
    Annotation,
    ExternalTask,
    Label,
    Lease,
    RoundSelection,
    RoundState,
    StepResults,
)
from support.records import (
    ADAPTER,
    EVENT,
    a_round,
    abc,
    base_prediction,
    campaign,
    held,
    never,
    query,
    source,
)
from support.stored import adapter


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
