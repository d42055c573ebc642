"""What ``star_al.ports.Store`` promises of labels, and of the pool that they leave, on every store."""

from __future__ import annotations

import pytest

from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import (
    JsonValue,
    Label,
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
    label,
    query,
    source,
)
from support.stored import label_versions


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
