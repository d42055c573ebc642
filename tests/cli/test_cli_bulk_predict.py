"""Predictions of a large file: killed, on a full disk, with a changed input, and then again."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from star_al.app import predicting
from star_al.app.kept_predictions import KeptPredictions
from star_al.app.predictor import Predictor
from star_al.cli.main import run_command
from star_al.data import ModelAnswer
from star_al.ports import Advance
from star_al.types import Item
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.kill_at import use_numpy_learner

StarAl = Callable[..., tuple[int, str, str]]

PAGE, ROWS = 4, 18


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained campaign, with new.jsonl."""
    folder = tmp_path_factory.mktemp("bulk") / "trained"
    config = write_campaign(folder, stopping__max_rounds=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_numpy_learner(monkeypatch.setattr)
        assert run_command(["run", str(config)]) == 0
    rows = make_rows(ROWS, seed=5)
    rows[9] = {**rows[8], "id": "a repeated text"}
    rows[12] = {**rows[12], "text": " "}
    write_jsonl(folder / "new.jsonl", rows)
    return folder


@pytest.fixture
def campaign(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a trained campaign, whose `predict` has pages of few rows; beside it new.jsonl."""
    use_numpy_learner(monkeypatch.setattr)
    monkeypatch.setattr(predicting, "PAGE_ITEMS", PAGE)
    return shutil.copytree(trained, tmp_path / "campaign") / "campaign.yaml"


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items each call of the predictor got."""
    calls: list[int] = []
    answers = Predictor.answers

    def counted(self: Predictor, items: Sequence[Item], advance: Advance) -> list[ModelAnswer]:
        calls.append(len(items))
        return answers(self, items, advance)

    monkeypatch.setattr(Predictor, "answers", counted)
    return calls


def predict(config: Path, out: Path) -> list[str]:
    return ["predict", str(config), "--in", str(config.parent / "new.jsonl"), "--out", str(out)]


def kill_after_pages(n: int, command: list[str]) -> None:
    """Run a command in a child that is killed when it has kept ``n`` pages."""
    child = os.fork()
    if child == 0:
        save, saved = KeptPredictions.save, []

        def counted(self: KeptPredictions, items: Sequence[Item], answers: Sequence[ModelAnswer]) -> None:
            save(self, items, answers)
            saved.append(len(items))
            if len(saved) == n:
                os.kill(os.getpid(), signal.SIGKILL)

        KeptPredictions.save = counted  # type: ignore[method-assign]
        run_command(command)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_killed_command_goes_on(campaign: Path, suffix: str, star_al: StarAl, predicted: list[int]) -> None:
    whole, out = (campaign.parent / f"{name}.{suffix}" for name in ("whole", "out"))
    assert star_al(*predict(campaign, whole))[0] == 0
    assert predicted == [4, 4, 3, 3, 2]  # a repeated text once, an empty one never
    kill_after_pages(2, predict(campaign, out))
    assert not out.exists()
    predicted.clear()
    code, _, err = star_al(*predict(campaign, out))
    assert code == 0
    assert "Going on with 8 predictions that an interrupted run has kept" in err
    assert predicted == [3, 3, 2]
    assert out.read_bytes() == whole.read_bytes()
    assert not list(campaign.parent.glob(".*.predicting"))


def test_a_changed_input_is_predicted_anew_where_it_changed(
    campaign: Path, star_al: StarAl, predicted: list[int]
) -> None:
    out, texts = campaign.parent / "out.csv", campaign.parent / "new.jsonl"
    kill_after_pages(3, predict(campaign, out))
    changed = texts.read_text(encoding="utf-8").splitlines()
    changed[5] = changed[5].replace('"text": "', '"text": "another ')
    texts.write_text("\n".join(changed), encoding="utf-8")
    assert star_al(*predict(campaign, out))[0] == 0
    assert predicted == [4, 3, 2]  # the second page again, then those that were missing
    fresh = campaign.parent / "fresh.csv"
    assert star_al(*predict(campaign, fresh))[0] == 0
    assert out.read_bytes() == fresh.read_bytes()


def test_what_is_kept_of_a_longer_file_is_used_for_one_page(
    campaign: Path, star_al: StarAl, predicted: list[int]
) -> None:
    out, texts = campaign.parent / "out.csv", campaign.parent / "new.jsonl"
    kill_after_pages(1, predict(campaign, out))
    texts.write_text("\n".join(texts.read_text(encoding="utf-8").splitlines()[:PAGE]), encoding="utf-8")
    code, _, err = star_al(*predict(campaign, out))
    assert (code, predicted) == (0, [])
    assert f"Going on with {PAGE} predictions" in err


def test_ctrl_c_says_what_is_kept(
    campaign: Path, star_al: StarAl, predicted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Predictor.answers

    def stopped(self: Predictor, items: Sequence[Item], advance: Advance) -> list[ModelAnswer]:
        if len(predicted) == 1:
            raise KeyboardInterrupt
        return answers(self, items, advance)

    monkeypatch.setattr(Predictor, "answers", stopped)
    code, _, err = star_al(*predict(campaign, campaign.parent / "out.csv"))
    assert code == 130
    assert f"Stopped; all predictions are kept but those of the last {PAGE} texts (2,048 with" in err
    assert len(list((campaign.parent / ".out.csv.predicting").iterdir())) == 1


def test_a_full_disk_keeps_what_fits(
    campaign: Path, star_al: StarAl, predicted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = campaign.parent / "out.csv", Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if len(predicted) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = star_al(*predict(campaign, out))
    assert code == 3
    assert "the predictions for it cannot be kept (No space left on device). Free some disk space" in err
    assert not out.exists()
    monkeypatch.undo()
    assert [page.suffix for page in (campaign.parent / ".out.csv.predicting").iterdir()] == [".jsonl"] * 2


def test_a_mistake_far_down_is_found_before_anything_is_predicted(
    campaign: Path, star_al: StarAl, predicted: list[int]
) -> None:
    with (campaign.parent / "new.jsonl").open("a", encoding="utf-8") as file:
        file.write("{not JSON\n")
    code, _, err = star_al(*predict(campaign, campaign.parent / "out.csv"))
    assert (code, predicted) == (2, [])
    assert f"line {ROWS + 1}" in err
