"""Cells of scripts/bench_calibration.py on a tiny model."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from support.tiny_model import SENTENCES, build_tiny_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from bench_calibration import open_study, parse, plan, watch
from calibration_cells import NEWS, Cell, Workplace, run_cell, start_worker
from calibration_data import Settings
from calibration_report import measures

TOPICS = ("business", "sports")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Data of all three sets and a study folder."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("study")
    for folder in ("adapters", "making"):
        (out / folder).mkdir()
    news = [{"id": f"{n}", "text": f"{n} {SENTENCES[n % 2]}"[:20], "label": TOPICS[n % 2]} for n in range(40)]
    write(out / NEWS, news)
    for part in ("train", "test"):
        options = "\n".join(f"Answer{letter} word" for letter in "ABCD")
        write(
            data / "obqa" / f"{part}.jsonl",
            [{"question": f"{part} {n}?\n{options}", "answer": "B"} for n in range(8)],
        )
        write(
            data / "boolq" / f"{part}.jsonl",
            [{"question": f"{part} {n} so?", "answer": "the correct answer is true"} for n in range(8)],
        )
    model = build_tiny_model(tmp_path_factory.mktemp("model"), chat_template=False)
    return Settings(str(model), str(data), 8, 4, 6, 3, 1, None), out


def test_a_method_on_the_shared_adapter_predicts_as_after_its_own_training(
    place: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = place
    workplace = Workplace(settings, out)
    cell = Cell("bbc", 0, 10, "mc_dropout")
    before = workplace.run(cell)
    (adapter,) = (path for path in (out / "adapters").iterdir() if path.is_dir())
    stamp = (adapter / "cost.json").stat().st_mtime_ns
    again = workplace.run(Cell("bbc", 0, 10, "map"))
    assert (adapter / "cost.json").stat().st_mtime_ns == stamp  # trained once

    monkeypatch.setattr("calibration_cells.is_post_hoc", lambda method: False)
    alone = workplace.run(cell)
    assert alone["test"] == before["test"]
    assert alone["ood"] == before["ood"]
    assert again["test"] != before["test"]


def test_a_cell_is_written_whole_and_can_be_measured(place: tuple[Settings, Path], tmp_path: Path) -> None:
    settings, out = place
    start_worker(settings, out, threads=1)
    for set_, method, labels in (("bbc", "base", 0), ("bbc", "map", 10)):
        record: Any = run_cell(Cell(set_, 0, labels, method), tmp_path / f"{method}.json")
        assert json.loads((tmp_path / f"{method}.json").read_text()) == record
        sizes = [len(record[part]["log_probs"]) for part in ("test", "calibration", "ood")]
        assert sizes == [8, 6, 4]
        assert 0 <= measures(record)["raw"]["accuracy"] <= 1
        assert record["peak_mib"]["score"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.json", "map.json"]


def test_the_plan_has_the_seeds_of_a_method_beside_each_other_and_the_base_once() -> None:
    line = ["--out", "o", "--model", "m", "--data", "d", "--sets", "obqa", "bbc", "--seeds", "3", "4"]
    arguments = parse([*line, "--labels", "9"])
    cells = plan(arguments, ["map", "tfb"])
    assert [(cell.set, cell.labels, cell.method, cell.seed) for cell in cells[:5]] == [
        ("obqa", 0, "base", 3),
        ("obqa", 9, "map", 3),
        ("obqa", 9, "map", 4),
        ("obqa", 9, "tfb", 3),
        ("obqa", 9, "tfb", 4),
    ]
    assert {cell.set for cell in cells[5:]} == {"bbc"}
    assert len({cell.name for cell in cells}) == len(cells)


def test_a_study_with_other_settings_is_refused(tmp_path: Path) -> None:
    line = ["--out", str(tmp_path / "o"), "--model", "m", "--data", "d"]
    assert open_study(parse(line)) == open_study(parse(line))
    with pytest.raises(SystemExit, match="other settings"):
        open_study(parse([*line, "--samples", "4"]))


def test_whatever_ends_a_cell_is_one_failed_cell(
    place: tuple[Settings, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Cell("bbc", seed, 10, "map") for seed in range(3)]
    futures: list[Future[Any]] = [Future() for _ in cells]
    futures[0].set_exception(KeyError("lora_A"))
    futures[1].set_exception(MemoryError())
    futures[2].set_result(Workplace(*place).run(cells[2]))
    records: list[Any] = []
    assert watch(dict(zip(futures, cells, strict=True)), records, 1) == 2
    told = capsys.readouterr().out
    assert f"{cells[0].name}: FAILED. KeyError: 'lora_A'" in told
    assert f"{cells[1].name}: FAILED. MemoryError" in told
    assert [record["seed"] for record in records] == [2] and "accuracy" in told
