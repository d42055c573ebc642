"""A multiple-choice campaign whose learner is a head, from the command line: run, replay, predict, export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from star_al.cli.main import run_command
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.tiny_encoder import build_tiny_encoder

StarAl = Callable[..., tuple[int, str, str]]


USE = """
import json, sys
sys.path[:] = [p for p in sys.path if "star_al" not in p]
from labeller import Labeller
assert not any(name.split(".")[0] == "star_al" for name in sys.modules)
labeller = Labeller(".", device="cpu")
print(json.dumps([labeller(row["text"], row["options"]) for row in json.load(sys.stdin)]))
"""


def used(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """What an exported folder answers in a process without star_al."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", USE],
        input=json.dumps(rows),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found


def test_a_head_answers_multiple_choice(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    config = write_campaign(
        tmp_path,
        data={"path": "pool.jsonl", "options": "options"},
        task={"kind": "multiple_choice"},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        model={"dtype": "float32"},  # an exported folder is compared, which reads a text with other padding
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
    lines = [json.loads(line) for line in out.splitlines()]
    code, out, err = star_al("export-model", config, "--out", tmp_path / "model")
    assert code == 0, err
    assert "a linear model (a head)" in (tmp_path / "model" / "README.md").read_text()
    for line, mine in zip(lines, used(tmp_path / "model", rows[:5]), strict=True):
        theirs = {letter: line[f"probability_{letter}"] for letter in mine}
        assert mine == pytest.approx(theirs, abs=1e-4)
