"""`doctor` tells what is to be known of a model's chat template, and outlasts one that never ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_al.app.doctor import Finding, examine
from star_al.models import chat_rendering
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
