"""Rows become items: ids, the user's columns, labels, options, and refusals with their line number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_al.config.file import load_campaign
from star_al.config.spec import ClassificationSpec, MultipleChoiceSpec, OptionsPattern
from star_al.data import source as sources
from star_al.data.item_labels import OPTION_KEYS, content_id, parse_answer
from star_al.data.item_reader import ImportCounts
from star_al.data.items import read_items, without_labels
from star_al.data.source import DataSource, data_source, locate
from star_al.errors import DataError
from star_al.task import ClosedTask, closed, make_task
from star_al.types import SourceItem

Rows = Sequence[Mapping[str, Any]]

NEWS = closed(make_task(ClassificationSpec(kind="classification", labels=("sport", "business"))))
CHOICE = closed(make_task(MultipleChoiceSpec(kind="multiple_choice")))
OBQA = OptionsPattern(
    pattern=r"^Answer(?P<key>[A-Z]):? (?P<option>.*)$|^The correct answer is\s*$",
)


def source(folder: Path, rows: Rows, **columns: Any) -> DataSource:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSource(locate(path.name, folder), **({"text": "text"} | columns))


def read(
    folder: Path, rows: Rows, task: ClosedTask = NEWS, counts: ImportCounts | None = None, **columns: Any
) -> list[SourceItem]:
    return list(read_items(source(folder, rows, **columns), task, counts or ImportCounts()))


def refusal(folder: Path, rows: Rows, task: ClosedTask = NEWS, **columns: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, rows, task, **columns)
    return str(caught.value)


# -- ids and columns -----------------------------------------------------------------------------------


def test_an_item_has_its_text_its_users_id_and_all_other_columns(tmp_path: Path) -> None:
    row = {"text": "t", "key": 7, "meta": {"a": [1, None]}, "gold": "sport", "given": None}
    [found] = read(tmp_path, [row], id="key", gold="gold", label="given")
    assert found.item.text == "t"
    assert found.item.external_id == "7"
    assert found.item.fields == {"key": 7, "meta": {"a": [1, None]}, "gold": "sport", "given": None}
    assert found.item.item_id == content_id("t")
    assert found.given_label is None


def test_ids_depend_on_text_and_options_alone() -> None:
    assert content_id("a") == "b8600b1c7951262bf0656b7ec6bcb781"  # ids in databases must stay what they are
    assert (
        len({content_id("a"), content_id("b"), content_id("a", ["x"]), content_id('a"', []), content_id("")})
        == 5
    )


@given(st.text(), st.lists(st.text(), max_size=3), st.text(), st.lists(st.text(), max_size=3))
def test_different_content_has_a_different_id(
    text: str, options: list[str], other: str, others: list[str]
) -> None:
    same = (text, options) == (other, others)
    assert (content_id(text, options) == content_id(other, others)) == same


def test_repeats_are_yielded_and_empty_texts_counted(tmp_path: Path) -> None:
    counts = ImportCounts()
    rows: Rows = [{"text": "a"}, {"text": " \n\u3000"}, {"text": "a", "n": 2}, {"text": ""}, {"text": None}]
    found = read(tmp_path, rows, counts=counts)
    assert [each.item.text for each in found] == ["a", "a"]
    assert found[0].item.item_id == found[1].item.item_id
    assert (counts.rows, counts.empty) == (5, 3)


def test_nul_and_half_surrogates_become_replacement_characters_everywhere(tmp_path: Path) -> None:
    counts = ImportCounts()
    row = {"text": "a\0\0b \ud83d 🐙", "m\0eta": ["\0", {"k\ude00": "é"}]}
    [found] = read(tmp_path, [row], counts=counts)
    assert found.item.text == "a\ufffd\ufffdb \ufffd 🐙"
    assert found.item.fields == {"m\ufffdeta": ["\ufffd", {"k\ufffd": "é"}]}
    assert (counts.nul_replaced, counts.surrogates_replaced) == (4, 2)
    json.dumps(found.item.fields).encode()
    found.item.text.encode()


def test_numbers_are_texts_and_values_without_json_form_become_none_or_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {"text": [3.5, 4.0], "day": [date(2024, 2, 29), None], "x": [float("nan"), float("inf")]}
    pq.write_table(pa.table(columns), path)
    found = list(read_items(DataSource(locate(path.name, tmp_path), text="text"), NEWS, ImportCounts()))
    assert [each.item.text for each in found] == ["3.5", "4.0"]
    assert [each.item.fields for each in found] == [
        {"day": "2024-02-29", "x": None},
        {"day": None, "x": "inf"},
    ]


def test_bytes_are_refused_in_a_column_that_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": [b"\x89PNG"]}), path)
    with pytest.raises(DataError, match=r"rows\.parquet, row 1: column 'text' holds a value of type bytes"):
        list(read_items(DataSource(locate(path.name, tmp_path), text="text"), NEWS, ImportCounts()))


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    message = refusal(tmp_path, [{"texts": "a", "n": 1}])
    assert (
        message == "rows.jsonl, line 1: there is no column 'text'. Did you mean 'texts'? Columns: texts, n."
    )
    assert "line 2: there is no column 'text'" in refusal(tmp_path, [{"text": "a"}, {"n": 1}])
    assert "no row has the column 'key'" in refusal(tmp_path, [{"text": "a"}], id="key")


@pytest.mark.parametrize("text", [["a"], {"a": 1}, True])
def test_a_text_that_is_no_text_is_refused(tmp_path: Path, text: object) -> None:
    assert "line 1: column 'text' holds a" in refusal(tmp_path, [{"text": text}])


def test_a_file_of_empty_texts_is_refused(tmp_path: Path) -> None:
    assert "column 'text' is empty in every row" in refusal(tmp_path, [{"text": ""}, {"text": " "}])


# -- labels --------------------------------------------------------------------------------------------


def test_given_labels_are_canonical_or_none(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "y": " Sport "},
        {"text": "b", "y": ""},
        {"text": "c"},
        {"text": "d", "y": "business"},
    ]
    found = read(tmp_path, rows, label="y")
    assert [each.given_label for each in found] == ["sport", None, None, "business"]


def test_a_label_outside_the_set_is_refused_with_line_and_hint(tmp_path: Path) -> None:
    rows = [{"text": "a", "y": "sport"}, {"text": "b", "y": "sports", "id": "u7"}]
    message = refusal(tmp_path, rows, label="y")
    assert message.startswith("rows.jsonl, line 2: column 'y': ")
    assert "'sports' is not in the label set; did you mean 'sport'?" in message
    assert "line 2: column 'y'" in refusal(tmp_path, rows, gold="y")


def test_every_row_with_a_text_needs_its_gold_label(tmp_path: Path) -> None:
    rows: Rows = [{"text": "a", "y": "sport"}, {"text": "", "y": None}, {"text": "b", "y": " "}]
    assert "line 3: column 'y' is empty" in refusal(tmp_path, rows, gold="y")
    assert "line 1: there is no column 'y'" in refusal(tmp_path, [{"text": "a"}], gold="y")


def test_a_label_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    assert "no row has the column 'y'" in refusal(tmp_path, [{"text": "a"}], label="y")
    path = tmp_path / "rows.csv"
    path.write_text("text,yy\na,sport\n")
    with pytest.raises(DataError, match=r"line 2: there is no column 'y'\. Did you mean 'yy'"):
        list(
            read_items(DataSource(locate(path.name, tmp_path), text="text", label="y"), NEWS, ImportCounts())
        )


def test_texts_to_predict_need_neither_labels_nor_ids(tmp_path: Path) -> None:
    rows = [{"text": "a", "y": "unheard of"}, {"text": "b"}]
    unlabelled = without_labels(source(tmp_path, rows, label="y", gold="y", id="key"))
    items = [each.item for each in read_items(unlabelled, NEWS, ImportCounts())]
    assert [(item.text, item.external_id, dict(item.fields)) for item in items] == [
        ("a", None, {"y": "unheard of"}),
        ("b", None, {}),
    ]


# -- multiple choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colon", ["", ":"])
def test_options_inside_the_text_leave_it(tmp_path: Path, colon: str) -> None:
    """This is the format of OBQA, whose train and test files differ by a colon."""
    question = f"Stars are\nAnswerA{colon} warm lights\nAnswerB{colon} nitrate\nThe correct answer is "
    [found] = read(tmp_path, [{"text": question, "answer": "B"}], CHOICE, options=OBQA, gold="answer")
    assert found.item.text == "Stars are"
    assert found.item.options == ("warm lights", "nitrate")
    assert found.item.fields == {"text": question, "answer": "B"}  # the text as it was is kept
    assert found.item.item_id == content_id("Stars are", ("warm lights", "nitrate"))


def test_options_come_from_a_list_a_json_cell_or_a_pair_of_lists(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "a", "o": ["x", 2]},
        {"text": "b", "o": '["x", "y", "z"]'},
        {"text": "c", "o": {"text": ["x", "y"], "label": ["A", "B"]}},
    ]
    found = [each.item for each in read(tmp_path, rows, CHOICE, options="o")]
    assert [item.options for item in found] == [("x", "2"), ("x", "y", "z"), ("x", "y")]
    assert [dict(item.fields) for item in found] == [{}, {"o": rows[1]["o"]}, {"o": rows[2]["o"]}]


def test_options_come_from_columns_of_which_the_last_may_be_empty(tmp_path: Path) -> None:
    one = {"text": "a", "o1": "x", "o2": "y"}
    rows: Rows = [{**one, "o3": None}, {**one, "o3": "z"}]
    found = [each.item for each in read(tmp_path, rows, CHOICE, options=("o1", "o2", "o3"))]
    assert [item.options for item in found] == [("x", "y"), ("x", "y", "z")]
    assert found[0].item_id != found[1].item_id
    assert found[0].fields == {}


def test_gold_answers_by_the_keys_of_the_data_become_letters(tmp_path: Path) -> None:
    numbered = OptionsPattern(pattern=r"^(?P<key>\d+)\) (?P<option>.*)$")
    rows = [{"text": "q\n1) one\n2) two\n3) 1", "g": 2, "y": "3"}]
    [found] = read(tmp_path, rows, CHOICE, options=numbered, gold="g", label="y")
    assert found.item.fields[OPTION_KEYS] == ["1", "2", "3"]
    assert parse_answer(CHOICE, found.item, 2) == "B"
    assert parse_answer(CHOICE, found.item, "1") == "A"  # the key comes before the text of an option
    assert parse_answer(CHOICE, found.item, "two") == "B"
    assert parse_answer(CHOICE, found.item, None) is None
    assert found.given_label == "C"
    with pytest.raises(DataError):
        parse_answer(CHOICE, found.item, "4")


def test_keys_in_another_order_than_the_alphabet_still_lead_to_their_option(tmp_path: Path) -> None:
    rows = [{"text": "q", "o": {"text": ["x", "y"], "label": ["B", "A"]}, "g": "A"}]
    [found] = read(tmp_path, rows, CHOICE, options="o", gold="g", label="g")
    assert found.given_label == "B"  # the second option, which the data calls A


def test_equal_options_are_told_apart_by_their_letters_alone(tmp_path: Path) -> None:
    """OBQA has such a question."""
    row = {"text": "q", "o": ["same", "x", "Same"], "g": "C"}
    [found] = read(tmp_path, [row], CHOICE, options="o", label="g")
    assert (found.item.options, found.given_label) == (("same", "x", "Same"), "C")
    assert "'same' is not in the label set" in refusal(
        tmp_path, [row | {"g": "same"}], CHOICE, options="o", label="g"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["x"], "found 1 option; task.kind: multiple_choice takes 2 to 26"),
        ([], "0 options"),
        ([str(n) for n in range(27)], "27 options"),
        (["x", " "], "option 2 is empty"),
        (["x", None, "y"], "option 2 is empty"),
        ("x, y", "text that is not a JSON list of options"),
        (7, "of type int, not a list"),
        ({"text": ["x", "y"], "label": ["A", "A"]}, "keys A, A; each needs its own"),
        ({"text": ["x", "y"], "label": ["A"]}, "each needs its own"),
    ],
)
def test_unusable_options_are_refused_with_their_line(tmp_path: Path, options: object, message: str) -> None:
    rows: Rows = [{"text": "fine", "o": ["x", "y"]}, {"text": "t", "o": options}]
    refused = refusal(tmp_path, rows, CHOICE, options="o")
    assert refused.startswith("rows.jsonl, line 2: ")
    assert message in refused


# -- sources of a campaign -----------------------------------------------------------------------------


def campaign(folder: Path, evaluation: str, data: str = "") -> Path:
    path = folder / "campaign.yaml"
    path.write_text(
        f"name: c\ndata: {{path: rows.jsonl, id: key, label: given{data}}}\n"
        "task: {kind: classification, labels: [sport, business]}\n"
        f"model: {{name: m}}\nannotator: {{kind: oracle, gold: y}}\nevaluation: {evaluation}\n"
    )
    return path


def test_sources_follow_the_campaign_file(tmp_path: Path) -> None:
    for name in ("rows.jsonl", "test.csv"):
        (tmp_path / name).write_text("x")
    file = load_campaign(campaign(tmp_path, "{kind: test, path: test.csv, label: truth}"))
    pool, test = data_source(file), sources.test_source(file)
    assert (pool.table.path, pool.text, pool.id, pool.label, pool.gold) == (
        tmp_path / "rows.jsonl",
        "text",
        "key",
        "given",
        "y",
    )
    assert test == replace(
        pool, table=locate("test.csv", tmp_path, split="test"), label="truth", gold="truth"
    )
    assert sources.test_source(load_campaign(campaign(tmp_path, "{kind: none}"))) is None


def test_a_test_split_of_the_same_hub_data_has_its_subset(tmp_path: Path) -> None:
    path = campaign(tmp_path, "{kind: test, path: org/news, split: dev}", ", subset: en")
    path.write_text(path.read_text().replace("rows.jsonl", "org/news"))
    found = sources.test_source(load_campaign(path))
    assert found is not None
    assert (found.table.subset, found.table.split, found.label) == ("en", "dev", "given")
