"""The study of posteriors: cells that are kept and skipped, on a tiny model, their measures, and the tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import calibration_cells
import recipe_cells
from bench_calibration import line_of, parse, planned
from calibration_cells import (
    COST,
    ROWS,
    Answers,
    Cell,
    Row,
    Workplace,
    calibration,
    finished,
    keep,
    missing,
    spread,
)
from calibration_report import write_report
from labels_data import SETS, Sizes, Texts
from markdown_tables import BEGIN, END, table

from star_al.acquire.measures import bald
from support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workplace, Path]]:
    """A workplace on a tiny model, for 120 texts with three labels."""
    random = np.random.default_rng(0)
    names_C_d = np.eye(3, 12, dtype=np.float32)
    targets_N = random.integers(3, size=120)
    vectors = (names_C_d[targets_N] + 0.4 * random.standard_normal((120, 12))).astype(np.float32)
    labels = ("politics", "sport", "tech")
    words = tuple(f"The {labels[c]} text {n}" for n, c in enumerate(targets_N))
    texts = Texts(words, targets_N, labels, vectors, names_C_d)
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_cells, "TEST", 30)
        patch.setitem(SETS, "bbc", Sizes(10, 10, 30, 80, 30))
        for name, size in {"TEST": 30, "SAMPLED": 12, "SECOND": 8, "STEPS": 3, "SAMPLES": 3}.items():
            patch.setattr(calibration_cells, name, size)
        patch.setattr("star_al.models.posterior.tfb._HALVINGS", 2)
        rows = {name: Row(row.posterior and few(row.posterior), row.dropout) for name, row in ROWS.items()}
        patch.setattr(calibration_cells, "ROWS", rows)
        yield Workplace(str(build_tiny_model(folder / "model")), lambda _: texts, folder / "adapters"), folder


def few(posterior: Any) -> dict[str, Any]:
    """The posterior with few samples and members."""
    return {**posterior, **{name: n for name, n in {"samples": 3, "members": 4}.items() if name in posterior}}


@pytest.mark.parametrize("row", [row for row in ROWS if row not in ("clora", "tfb by loss")])
def test_a_row_from_training_to_its_record(place: tuple[Workplace, Path], row: str) -> None:
    workplace, folder = place
    record = workplace.run(Cell("bbc", 12, row, 0))
    assert {name: record[name] for name in ("set", "labels", "row", "draw")} == {
        "set": "bbc",
        "labels": 12,
        "row": row,
        "draw": 0,
    }
    assert record["model"] == "model"
    assert record["texts"] == (30 if row in ("map", "head") else 12)
    assert 0 <= record["accuracy"] <= 1 and record["common"]["nll"] > 0
    if row == "map":
        assert "spread" not in record
    else:
        assert record["spread"] >= 0 and all(-1 <= rho <= 1 for rho in record["agreement"].values())
    assert row in line_of(record)
    keep(Cell("bbc", 12, row, 0), record, folder / "cells")


def test_rows_share_an_adapter_and_predict_as_after_their_own_training(
    place: tuple[Workplace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace, folder = place
    cell = Cell("bbc", 12, "laplace by evidence", 0)
    shared = workplace.run(cell)
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "adapters").rglob("*")}
    workplace.run(Cell("bbc", 12, "mc_dropout", 0))
    assert stamps == {path: path.stat().st_mtime_ns for path in (folder / "adapters").rglob("*")}
    monkeypatch.setattr(calibration_cells, "_is_post_hoc", lambda _: False)
    alone = workplace.run(cell)
    for seconds in ("train_s", "score_s"):
        shared.pop(seconds), alone.pop(seconds)
    assert shared == alone


def test_another_model_has_an_adapter_of_its_own(place: tuple[Workplace, Path]) -> None:
    workplace, folder = place
    cell = Cell("bbc", 12, "map", 0)
    other = Workplace("organisation/model", lambda _: pytest.fail("nothing is loaded"), folder / "adapters")
    copied = Workplace(str(folder / "copy" / "model"), lambda _: pytest.fail("nothing is loaded"), folder)
    (folder / "copy" / "model").mkdir(parents=True)
    assert len({each._adapter_name(cell) for each in (workplace, other, copied)}) == 3


def test_an_adapter_that_another_process_made_first_is_taken(
    place: tuple[Workplace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace, folder = place
    cell = Cell("bbc", 10, "laplace", 0)
    first = folder / "adapters" / workplace._adapter_name(cell)

    def fit(learner: Any, cell: Cell, made: Path) -> None:
        first.mkdir()
        (first / COST).write_text('{"train_s": 7.0}')

    monkeypatch.setattr(workplace, "_fit", fit)
    assert workplace._shared_adapter(cell) == first
    assert [path.name for path in first.iterdir()] == [COST] and "7.0" in (first / COST).read_text()
    assert not [path for path in (folder / "adapters").iterdir() if path.name.startswith("tmp")]


def test_the_tables_hold_each_row_once_the_likeliest_first(
    place: tuple[Workplace, Path], tmp_path: Path
) -> None:
    workplace, _ = place
    for row in ("head", "map", "mc_dropout"):
        for draw in (0, 1):
            cell = Cell("bbc", 12, row, draw)
            keep(cell, workplace.run(cell), tmp_path / "cells")
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n")
    write_report(tmp_path / "cells", page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    rows = [
        line.split("|") for line in text.splitlines() if line.startswith(("| head", "| map", "| mc_dropout"))
    ]
    assert len(rows) == 3 and {row[2].strip() for row in rows} == {"2"}
    likelihoods = [float(row[3]) for row in rows]
    assert likelihoods == sorted(likelihoods)


def test_finished_cells_are_skipped(tmp_path: Path) -> None:
    asked = parse(["--rows", "map", "laplace τ=100", "--labels", "50", "--out", str(tmp_path)])
    cells = list(planned(asked))
    assert [(cell.set, cell.row) for cell in cells] == [
        ("bbc", "map"),
        ("sms_spam", "map"),
        ("bbc", "laplace τ=100"),
        ("sms_spam", "laplace τ=100"),
    ]
    keep(cells[2], {"accuracy": 0.5}, tmp_path)
    assert missing(cells, tmp_path) == [cells[0], cells[1], cells[3]]
    assert finished(tmp_path) == [{"accuracy": 0.5}]


def test_the_spread_and_the_agreement_of_samples() -> None:
    random = np.random.default_rng(1)
    width_T = np.linspace(0.05, 2.0, 40)[:, None, None]

    def drawn(seed: int) -> Any:
        logits = np.random.default_rng(seed).standard_normal((40, 60, 3)) * width_T
        return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))

    found = spread(drawn(1), drawn(2))
    assert found["agreement"]["60"] > 0.95 > found["agreement"]["3"]
    assert found["spread"] == pytest.approx(bald(drawn(1)).mean() / np.log(3), rel=0.2)
    same_T_K_C = np.log(np.repeat(random.dirichlet(np.ones(3), size=(10, 1)), 4, axis=1))
    assert spread(same_T_K_C, same_T_K_C[:5]) == {"spread": 0.0, "agreement": {"3": 0.0, "4": 0.0}}


def test_calibration_by_hand() -> None:
    log_probs = np.log([[0.8, 0.2]] * 4)
    found = calibration(log_probs, np.array([0, 0, 0, 1]))
    assert found["nll"] == pytest.approx(-(3 * np.log(0.8) + np.log(0.2)) / 4, abs=1e-5)
    assert found["ece"] == pytest.approx(0.05) and 0.1 < found["floor"] < 0.2


def test_a_model_that_calibrates_itself_has_no_temperature(place: tuple[Workplace, Path]) -> None:
    workplace, _ = place
    drawn = workplace._drawn("bbc", 0)
    log_probs = np.log(np.full((12, 3), 1 / 3))
    found = Answers(log_probs, None, log_probs[:, None], None).measured(drawn)
    assert found["temperature"] == 1.0 and found["raw"] == found["scaled"]


def test_columns_line_up() -> None:
    assert table(["a", "long"], [["xyz", "1"]]).splitlines() == [
        "| a   | long |",
        "| --- | ---- |",
        "| xyz | 1    |",
    ]
