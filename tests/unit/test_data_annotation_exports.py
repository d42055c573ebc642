"""What annotation tools export is read as flat rows with plain labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from star_al.config.spec import ClassificationSpec, LabelSpec
from star_al.data.annotation_exports import plain_label
from star_al.data.item_labels import parse_answer
from star_al.data.readers import read_rows
from star_al.data.source import locate
from star_al.errors import DataError
from star_al.task.classification import Classification
from star_al.types import Item, JsonValue


def rows(folder: Path, values: list[Any], name: str = "d.json") -> list[dict[str, Any]]:
    lines = name.endswith("l")
    text = "".join(json.dumps(value) + "\n" for value in values) if lines else json.dumps(values, indent=1)
    (folder / name).write_text(text)
    return [row.values for row in read_rows(locate(name, folder))]


def annotation(*choices: str, cancelled: bool = False) -> dict[str, Any]:
    result = {"from_name": "mood", "type": "choices", "value": {"choices": list(choices)}}
    return {"was_cancelled": cancelled, "result": [result, {"from_name": "note", "value": {"text": ["x"]}}]}


def test_tasks_of_label_studio_have_a_column_for_each_choice(tmp_path: Path) -> None:
    tasks = [
        {"id": 1, "data": {"text": "a"}, "annotations": [annotation("neg")]},
        {"id": 2, "data": {"text": "b", "id": "own"}, "annotations": []},
        {
            "id": 3,
            "data": {"text": "c"},
            "annotations": [annotation("pos"), annotation("neg"), annotation("pos")],
        },
        {"id": 4, "data": {"text": "d"}, "annotations": [annotation("pos"), annotation("neg")]},
        {"id": 5, "data": {"text": "e"}, "annotations": [annotation("pos", cancelled=True)]},
        {"id": 6, "data": {"text": "f", "mood": "own"}, "completions": [annotation("pos")]},
    ]
    assert rows(tmp_path, tasks) == [
        {"text": "a", "id": 1, "mood": ["neg"]},
        {"text": "b", "id": "own"},
        {"text": "c", "id": 3, "mood": ["pos"]},
        {"text": "d", "id": 4, "mood": None},
        {"text": "e", "id": 5},
        {"text": "f", "mood": "own", "id": 6, "mood_chosen": ["pos"]},
    ]


def test_choices_in_another_order_are_the_same(tmp_path: Path) -> None:
    ties = [annotation("a", "b"), annotation("b", "a")]
    tasks = [{"data": {"text": "t"}, "annotations": votes} for votes in (ties, [annotation("b"), *ties])]
    assert [row["mood"] for row in rows(tmp_path, tasks)] == [["a", "b"], ["a", "b"]]


def test_written_answers_of_label_studio_are_read(tmp_path: Path) -> None:
    def written(*texts: Any) -> dict[str, Any]:
        return {
            "result": [{"from_name": "answer", "type": "textarea", "value": {"text": text}} for text in texts]
        }

    region = {"from_name": "ner", "type": "labels", "value": {"start": 0, "text": "t", "labels": ["PER"]}}
    votes = [
        [written(["hello"])],
        [written("hello")],
        [written(["one", "two"], ["three"])],
        [written(["x"]), written(["y"]), written(["y"])],
        [written(["x"]), written(["y"])],
        [written([]), {"result": [region]}],
    ]
    found = rows(tmp_path, [{"data": {"text": "t"}, "annotations": each} for each in votes])
    assert [row.get("answer", "no column") for row in found] == [
        ["hello"], ["hello"], ["one", "two", "three"], ["y"], None, "no column"
    ]  # fmt: skip
    assert "ner" not in found[-1]


def test_records_of_argilla_have_a_column_for_each_question(tmp_path: Path) -> None:
    answer = {"value": "pos", "status": "submitted"}
    records = [
        {
            "id": "1",
            "fields": {"text": "a"},
            "responses": {"mood": [answer, answer | {"value": "neg"}, answer]},
        },
        {
            "fields": {"text": "b"},
            "metadata": {"page": 3},
            "responses": {"mood": [answer | {"status": "draft"}]},
        },
        {"fields": {"text": "c"}, "responses": None},
    ]
    assert rows(tmp_path, records, "d.jsonl") == [
        {"text": "a", "id": "1", "mood": "pos"}, {"page": 3, "text": "b"}, {"text": "c"}
    ]  # fmt: skip


def test_answers_that_prodigy_rejected_are_no_labels(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        [
            {"text": "a", "accept": ["neg"], "answer": "accept"},
            {"text": "b", "accept": ["neg"], "answer": "reject"},
            {"text": "c", "label": "neg", "answer": "ignore", "_input_hash": 1},
            {"question": "d", "answer": "reject"},
        ],
        "d.jsonl",
    )
    assert [row.get("accept", row.get("label")) for row in found] == [["neg"], None, None, None]
    assert found[3] == {"question": "d", "answer": "reject"}


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("neg", "neg"),
        (["neg"], "neg"),
        (["neg", "neg"], "neg"),
        ([], None),
        ({"choices": ["neg"]}, "neg"),
        ('{"choices": ["neg"]}', "neg"),
        ('["neg"]', "neg"),
        ('["neg', '["neg'),
        ([3], 3),
        (None, None),
        (1.0, 1.0),
    ],
)
def test_a_list_of_one_is_its_label(cell: Any, label: Any) -> None:
    assert plain_label(cell) == label


def test_a_list_of_several_is_refused_with_its_labels() -> None:
    with pytest.raises(DataError, match=r"holds several labels \(neg, pos\), but a text gets one"):
        plain_label(["neg", "pos"])
    with pytest.raises(DataError, match="holds several labels"):
        plain_label([[0, 5, "PER"], [7, 9, "ORG"]])


class Pairs(Classification):
    """A kind of task whose labels may be lists of two names in the data."""

    takes_lists = True

    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        return super()._column(options, " > ".join(map(str, value)) if isinstance(value, list) else value)


@pytest.mark.parametrize("cell", [["a", "b"], {"choices": ["a", "b"]}, "a > b"])
def test_a_list_is_one_label_where_the_kind_says_so(cell: JsonValue) -> None:
    names = (LabelSpec(name="a > b"), LabelSpec(name="b > a"))
    spec = ClassificationSpec(kind="classification", labels=names)
    item = Item("i", "text")
    assert parse_answer(Pairs(spec), item, cell) == "a > b"
    if not isinstance(cell, str):
        with pytest.raises(DataError, match="holds several labels"):
            parse_answer(Classification(spec), item, cell)
