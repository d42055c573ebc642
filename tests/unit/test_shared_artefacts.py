"""Artefacts on shared storage: another machine reads what one has written, and nothing damaged is ever used."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import fsspec
import pytest

from star_al.app import running
from star_al.app.deleting import delete
from star_al.app.stores import reading
from star_al.artefacts.folder import ArtefactFolder
from star_al.artefacts.shared_files import SharedFiles
from star_al.common.files import sha256_of
from star_al.config.file import load_campaign
from star_al.errors import ConfigError, StoreError
from support.campaigns import write_campaign
from support.faulty_storage import FaultyStorage
from support.kill_at import use_numpy_learner
from support.object_stores import BUCKET, s3_server
from support.quiet import Quiet


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["file", "memory", "faulty", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}/{tmp_path.name}/shared"
        return
    fsspec.register_implementation("faulty", FaultyStorage, clobber=True)
    yield f"{request.param}://{tmp_path}/shared"
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
    FaultyStorage.uploads_to_cut = FaultyStorage.copies_to_cut = FaultyStorage.downloads_to_cut = 0


faulty = pytest.mark.parametrize("address", ["faulty"], indirect=True)


def machine(tmp_path: Path, name: str, address: str) -> ArtefactFolder:
    folder = ArtefactFolder(tmp_path / name, SharedFiles(address))
    folder.prepare()
    return folder


def adopted(artefacts: ArtefactFolder) -> str:
    with artefacts.stage() as folder:
        (folder / "adapter.safetensors").write_bytes(b"weights" * 100)
        (folder / "sub").mkdir()
        (folder / "sub" / "config.json").write_text("{}")
        return artefacts.adopt(folder, "lora").sha256


def scored(artefacts: ArtefactFolder) -> str:
    path = artefacts.scores / "new"
    path.write_bytes(b"scores" * 100)
    sha256 = sha256_of(path)
    path.rename(artefacts.scores / f"{sha256}.parquet")
    artefacts.share_scores(sha256)
    return sha256


def test_another_machine_reads_what_one_has_written(tmp_path: Path, address: str) -> None:
    one, other = machine(tmp_path, "one", address), machine(tmp_path, "other", address)
    adapter, scores = adopted(one), scored(one)
    assert (other.path_of(adapter) / "sub" / "config.json").read_text() == "{}"
    assert other.score_file(scores).read_bytes() == b"scores" * 100
    shutil.rmtree(tmp_path / "shared", ignore_errors=True)  # what is here already needs no storage
    assert other.path_of(adapter).name == adapter
    assert SharedFiles(address).sizes(".uploading") == {}


def test_what_was_written_before_there_was_a_storage_is_sent_when_it_is_needed(
    tmp_path: Path, address: str
) -> None:
    before = ArtefactFolder(tmp_path / "one")
    before.prepare()
    adapter, scores = adopted(before), scored(before)
    one, other = machine(tmp_path, "one", address), machine(tmp_path, "other", address)
    one.path_of(adapter)
    one.score_file(scores)
    assert other.path_of(adapter).is_dir() and other.score_file(scores).is_file()


def test_old_work_of_any_campaign_is_removed_from_the_storage(tmp_path: Path) -> None:
    address = f"file://{tmp_path}/shared"
    for name in ("old", "new"):
        (tmp_path / "shared" / ".work" / name).mkdir(parents=True)
        (tmp_path / "shared" / ".work" / name / "k.npz").touch()
    os.utime(tmp_path / "shared" / ".work" / "old" / "k.npz", (0, 0))
    machine(tmp_path, "one", address)
    assert list(SharedFiles(address).sizes(".work")) == ["new/k.npz"]


def test_a_damaged_copy_here_is_fetched_anew(tmp_path: Path, address: str) -> None:
    one, other = machine(tmp_path, "one", address), machine(tmp_path, "other", address)
    adapter = adopted(one)
    (other.path_of(adapter) / "adapter.safetensors").write_bytes(b"broken")
    assert (other.path_of(adapter) / "adapter.safetensors").read_bytes() == b"weights" * 100


def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path, address: str) -> None:
    with pytest.raises(StoreError, match=r"shared/adapters/0{64}: is missing"):
        machine(tmp_path, "one", address).path_of("0" * 64)


@faulty
def test_an_upload_that_fails_halfway_is_repeated_and_no_reader_sees_it(tmp_path: Path, address: str) -> None:
    one = machine(tmp_path, "one", address)
    FaultyStorage.uploads_to_cut = 2
    adapter = adopted(one)
    assert machine(tmp_path, "other", address).path_of(adapter).is_dir()
    FaultyStorage.uploads_to_cut = 99
    with pytest.raises(StoreError, match=r"cannot be written \(connection reset by peer\)"):
        scored(one)
    assert SharedFiles(address).sizes("scores") == SharedFiles(address).sizes(".uploading") == {}


@faulty
def test_an_upload_that_was_cut_short_is_refused_and_sent_again(tmp_path: Path, address: str) -> None:
    one, other = machine(tmp_path, "one", address), machine(tmp_path, "other", address)
    FaultyStorage.copies_to_cut = 1
    with pytest.raises(KeyboardInterrupt):
        scored(one)
    (name,) = SharedFiles(address).sizes("scores")
    with pytest.raises(StoreError, match=r"scores/.*: is damaged"):
        other.score_file(name.removesuffix(".parquet"))
    one.share_scores(name.removesuffix(".parquet"))
    assert other.score_file(name.removesuffix(".parquet")).is_file()


@faulty
def test_a_download_that_was_cut_short_is_fetched_again(tmp_path: Path, address: str) -> None:
    adapter = adopted(machine(tmp_path, "one", address))
    FaultyStorage.downloads_to_cut = 1
    assert machine(tmp_path, "other", address).path_of(adapter).is_dir()
    FaultyStorage.downloads_to_cut = 99
    with pytest.raises(StoreError, match=r"is damaged: its content has another hash"):
        machine(tmp_path, "third", address).path_of(adapter)


def test_a_library_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StoreError, match=r"pip install 'star-al\[gs\]'"):
        SharedFiles("gs://bucket/folder").sizes("scores")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s3://key:secret@bucket/folder", "credentials come from the environment"),
        ("http://host/folder", "begins with none of s3://"),
        ("file::s3://bucket/folder", "begins with none of s3://"),
    ],
)
def test_addresses_with_credentials_or_of_other_kinds_are_refused(
    tmp_path: Path, address: str, why: str
) -> None:
    path = write_campaign(tmp_path, artefacts=address)
    with pytest.raises(ConfigError, match=f"artefacts.*{why}"):
        load_campaign(path)


@pytest.mark.parametrize("address", ["file", "s3"], indirect=True)
def test_a_campaign_goes_on_from_the_storage_alone_and_is_deleted_there_too(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_numpy_learner(monkeypatch.setattr)
    shared = SharedFiles(address)
    file = load_campaign(write_campaign(tmp_path / "campaign", artefacts=address))
    running.run(file, Quiet(), max_rounds=2)
    shutil.rmtree(file.artefact_folder)  # as on another machine with the same database
    assert running.replay(file, 1, Quiet()).same_batch
    running.run(file, Quiet())
    assert len({name.partition("/")[0] for name in shared.sizes("adapters")}) == 3
    with reading(file) as (_, campaign):
        for work in ("run", "predict"):
            shared.upload(
                tmp_path / "campaign" / "campaign.yaml", f".work/results-{campaign.key}-{work}/k.npz"
            )
    delete(file, Quiet())
    assert shared.sizes("") == {}
