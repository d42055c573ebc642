"""Export writes the user's rows with their labels, in each format."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from star_al.config.spec import DataSpec, OptionsPattern, TaskSpec
from star_al.data.export import ModelAnswer, check_suffix, export_rows, write_rows
from star_al.data.items import ImportCounts, read_items
from star_al.data.out_files import check_out
from star_al.data.source import DataSource, locate
from star_al.errors import DataError, StoreError
from star_al.task import ClosedTask
from star_al.types import Item, JsonObject, Label

NEWS = ClosedTask(TaskSpec(kind="classification", labels=("sport", "business")))
CHOICE = ClosedTask(TaskSpec(kind="multiple_choice"))


def imported(folder: Path, rows: list[dict[str, Any]], task: ClosedTask, data: DataSpec) -> list[Item]:
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = DataSource(locate("in.jsonl", folder), text=data.text, id=data.id, options=data.options)
    return [each.item for each in read_items(source, task, ImportCounts())]


def test_a_row_has_the_users_columns_and_the_label(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl", text="body", id="key")
    [item] = imported(tmp_path, [{"key": 7, "body": "t", "label": "x", "meta": [1]}], NEWS, data)
    label = Label(item.item_id, "sport", version=2, source="annotator", round_index=3)
    assert list(export_rows([(item, label, None)], NEWS, data)) == [
        {
            "body": "t",
            "key": 7,
            "data_label": "x",
            "meta": [1],
            "item_id": item.item_id,
            "label": "sport",
            "source": "annotator",
            "round": 3,
            "version": 2,
        }
    ]


def test_predictions_fill_what_people_did_not_label() -> None:
    data = DataSpec(path="in.jsonl")
    rows = [
        (Item("1", "a"), Label("1", "sport"), ModelAnswer("business", (0.1, 0.9), 0.3)),
        (Item("2", "b"), None, ModelAnswer("business", (0.25, 0.75), 0.6, 0.4, 0.2)),
        (Item("3", "c"), None, None),
    ]
    found = list(export_rows(rows, NEWS, data, with_predictions=True))
    assert [(row["kind"], row["label"], row["predicted"], row["confidence"]) for row in found] == [
        ("human", "sport", None, None),
        ("model", None, "business", 0.75),
        (None, None, None, None),
    ]
    assert [tuple(row.values())[-5:] for row in found] == [
        (None,) * 5,
        (0.6, 0.4, 0.2, 0.25, 0.75),
        (None,) * 5,
    ]
    assert list(found[0]) == [
        *("text", "item_id", "label", "source", "round", "version", "kind", "predicted", "confidence"),
        *("total_uncertainty", "aleatoric", "epistemic", "probability_sport", "probability_business"),
    ]
    assert all(list(row) == list(found[0]) for row in found)


def test_labels_of_any_spelling_name_a_column_of_their_own(tmp_path: Path) -> None:
    names = ('=cmd|"/c calc"!A1', "a,b\nc", "Δ é", "confidence", "C")
    task, data = ClosedTask(TaskSpec(kind="classification", labels=names)), DataSpec(path="in.jsonl")
    given = {"text": "t", "probability_C": "mine", "epistemic": "mine, too"}
    [item] = imported(tmp_path, [given], task, data)
    answer = ModelAnswer("C", (0.1, 0.15, 0.2, 0.25, 0.3), 1.5)
    for suffix in (".jsonl", ".csv", ".parquet"):
        write_rows(
            tmp_path / f"out{suffix}", export_rows([(item, None, answer)], task, data, with_predictions=True)
        )
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        [in_csv] = csv.DictReader(file)
    [in_lines] = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    [in_parquet] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row in (in_csv, in_lines, in_parquet):
        assert [float(row[f"probability_{name}"]) for name in names] == list(answer.probabilities_C)
        assert (row["data_probability_C"], row["data_epistemic"]) == ("mine", "mine, too")
        assert float(row["confidence"]) == 0.3
    assert not any(name.startswith(("=", "+", "-", "@", "\t")) for name in in_csv)


def test_options_that_few_items_have_make_no_column_of_two_meanings(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl", options="o")
    given = [
        {"text": text, "o": list("wxyz")[:n], "probability_C": "mine"} for text, n in (("q", 2), ("r", 3))
    ]
    two, three = imported(tmp_path, given, CHOICE, data)
    answers = [
        (two, None, ModelAnswer("A", (0.7, 0.3), 0.6)),
        (three, None, ModelAnswer("C", (0.2, 0.2, 0.6), 1)),
    ]
    first, second = export_rows(answers, CHOICE, data, with_predictions=True)
    assert "probability_C" not in first and second["probability_C"] == 0.6
    assert first["data_probability_C"] == second["data_probability_C"] == "mine"
    [plain] = export_rows([(two, None, None)], CHOICE, data)
    assert plain["probability_C"] == "mine"  # without predictions it is nobody else's name


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ("o", {"text": "q", "o": ["x", "y"], "g": 1}),
        (("o1", "o2", "o3"), {"text": "q", "o1": "x", "o2": "y", "o3": None, "g": 1}),
        (
            OptionsPattern(pattern=r"^(?P<key>\d)\) (?P<option>.*)$"),
            {"text": "q\n1) x\n2) y", "g": 1, "options": ["x", "y"]},
        ),
        ("o", {"text": "q", "o": {"text": ["x", "y"], "label": ["1", "2"]}, "g": 1}),
    ],
)
def test_multiple_choice_rows_come_back_as_they_were(
    tmp_path: Path, options: Any, row: dict[str, Any]
) -> None:
    data = DataSpec(path="in.jsonl", options=options)
    [item] = imported(tmp_path, [row], CHOICE, data)
    answer = ModelAnswer("A", (0.6, 0.4), 0.5)
    labelled, predicted = export_rows(
        [(item, Label(item.item_id, "B"), None), (item, None, answer)], CHOICE, data, with_predictions=True
    )
    assert {name: labelled[name] for name in row} == row
    assert (labelled["label"], labelled["label_text"]) == ("B", "y")
    assert (predicted["predicted"], predicted["predicted_text"]) == ("A", "x")
    assert set(labelled) - set(row) == {
        *("item_id", "label", "label_text", "source", "round", "version"),
        *("kind", "predicted", "predicted_text", "confidence", "probability_A", "probability_B"),
        *("total_uncertainty", "aleatoric", "epistemic"),
    }


def test_a_users_columns_never_hide_another(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl", text="label")
    row = {"label": "text", "data_label": 1, "data_data_label": 2, "round": 3}
    [item] = imported(tmp_path, [row], NEWS, data)
    [found] = export_rows([(item, None, None)], NEWS, data)
    assert sorted(map(str, found.values())) == sorted(
        map(str, ["text", 1, 2, 3, item.item_id, None, None, None, None])
    )
    assert (found["data_label"], found["label"], found["data_round"]) == (1, None, 3)


ROWS: list[dict[str, Any]] = [
    {"a": '=1+1, "x"\nnew', "n": 1, "f": 1, "m": 1, "l": ["é"], "b": True},
    {"a": "b", "n": None, "f": 0.5, "m": "x", "l": None, "b": None, "late": 2**70},
]


def test_every_format_holds_all_rows_and_columns(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".csv", ".parquet"):
        assert write_rows(tmp_path / f"out{suffix}", iter(ROWS)) == 2
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        header, first, second = csv.reader(file)
    assert header == ["a", "n", "f", "m", "l", "b", "late"]
    assert first == ['=1+1, "x"\nnew', "1", "1", "1", '["é"]', "true", ""]
    assert second == ["b", "", "0.5", "x", "", "", str(2**70)]
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.to_pylist() == [
        {"a": '=1+1, "x"\nnew', "n": 1, "f": 1.0, "m": "1", "l": '["é"]', "b": True, "late": None},
        {"a": "b", "n": None, "f": 0.5, "m": '"x"', "l": None, "b": None, "late": str(2**70)},
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl", "out.parquet"]


def test_no_rows_make_an_empty_file(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".csv", ".parquet"):
        assert write_rows(tmp_path / f"out{suffix}", []) == 0
        assert (tmp_path / f"out{suffix}").is_file()


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def failing() -> Iterator[JsonObject]:
        yield {"a": 1}
        raise DataError("the model failed")

    out = tmp_path / "out.csv"
    out.write_text("before")
    with pytest.raises(DataError, match="the model failed"):
        write_rows(out, failing())
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


def test_an_unknown_suffix_or_folder_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"out\.xlsx: unknown kind of file. Write to one of .jsonl, .csv"):
        check_suffix(tmp_path / "out.xlsx")
    with pytest.raises(StoreError, match=r"absent/out\.csv: cannot be written \(No such file"):
        write_rows(tmp_path / "absent" / "out.csv", [])


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "shared" / "real.csv")
    for rows in ([{"a": 1}], [{"a": 2}]):  # a link to nothing yet, then one to a file
        write_rows(tmp_path / "out.csv", rows)
        assert (tmp_path / "out.csv").is_symlink()
        assert (tmp_path / "shared" / "real.csv").read_text().split() == ["a", str(rows[0]["a"])]


def test_what_is_no_regular_file_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "pipe.csv")
    with pytest.raises(StoreError, match=r"link\.csv: this is not a regular file"):
        write_rows(tmp_path / "link.csv", [{"a": 1}])
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_file_to_keep_is_known_by_whatever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept, saved = tmp_path / "data.csv", tmp_path / "saved"
    kept.write_text("text\n")
    saved.mkdir()
    Path("link.csv").symlink_to(kept)
    Path("hard.csv").hardlink_to(kept)
    for name in ("data.csv", "saved/../data.csv", "link.csv", "hard.csv", "saved/data.csv"):
        with pytest.raises(DataError, match="this is the data, which would be overwritten"):
            check_out(Path(name), {"nothing": None, "the data": saved if name == "saved/data.csv" else kept})
    check_out(Path("other.csv"), {"the data": kept, "the folder": saved})
