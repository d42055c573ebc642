"""The artefact folder: content hashes, nothing half-written, damage detected, leftovers of dead runs removed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from star_al.artefacts import score_file
from star_al.artefacts.folder import STALE_SECONDS, ArtefactFolder, content_hash
from star_al.common.process_identity import ProcessIdentity
from star_al.errors import StoreError

ROOT = Path(__file__).parents[2]


def fill(folder: Path, weights: bytes = b"weights") -> None:
    (folder / "adapter.safetensors").write_bytes(weights)
    (folder / "sub").mkdir()
    (folder / "sub" / "config.json").write_text("{}")


def adopted(artefacts: ArtefactFolder, weights: bytes = b"weights") -> str:
    with artefacts.stage() as folder:
        fill(folder, weights)
        return artefacts.adopt(folder, "lora").sha256


def test_an_adopted_folder_lies_under_its_hash(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path / "a" / "b")
    with artefacts.stage() as folder:
        assert list(folder.iterdir()) == []
        fill(folder)
        adapter = artefacts.adopt(folder, "lora")
    assert (adapter.kind, adapter.size_bytes) == ("lora", 9)
    assert (
        artefacts.root / adapter.path
        == artefacts.path_of(adapter.sha256)
        == artefacts.path_of(adapter.sha256)
    )
    assert (artefacts.path_of(adapter.sha256) / "sub" / "config.json").read_text() == "{}"
    assert list((artefacts.root / ".staging").iterdir()) == []


def test_the_hash_covers_names_and_bytes_alone(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path / "one")
    same = {adopted(artefacts), adopted(artefacts), adopted(ArtefactFolder(tmp_path / "two"))}
    assert len(same) == 1
    folders = {
        "p": {"ab": b"c"},
        "q": {"a": b"bc"},
        "r": {"a": b"b", "c": b""},
        "s": {"ab/c": b""},
        "t": {"a": b"x", "b": b"y"},
        "u": {"a": b"xb\0y"},
    }
    for name, files in folders.items():
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    assert len({content_hash(tmp_path / name) for name in folders}) == len(folders)


def test_what_is_not_adopted_goes(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), artefacts.stage() as folder:
        fill(folder)
        raise ZeroDivisionError
    assert not folder.exists()
    with artefacts.stage() as folder, pytest.raises(StoreError, match="without files"):
        artefacts.adopt(folder, "lora")


def test_damage_is_recognised_and_mended_by_adopting_again(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path)
    sha256 = adopted(artefacts)
    weights = artefacts.path_of(sha256) / "adapter.safetensors"
    weights.write_bytes(b"wEights")
    with pytest.raises(StoreError, match="the adapter is damaged"):
        artefacts.path_of(sha256)
    assert adopted(artefacts) == sha256
    assert weights.read_bytes() == b"weights"
    artefacts.path_of(sha256)
    artefacts.prepare()
    assert list((tmp_path / ".staging").iterdir()) == []


def test_missing_artefacts_are_named(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path)
    with pytest.raises(StoreError, match="adapters/0123: the adapter is missing"):
        artefacts.path_of("0123")
    with pytest.raises(StoreError, match=r"scores/0123\.parquet: the scores are missing"):
        artefacts.score_file("0123")


def test_another_score_file_under_a_hash_is_not_believed(tmp_path: Path) -> None:
    """Both files are whole; one was copied over the other."""
    artefacts = ArtefactFolder(tmp_path)
    one, other = (
        score_file.concatenate([[shard(tmp_path / f"{name}.parquet", name)]], artefacts.scores)
        for name in ("a", "b")
    )
    assert artefacts.score_file(one) != artefacts.score_file(other)
    shutil.copy(artefacts.score_file(other), artefacts.score_file(one))
    with pytest.raises(StoreError, match=rf"{one}\.parquet: the score file is damaged"):
        artefacts.score_file(one)
    artefacts.score_file(other)


def shard(path: Path, item_id: str) -> Path:
    score_file.write_shard(path, [item_id], np.log(np.full((1, 2, 4), 0.25)))
    return path


def test_a_new_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir(mode=0o755)
    for root in (old, new):
        ArtefactFolder(root).prepare()
    assert [stat.S_IMODE(root.stat().st_mode) for root in (old, new)] == [0o755, 0o700]


def test_work_is_kept_over_an_error_and_gone_on_success(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), artefacts.work("scores-1-2") as folder:
        (folder / "page").write_text("done")
        raise KeyboardInterrupt
    with ArtefactFolder(tmp_path).work("scores-1-2") as folder:
        assert (folder / "page").read_text() == "done"
    assert not folder.exists()


def test_leftovers_of_dead_runs_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    """One run is killed with -9 while it writes; this process and one on another host write too."""
    program = (
        "import os, signal, sys; from pathlib import Path; from star_al.artefacts.folder import ArtefactFolder\n"
        "with ArtefactFolder(Path(sys.argv[1])).stage() as folder:\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=False)
    staging = tmp_path / ".staging"
    assert len(list(staging.iterdir())) == 1
    (staging / "elsewhere.example.org.1.abc").mkdir()
    (staging / "elsewhere.example.org.2.abc").mkdir()
    (tmp_path / ".work" / "forgotten").mkdir(parents=True)
    (tmp_path / ".work" / "recent").mkdir()
    old = time.time() - STALE_SECONDS - 60
    for forgotten in (staging / "elsewhere.example.org.2.abc", tmp_path / ".work" / "forgotten"):
        os.utime(forgotten, (old, old))
    artefacts = ArtefactFolder(tmp_path)
    with artefacts.stage() as mine:
        artefacts.prepare()
        assert sorted(staging.iterdir()) == sorted([mine, staging / "elsewhere.example.org.1.abc"])
    assert [path.name for path in (tmp_path / ".work").iterdir()] == ["recent"]


def test_a_dead_run_whose_process_id_was_given_to_another_process_is_recognised(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path)
    me = ProcessIdentity.of()
    dead = replace(me, started=me.started - 3600, uptime=None)
    left = tmp_path / ".staging" / f"{quote(str(dead), safe='')}.abc"
    left.mkdir(parents=True)
    artefacts.prepare()
    assert not left.exists()


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    artefacts = ArtefactFolder(tmp_path / "none")
    with pytest.raises(StoreError, match="missing"):
        artefacts.path_of("0123")
    with pytest.raises(StoreError, match="missing"):
        artefacts.score_file("0123")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreError, match=r"file/artefacts: cannot be read or written \(Not a directory\)\. Check"
    ):
        ArtefactFolder(tmp_path / "file" / "artefacts").prepare()


def test_a_disk_that_fills_up_while_adopting_leaves_no_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is simulated, because a real one needs a file system of its own."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    artefacts = ArtefactFolder(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        adopted(artefacts)
    assert list((tmp_path / "adapters").iterdir()) == []
    assert list((tmp_path / ".staging").iterdir()) == []
