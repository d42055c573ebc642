"""The label of a repeated text is that of most rows, whatever their order, and ids of several texts are told."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from star_al.annotators.oracle import Oracle
from star_al.config.spec import ClassificationSpec, OracleSpec
from star_al.data import ImportCounts, import_notes
from star_al.data.item_labels import SETTLED, gold_answer, is_tie, user_fields
from star_al.data.items import read_items
from star_al.data.source import DataSource, locate
from star_al.task import make_task
from star_al.types import Annotation, Item, Query, Reason, Role, SourceItem

MOODS = make_task(ClassificationSpec(kind="classification", labels=("pos", "neg", "mixed")))


def read(folder: Path, rows: list[tuple[str, Any]], **columns: Any) -> tuple[list[SourceItem], list[str]]:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps({"id": t[0], "text": t, "y": y}) + "\n" for t, y in rows))
    source = DataSource(locate(path.name, folder), "text", **columns)
    counts = ImportCounts()
    return list(read_items(source, MOODS, counts)), import_notes(source, counts)


SOUP = [("soup", "pos"), ("soup", "neg"), ("soup", " NEG "), ("garden", "pos"), ("garden", "pos")]


@pytest.mark.parametrize("rows", list(itertools.permutations(SOUP, 5))[::7])
def test_given_labels_are_those_of_most_rows_in_any_order(tmp_path: Path, rows: list[Any]) -> None:
    found, notes = read(tmp_path, rows, label="y")
    assert {each.item.text: each.given_label for each in found} == {"soup": "neg", "garden": "pos"}
    assert notes == ["d.jsonl: 1 text has different labels in different rows. The label of most rows counts."]


def test_empty_labels_have_no_vote_and_a_tie_has_no_label(tmp_path: Path) -> None:
    rows = [("a", None), ("a", "pos"), ("b", "pos"), ("b", "neg"), ("c", "pos"), ("c", "neg"), ("c", "neg")]
    found, notes = read(tmp_path, rows, label="y")
    assert {each.item.text: each.given_label for each in found} == {"a": "pos", "b": None, "c": "neg"}
    assert notes == [
        "d.jsonl: 2 texts have different labels in different rows. The label of most rows counts; 1 tie has no label."
    ]


def test_gold_is_settled_beside_the_users_columns(tmp_path: Path) -> None:
    found, _ = read(tmp_path, [*SOUP, ("slow", "pos"), ("slow", "mixed")], gold="y")
    items = {each.item.text: each.item for each in found}
    assert {text: gold_answer(MOODS, item, "y") for text, item in items.items()} == {
        "soup": "neg", "garden": "pos", "slow": None
    }  # fmt: skip
    assert [text for text, item in items.items() if is_tie(item)] == ["slow"]
    assert SETTLED not in items["garden"].fields
    assert user_fields(items["soup"].fields)["y"] == " NEG "  # of its last row


def test_a_tie_is_left_out_of_a_test_file(tmp_path: Path) -> None:
    found, notes = read(tmp_path, [*SOUP, ("slow", "pos"), ("slow", "neg")], label="y", gold="y")
    assert {each.item.text: each.given_label for each in found} == {"soup": "neg", "garden": "pos"}
    assert notes == [
        "d.jsonl: 2 texts have different labels in different rows. The label of most rows counts; 1 tie is left out."
    ]


def test_the_simulated_annotator_skips_a_tie(tmp_path: Path) -> None:
    found, _ = read(tmp_path, [("slow", "pos"), ("slow", "neg"), *SOUP], gold="y")
    items: dict[str, Item] = {each.item.item_id: each.item for each in found}
    oracle = Oracle(OracleSpec(kind="oracle", gold="y"), MOODS, 0, lambda ids: [items[each] for each in ids])
    queries = [Query(item_id, item_id, 1, Role.POOL, n, Reason(""), 1) for n, item_id in enumerate(items)]
    oracle.ensure(queries, (), lambda: None)
    answers: dict[str, Annotation] = {
        each.query_id: each for each in oracle.poll(None, lambda: None).annotations
    }
    found_answers = {
        items[item_id].text: (answer.value, answer.skipped) for item_id, answer in answers.items()
    }
    assert found_answers == {"slow": (None, True), "soup": ("neg", False), "garden": ("pos", False)}


def test_ids_of_several_texts_are_counted(tmp_path: Path) -> None:
    rows = [("aa", "pos"), ("ab", "neg"), ("ba", "pos"), ("bb", "neg"), ("c", "pos"), ("c", "pos")]
    _, notes = read(tmp_path, rows, id="id")
    assert notes == ["d.jsonl: 2 ids stand for several texts (column 'id'); join labels back by `item_id`."]


def test_a_column_that_cannot_be_kept_is_left_out_with_a_word(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "photo": [b"\x89", b"\x90"]}), tmp_path / "d.parquet")
    source, counts = DataSource(locate("d.parquet", tmp_path), "text"), ImportCounts()
    assert [each.item.fields for each in read_items(source, MOODS, counts)] == [{}, {}]
    assert import_notes(source, counts) == [
        "d.parquet: column 'photo' is left out: it holds a value of type bytes, which cannot be kept."
    ]
