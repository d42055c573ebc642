"""A campaign whose learner is a head, from the command line: run, replay, predict, export, other labels."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.cli.main import run_command
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.tiny_encoder import build_tiny_encoder

StarAl = Callable[..., tuple[int, str, str]]

TEXTS = [*(row["text"] for row in make_rows(6, seed=9)), "word " * 300]

USE = """
import json, sys
sys.path[:] = [p for p in sys.path if "star_al" not in p]
from labeller import Labeller
assert not any(name.split(".")[0] == "star_al" for name in sys.modules)
labeller = Labeller(".", device="cpu")
print(json.dumps([labeller(text) for text in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished campaign: campaign.yaml, pool.jsonl, small.db, artefacts, and the encoder."""
    folder = tmp_path_factory.mktemp("head")
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(folder / "encoder", words=words)
    config = write_campaign(
        folder,
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        model={"dtype": "float32"},  # an exported folder is compared, which reads a text with other padding
        acquisition={"batch_size": 4},
        stopping__max_rounds=2,
    )
    assert run_command(["run", str(config)]) == 0
    return folder


@pytest.fixture
def own(done: Path, tmp_path: Path) -> Path:
    """A copy of the campaign that a test may change; returns its file."""
    shutil.copytree(done, tmp_path / "own")
    return tmp_path / "own" / "campaign.yaml"


def predicted(star_al: StarAl, config: Path, texts: list[str]) -> list[dict[str, float]]:
    given = write_jsonl(config.parent / "given.jsonl", [{"text": text} for text in texts])
    code, out, err = star_al("predict", config, "--in", given, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    return [{label: row[f"probability_{label}"] for label in WORDS} for row in rows]


def test_a_round_is_replayed(star_al: StarAl, own: Path) -> None:
    code, out, err = star_al("replay", own, "--round", 2)
    assert code == 2 or "same" in out, (out, err)
    code, out, err = star_al("replay", own, "--round", 1)
    assert code == 0 and "and trained the same head." in out, (out, err)


def test_history_shows_no_weight_where_nothing_was_blended(star_al: StarAl, own: Path) -> None:
    code, out, _ = star_al("history", own, "--format", "json")
    assert code == 0 and {row["blend_weight"] for row in json.loads(out)} == {None}


def test_a_replay_without_the_features_gives_the_same(star_al: StarAl, own: Path) -> None:
    shutil.rmtree(own.parent / "small-artefacts" / "features")
    code, out, err = star_al("replay", own, "--round", 1)
    assert code == 0, (out, err)


def test_predictions_do_not_need_the_features_on_disk(star_al: StarAl, own: Path) -> None:
    before = predicted(star_al, own, TEXTS)
    assert all(abs(sum(row.values()) - 1) < 1e-6 for row in before)
    shutil.rmtree(own.parent / "small-artefacts" / "features")
    assert predicted(star_al, own, TEXTS) == before
    for row, other in zip(before, predicted(star_al, own, TEXTS[::-1])[::-1], strict=True):
        assert row == pytest.approx(other, abs=1e-6)  # to the last bit on some processors alone


def test_the_exported_folder_predicts_what_the_command_does(
    star_al: StarAl, own: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    code, out, err = star_al("export-model", own, "--out", folder)
    assert code == 0, err
    assert out.startswith(f"Wrote the head of round 2 to {folder} (0.1 MB). Try it with: python ")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    used = subprocess.run(
        [sys.executable, "-c", USE],
        input=json.dumps(TEXTS),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    for mine, theirs in zip(json.loads(used.stdout), predicted(star_al, own, TEXTS), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    card = (folder / "README.md").read_text()
    assert "a linear model (a head) on the frozen sentence encoder `encoder`" in card
    assert "Needs numpy and sentence-transformers." in (folder / "example.py").read_text()


def test_a_head_cannot_be_merged(star_al: StarAl, own: Path, tmp_path: Path) -> None:
    code, _, err = star_al("export-model", own, "--out", tmp_path / "model", "--merged")
    assert code == 1 or code > 1
    assert "a head has no weights to merge" in err and not (tmp_path / "model").exists()


def test_a_label_that_is_added_trains_the_round_again(star_al: StarAl, own: Path) -> None:
    text = re.sub(r"( *)- tech", r"\1- tech\n\1- culture", own.read_text())
    own.write_text(text.replace("max_rounds: 2", "max_rounds: 3"))
    code, _, err = star_al("run", own)
    assert code == 0 and "Training round 2 again because the labels of the task have changed" in err, err


def test_another_encoder_is_refused(star_al: StarAl, own: Path) -> None:
    shutil.rmtree(own.parent / "encoder")
    build_tiny_encoder(own.parent / "encoder", seed=1)
    own.write_text(own.read_text().replace("max_rounds: 2", "max_rounds: 3"))
    code, _, err = star_al("run", own)
    assert code != 0 and "the encoder differs from that of round 0" in err


def test_a_lost_head_is_trained_again(star_al: StarAl, own: Path) -> None:
    shutil.rmtree(own.parent / "small-artefacts" / "adapters")
    own.write_text(own.read_text().replace("max_rounds: 2", "max_rounds: 3"))
    code, _, err = star_al("run", own)
    assert code == 0 and "Training round 2 again" in err, err
