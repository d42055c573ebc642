"""The size of a hub model is told before it is fetched, and what is cached is used without a word."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError

from star_al.errors import ModelError
from star_al.models import hub_download
from star_al.models.encoder_files import locate_encoder
from star_al.models.hub_download import download_model, in_megabytes
from support.tiny_encoder import build_tiny_encoder


class Hub:
    """Stands in for ``snapshot_download``: one model, whose files are fetched once."""

    def __init__(self, folder: Path, *, cached: bool = False, online: bool = True) -> None:
        self.folder, self.cached, self.online = folder, cached, online
        self.fetched = 0

    def __call__(
        self, name: str, *, dry_run: bool = False, local_files_only: bool = False, **_: Any
    ) -> str | list[Any]:
        if dry_run:
            if not self.online:
                raise DryRunError("no connection")
            sizes = {"model.safetensors": 90_900_000, "config.json": 600}
            return [SimpleNamespace(file_size=n, will_download=not self.cached) for n in sizes.values()]
        if not self.cached and (local_files_only or not self.online):
            raise LocalEntryNotFoundError(f"{name} is not in the cache, and there is no connection")
        self.fetched += not self.cached
        self.cached = True
        return str(self.folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder"))


def test_the_size_is_told_once_before_the_download(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, said = Hub(folder), list[str]()
    monkeypatch.setattr(hub_download, "snapshot_download", hub)

    def say(line: str) -> None:
        assert not hub.fetched
        said.append(line)

    for _ in range(2):
        assert download_model("owner/name", None, say=say) == folder
    assert said == ["Downloading owner/name from the Hugging Face hub (91 MB, once)"]


def test_a_cached_encoder_needs_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_download, "snapshot_download", Hub(folder, cached=True, online=False))
    said: list[str] = []
    assert locate_encoder("owner/name", None, said.append) == folder and not said


def test_without_a_network_the_error_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_download, "snapshot_download", Hub(folder, online=False))
    with pytest.raises(
        ModelError, match=r"'owner/name': neither a folder nor obtainable.*give a local folder"
    ):
        locate_encoder("owner/name", None, lambda _: None)


@pytest.mark.parametrize(
    ("size", "words"),
    [(90_868_376, "91 MB"), (471_000_000, "471 MB"), (999_600_000, "1.0 GB"), (2.2e9, "2.2 GB")],
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert in_megabytes(int(size)) == words
