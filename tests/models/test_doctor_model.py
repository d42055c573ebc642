"""`doctor` tells what is to be known of a campaign's model and encoder, and outlasts a template that never ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_al.app.doctor import Finding, examine
from star_al.app.running import run
from star_al.config.file import load_campaign
from star_al.models import chat_rendering, devices, hub_download
from support.campaigns import write_campaign
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder
from support.tiny_model import build_tiny_model

ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CAMPAIGN = """\
name: c
data: {path: data.jsonl}
task: {kind: classification, labels: [sport, tech]}
model: {name: ./model, device: cpu, dtype: float32}
annotator: {kind: oracle, gold: label}
"""


def finding(folder: Path, template: str) -> Finding:
    model = build_tiny_model(folder / "model")
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    (folder / "data.jsonl").write_text('{"text": "a", "label": "tech"}\n', encoding="utf-8")
    (folder / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    return next(one for one in examine(folder / "campaign.yaml") if one.name == "model")


def test_marks_of_turns_in_ordinary_text_are_told(tmp_path: Path) -> None:
    found = finding(tmp_path, ZEPHYR)
    assert found.ok
    assert "The model's chat template marks turns by ordinary text (<|system|>, <|user|>" in found.detail


def test_a_template_that_never_ends_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_rendering, "_SECONDS", 1)
    found = finding(
        tmp_path, "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    assert (found.ok, found.exit_code) == (False, 5)
    assert (
        "chat template cannot be used: it did not end" in found.detail
        and "chat_template: false" in found.detail
    )


def test_a_dtype_that_this_processor_is_slow_in_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "bfloat16_cost", lambda: 60.0)
    build_tiny_model(tmp_path / "model")
    path = write_campaign(tmp_path, model__dtype="bfloat16", posterior={"kind": "map"})
    found = next(one for one in examine(path) if one.name == "device")
    assert "bfloat16, as configured, which takes 60 times as long as float32 here" in found.detail
    progress = Quiet()
    run(load_campaign(path), progress, max_rounds=1)
    assert any(
        "on cpu in bfloat16, which takes 60 times as long as float32 on this" in line
        for line in progress.said
    )


def encoder_finding(folder: Path, head: str = "{encoder: ./encoder}") -> Finding:
    (folder / "data.jsonl").write_text('{"text": "a", "label": "tech"}\n', encoding="utf-8")
    text = CAMPAIGN.replace("name: ./model, ", "") + f"learner: {{kind: head}}\nhead: {head}\n"
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    found = {one.name: one for one in examine(folder / "campaign.yaml")}
    assert "model" not in found and "training" not in found
    return found["encoder"]


def test_the_encoder_of_a_head_is_tried(tmp_path: Path) -> None:
    build_tiny_encoder(tmp_path / "encoder")
    found = encoder_finding(tmp_path)
    assert found.ok
    assert found.detail.startswith(
        "./encoder: vectors of 32 numbers, reads 64 tokens at once; loaded and tried in"
    )


def test_an_encoder_that_is_missing_is_a_finding(tmp_path: Path) -> None:
    found = encoder_finding(tmp_path)
    assert not found.ok and "head.encoder: there is no folder" in found.detail and found.exit_code == 2


def test_what_is_to_be_fetched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_download, "find_cached", lambda *_: None)
    monkeypatch.setattr(hub_download, "download_model", lambda *_: tmp_path)
    monkeypatch.setattr(hub_download, "download_size", lambda *_: 90_900_000)
    found = encoder_finding(tmp_path, "{encoder: someone/encoder}")
    assert found.ok
    assert found.detail == (
        "someone/encoder: not on this machine yet; `star-al run` downloads it (91 MB) and tries it"
    )
