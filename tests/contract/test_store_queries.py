"""What ``star_al.ports.Store`` promises of queries, on every store."""

from __future__ import annotations

import pytest

from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import (
    ExternalTask,
    Label,
    QueryState,
    Reason,
    Role,
    StepResults,
)
from support.records import (
    EVENT,
    FUNNY,
    a_round,
    abc,
    campaign,
    held,
    query,
    source,
)
from support.stored import label_versions


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
