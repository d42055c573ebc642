"""Label Studio is installed once and completely, and what prevents it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from star_al.errors import AnnotatorError
from star_al.local_server import Place
from star_al.local_server.install import check_version, install, python
from star_al.local_server.supervisor import LOG_BYTES, rotate
from support.quiet import Quiet


def place_in(folder: Path) -> Place:
    return Place(folder, folder / "environments")


def test_a_complete_install_is_left_alone(tmp_path: Path) -> None:
    python = tmp_path / "environments" / "1.2.3" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    progress = Quiet()
    install(place_in(tmp_path), "1.2.3", progress)
    assert progress.said == []


def test_a_broken_off_install_begins_anew_and_no_network_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    half = tmp_path / "environments" / "1.2.3-half" / "bin"
    half.mkdir(parents=True)
    with pytest.raises(AnnotatorError, match="package index cannot be reached"):
        install(place_in(tmp_path), "1.2.3", Quiet())
    assert not half.exists()
    assert not python(place_in(tmp_path), "1.2.3").exists()  # so the next `up` does not take it as done


@pytest.mark.parametrize("version", ["latest", "../1.2", "1.2 --pre", "", "1"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(AnnotatorError, match="is not a version"):
        check_version(version)


def test_a_long_log_is_kept_once_and_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "label-studio.log"
    with log.open("ab") as server:
        server.write(b"a" * LOG_BYTES)
        server.flush()
        rotate(log)
        assert log.stat().st_size == LOG_BYTES
        server.write(b"b")
        server.flush()
        rotate(log)
        server.write(b"c")
    assert log.read_bytes() == b"c"
    assert log.with_suffix(".old.log").stat().st_size == LOG_BYTES + 1
