"""Campaigns of preferences from the command line: from the first round to reports and exports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.cli.main import run_command
from star_al.models.labeller import Labeller
from support.campaigns import WORDS, write_campaign, write_jsonl
from support.tiny_encoder import build_tiny_encoder
from support.tiny_model import build_tiny_model

StarAl = Callable[..., tuple[int, str, str]]
TOPICS = list(WORDS)


def pairs(n: int) -> list[dict[str, Any]]:
    """Prompts about a topic, with a completion about it and one about another."""
    rows = []
    for k in range(n):
        topic, other = TOPICS[k % 3], TOPICS[(k + 1) % 3]
        rows.append(
            {
                "id": f"row{k}",
                "prompt": [{"role": "user", "content": f"Write about {topic}, number {k}."}],
                "chosen": [{"role": "assistant", "content": f"good {topic} {k % 7}"}],
                "rejected": [{"role": "assistant", "content": f"bad {other} {k % 5}"}],
            }
        )
    return rows


def write_pairs(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "data__text": "prompt",
        "data__options": ["chosen", "rejected"],
        "task": {"kind": "preference"},
        "annotator": {"kind": "oracle", "gold": "chosen"},
        "acquisition": {"batch_size": 6},
        "stopping__max_rounds": 2,
    } | changes
    config = write_campaign(folder, **settings)
    write_jsonl(folder / "pool.jsonl", rows)
    return config


def test_a_campaign_of_preferences_goes_from_question_to_export(tmp_path: Path, star_al: StarAl) -> None:
    rows = pairs(48)
    config = write_pairs(
        tmp_path,
        rows,
        task={"kind": "preference", "max_completion_tokens": 4},
        posterior={"kind": "mc_dropout", "samples": 2},
    )
    build_tiny_model(tmp_path / "model")
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    said = " ".join((out + err).split())
    assert "model.max_tokens = 96, completions to task.max_completion_tokens = 4: " in said
    code, out, err = star_al("replay", config, "--round", 1)
    assert code == 0, (out, err)

    code, out, err = star_al("export", config, "--out", "-", "--format", "jsonl", "--with-predictions")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["chosen"] for line in lines] == [row["chosen"] for row in rows]
    labelled = [line for line in lines if line["kind"] == "human"]
    assert {line["label"] for line in labelled} == {"A", "B"}
    assert all(line["label_text"] == line["chosen"][0]["content"] for line in labelled)
    for line in lines:
        if line["kind"] == "model":
            assert line["probability_A"] + line["probability_B"] == pytest.approx(1, abs=1e-6)
            assert line["predicted_text"] in (line["chosen"][0]["content"], line["rejected"][0]["content"])
            assert line["confidence"] >= 0.5

    assert run_command(["report", str(config), "--out", str(tmp_path / "report.html")]) == 0
    code, out, err = star_al("export-model", config, "--out", tmp_path / "exported")
    assert code == 0, err
    predicted = next(line for line in lines if line["kind"] == "model")
    options = [predicted["chosen"][0]["content"], predicted["rejected"][0]["content"]]
    found = Labeller(tmp_path / "exported")(predicted["prompt"][0]["content"], options)
    side = "A" if options[0] == predicted["predicted_text"] else "B"
    assert found[side] == pytest.approx(predicted["confidence"], abs=1e-4)
    code, _, err = star_al("export-model", config, "--out", tmp_path / "merged", "--merged")
    assert code == 5 and "merged weights have none beside them" in err


def test_ties_are_labels_that_teach_a_head_nothing(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    rows = [
        {"id": row["id"], "prompt": row["prompt"], "one": row["chosen"], "two": row["rejected"]}
        | {"winner": "tie" if k % 3 == 0 else "A"}
        for k, row in enumerate(pairs(60))
    ]
    config = write_pairs(
        tmp_path,
        rows,
        data__options=["one", "two"],
        task={"kind": "preference", "ties": "half"},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        annotator={"kind": "oracle", "gold": "winner"},
    )
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    code, out, err = star_al("export", config, "--out", "-", "--format", "jsonl", "--labelled")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    counts = Counter((line["label"], line["winner"]) for line in lines)
    assert set(counts) == {("A", "A"), ("tie", "tie")}
    assert {line["label_text"] for line in lines if line["label"] == "tie"} == {"tie"}
    code, out, err = star_al("export", config, "--out", "-", "--format", "dpo")
    assert code == 0, err
    assert "left out: without an answer to reject" in " ".join(err.split())
    for line in map(json.loads, out.splitlines()):
        (chosen,), (rejected,) = line["chosen"], line["rejected"]
        assert line["prompt"][-1]["content"].startswith("Write about")
        assert chosen["content"].startswith("good") and rejected["content"].startswith("bad")

    assert run_command(["report", str(config), "--out", str(tmp_path / "report.html")]) == 0
    assert "tie" in (tmp_path / "report.html").read_text()
