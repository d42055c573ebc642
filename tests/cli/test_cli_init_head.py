"""A campaign with a head, from `init` to the history, as a first user sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.campaigns import make_rows, write_jsonl
from support.tiny_encoder import build_tiny_encoder

StarAl = Callable[..., tuple[int, str, str]]


def test_a_head_is_proposed_trained_and_told_of(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "pool.jsonl", make_rows(60))
    build_tiny_encoder(tmp_path / "encoder")
    code, _, err = star_al("init", "pool.jsonl", "--label-column", "label", "--learner", "head")
    assert code == 0, err
    small = ["--set", "head.encoder=encoder", "--set", "acquisition.batch_size=8"]
    code, out, err = star_al("run", "--max-rounds", "1", *small)
    assert code == 0, err
    assert "Loading the sentence encoder encoder" in out + err and "None" not in out + err
    assert "no labels yet, so nothing to train on" in out + err and "(by label names alone 0." in out + err
    code, out, _ = star_al("history", *small)
    assert code == 0 and "None" not in out
    code, out, _ = star_al("status", *small)
    assert code == 0 and "None" not in out
