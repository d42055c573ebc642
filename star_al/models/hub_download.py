"""Fetch models from the Hugging Face hub, after telling how much there is to fetch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
)

from star_al.errors import ModelError
from star_al.models.quiet import quiet

FILES_OF_A_MODEL = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")

_TOLD_FROM = 1_000_000
"""Bytes from which on a download is announced: fewer are there at once."""


def find_cached(name: str, revision: str | None, files: Sequence[str] = FILES_OF_A_MODEL) -> Path | None:
    """Return the folder of a hub model that is in the cache; None if a file of it is missing.

    Does not use the network.
    """
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(files), local_files_only=True)
        )
    except (LocalEntryNotFoundError, IncompleteSnapshotError, HFValidationError, OSError):
        return None


def download_model(
    name: str,
    revision: str | None,
    files: Sequence[str] = FILES_OF_A_MODEL,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Download a hub model, or find it in the cache.

    Args:
        name: Its name on the hub.
        revision: Branch, tag or commit; None for the newest.
        files: Patterns of the files to get.
        say: Called with a line about the size before a large download.

    Returns:
        The folder of its files.

    Raises:
        ModelError: The hub does not provide it.
    """
    try:
        size = download_size(name, revision, files)
        if size >= _TOLD_FROM:
            say(f"Downloading {name} from the Hugging Face hub ({in_megabytes(size)}, once)")
        with quiet():
            return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise ModelError(
            f"model {name!r}: neither a folder nor obtainable from the hub ({reason}). "
            "Check the name and the network, or give a local folder."
        ) from exc


def download_size(name: str, revision: str | None, files: Sequence[str] = FILES_OF_A_MODEL) -> int:
    """Return how many bytes of a hub model are not in the cache; 0 if the hub cannot be asked.

    Raises:
        HFValidationError: The name cannot be a model's.
    """
    try:
        with quiet():
            plan = snapshot_download(name, revision=revision, allow_patterns=list(files), dry_run=True)
    except (DryRunError, HfHubHTTPError, OSError):  # the download itself says why
        return 0
    return sum(file.file_size or 0 for file in plan if file.will_download)


def in_megabytes(size: int) -> str:
    """Return a number of bytes as users read it, such as ``91 MB`` or ``1.2 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 999_500_000 else f"{size / 1e6:.0f} MB"
