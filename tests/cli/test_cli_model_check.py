"""A model that cannot be trained is found out by doctor and at the start of a run, before a text is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from star_al.models.learner import LoraLearner
from support.campaigns import write_campaign
from support.tiny_model import build_tiny_model

StarAl = Callable[..., tuple[int, str, str]]


def without_rows(folder: Path) -> None:
    """Add tokens to the tokenizer of a model that its prompts have, and no rows to the model."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|reply|>"]})
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}<|reply|>{% endfor %}"
    tokenizer.save_pretrained(folder)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    without_rows(build_tiny_model(tmp_path / "model"))
    return write_campaign(tmp_path)


def test_doctor_tries_a_step_and_a_sample(star_al: StarAl, model: Path, tmp_path: Path) -> None:
    config = write_campaign(tmp_path, model__name=str(model))
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, _ = star_al("doctor", config)
    assert code == 0, out
    assert "✓ training" in out and "one step and one sample of mc_dropout on 33 texts" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_doctor_shows_what_fails(star_al: StarAl, broken: Path) -> None:
    code, out, _ = star_al("doctor", broken)
    assert code == 5
    assert "✓ model" in out and "✗ training" in out and "<|reply|>" in out


def test_doctor_reports_a_model_that_is_not_there_once(star_al: StarAl, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    code, out, _ = star_al("doctor", write_campaign(tmp_path))
    assert code == 5 and out.count("config.json is missing") == 1 and "training" not in out


def test_a_run_leaves_no_campaign_behind(star_al: StarAl, broken: Path) -> None:
    code, _, err = star_al("run", broken)
    assert code == 5 and "the prompt has the token <|reply|>" in err
    code, _, err = star_al("status", broken)
    assert code == 3 and "has not been started" in err


def test_a_campaign_that_waits_for_its_first_labels_is_checked_again(
    star_al: StarAl, model: Path, tmp_path: Path
) -> None:
    """Its model may have been replaced."""
    shutil.copytree(model, tmp_path / "model")
    config = write_campaign(tmp_path, annotator={"kind": "api"})
    code, _, err = star_al("run", config)
    assert code == 6, err  # it waits for labels
    without_rows(tmp_path / "model")
    code, _, err = star_al("run", config)
    assert code == 5 and "the prompt has the token <|reply|>" in err


def test_a_campaign_that_has_trained_is_not_checked_again(
    star_al: StarAl, own_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the model was checked")

    monkeypatch.setattr(LoraLearner, "check", fail)
    code, _, err = star_al("run", own_copy / "campaign.yaml", "--set", "stopping.max_rounds=3")
    assert code == 0, err
