"""What ``star_al.ports.Store`` promises of data sets and their import, on every store."""

from __future__ import annotations

import dataclasses

import pytest

from star_al.errors import StoreError
from star_al.ports import Store
from support.records import (
    begin,
    item,
    source,
)


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
