"""Campaigns of ratings from the command line, with a head: from the first round to reports and exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.cli.main import run_command
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.tiny_encoder import build_tiny_encoder

StarAl = Callable[..., tuple[int, str, str]]


def test_a_campaign_of_ratings_goes_from_question_to_export(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    config = write_campaign(
        tmp_path,
        task={"kind": "rating", "levels": 3, "names": ["bad", "fair", "good"]},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        acquisition={"batch_size": 6},
        annotator={"kind": "oracle", "gold": "label", "accuracy": 0.9},
        labelling={"overlap": 3, "settle": "median"},
        stopping__max_rounds=2,
    )
    rows = [{**row, "label": 1 + list(WORDS).index(row["label"])} for row in make_rows(60)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    assert "mean absolute error" in out + err and "agreement (alpha)" in out + err
    code, out, err = star_al("replay", config, "--round", 1)
    assert code == 0, (out, err)

    code, out, err = star_al("export", config, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    labelled = [line for line in lines if line["label"] is not None]
    shown = {(line["label"], line["label_text"]) for line in labelled}
    assert shown <= {("1", "bad"), ("2", "fair"), ("3", "good")}
    assert sum(line["label"] == str(line["data_label"]) for line in labelled) > 0.8 * len(labelled)

    given = write_jsonl(tmp_path / "given.jsonl", rows[:5])
    code, out, err = star_al("predict", config, "--in", given, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    for line in map(json.loads, out.splitlines()):
        assert sum(line[f"probability_{level}"] for level in "123") == pytest.approx(1, abs=1e-6)
        assert line["predicted_text"] == ["bad", "fair", "good"][int(line["predicted"]) - 1]

    assert run_command(["report", str(config), "--out", str(tmp_path / "report.html")]) == 0
    assert "mean absolute error" in (tmp_path / "report.html").read_text()
    code, out, err = star_al("export-model", config, "--out", tmp_path / "model")
    assert code == 0, err
    assert "rates a text by a level of a scale" in (tmp_path / "model" / "README.md").read_text()


def test_ratings_that_the_data_has_are_exported_as_levels(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    config = write_campaign(
        tmp_path,
        data__label="given",
        task={"kind": "rating", "levels": 3, "names": ["bad", "fair", "v3.0"]},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        annotator={"kind": "oracle", "gold": "label"},
        evaluation={"kind": "none", "calibration": 0},
        stopping__max_rounds=1,
    )
    spelled = ([1, 1.0, "1.0", "Bad"], [2, 2.0, " 2 ", "FAIR "], [3, 3.0, "3.0", "V3.0"])
    rows = [{**row, "label": 1 + list(WORDS).index(row["label"])} for row in make_rows(60)]
    for number, row in enumerate(rows[:12]):
        row["given"] = spelled[row["label"] - 1][number // 3]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)

    code, out, err = star_al("export", config, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    given = [json.loads(line) for line in out.splitlines()][:12]
    assert [(line["label"], line["label_text"], line["source"]) for line in given] == [
        (str(row["label"]), ["bad", "fair", "v3.0"][row["label"] - 1], "import") for row in rows[:12]
    ]

    (tmp_path / "other").mkdir()
    wrong = {"id": "late", "text": "late", "label": 1, "given": 4.0}
    write_jsonl(tmp_path / "other" / "pool.jsonl", [*rows, wrong])
    shutil.copy(config, tmp_path / "other")
    code, _, err = star_al("run", tmp_path / "other" / config.name)
    assert code == 2 and "item late: the label 4.0 is not in the label set; the labels are 1, 2, 3" in err


def test_levels_are_fixed_and_not_renamed(tmp_path: Path, star_al: StarAl) -> None:
    config = write_campaign(tmp_path, task={"kind": "rating", "levels": 3})
    code, _, err = star_al("rename-label", config, "3", "best")
    assert code == 2 and "labels of task.kind: rating cannot be renamed" in err
