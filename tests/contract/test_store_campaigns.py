"""What ``star_al.ports.Store`` promises of campaigns, and of rows that join them, on every store."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import (
    Event,
    Label,
    Role,
    RoundDecision,
    RoundState,
    SourceItem,
    StepResults,
)
from support.records import (
    EVENT,
    FUNNY,
    a_round,
    abc,
    begin,
    campaign,
    held,
    item,
    label,
    never,
    query,
    source,
)
from support.stored import label_versions


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
