from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.cli.main import run_command
from support.campaigns import write_campaign
from support.tiny_model import build_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("cli") / "model")


@pytest.fixture(autouse=True)
def _rounds_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """`init` does not time this machine, on which it would depend what is trained."""
    monkeypatch.setattr("star_al.app.round_time.estimate_in", lambda _: lambda *_: 20.0)


@pytest.fixture(scope="session")
def finished(model: Path) -> Path:
    """Folder of a finished campaign: campaign.yaml, pool.jsonl, small.db, artefacts."""
    config = write_campaign(
        model.parent / "finished",
        model__name="../model",
        acquisition__preset="star",
        stopping__max_rounds=2,
    )
    assert run_command(["run", str(config)]) == 0
    return config.parent


@pytest.fixture
def own_copy(finished: Path, model: Path, tmp_path: Path) -> Path:
    """A copy of the finished campaign that a test may change."""
    shutil.copytree(finished, tmp_path / "finished")
    (tmp_path / "model").symlink_to(model)
    return tmp_path / "finished"


@pytest.fixture
def star_al(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run one command in this process; returns its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
