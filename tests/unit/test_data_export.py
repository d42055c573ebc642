"""Export writes the user's rows with what is known of them, in each format."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from star_al.common.files import replacing
from star_al.config.spec import ClassificationSpec, DataSpec, MultipleChoiceSpec, OptionsPattern
from star_al.data.export import UNKNOWN, ExportColumns, GivenAnswer, Known, ModelAnswer, options_found
from star_al.data.item_reader import ImportCounts, SourceRow
from star_al.data.items import read_source_rows
from star_al.data.out_files import check_out, write_text
from star_al.data.out_formats import OutOptions, check_format, write_rows
from star_al.data.source import DataSource, locate
from star_al.errors import DataError, StoreError
from star_al.task import ClosedTask, closed, make_task
from star_al.types import Item, JsonObject, JsonValue, Label

NEWS = closed(make_task(ClassificationSpec(kind="classification", labels=("sport", "business"))))
CHOICE = closed(make_task(MultipleChoiceSpec(kind="multiple_choice")))
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def labelled(item: Item, value: str, **known: Any) -> Known:
    return Known("pool", "labelled", Label(item.item_id, value), **known)


def read(folder: Path, rows: list[dict[str, Any]], task: ClosedTask, data: DataSpec) -> list[SourceRow]:
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = DataSource(locate("in.jsonl", folder), text=data.text, id=data.id, options=data.options)
    return list(read_source_rows(source, task, ImportCounts()))


def one(folder: Path, row: dict[str, Any], task: ClosedTask, data: DataSpec) -> tuple[JsonObject, Item]:
    [(values, found)] = read(folder, [row], task, data)
    assert found is not None
    return options_found(found.item, data) | values, found.item


def test_a_row_has_the_users_columns_and_what_is_known(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl", text="body", id="key")
    own, item = one(tmp_path, {"key": 7, "body": "t", "label": "x", "meta": [1]}, NEWS, data)
    label = Label(item.item_id, "sport", version=2, source="annotator", round_index=3)
    answers = (
        GivenAnswer("ann", "business", answered_at=NOON),
        GivenAnswer("bob", "sport", answered_at=NOON.replace(hour=13)),
        GivenAnswer("cid", None, skipped=True, answered_at=NOON.replace(hour=14)),
    )
    known = Known("audit", "labelled", label, 3, answers)
    found = ExportColumns(NEWS, data).labelled(own, item, known)
    assert found == {
        "key": 7,
        "body": "t",
        "data_label": "x",
        "meta": [1],
        "item_id": item.item_id,
        "role": "audit",
        "status": "labelled",
        "label": "sport",
        "source": "annotator",
        "round": 3,
        "version": 2,
        "annotators": ["ann", "bob"],
        "labelled_at": "2026-11-29T13:00:00+00:00",
    }


def test_when_a_label_was_given_that_several_answers_make_up() -> None:
    answers = tuple(
        GivenAnswer(who, value, answered_at=NOON.replace(hour=hour))
        for who, value, hour in (("ann", "Rome", 12), ("bob", "Roma", 13), ("cid", None, 14))
    )
    of_people = Known("audit", "labelled", Label("i", ["Rome", "Roma"]), 1, answers)
    imported = Known("audit", "labelled", Label("i", ["Rome", "Roma"], source="import"), 1, answers)
    assert of_people.labelled_at == NOON.replace(hour=13) and imported.labelled_at is None
    assert Known("audit", "labelled", Label("i", "Rome"), 1, answers).labelled_at == NOON


def test_rows_without_a_text_and_unknown_rows_have_the_same_columns(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl")
    rows = [{"text": "a", "k": 1}, {"text": " ", "k": 2}, {"text": "a", "k": 3}]
    columns = ExportColumns(NEWS, data)
    found = [
        columns.labelled(values, source.item if source else None, UNKNOWN)
        for values, source in read(tmp_path, rows, NEWS, data)
    ]
    assert [(row["text"], row["k"], row["status"]) for row in found] == [
        ("a", 1, "not in the campaign"),
        (" ", 2, "no text"),
        ("a", 3, "not in the campaign"),
    ]
    assert len({tuple(row) for row in found}) == 1 and found[0]["item_id"] == found[2]["item_id"]


def test_an_answer_has_a_row_of_its_own(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl")
    own, item = one(tmp_path, {"text": "t", "annotator": "mine"}, NEWS, data)
    answer = GivenAnswer("ann", "business", answered_at=NOON, seconds=2.5)
    found = ExportColumns(NEWS, data).answered(own, item, labelled(item, "sport", round_index=1), answer)
    assert list(found.values()) == [
        *("t", "mine", item.item_id, "pool", 1, "ann", "business", False),
        *("2026-11-29T12:00:00+00:00", 2.5, "sport"),
    ]
    assert list(found)[:3] == ["text", "data_annotator", "item_id"]
    assert list(found)[-5:] == ["label", "skipped", "answered_at", "seconds", "final_label"]


def test_predictions_fill_what_people_did_not_label() -> None:
    columns = ExportColumns(NEWS, DataSpec(path="in.jsonl"))
    a, b, c = (Item(name, name) for name in "abc")
    unasked = Known("pool", "not asked")
    found = [
        columns.with_prediction(
            {"text": "a"}, a, labelled(a, "sport"), ModelAnswer("business", (0.1, 0.9), 0.3)
        ),
        columns.with_prediction(
            {"text": "b"}, b, unasked, ModelAnswer("business", (0.25, 0.75), 0.6, 0.4, 0.2)
        ),
        columns.with_prediction({"text": "c"}, c, unasked, None),
        columns.with_prediction({"text": ""}, None, UNKNOWN, None),
    ]
    assert [(row["kind"], row["label"], row["predicted"], row["confidence"]) for row in found] == [
        ("human", "sport", None, None),
        ("model", None, "business", 0.75),
        (None, None, None, None),
        (None, None, None, None),
    ]
    assert [tuple(row.values())[-5:] for row in found] == [
        (None,) * 5,
        (0.6, 0.4, 0.2, 0.25, 0.75),
        (None,) * 5,
        (None,) * 5,
    ]
    assert list(found[0]) == [
        *("text", "item_id", "role", "status", "label", "source", "round", "version"),
        *("annotators", "labelled_at", "kind", "predicted", "confidence"),
        *("total_uncertainty", "aleatoric", "epistemic", "probability_sport", "probability_business"),
    ]
    assert all(list(row) == list(found[0]) for row in found)


def test_a_predicted_row_keeps_the_names_that_a_prediction_does_not_take(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl")
    own, item = one(tmp_path, {"text": "t", "label": "mine", "round": 2, "confidence": 1}, NEWS, data)
    found = ExportColumns(NEWS, data).predicted(own, item, ModelAnswer("sport", (0.9, 0.1), 0.3))
    assert (found["label"], found["round"], found["data_confidence"], found["confidence"]) == (
        "mine",
        2,
        1,
        0.9,
    )


def test_labels_of_any_spelling_name_a_column_of_their_own(tmp_path: Path) -> None:
    names = ('=cmd|"/c calc"!A1', "a,b\nc", "Δ é", "confidence", "C")
    task, data = (
        closed(make_task(ClassificationSpec(kind="classification", labels=names))),
        DataSpec(path="in.jsonl"),
    )
    given = {"text": "t", "probability_C": "mine", "epistemic": "mine, too"}
    own, item = one(tmp_path, given, task, data)
    answer = ModelAnswer("C", (0.1, 0.15, 0.2, 0.25, 0.3), 1.5)
    row = ExportColumns(task, data).with_prediction(own, item, UNKNOWN, answer)
    for suffix in (".jsonl", ".csv", ".parquet"):
        write_rows(tmp_path / f"out{suffix}", [row])
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
    (two, its), (three, other) = read(tmp_path, given, CHOICE, data)
    assert its is not None and other is not None
    columns = ExportColumns(CHOICE, data)
    first = columns.with_prediction(two, its.item, UNKNOWN, ModelAnswer("A", (0.7, 0.3), 0.6))
    second = columns.with_prediction(three, other.item, UNKNOWN, ModelAnswer("C", (0.2, 0.2, 0.6), 1))
    assert "probability_C" not in first and second["probability_C"] == 0.6
    assert first["data_probability_C"] == second["data_probability_C"] == "mine"
    plain = columns.labelled(two, its.item, UNKNOWN)
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
    """From the data, and from the database if the data are gone."""
    data = DataSpec(path="in.jsonl", options=options)
    own, item = one(tmp_path, row, CHOICE, data)
    columns = ExportColumns(CHOICE, data)
    assert columns.own_columns(item) | options_found(item, data) == row
    given = columns.with_prediction(own, item, labelled(item, "B"), None)
    predicted = columns.with_prediction(own, item, UNKNOWN, ModelAnswer("A", (0.6, 0.4), 0.5))
    assert {name: given[name] for name in row} == row
    assert (given["label"], given["label_text"]) == ("B", "y")
    assert (predicted["predicted"], predicted["predicted_text"]) == ("A", "x")
    assert set(given) - set(row) == {
        *("item_id", "role", "status", "label", "label_text", "source", "round", "version"),
        *("annotators", "labelled_at"),
        *("kind", "predicted", "predicted_text", "confidence", "probability_A", "probability_B"),
        *("total_uncertainty", "aleatoric", "epistemic"),
    }


def test_a_users_columns_never_hide_another(tmp_path: Path) -> None:
    data = DataSpec(path="in.jsonl", text="label")
    own, item = one(
        tmp_path, {"label": "text", "data_label": 1, "data_data_label": 2, "round": 3}, NEWS, data
    )
    found = ExportColumns(NEWS, data).labelled(own, item, Known("pool", "not asked"))
    assert (found["data_label"], found["label"], found["data_round"]) == (1, None, 3)
    assert sorted(map(str, own.values())) == sorted(map(str, list(found.values())[:4]))


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


def test_no_rows_make_a_file_with_a_header(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".csv", ".parquet"):
        assert write_rows(tmp_path / f"out{suffix}", [], ["a", "b"]) == 0
    assert (tmp_path / "out.csv").read_text() == "a,b\n"
    assert (tmp_path / "out.jsonl").read_text() == ""
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["a", "b"]


def test_a_column_that_appears_late_is_empty_before(tmp_path: Path) -> None:
    rows: list[JsonObject] = [{"a": "x\ny"}, {"a": 1, "b": "é"}, {"c": None, "a": 'say "a"'}]
    assert write_rows(tmp_path / "out.csv", rows, options=OutOptions(bom=True)) == 3
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfa,b,c\r\n") and raw.count(b"\xef\xbb\xbf") == 1
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["a", "b", "c"],
            ["x\ny", "", ""],
            ["1", "é", ""],
            ['say "a"', "", ""],
        ]


def test_cells_that_a_spreadsheet_would_run_are_quoted_on_request(tmp_path: Path) -> None:
    cells: list[JsonValue] = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "x=1", -1, None, ""]
    row: JsonObject = {**{f"{n}": cell for n, cell in enumerate(cells)}, "=name": 1}
    write_rows(tmp_path / "safe.csv", [row], options=OutOptions(spreadsheet_safe=True))
    write_rows(tmp_path / "plain.csv", [row])
    (safe_names, safe), (names, plain) = (
        list(csv.reader((tmp_path / name).open(encoding="utf-8", newline="")))
        for name in ("safe.csv", "plain.csv")
    )
    assert safe == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "x=1", "-1", "", "", "1"]
    assert plain == ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "x=1", "-1", "", "", "1"]
    assert (safe_names[-1], names[-1]) == ("'=name", "=name")
    for option in (OutOptions(bom=True), OutOptions(spreadsheet_safe=True)):
        with pytest.raises(DataError, match="for CSV alone"):
            write_rows(tmp_path / "out.jsonl", [row], options=option)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".html"])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    for mode in (None, 0o600, 0o640, 0o444):
        if mode is not None:
            out.chmod(mode)
        before = out.stat().st_mode if out.exists() else None
        if suffix == ".html":
            write_text(out, "page")
        else:
            write_rows(out, [{"a": 1}])
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE(out.stat().st_mode) == (
            0o666 & ~umask if before is None else stat.S_IMODE(before)
        )


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "out.csv").touch(mode=0o600)

    def rows() -> Iterator[JsonObject]:
        yield {"a": 1}
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        yield {"a": 1, "b": 2}

    for suffix in (".csv", ".parquet"):
        (tmp_path / f"out{suffix}").touch(mode=0o600)
        assert write_rows(tmp_path / f"out{suffix}", rows()) == 2
    with replacing(tmp_path / "new", mode=0o600) as new:
        new.write_text("secret")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


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
        check_format(tmp_path / "out.xlsx")
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
