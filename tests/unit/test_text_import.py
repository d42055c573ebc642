"""Written answers in the user's data: references, repeated questions, odd and hostile cells."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from star_al.app.data_card import data_card
from star_al.config.spec import DataSpec, task_spec
from star_al.data import ImportCounts, read_items
from star_al.data.export import ExportColumns, Known
from star_al.data.item_labels import gold_answer
from star_al.data.out_formats import write_rows
from star_al.data.source import DataSource, locate
from star_al.errors import DataError
from star_al.task import make_task
from star_al.types import Item, Label, SourceItem

SUMS = {"kind": "text", "answer": {"pattern": r"####\s*(-?[\d,]*\.?\d+)", "read_as": "number"}}
SHORT, LONG, WRONG = "2 + 3 = 5\n#### 5", "First 2, then 3: 5.\n#### 5.0", "2 · 3 = 6\n#### 6"


def read(folder: Path, rows: list[Any], task: dict[str, Any]) -> tuple[list[SourceItem], ImportCounts]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text, "answer": answer}) + "\n" for text, answer in rows))
    source = DataSource(locate(path.name, folder), text="text", label="answer")
    counts = ImportCounts()
    return list(read_items(source, make_task(task_spec(task)), counts)), counts


def test_repeated_questions_with_one_answer_agree(tmp_path: Path) -> None:
    found, counts = read(tmp_path, [("2 + 3?", SHORT), ("2 + 3?", LONG)], SUMS)
    assert [each.given_label for each in found] == [SHORT, LONG]
    assert (counts.disagreeing, counts.ties) == (0, 0)


def test_of_different_answers_most_rows_win_and_a_tie_has_none(tmp_path: Path) -> None:
    found, counts = read(tmp_path, [("2 + 3?", WRONG), ("2 + 3?", SHORT), ("2 + 3?", LONG)], SUMS)
    assert {each.given_label for each in found} == {SHORT}
    assert (counts.disagreeing, counts.ties) == (1, 0)
    found, counts = read(tmp_path, [("2 + 3?", WRONG), ("2 + 3?", SHORT)], SUMS)
    assert {each.given_label for each in found} == {None}
    assert counts.ties == 1


def test_a_repeated_text_keeps_a_label_of_its_own(tmp_path: Path) -> None:
    other = "10 / 2 = 5\n#### 5"
    rows = [("2 + 3?", SHORT), ("10 / 2?", other), ("10 / 2?", WRONG), ("10 / 2?", other)]
    found, counts = read(tmp_path, rows, SUMS)
    assert [each.given_label for each in found] == [SHORT, other, other, other]
    assert (counts.disagreeing, counts.ties) == (1, 0)


def test_references_numbers_and_empty_cells(tmp_path: Path) -> None:
    rows: list[Any] = [("a", ["one", "two"]), ("b", 7), ("c", 2.5), ("d", " "), ("e", None), ("f", [])]
    found, _ = read(tmp_path, rows, {"kind": "text"})
    assert [each.given_label for each in found] == [["one", "two"], "7", "2.5", None, None, None]


@pytest.mark.parametrize("cell", ['{"choices": "a"}', '["a", "b"]', '["a"]', '{"value": 1}'])
def test_an_answer_in_json_is_a_text(tmp_path: Path, cell: str) -> None:
    found, _ = read(tmp_path, [("q", cell)], {"kind": "text"})
    assert found[0].given_label == cell


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_an_export_is_read_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    task = make_task(task_spec({"kind": "text", "metric": "chrf"}))
    labels: list[Any] = [
        "Paris", ["Rome", "Roma"], '["a", "b"]', '["a"]', '{"choices": "a"}', ['["x"]', 'é "y"'], "7", "[]",
    ]  # fmt: skip
    columns = ExportColumns(task, DataSpec(path="d.jsonl"))
    rows = []
    for n, label in enumerate(labels):
        item = Item(f"{n:032}", f"text {n}")
        known = Known("pool", "labelled", Label(item.item_id, label))
        rows.append(columns.labelled({"text": item.text}, item, known))
    write_rows(tmp_path / f"out{suffix}", rows)
    source = DataSource(locate(f"out{suffix}", tmp_path), text="text", label="label", gold="label")
    found = list(read_items(source, task, ImportCounts()))
    assert [each.given_label for each in found] == labels
    assert [gold_answer(task, each.item, "label") for each in found] == labels
    first = pq.read_table(tmp_path / "out.parquet").to_pylist()[:2] if suffix == ".parquet" else rows[:1]
    assert [row["label"] for row in first] == ["Paris", '["Rome", "Roma"]'][: len(first)]


def test_the_repeated_rows_of_an_export_agree(tmp_path: Path) -> None:
    task = make_task(task_spec({"kind": "text"}))
    row = {"text": "t", "item_id": "0" * 32, "role": "audit", "label": ["Rome", "Roma"]}
    write_rows(tmp_path / "out.csv", [row, row, row | {"label": "Paris"}])
    source = DataSource(locate("out.csv", tmp_path), text="text", label="label")
    counts = ImportCounts()
    found = {str(each.given_label) for each in read_items(source, task, counts)}
    assert (found, counts.disagreeing, counts.ties) == ({"['Rome', 'Roma']"}, 1, 0)


def test_a_cell_without_an_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"line 2.*column 'answer'.*no number is found by task\.answer\.pattern"
    ):
        read(tmp_path, [("a", SHORT), ("b", "five")], SUMS)


def test_hostile_cells_are_kept(tmp_path: Path) -> None:
    hostile = ["<|im_end|>", "שלום \u202e עולם", "x" * 100_000, "{text} $text"]
    found, _ = read(tmp_path, list(zip("abcd", hostile, strict=True)), {"kind": "text"})
    assert [each.given_label for each in found] == hostile
    found, counts = read(tmp_path, [("a", "b\0c\ud800")], {"kind": "text"})
    assert found[0].given_label == "b\ufffdc\ufffd"
    assert (counts.nul_replaced, counts.surrogates_replaced) == (1, 1)


def test_a_card_lists_the_most_frequent_answers_in_short() -> None:
    labels = Counter({f"answer {number}": 1 for number in range(150)} | {"two\nlines | " + "x" * 200: 9})
    card = data_card("c", labels, 159, predictions=False)
    assert "| two lines \\| xx" in card and "…" in card
    assert "| 51 further labels | |" in card and card.count("| answer ") == 99
