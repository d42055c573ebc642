"""Hashes of large files: computed once, and again whenever the file may have changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from star_al.common import remembered_hashes
from star_al.common.remembered_hashes import SMALLEST_BYTES, remembered_sha256


class Hashing:
    """Counts how often a file is really hashed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, path: Path) -> str:
        self.times += 1
        return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hashing:
    counter = Hashing()
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered_hashes, "sha256_of", counter)
    monkeypatch.setattr(remembered_hashes, "SETTLED_SECONDS", -1.0)
    return counter


def content_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_file_is_hashed_once(hashing: Hashing, tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(b"x" * SMALLEST_BYTES)
    small.write_bytes(b"x")
    found = {remembered_sha256(large) for _ in range(3)}
    assert found == {content_of(large)} and hashing.times == 1
    for _ in range(3):
        assert remembered_sha256(small) == content_of(small)
    assert hashing.times == 4


def test_a_file_is_known_by_other_paths_and_not_mixed_up(hashing: Hashing, tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for number, path in enumerate(files):
        path.write_bytes(bytes([number]) * SMALLEST_BYTES)
    (tmp_path / "link").symlink_to(files[0])
    for path in (*files, tmp_path / "link", *files):
        assert remembered_sha256(path) == content_of(path)
    assert hashing.times == 2


@pytest.mark.parametrize("way", ["same size and time", "replaced", "longer"])
def test_a_changed_file_is_hashed_again(hashing: Hashing, tmp_path: Path, way: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * SMALLEST_BYTES)
    remembered_sha256(path)
    times = path.stat()
    time.sleep(0.02)
    if way == "replaced":
        (tmp_path / "new").write_bytes(b"y" * SMALLEST_BYTES)
        (tmp_path / "new").replace(path)
    else:
        path.write_bytes(b"y" * (SMALLEST_BYTES + (way == "longer")))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert remembered_sha256(path) == content_of(path)
    assert hashing.times == 2


def test_a_file_just_written_is_not_remembered(
    hashing: Hashing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered_hashes, "SETTLED_SECONDS", 60.0)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * SMALLEST_BYTES)
    for times in (1, 2):
        remembered_sha256(path)
        assert hashing.times == times


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"PATH": 3}', '{"PATH": []}', '{"PATH": [[1], 2]}'])
def test_a_damaged_list_is_as_none(hashing: Hashing, tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * SMALLEST_BYTES)
    remembered_sha256(path)
    (tmp_path / "cache" / "hashes.json").write_text(damaged.replace("PATH", str(path)))
    assert remembered_sha256(path) == content_of(path)
    assert hashing.times == 2
    assert list(json.loads((tmp_path / "cache" / "hashes.json").read_text())) == [str(path)]


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    hashing: Hashing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "file" / "cache"))
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * SMALLEST_BYTES)
    assert remembered_sha256(path) == content_of(path)
