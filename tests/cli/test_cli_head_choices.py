"""A multiple-choice campaign whose learner is a head, from the command line: run, replay, predict, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.cli.main import run_command
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.tiny_encoder import build_tiny_encoder

StarAl = Callable[..., tuple[int, str, str]]


def test_a_head_answers_multiple_choice(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    config = write_campaign(
        tmp_path,
        data={"path": "pool.jsonl", "options": "options"},
        task={"kind": "multiple_choice"},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        model={},
        acquisition={"batch_size": 4},
        stopping__max_rounds=2,
    )
    rows = [
        {"text": f"{row['text']} is about", "options": list(WORDS)[: 2 + k % 2], "label": "AB"[k % 2]}
        for k, row in enumerate(make_rows(50))
    ]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    assert run_command(["run", str(config)]) == 0
    code, out, err = star_al("replay", config, "--round", 1)
    assert code == 0, (out, err)
    given = write_jsonl(tmp_path / "given.jsonl", rows[:5])
    code, out, err = star_al("predict", config, "--in", given, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    for line, row in zip(map(json.loads, out.splitlines()), rows, strict=False):
        given_probabilities = [line[f"probability_{letter}"] for letter in "ABC"[: len(row["options"])]]
        assert sum(given_probabilities) == pytest.approx(1, abs=1e-6)
    code, _, err = star_al("export-model", config, "--out", tmp_path / "model")
    assert code != 0 and "multiple choice cannot be exported" in err and not (tmp_path / "model").exists()
