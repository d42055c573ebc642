"""Export and predict give every row back, in the order of the file, with what is known of it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.campaigns import make_rows, write_campaign, write_jsonl

StarAl = Callable[..., tuple[int, str, str]]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def exported(star_al: StarAl, config: Path, *options: object) -> tuple[list[dict[str, Any]], str]:
    """The rows of an export, and what the program says."""
    out = config.parent.parent / "out.jsonl"
    code, said, err = star_al("export", config, "--out", out, *options)
    assert code == 0, err
    return rows_of(out), said


@pytest.fixture
def untidy(star_al: StarAl, model: Path, tmp_path: Path) -> Path:
    """A campaign whose file repeats texts and has rows without one, after a round."""
    rows = make_rows(30)
    again = [{**rows[3], "id": "again"}, {"id": "empty", "text": "  ", "label": None}]
    rows = [*rows[:7], *again, *rows[7:], {**rows[0], "id": "last"}]
    folder = tmp_path / "campaign"
    folder.mkdir()
    write_jsonl(folder / "pool.jsonl", rows)
    config = write_campaign(
        folder,
        model__name=str(model),
        evaluation={"size": 4, "calibration": 3, "stop_set": 4},
        acquisition={"batch_size": 4, "control_share": 0.5},
        annotator={"kind": "oracle", "gold": "gold"},
        stopping__max_rounds=1,
    )
    write_jsonl(folder / "pool.jsonl", [{**row, "gold": row["label"] or "sport"} for row in rows])
    code, _, err = star_al("run", config)
    assert code == 0, err
    return config


def test_every_row_comes_back_with_what_is_known_of_it(star_al: StarAl, untidy: Path) -> None:
    given = rows_of(untidy.parent / "pool.jsonl")
    rows, said = exported(star_al, untidy)
    assert said == f"Wrote 33 rows to {untidy.parent.parent / 'out.jsonl'}.\n"
    assert [row["id"] for row in rows] == [row["id"] for row in given]
    assert [row["data_label"] for row in rows] == [row["label"] for row in given]
    ours = {name: [row[name] for row in rows] for name in ("label", "status", "role", "item_id")}
    assert ours["status"][8] == "no text" and ours["item_id"][8] is None
    for one, other in ((3, 7), (0, 32)):  # repeats of one text
        assert [values[one] for values in ours.values()] == [values[other] for values in ours.values()]
    different = {row["item_id"]: row for row in rows if row["item_id"]}.values()
    assert Counter(row["status"] for row in different) == {"labelled": 11, "not asked": 19}
    roles = Counter(row["role"] for row in different if row["status"] == "labelled")
    assert roles == {"audit": 4, "calibration": 3, "control": 2, "pool": 2}
    for row in different:
        if row["status"] == "labelled":
            assert (row["label"], row["annotators"]) == (row["gold"], ["oracle"])
            assert (
                row["labelled_at"].endswith("+00:00") and row["round"] == 0 and row["source"] == "annotator"
            )
        else:
            assert (row["label"], row["annotators"], row["labelled_at"], row["round"]) == (None,) * 4


def test_labelled_rows_and_answers_alone(star_al: StarAl, untidy: Path) -> None:
    everything, _ = exported(star_al, untidy)
    labelled, _ = exported(star_al, untidy, "--labelled")
    assert labelled == [row for row in everything if row["label"]]
    answers, _ = exported(star_al, untidy, "--answers")
    assert len(answers) == 11  # repeats of a text were answered once
    for answer in answers:
        assert (answer["annotator"], answer["skipped"]) == ("oracle", False)
        assert answer["label"] == answer["final_label"] == answer["gold"] and answer["answered_at"]
    code, _, err = star_al("export", untidy, "--out", "x.csv", "--labelled", "--answers")
    assert code == 2 and "leave out one of" in err
    code, _, err = star_al("export", untidy, "--out", "x.csv", "--with-predictions", "--answers")
    assert code == 2 and "leave out --with-predictions" in err


def test_predictions_stand_in_the_order_of_the_rows(star_al: StarAl, untidy: Path, tmp_path: Path) -> None:
    rows, _ = exported(star_al, untidy, "--with-predictions")
    given = rows_of(untidy.parent / "pool.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in given]
    assert {row["kind"] for row in rows if row["label"]} == {"human"}
    assert {row["kind"] for row in rows if row["status"] == "not asked"} == {"model"}
    assert rows[8]["kind"] is None and rows[8]["confidence"] is None

    out = tmp_path / "p.jsonl"
    code, said, err = star_al("predict", untidy, "--in", untidy.parent / "pool.jsonl", "--out", out)
    assert code == 0, err
    assert said.startswith("Wrote 32 predictions") and "1 row without text has none" in said
    predicted = rows_of(out)
    assert [{name: row[name] for name in given[0]} for row in predicted] == given
    assert [row["predicted"] for row in (predicted[3], predicted[7])] == [predicted[3]["predicted"]] * 2
    for mine, theirs in zip(predicted, rows, strict=True):
        if theirs["kind"] == "model":
            assert mine["confidence"] == pytest.approx(theirs["confidence"], abs=1e-5)


def test_a_file_without_any_label_has_a_header(star_al: StarAl, own_copy: Path, tmp_path: Path) -> None:
    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("DELETE FROM training_labels")
        database.execute("DELETE FROM labels")
        database.execute("DELETE FROM annotations")
    names = "id,text,data_label,item_id,role,status,label,source,round,version,annotators,labelled_at"
    for options, header in (
        ((), names),
        (("--labelled",), names),
        (
            ("--answers",),
            "id,text,data_label,item_id,role,round,annotator,label,skipped,answered_at,seconds,final_label",
        ),
    ):
        code, out, err = star_al("export", own_copy / "campaign.yaml", "--out", "-", *options)
        assert code == 0, err
        assert out.splitlines()[0] == header
        assert len(out.splitlines()) == (1 if options else 61)


def test_standard_output_has_the_rows_alone(star_al: StarAl, finished: Path, tmp_path: Path) -> None:
    config = finished / "campaign.yaml"
    code, out, err = star_al("export", config, "--out", "-", "--labelled")
    assert code == 0 and "Wrote 22 rows to standard output." in err
    assert len(list(csv.DictReader(io.StringIO(out)))) == 22
    texts = write_jsonl(tmp_path / "new.jsonl", [{"text": "Ünïcode"}])
    code, out, err = star_al("predict", config, "--in", texts, "--out", "-", "--format", "jsonl")
    assert code == 0 and "Wrote 1 prediction to standard output" in err
    assert json.loads(out)["text"] == "Ünïcode"
    code, out, err = star_al("predict", config, "--in", tmp_path / "absent.csv", "--out", "-")
    assert (code, out) == (2, "")


def test_a_csv_for_a_spreadsheet(star_al: StarAl, finished: Path, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "new.jsonl", [{"text": '=HYPERLINK("http://x")'}])
    out = tmp_path / "out.csv"
    out.touch(mode=0o600)
    options = ("--out", out, "--bom", "--spreadsheet-safe")
    code, _, err = star_al("predict", finished / "campaign.yaml", "--in", texts, *options)
    assert code == 0, err
    assert out.read_bytes().startswith(b"\xef\xbb\xbftext,")
    [row] = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig")))
    assert row["text"] == '\'=HYPERLINK("http://x")'
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    code, _, err = star_al("export", finished / "campaign.yaml", "--out", tmp_path / "x.jsonl", "--bom")
    assert code == 2 and "for CSV alone" in err


def test_what_changed_in_the_data_since_the_import_is_said(
    star_al: StarAl, own_copy: Path, tmp_path: Path
) -> None:
    config, pool = own_copy / "campaign.yaml", own_copy / "pool.jsonl"
    more = write_jsonl(tmp_path / "more.jsonl", make_rows(2, seed=5))
    assert star_al("add-data", config, more)[0] == 0
    rows = rows_of(pool)
    write_jsonl(pool, [{"id": "new", "text": "never imported", "label": "tech"}, *rows[10:][::-1]])
    found, said = exported(star_al, config)
    assert [row["id"] for row in found[:51]] == ["new", *(row["id"] for row in rows[10:][::-1])]
    assert found[0]["status"] == "not in the campaign"
    assert {row["id"] for row in found[51:]} == {row["id"] for row in [*rows[:10], *make_rows(2, seed=5)]}
    assert "1 row of pool.jsonl is not in the campaign; `star-al add-data` adds it." in said
    assert "12 texts of the campaign are not in pool.jsonl (added later, or removed from it" in said

    pool.write_text("not what it was\n")
    found, said = exported(star_al, config)
    assert len(found) == 62 and sum(row["label"] is not None for row in found) == 22
    assert "not valid JSON" in said and "The rows come from the database instead: each text once" in said
    pool.unlink()
    before, _ = exported(star_al, config, "--with-predictions")
    assert [row["id"] for row in before] == [row["id"] for row in found]
