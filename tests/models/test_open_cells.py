"""The study of open answers: campaigns run to the end with a tiny model, and their cells become tables."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import open_report
from open_cells import Cell, OpenCells, grades_of, keep, missing, planned, run
from open_run import SharedModel
from open_sets import SETS, Row, draw

from star_al.app.demo_numbers import numbers_in
from support.tiny_model import build_tiny_model

WRITTEN = ("random", "token_bald", "star", "typical start, nll", "recommended, nll")

TEXTS = [f"They sold {17 * number % 90} of {number + 20} in 2004." for number in range(30)]


def rows_of(name: str) -> list[Row]:
    if name == "operations":
        return [(text, ["addition"] if len(text) % 2 else []) for text in TEXTS]
    return [(text, numbers_in(text)) for text in TEXTS]


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets at a size for tests."""
    for name, sizes in SETS.items():
        task = {**sizes.task, **({"max_answer_tokens": 3} if sizes.is_written else {})}
        monkeypatch.setitem(SETS, name, replace(sizes, task=task, pool=16, test=5, counts=(2, 4)))
    monkeypatch.setattr("labels_results.RESAMPLES", 20)


def test_pool_and_test_have_no_text_in_common(small_sets: None) -> None:
    (pool, test), (again, _), (other, _) = (draw("numbers", rows_of("numbers"), seed) for seed in (0, 0, 1))
    assert len(pool) == 16 and len(test) == 5 and not set(pool) & set(test)
    assert pool == again and pool != other


def test_cells_become_tables(small_sets: None, tmp_path: Path) -> None:
    model = SharedModel(str(build_tiny_model(tmp_path / "model")))
    cells = planned(["numbers"], WRITTEN, [0]) + planned(["operations"], ["token_bald"], [0])
    for cell in cells:
        record = run(cell, model, rows_of(cell.set))
        assert record["labels"] == [2, 4] and grades_of(record).shape == (2, 5)
        keep(cell, record, tmp_path / "cells")
    assert missing([*cells, Cell("calc", "nll", 0)], tmp_path / "cells") == [Cell("calc", "nll", 0)]
    _check_starts(tmp_path / "cells")
    page = tmp_path / "page.md"
    page.write_text("<!-- tables: begin --><!-- tables: end -->")
    open_report.write_report(OpenCells(tmp_path / "cells"), page)
    text = page.read_text()
    assert "Jaccard index, %" in text and all(f"| {arm} " in text for arm in WRITTEN)


def _check_starts(folder: Path) -> None:
    """Arms with the same start train the same model on it, and later choose for themselves."""
    found = {path.stem: json.loads(path.read_text()) for path in (folder / "numbers").glob("*.json")}
    at_random = [found[f"{name}-0"] for name in ("random", "token_bald", "star")]
    assert len({(each["chosen"][0], each["accuracy"][0]) for each in at_random}) == 1
    assert len({each["chosen"][-1] for each in found.values()}) > 3
