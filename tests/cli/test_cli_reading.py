"""Commands that read a campaign leave its folder as it is, and the first run loads the model once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.models import backbone as backbone_module
from star_al.models import prompted_model
from support.campaigns import write_campaign, write_jsonl

StarAl = Callable[..., tuple[int, str, str]]


def tree(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of everything in a folder, except SQLite's own side files."""
    return {
        path: (path.stat().st_size if path.is_file() else 0, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.name.endswith(("-wal", "-shm"))
    }


@pytest.fixture
def frozen_blocks(star_al: StarAl, model: Path, tmp_path: Path) -> Path:
    """A campaign whose model has frozen blocks, and thus activations that a run keeps."""
    config = write_campaign(tmp_path / "campaign", model__name=str(model), adapter__layers=1)
    code, _, err = star_al("run", config, "--max-rounds", 2)
    assert code == 0, err
    assert (config.parent / "small-artefacts" / "trunk").is_dir()
    return config


def test_commands_that_read_change_nothing(star_al: StarAl, frozen_blocks: Path, tmp_path: Path) -> None:
    shutil.rmtree(frozen_blocks.parent / "small-artefacts" / "trunk")
    write_jsonl(tmp_path / "texts.jsonl", [{"text": "the bank"}])
    before = tree(frozen_blocks.parent)
    commands: list[list[Any]] = [
        ["status", frozen_blocks],
        ["history", frozen_blocks],
        ["explain", frozen_blocks, "--round", 0],
        ["report", frozen_blocks, "--out", tmp_path / "report.html"],
        ["predict", frozen_blocks, "--in", tmp_path / "texts.jsonl", "--out", tmp_path / "predicted.jsonl"],
        ["export", frozen_blocks, "--out", tmp_path / "all.jsonl", "--with-predictions"],
    ]
    for command in commands:
        code, _, err = star_al(*command)
        assert code == 0, (command, err)
        assert tree(frozen_blocks.parent) == before, command


def test_a_missing_artefact_folder_is_not_made_by_looking(star_al: StarAl, own_copy: Path) -> None:
    shutil.rmtree(own_copy / "small-artefacts")
    config = own_copy / "campaign.yaml"
    assert star_al("status", config)[0] == 0
    assert star_al("report", config, "--out", own_copy.parent / "report.html")[0] == 0
    assert star_al("export", config, "--out", own_copy.parent / "all.jsonl", "--with-predictions")[0] == 3
    assert not (own_copy / "small-artefacts").exists()


def test_the_first_run_loads_the_model_once(
    star_al: StarAl, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = backbone_module.load_backbone, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        loaded.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(prompted_model, "load_backbone", counted)
    config = write_campaign(tmp_path, model__name=str(model))
    code, _, err = star_al("run", config, "--max-rounds", 1)
    assert code == 0, err
    assert len(loaded) == 1
