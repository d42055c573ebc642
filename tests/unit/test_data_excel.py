"""Excel files are read like tables, with the types of their cells."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from star_al.app.init.proposal import propose_campaign
from star_al.app.init.request import CampaignRequest
from star_al.data.readers import read_rows
from star_al.data.source import Dialect, locate
from star_al.errors import DataError


def workbook(path: Path, *sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    for number, rows in enumerate(sheets):
        sheet = book.worksheets[0] if number == 0 else book.create_sheet(f"sheet {number + 1}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


ROWS: list[list[object]] = [
    ["text", "label", "n", "date", None],
    ["Größe, “x”", "a", 1, datetime(2026, 1, 31), None],
    [],
    ["=1+1", "b", 2.5],
    [None, "a", True],
]


def test_cells_have_their_types_and_empty_rows_are_left_out(tmp_path: Path) -> None:
    workbook(tmp_path / "d.xlsx", ROWS)
    assert [(row.number, row.values) for row in read_rows(locate("d.xlsx", tmp_path))] == [
        (2, {"text": "Größe, “x”", "label": "a", "n": 1, "date": datetime(2026, 1, 31)}),
        (4, {"text": None, "label": "b", "n": 2.5, "date": None}),  # openpyxl has not computed the formula
        (5, {"text": None, "label": "a", "n": True, "date": None}),
    ]
    table = locate("d.xlsx", tmp_path, dialect=Dialect(header=False))
    assert next(read_rows(table)).values["column_1"] == "text"


def test_other_sheets_are_mentioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workbook(tmp_path / "d.xlsx", [["text"], ["a"], ["b"], ["c"], ["d"], ["e"]], [["x"]])
    notes: list[str] = []
    spec = propose_campaign(CampaignRequest("d.xlsx", "m", labels=["a", "b"]), tmp_path, notes.append)
    assert (spec.data.text, notes) == ("text", ["d.xlsx: only the first sheet is read, not sheet 2."])


def test_a_row_that_is_too_long_is_named(tmp_path: Path) -> None:
    workbook(tmp_path / "d.xlsx", [["text", "n"], ["a", 1, "more"]])
    with pytest.raises(DataError, match=r"d\.xlsx, row 2: 3 cells, but the header has 2"):
        list(read_rows(locate("d.xlsx", tmp_path)))


def test_without_openpyxl_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook(tmp_path / "d.xlsx", ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        DataError, match=r"openpyxl, which is not installed\. Install it with: pip install 'star-al\["
    ):
        list(read_rows(locate("d.xlsx", tmp_path)))
